"""CT instances of 525 kB (512 x 512 x 16 bit), every one with UIDs of its own, made fast enough not to be measured."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

#: Instances of one series; a study has one series.
SERIES = 100
_SIZE = 512
#: All of one length, so that one UID takes the place of another.
_STUDY, _SERIES, _INSTANCE = (f"2.25.{digit * 39}" for digit in "123")
_NUMBER = "87654321"


@dataclass(frozen=True, kw_only=True, slots=True)
class Instance:
    """One Part 10 file in two pieces: its header, and the pixel data that all of them share."""

    study: str
    series: str
    uid: str
    head: bytes
    pixels: bytes
    #: Where the data set starts behind the file meta information.
    dataset: int

    @property
    def length(self) -> int:
        """Bytes of the file."""
        return len(self.head) + len(self.pixels)


class Maker:
    """Makes series after series; nothing is made twice."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        file = _template()
        cut = len(file) - _SIZE * _SIZE * 2
        self._head, self._pixels = file[:cut], file[cut:]
        # File meta information ends where the data set's first element, group 0008, starts.
        self._dataset = file.index(b"\x08\x00\x05\x00")

    def series(self, count: int = SERIES) -> list[Instance]:
        """A study of one series of ``count`` instances."""
        study, series = self._uid(), self._uid()
        number = self._random.randrange(10**8)
        head = self._head.replace(_STUDY.encode(), study.encode()).replace(_SERIES.encode(), series.encode())
        head = head.replace(_NUMBER.encode(), f"{number:08}".encode())
        return [self._instance(head, study, series, index) for index in range(1, count + 1)]

    def many(self, count: int) -> Iterator[Instance]:
        """``count`` instances in series of 100."""
        while count > 0:
            yield from self.series(min(count, SERIES))
            count -= SERIES

    def _instance(self, head: bytes, study: str, series: str, index: int) -> Instance:
        uid = self._uid()
        head = head.replace(_INSTANCE.encode(), uid.encode()).replace(b"IS\x04\x009999", b"IS\x04\x00%04d" % index)
        return Instance(study=study, series=series, uid=uid, head=head, pixels=self._pixels, dataset=self._dataset)

    def _uid(self) -> str:
        return f"2.25.{self._random.randrange(10**38, 3 * 10**38)}"


def _template() -> bytes:
    data = Dataset()
    data.update(_identity())
    data.update(_acquisition())
    data.update(_image())
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data["PixelData"].VR = "OW"
    out = BytesIO()
    data.save_as(out, enforce_file_format=True)
    return out.getvalue()


def _identity() -> Dataset:
    data = Dataset()
    data.SpecificCharacterSet = "ISO_IR 100"
    data.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL", "CT_SOM5 SPI"]
    data.SOPClassUID, data.SOPInstanceUID = CTImageStorage, _INSTANCE
    data.StudyDate = data.SeriesDate = data.AcquisitionDate = data.ContentDate = "20240131"
    data.StudyTime = data.SeriesTime = data.AcquisitionTime = data.ContentTime = "101500.250000"
    data.AccessionNumber = f"A{_NUMBER}"
    data.Modality, data.Manufacturer, data.InstitutionName = "CT", "Maker", "Hospital"
    data.ReferringPhysicianName = "Li^Wei"
    data.StationName, data.StudyDescription, data.SeriesDescription = "CT01", "Chest routine", "Chest 1.0 B70f"
    data.ManufacturerModelName = "Model 64"
    data.PatientName, data.PatientID = "Hu^Tong", f"P{_NUMBER}"
    data.PatientBirthDate, data.PatientSex, data.PatientAge = "19700102", "F", "054Y"
    data.StudyInstanceUID, data.SeriesInstanceUID = _STUDY, _SERIES
    data.StudyID, data.SeriesNumber, data.AcquisitionNumber, data.InstanceNumber = "1", 2, 1, 9999
    source = Dataset()
    source.ReferencedSOPClassUID, source.ReferencedSOPInstanceUID = CTImageStorage, "2.25.7"
    data.ReferencedImageSequence = [source]
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = "24627-2", "LN", "CT Chest"
    data.ProcedureCodeSequence = [code]
    return data


def _acquisition() -> Dataset:
    data = Dataset()
    data.BodyPartExamined, data.SliceThickness, data.KVP = "CHEST", "1", "120"
    data.DataCollectionDiameter, data.DeviceSerialNumber, data.SoftwareVersions = "500", "12345", "syngo CT 2012B"
    data.ProtocolName, data.ReconstructionDiameter = "Thorax", "350"
    data.DistanceSourceToDetector, data.DistanceSourceToPatient = "1040", "570"
    data.GantryDetectorTilt, data.TableHeight, data.RotationDirection = "0", "144", "CW"
    data.ExposureTime, data.XRayTubeCurrent, data.Exposure = "500", "230", "115"
    data.FilterType, data.GeneratorPower, data.FocalSpots = "WEDGE_2", "28", "1.2"
    data.ConvolutionKernel, data.PatientPosition = "B70f", "FFS"
    data.FrameOfReferenceUID, data.PositionReferenceIndicator = "2.25.5", ""
    data.ImagePositionPatient, data.SliceLocation = ["-172.5", "-310.25", "-712.5"], "-712.5"
    data.ImageOrientationPatient = ["1", "0", "0", "0", "1", "0"]
    private = data.private_block(0x0029, "SIEMENS CSA HEADER", create=True)
    private.add_new(0x08, "CS", "IMAGE NUM 4")
    private.add_new(0x10, "OB", bytes(2048))
    return data


def _image() -> Dataset:
    data = Dataset()
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.Rows = data.Columns = _SIZE
    data.PixelSpacing = ["0.68359375", "0.68359375"]
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 12, 11, 0
    data.SmallestImagePixelValue, data.LargestImagePixelValue = 0, 4095
    data.WindowCenter, data.WindowWidth = ["-600", "40"], ["1500", "400"]
    data.WindowCenterWidthExplanation = ["WINDOW1", "WINDOW2"]
    data.RescaleIntercept, data.RescaleSlope = "-1024", "1"
    # A slope with noise: pictures of it cost what pictures of a CT cost.
    down, across = np.mgrid[0:_SIZE, 0:_SIZE]
    noise = np.random.default_rng(1).integers(0, 200, (_SIZE, _SIZE))
    data.PixelData = (down * 3 + across * 2 + noise).astype("<u2").tobytes()
    return data
