"""A study's instances as pydicom data sets, read from the packs."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from io import BytesIO

import pydicom
from pydicom import Dataset

from server.imaging.part10 import DEFLATED, EXPLICIT_LITTLE, NATIVE
from server.imaging.retrieve import Retrieve
from server.security.access import Access
from server.store.studies import Located

#: Storage SOP classes of structured reports start with this (PS3.4 B.5).
STRUCTURED_REPORT = "1.2.840.10008.5.1.4.1.1.88."
#: The one of them that selects images and reports nothing.
KEY_OBJECT_SELECTION = f"{STRUCTURED_REPORT}59"


@dataclass(frozen=True, kw_only=True)
class StudyImages:
    """One study in the packs."""

    retrieve: Retrieve
    access: Access
    located: tuple[Located, ...]
    #: Headers read so far, by SOP Instance UID.
    _headers: dict[str, Dataset] = field(default_factory=dict)

    @classmethod
    def of(cls, retrieve: Retrieve, access: Access, study: str) -> "StudyImages":
        """The instances that are there now; NotFound where there are none."""
        return cls(retrieve=retrieve, access=access, located=tuple(retrieve.locate(access, study)))

    def headers(self) -> list[Dataset]:
        """Every instance that has pixels, up to them."""
        return [self._header(place) for place in self.located if _may_have_pixels(place)]

    def pixels(self, header: Dataset) -> Dataset:
        """The whole instance of a header, its pixels decoded; Unprocessable or NotAcceptable where they can't be."""
        wanted = str(header.SOPInstanceUID)
        place = next(place for place in self.located if place.instance == wanted)
        if place.transfer_syntax in NATIVE:
            return self.whole(place)
        # Loads codecs, which the other processes don't need.
        from server.imaging.transcode import transcode

        # This process is there for heavy work on foreign pixels; when they end it, the job is tried again and given up.
        return pydicom.dcmread(BytesIO(transcode(self.retrieve.file(self.access, place), EXPLICIT_LITTLE)))

    def whole(self, place: Located) -> Dataset:
        """A whole instance."""
        return pydicom.dcmread(BytesIO(self.retrieve.file(self.access, place)))

    def _header(self, place: Located) -> Dataset:
        if place.instance not in self._headers:
            # Without an offset (deflated, or no pixels) the whole instance has to be read.
            start = self.retrieve.stream(self.access, place, 0, place.pixel_offset)
            self._headers[place.instance] = pydicom.dcmread(BytesIO(b"".join(start)), stop_before_pixels=True)
        return self._headers[place.instance]

    def of_series(self, uids: Iterable[str]) -> list[Dataset]:
        """Headers of the instances with these SOP Instance UIDs."""
        wanted = set(uids)
        return [self._header(place) for place in self.located if place.instance in wanted]


def _may_have_pixels(place: Located) -> bool:
    """A deflated instance does not tell without being inflated."""
    return place.pixel_offset is not None or place.transfer_syntax == DEFLATED


def to_bytes(dataset: Dataset) -> bytes:
    """The data set as a Part 10 file."""
    buffer = BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()
