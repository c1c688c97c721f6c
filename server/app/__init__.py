"""The composition root: the only package that knows every part.

A file for each process of the server, composed from settings alone; parts get what they need handed in, and nothing
reaches for a global. ``processes`` names them without loading them.
"""
