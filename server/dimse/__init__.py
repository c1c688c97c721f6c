"""DICOM's own protocol (PS3.7, PS3.8): the service class provider."""
