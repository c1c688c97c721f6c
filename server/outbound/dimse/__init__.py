"""DICOM's own protocol as service class user: an association of ours, and one file for each service."""
