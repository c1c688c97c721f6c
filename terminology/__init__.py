"""Codes and what they mean: codings, code systems, value sets, concept maps. Knows nothing of the server."""
