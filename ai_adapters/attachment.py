"""What a nodule touches: the pleura (of chest wall, diaphragm or mediastinum) or a vessel.

By what lies in contact with it and is as dense: a wall is thick, a vessel thin. A fissure is too faint to be seen
without looking for it as a plane, so none is named. Lengths are mm, attenuations HU.
"""

from collections.abc import Iterator

from ai_adapters.lesion import Lesion, distance
from terminology.codings import Coding

# PS3.16 TID 4104; values of CID 6129 and CID 7151.
SITE_INVOLVEMENT = Coding(value="112008", scheme="DCM", meaning="Site involvement")
PLEURA = Coding(value="3120008", scheme="SCT", meaning="Pleural structure")
VESSEL = Coding(value="59820001", scheme="SCT", meaning="Blood Vessel")

#: A wall is deeper than this from its surface; no vessel inside a lung is.
_WALL_DEPTH_MM = 4.0
#: What lies this near is in contact.
_CONTACT_MM = 1.6
#: Share of a nodule's surroundings that is in contact, from which it counts.
_LEAST_SHARE = {PLEURA: 0.08, VESSEL: 0.05}
#: What is denser than lung by less is no vessel but a fissure or a twig, which stand out beside ground glass, too.
_VESSEL_FROM_HU = 260.0
#: How often it is right, on phantom nodules (seeds 20201 to 20212, 20301 to 20304): 43 of 43 at the pleura, of which
#: no more than this is sure; of 142 readings said to be on a vessel 112 were of a nodule placed on one.
_RIGHT = {PLEURA: 0.93, VESSEL: 0.79}


def attachments(lesion: Lesion) -> Iterator[tuple[Coding, float]]:
    """What the nodule touches, each with a confidence (0..1)."""
    for what, share in contacts(lesion).items():
        if share > _LEAST_SHARE[what]:
            yield what, _RIGHT[what]


def contacts(lesion: Lesion) -> dict[Coding, float]:
    """The share of the nodule's immediate surroundings that each takes."""
    away = distance(~lesion.own, lesion.spacing)
    rim = (away > 0) & (away <= max(_CONTACT_MM, *lesion.spacing[1:]))
    deep = distance(lesion.others, lesion.spacing) > _WALL_DEPTH_MM
    wall = lesion.others & (distance(~deep, lesion.spacing) <= _WALL_DEPTH_MM + 0.5) if deep.any() else deep
    touching = rim & lesion.others
    vessel = lesion.others & ~wall & (lesion.quiet > lesion.lung + _VESSEL_FROM_HU)
    count = max(1, int(rim.sum()))
    return {
        PLEURA: float((touching & wall).sum() / count),
        VESSEL: float((touching & vessel).sum() / count),
    }
