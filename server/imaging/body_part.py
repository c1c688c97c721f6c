"""Body Part Examined (0018,0015) as a SNOMED CT code (PS3.16 annex L), from pydicom's tables of the standard."""

from functools import lru_cache

from pydicom.sr._concepts_dict import concepts

from terminology.codings import Coding

#: Common anatomic regions (CID 4031) and those of annex L that it lacks (CID 4030).
_GROUPS = (4031, 4030)
#: Terms of annex L that are no plain run of the meaning's letters, by the name of the concept in pydicom.
_TERMS = {
    "CHESTABDOMEN": "ChestAndAbdomen",
    "CHESTABDPELVIS": "ChestAbdomenAndPelvis",
    "ABDOMENPELVIS": "AbdomenAndPelvis",
    "NECKCHEST": "NeckAndChest",
    "NECKCHESTABDOMEN": "NeckChestAndAbdomen",
    "NECKCHESTABDPELV": "NeckChestAbdomenAndPelvis",
    "HEADNECK": "HeadAndNeck",
    "CSPINE": "CervicalSpine",
    "TSPINE": "ThoracicSpine",
    "LSPINE": "LumbarSpine",
    # No term of annex L, but what senders write.
    "THORAX": "Chest",
    "LUNG": "Lung",
}


@lru_cache(maxsize=1)
def _by_term() -> dict[str, Coding]:
    found: dict[str, Coding] = {}
    named: dict[str, Coding] = {}
    for name, codes in concepts["SCT"].items():
        for value, (meaning, groups) in codes.items():
            coding = Coding(value=value, scheme="SCT", meaning=meaning)
            if groups:
                named.setdefault(name, coding)
            if any(group in groups for group in _GROUPS):
                found.setdefault(name.upper(), coding)
    return found | {term: named[name] for term, name in _TERMS.items() if name in named}


def coding_of(term: str) -> Coding | None:
    """The code of one defined term; None for what the table does not know."""
    return _by_term().get(term.upper().replace(" ", "").replace("_", ""))
