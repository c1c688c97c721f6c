"""Findings and their DICOM forms: SR by template, SEG, and the FHIR resources of the same content.

Knows nothing of the server.
"""
