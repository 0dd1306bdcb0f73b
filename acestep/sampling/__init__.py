"""From noise to latents: noise per song, a falling schedule, guidance, a solver, and the loop that joins them.

Read in this order: ``schedule`` (plain floats), ``noise``, ``guidance``, ``solvers``, ``sampler``. Importing this
package imports no torch; ``choice`` and ``schedule`` never do.
"""
