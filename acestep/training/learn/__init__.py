"""Learning: the loop that every network of the embedded family is trained with, losses, starting points, curves."""
