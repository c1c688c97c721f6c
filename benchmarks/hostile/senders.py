"""Senders that remember what was acknowledged, and look for it afterwards."""

import hashlib
import json
import threading
import time
from collections import Counter
from collections.abc import Callable
from itertools import count

from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from benchmarks.hostile.mutants import sound
from benchmarks.hostile.server import Tree
from benchmarks.hostile.wire import STOW, Association, ask, multipart

_PAIR = CTImageStorage, ExplicitVRLittleEndian
#: Instances of one study, and of one STOW-RS request.
_STUDY, _TOGETHER = 40, 5


class Ledger:
    """What was acknowledged, by SOP Instance UID, and what else was answered."""

    def __init__(self, *, first: int, size: int = 64) -> None:
        self._numbers = count(first)
        self._size = size
        self._lock = threading.Lock()
        #: UID to study UID and SHA-256 of what was sent.
        self.acknowledged: dict[str, tuple[str, str]] = {}
        self.answers: Counter[str] = Counter()
        self.slowest = 0.0

    def made(self) -> tuple[str, bytes]:
        """A new instance and its UID."""
        with self._lock:
            number = next(self._numbers)
        study = number // _STUDY
        return f"2.25.4711.{study}.1.{number}", sound(number, study=study, size=self._size)

    def note(self, uid: str, file: bytes) -> None:
        """The server said that it has it."""
        with self._lock:
            self.acknowledged[uid] = uid.rpartition(".1.")[0], _digest(file)

    def answer(self, what: str, seconds: float = 0.0) -> None:
        """Counts an answer."""
        with self._lock:
            self.answers[what] += 1
            self.slowest = max(self.slowest, seconds)

    def check(self, tree: Tree) -> list[str]:
        """What of it is gone, is other than it was, or is there twice; by retrieval and by query."""
        wrong: list[str] = []
        studies: dict[str, set[str]] = {}
        for uid, (study, _) in self.acknowledged.items():
            studies.setdefault(study, set()).add(uid)
        for study, uids in studies.items():
            answer = ask(tree.http_port, "GET", f"/dicomweb/studies/{study}/instances?limit=10000")
            if answer.status not in (200, 204):
                wrong.append(f"{study} is answered with {answer.status}")
                continue
            found = [one["00080018"]["Value"][0] for one in json.loads(answer.body or b"[]")]
            wrong += [f"{uid} is not found" for uid in uids - {*found}]
            wrong += [f"{uid} is found {times} times" for uid, times in Counter(found).items() if times > 1]
            for uid in uids:
                path = f"/dicomweb/studies/{study}/series/{study}.1/instances/{uid}"
                got = ask(tree.http_port, "GET", path, headers={"Accept": "application/dicom; transfer-syntax=*"})
                if got.status == 503:
                    wrong.append(f"{uid} is answered with 503")
                elif got.status != 200 or _digest(got.body) != self.acknowledged[uid][1]:
                    wrong.append(f"{uid} comes back as {got.status}, other than it was sent")
        return wrong


def _digest(file: bytes) -> str:
    """Of the data set alone: a C-STORE has no file meta information of its own."""
    at = file.find(b"\x08\x00\x05\x00CS")
    return hashlib.sha256(file[at:]).hexdigest()


def stow(tree: Tree, ledger: Ledger, timeout: float = 30.0) -> bool:
    """One request of several instances; whether it was answered by the server with success."""
    made = [ledger.made() for _ in range(_TOGETHER)]
    began = time.monotonic()
    try:
        body = multipart([file for _, file in made])
        answer = ask(
            tree.http_port, "POST", "/dicomweb/studies", headers={"Content-Type": STOW}, body=body, timeout=timeout
        )
    except OSError as error:
        ledger.answer(f"STOW {type(error).__name__}", time.monotonic() - began)
        return False
    reason = ""
    if answer.status in (200, 202, 409):
        said = json.loads(answer.body)
        files = dict(made)
        for one in said.get("00081199", {}).get("Value", []):
            uid = one["00081155"]["Value"][0]
            ledger.note(uid, files[uid])
        reasons = {f"{one['00081197']['Value'][0]:04X}" for one in said.get("00081198", {}).get("Value", [])}
        reason = " " + ",".join(sorted(reasons)) if reasons else ""
    ledger.answer(f"STOW {answer.status}{reason}", answer.seconds)
    return answer.status == 200


class Storing:
    """C-STOREs on an association that is made anew where it broke."""

    def __init__(self, tree: Tree, ledger: Ledger) -> None:
        self._tree, self._ledger = tree, ledger
        self._association: Association | None = None

    def __call__(self) -> bool:
        """One instance; whether it was stored."""
        uid, file = self._ledger.made()
        began = time.monotonic()
        try:
            if self._association is None:
                self._association = Association(self._tree.dimse_port, [_PAIR], timeout=30)
            data = file[file.index(b"\x08\x00\x05\x00CS") :]
            answer = self._association.store(_PAIR, uid, data)
        except OSError as error:
            self.close()
            self._ledger.answer(f"C-STORE {type(error).__name__}", time.monotonic() - began)
            return False
        if answer.status == 0:
            self._ledger.note(uid, file)
        said = f"{answer.status:04X}" if answer.status >= 0 else "aborted"
        self._ledger.answer(f"C-STORE {said}", answer.seconds)
        return answer.status == 0

    def close(self) -> None:
        """Ends the association."""
        if self._association is not None:
            self._association.drop()
            self._association = None


class Sending:
    """A sender in a thread of its own, from entry to exit."""

    def __init__(self, send: Callable[[], bool], pause: float = 0.01) -> None:
        self._send, self._pause = send, pause
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "Sending":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.is_set():
            self._over.wait(self._pause if self._send() else 0.3)
