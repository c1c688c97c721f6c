"""The number under which a search parameter of a resource type stands in the index tables."""

import zlib
from functools import lru_cache


@lru_cache(maxsize=16384)
def number(resource_type: str, code: str, suffix: str = "") -> int:
    """A stable 32-bit number (signed CRC-32 of the name); a test shows that the standard's parameters don't collide.

    ``suffix`` tells apart what one parameter indexes in several ways: ``identifier`` and ``of-type`` for the modifiers
    of these names, ``0``, ``1``, ... for the components of a composite, ``contained`` before any of these for what is
    indexed of contained resources.
    """
    name = f"{resource_type}.{code}:{suffix}" if suffix else f"{resource_type}.{code}"
    unsigned = zlib.crc32(name.encode())
    return unsigned - (1 << 32) if unsigned >= 1 << 31 else unsigned
