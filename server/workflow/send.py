"""Instances carried to a peer: as they are stored where it takes them so, else transcoded; by DIMSE or DICOMweb."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from server.errors import NotAcceptable, Unavailable, Unprocessable, Unreachable
from server.imaging.part10 import EXPLICIT_LITTLE, IMPLICIT_LITTLE, read_meta
from server.imaging.retrieve import Retrieve
from server.outbound import dicomweb
from server.outbound.dicomweb import File, Stored, Web
from server.outbound.dimse import store
from server.outbound.dimse.entity import Entity
from server.outbound.dimse.store import Transcode
from server.security.access import Access
from server.settings import Peer
from server.store.studies import Located

#: Instances, bytes and seconds after which the queue is told how far it has come.
_FLUSH, _FLUSH_BYTES, _FLUSH_SECONDS = 32, 64 << 20, 1.0
#: PS3.18 table I.2-2: the transfer syntax is not supported.
_SYNTAX_NOT_SUPPORTED = 0xC122
_DUPLICATE = 0x0111
#: Delivery's rank -> Priority (0000,0700).
_PRIORITY = {0: store.HIGH, 1: store.MEDIUM, 2: store.LOW}


@dataclass(frozen=True, kw_only=True, slots=True)
class Fate:
    """What became of one instance."""

    instance: str
    #: Whether the peer has it now.
    arrived: bool
    #: Why it did not arrive, or a remark.
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Carrier:
    """Carries instances to peers."""

    retrieve: Retrieve
    entity: Entity
    transcode: Transcode

    def carry(self, access: Access, peer: Peer, located: Sequence[Located], rank: int) -> Iterator[list[Fate]]:
        """The fates of the instances, in small lists as they are known.

        Raises Unreachable when nothing can reach the peer now, Unavailable when it broke off.
        """
        if peer.url:
            return self._by_web(access, peer, located)
        return self._by_dimse(access, peer, located, rank)

    def _by_dimse(self, access: Access, peer: Peer, located: Sequence[Located], rank: int) -> Iterator[list[Fate]]:
        wanted = {(place.sop_class, place.transfer_syntax) for place in located}
        with store.sender(self.entity, peer, wanted) as sender:
            fates, since = list[Fate](), time.monotonic()
            for place in located:
                try:
                    fates.append(self._store(access, peer, sender, place, _PRIORITY[rank]))
                except Unavailable as error:
                    # If it is this instance that breaks the peer, the others go first the next time.
                    yield [*fates, Fate(instance=place.instance, arrived=False, note=error.details)]
                    raise
                if len(fates) >= _FLUSH or time.monotonic() - since > _FLUSH_SECONDS:
                    yield fates
                    fates, since = [], time.monotonic()
            yield fates

    def _store(self, access: Access, peer: Peer, sender: store.Sender, place: Located, priority: int) -> Fate:
        accepted = sender.accepts(place.sop_class)
        if not accepted:
            note = f"The peer does not take the SOP class {place.sop_class}."
            return Fate(instance=place.instance, arrived=False, note=note)
        syntax, data = place.transfer_syntax, self._data(access, place)
        try:
            if syntax not in accepted:
                syntax = next((one for one in (EXPLICIT_LITTLE, IMPLICIT_LITTLE) if one in accepted), accepted[0])
                file = self.transcode(self.retrieve.file(access, place), syntax)
                data = iter([memoryview(file)[read_meta(file, 0, len(file)).dataset_offset :]])
            status = sender.store(place.sop_class, place.instance, syntax, data, priority=priority)
        except (NotAcceptable, Unprocessable) as error:
            return Fate(instance=place.instance, arrived=False, note=error.details)
        if store.is_transient(status):
            raise Unreachable(f"The peer {peer.name} is out of resources (status {status:04X}).")
        return _fate(place.instance, status)

    def _data(self, access: Access, place: Located) -> Iterator[bytes | memoryview]:
        """The encoded data set, without preamble and file meta information."""
        yield from self.retrieve.stream(access, place, place.dataset_offset)

    def _by_web(self, access: Access, peer: Peer, located: Sequence[Located]) -> Iterator[list[Fate]]:
        with dicomweb.connect(self.entity, peer) as web:
            for group in _groups(located):
                try:
                    fates = self._stow(access, web, group)
                except Unreachable:
                    raise
                except Unavailable as error:
                    yield [Fate(instance=place.instance, arrived=False, note=error.details) for place in group]
                    raise
                yield fates

    def _stow(self, access: Access, web: Web, group: Sequence[Located]) -> list[Fate]:
        files = [File(length=place.length, chunks=self.retrieve.stream(access, place)) for place in group]
        try:
            answer = web.store(files)
        except Unprocessable as error:
            if len(group) > 1:
                # One of its instances may be what the whole request was refused for.
                return [fate for place in group for fate in self._stow(access, web, [place])]
            return [Fate(instance=group[0].instance, arrived=False, note=error.details)]
        return [
            self._stow_transcoded(access, web, place)
            if answer.failed.get(place.instance) == _SYNTAX_NOT_SUPPORTED and place.transfer_syntax != EXPLICIT_LITTLE
            else _stowed(place.instance, answer)
            for place in group
        ]

    def _stow_transcoded(self, access: Access, web: Web, place: Located) -> Fate:
        try:
            file = self.transcode(self.retrieve.file(access, place), EXPLICIT_LITTLE)
            return _stowed(place.instance, web.store([File(length=len(file), chunks=[file])]))
        except (NotAcceptable, Unprocessable) as error:
            return Fate(instance=place.instance, arrived=False, note=error.details)


def _groups(located: Sequence[Located]) -> Iterator[list[Located]]:
    """What goes into one request."""
    group, size = list[Located](), 0
    for place in located:
        if group and (len(group) >= _FLUSH or size + place.length > _FLUSH_BYTES):
            yield group
            group, size = [], 0
        group.append(place)
        size += place.length
    if group:
        yield group


def _fate(instance: str, status: int) -> Fate:
    if not store.is_stored(status):
        return Fate(instance=instance, arrived=False, note=f"The peer refused it with status {status:04X}.")
    # PS3.7 C.5.7: it had one of this UID; whether the same is for storage commitment to say.
    note = "The peer says that it had it before (0111)." if status == _DUPLICATE else ""
    return Fate(instance=instance, arrived=True, note=note)


def _stowed(instance: str, answer: Stored) -> Fate:
    if instance in answer.stored:
        return Fate(instance=instance, arrived=True)
    if instance not in answer.failed:
        return Fate(instance=instance, arrived=False, note="The peer did not say what became of it.")
    return _fate(instance, answer.failed[instance])
