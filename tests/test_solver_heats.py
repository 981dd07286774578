"""Quick starts: what they spare, and the riddles they solve."""

from dataclasses import replace

import numpy as np
import pytest

from solver import heats
from solver.bundle_model import rotation_exp
from solver.heats import best_starts
from solver.hypotheses import candidates
from solver.types import Settings
from solver.view import ShotView
from tests.test_solver_mirror import FOCAL_PX, FRAMES, HEIGHT, POINTS, WIDTH, seen_by

EVERYTHING = np.ones(POINTS, bool)


def yard(focal_px: float, *, step: float = 1.0, turn: float = 0.3, k1: float = 0.0) -> ShotView:
    """A yard 3 to 12 m away, past which the camera goes by `step` m and turns by `turn` radians; k1 bends the picture."""
    rng = np.random.default_rng(5)
    points = np.c_[rng.uniform(-6, 6, POINTS), rng.uniform(-3, 3, POINTS), rng.uniform(3, 12, POINTS)]
    s = np.linspace(-0.5, 0.5, FRAMES)
    rotation = rotation_exp(np.c_[0.02 * np.sin(4 * s), turn * s, 0.01 * s])
    view, _ = seen_by(points, rotation, step * np.c_[s, 0.2 * s**2, 0.1 * s], focal_px, rng)
    middle = np.array([WIDTH / 2, HEIGHT / 2])
    u = (view.tracks.xy - middle) / focal_px
    bent = middle + focal_px * u * (1 + k1 * (u**2).sum(axis=1, keepdims=True))
    return ShotView(replace(view.tracks, xy=bent), WIDTH, HEIGHT, {})


@pytest.fixture
def begun(monkeypatch):
    """best_starts of a view, and the options of every start that it ran."""

    def run(view, may_bend=True):
        ran = []
        whole = heats.start
        monkeypatch.setattr(heats, "start", lambda v, f, t, options, seed: ran.append(options) or whole(v, f, t, options, seed))
        monkeypatch.setattr(heats, "side_by_side", lambda work, items, done=None: [work(item) for item in items])
        found = best_starts(view, np.arange(FRAMES), EVERYTHING, candidates(view, Settings(), False), 0, may_bend=may_bend)
        return found, ran

    return run


def test_a_lens_that_bends_the_picture_is_begun_with(begun):
    found, _ = begun(yard(0.62 * WIDTH, k1=-0.22))
    best = found.starts[0]
    assert found.bend_tried and best.options.distortion
    assert best.cost < 1.0
    assert abs(best.world.k1 + 0.22) < 0.03
    assert abs(np.exp(np.median(best.world.log_focal)) / (0.62 * WIDTH) - 1) < 0.05


def test_where_the_user_knows_that_it_does_not_bend_it_is_not_tried(begun):
    found, ran = begun(yard(0.62 * WIDTH, k1=-0.22), may_bend=False)
    assert not found.bend_tried and not any(o.distortion for o in ran)


def test_a_straight_lens_stays_straight(begun):
    found, ran = begun(yard(FOCAL_PX))
    assert not any(o.distortion for o in ran)
    assert found.travels and found.starts[0].options.translation
    assert abs(np.exp(np.median(found.starts[0].world.log_focal)) / FOCAL_PX - 1) < 0.01


def test_a_tripod_pan_asks_no_other_lenses(begun):
    found, ran = begun(yard(FOCAL_PX, step=0.0, turn=0.5))
    assert not {o.focal_px for o in ran} & {0.7 * WIDTH, 2.2 * WIDTH}
    turning = [s for s in found.starts if not s.options.translation]
    assert turning and not found.travels
    assert abs(np.exp(np.median(turning[0].world.log_focal)) / FOCAL_PX - 1) < 0.01


def test_parallax_that_everybody_sees_is_carried_on(begun):
    """All tracks and frames go on from what few have found; afresh would take several times as long."""
    _, ran = begun(yard(FOCAL_PX, step=2.0))
    of_the_heats = {o.focal_px for o in candidates(yard(FOCAL_PX), Settings(), False)}
    assert {o.focal_px for o in ran} <= of_the_heats


def test_a_zoom_is_still_seen(begun):
    s = np.linspace(-0.5, 0.5, FRAMES)
    view = yard(FOCAL_PX)
    t = view.tracks
    middle = np.array([WIDTH / 2, HEIGHT / 2])
    nearer = middle + (t.xy - middle) * np.exp(0.15 * s)[t.frame_index, None]
    found, _ = begun(ShotView(replace(t, xy=nearer), WIDTH, HEIGHT, {}))
    best = found.starts[0]
    assert best.options.focal_varies
    assert abs(best.world.log_focal[-1] - best.world.log_focal[0] - 0.15) < 0.02
