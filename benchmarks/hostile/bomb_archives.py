"""Folders and zip files that bite whoever imports them; each is made in a folder of its own."""

import os
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

from benchmarks.hostile.mutants import sound


def _bomb(folder: Path) -> None:
    """400 MB of zeros, twice, in 4 MB."""
    with zipfile.ZipFile(folder / "bomb.zip", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name in ("a.dcm", "b.dcm"):
            with archive.open(name, "w", force_zip64=True) as member:
                member.write(bytes(128) + b"DICM")
                for _ in range(400):
                    member.write(bytes(1 << 20))


def _liar(folder: Path) -> None:
    """The same, whose directory says that its members are small."""
    _bomb(folder)
    path = folder / "bomb.zip"
    data = bytearray(path.read_bytes())
    at = 0
    while (at := data.find(b"PK\x01\x02", at)) >= 0:
        struct.pack_into("<I", data, at + 24, 1000)
        at += 4
    path.write_bytes(data)


def _slip(folder: Path) -> None:
    """Names that lead out of the folder, are absolute, of another system, or none."""
    names = (
        "../../../../tmp/slipped.dcm",
        "/etc/slipped.dcm",
        "C:\\slipped.dcm",
        "a/../../b.dcm",
        "x\nname.dcm",
        "\u202e.dcm",
        "n" * 4000,
    )
    with zipfile.ZipFile(folder / "slip.zip", "w") as archive:
        for place, name in enumerate(names):
            archive.writestr(name, sound(80_000_000 + place))


def _broken(folder: Path) -> None:
    """Damaged in every method of compression; encrypted; cut; overlapping; nested."""
    for name, method in {"deflate": zipfile.ZIP_DEFLATED, "bzip2": zipfile.ZIP_BZIP2, "lzma": zipfile.ZIP_LZMA}.items():
        path = folder / f"{name}.zip"
        with zipfile.ZipFile(path, "w", method) as archive:
            archive.writestr("one.dcm", sound(80_000_100) + os.urandom(4000))
        data = bytearray(path.read_bytes())
        for at in range(60, 400, 7):
            data[at] ^= 0x5A
        path.write_bytes(data)
        # Damage in the stream alone: the method's own header stays as it was.
        with zipfile.ZipFile(folder / f"{name}-late.zip", "w", method) as archive:
            archive.writestr("one.dcm", sound(80_000_101) + os.urandom(4000))
        late = bytearray((folder / f"{name}-late.zip").read_bytes())
        late[2000:2040] = bytes(40)
        (folder / f"{name}-late.zip").write_bytes(late)
    whole = (folder / "deflate-late.zip").read_bytes()
    (folder / "cut.zip").write_bytes(whole[: len(whole) // 2])
    other = bytearray(whole)
    struct.pack_into("<H", other, other.index(b"PK\x01\x02") + 10, 99)
    (folder / "method.zip").write_bytes(other)
    secret = bytearray(whole)
    struct.pack_into("<H", secret, secret.index(b"PK\x01\x02") + 8, 1)
    (folder / "secret.zip").write_bytes(secret)
    with zipfile.ZipFile(folder / "nested.zip", "w") as archive:
        archive.writestr("deflate.zip", whole)
    (folder / "none.zip").write_bytes(b"PK\x03\x04" + os.urandom(2000))
    (folder / "empty.zip").write_bytes(b"")


def _members(folder: Path) -> None:
    """50,000 members without a byte."""
    with zipfile.ZipFile(folder / "members.zip", "w") as archive:
        for number in range(50_000):
            archive.writestr(f"{number}.dcm", b"")


def _odd_files(folder: Path) -> None:
    """Links in a circle, a pipe, names that are no text, a folder 1,500 deep, a file with a hole of 4 GB."""
    (folder / "circle").symlink_to(folder)
    (folder / "passwd").symlink_to("/etc/passwd")
    os.mkfifo(folder / "pipe")
    (Path(os.fsdecode(os.fsencode(folder) + b"/\xff\xfe\n.dcm"))).write_bytes(sound(80_000_200))
    with (folder / "hole.dcm").open("wb") as file:
        file.write(bytes(128) + b"DICM")
        file.truncate(4 << 30)
    here = os.open(folder, os.O_RDONLY)
    for _ in range(1500):
        os.mkdir("d", dir_fd=here)
        deeper = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = deeper
    os.close(here)


ARCHIVES: dict[str, Callable[[Path], None]] = {
    "zip bomb": _bomb, "zip that lies": _liar, "zip slip": _slip, "broken zips": _broken, "50,000 members": _members,
    "odd files": _odd_files,
}  # fmt: skip
