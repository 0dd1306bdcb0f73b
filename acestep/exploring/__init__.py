"""Exploring: batch after batch from new seeds, in the background; the best of all so far are kept in a folder."""
