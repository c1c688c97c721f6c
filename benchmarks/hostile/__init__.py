"""Attack, outage and sudden death against a whole running server: ``python -m benchmarks.hostile FOLDER``."""
