"""Bytes that are where ingest put them, named instead of read."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Stored:
    """Bytes of a pack."""

    pack: str
    offset: int
    length: int

    def __len__(self) -> int:
        return self.length


#: What an answer is made of.
Piece = bytes | Stored
