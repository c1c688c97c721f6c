"""A digest is of the kind by which the stored one was made."""

import hashlib

from server.imaging import digests


def test_what_was_stored_before_is_still_recognised() -> None:
    data = bytes(range(256)) * 7
    for digest in (digests.like(hashlib.sha256(data).digest()), digests.like(bytes(32))):
        digest.update(data)
        assert digest.digest() == hashlib.sha256(data).digest()


def test_a_bit_and_the_order_of_pieces_matter() -> None:
    found = set()
    for pieces in ([b"ab", b"c"], [b"c", b"ab"], [b"abd"]):
        digest = digests.new()
        for piece in pieces:
            digest.update(memoryview(piece))
        found.add(digest.digest())
    assert len(found) == 3 and {len(one) for one in found} == {16}
    again = digests.like(found.pop())
    assert len(again.digest()) == 16
