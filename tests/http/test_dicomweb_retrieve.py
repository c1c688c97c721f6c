"""WADO-RS over real sockets: forms, lengths, ranges, tags, archives, bulk data, metadata."""

import gzip
import socket
import threading
import time
import zipfile
from collections.abc import Callable
from email import message_from_bytes
from email.message import Message
from io import BytesIO
from pathlib import Path
from urllib.parse import urlsplit
from xml.etree import ElementTree

import httpx
import imagecodecs
import pydicom
import pytest

from server.store.database import Database

Make = Callable[..., bytes]
STUDY = "/studies/1.2.3"
SERIES = f"{STUDY}/series/1.2.3.1"
INSTANCE = f"{SERIES}/instances/1.2.3.1.1"
DICOM = 'multipart/related; type="application/dicom"'


@pytest.fixture
def url(dicomweb_url: str) -> str:
    return dicomweb_url


@pytest.fixture
def files(url: str, make_instance: Make) -> list[bytes]:
    """Three instances, stored."""
    made = [make_instance(number) for number in (1, 2, 3)]
    for file in made:
        stow(url, file)
    return made


def stow(url: str, file: bytes) -> None:
    answer = httpx.post(f"{url}/studies", content=file, headers={"Content-Type": "application/dicom"})
    assert answer.status_code == 200, answer.text


def get(url: str, accept: str = "", **headers: str) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.get(url, headers={"Accept": accept, **named} if accept else named)


def parts(answer: httpx.Response) -> list[Message]:
    """The parts of a multipart answer, by the standard library's reader."""
    head = f"Content-Type: {answer.headers['content-type']}\r\n\r\n".encode()
    whole = message_from_bytes(head + answer.content)
    assert whole.is_multipart()
    return list(whole.get_payload())


def bodies(answer: httpx.Response) -> list[bytes]:
    """The same as bytes, by the boundary alone."""
    boundary = answer.headers["content-type"].split("boundary=")[1].strip('"').encode()
    pieces = answer.content.split(b"--" + boundary)
    assert pieces[-1].strip() == b"--"
    return [piece.split(b"\r\n\r\n", 1)[1].removesuffix(b"\r\n") for piece in pieces[1:-1]]


ACCEPTS = [
    ("*/*", "multipart/related", 3),
    ("", "multipart/related", 3),
    ("multipart/related", "multipart/related", 3),
    ("multipart/related; type=application/dicom", "multipart/related", 3),
    (f"{DICOM}; transfer-syntax=*", "multipart/related", 3),
    (f"text/html, application/json;q=0.9, {DICOM};q=0.1", "multipart/related", 3),
    (f"{DICOM}; transfer-syntax=1.2.840.10008.1.2.4.102, {DICOM}; transfer-syntax=*;q=0.5", "multipart/related", 3),
    ("application/zip", "application/zip", 0),
    (f"application/zip;q=0.2, {DICOM};q=0.8", "multipart/related", 3),
]


@pytest.mark.parametrize(("accept", "kind", "count"), ACCEPTS)
def test_a_study_in_the_form_that_is_asked_for(
    url: str, files: list[bytes], accept: str, kind: str, count: int
) -> None:
    answer = get(f"{url}{STUDY}", accept)
    assert answer.status_code == 200
    assert answer.headers["content-type"].split(";")[0] == kind
    assert int(answer.headers["content-length"]) == len(answer.content)
    if count:
        assert bodies(answer) == files
        kinds = [part.get_content_type() for part in parts(answer)]
        assert kinds == ["application/dicom"] * count


@pytest.mark.parametrize("accept", ["text/html", "application/dicom", f"{DICOM}; transfer-syntax=1.2.3"])
def test_what_a_study_is_not_given_as(url: str, files: list[bytes], accept: str) -> None:
    answer = get(f"{url}{STUDY}", accept)
    assert answer.status_code == 406
    assert "ask for" in answer.text or "given as" in answer.text


def test_the_parameter_accept_speaks_for_a_link(url: str, files: list[bytes]) -> None:
    answer = get(f"{url}{INSTANCE}?accept=application/dicom", "text/html")
    assert answer.content == files[0]


def test_a_tag_saves_the_body(url: str, files: list[bytes]) -> None:
    for path in (STUDY, INSTANCE, f"{SERIES}/metadata", f"{INSTANCE}/frames/1", f"{INSTANCE}/bulkdata/7FE00010"):
        tag = get(f"{url}{path}").headers["etag"]
        assert tag.startswith('"')
        assert get(f"{url}{path}").headers["cache-control"] == "private, no-cache"
        again = get(f"{url}{path}", if_none_match=f'"other", W/{tag}')
        assert again.status_code == 304 and again.content == b"" and again.headers["etag"] == tag, path
        assert get(f"{url}{path}", if_none_match='"other"').status_code == 200


def test_a_tag_changes_with_what_is_stored(url: str, files: list[bytes], make_instance: Make) -> None:
    before = get(f"{url}{STUDY}").headers["etag"]
    stow(url, make_instance(4))
    assert get(f"{url}{STUDY}").headers["etag"] != before


def test_byte_ranges(url: str, files: list[bytes]) -> None:
    whole = get(f"{url}{STUDY}").content
    size = len(whole)
    for asked, (start, stop) in {
        "bytes=0-9": (0, 10),
        "bytes=100-": (100, size),
        "bytes=-20": (size - 20, size),
        f"bytes=50-{size * 2}": (50, size),
        f"bytes={size // 2}-{size // 2}": (size // 2, size // 2 + 1),
    }.items():
        answer = get(f"{url}{STUDY}", range=asked)
        assert (answer.status_code, answer.content) == (206, whole[start:stop]), asked
        assert answer.headers["content-range"] == f"bytes {start}-{stop - 1}/{size}"
    beyond = get(f"{url}{STUDY}", range=f"bytes={size}-")
    assert beyond.status_code == 416 and beyond.headers["content-range"] == f"bytes */{size}"
    for odd in ("bytes=5-2", "bytes=-", "bytes=x", "lines=1-2", "bytes=" + ",".join(["1-2"] * 100)):
        assert get(f"{url}{STUDY}", range=odd).status_code == 200, odd


def test_several_ranges_come_in_parts(url: str, files: list[bytes]) -> None:
    whole = get(f"{url}{INSTANCE}", "application/dicom").content
    answer = get(f"{url}{INSTANCE}", "application/dicom", range="bytes=0-3,128-131")
    assert answer.status_code == 206
    assert [part["content-range"] for part in parts(answer)] == [
        f"bytes 0-3/{len(whole)}",
        f"bytes 128-131/{len(whole)}",
    ]
    assert bodies(answer) == [whole[:4], b"DICM"]


def test_if_range_decides_between_part_and_whole(url: str, files: list[bytes]) -> None:
    tag = get(f"{url}{STUDY}").headers["etag"]
    assert get(f"{url}{STUDY}", range="bytes=0-9", if_range=tag).status_code == 206
    assert get(f"{url}{STUDY}", range="bytes=0-9", if_range='"old"').status_code == 200


def test_a_broken_download_is_resumed(url: str, files: list[bytes]) -> None:
    whole = get(f"{url}{STUDY}")
    rest = get(f"{url}{STUDY}", range="bytes=700-", if_range=whole.headers["etag"])
    assert whole.content[:700] + rest.content == whole.content


def test_head_gives_the_length_and_no_body(url: str, files: list[bytes]) -> None:
    paths = ("", "/metadata", "/series/1.2.3.1", "/series/1.2.3.1/instances/1.2.3.1.1/frames/1", "/bulkdata")
    for path in paths:
        head, answer = httpx.head(f"{url}{STUDY}{path}"), get(f"{url}{STUDY}{path}")
        assert head.status_code == 200 and head.content == b""
        assert head.headers["content-length"] == answer.headers["content-length"], path
    archive = httpx.head(f"{url}{STUDY}", headers={"Accept": "application/zip"})
    assert int(archive.headers["content-length"]) == len(get(f"{url}{STUDY}", "application/zip").content)


def test_an_archive_is_a_file_set(url: str, files: list[bytes], tmp_path: Path) -> None:
    answer = get(f"{url}{STUDY}", "application/zip")
    assert int(answer.headers["content-length"]) == len(answer.content)
    with zipfile.ZipFile(BytesIO(answer.content)) as archive:
        assert archive.testzip() is None
        assert all(info.compress_type == zipfile.ZIP_STORED for info in archive.infolist())
        archive.extractall(tmp_path)
    directory = pydicom.dcmread(tmp_path / "DICOMDIR")
    images = [record for record in directory.DirectoryRecordSequence if record.DirectoryRecordType == "IMAGE"]
    found = {
        str(image.ReferencedSOPInstanceUIDInFile): tmp_path.joinpath(*image.ReferencedFileID).read_bytes()
        for image in images
    }
    assert [found[f"1.2.3.1.{number}"] for number in (1, 2, 3)] == files


def test_an_archive_in_another_transfer_syntax(url: str, files: list[bytes]) -> None:
    answer = get(f"{url}{STUDY}", "application/zip; transfer-syntax=1.2.840.10008.1.2.5")
    with zipfile.ZipFile(BytesIO(answer.content)) as archive:
        directory = pydicom.dcmread(BytesIO(archive.read("DICOMDIR")))
        (image, *_) = (r for r in directory.DirectoryRecordSequence if r.DirectoryRecordType == "IMAGE")
        assert image.ReferencedTransferSyntaxUIDInFile == "1.2.840.10008.1.2.5"
        file = pydicom.dcmread(BytesIO(archive.read("/".join(image.ReferencedFileID))))
    assert file.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.5"


def test_a_client_that_hangs_up_leaves_no_descriptor(url: str, make_instance: Make) -> None:
    big = make_instance(1, Rows=2000, Columns=2000, PixelData=bytes(8_000_000))
    stow(url, big)
    address = urlsplit(url)
    before = _descriptors()
    for accept in (DICOM, "application/zip"):
        for _ in range(8):
            with socket.create_connection((address.hostname, address.port)) as client:
                head = f"GET /dicomweb{STUDY} HTTP/1.1\r\nHost: x\r\nAccept: {accept}\r\n\r\n"
                client.sendall(head.encode())
                client.recv(1000)
    # Sixteen hung up: what is left of them would be as many. Others in this process open one now and then.
    deadline = time.monotonic() + 10
    while _descriptors() > before and time.monotonic() < deadline:
        time.sleep(0.05)
    assert _descriptors() < before + 4
    assert get(f"{url}{INSTANCE}", "application/dicom").content == big


def _descriptors() -> int:
    """Open packs and TCP sockets of this process; the database's connections are none."""
    internet = {line.split()[9] for line in Path("/proc/self/net/tcp").read_text(encoding="ascii").splitlines()[1:]}
    found = 0
    for entry in Path("/proc/self/fd").iterdir():
        try:
            target = str(entry.readlink())
        except OSError:
            continue
        found += target.endswith(".pack") or target.removeprefix("socket:[").removesuffix("]") in internet
    return found


def test_a_slow_reader_stops_nobody(url: str, make_instance: Make) -> None:
    big = make_instance(1, Rows=4000, Columns=2000, PixelData=bytes(16_000_000))
    stow(url, big)
    address = urlsplit(url)
    with socket.create_connection((address.hostname, address.port)) as slow:
        slow.sendall(f"GET /dicomweb{INSTANCE} HTTP/1.1\r\nHost: x\r\nAccept: application/dicom\r\n\r\n".encode())
        assert slow.recv(15) == b"HTTP/1.1 200 OK"
        assert get(f"{url}{INSTANCE}/metadata").status_code == 200
        got = b""
        while len(got) < len(big) and (block := slow.recv(1 << 20)):
            got += block
    assert got.endswith(big)


def test_many_clients_get_what_they_asked_for(url: str, files: list[bytes]) -> None:
    wrong: list[int] = []

    def ask(number: int) -> None:
        with httpx.Client() as client:
            for turn in range(10):
                wanted = (number + turn) % 3
                path = f"{url}{SERIES}/instances/1.2.3.1.{wanted + 1}"
                if client.get(path, headers={"Accept": "application/dicom"}).content != files[wanted]:
                    wrong.append(number)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_metadata_as_xml(url: str, files: list[bytes]) -> None:
    answer = get(f"{url}{SERIES}/metadata", 'multipart/related; type="application/dicom+xml"')
    found = [ElementTree.fromstring(body) for body in bodies(answer)]
    assert len(found) == 3 and all(root.tag.endswith("NativeDicomModel") for root in found)
    alone = get(f"{url}{INSTANCE}/metadata", "application/dicom+xml")
    assert alone.headers["content-type"].startswith("application/dicom+xml")
    assert f"{url}{INSTANCE}/bulkdata/7FE00010".encode() in alone.content
    assert get(f"{url}{SERIES}/metadata", "text/html").status_code == 406


def test_metadata_are_compressed_where_asked(url: str, files: list[bytes]) -> None:
    plain = get(f"{url}{SERIES}/metadata", accept_encoding="identity")
    assert "content-encoding" not in plain.headers
    for coding, decode in (("gzip", gzip.decompress), ("zstd", imagecodecs.zstd_decode)):
        with httpx.stream("GET", f"{url}{SERIES}/metadata", headers={"Accept-Encoding": coding}) as answer:
            raw = b"".join(answer.iter_raw())
        assert answer.headers["content-encoding"] == coding
        assert "Accept-Encoding" in answer.headers["vary"]
        assert bytes(decode(raw)) == plain.content
    assert "content-encoding" not in get(f"{url}{STUDY}", accept_encoding="gzip").headers


def test_a_long_study_flows(url: str, make_instance: Make) -> None:
    boundary = b"--b\r\nContent-Type: application/dicom\r\n\r\n"
    body = b"".join(boundary + make_instance(number) + b"\r\n" for number in range(1, 301)) + b"--b--\r\n"
    kind = 'multipart/related; type="application/dicom"; boundary=b'
    assert httpx.post(f"{url}/studies", content=body, headers={"Content-Type": kind}, timeout=60).status_code == 200
    found = get(f"{url}{STUDY}/metadata").json()
    assert [one["00200013"]["Value"][0] for one in found] == list(range(1, 301))
    xml = get(f"{url}{STUDY}/metadata", 'multipart/related; type="application/dicom+xml"')
    assert len(bodies(xml)) == 300
    assert len(bodies(get(f"{url}{STUDY}"))) == 300


def test_one_audit_row_for_each_request(url: str, files: list[bytes], database: Database) -> None:
    get(f"{url}{STUDY}")
    get(f"{url}{SERIES}/metadata")
    get(f"{url}{INSTANCE}/frames/1")
    get(f"{url}/studies/9.9")
    with database.reading() as uow:
        rows = uow.driver.execute("select who, type, id from audit where action = 'read' order by audit").fetchall()
    assert rows == [("test", "Study", "1.2.3"), ("test", "Series", "1.2.3.1"), ("test", "SOPInstance", "1.2.3.1.1")]


def test_who_may_not_read_gets_nothing(url: str, files: list[bytes]) -> None:
    for path in (
        STUDY,
        f"{SERIES}/metadata",
        f"{INSTANCE}/frames/1",
        f"{INSTANCE}/bulkdata/7FE00010",
        f"{STUDY}/pixeldata",
    ):
        assert get(f"{url}{path}", scopes="write").status_code == 403, path
