"""A detector's boxes, scores and labels, as models lay them out."""

import numpy as np
import pytest

from ai_adapters.onnx_session import BrokenModel
from ai_adapters.tasks.detection import DetectionPlan, detection_plan, rows_of

ROWS = np.array([[0, 0, 9, 9], [1, 1, 5, 5], [2, 2, 8, 8]], dtype=np.float32)
SCORES = np.array([0.9, 0.4, 0.7], dtype=np.float32)


def plan(**outputs: object) -> DetectionPlan:
    named = {"boxes": "boxes", "scores": "scores"}
    return detection_plan({"tensor": {"layout": "NCHW"}, "outputs": {**named, **outputs}})


def test_where_labels_say_the_class_each_box_has_one_score() -> None:
    labels = np.array([1, 2, 1], dtype=np.int64)
    outputs = {"boxes": ROWS, "scores": SCORES, "labels": labels}
    # Many detectors count their classes from 1, with the background as 0.
    for wanted, chances in ((1, [0.9, 0, 0.7]), (2, [0, 0.4, 0])):
        rows, told = rows_of(outputs, plan(labels="labels", **{"class": wanted}))
        assert rows.shape == (3, 4)
        assert told == pytest.approx(chances)


@pytest.mark.parametrize("scores", [SCORES, SCORES[:, None], SCORES[None], SCORES[None, :, None]])
def test_one_score_a_box_in_any_shape(scores: np.ndarray) -> None:
    _, told = rows_of({"boxes": ROWS[None], "scores": scores}, plan())
    assert told == pytest.approx(SCORES)


@pytest.mark.parametrize(
    ("outputs", "says"),
    [
        ({"scores": np.stack([1 - SCORES, SCORES])}, r"outputs\.scores: \(2, 3\) for 3 boxes"),
        ({"scores": np.zeros((7, 2), dtype=np.float32)}, r"outputs\.scores: \(7, 2\) for 3 boxes"),
        ({"scores": SCORES, "labels": np.ones(2)}, r"outputs\.labels: \(2,\) for 3 boxes"),
    ],
)
def test_what_is_not_one_row_a_box_is_refused(outputs: dict[str, np.ndarray], says: str) -> None:
    with pytest.raises(BrokenModel, match=says):
        rows_of({"boxes": ROWS, **outputs}, plan(**{name: name for name in outputs}))


def test_no_boxes_have_no_scores() -> None:
    rows, told = rows_of({"boxes": ROWS[:0], "scores": np.zeros((0, 2), dtype=np.float32)}, plan())
    assert len(rows) == len(told) == 0
