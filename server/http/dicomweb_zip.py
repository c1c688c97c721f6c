"""Instances as a ZIP archive of Part 10 files with their DICOMDIR (PS3.18 8.7.3.1, PS3.10 chapter 8)."""

import zlib
from collections.abc import Iterator

from fastapi import Request, Response
from fastapi.responses import StreamingResponse

from server.http.conditional import CACHE
from server.http.dicomweb_services import DicomWeb
from server.imaging import zip_file
from server.imaging.dataset import Attributes
from server.imaging.dicomdir import dicomdir
from server.imaging.zip_file import ZipWriter
from server.security.access import Access
from server.store.studies import Located

FileId = tuple[str, ...]


def zipped(
    request: Request, services: DicomWeb, access: Access, found: list[Located], transfer_syntax: str
) -> Response:
    """The archive, sent while it is made; its length is known where every file goes as it is stored."""
    files = dict(zip((located.instance for located in found), _file_ids(found), strict=True))
    syntax = "" if transfer_syntax == "*" else transfer_syntax
    directory = dicomdir(_entries(services, access, found, files, syntax))
    headers = {**CACHE, "Vary": "Accept", "Content-Disposition": f'attachment; filename="{found[0].study}.zip"'}
    if all(syntax in ("", located.transfer_syntax) for located in found):
        members = [("DICOMDIR", len(directory))]
        members += [("/".join(files[located.instance]), located.length) for located in found]
        headers["Content-Length"] = str(zip_file.length(members))
    archive = _archive(services, access, found, files, directory, syntax)
    content = () if request.method == "HEAD" else archive
    return StreamingResponse(content, 200, headers, "application/zip")


def _file_ids(found: list[Located]) -> Iterator[FileId]:
    """A File ID for each instance: at most eight characters a component (PS3.10 8.2)."""
    studies: dict[str, int] = {}
    series: dict[str, int] = {}
    for number, located in enumerate(found, 1):
        study = studies.setdefault(located.study, len(studies) + 1)
        place = series.setdefault(located.series, len(series) + 1)
        yield "DICOM", f"ST{study:06}", f"SE{place:06}", f"IM{number:06}"


def _entries(
    services: DicomWeb, access: Access, found: list[Located], files: dict[str, FileId], syntax: str
) -> Iterator[tuple[FileId, Attributes]]:
    stored = {located.instance: located.transfer_syntax for located in found}
    for header in services.retrieve.headers(access, found):
        uid = header["00080018"]["Value"][0]
        header["00020010"] = {"vr": "UI", "Value": [syntax or stored[uid]]}
        yield files[uid], header


def _archive(
    services: DicomWeb, access: Access, found: list[Located], files: dict[str, FileId], directory: bytes, syntax: str
) -> Iterator[bytes]:
    writer = ZipWriter()
    yield writer.header("DICOMDIR", len(directory), zlib.crc32(directory)) + directory
    for located in found:
        name = "/".join(files[located.instance])
        if syntax in ("", located.transfer_syntax):
            checksum = 0
            for chunk in services.retrieve.stream(access, located):
                checksum = zlib.crc32(chunk, checksum)
            yield writer.header(name, located.length, checksum)
            yield from services.retrieve.stream(access, located)
        else:
            file = services.pixels.transcoded(access, located, syntax, among_others=True)
            yield writer.header(name, len(file), zlib.crc32(file)) + file
    yield writer.end()
