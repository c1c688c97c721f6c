"""The HTTP edge: DICOMweb, FHIR, the results page, health. Only this package knows FastAPI."""
