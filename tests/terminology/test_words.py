"""Words by their beginning, and versions by their numbers."""

from hypothesis import given
from hypothesis import strategies as st

from terminology.versions import fits, order
from terminology.words import asked, begun

TEXT = st.text(st.sampled_from("abÄé 5-_肺结节'\\"), max_size=12)


def test_beginnings_and_neighbours() -> None:
    assert begun(["nod", "lu"], ["Nodule of LUNG"]) and not begun(["ung"], ["Nodule of lung"])
    assert begun(list(asked("肺结")), ["右肺结节"]) and not begun(list(asked("结肺")), ["右肺结节"])
    assert begun(["muller"], ["Müller's sign"])


@given(TEXT)
def test_what_a_text_is_asked_by_is_found_in_it(text: str) -> None:
    assert begun(list(asked(text)), [text])


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20)), min_size=1))
def test_newer_versions_are_greater(pairs: list[tuple[int, int]]) -> None:
    assert max(pairs) == max(pairs, key=lambda pair: order(f"{pair[0]}.{pair[1]}"))


def test_versions_that_are_asked_for() -> None:
    edition = "http://snomed.info/sct/900000000000207008"
    assert fits("1", "") and fits("1", "1") and not fits("1.2", "1")
    assert fits("1.2.3", "1.x") and fits("1.2.3", "1.x.x") and not fits("12.3", "1.x")
    assert fits(f"{edition}/version/20240101", edition) and not fits(f"{edition}1/version/20240101", edition)
