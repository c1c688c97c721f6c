"""Compares what bundles find with reference reports: LUNA16's rule, sizes, segments; figures only, no data leaves."""
