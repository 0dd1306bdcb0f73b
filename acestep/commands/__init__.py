"""The commands of ``acestep``, one module per kind of thing that comes out; ``cli`` gathers them."""
