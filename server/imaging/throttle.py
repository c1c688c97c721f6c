"""Lets long reading through at no more than a rate, so that those who wait for an image don't wait for upkeep."""

import time


class Throttle:
    """So many bytes a second; 0 for as fast as it goes."""

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._due = time.monotonic()

    def pass_on(self, size: int) -> None:
        """Counts ``size`` bytes and waits as long as the rate wants."""
        if not self._rate:
            return
        now = time.monotonic()
        self._due = max(self._due, now) + size / self._rate
        if self._due - now > 0.01:
            time.sleep(self._due - now)
