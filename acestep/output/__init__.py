"""Finished songs as files: formats, tags, the recipe inside them, and writing all of it or nothing."""
