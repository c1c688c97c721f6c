"""``hutong evaluate``: bundles beside reference reports, on data that stays where it is."""
