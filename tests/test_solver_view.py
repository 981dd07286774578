"""Which observations a problem holds, and in which order."""

from __future__ import annotations

import numpy as np

from solver.types import Tracks
from solver.view import ShotView


def test_a_problems_points_come_in_the_order_in_which_they_leave():
    """So that an adjustment meets those of the same frames together; each observation stays what it is."""
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
