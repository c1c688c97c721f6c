"""A film in a browser that plays it."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from server.imaging.film import mp4

_PAGE = """<!doctype html><body><video id="v" src="film.mp4" muted></video><script>
v.onerror = () => document.body.append("error " + v.error.message);
v.requestVideoFrameCallback(() => { const c = document.createElement("canvas").getContext("2d"); c.drawImage(v, 0, 0);
  document.body.append([v.videoWidth, v.videoHeight, v.duration, ...c.getImageData(10, 10, 1, 1).data].join(" ")); });
v.play();
</script></body>"""


def _shown(program: str, folder: Path, budget: int) -> str:
    """What the page says after ``budget`` milliseconds."""
    done = subprocess.run(
        [
            program, "--headless", "--no-sandbox", "--disable-gpu", "--allow-file-access-from-files",
            f"--virtual-time-budget={budget}", "--autoplay-policy=no-user-gesture-required",
            f"--user-data-dir={folder / 'profile'}", "--dump-dom", (folder / "page.html").as_uri(),
        ],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    return done.stdout.rpartition("</script>")[2].partition("</body>")[0].strip()


@pytest.mark.peer
@pytest.mark.parametrize("frames", [4, 12])
def test_chromium_plays_it(tmp_path: Path, frames: int) -> None:
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("chromium is not here")
    red = np.zeros((48, 64, 3), np.uint8)
    red[..., 0] = 200
    pictures = [Image.fromarray(np.roll(red, number, 1)) for number in range(frames)]
    (tmp_path / "film.mp4").write_bytes(mp4(pictures, 90, 250.0))
    (tmp_path / "page.html").write_text(_PAGE, encoding="utf-8")
    found = ""
    for budget in (5_000, 20_000, 80_000, 320_000):
        # The page's clock is virtual, the decoder's is not: on a busy machine it takes a longer virtual time.
        found = found or _shown(program, tmp_path, budget)
    width, height, duration, *colour = found.split()
    assert (width, height) == ("64", "48")
    assert float(duration) == pytest.approx(frames * 0.25)
    assert int(colour[0]) > 150
    assert int(colour[1]) < 60
