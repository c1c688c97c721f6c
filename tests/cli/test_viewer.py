"""``hutong viewer install``: only the build that was tested, and a clear answer for everything else."""

from pathlib import Path

import pytest

from server.cli.viewer import install as viewer
from server.errors import Unavailable, Unprocessable


def test_another_package_is_refused_and_what_was_there_stays(tmp_path: Path) -> None:
    folder = tmp_path / "viewer"
    folder.mkdir()
    (folder / "installed.json").write_text('{"version": "0.0.1"}', encoding="utf-8")
    wrong = tmp_path / "ohif-app.tgz"
    wrong.write_bytes(b"something else")
    with pytest.raises(Unprocessable, match=r"npm pack @ohif/app@3"):
        viewer.install(folder, wrong)
    with pytest.raises(Unavailable, match="No such file"):
        viewer.install(folder, tmp_path / "nowhere.tgz")
    assert viewer.installed(folder).version == "0.0.1"
    assert not list(tmp_path.glob(".viewer-*"))


def test_what_is_not_installed_says_how(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="hutong viewer install"):
        viewer.installed(tmp_path / "viewer")


def test_without_npm_the_cure_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Unavailable, match="--package"):
        viewer.install(tmp_path / "viewer")
