"""FHIR R4 (4.0.1) as data: definitions, JSON, FHIRPath, validation, references, outcomes."""
