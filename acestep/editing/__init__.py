"""Changing a recording: what is wanted and where, and how new music is joined to, mixed with or taken from the old.

Import the module you need; nothing is re-exported.
"""
