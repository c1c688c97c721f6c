"""What is written does not change by accident; ``python -m tests.dicom_sr.refresh`` after a change that is meant."""

import pytest

from tests.dicom_sr.refresh import FILES, GOLDEN


@pytest.mark.parametrize("name", FILES)
def test_as_before(name: str) -> None:
    assert FILES[name]() == (GOLDEN / name).read_text(encoding="utf-8")


def test_no_golden_file_is_left_over() -> None:
    assert {path.name for path in GOLDEN.iterdir()} == set(FILES)
