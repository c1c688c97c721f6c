"""Releases of code systems in the formats of their publishers, read as concepts one after another."""
