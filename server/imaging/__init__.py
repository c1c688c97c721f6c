"""DICOM: instances in through one door, found, given back, and summed up as ImagingStudy."""
