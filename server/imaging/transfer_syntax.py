"""The transfer syntaxes of compressed pixels, by what encodes them (PS3.5 annex A.4, PS3.6 table A-1)."""

RLE = "1.2.840.10008.1.2.5"
JPEG_BASELINE, JPEG_EXTENDED, JPEG_LOSSLESS, JPEG_LOSSLESS_SV1 = (f"1.2.840.10008.1.2.4.{n}" for n in (50, 51, 57, 70))
JPEG_LS_LOSSLESS, JPEG_LS_NEAR = (f"1.2.840.10008.1.2.4.{n}" for n in (80, 81))
JPEG_2000_LOSSLESS, JPEG_2000_ANY = (f"1.2.840.10008.1.2.4.{n}" for n in (90, 91))
HTJ2K_LOSSLESS, HTJ2K_RPCL, HTJ2K_ANY = (f"1.2.840.10008.1.2.4.{n}" for n in (201, 202, 203))
#: The JPEG processes by cosines, which turn colours, and those that lose nothing.
JPEG_DCT = frozenset({JPEG_BASELINE, JPEG_EXTENDED})
JPEG = JPEG_DCT | {JPEG_LOSSLESS, JPEG_LOSSLESS_SV1}
JPEG_LS = frozenset({JPEG_LS_LOSSLESS, JPEG_LS_NEAR})
JPEG_2000 = frozenset({JPEG_2000_LOSSLESS, JPEG_2000_ANY})
HTJ2K = frozenset({HTJ2K_LOSSLESS, HTJ2K_RPCL, HTJ2K_ANY})
#: Compressed ones that are decoded, and encoded.
DECODABLE = JPEG | JPEG_LS | JPEG_2000 | HTJ2K | {RLE}
#: Those in which pixels lose something when we write them.
LOSSY = frozenset({JPEG_BASELINE, JPEG_EXTENDED, JPEG_LS_NEAR, JPEG_2000_ANY, HTJ2K_ANY})
#: PS3.18 table 8.7.3-5: how frames of a transfer syntax are called when they are given as they are stored.
_MEDIA_TYPES = {
    **dict.fromkeys(JPEG, "image/jpeg"),
    **dict.fromkeys(JPEG_LS, "image/jls"),
    **dict.fromkeys(JPEG_2000, "image/jp2"),
    **dict.fromkeys(HTJ2K, "image/jphc"),
    RLE: "image/dicom-rle",
    **dict.fromkeys((f"1.2.840.10008.1.2.4.{n}" for n in (92, 93)), "image/jpx"),
    **dict.fromkeys((f"1.2.840.10008.1.2.4.{n}" for n in (100, 101)), "video/mpeg"),
    **dict.fromkeys((f"1.2.840.10008.1.2.4.{n}" for n in range(102, 109)), "video/mp4"),
}


def media_type(transfer_syntax: str) -> str:
    """What a frame is as it is stored."""
    return _MEDIA_TYPES.get(transfer_syntax, "application/octet-stream")
