"""Small CT series as data sets, made from a block of HU and a geometry."""

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

SERIES, STUDY, FRAME = "2.25.11", "2.25.10", "2.25.12"


def series(
    hounsfield: npt.NDArray[np.int16],
    spacing: tuple[float, float, float] = (2.0, 1.0, 0.5),
    orientation: tuple[float, ...] = (1, 0, 0, 0, 1, 0),
    origin: tuple[float, float, float] = (-10.0, 20.0, -30.0),
) -> list[Dataset]:
    """One data set a slice; slices advance along the normal."""
    row, column = np.array(orientation[:3], dtype=float), np.array(orientation[3:], dtype=float)
    normal = np.cross(row, column)
    images = []
    for number, plane in enumerate(hounsfield):
        image = Dataset()
        image.file_meta = FileMetaDataset()
        image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        image.SOPClassUID = CTImageStorage
        image.SOPInstanceUID = f"2.25.100{number}"
        image.StudyInstanceUID, image.SeriesInstanceUID, image.FrameOfReferenceUID = STUDY, SERIES, FRAME
        image.Modality, image.ImageType = "CT", ["ORIGINAL", "PRIMARY", "AXIAL"]
        image.InstanceNumber = 1000 - number
        image.ImageOrientationPatient = [float(v) for v in orientation]
        image.ImagePositionPatient = [float(v) for v in np.array(origin) + number * spacing[0] * normal]
        image.PixelSpacing = [spacing[1], spacing[2]]
        image.Rows, image.Columns = plane.shape
        image.SamplesPerPixel, image.PhotometricInterpretation = 1, "MONOCHROME2"
        image.BitsAllocated, image.BitsStored, image.HighBit, image.PixelRepresentation = 16, 16, 15, 1
        image.RescaleSlope, image.RescaleIntercept = 1, -1024
        image.PixelData = (plane + 1024).astype("<i2").tobytes()
        images.append(image)
    return images


def patient(images: list[Dataset]) -> list[Dataset]:
    """The series with what a report's header wants of a patient and a study."""
    for image in images:
        image.PatientID, image.PatientName, image.PatientBirthDate, image.PatientSex = "P", "P", "19600101", "O"
        image.StudyDate, image.StudyTime, image.StudyID, image.AccessionNumber = "20260102", "081500", "1", ""
        image.ReferringPhysicianName = ""
    return images
