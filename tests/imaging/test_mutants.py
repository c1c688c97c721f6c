"""Structure-aware damage to sound files, through the whole door: stored or refused with a reason, nothing else."""

import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pydicom.data

from server.imaging.ingest import Ingest, Received
from server.security.access import Access

Make = Callable[..., bytes]
#: The files that pydicom brings along.
FILES = Path(pydicom.data.__file__).parent / "test_files"
#: What a mutation writes over a place: lengths, VRs, delimiters, escapes, signs.
_SCRAPS = [
    *(b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f", b"\x00\x00\x00\x00", b"\xff\xff", b"\x00\x80"),
    *(b"SQ", b"UN", b"OB", b"UT", b"IS", b"DS", b"FD", b"PN", b"AT", b"zz"),
    *(b"\xfe\xff\x00\xe0", b"\xfe\xff\x0d\xe0", b"\xfe\xff\xdd\xe0", b"\x1b$B", b"\\", b"-", b"nan", b"1e999"),
]


def mutants(random: random.Random, count: int) -> Iterator[bytes]:
    sources = [path.read_bytes() for path in sorted(FILES.glob("*.dcm"))]
    sources = [source for source in sources if 200 < len(source) < 60_000]
    for _ in range(count):
        file = bytearray(random.choice(sources))
        for _ in range(random.randint(1, 6)):
            at = random.randrange(128, len(file) - 4)
            scrap = random.choice(_SCRAPS)
            if random.random() < 0.7:
                file[at : at + len(scrap)] = scrap
            elif random.random() < 0.5:
                file[at:at] = scrap
            else:
                del file[at : at + random.randint(1, 40)]
        yield bytes(file[: random.randint(len(file) // 2, len(file))] if random.random() < 0.2 else file)


def test_mutants_are_stored_or_refused(ingest: Ingest, access: Access, make_instance: Make) -> None:
    files = list(mutants(random.Random(20240131), 400))
    outcome = ingest.receive(access, [Received(chunks=[file]) for file in files])
    answered = len(outcome.stored) + len(outcome.already) + len(outcome.refused)
    assert answered == len(files)
    assert len(outcome.stored) > 10 and len(outcome.refused) > 100
    assert all(refused.details and refused.reason for refused in outcome.refused)
    assert len(ingest.receive(access, [Received(chunks=[make_instance()])]).stored) == 1
