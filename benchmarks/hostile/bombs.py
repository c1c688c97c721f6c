"""Bar 4, second half: small things that claim to be big, and requests no client would send."""

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from benchmarks.hostile import bomb_archives, bomb_files, bomb_messages, bomb_requests
from benchmarks.hostile.mutants import HANG, good_file
from benchmarks.hostile.server import Tree, Watch
from benchmarks.hostile.wire import STOW, Answer, ask, multipart, raw

#: Ways to ask for the pixels of what was taken in.
_READ = {
    "instance": ("", 'multipart/related; type="application/dicom"; transfer-syntax=*'),
    "explicit": ("", 'multipart/related; type="application/dicom"; transfer-syntax=1.2.840.10008.1.2.1'),
    "metadata": ("/metadata", "application/dicom+json"),
    "frame": ("/frames/1", "multipart/related; type=application/octet-stream"),
    "rendered": ("/rendered", "image/png"),
    "film": ("/rendered", "video/mp4"),
    "thumbnail": ("/thumbnail", "image/jpeg"),
    "jpeg-ls": ("", 'multipart/related; type="application/dicom"; transfer-syntax=1.2.840.10008.1.2.4.80'),
}


@dataclass(kw_only=True, slots=True)
class Report:
    """What each attack got for an answer."""

    answers: dict[str, str] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    slowest: dict[str, float] = field(default_factory=dict)
    growth_mb: float = 0.0
    growth_by_part: dict[str, int] = field(default_factory=dict)
    restarts: int = 0
    healthy: list[str] = field(default_factory=list)

    def shown(self) -> dict[str, Any]:
        """As JSON."""
        slow = sorted(self.slowest.items(), key=lambda pair: -pair[1])[:5]
        return {
            "attacks": len(self.answers), "answers": self.answers, "faults": self.faults,
            "slowest_s": {name: round(seconds, 2) for name, seconds in slow}, "growth_mb": round(self.growth_mb),
            "growth_by_part": self.growth_by_part,
            "restarts": self.restarts, "healthy": self.healthy,
        }  # fmt: skip


class Bombs:
    """One run against one server."""

    def __init__(self, tree: Tree, folder: Path) -> None:
        self._tree, self._folder = tree, folder
        self.report = Report()
        #: What each got, as it comes: a run that is killed tells how far it came.
        self._told = (folder / "told.txt").open("w", encoding="utf-8", buffering=1)
        self._good = 0

    def run(self, *, every: int = 1) -> Report:
        """Every attack once, or every so many-th; a good file after each."""
        self._check("start")
        # Loads what decoding needs, so that growth means growth.
        self._file("warm", bomb_files.plain())
        watch = Watch(self._tree)
        for name, file in islice(bomb_files.files(), None, None, every):
            self._file(name, file)
            self._check(name)
        for name, pieces in islice(bomb_requests.requests(self._tree.http_port), None, None, every):
            self._request(name, pieces)
            self._check(name)
        for name, attack in islice(bomb_messages.attacks(self._tree.dimse_port), None, None, every):
            self._timed(name, attack)
            self._check(name)
        self._import(every)
        watch.end()
        self.report.growth_mb, self.report.growth_by_part = watch.growth, watch.growth_by_part
        self.report.restarts = self._tree.restarts()
        self.report.healthy = [one for one in ("verify", "doctor") if self._is_green(one)]
        self._told.close()
        if self.report.growth_mb > 256:
            self.report.faults.append(f"memory grew by {self.report.growth_mb:.0f} MB")
        if self.report.restarts:
            self.report.faults.append(f"{self.report.restarts} processes ended")
        return self.report

    def _file(self, name: str, file: bytes) -> None:
        body = multipart([file])
        answer = self._ask(name, ["POST", "/dicomweb/studies"], {"Content-Type": STOW}, body)
        if answer is None or answer.status != 200:
            return
        url = json.loads(answer.body)["00081199"]["Value"][0]["00081190"]["Value"][0]
        for kind, (end, accept) in _READ.items():
            self._ask(f"{name}: {kind}", ["GET", url[url.index("/dicomweb") :] + end], {"Accept": accept})

    def _ask(self, name: str, line: Sequence[str], headers: dict[str, str], body: bytes = b"") -> Answer | None:
        try:
            answer = ask(self._tree.http_port, *line, headers=headers, body=body, timeout=60)
        except OSError as error:
            self._fault(name, f"{type(error).__name__} {error}")
            return None
        self._judge(name, answer)
        return answer

    def _request(self, name: str, pieces: list[bytes]) -> None:
        try:
            answer = raw(self._tree.http_port, pieces, timeout=60)
        except OSError as error:
            self._fault(name, f"{type(error).__name__} {error}")
            return
        self._judge(name, answer)

    def _judge(self, name: str, answer: Answer) -> None:
        said = answer.headers.get("warning", "") or answer.body[:140].decode("utf-8", "replace")
        self.report.answers[name] = f"{answer.status} {said}" if answer.status >= 400 else str(answer.status)
        self.report.slowest[name] = answer.seconds
        if answer.status >= 500 and answer.status != 503:
            self._fault(name, f"{answer.status} {said}")
        if answer.status >= 400 and not said:
            self._fault(name, f"{answer.status} without a reason")
        if answer.seconds > HANG:
            self._fault(name, f"{answer.seconds:.1f} s")

    def _timed(self, name: str, attack: bomb_messages.Attack) -> None:
        began = time.monotonic()
        try:
            self.report.answers[name] = attack()
        except OSError as error:
            self._fault(name, f"{type(error).__name__} {error}")
        self.report.slowest[name] = time.monotonic() - began
        if self.report.slowest[name] > HANG:
            self._fault(name, f"{self.report.slowest[name]:.1f} s")

    def _import(self, every: int) -> None:
        """Archives and folders that bite; the summary must tell of each."""
        for name, folder in _made(self._folder, every):
            began = time.monotonic()
            done = self._tree.command("import", str(folder), "--json")
            self.report.slowest[f"import {name}"] = time.monotonic() - began
            try:
                said = json.loads(done.stdout)
            except ValueError:
                self._fault(f"import {name}", f"{done.returncode} {done.stderr[-900:]}")
                continue
            reasons = sorted({one["details"][:120] for one in said["refusals"]})
            counted = {one: said[one] for one in ("stored", "refused", "other")}
            self.report.answers[f"import {name}"] = f"{counted} {reasons}"
            self._check(f"import {name}")

    def _check(self, name: str) -> None:
        print(f"{name}: {self._tree.memory_by_part()} {self.report.answers.get(name, '')}", file=self._told)
        self._good += 1
        began = time.monotonic()
        try:
            sound = good_file(self._tree, 50_000_000 + self._good)
        except OSError as error:
            self._fault(f"after {name}", f"{type(error).__name__} {error}")
            return
        if not sound or time.monotonic() - began > HANG:
            self._fault(f"after {name}", f"the good file: {sound}, {time.monotonic() - began:.1f} s")

    def _is_green(self, command: str) -> bool:
        done = self._tree.command(command)
        if done.returncode:
            self._fault(command, (done.stdout + done.stderr)[-1500:])
        return not done.returncode

    def _fault(self, name: str, what: str) -> None:
        self.report.faults.append(f"{name}: {what}")
        print(f"FAULT {name}: {what}", file=self._told)


def _made(folder: Path, every: int) -> Iterator[tuple[str, Path]]:
    for name, make in islice(bomb_archives.ARCHIVES.items(), None, None, every):
        place = folder / "archives" / name.replace(" ", "-")
        place.mkdir(parents=True, exist_ok=True)
        make(place)
        yield name, place
