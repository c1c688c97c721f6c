"""From a volume to a model's tensor: grid, tiles, channels, order of axes."""

from typing import Any

import numpy as np
import pytest

from ai_adapters.tasks.boxes import Box, decoded, joined, thinned
from ai_adapters.tasks.tensors import central, corners, grid_of, tensor, tensor_plan
from ai_adapters.volume import Volume

HU = np.arange(6 * 8 * 10, dtype=np.int16).reshape(6, 8, 10)
VOLUME = Volume(voxels=HU, affine=np.diag([2.0, 1.0, 1.0, 1.0])[[2, 1, 0, 3]])


def tensors(**content: Any) -> list[np.ndarray]:
    plan = tensor_plan({"preprocessing": {"window_hu": [0, 1000], "range": [0, 1000]}, **content})
    grid = grid_of(VOLUME, plan)
    return [tensor(grid, corner, plan) for corner in corners(grid, plan)]


def test_the_whole_volume_in_any_order_of_axes() -> None:
    (usual,) = tensors()
    assert usual.shape == (1, 1, 6, 8, 10) and usual.dtype == np.float32
    assert (usual[0, 0] == HU).all()
    (turned,) = tensors(tensor={"layout": "NWHDC"})
    assert (turned[0, ..., 0].T == HU).all()
    (headed,) = tensors(tensor={"first_slice": "head", "multiple_of": 4})
    assert headed.shape == (1, 1, 8, 8, 12)
    # Filled up behind the last slice, which is the first one now, with the window's lower end.
    assert (headed[0, 0, :2] == 0).all() and (headed[0, 0, 2:, :, :10] == HU[::-1]).all()


def test_tiles_cover_everything_and_overlap() -> None:
    plan = tensor_plan({"tensor": {"size": [4, 4, 4]}, "patches": {"overlap": 0.5}})
    grid = grid_of(VOLUME, plan)
    seen = np.zeros(HU.shape, dtype=int)
    for first, top, left in corners(grid, plan):
        seen[first : first + 4, top : top + 4, left : left + 4] += 1
    assert seen.min() == 1 and seen.max() > 1
    assert len(list(corners(grid, plan))) == 2 * 3 * 4


def test_every_place_is_told_by_the_tile_that_it_lies_in_the_middle_of() -> None:
    plan = tensor_plan({"tensor": {"size": [4, 4, 4]}, "patches": {"overlap": 0.5}})
    grid = grid_of(VOLUME, plan)
    for place in np.ndindex(HU.shape):
        told = [corner for corner in corners(grid, plan) if central(np.array(place, dtype=float), corner, grid, 0.5)]
        assert told, place
        for corner in told:
            border = [(a == 0 or p >= a + 0.5) for p, a in zip(place, corner, strict=True)]
            assert all(border)


@pytest.mark.parametrize("overlap", [0.0, 0.1, 0.25, 0.3, 0.5])
def test_no_place_between_two_voxels_is_left_out(overlap: float) -> None:
    volume = Volume(voxels=np.zeros((1, 1, 57), dtype=np.int16), affine=np.eye(4))
    for size in range(3, 20):
        plan = tensor_plan({"tensor": {"size": [1, 1, size]}, "patches": {"overlap": overlap}})
        grid = grid_of(volume, plan)
        for place in np.arange(0, 56.1, 0.25):
            index = np.array([0.0, 0.0, place])
            assert any(central(index, corner, grid, overlap) for corner in corners(grid, plan)), (size, place)


def test_windows_repeats_and_neighbours_are_channels() -> None:
    two = tensors(preprocessing={"window_hu": [[0, 100], [0, 200]], "range": [-1, 1]})[0]
    assert two.shape[1] == 2
    assert two[0, :, 0, 5, 0] == pytest.approx([0.0, -0.5])
    assert tensors(tensor={"repeat": 3})[0].shape[1] == 3
    slices = tensors(tensor={"layout": "NCHW", "neighbours": 3})
    assert len(slices) == 6 and slices[2].shape == (1, 3, 8, 10)
    assert (slices[2][0] == HU[1:4]).all()
    # Beyond the first slice it is there again.
    assert (slices[0][0] == HU[[0, 0, 1]]).all()
    headed = tensors(tensor={"layout": "NCHW", "neighbours": 3, "first_slice": "head"})
    assert (headed[2][0] == HU[[3, 2, 1]]).all()


def test_the_whole_is_scaled_to_a_size_or_cut_on_a_grid() -> None:
    assert tensors(tensor={"size": [3, 4, 5], "fit": "whole"})[0].shape == (1, 1, 3, 4, 5)
    slices = tensors(tensor={"layout": "NCHW", "size": [4, 5], "fit": "whole"})
    assert len(slices) == 6 and slices[0].shape == (1, 1, 4, 5)
    assert tensors(preprocessing={"spacing_mm": [4.0, 2.0, 2.0]})[0].shape == (1, 1, 3, 4, 5)
    # A model of slices reads those that there are.
    assert len(tensors(preprocessing={"spacing_mm": 4.0}, tensor={"layout": "NCHW"})) == 6


def test_boxes_in_every_spelling_are_the_same_box() -> None:
    score = np.array([0.9], dtype=np.float32)
    tile = (8, 16, 32)
    for columns, row, share in (
        (("z1", "y1", "x1", "z2", "y2", "x2"), (2, 4, 8, 4, 8, 16), False),
        (("x1", "y1", "z1", "x2", "y2", "z2", "other"), (8, 4, 2, 16, 8, 4, 99), False),
        (("cx", "cy", "cz", "w", "h", "d"), (12, 6, 3, 8, 4, 2), False),
        (("cx", "cy", "cz", "w", "h", "d"), (0.375, 0.375, 0.375, 0.25, 0.25, 0.25), True),
    ):
        (box,) = decoded(np.array([row], dtype=np.float32), score, columns, tile, share=share, head_first=False)
        assert box.low == pytest.approx((1.5, 3.5, 7.5)) and box.high == pytest.approx((3.5, 7.5, 15.5))
        (turned,) = decoded(np.array([row], dtype=np.float32), score, columns, tile, share=share, head_first=True)
        assert (turned.low[0], turned.high[0]) == pytest.approx((3.5, 5.5))


def box(confidence: float, low: tuple[float, float, float], high: tuple[float, float, float]) -> Box:
    return Box(confidence=confidence, low=np.array(low), high=np.array(high))


def test_boxes_are_thinned_and_slices_joined() -> None:
    one, near, other = box(0.9, (0, 0, 0), (4, 4, 4)), box(0.8, (1, 0, 0), (5, 4, 4)), box(0.7, (9, 9, 9), (12, 12, 12))
    assert [each.confidence for each in thinned([other, near, one], 0.2, 10)] == [0.9, 0.7]
    assert len(thinned([other, near, one], 0.2, 1)) == 1
    slices = [box(0.5 + z / 10, (z - 0.5, 0, z), (z + 0.5, 6, 6 + z)) for z in range(3)]
    apart = box(0.6, (3.5, 0, 2), (4.5, 6, 8))
    lesion, alone = joined([*slices, apart], 0.3)
    assert lesion.confidence == 0.7
    assert lesion.low.tolist() == [-0.5, 0, 0] and lesion.high.tolist() == [2.5, 6, 8]
    assert alone.low[0] == 3.5
