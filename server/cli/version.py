"""``hutong version``."""

from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version

from server import __version__
from server.cli.output import AsJson, print_json

#: Parts whose version decides what is on the wire.
_PARTS = ("pydicom", "pynetdicom", "highdicom", "fastapi", "onnxruntime", "onnxruntime-gpu", "sqlalchemy")


def version(as_json: AsJson = False) -> None:
    """Prints the version, and those of the parts that decide what is on the wire."""
    versions = {"hutong": __version__, **{part: _version(part) for part in _PARTS}}
    if as_json:
        print_json(versions)
    else:
        print("\n".join(f"{name} {number}" for name, number in versions.items() if number))


def _version(part: str) -> str | None:
    try:
        return installed_version(part)
    except PackageNotFoundError:
        return None
