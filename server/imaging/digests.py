"""Digests of stored files: that what is given back is what came.

XXH3 with 128 bits (xxHash 0.8): thirty times as fast as SHA-256 on the same machine, and like it sure to see a changed
bit. It does not keep out who makes two files of one digest on purpose, so nobody is believed for a digest alone: an
instance that seems to be stored already is compared byte by byte. What older versions stored has SHA-256.
"""

import hashlib
from typing import Protocol

import xxhash

_SHA256 = 32


class Digest(Protocol):
    """Takes bytes, gives their digest."""

    def update(self, data: bytes | memoryview, /) -> None:
        """More bytes."""

    def digest(self) -> bytes:
        """Of all till now."""


def new() -> Digest:
    """For what comes now."""
    return xxhash.xxh3_128()


def like(stored: bytes) -> Digest:
    """The kind by which ``stored`` was made."""
    return hashlib.sha256() if len(stored) == _SHA256 else new()
