"""Measures a FHIR server over the wire, this one or another."""
