"""The content of a report: what was found, where, how large and by whom, as frozen values.

Every writer (SR, SEG, FHIR) starts from a ``Findings`` and every reader ends in one, so an SR read from somebody
else's AI becomes FHIR by the same code as our own adapter's result.

Coordinates are DICOM patient coordinates in mm (LPS, PS3.3 C.7.6.2.1.1); image points are SCOORD (column, row)
pairs in pixels, the centre of the top left pixel at (0.5, 0.5) (PS3.3 C.18.6.1.1).
"""

from dataclasses import dataclass
from datetime import datetime

from terminology.codings import Coding

Point = tuple[float, float, float]


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageReference:
    """One SOP instance, or one frame of it, that something was seen on."""

    sop_class_uid: str
    sop_instance_uid: str
    series_instance_uid: str
    #: 1-based; None for a single-frame image.
    frame_number: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Region:
    """A graphic on one image (SCOORD)."""

    image: ImageReference
    #: POINT, MULTIPOINT, POLYLINE, CIRCLE or ELLIPSE.
    graphic_type: str
    #: (column, row) pairs, pixels.
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Uncertainty:
    """How far the truth may lie from a number, in the number's unit, at 95 % (PS3.16 TID 310, CID 225)."""

    below: float
    #: None where there is no upper limit.
    above: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Measurement:
    """One number with its unit (a NUM item, TID 300 / TID 1419)."""

    concept: Coding
    value: float
    #: UCUM.
    unit: Coding
    method: Coding | None = None
    #: The graphic that the number was taken from, e.g. the long axis.
    region: Region | None = None
    #: Which of several such numbers it is, e.g. mean or maximum (121401 DCM).
    derivation: Coding | None = None
    uncertainty: Uncertainty | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Quality:
    """One coded description, e.g. density = ground glass (a qualitative evaluation, TID 1501)."""

    concept: Coding
    value: Coding
    #: How it was come to, e.g. by a rule on the attenuation.
    method: Coding | None = None
    #: 0..1; None where the author gives none.
    confidence: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Mask:
    """The voxels of one finding: a box of bits inside the grid spanned by ``Findings.sources``."""

    #: First voxel of the box: (slice, row, column), slices counted along ``Findings.sources``.
    origin: tuple[int, int, int]
    #: Extent of the box: (slices, rows, columns).
    shape: tuple[int, int, int]
    #: numpy.packbits of the box in C order, then zlib.
    bits: bytes
    #: How it came of what a person said (Segment Algorithm Name, type SEMIAUTOMATIC); empty for the report's author's.
    method: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One lesion at one time point (TID 1410/1411/1501 measurement group)."""

    #: The same for the same lesion at every time point (PS3.16 TID 1501 Tracking Identifier / Unique Identifier).
    tracking_id: str
    tracking_uid: str
    #: What it is, e.g. 27925004 SCT nodule.
    finding: Coding
    site: Coding | None = None
    laterality: Coding | None = None
    #: Centroid in patient coordinates, mm; None where a report has no geometry.
    center_mm: Point | None = None
    #: 0..1; None where the author gives none.
    confidence: float | None = None
    #: Outline on the central slice.
    region: Region | None = None
    measurements: tuple[Measurement, ...] = ()
    qualities: tuple[Quality, ...] = ()
    mask: Mask | None = None
    #: Whether a person saw or measured it, in a report that a program made otherwise.
    by_person: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Gone:
    """A lesion of an earlier study that is there no more."""

    tracking_id: str
    tracking_uid: str
    #: What it was.
    finding: Coding
    site: Coding | None = None
    laterality: Coding | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Algorithm:
    """Who found it, when it is a program (TID 4019, TID 1004, Contributing Equipment)."""

    name: str
    version: str
    manufacturer: str
    #: Changes whenever the model does (IHE AIR 6.5.3.1).
    device_uid: str
    #: SHA-256 of the model, hex; empty for somebody else's.
    digest: str = ""
    #: (name, value) pairs, e.g. the threshold and the execution provider.
    parameters: tuple[tuple[str, str], ...] = ()
    #: False for a program that a foreign report names without saying that it is an AI.
    is_ai: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class Findings:
    """All that one analysis (or one foreign report) says of one study."""

    #: Analysis key: a hex digest that names input, model and manifest; for foreign reports their SOPInstanceUID.
    key: str
    study_instance_uid: str
    #: The source series' frame of reference; empty where unknown.
    frame_of_reference_uid: str
    #: The images read, in the geometric order of the volume's slices.
    sources: tuple[ImageReference, ...]
    findings: tuple[Finding, ...]
    #: When the analysis was made; timezone-aware.
    timestamp: datetime
    algorithm: Algorithm | None = None
    #: The human observer's name, where a person reported.
    person: str | None = None
    #: The imaging procedure reported (121058 DCM), not the algorithm.
    procedure: Coding | None = None
    #: True for a report that an accountable person has verified (Verification Flag).
    verified: bool = False
    #: Lesions of the prior study that was compared with, and that are there no more.
    gone: tuple[Gone, ...] = ()
    #: What the author says besides, each a sentence (121106 DCM).
    comments: tuple[str, ...] = ()
