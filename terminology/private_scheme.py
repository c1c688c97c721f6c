"""The few concepts that no standard table at hand has a code for, in a scheme of our own.

DICOM wants a private scheme declared in the object that uses it: Coding Scheme Identification Sequence
(PS3.3 C.12.1.1.1). The designator starts with 99 as PS3.16 chapter 8 reserves it.
"""

import uuid
from dataclasses import dataclass

from terminology.codings import SYSTEMS, Coding

DESIGNATOR = "99HUTONG"
#: A UID of the 2.25 form (PS3.5 B.2) made from the FHIR URI that the same scheme has, so both name one thing.
UID = f"2.25.{uuid.uuid5(uuid.NAMESPACE_URL, f'urn:hutong:coding-scheme:{DESIGNATOR}').int}"

#: Attenuation classes of a pulmonary nodule for which pydicom's PS3.16 tables carry no code; ground glass has
#: one (112120 DCM). The terms are those of the Fleischner Society's glossary.
SOLID = Coding(value="solid", scheme=DESIGNATOR, meaning="Solid")
PART_SOLID = Coding(value="part-solid", scheme=DESIGNATOR, meaning="Part-solid")

#: Central or all through, which lung pathways count as benign.
BENIGN_CALCIFICATION = Coding(value="benign-calcification", scheme=DESIGNATOR, meaning="Benign calcification")

# How large the solid part of a part-solid nodule is.
SOLID_PART_DIAMETER = Coding(value="solid-component-diameter", scheme=DESIGNATOR, meaning="Diameter of the solid part")
SOLID_PART_VOLUME = Coding(value="solid-component-volume", scheme=DESIGNATOR, meaning="Volume of the solid part")

# By what a description was come to.
ATTENUATION_RULE = Coding(value="attenuation-rule", scheme=DESIGNATOR, meaning="Rule on attenuation")
ATTENUATION_AND_NETWORK = Coding(
    value="attenuation-and-network", scheme=DESIGNATOR, meaning="Rule on attenuation with a neural network"
)
OUTLINE_RULE = Coding(value="outline-rule", scheme=DESIGNATOR, meaning="Rule on the outline")
CONTACT_RULE = Coding(value="contact-rule", scheme=DESIGNATOR, meaning="Rule on what touches the lesion")

# What a lesion became between two studies; the answers are of CID 6002 and CID 240.
CHANGE = Coding(value="change-since-prior", scheme=DESIGNATOR, meaning="Change since prior study")
TIME_SINCE_PRIOR = Coding(value="time-since-prior", scheme=DESIGNATOR, meaning="Time since prior study")
VOLUME_CHANGE = Coding(value="volume-change", scheme=DESIGNATOR, meaning="Volume change since prior study")
DIAMETER_CHANGE = Coding(value="diameter-change", scheme=DESIGNATOR, meaning="Mean diameter change since prior study")
DOUBLING_TIME = Coding(value="volume-doubling-time", scheme=DESIGNATOR, meaning="Volume doubling time")

#: Measurement Method of what was measured of a detector's box, and not of the lesion in it.
BOUNDING_BOX = Coding(value="bounding-box", scheme=DESIGNATOR, meaning="Extent of a detector's bounding box")


@dataclass(frozen=True, kw_only=True, slots=True)
class SchemeIdentification:
    """One item of the Coding Scheme Identification Sequence (0008,0110)."""

    designator: str
    name: str
    #: Empty where the scheme has no UID that we know of.
    uid: str
    responsible: str


_PRIVATE = {
    DESIGNATOR: SchemeIdentification(
        designator=DESIGNATOR, name="Hutong local concepts", uid=UID, responsible="Hutong"
    ),
    "99IHE": SchemeIdentification(
        designator="99IHE",
        name="IHE private codes",
        uid=SYSTEMS["99IHE"].removeprefix("urn:oid:"),
        responsible="IHE International",
    ),
}


def identification(scheme: str) -> SchemeIdentification | None:
    """How a report declares a scheme; None for those that DICOM itself registers (PS3.16 chapter 8)."""
    if scheme in _PRIVATE:
        return _PRIVATE[scheme]
    if scheme.startswith("99"):
        return SchemeIdentification(designator=scheme, name=scheme, uid="", responsible="")
    return None
