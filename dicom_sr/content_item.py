"""SR content items, one constructor for each value type: PS3.3 C.17.3 and C.18."""

import struct
from collections.abc import Sequence

from pydicom import Dataset

from dicom_sr.findings import ImageReference
from terminology.codings import Coding

CONTAINS = "CONTAINS"
HAS_CONCEPT_MOD = "HAS CONCEPT MOD"
HAS_PROPERTIES = "HAS PROPERTIES"
HAS_OBS_CONTEXT = "HAS OBS CONTEXT"
HAS_ACQ_CONTEXT = "HAS ACQ CONTEXT"
INFERRED_FROM = "INFERRED FROM"
SELECTED_FROM = "SELECTED FROM"

#: VR limits (PS3.5 6.2): SH of a Code Value, LO of a Code Meaning, DS of a Numeric Value.
_SH, _LO, _DS = 16, 64, 16


def code_item(coding: Coding) -> Dataset:
    """A coding as an item of a code sequence: PS3.3 Table 8.8-1a."""
    item = Dataset()
    if len(coding.value) <= _SH:
        item.CodeValue = coding.value
    else:
        item.LongCodeValue = coding.value
    item.CodingSchemeDesignator = coding.scheme
    item.CodeMeaning = coding.meaning[:_LO]
    return item


def _item(relationship: str, value_type: str, concept: Coding | None, children: Sequence[Dataset]) -> Dataset:
    item = Dataset()
    if relationship:
        item.RelationshipType = relationship
    item.ValueType = value_type
    if concept is not None:
        item.ConceptNameCodeSequence = [code_item(concept)]
    if children:
        item.ContentSequence = list(children)
    return item


def container(relationship: str, concept: Coding, children: Sequence[Dataset], *, template: str = "") -> Dataset:
    """A CONTAINER; ``template`` is the TID where the item starts one (PS3.3 C.18.8)."""
    item = _item(relationship, "CONTAINER", concept, children)
    item.ContinuityOfContent = "SEPARATE"
    if template:
        identification = Dataset()
        identification.MappingResource = "DCMR"
        identification.MappingResourceUID = "1.2.840.10008.8.1.1"
        identification.TemplateIdentifier = template
        item.ContentTemplateSequence = [identification]
    return item


def code(relationship: str, concept: Coding, value: Coding, children: Sequence[Dataset] = ()) -> Dataset:
    """A CODE item."""
    item = _item(relationship, "CODE", concept, children)
    item.ConceptCodeSequence = [code_item(value)]
    return item


def text(relationship: str, concept: Coding, value: str) -> Dataset:
    """A TEXT item."""
    item = _item(relationship, "TEXT", concept, ())
    item.TextValue = value
    return item


def date(relationship: str, concept: Coding, value: str) -> Dataset:
    """A DATE item; ``value`` is a DICOM DA."""
    item = _item(relationship, "DATE", concept, ())
    item.Date = value
    return item


def person_name(relationship: str, concept: Coding, value: str) -> Dataset:
    """A PNAME item."""
    item = _item(relationship, "PNAME", concept, ())
    item.PersonName = value
    return item


def uid_reference(relationship: str, concept: Coding, value: str) -> Dataset:
    """A UIDREF item."""
    item = _item(relationship, "UIDREF", concept, ())
    item.UID = value
    return item


def decimal_string(value: float) -> str:
    """The nearest DS to a float: at most 16 characters (PS3.5 6.2)."""
    exact = repr(value)
    if len(exact) <= _DS:
        return exact
    for digits in range(_DS, 0, -1):
        shorter = f"{value:.{digits}g}"
        if len(shorter) <= _DS:
            return shorter
    raise ValueError("no decimal string holds this number")


def number(relationship: str, concept: Coding, value: float, unit: Coding, children: Sequence[Dataset] = ()) -> Dataset:
    """A NUM item (PS3.3 C.18.1); where a DS can't hold the value, Floating Point Value (0040,A161) does, exactly."""
    item = _item(relationship, "NUM", concept, children)
    measured = Dataset()
    measured.MeasurementUnitsCodeSequence = [code_item(unit)]
    measured.NumericValue = decimal_string(value)
    if float(measured.NumericValue) != value:
        measured.FloatingPointValue = value
    item.MeasuredValueSequence = [measured]
    return item


def image(relationship: str, reference: ImageReference, concept: Coding | None = None) -> Dataset:
    """An IMAGE item (PS3.3 C.18.4)."""
    item = _item(relationship, "IMAGE", concept, ())
    item.ReferencedSOPSequence = [sop_reference(reference)]
    return item


def sop_reference(reference: ImageReference) -> Dataset:
    """A reference to one instance or frame: PS3.3 Table 10-11 with Table 10-3."""
    item = Dataset()
    item.ReferencedSOPClassUID = reference.sop_class_uid
    item.ReferencedSOPInstanceUID = reference.sop_instance_uid
    if reference.frame_number is not None:
        item.ReferencedFrameNumber = reference.frame_number
    return item


def _single(value: float) -> float:
    """Graphic Data is FL: the value that will stand in the file."""
    return struct.unpack("<f", struct.pack("<f", value))[0]  # type: ignore[no-any-return]


def scoord(
    relationship: str, concept: Coding, graphic_type: str, points: Sequence[tuple[float, float]], on: ImageReference
) -> Dataset:
    """A SCOORD selected from one image (PS3.3 C.18.6); points are (column, row) in pixels."""
    item = _item(relationship, "SCOORD", concept, [image(SELECTED_FROM, on)])
    item.GraphicType = graphic_type
    item.GraphicData = [_single(coordinate) for point in points for coordinate in point]
    return item


def scoord3d(
    relationship: str, concept: Coding, graphic_type: str, points: Sequence[tuple[float, ...]], frame_of_reference: str
) -> Dataset:
    """A SCOORD3D (PS3.3 C.18.9); points in mm of the frame of reference."""
    item = _item(relationship, "SCOORD3D", concept, ())
    item.GraphicType = graphic_type
    item.GraphicData = [_single(coordinate) for point in points for coordinate in point]
    item.ReferencedFrameOfReferenceUID = frame_of_reference
    return item
