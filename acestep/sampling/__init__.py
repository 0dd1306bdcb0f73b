"""From noise to latents: noise per song, a falling schedule, guidance, a solver, and the loop that joins them.

Read in this order: ``schedule`` (plain floats), ``noise``, ``guidance``, ``stepper``, ``solvers`` (with ``multistep``
and ``wavelet``), ``sampler`` (with ``hold``), and ``flow_edit``, a loop of its own from one recording to another.
Importing this package imports no torch; ``choice``, ``correction`` and ``schedule`` never do.
"""
