"""What was freed goes back to the system."""

import subprocess
import sys

import pytest

_PROGRAM = """
import time
from server.telemetry import memory

memory._EVERY = 0.05
assert memory.start() is not None
time.sleep(0.3)
held = [bytes(100_000) for _ in range(2000)]
# One block at the end keeps the heap from shrinking by itself.
last, held = held[-1], None
until = time.monotonic() + 10
while memory.resident() >= 100 << 20 and time.monotonic() < until:
    time.sleep(0.05)
print(memory.resident())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only glibc has malloc_trim")
def test_freed_memory_is_given_back() -> None:
    done = subprocess.run([sys.executable, "-c", _PROGRAM], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 100 << 20


_SETTLED = """
import gc
from server.telemetry import memory

class Ring:
    def __init__(self):
        self.ring = self

memory.settle()
before = gc.get_freeze_count()
for _ in range(100_000):
    Ring()
print(before > 1000, sum(isinstance(one, Ring) for one in gc.get_objects()) < 50_000)
"""


def test_the_collector_still_finds_rings() -> None:
    done = subprocess.run([sys.executable, "-c", _SETTLED], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "True"]
