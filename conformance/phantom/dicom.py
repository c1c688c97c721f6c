"""CT Image Storage instances of a study (PS3.3 A.3), Explicit VR Little Endian."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from conformance.phantom.make import Study
from conformance.phantom.render import Pixels

MANUFACTURER = "Hutong phantom"
#: Changes when the same wishes give other images.
VERSION = "1"
#: Vendor-like names under which the kernels go.
_KERNEL_NAMES = {"soft": "SOFT", "standard": "STANDARD", "sharp": "LUNG"}


def uid(*parts: object) -> str:
    """A UID by the 2.25 root (PS3.5 B.2) from a digest, so that the same wishes name the same objects."""
    digest = hashlib.sha256("/".join(str(p) for p in parts).encode()).digest()
    return f"2.25.{int.from_bytes(digest[:16], 'big')}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Identity:
    """What the study and its objects are called."""

    #: Everything that the images depend on; a random word instead gives fresh UIDs.
    key: str
    patient_key: str
    time_point: int

    @property
    def study(self) -> str:
        """StudyInstanceUID."""
        return uid(self.key, self.time_point, "study")

    @property
    def series(self) -> str:
        """SeriesInstanceUID of the CT series."""
        return uid(self.key, self.time_point, "series")

    @property
    def frame(self) -> str:
        """FrameOfReferenceUID."""
        return uid(self.key, self.time_point, "frame")

    def instance(self, number: int) -> str:
        """SOPInstanceUID of slice ``number``."""
        return uid(self.key, self.time_point, "instance", number)

    def lesion(self, number: int) -> str:
        """Tracking UID of nodule ``number``, the same at every time point."""
        return uid(self.patient_key, "lesion", number)


def write(study: Study, identity: Identity, images: Iterator[Pixels], folder: Path) -> list[Dataset]:
    """Write one file a slice; returns the headers (without pixels), feet first."""
    folder.mkdir(parents=True, exist_ok=True)
    common = _common(study, identity)
    grid = study.scan.grid
    headers = []
    for k, image in enumerate(images):
        data = Dataset()
        data.update(common)
        # Instances are numbered from head to feet, as scanners mostly do: geometry must come from the position.
        number = grid.shape[0] - k
        data.SOPInstanceUID = identity.instance(number)
        data.InstanceNumber = number
        z = round(grid.origin[2] + k * grid.spacing[0], 4)
        data.ImagePositionPatient = [grid.origin[0], grid.origin[1], z]
        data.SliceLocation = z
        headers.append(pydicom.dcmread(_save(data, image, folder / f"IM{number:04d}.dcm"), stop_before_pixels=True))
    return headers


def _save(data: Dataset, image: Pixels, path: Path) -> Path:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    file = FileDataset(str(path), data, file_meta=meta, preamble=b"\0" * 128)
    file.PixelData = (image.astype(np.int32) + 1024).astype("<u2").tobytes()
    file["PixelData"].VR = "OW"
    file.save_as(path, enforce_file_format=True)
    return path


def patient(data: Dataset, study: Study, identity: Identity) -> None:
    """The Patient and General Study modules (PS3.3 C.7.1.1, C.7.2.1), plainly synthetic."""
    person = study.scene.patient
    number = int(uid(identity.patient_key)[5:]) % 1_000_000
    data.PatientName = f"Phantom^Hutong {number:06d}"
    data.PatientID = f"PHANTOM-{number:06d}"
    born = date(2024 - person.age, 1 + number % 12, 1 + number % 28)
    data.PatientBirthDate = born.strftime("%Y%m%d")
    data.PatientSex = person.sex
    years = study.when.year - born.year - ((study.when.month, study.when.day) < (born.month, born.day))
    data.PatientAge = f"{years:03d}Y"
    data.StudyInstanceUID = identity.study
    data.StudyDate = study.when.strftime("%Y%m%d")
    data.StudyTime = f"{8 + number % 9:02d}{number % 60:02d}00"
    data.StudyID = f"P{identity.time_point}"
    data.AccessionNumber = f"PH{number:06d}{identity.time_point}"
    data.ReferringPhysicianName = ""
    data.StudyDescription = "Chest CT (synthetic phantom)"


def _common(study: Study, identity: Identity) -> Dataset:
    data = Dataset()
    patient(data, study, identity)
    _series(data, study, identity)
    _image(data, study)
    return data


def _series(data: Dataset, study: Study, identity: Identity) -> None:
    scan = study.scan
    data.SpecificCharacterSet = "ISO_IR 192"
    data.SOPClassUID = CTImageStorage
    data.Modality = "CT"
    data.SeriesInstanceUID = identity.series
    data.SeriesNumber = 2
    data.SeriesDate = data.AcquisitionDate = data.ContentDate = data.StudyDate
    data.SeriesTime = data.AcquisitionTime = data.ContentTime = data.StudyTime
    data.SeriesDescription = f"Chest {scan.thickness:g} mm {_KERNEL_NAMES[scan.kernel]}"
    data.ProtocolName = "Chest phantom"
    data.BodyPartExamined = "CHEST"
    data.PatientPosition = "HFS"
    data.FrameOfReferenceUID = identity.frame
    data.PositionReferenceIndicator = ""
    data.Manufacturer = MANUFACTURER
    data.ManufacturerModelName = "conformance.phantom"
    data.SoftwareVersions = VERSION
    data.InstitutionName = "Synthetic data"
    data.StationName = "PHANTOM"
    data.DeviceSerialNumber = str(study.scene.seed)


def _image(data: Dataset, study: Study) -> None:
    scan = study.scan
    data.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    data.AcquisitionNumber = 1
    data.KVP = "120"
    data.ConvolutionKernel = _KERNEL_NAMES[scan.kernel]
    data.SliceThickness = f"{scan.thickness:.4g}"
    data.SpacingBetweenSlices = f"{scan.grid.spacing[0]:.6g}"
    data.GantryDetectorTilt = "0"
    data.ReconstructionDiameter = f"{scan.grid.spacing[2] * scan.grid.shape[2]:.6g}"
    data.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    data.PixelSpacing = [scan.grid.spacing[1], scan.grid.spacing[2]]
    data.Rows, data.Columns = scan.grid.shape[1], scan.grid.shape[2]
    data.SamplesPerPixel = 1
    data.PhotometricInterpretation = "MONOCHROME2"
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 12, 11, 0
    data.RescaleIntercept, data.RescaleSlope, data.RescaleType = "-1024", "1", "HU"
    data.WindowCenter, data.WindowWidth = [-600, 40], [1500, 400]
    data.WindowCenterWidthExplanation = ["LUNG", "MEDIASTINUM"]
    data.BurnedInAnnotation = "NO"
    data.LossyImageCompression = "00"
    if study.scene.patient.blood > 100.0:
        data.ContrastBolusAgent = "Iodinated contrast (synthetic)"
