"""What leaves us: guarded HTTP, DICOM to peers."""
