"""Data only: facts of the standard (base) and pathways; nothing here is code of the server."""
