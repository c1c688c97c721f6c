"""Bar 9, last part: SIGKILL at random moments, to one process or all, while instances come by every door."""

import json
import os
import random
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from benchmarks.hostile.mutants import sound
from benchmarks.hostile.senders import Ledger, Sending, Storing, stow
from benchmarks.hostile.server import Failed, Tree

#: How often all of them die instead of one.
_ALL = 0.2


def run(folder: Path, *, kills: int = 100, seed: int = 1) -> dict[str, Any]:
    """Kills, waits till the server is well again, and goes on; then everything acknowledged is looked for."""
    chance = random.Random(seed)
    tree = Tree(folder / "data", gc_grace="0")
    tree.start()
    ledger = Ledger(first=90_000_000)
    died: dict[str, int] = {}
    slow: list[float] = []
    faults: list[str] = []
    storing = Storing(tree, ledger)
    beside = _Beside(tree, folder, ledger)
    with Sending(lambda: stow(tree, ledger)), Sending(storing), beside:
        for number in range(kills):
            time.sleep(chance.uniform(0.05, 1.5))
            name = kill_one(tree, chance)
            died[name] = died.get(name, 0) + 1
            try:
                if tree.ended:
                    tree.start()
                slow.append(tree.wait_until_ready(60))
            except Failed as error:
                faults.append(f"kill {number} of {name}: {error}")
                tree.kill()
                tree.start()
    storing.close()
    tree.wait_until_ready()
    faults += ledger.check(tree)
    faults += beside.check()
    # Who dies between a pack's first byte and its first row leaves a file that no row names: clearing up is for that.
    tree.command("gc")
    checks = {one: tree.command(one) for one in ("verify", "doctor")}
    tree.stop()
    green = [one for one, done in checks.items() if not done.returncode]
    faults += [
        f"{one} is not green: {done.stdout[-500:]}{done.stderr[-500:]}"
        for one, done in checks.items()
        if done.returncode
    ]
    return {
        "kills": sum(died.values()), "died": died, "acknowledged": len(ledger.acknowledged),
        "imported": beside.acknowledged, "cleared": beside.cleared, "answers": dict(ledger.answers),
        "ready_again_s": {"median": round(sorted(slow)[len(slow) // 2], 2), "max": round(max(slow), 2)},
        "slowest_answer_s": round(ledger.slowest, 2), "healthy": green,
        "faults": faults[:50], "fault_count": len(faults),
    }  # fmt: skip


def kill_one(tree: Tree, chance: random.Random) -> str:
    """One process of the tree, or the supervisor, whose death all others follow."""
    if chance.random() < _ALL:
        tree.kill()
        return "all"
    victims = [one for one in tree.family() if one != tree.process]
    victim = chance.choice(victims)
    name = _name(victim)
    tree.kill(victim)
    return name


def _name(process: int) -> str:
    try:
        return Path(f"/proc/{process}/comm").read_text(encoding="ascii").strip()
    except OSError:
        return "gone"


class _Beside:
    """Imports and clearing up beside the senders; they are killed too."""

    def __init__(self, tree: Tree, folder: Path, ledger: Ledger) -> None:
        self._tree, self._ledger = tree, ledger
        self._files = folder / "import"
        self._files.mkdir(parents=True, exist_ok=True)
        self._chance = random.Random(5)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.acknowledged = self.cleared = self._made = 0

    def __enter__(self) -> "_Beside":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def check(self) -> list[str]:
        """Once more, undisturbed: every file must be settled then."""
        done = self._tree.command("import", str(self._files), "--readers", "1", "--json")
        said = json.loads(done.stdout or "{}")
        settled = said.get("stored", 0) + said.get("already", 0) + said.get("skipped", 0)
        return [] if settled == self._made else [f"import settles {settled} of {self._made}: {done.stderr[-300:]}"]

    def _run(self) -> None:
        while not self._over.is_set():
            for _ in range(60):
                file = sound(95_000_000 + self._made, study=95_000 + self._made // 60, size=64)
                (self._files / f"{self._made}.dcm").write_bytes(file)
                self._made += 1
            self._one("import", str(self._files), "--readers", "1", "--json")
            if not self._over.is_set() and not self._one("gc"):
                self.cleared += 1

    def _one(self, *arguments: str) -> int:
        """Runs a command, every second time only till it is killed."""
        command = [sys.executable, "-m", "server", *arguments, "--data", str(self._tree.data)]
        environment = {**os.environ, "HUTONG_GC_GRACE": "0"}
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment) as running:
            if self._chance.random() < 0.4:
                self._over.wait(self._chance.uniform(0.5, 4.0))
                running.kill()
            output = running.communicate()[0]
        if arguments[0] == "import":
            with suppress(ValueError, KeyError):
                self.acknowledged += json.loads(output)["stored"]
        return running.returncode
