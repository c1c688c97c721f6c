"""Names in sentences."""

import pytest

from dicom_sr.person_name import in_words


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("Wang^Fang=王^芳", "Wang Fang (王芳)"),
        ("Wang^Fang", "Wang Fang"),
        ("Adams^John Robert Quincy^^Rev.^B.A.", "Adams John Robert Quincy"),
        ("=王^芳", "王芳"),
        ("Yamada^Tarou=山田^太郎=やまだ^たろう", "Yamada Tarou (山田太郎)"),
        ("", ""),
    ],
)
def test_a_name_as_a_sentence_has_it(name: str, said: str) -> None:
    assert in_words(name) == said
