"""Interlaced footage is told from what only looks like it."""

import cv2
import numpy as np
import pytest

from solver.interlace import COMBED, InterlaceWatch, combing
from solver.pipeline import solve
from solver.types import Settings
from tests.test_solver_focus import sharp_picture
from tests.test_solver_joints import Listening
from tests.test_solver_pipeline import Clip, pan


def woven(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """A frame of two half pictures."""
    out = first.copy()
    out[1::2] = second[1::2]
    return out


@pytest.mark.parametrize("shift_px", [1.5, 4.0, 12.0])
def test_a_comb_shows_where_the_picture_moves_sideways(shift_px):
    picture = sharp_picture(3)
    matrix = np.array([[1, 0, shift_px], [0, 1, 0]])
    moved = cv2.warpAffine(picture, matrix, picture.shape[::-1], borderMode=cv2.BORDER_REFLECT)
    assert combing(woven(picture, moved)) > COMBED
    assert combing(moved) < 0.1


@pytest.mark.parametrize(
    "picture",
    [
        np.random.default_rng(1).integers(0, 256, (200, 300)).astype(np.uint8),  # noise
        np.repeat(np.repeat(np.random.default_rng(2).integers(0, 256, (50, 75)), 4, 0), 4, 1).astype(np.uint8),  # hard edges
        cv2.GaussianBlur(sharp_picture(3), (0, 0), 3.0),  # out of focus
        np.full((200, 300), 90, np.uint8),
    ],
)
def test_noise_edges_blur_and_emptiness_are_no_comb(picture):
    assert combing(picture) < COMBED / 1.5


def test_one_odd_frame_is_not_enough_and_it_is_said_once():
    picture = sharp_picture(3)
    comb = cv2.cvtColor(woven(picture, np.roll(picture, 6, axis=1)), cv2.COLOR_GRAY2BGR)
    plain = cv2.cvtColor(picture, cv2.COLOR_GRAY2BGR)
    watch = InterlaceWatch()
    assert not any(watch.found(k, comb if k == 6 else plain) for k in range(40))
    watch = InterlaceWatch()
    assert [k for k in range(40) if watch.found(k, comb)] == [6]


def test_interlaced_footage_is_said_to_be():
    images = pan(36)[0]
    progress = Listening()
    solve(Clip([woven(a, b) for a, b in zip(images[::2], images[1::2], strict=True)]), Settings(threads=1), None, None, progress)
    assert progress.codes == ["clip.interlaced"]
