"""Speed of a FHIR server by its REST API: ``python -m benchmarks.fhir``."""
