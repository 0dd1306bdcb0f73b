"""ACE-Step 1.5: text becomes a song. Doors: ``acestep.inference`` (Python), ``acestep.cli``, ``predict.py`` (Cog)."""

__version__ = "0.1.0"
__all__ = ["__version__"]
