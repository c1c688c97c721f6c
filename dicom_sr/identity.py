"""Names that follow from content: a rerun that serialises the same Findings writes the same UIDs and ids.

UIDs: PS3.5 B.2 (2.25 with a UUID as integer), or a digest below an organisation's own root. FHIR ids:
https://hl7.org/fhir/R4/datatypes.html#id, 1 to 64 of A-Z, a-z, 0-9, '-' and '.'.
"""

import hashlib
import uuid

#: Where our names start; nothing else may change it, or every UID of a rerun would.
_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "urn:hutong:report")
_UID_LENGTH = 64


def uid(root: str, *parts: str) -> str:
    """The UID that follows from the parts, below ``root`` ("2.25" or an organisation's own)."""
    name = "\x1f".join(parts)
    if root == "2.25":
        return f"2.25.{uuid.uuid5(_NAMESPACE, name).int}"
    digits = str(int.from_bytes(hashlib.sha256(name.encode()).digest(), "big"))
    # A component must not start with 0 (PS3.5 9.1).
    return f"{root}.1{digits}"[:_UID_LENGTH]


def resource_id(*parts: str) -> str:
    """The FHIR id that follows from the parts: 40 hexadecimal digits."""
    return hashlib.sha256("\x1f".join(parts).encode()).hexdigest()[:40]


def sr_uid(root: str, key: str) -> str:
    """SOPInstanceUID of the SR of the analysis ``key``."""
    return uid(root, "sr", key)


def seg_uid(root: str, key: str) -> str:
    """SOPInstanceUID of the SEG of the analysis ``key``."""
    return uid(root, "seg", key)
