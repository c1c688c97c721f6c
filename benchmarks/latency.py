"""How long the way takes besides inference: from the end of the quiet time to the subscriber's notification.

``python -m benchmarks.latency FOLDER --rounds 5`` sends the CT study in FOLDER again and again under new UIDs and
listens as an outside client. Inference (load to findings) is taken from the server's log.
"""

import argparse
import json
import re
import statistics
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

from benchmarks.crash import Server, renamed
from server.cli.demo.client import Client, dicom_files
from server.cli.demo.command import TOPIC
from server.cli.demo.subscriber import Subscriber
from server.errors import HutongError

#: What benchmarks.crash sets HUTONG_STUDY_QUIET to.
QUIET = 0.5
_RESULT_SECONDS = 600.0
_TOOK = re.compile(r"analysis \w+ by \S+ on \S+ took ([0-9.]+) s")


def one_round(server: Server, client: Client, subscriber: Subscriber, images: Path) -> float:
    """Seconds of one study, inference and quiet time taken out."""
    datasets = renamed(dicom_files(images))
    before = len(_TOOK.findall(server.log.read_text(encoding="utf-8")))
    client.store(datasets, lambda _: None)
    acknowledged = time.monotonic()
    if subscriber.wait("event-notification", _RESULT_SECONDS) is None:
        raise HutongError("No notification came.")
    notified = time.monotonic()
    inference = [float(found) for found in _TOOK.findall(server.log.read_text(encoding="utf-8"))[before:]]
    return notified - acknowledged - QUIET - sum(inference)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("images", type=Path, help="a folder with one CT study, e.g. made by `hutong phantom`")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, Subscriber() as subscriber:
        server = Server(Path(folder) / "data", 18180, 18212)
        server.start()
        try:
            with closing(Client(server.url)) as client:
                client.subscribe(TOPIC, subscriber.endpoint)
                if subscriber.wait("handshake", 30) is None:
                    raise HutongError("No handshake.")
                seconds = [
                    round(one_round(server, client, subscriber, arguments.images), 2) for _ in range(arguments.rounds)
                ]
        finally:
            server.stop()
    json.dump({"seconds": seconds, "median": statistics.median(seconds), "worst": max(seconds)}, sys.stdout)


if __name__ == "__main__":
    main()
