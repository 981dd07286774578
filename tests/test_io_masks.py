"""User masks from stills, sequences and movies."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from solver.clip import open_clip
from solver.errors import HoldfastError
from solver.masks import open_masks
from tests.io_synthetic import write_movie
from tests.test_io_clip import Notes, write_sequence


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return open_clip(str(write_sequence(tmp_path_factory.mktemp("clip") / "seq", range(101, 107)))).info


def half(left: bool, size=(160, 96)) -> np.ndarray:
    image = np.zeros((size[1], size[0]), np.uint8)
    image[:, : size[0] // 2] = 255
    return image if left else 255 - image


def test_still_holds_for_every_frame_and_is_scaled(clip, tmp_path):
    cv2.imwrite(str(tmp_path / "mask.png"), half(True, (320, 192)))
    masks = open_masks(str(tmp_path / "mask.png"), clip)
    for frame in (101, 106):
        ignore = masks.ignore(frame)
        assert ignore.dtype == bool and ignore.shape == (96, 160) and ignore[:, :80].all() and not ignore[:, 80:].any()


def test_sequence_by_number_with_gaps(clip, tmp_path):
    for n in (101, 103):
        cv2.imwrite(str(tmp_path / f"m_{n}.png"), half(n == 101))
    notes = Notes()
    masks = open_masks(str(tmp_path), clip, notes)
    assert masks.ignore(101)[0, 0] and not masks.ignore(103)[0, 0] and masks.ignore(103)[0, -1] and masks.ignore(102) is None
    assert notes.codes == ["mask.gaps"]


def test_other_numbers_are_taken_in_order(clip, tmp_path):
    for n in range(6):
        cv2.imwrite(str(tmp_path / f"m_{n:03d}.png"), half(n == 2))
    notes = Notes()
    masks = open_masks(str(tmp_path / "m_000.png"), clip, notes)
    assert [bool(masks.ignore(n)[0, 0]) for n in clip.frames] == [False, False, True, False, False, False]
    assert notes.codes == ["mask.numbers"]


def test_transparency_means_ignore_where_opaque(clip, tmp_path):
    image = np.dstack([np.zeros((96, 160, 3), np.uint8), half(False)])  # a black cut-out
    cv2.imwrite(str(tmp_path / "cut.png"), image)
    assert open_masks(str(tmp_path / "cut.png"), clip).ignore(104)[0].tolist() == [False] * 80 + [True] * 80
    opaque = np.dstack([cv2.cvtColor(half(True), cv2.COLOR_GRAY2BGR), np.full((96, 160), 255, np.uint8)])
    cv2.imwrite(str(tmp_path / "opaque.png"), opaque)
    assert open_masks(str(tmp_path / "opaque.png"), clip).ignore(104)[0].tolist() == [True] * 80 + [False] * 80
    cv2.imwrite(str(tmp_path / "light.exr"), half(True).astype(np.float32) / 255)
    assert open_masks(str(tmp_path / "light.exr"), clip).ignore(104)[0].tolist() == [True] * 80 + [False] * 80


def test_movie_begins_with_the_clip(clip, tmp_path):
    masks = open_masks(str(write_movie(tmp_path / "mask.mp4", 6)), clip)  # a white bar at 4 px per frame, lower half
    assert (
        masks.ignore(101)[90, 1]
        and masks.ignore(105)[90, 17]
        and not masks.ignore(105)[90, 1]
        and not masks.ignore(105)[60 - 30, 100]
    )


def test_unusable_masks(clip, tmp_path):
    with pytest.raises(HoldfastError) as caught:
        open_masks(str(tmp_path / "nothing"), clip)
    assert caught.value.code == "mask.missing" and caught.value.exit_code == 3
    for n in (1, 2):
        cv2.imwrite(str(tmp_path / f"m_{n}.png"), half(True))
    with pytest.raises(HoldfastError) as caught:
        open_masks(str(tmp_path), clip)
    assert caught.value.code == "mask.no_frames"
