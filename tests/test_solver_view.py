"""Which observations a problem holds, and in which order."""

from __future__ import annotations

import numpy as np
import pytest

from solver.types import Tracks
from solver.verdict import slide_without_rows
from solver.view import ShotView


def test_a_problems_points_come_in_the_order_in_which_they_leave(monkeypatch):
    """So that an adjustment meets those of the same frames together; each observation stays what it is."""
    monkeypatch.setattr("solver.view.POINTS_TOGETHER", 1)
    spans = {0: (2, 9), 1: (0, 4), 2: (5, 6), 3: (0, 9), 4: (3, 4), 5: (8, 8)}
    track = np.concatenate([np.full(b - a + 1, k) for k, (a, b) in spans.items()])
    frame = np.concatenate([np.arange(a, b + 1) for a, b in spans.values()])
    xy = np.random.default_rng(1).uniform(0, 500, (len(track), 2))
    view = ShotView(Tracks(np.arange(10), track, frame, xy, np.full(len(track), 0.1), 6), 500, 500, {})
    frames = np.array([0, 2, 3, 4, 6, 9])
    problem = view.problem(frames, np.ones(6, bool), depth=False)
    assert problem.tracks.tolist() == [1, 4, 3, 0]  # 2 and 5 are seen by one frame and by none
    assert (np.diff(problem.obs.point) >= 0).all()
    assert np.array_equal(problem.tracks[problem.obs.point], track[problem.rows])
    assert np.array_equal(frames[problem.obs.cam], frame[problem.rows])
    assert np.array_equal(problem.obs.xy, view.xy[problem.rows])
    assert len(problem.rows) == sum(len([f for f in frames if a <= f <= b]) for k, (a, b) in spans.items() if k not in (2, 5))


def test_points_that_leave_about_together_come_in_the_order_in_which_they_begin():
    spans = [(2, 9), (0, 7), (5, 8), (1, 9)]
    track = np.concatenate([np.full(b - a + 1, k) for k, (a, b) in enumerate(spans)])
    frame = np.concatenate([np.arange(a, b + 1) for a, b in spans])
    xy = np.zeros((len(track), 2))
    view = ShotView(Tracks(np.arange(10), track, frame, xy, np.full(len(track), 0.1), 4), 500, 500, {})
    assert view.problem(np.arange(10), np.ones(4, bool), depth=False).tracks.tolist() == [1, 3, 0, 2]


def test_a_steady_pans_rows_move_no_prop_and_a_shaking_cameras_do():
    """Under a steady pan every point is read late by the same way in every frame: it merely seems to be elsewhere."""
    frame = np.tile(np.arange(40), 50)
    track = np.repeat(np.arange(50), 40)
    first = np.random.default_rng(2).uniform([400, 0], [500, 360], (50, 2))[track]
    for moved, slide in ((-5.0 * frame, 0.0), (6.0 * np.sin(frame), (8 * np.sin(1) - np.sin(2)) * np.sqrt(0.5 / 12) * 0.8)):
        xy = first + np.c_[moved, np.zeros(len(frame))]
        view = ShotView(Tracks(np.arange(40), track, frame, xy, np.full(len(track), 0.1), 50), 640, 360, {})
        # by two frames each way a sine's steepness is (8 sin 1 - sin 2) / 6 of its own; rows spread by 1 / sqrt(12) of the height
        assert slide_without_rows(view, 0.8) == pytest.approx(slide, rel=0.15, abs=1e-6)
