"""Buffers are used again, never hold more than their size, and show nothing of what was in them before."""

from server.imaging import held


def test_what_is_put_in_comes_out_in_order() -> None:
    buffer = held.take()
    assert buffer.add(b"ab") and buffer.add(memoryview(bytearray(b"cd")))
    with buffer.view() as view:
        assert bytes(view) == b"abcd"
    # The reader of data sets needs slices that are bytes.
    assert buffer.buffer[1:3] == b"bc"
    held.give_back(buffer)


def test_it_is_used_again_and_empty_then() -> None:
    first = held.take()
    first.add(b"of one patient")
    held.give_back(first)
    again = held.take()
    assert again is first and again.length == 0
    with again.view() as view:
        assert not view
    held.give_back(again)


def test_what_has_no_room_is_left_out() -> None:
    buffer = held.take()
    assert buffer.add(bytes(held.SIZE - 1))
    assert not buffer.add(b"ab") and buffer.length == held.SIZE - 1
    assert buffer.add(b"z") and not buffer.add(b"a")
    held.give_back(buffer)


def test_a_large_instance_leaves_no_memory_behind() -> None:
    buffer = held.take()
    buffer.add(b"x" * held.SIZE)
    held.give_back(buffer)
    assert not any(buffer.buffer[:: held.SIZE // 64])


def test_more_than_lie_ready_are_let_go() -> None:
    many = [held.take() for _ in range(20)]
    for one in many:
        held.give_back(one)
    ready = {id(held.take()) for _ in range(20)} & {id(one) for one in many}
    assert 0 < len(ready) < 20
