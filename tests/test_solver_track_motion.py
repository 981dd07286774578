"""How fast tracks move, and where their points were when the middle row of a rolling shutter was read."""

import numpy as np
import pytest

from solver.track_motion import motion
from solver.types import Tracks
from solver.view import ShotView


def moving(frames: list[int], of_time) -> tuple[np.ndarray, np.ndarray]:
    """(velocity, acceleration) of one track that is seen in these frames, at of_time(frame)."""
    frame = np.array(frames)
    return motion(np.zeros(len(frame), int), frame, np.stack([of_time(frame.astype(float))] * 2, 1))


def test_even_acceleration_is_found_exactly_at_a_tracks_ends_and_beside_gaps():
    frames = [0, 1, 2, 3, 5, 6, 7]
    velocity, acceleration = moving(frames, lambda t: 7 - 3 * t + 0.5 * t**2)
    np.testing.assert_allclose(velocity[:, 0], np.array(frames) - 3.0, atol=1e-9)
    np.testing.assert_allclose(acceleration, 1.0, atol=1e-9)


def test_a_track_of_two_frames_has_a_velocity_and_one_of_one_none():
    velocity, acceleration = motion(np.array([0, 0, 1]), np.array([3, 4, 4]), np.array([[1.0, 2.0], [3.0, 1.0], [9.0, 9.0]]))
    np.testing.assert_allclose(velocity, [[2, -1], [2, -1], [0, 0]])
    np.testing.assert_allclose(acceleration, 0)


def test_tracks_do_not_run_into_each_other():
    velocity, _ = motion(np.array([0, 0, 1, 1]), np.array([0, 1, 2, 3]), np.array([[0.0, 0], [1, 0], [500, 0], [502, 0]]))
    np.testing.assert_allclose(velocity[:, 0], [1, 1, 2, 2])


@pytest.mark.parametrize("row_time", [0.5, 0.9])
def test_a_shaking_cameras_points_are_where_they_were_at_the_middle_row(row_time):
    """A shake of 8 frames, read row by row: plain differences miss by ten times as much."""
    frames, count, height = 40, 60, 400
    rng = np.random.default_rng(0)
    frame, track = np.tile(np.arange(frames), count), np.repeat(np.arange(count), frames)
    place = rng.uniform([100, 40], [600, 360], (count, 2))[track]

    def shaken(time: np.ndarray) -> np.ndarray:
        return place + 6.0 * np.stack([np.sin(time * 2 * np.pi / 8), 0.5 * np.cos(time * 2 * np.pi / 8)], 1)

    at_its_time = shaken(frame.astype(float))
    xy = at_its_time
    for _ in range(20):  # a row is read at a time of its own, and which row it is depends on when
        xy = shaken(frame + row_time * (xy[:, 1] / height - 0.5))
    view = ShotView(Tracks(np.arange(frames), track, frame, xy, np.full(len(track), 0.1), count), 700, height, {})
    back = xy - row_time * (view.row_shift - row_time * view.row_bend)
    plain = np.gradient(xy.reshape(count, frames, 2), axis=1).reshape(-1, 2) * (xy[:, 1:] / height - 0.5)
    inside = (frame > 1) & (frame < frames - 2)

    def miss(found: np.ndarray) -> float:
        return float(np.sqrt(((found - at_its_time)[inside] ** 2).sum(1).mean()))

    assert miss(back) < 0.1 * miss(xy - row_time * plain)
    assert miss(back) < 0.03
