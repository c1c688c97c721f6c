"""Specific Character Set: the standard's own examples (PS3.5 annexes H to K), and what can't be decoded."""

import pytest

from server.imaging.charset import Charset

#: (0008,0005), the bytes of the name, the name.
NAMES = [
    (("ISO_IR 100",), b"Buc^J\xe9r\xf4me", "Buc^Jérôme"),
    (("ISO_IR 144",), "Люкceмбypг".encode("iso8859_5"), "Люкceмбypг"),
    (("ISO_IR 192",), "Wang^XiaoDong=王^小东".encode(), "Wang^XiaoDong=王^小东"),
    (("GB18030",), "Wang^XiaoDong=王^小东".encode("gb18030"), "Wang^XiaoDong=王^小东"),
    (("GBK",), "张^三".encode("gbk"), "张^三"),
    (
        ("", "ISO 2022 IR 87"),
        b"Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B",
        "Yamada^Tarou=山田^太郎",
    ),
    (("", "ISO 2022 IR 149"), b"Hong^Gildong=\x1b$)C\xfb\xf3^\x1b$)C\xd1\xce\xd4\xd7", "Hong^Gildong=洪^吉洞"),
    (("", "ISO 2022 IR 58"), b"Zhang^XiaoDong=\x1b$)A\xd5\xc5^\x1b$)A\xd0\xa1\xb6\xab", "Zhang^XiaoDong=张^小东"),
    # As pydicom writes it: without the escapes.
    (("", "ISO 2022 IR 58"), b"Zhang^XiaoDong=\xd5\xc5^\xd0\xa1\xb6\xab", "Zhang^XiaoDong=张^小东"),
    (("ISO_IR 166",), "นามสกุล".encode("iso8859_11"), "นามสกุล"),
    ((), b"Hu^Tong", "Hu^Tong"),
    (("ISO-IR 100",), b"J\xe9", "Jé"),
]


@pytest.mark.parametrize(("terms", "raw", "text"), NAMES, ids=[str(n[0]) for n in NAMES])
def test_names(terms: tuple[str, ...], raw: bytes, text: str) -> None:
    assert Charset(terms).decode(raw, b"\\^=") == text


def test_what_cannot_be_decoded_is_replaced() -> None:
    assert Charset(("ISO_IR 192",)).decode(b"a\xffb") == "a\ufffdb"
    assert Charset(("NO SUCH",)).decode(b"abc") == "abc"
    assert Charset(("", "ISO 2022 IR 87")).decode(b"\x1b$Xab") is not None
