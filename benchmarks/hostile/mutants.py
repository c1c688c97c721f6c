"""Bar 4, first half: mutants through STOW-RS, C-STORE and ``hutong import``; what is taken in is also read back."""

import json
import shutil
import struct
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from benchmarks.hostile.mutations import mutate
from benchmarks.hostile.server import Tree, Watch
from benchmarks.hostile.sources import Source, renamed, sources
from benchmarks.hostile.wire import STOW, Answer, Association, ask, multipart

#: Seconds that an answer may take.
HANG = 5.0
#: Mutants of one request, of one check of health, and of one import.
_TOGETHER, _CHECKED, _IMPORTED = 4, 100, 1500
_TIMEOUT = 60.0
_DICOM = 'multipart/related; type="application/dicom"'


@dataclass(kw_only=True, slots=True)
class Report:
    """What became of the mutants."""

    mutants: int = 0
    stored: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    #: Refusals by their text, the most frequent ones.
    reasons: Counter[str] = field(default_factory=Counter)
    retrieved: Counter[str] = field(default_factory=Counter)
    slowest: float = 0.0
    #: Everything that must not be; with the mutant's number.
    faults: list[str] = field(default_factory=list)
    good: int = 0
    growth_mb: float = 0.0
    growth_by_part: dict[str, int] = field(default_factory=dict)
    restarts: int = 0
    healthy: list[str] = field(default_factory=list)

    def shown(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "mutants": self.mutants, "stored": dict(self.stored), "refused": dict(self.refused),
            "reasons": dict(self.reasons.most_common(12)), "retrieved": dict(self.retrieved),
            "slowest_s": round(self.slowest, 2), "good_files": self.good, "growth_mb": round(self.growth_mb),
            "growth_by_part": self.growth_by_part,
            "restarts": self.restarts, "healthy": self.healthy, "faults": self.faults[:50],
            "fault_count": len(self.faults),
        }  # fmt: skip


class Campaign:
    """One run against one server."""

    def __init__(self, tree: Tree, folder: Path, seed: int) -> None:
        self.tree, self.folder, self.seed = tree, folder, seed
        self.report = Report()
        self.sources = sources(folder)
        self._files = folder / "import"
        self._files.mkdir(exist_ok=True)
        pairs = {(one.sop_class, one.syntax) for one in self.sources if one.sop_class and one.syntax}
        self._pairs = [*sorted(pairs)[:127], (CTImageStorage, ExplicitVRLittleEndian)]
        self._association = Association(tree.dimse_port, self._pairs)
        self._waiting: list[tuple[str, bytes]] = []
        #: Where what must not be is written down while the campaign runs.
        self._faults = folder / "faults.txt"

    def run(self, count: int) -> Report:
        """``count`` mutants in all, a third through each door."""
        watch: Watch | None = None
        for number in range(count):
            source = self.sources[number % len(self.sources)]
            file, uid = renamed(source.file, number)
            mutant, names = mutate(self.seed, number, source, file)
            name = f"{number} {source.name} {names}"
            self.report.mutants += 1
            match number % 3:
                case 0:
                    self._stow(name, mutant)
                case 1:
                    self._c_store(name, mutant, source, uid)
                case _:
                    (self._files / f"{number}.dcm").write_bytes(mutant)
            if number % _CHECKED == _CHECKED - 1:
                self._check(number)
            if number % _IMPORTED == _IMPORTED - 1 or number == count - 1:
                self._import()
            if number == min(count // 10, 1000) and watch is None:
                # Everything has been loaded once by now.
                watch = Watch(self.tree)
        self._flush()
        self._check(count)
        self._association.drop()
        if watch is not None:
            watch.end()
            self.report.growth_mb, self.report.growth_by_part = watch.growth, watch.growth_by_part
        self.report.restarts = self.tree.restarts()
        self.report.healthy = [one for one in ("verify", "doctor") if self._is_green(one)]
        return self.report

    def _stow(self, name: str, mutant: bytes) -> None:
        self._waiting.append((name, mutant))
        if len(self._waiting) >= _TOGETHER:
            self._flush()

    def _flush(self) -> None:
        waiting, self._waiting = self._waiting, []
        if not waiting:
            return
        names = ", ".join(name for name, _ in waiting)
        body = multipart([mutant for _, mutant in waiting])
        answer = self._ask(names, "POST", "/dicomweb/studies", {"Content-Type": STOW}, body)
        if answer is None:
            return
        if answer.status not in (200, 202, 409):
            # A mutant may hold the boundary: then the request as a whole can be refused, with its reason.
            if answer.status != 400 or not answer.body:
                self._fault(names, f"STOW {answer.status} {answer.body[:200]!r}")
            self.report.refused["stow"] += len(waiting)
            return
        said = json.loads(answer.body)
        failed = said.get("00081198", {}).get("Value", []) + said.get("0008119A", {}).get("Value", [])
        done = said.get("00081199", {}).get("Value", [])
        if len(failed) + len(done) < len(waiting):
            self._fault(names, f"STOW tells of {len(failed) + len(done)} of {len(waiting)}")
        if any(not one.get("00081197", {}).get("Value") for one in failed) or (
            failed and "warning" not in answer.headers
        ):
            self._fault(names, "STOW refuses without a reason")
        if failed:
            self.report.reasons[answer.headers.get("warning", "")[:110]] += 1
        self.report.stored["stow"] += len(done)
        self.report.refused["stow"] += len(failed)
        for one in done:
            self._read_back(names, one["00081190"]["Value"][0])

    def _read_back(self, name: str, url: str) -> None:
        """Every way to look at what was taken in: answered, or refused by a 4xx with a text."""
        path = url[url.index("/dicomweb") :]
        for kind, end, accept in (
            ("instance", "", f"{_DICOM}; transfer-syntax=*"),
            ("metadata", "/metadata", "application/dicom+json"),
            ("frame", "/frames/1", "multipart/related; type=application/octet-stream; transfer-syntax=*"),
            ("rendered", "/rendered", "image/jpeg"),
            ("thumbnail", "/thumbnail", "image/png"),
            ("transcoded", "", f"{_DICOM}; transfer-syntax=1.2.840.10008.1.2.4.90"),
        ):
            answer = self._ask(f"{name} {kind}", "GET", path + end, {"Accept": accept})
            if answer is None:
                continue
            self.report.retrieved[f"{kind} {answer.status}"] += 1
            if answer.status not in (200, 400, 404, 406, 409, 415, 422):
                self._fault(name, f"{kind} {answer.status} {answer.body[:160]!r}")
            elif answer.status >= 400 and not answer.body:
                self._fault(name, f"{kind} {answer.status} without a reason")

    def _c_store(self, name: str, mutant: bytes, source: Source, uid: str) -> None:
        pair = source.sop_class, source.syntax
        if not self._association.takes(pair):
            pair = CTImageStorage, ExplicitVRLittleEndian
        try:
            answer = self._association.store(pair, uid, mutant[min(source.dataset, len(mutant)) :])
        except OSError as error:
            self._fault(name, f"C-STORE {type(error).__name__} {error}")
            self._association.drop()
            self._association = Association(self.tree.dimse_port, self._pairs)
            return
        self._timed(name, answer.seconds)
        if not answer.status:
            self.report.stored["c-store"] += 1
            return
        self.report.refused["c-store"] += 1
        self.report.reasons[f"{answer.status:04X} {answer.comment[:100]}"] += 1
        if answer.status < 0 or not answer.comment:
            self._fault(name, f"C-STORE {answer.status} {answer.comment}")
        elif answer.status == 0x0110 and "patient" not in answer.comment and "series" not in answer.comment:
            self._fault(name, f"C-STORE 0110 {answer.comment}")

    def _import(self) -> None:
        done = self.tree.command("import", str(self._files), "--json")
        files = len(list(self._files.iterdir()))
        try:
            said = json.loads(done.stdout)
        except ValueError:
            self._fault("import", f"{done.returncode} {done.stdout[-300:]} {done.stderr[-1500:]}")
            return
        told = sum(said[one] for one in ("stored", "already", "skipped", "refused", "other", "directory"))
        if told != files or len(said["refusals"]) != said["refused"]:
            self._fault("import", f"tells of {told} of {files}, {len(said['refusals'])} reasons of {said['refused']}")
        for one in said["refusals"]:
            self.report.reasons[f"{one['reason']} {one['details'][:100]}"] += 1
            if not one["reason"] or not one["details"]:
                self._fault("import", f"refuses without a reason: {one}")
        self.report.stored["import"] += said["stored"] + said["already"]
        self.report.refused["import"] += said["refused"] + said["other"] + said["directory"]
        shutil.rmtree(self._files)
        self._files.mkdir()
        # It was idle for long, and may have made room for another.
        self._association.drop()
        self._association.connect()

    def _check(self, number: int) -> None:
        """The server lives, and the next good file is stored and comes back as it was."""
        answer = self._ask(f"after {number}", "GET", "/livez", {})
        if answer is None or answer.status != 200:
            self._fault(f"after {number}", "/livez does not answer 200")
        if good_file(self.tree, 10_000_000 + number + self.seed * 1_000_000):
            self.report.good += 1
        else:
            self._fault(f"after {number}", "the good file was not stored, or came back otherwise")

    def _is_green(self, command: str) -> bool:
        done = self.tree.command(command)
        if done.returncode:
            self._fault(command, (done.stdout + done.stderr)[-1500:])
        return not done.returncode

    def _ask(self, name: str, method: str, path: str, headers: dict[str, str], body: bytes = b"") -> Answer | None:
        try:
            answer = ask(self.tree.http_port, method, path, headers=headers, body=body, timeout=_TIMEOUT)
        except OSError as error:
            self._fault(name, f"{method} {type(error).__name__} {error}")
            return None
        self._timed(name, answer.seconds)
        return answer

    def _timed(self, name: str, seconds: float) -> None:
        self.report.slowest = max(self.report.slowest, seconds)
        if seconds > HANG:
            self._fault(name, f"{seconds:.1f} s")

    def _fault(self, name: str, what: str) -> None:
        self.report.faults.append(f"{name}: {what}")
        with self._faults.open("a", encoding="utf-8") as file:
            file.write(f"{name}: {what}\n")


def good_file(tree: Tree, number: int) -> bool:
    """Stores a sound file and reads it back; whether it is the same to the bit."""
    file = sound(number)
    answer = ask(tree.http_port, "POST", "/dicomweb/studies", headers={"Content-Type": STOW}, body=multipart([file]))
    if answer.status != 200:
        return False
    url = json.loads(answer.body)["00081199"]["Value"][0]["00081190"]["Value"][0]
    got = ask(tree.http_port, "GET", url[url.index("/dicomweb") :], headers={"Accept": "application/dicom"})
    return got.status == 200 and got.body == file


def sound(number: int, *, study: int = 0, size: int = 16) -> bytes:
    """A small, sound CT instance in explicit little endian; ``size`` is its rows and columns."""
    root = f"2.25.4711.{study or number}"
    uid = f"{root}.1.{number}"
    texts = {
        0x00080005: (b"CS", "ISO_IR 192"), 0x00080016: (b"UI", CTImageStorage), 0x00080018: (b"UI", uid),
        0x00080020: (b"DA", "20240131"), 0x00080060: (b"CS", "CT"), 0x00100010: (b"PN", "Good^File"),
        0x00100020: (b"LO", f"GOOD{study or number}"), 0x0020000D: (b"UI", root), 0x0020000E: (b"UI", f"{root}.1"),
        0x00200013: (b"IS", str(number % 1_000_000)), 0x00280002: (b"US", 1), 0x00280004: (b"CS", "MONOCHROME2"),
        0x00280010: (b"US", size), 0x00280011: (b"US", size), 0x00280100: (b"US", 16), 0x00280101: (b"US", 16),
        0x00280102: (b"US", 15), 0x00280103: (b"US", 0),
    }  # fmt: skip
    meta = _short(0x00020002, b"UI", CTImageStorage) + _short(0x00020003, b"UI", uid)
    meta += _short(0x00020010, b"UI", ExplicitVRLittleEndian) + _short(0x00020012, b"UI", "2.25.1")
    whole = bytes(128) + b"DICM" + struct.pack("<HH2sHI", 2, 0, b"UL", 4, len(meta)) + meta
    whole += b"".join(_short(tag, vr, value) for tag, (vr, value) in texts.items())
    pixels = number.to_bytes(8, "little") * (size * size // 4)
    return whole + struct.pack("<HH2s2xI", 0x7FE0, 0x0010, b"OW", len(pixels)) + pixels


def _short(tag: int, vr: bytes, value: str | int) -> bytes:
    data = struct.pack("<H", value) if isinstance(value, int) else value.encode("ascii")
    data += (b"\0" if vr == b"UI" else b" ") * (len(data) & 1)
    return struct.pack("<HH2sH", tag >> 16, tag & 0xFFFF, vr, len(data)) + data
