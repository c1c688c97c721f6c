"""Frames as a film: AV1 in an MP4 file (ISO/IEC 14496-12, AOM's AV1 Codec ISO Media File Format Binding).

AV1 because it is free of licence fees and its encoder comes with the codecs that we have; browsers play it.
"""

import struct
from collections.abc import Iterable, Iterator

import imagecodecs
import numpy as np
from PIL import Image

from server.errors import NotAcceptable

_CONTAINERS = frozenset({b"moov", b"trak", b"mdia", b"minf", b"stbl"})
#: Header of a full box, and what stands in a stsd and in an av01 before their inner boxes.
_STSD_HEAD, _SAMPLE_ENTRY = 8, 78
#: The encoder's fastest: one frame of 512 x 512 takes some milliseconds.
_SPEED = 10
_TIMESCALE = 90_000
_MATRIX = struct.pack(">9I", 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)


def mp4(pictures: Iterable[Image.Image], quality: int, frame_time: float) -> bytes:
    """The pictures one after the other, each for ``frame_time`` milliseconds."""
    frames = np.stack([np.asarray(picture.convert("RGB")) for picture in pictures])
    encoded = bytes(
        imagecodecs.avif_encode(
            frames if len(frames) > 1 else frames[0], level=quality, speed=_SPEED, pixelformat="420", numthreads=1
        )
    )
    boxes = dict(_boxes(encoded, 0, len(encoded)))
    if b"av1C" not in boxes or b"mdat" not in boxes:
        raise NotAcceptable("This is not given as a film; ask for image/gif.", expression="Accept")
    start, end = boxes[b"mdat"]
    sizes = [end - start]
    if b"stsz" in boxes:
        at = boxes[b"stsz"][0]
        count = struct.unpack_from(">I", encoded, at + 8)[0]
        sizes = list(struct.unpack_from(f">{count}I", encoded, at + 12))
        start = struct.unpack_from(">I", encoded, boxes[b"stco"][0] + 8)[0]
    keys = [1]
    if b"stss" in boxes:
        at = boxes[b"stss"][0]
        keys = list(struct.unpack_from(f">{struct.unpack_from('>I', encoded, at + 4)[0]}I", encoded, at + 8))
    configuration = encoded[slice(*boxes[b"av1C"])]
    height, width = frames.shape[1:3]
    head = _box(b"ftyp", b"isom" + struct.pack(">I", 512) + b"isomiso6av01mp41")
    duration = max(1, round(frame_time * _TIMESCALE / 1000))
    moov = _moov(configuration, width, height, sizes, keys, duration, 0)
    moov = _moov(configuration, width, height, sizes, keys, duration, len(head) + len(moov) + 8)
    return head + moov + _box(b"mdat", encoded[start : start + sum(sizes)])


def _boxes(data: bytes, at: int, end: int) -> Iterator[tuple[bytes, tuple[int, int]]]:
    """Every box with where its content is; containers opened."""
    while at + 8 <= end:
        size, kind = struct.unpack_from(">I4s", data, at)
        yield kind, (at + 8, at + size)
        if kind in _CONTAINERS:
            yield from _boxes(data, at + 8, at + size)
        elif kind == b"stsd":
            yield from _boxes(data, at + 8 + _STSD_HEAD, at + size)
        elif kind == b"av01":
            yield from _boxes(data, at + 8 + _SAMPLE_ENTRY, at + size)
        elif kind == b"meta":
            # A single picture keeps its configuration among its item's properties.
            yield from _boxes(data, at + 12, at + size)
        elif kind in (b"iprp", b"ipco"):
            yield from _boxes(data, at + 8, at + size)
        at += max(size, 8)


def _box(kind: bytes, *parts: bytes) -> bytes:
    content = b"".join(parts)
    return struct.pack(">I4s", len(content) + 8, kind) + content


def _moov(
    configuration: bytes, width: int, height: int, sizes: list[int], keys: list[int], duration: int, offset: int
) -> bytes:
    """The description of one video track whose samples lie one after the other from ``offset``."""
    whole = duration * len(sizes)
    movie = struct.pack(">6IH10x", 0, 0, 0, _TIMESCALE, whole, 0x10000, 0x100)
    track = struct.pack(">6I8x4H", 3, 0, 0, 1, 0, whole, 0, 0, 0, 0)
    language = 0x55C4
    media = struct.pack(">5I2H", 0, 0, 0, _TIMESCALE, whole, language, 0)
    entry = struct.pack(">6xH16xHHIIIH32sHh", 1, width, height, 0x480000, 0x480000, 0, 1, b"", 24, -1)
    table = _box(
        b"stbl",
        _box(b"stsd", struct.pack(">II", 0, 1), _box(b"av01", entry, _box(b"av1C", configuration))),
        _box(b"stts", struct.pack(">4I", 0, 1, len(sizes), duration)),
        _box(b"stss", struct.pack(f">II{len(keys)}I", 0, len(keys), *keys)),
        _box(b"stsc", struct.pack(">5I", 0, 1, 1, len(sizes), 1)),
        _box(b"stsz", struct.pack(f">III{len(sizes)}I", 0, 0, len(sizes), *sizes)),
        _box(b"stco", struct.pack(">III", 0, 1, offset)),
    )
    return _box(
        b"moov",
        _box(b"mvhd", movie, _MATRIX, b"\0" * 24, struct.pack(">I", 2)),
        _box(
            b"trak",
            _box(b"tkhd", track, _MATRIX, struct.pack(">II", width << 16, height << 16)),
            _box(
                b"mdia",
                _box(b"mdhd", media),
                _box(b"hdlr", struct.pack(">II4s12x", 0, 0, b"vide"), b"frames\0"),
                _box(
                    b"minf",
                    _box(b"vmhd", struct.pack(">I8x", 1)),
                    _box(b"dinf", _box(b"dref", struct.pack(">II", 0, 1), _box(b"url ", struct.pack(">I", 1)))),
                    table,
                ),
            ),
        ),
    )
