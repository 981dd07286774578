"""Shots that begin blurred: tracks begin in the first sharp picture, and go back from there."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from solver import tracking
from solver.beginning import Beginning
from solver.pipeline import solve
from solver.race import RaceWatch
from solver.tracking import track_clip
from solver.types import Settings
from tests.test_solver_focus import blurred, sharp_picture
from tests.test_solver_joints import OPTIONS
from tests.test_solver_pipeline import Clip, Quiet, pan
from tests.test_solver_tracking import drift_of, texture

FRAMES = 36
# Pulled into focus around frame 18, from 2.5 px in a picture of 480 x 270: 10 px in one of 1920.
PULLED_PX = 2.5 / (1 + np.exp((np.arange(FRAMES) - 15) / 1.5))
HEIGHT, WIDTH = 270, 480


def sliding(step_px: np.ndarray):
    """A view that slides by so much between frames (F - 1,): pictures, and where each is in the source (3, 3)."""
    source = sharp_picture(5)
    x = np.r_[0, np.cumsum(step_px)]
    matrices = [np.array([[1, 0, 40 + a], [0, 1, 20 + 0.1 * a], [0, 0, 1.0]]) for a in x]
    size = (WIDTH - 120, HEIGHT - 40)
    images = [cv2.warpAffine(source, m[:2], size, flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP) for m in matrices]
    return images, matrices


def tracked(images, both_ways: bool):
    """Tracks, and the clip they come from, as the solver would track it, or forth alone."""
    pictures = [cv2.cvtColor(i, cv2.COLOR_GRAY2BGR) for i in images]
    return track_clip(enumerate(pictures), None, OPTIONS, again=(lambda: (p for p in enumerate(pictures))) if both_ways else None)


def long_ones(found, first: int, last: int):
    """Those of the tracks that go on from one frame to the other."""
    tracks = found.tracks
    seen = [set(tracks.track[tracks.frame_index == f].tolist()) for f in (first, last)]
    rows = np.isin(tracks.track, list(seen[0] & seen[1]))
    return replace(tracks, track=tracks.track[rows], frame_index=tracks.frame_index[rows], xy=tracks.xy[rows])


def test_a_shot_that_is_pulled_into_focus_is_tracked_from_where_it_is_sharp():
    images, matrices = sliding(np.full(FRAMES - 1, 0.9))
    shown = [blurred(image, b) for image, b in zip(images, PULLED_PX, strict=True)]
    worst = {}
    for both_ways in (False, True):
        found = tracked(shown, both_ways)
        tracks = long_ones(found, 2, FRAMES - 3)
        errors = drift_of(tracks, matrices)
        assert len(errors) > 25
        worst[both_ways] = np.percentile(errors, 75)
    assert worst[True] < 0.12 and worst[True] < 0.5 * worst[False]
    assert len(found.bridging) == FRAMES and found.bridging[0] == 0 and found.bridging[1:].min() > 40
    assert found.tracks.frame_index.min() == 0 and (np.diff(found.tracks.frame_index)[np.diff(found.tracks.track) == 0] > 0).all()


def test_a_sharp_shot_is_tracked_as_it_ever_was():
    images, _ = sliding(np.full(FRAMES - 1, 0.9))
    forth, both = (tracked(images, both_ways) for both_ways in (False, True))
    assert np.array_equal(forth.tracks.xy, both.tracks.xy) and np.array_equal(forth.bridging, both.bridging)


def test_frames_seen_before_the_focus_came_get_their_cameras_right():
    images, rotations = pan()
    blur = 3.0 / (1 + np.exp((np.arange(len(images)) - 12) / 1.5))
    shown = [blurred(image, b) for image, b in zip(images, blur, strict=True)]
    found = solve(Clip(shown), Settings(threads=1), None, None, Quiet())
    assert found.verdict.motion == "rotation"
    for f in (0, 6, 12, 29):
        error = (found.cam_from_world[f, :3, :3] @ found.cam_from_world[20, :3, :3].T) @ (rotations[f] @ rotations[20].T).T
        assert np.degrees(np.arccos(np.clip((np.trace(error) - 1) / 2, -1, 1))) < 0.02, f


@pytest.mark.parametrize(
    ("details", "begins"),
    [
        ([0.5] * 40, 0),
        ([0.5 * 1.015**k for k in range(30)], 0),  # what content or a zoom does to it
        ([0.2] * 10 + [0.3, 0.4] + [0.5] * 10, 15),  # once it grows no more
        ([0.2] * 10 + [0.45, 0.3, 0.4, 0.32, 0.44, 0.3] * 3, 14),  # however it comes and goes after that
        ([0.2] * 10 + [0.5] + [0.2] * 20, 0),  # one sharp frame among shaken ones
        ([0.2] * 250 + [0.5] * 20, 0),  # later than its beginning
    ],
)
def test_where_the_tracks_begin(details, begins):
    beginning = Beginning(settled=False)
    for index in range(1, len(details)):
        beginning.better_now(index, details[: index + 1], RaceWatch())
    assert beginning.index == begins


def test_a_shot_that_begins_in_a_whip_begins_where_it_has_calmed_down():
    race, beginning = RaceWatch(), Beginning(settled=False)
    for index in range(1, 12):
        assert beginning.better_now(index, [0.4] * (index + 1), race) == (index == 8)
        race.now(2 <= index < 6, index < 6, index, None, None) if index != 2 else race.now(True, True, index, Sharp, Sharp)
    assert beginning.index == 8
    calm = RaceWatch()
    calm.now(False, False, 1, None, None)
    calm.now(True, True, 2, Sharp, Sharp)
    assert not calm.from_the_start


class Sharp:
    """What a race asks of the picture before it and of its tracks."""

    fine = id = xy = None


def test_pictures_come_backwards_however_few_can_be_held(monkeypatch):
    pictures = [(k, texture(k, 40, 30)) for k in range(11)]
    reads = []

    def again():
        reads.append(1)
        yield from pictures

    for held, times in ((100, 1), (4, 3)):
        monkeypatch.setattr(tracking, "MOST_BYTES", held * pictures[0][1].nbytes)
        reads.clear()
        back = list(tracking._backwards(again, 8, pictures[0][1].nbytes))
        assert [k for k, _ in back] == [8, 7, 6, 5, 4, 3, 2, 1, 0]
        assert all(np.array_equal(p, pictures[k][1]) for k, p in back)
        assert len(reads) == times
