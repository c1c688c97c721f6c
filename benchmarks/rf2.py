"""Writes made-up releases in SNOMED CT's release format (RF2), of any size. Nothing of SNOMED CT is in them."""

import random
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path

DATE = "20300101"
ROOT = 138875005
_MODULE = "900000000000207008"
_COLUMNS = {
    "sct2_Concept": ("id", "effectiveTime", "active", "moduleId", "definitionStatusId"),
    "sct2_Description": (
        "id", "effectiveTime", "active", "moduleId", "conceptId", "languageCode", "typeId", "term",
        "caseSignificanceId",
    ),
    "sct2_Relationship": (
        "id", "effectiveTime", "active", "moduleId", "sourceId", "destinationId", "relationshipGroup", "typeId",
        "characteristicTypeId", "modifierId",
    ),
    "der2_cRefset_Language": (
        "id", "effectiveTime", "active", "moduleId", "refsetId", "referencedComponentId", "acceptabilityId",
    ),
    "der2_Refset_Simple": ("id", "effectiveTime", "active", "moduleId", "refsetId", "referencedComponentId"),
    "der2_sRefset_SimpleMap": (
        "id", "effectiveTime", "active", "moduleId", "refsetId", "referencedComponentId", "mapTarget",
    ),
    "der2_ssRefset_ModuleDependency": (
        "id", "effectiveTime", "active", "moduleId", "refsetId", "referencedComponentId", "sourceEffectiveTime",
        "targetEffectiveTime",
    ),
}  # fmt: skip
_PLACES = {
    "sct2_Concept": "Terminology/sct2_Concept_Snapshot_INT",
    "sct2_Description": "Terminology/sct2_Description_Snapshot-en_INT",
    "sct2_Relationship": "Terminology/sct2_Relationship_Snapshot_INT",
    "der2_cRefset_Language": "Refset/Language/der2_cRefset_LanguageSnapshot-en_INT",
    "der2_Refset_Simple": "Refset/Content/der2_Refset_SimpleSnapshot_INT",
    "der2_sRefset_SimpleMap": "Refset/Map/der2_sRefset_SimpleMapSnapshot_INT",
    "der2_ssRefset_ModuleDependency": "Refset/Metadata/der2_ssRefset_ModuleDependencySnapshot_INT",
}
_WORDS = [
    *("lung", "nodule", "solid", "ground", "glass", "upper", "lower", "lobe", "left", "right", "acute", "chronic"),
    *("fracture", "femur", "distal", "proximal", "injury", "infection", "viral", "bacterial", "disorder", "finding"),
    *("structure", "procedure", "measurement", "benign", "malignant", "tumour", "artery", "vein", "nerve", "muscle"),
    *("bone", "joint", "skin", "liver", "kidney", "heart", "valve", "replacement", "imaging", "computed", "肺结节"),
]
Row = tuple[object, ...]


def write(path: Path, files: dict[str, Iterable[Row]], date: str = DATE) -> None:
    """A release's zip; each row begins with id and active, the time and module are put between."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as out:
        for kind, rows in files.items():
            name = f"SnomedCT_MadeUp_{date}/Snapshot/{_PLACES[kind]}_{date}.txt"
            with out.open(name, "w", force_zip64=True) as lines:
                lines.write("\t".join(_COLUMNS[kind]).encode() + b"\r\n")
                for id, active, *rest in rows:
                    lines.write("\t".join(map(str, (id, date, active, _MODULE, *rest))).encode() + b"\r\n")


def large(path: Path, concepts: int, seed: int = 1) -> None:
    """As many concepts as are asked for, in a hierarchy of SNOMED CT's shape: several parents, 15 ancestors or so."""
    made = random.Random(seed)
    ids = [ROOT, *(200_000_000 + 7 * n for n in range(1, concepts))]
    write(
        path,
        {
            "sct2_Concept": ((id, 1, "900000000000074008") for id in ids),
            "sct2_Description": _descriptions(ids, made),
            "sct2_Relationship": _relationships(ids, made),
            "der2_cRefset_Language": (
                (f"l{n}", 1, "900000000000509007", 2 * n + 1, "900000000000548007") for n in range(len(ids))
            ),
            "der2_Refset_Simple": ((f"s{n}", 1, 447566000, id) for n, id in enumerate(ids) if n % 50 == 0),
            "der2_sRefset_SimpleMap": (
                (f"m{n}", 1, 446608001, id, f"C{n % 1000}") for n, id in enumerate(ids) if n % 20 == 0
            ),
        },
    )


def _descriptions(ids: list[int], made: random.Random) -> Iterator[Row]:
    """A fully specified name and two synonyms each, the first of which is preferred."""
    for n, id in enumerate(ids):
        words = made.choices(_WORDS, k=made.randint(2, 6))
        term = " ".join(words)
        yield 2 * n + 1, 1, id, "en", "900000000000013009", term, "900000000000448009"
        yield 2 * n + 2, 1, id, "en", "900000000000003001", f"{term} (finding)", "900000000000448009"
        yield 10_000_000 + n, 1, id, "en", "900000000000013009", f"{term} {n}", "900000000000448009"


def _relationships(ids: list[int], made: random.Random) -> Iterator[Row]:
    is_a, site = 116680003, 363698007
    for n in range(1, len(ids)):
        over = {made.randrange(max(0, n // 5 - 3), n // 5 + 1)}
        if n % 3 == 0:
            over.add(made.randrange(0, n // 4 + 1))
        for at, parent in enumerate(sorted(over)):
            if parent != n:
                yield f"{n}{at}", 1, ids[n], ids[parent], 0, is_a, "900000000000011006", "900000000000451002"
        yield f"{n}9", 1, ids[n], ids[made.randrange(len(ids))], 1, site, "900000000000011006", "900000000000451002"
