"""HTTP requests that no honest client sends; each is given as the bytes that go onto the socket."""

import gzip
from collections.abc import Iterator
from urllib.parse import quote

from benchmarks.hostile.mutants import sound
from benchmarks.hostile.wire import BOUNDARY, STOW, multipart

_PATH = "/dicomweb/studies"
_JSON = 'multipart/related; type="application/dicom+json"; boundary=hostile'
_XML = 'multipart/related; type="application/dicom+xml"; boundary=hostile'
_LAUGHS = (
    '<?xml version="1.0"?><!DOCTYPE l [<!ENTITY a0 "ha">'
    + "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 12))
    + "]><NativeDicomModel>&a11;</NativeDicomModel>"
)
_OUTSIDE = '<?xml version="1.0"?><!DOCTYPE l [<!ENTITY x SYSTEM "file:///etc/passwd">]><NativeDicomModel>&x;</NativeDicomModel>'


def requests(port: int) -> Iterator[tuple[str, list[bytes]]]:
    """Every request under its name."""
    yield from _multiparts(port)
    yield from _framing(port)
    yield from _queries(port)
    yield from _headers(port)
    yield from _documents(port)


def _post(port: int, body: bytes, kind: str = STOW, path: str = _PATH, **headers: str) -> list[bytes]:
    lines = {"Host": f"127.0.0.1:{port}", "Content-Type": kind, "Content-Length": str(len(body)), "Connection": "close"}
    lines |= {name.replace("_", "-"): value for name, value in headers.items()}
    head = f"POST {path} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in lines.items()) + "\r\n"
    return [head.encode("latin_1"), body]


def _get(port: int, path: str, *headers: str) -> list[bytes]:
    lines = [f"GET {path} HTTP/1.1", f"Host: 127.0.0.1:{port}", "Connection: close", *headers, "", ""]
    return ["\r\n".join(lines).encode("latin_1")]


def _part(body: bytes, kind: str) -> bytes:
    return f"\r\n--{BOUNDARY}\r\nContent-Type: {kind}\r\n\r\n".encode() + body + f"\r\n--{BOUNDARY}--\r\n".encode()


def _multiparts(port: int) -> Iterator[tuple[str, list[bytes]]]:
    yield "gzip body", _post(port, gzip.compress(bytes(64 << 20)), Content_Encoding="gzip")
    yield "100,000 empty parts", _post(port, multipart([b""] * 100_000))
    yield "100,000 parts of one byte", _post(port, multipart([b"x"] * 100_000))
    long = f"\r\n--{BOUNDARY}\r\nX: ".encode() + b"a" * (1 << 20) + b"\r\n\r\n"
    yield "1 MB header in a part", _post(port, long + multipart([b""]))
    many = f"\r\n--{BOUNDARY}\r\n".encode() + b"A: b\r\n" * 200_000 + b"\r\n"
    yield "200,000 headers in a part", _post(port, many + multipart([b""]))
    yield "the boundary never comes", _post(port, bytes(64 << 20))
    yield "the last boundary never comes", _post(port, multipart([bytes(32 << 20)])[:-20])
    nested = multipart([sound(70_000_001)])
    for _ in range(50):
        nested = multipart([nested])
    yield "nested 50 times", _post(port, nested)
    yield "boundary of 60 kB", _post(port, b"x", STOW.replace(BOUNDARY, "b" * 60_000))
    yield "boundary of one dash", _post(port, b"--" * (4 << 20), STOW.replace(BOUNDARY, "-"))
    yield "almost boundaries", _post(port, multipart([b"\r\n--hostil" * (3 << 20)]))
    yield "empty body", _post(port, b"")
    yield "file of no length", _post(port, b"", "application/dicom")


def _framing(port: int) -> Iterator[tuple[str, list[bytes]]]:
    body = multipart([sound(70_000_002)])
    start = f"POST {_PATH} HTTP/1.1\r\nHost: x\r\nContent-Type: {STOW}\r\n".encode()
    for name, lines in {
        "negative length": b"Content-Length: -1\r\n", "length of 40 digits": b"Content-Length: " + b"9" * 40 + b"\r\n",
        "two lengths": b"Content-Length: 5\r\nContent-Length: 900\r\n", "length in hex": b"Content-Length: 0x40\r\n",
        "length too small": b"Content-Length: 10\r\n",
        "length and chunks": b"Content-Length: 10\r\nTransfer-Encoding: chunked\r\n",
        "unknown encoding": b"Transfer-Encoding: gzip, chunked\r\n", "encoding twice": b"Transfer-Encoding: chunked, chunked\r\n",
    }.items():  # fmt: skip
        yield name, [start + lines + b"\r\n", body]
    chunked = start + b"Transfer-Encoding: chunked\r\n\r\n"
    for name, chunk in {
        "chunk of no number": b"zz\r\nabc\r\n0\r\n\r\n", "chunk of 2^64": b"10000000000000000\r\nabc\r\n",
        "negative chunk": b"-5\r\nabc\r\n", "chunk extension of 1 MB": b"3;" + b"a" * (1 << 20) + b"\r\nabc\r\n0\r\n\r\n",
        "100,000 chunks of one byte": b"1\r\na\r\n" * 100_000 + b"0\r\n\r\n",
        "1 MB of trailers": b"0\r\n" + b"T: x\r\n" * 160_000 + b"\r\n",
    }.items():  # fmt: skip
        yield name, [chunked, chunk]
    yield "garbage", [bytes(range(256)) * 4]
    yield "garbage behind a request", [*_get(port, "/livez"), b"\0\1\2garbage" * 2000]
    yield "1,000 requests at once", [f"GET /livez HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode() * 1000]
    yield "TLS on plain HTTP", [b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03" + bytes(500) + b"\r\n\r\n"]
    yield "HTTP/2 preface", [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"]
    yield "HTTP/9.9", [b"GET /livez HTTP/9.9\r\nHost: x\r\n\r\n"]
    yield "1 MB of headers", [b"GET /livez HTTP/1.1\r\nHost: x\r\n" + b"X: " + b"a" * (1 << 20) + b"\r\n\r\n"]
    yield "20,000 headers", [b"GET /livez HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 20_000 + b"\r\n"]
    yield "URL of 1 MB", [b"GET /dicomweb/studies?" + b"a" * (1 << 20) + b" HTTP/1.1\r\nHost: x\r\n\r\n"]


def _queries(port: int) -> Iterator[tuple[str, list[bytes]]]:
    stars, path = "*a?" * 11_000, _PATH + "?"
    for name, query in {
        "wildcards of 33 kB": f"PatientName={stars}", "fuzzy of 33 kB": f"PatientName={stars}&fuzzymatching=true",
        "stars in a row": "PatientName=" + "*" * 30_000, "alternating stars": "PatientID=" + "*a" * 40 + "*b",
        "10,000 UIDs": "StudyInstanceUID=" + ",".join(["1.2.3"] * 10_000),
        "5,000 keys": "&".join(f"{n:08X}=1" for n in range(5000)), "one key 5,000 times": "&".join(["PatientID=1"] * 5000),
        "5,000 fields": "&".join(["includefield=PatientName"] * 3000), "path of 3,000": "PatientID=1&" + ".".join(["00081115"] * 3000) + "=1",
        "limit below zero": "limit=-1", "giant limit": "limit=" + "9" * 30, "giant offset": "offset=" + "9" * 30,
        "limit in words": "limit=all", "NUL": "PatientName=%00", "not UTF-8": "PatientName=%ff%fe", "half percent": "PatientName=%",
        "date out of range": "StudyDate=99999999-00000000", "date of 10 kB": "StudyDate=" + "1" * 10_000,
        "time nonsense": "StudyTime=999999.999999-", "regular expression": "PatientName=" + quote("(a+)+$" * 50),
        "SQL": "PatientID=" + quote("' or 1=1; drop table instance; --"), "bidi": "PatientName=" + quote("\u202e" * 500),
        "combining": "fuzzymatching=true&PatientName=" + quote("e" + "\u0301" * 3000), "script": "PatientName=" + quote("<script>"),
    }.items():  # fmt: skip
        yield f"QIDO {name}", _get(port, path + query, "Accept: application/dicom+json")
    for name, place in {
        "UID of 30 kB": "1." * 15_000, "dots": "..%2f..%2fetc%2fpasswd", "NUL": "1.2%003", "semicolon": "1.2.3;x=y",
    }.items():  # fmt: skip
        yield f"WADO {name}", _get(port, f"{_PATH}/{place}/metadata")
    for place in ("frames/0", "frames/99999999999999999999", "frames/1,2,x", "frames/" + ",".join(["1"] * 5000)):
        yield (
            f"WADO {place[:30]}",
            _get(
                port,
                f"{_PATH}/2.25.4711.50000001/series/2.25.4711.50000001.1/instances/2.25.4711.50000001.1.50000001/{place}",
            ),
        )


def _headers(port: int) -> Iterator[tuple[str, list[bytes]]]:
    good = f"{_PATH}/2.25.4711.50000001/series/2.25.4711.50000001.1/instances/2.25.4711.50000001.1.50000001"
    for name, header in {
        "10,000 ranges": "Range: bytes=" + ",".join(f"{n}-{n}" for n in range(5000)), "range backwards": "Range: bytes=9-1",
        "range of 40 digits": "Range: bytes=" + "9" * 40 + "-", "10,000 types": "Accept: " + ",".join(["a/b;q=0.1"] * 5000),
        "quotes without end": 'Accept: multipart/related; type="' + '\\"' * 20_000, "quality of nonsense": "Accept: */*;q=nan",
        "10,000 tags": "If-None-Match: " + ",".join(['"x"'] * 10_000), "date nonsense": "If-Modified-Since: yesterday",
        "10,000 codings": "Accept-Encoding: " + ",".join(["gzip;q=0.1"] * 5000), "forwarded": "Forwarded: " + "for=x;" * 8000,
        "token of 50 kB": "Authorization: Bearer " + "x" * 50_000, "viewport": "Accept: image/png",
    }.items():  # fmt: skip
        yield f"header {name}", _get(port, good, header)
    for name, query in {
        "viewport giant": "viewport=100000,100000", "viewport negative": "viewport=-5,-5", "viewport words": "viewport=a,b",
        "window of nothing": "window=0,0,linear", "window nan": "window=nan,1,linear", "quality": "quality=9999999999",
        "annotation": "annotation=" + "x" * 5000, "viewport tiny of giant": "viewport=1,1,0,0,1e9,1e9",
    }.items():  # fmt: skip
        yield f"rendered {name}", _get(port, f"{good}/rendered?{query}", "Accept: image/png")


def _documents(port: int) -> Iterator[tuple[str, list[bytes]]]:
    deep = b"[" * 100_000 + b"]" * 100_000
    sequence = b'[{"00081115":{"vr":"SQ","Value":' * 10_000 + b"[]" + b"}}]" * 10_000
    huge = b'[{"00280010":{"vr":"US","Value":[' + b"9" * 5000 + b"]}}]"
    for name, body in {"deep": deep, "deep sequence": sequence, "huge number": huge, "not UTF-8": b"\xff\xfe[", "null": b"null",
                       "inline of 8 MB": b'[{"7FE00010":{"vr":"OW","InlineBinary":"' + b"A" * (8 << 20) + b'"}}]',
                       "surrogates": b'[{"00100010":{"vr":"PN","Value":[{"Alphabetic":"\\ud800"}]}}]'}.items():  # fmt: skip
        yield f"JSON metadata {name}", _post(port, _part(body, "application/dicom+json"), _JSON)
        yield f"UPS JSON {name}", _post(port, body, "application/dicom+json", "/dicomweb/workitems")
        yield f"FHIR JSON {name}", _post(port, body, "application/fhir+json", "/fhir/Observation")
    item = b'<DicomAttribute tag="00081115" vr="SQ"><Item number="1">'
    deep_xml = b"<NativeDicomModel>" + item * 10_000 + b"</Item></DicomAttribute>" * 10_000 + b"</NativeDicomModel>"
    for name, body in {"laughs": _LAUGHS.encode(), "outside": _OUTSIDE.encode(), "deep": deep_xml,
                       "unclosed": b"<a>" * 300_000, "attributes": b"<a " + b'b="c" ' * 100_000 + b"/>"}.items():  # fmt: skip
        yield f"XML metadata {name}", _post(port, _part(body, "application/dicom+xml"), _XML)
        yield f"UPS XML {name}", _post(port, body, "application/dicom+xml", "/dicomweb/workitems")
    number = b'{"resourceType":"Observation","status":"final","valueQuantity":{"value":1e999999999}}'
    yield "FHIR exponent", _post(port, number, "application/fhir+json", "/fhir/Observation")
    entries = (
        b'{"resourceType":"Bundle","type":"batch","entry":[' + b'{"request":{"method":"GET","url":"Patient"}},' * 20_000
    )
    yield "FHIR batch of 20,000", _post(port, entries.rstrip(b",") + b"]}", "application/fhir+json", "/fhir")
