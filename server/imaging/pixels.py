"""Frames, pictures and transcoded files of stored instances: cut out here, decoded and drawn by the pixel workers."""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial

from server.errors import NotAcceptable, NotFound, Unprocessable
from server.imaging import attributes as read
from server.imaging import frames
from server.imaging.bulk import PIXELS, Bulk
from server.imaging.dataset import Attributes
from server.imaging.part10 import DEFLATED, EXPLICIT_LITTLE, IMPLICIT_LITTLE
from server.imaging.pixel_pool import PixelPool
from server.imaging.rendering import Rendering
from server.imaging.retrieve import Retrieve
from server.imaging.transcode_cache import TranscodeCache
from server.security.access import Access
from server.store.studies import Located

#: Storage SOP classes of structured reports start with this (PS3.4 B.5).
_REPORT = "1.2.840.10008.5.1.4.1.1.88."
#: Grayscale, Pseudo-Color and Color Softcopy Presentation State Storage.
_STATES = frozenset(f"1.2.840.10008.5.1.4.1.1.11.{n}" for n in (1, 2, 3))
#: Segmentation and Label Map Segmentation Storage.
_SEGMENTATIONS = frozenset({"1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7"})
_PDF = "1.2.840.10008.5.1.4.1.1.104.1"
#: Bytes of frames that one animation or film may be made of.
_MOST_MOVING = 1 << 30


class PixelData:
    """The pixels behind the retrieval door."""

    def __init__(self, retrieve: Retrieve, pool: PixelPool, cache: TranscodeCache | None = None) -> None:
        self._retrieve = retrieve
        self._pool = pool
        self._cache = cache

    def transcoded(self, access: Access, located: Located, target: str, *, among_others: bool = False) -> bytes:
        """The instance as a Part 10 file in the transfer syntax ``target``; see ``PixelPool.transcode``.

        ``among_others``: what has no place in ``target``, e.g. a mask of single bits in JPEG, comes in Explicit VR
        Little Endian rather than not at all, so that it does not keep a whole study from coming.
        """
        if located.transfer_syntax == target:
            return self._retrieve.file(access, located)
        kept = self._cache.get(access.tenant, located.digest, target) if self._cache is not None else None
        if kept is not None:
            access.require("read")
            return kept
        try:
            made = self._pool.transcode(self._retrieve.file(access, located), target)
        except NotAcceptable:
            if not among_others or target == EXPLICIT_LITTLE:
                raise
            return self.transcoded(access, located, EXPLICIT_LITTLE)
        if self._cache is not None:
            self._cache.put(access.tenant, located.digest, target, made)
        return made

    def all_transcoded(self, access: Access, located: Sequence[Located], target: str) -> Iterator[bytes]:
        """Many instances in the transfer syntax, in their order, as many at once as there are workers.

        Of several, one that has no place in ``target`` does not keep the others from coming.
        """
        several = len(located) > 1
        give = partial(self.transcoded, access, target=target, among_others=several)
        if not several:
            yield from map(give, located)
            return
        with ThreadPoolExecutor(self._pool.workers, "transcode") as threads:
            pending = deque[Future[bytes]]()
            for place in located:
                pending.append(threads.submit(give, place))
                if len(pending) > self._pool.workers:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()

    def picture(
        self,
        access: Access,
        located: Located,
        numbers: Sequence[int],
        wanted: Rendering,
        header: Attributes | None = None,
    ) -> bytes:
        """Frames as an image file: the first, or all of them where the media type moves; ``header`` where at hand."""
        header = self._retrieve.header(access, located) if header is None else header
        layout = frames.pixel_format(header)
        if layout.size * len(numbers) > _MOST_MOVING:
            raise Unprocessable("These frames are too many for one film; name fewer of them.", expression="frames")
        raw = self._raw(access, located, header, numbers)
        return self._pool.render(self._head(access, located), raw, numbers, wanted)

    def with_state(self, access: Access, state: Located, wanted: Rendering) -> bytes:
        """The first image that a presentation state refers to and that is stored, as the state shows it."""
        header = self._retrieve.header(access, state)
        for series in read.items(header, "00081115"):
            for item in read.items(series, "00081140"):
                located = self._referred(access, header, series, item)
                if located is not None:
                    return self._shown_with(access, state, located, item, wanted)
        raise NotFound("No image that the presentation state refers to is stored.", expression="00081115")

    def report(self, access: Access, located: Located, *, html: bool) -> str:
        """What has no pixels, for people; raises Unprocessable for what can't be read."""
        return self._pool.report(self._retrieve.file(access, located), html=html)

    def document(self, access: Access, located: Located) -> bytes:
        """The PDF inside an Encapsulated PDF instance (PS3.3 C.24.2); raises Unprocessable where there is none."""
        header = self._retrieve.header(access, located)
        value = self._pool.document(self._retrieve.file(access, located))
        length = read.integer(header, "00420015")
        value = value[:length] if length is not None and len(value) - length in (0, 1) else value
        if not value.startswith(b"%PDF"):
            raise Unprocessable("The instance holds no PDF document.", expression="00420011")
        return value

    def _shown_with(
        self, access: Access, state: Located, located: Located, item: Attributes, wanted: Rendering
    ) -> bytes:
        header = self._retrieve.header(access, located)
        number = next((value for value in read.values(item, "00081160") if isinstance(value, int)), 1)
        raw = self._raw(access, located, header, [number])
        head, file = self._head(access, located), self._retrieve.file(access, state)
        return self._pool.render(head, raw, [number], wanted, state=file)

    def _referred(self, access: Access, state: Attributes, series: Attributes, item: Attributes) -> Located | None:
        uids = read.text(state, "0020000D"), read.text(series, "0020000E"), read.text(item, "00081155")
        try:
            return self._retrieve.locate(access, *uids)[0] if all(uids) else None
        except NotFound:
            return None

    def _head(self, access: Access, located: Located) -> bytes:
        """The file up to its pixel data's element; all of it where that has no place in the file."""
        if located.pixel_offset is None:
            return self._retrieve.file(access, located)
        element = 8 if located.transfer_syntax == IMPLICIT_LITTLE else 12
        return b"".join(self._retrieve.stream(access, located, 0, located.pixel_offset - element))

    def _raw(self, access: Access, located: Located, header: Attributes, numbers: Sequence[int]) -> list[bytes]:
        """The frames as they are stored, native ones in little endian; raises NotFound beyond the last."""
        bulk = Bulk(self._retrieve, access, located)
        return [b"".join(map(bulk.content, pieces)) for pieces in bulk.frames(header, numbers)]


def is_report(located: Located) -> bool:
    """Whether the instance is a structured report."""
    return located.sop_class.startswith(_REPORT)


def is_state(located: Located) -> bool:
    """Whether the instance is a presentation state that can be applied."""
    return located.sop_class in _STATES


def is_segmentation(located: Located) -> bool:
    """Whether the instance is a segmentation, whose segments can be listed too."""
    return located.sop_class in _SEGMENTATIONS


def is_document(located: Located) -> bool:
    """Whether the instance holds a PDF."""
    return located.sop_class == _PDF


def has_pixels(located: Located, header: Attributes | None = None) -> bool:
    """Whether the instance is an image; where the index does not know its pixels' place, by the header if at hand."""
    if header is not None:
        return any(key in header for key in PIXELS)
    if located.transfer_syntax == DEFLATED:
        return not (is_report(located) or is_state(located) or is_document(located))
    return located.pixel_offset is not None
