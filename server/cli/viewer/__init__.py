"""``hutong viewer``: OHIF, fetched through npm and served by us."""
