"""A whip pan over a still picture: points of the sharp frames on either side are found in the streaks between them."""

from __future__ import annotations

import numpy as np
import pytest

from solver.blur import StreakMatcher, path_blur
from solver.patches import refine, smooth
from solver.race import LONGEST
from solver.whip import Passing, Race, placed, shutter
from tests.test_solver_tracking import texture

WIDTH, HEIGHT, SHARE = 360, 260, 0.5
# Where the picture's left edge lies in the source at each frame: sharp, eight frames of streaks, sharp.
LEFT = np.array([60.0, 62, 72, 96, 136, 184, 224, 248, 258, 260])
SPEED, GAIN = np.gradient(LEFT), np.gradient(np.gradient(LEFT))


def frame(source: np.ndarray, k: int, share: float, grain: np.ndarray) -> np.ndarray:
    """The picture at frame k (smoothed float32): the source goes by to the left, the shutter open for this share of the time."""
    blurred = path_blur(source, np.array([-SPEED[k], 0.0]), np.array([-GAIN[k], 0.0]), share)
    shift = int(np.floor(LEFT[k]))
    return smooth(np.ascontiguousarray(blurred[:, shift : shift + WIDTH]) + grain, 0.7)


def matcher(learned: int = 2) -> StreakMatcher:
    """One that has learned how long the shutter is open, half of a frame's time if nothing else is said."""
    made = StreakMatcher(8, lambda image, those, at, affine, grid: refine(image, those, at, affine, grid, iterations=8))
    made.score[learned], made.proven = 1.0, True
    return made


@pytest.fixture(scope="module")
def passing() -> tuple[list[Passing], np.ndarray]:
    return whip(SHARE, 0.0)


def whip(share: float, grain: float) -> tuple[list[Passing], np.ndarray]:
    """The frames of the whip, with tracks as they are followed through streaks: ever worse along the motion; and where all are
    in the source (n, 2). grain: of the pictures, in grey levels."""
    source = texture(5, 760, HEIGHT).astype(np.float32)
    if source.ndim == 3:
        source = source[..., 0]
    rng = np.random.default_rng(0)
    at = np.c_[rng.uniform(80, 600, 400), rng.uniform(20, HEIGHT - 20, 400)]
    drift = np.cumsum(np.r_[0, [1.0] * 8, 0])[:, None] * rng.normal(size=(len(LEFT), 400)) * 0.7
    drift[[0, -1]] = 0
    frames = []
    for k in range(len(LEFT)):
        x = at[:, 0] - np.floor(LEFT[k]) + drift[k]
        inside = np.nonzero((x > 10) & (x < WIDTH - 10) & ((k in (0, len(LEFT) - 1)) | (np.arange(400) % 2 == 0)))[0]
        noise = (grain * rng.normal(size=(HEIGHT, WIDTH))).astype(np.float32)
        frames.append(Passing(10 + k, frame(source, k, share, noise), inside, np.c_[x, at[:, 1]][inside]))
    return frames, at


def errors(found, k: int, at: np.ndarray) -> np.ndarray:
    return found.xy - np.c_[at[found.id, 0] - np.floor(LEFT[k]), at[found.id, 1]]


def test_sharp_pictures_say_where_points_are_in_the_streaks(passing):
    frames, at = passing
    there = placed([Race(frames, ended=True)], matcher(), 0.8)
    assert sorted(there) == list(range(11, 19))
    for k in range(1, 9):
        off = errors(there[10 + k], k, at)
        assert len(off) >= 40
        assert len(np.unique(there[10 + k].id)) == len(off)
        assert np.median(np.abs(off[:, 0])) < 0.35
        assert abs(np.median(off[:, 0])) < 0.15
        assert np.median(np.abs(off[:, 1])) < 0.1
        assert (there[10 + k].sigma_px >= 0.015 * SHARE * abs(SPEED[k]) * 0.5).all()


def test_points_that_nothing_followed_are_found_as_well(passing):
    frames, _ = passing
    there = placed([Race(frames, ended=True)], matcher(), 0.8)
    odd = there[12].id[there[12].id % 2 == 1]
    assert len(odd) > 20


def test_a_clip_that_ends_in_the_whip_is_placed_from_its_beginning(passing):
    frames, at = passing
    there = placed([Race(frames[:5], ended=False)], matcher(), 0.8)
    assert sorted(there) == [11, 12, 13, 14]
    assert set(there[14].id) <= set(frames[0].id)
    assert np.median(np.abs(errors(there[14], 4, at)[:, 0])) < 0.5


def test_frames_that_nothing_joins_are_left_out(passing):
    frames, _ = passing
    torn = [f if k != 4 else Passing(f.index, f.fine, f.id[:3], f.xy[:3]) for k, f in enumerate(frames)]
    assert sorted(placed([Race(torn, ended=True)], matcher(), 0.8)) == [11, 12, 13, 15, 16, 17, 18]
    assert len(LEFT) < LONGEST


@pytest.mark.parametrize(("share", "grain"), [(0.3, 0.0), (0.5, 0.0), (0.5, 12.0), (0.8, 12.0)])
def test_sharp_pictures_say_how_long_the_shutter_was_open(share, grain):
    """Whatever streaks alone seemed to say: in grain, a frame's whole time."""
    frames, _ = whip(share, grain)
    learned = matcher(learned=4)
    assert learned.share == 1.0
    assert shutter([frames, frames[::-1]], learned, 0.5) == pytest.approx(share, abs=0.06)


def test_points_are_found_in_grainy_streaks_that_seemed_twice_as_long():
    frames, at = whip(SHARE, 8.0)
    there = placed([Race(frames, ended=True)], matcher(learned=4), 0.5)
    assert sorted(there) == list(range(11, 19))
    for k in range(1, 9):
        assert np.median(np.abs(errors(there[10 + k], k, at)[:, 0])) < 1.0


def test_where_no_blur_is_proven_there_is_none():
    frames, _ = whip(SHARE, 0.0)
    unsure = matcher()
    unsure.proven = False
    assert shutter([frames, frames[::-1]], unsure, 0.5) == 0.0
