"""Training of the reference model: not installed, not imported by the package; it makes what the bundles hold."""
