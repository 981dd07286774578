"""Tracks that let go of their points: what is handed out stays on the scene."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from solver.reconstruct import State
from solver.slips import let_go, runs_with, short_between
from solver.types import LABEL_STATIC, LABEL_UNRELIABLE
from solver.view import ShotView, World
from tests.test_solver_crowds import as_seen

WIDTH, HEIGHT, FRAMES, FOCAL = 640, 360, 60, 700.0
NOISE_PX = 0.1
DRAGGED, LEAPT = range(20), range(20, 40)  # tracks that let go: for good, and for a while


def truck(seed: int):
    """(rotation, translation (F, 3, 3) and (F, 3), points (N, 3), pixels (N, F, 2) without noise): past a room."""
    rng = np.random.default_rng(seed)
    t = np.linspace(0, 1, FRAMES)
    rotation = Rotation.from_rotvec(np.outer(t, [0.0, 0.05, 0.01])).as_matrix()
    centre = np.outer(t, [0.6, 0.0, 0.1])
    depth = rng.uniform(3, 9, 300)
    spread = np.array([WIDTH, HEIGHT]) / 2 / FOCAL
    points = np.c_[rng.uniform(-0.8, 0.8, (300, 2)) * spread * depth[:, None], depth]
    q = np.einsum("fij,nfj->nfi", rotation, points[:, None] - centre)
    return rotation, -np.einsum("fij,fj->fi", rotation, centre), points, FOCAL * q[..., :2] / q[..., 2:]


def shot(seed: int, trusted: int | None = None):
    """(view, state, true points, how far each observation is from its point (M,)): 40 of 300 tracks let go of theirs."""
    rotation, translation, points, xy = truck(seed)
    rng = np.random.default_rng(seed + 100)
    true = xy.copy()
    for i in DRAGGED:  # a passing edge takes it along, slowly at first
        begin = rng.integers(25, 45)
        along = np.maximum(np.arange(FRAMES) - begin, 0) ** 1.5 * 0.3
        xy[i] += along[:, None] * [np.cos(i), np.sin(i)]
    for i in LEAPT:  # to the next window, and back
        begin = rng.integers(10, 40)
        xy[i, begin : begin + 8] += [14.0, 0.0]
    away = np.linalg.norm(xy - true, axis=-1)
    xy += rng.normal(0, NOISE_PX, xy.shape) + [WIDTH / 2, HEIGHT / 2]
    view = ShotView(as_seen(np.ones(xy.shape[:2], bool), xy, 0.05), WIDTH, HEIGHT, {})
    if trusted is not None:
        view.trusted[trusted] = True
    world = World.blank(FRAMES, len(points), FOCAL)
    world.rotation, world.translation = rotation, translation
    world.registered[:] = world.known[:] = True
    # what the adjustment leaves: points that have been pulled a little by what let go of them
    pulled = points + np.where(np.arange(len(points)) < 40, 0.05, 0.0)[:, None] * points[:, 2:] * [0.02, 0.02, 1.0]
    distance = np.linalg.norm(pulled, axis=1)
    world.direction, world.rho = pulled / distance[:, None], 1 / distance
    return view, State(world, np.full(len(points), LABEL_STATIC), 1.0), points, away.ravel()


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_what_is_handed_out_stays_on_its_point(seed):
    """Nothing is left that has slipped by a pixel, next to nothing is lost that has not, and points are where they belong."""
    view, state, points, away = shot(seed)
    slip = let_go(view, state, True)
    unreliable = state.label != LABEL_STATIC
    assert (slip | unreliable[view.tracks.track])[away > 1.0].all()
    assert unreliable.sum() <= 1 and not unreliable[40:].any()
    assert slip[away == 0].mean() < 0.005
    found = state.world.direction / state.world.rho[:, None]
    error = np.linalg.norm(found - points, axis=1) / points[:, 2]
    # 0.05 of the depth before; one that is dragged the way the camera goes looks as if it were nearer
    assert np.median(error[:40]) < 0.002 and (error[:40] > 0.005).sum() <= 3


def test_a_wrong_camera_is_not_the_tracks_fault():
    """Where a frame's camera is wrong, all tracks are off: none has slipped."""
    view, state, _, away = shot(3)
    before = let_go(view, state, True)
    state.world.translation[30] += [0.1, 0.0, 0.0]
    after = let_go(view, state, True)
    there = view.tracks.frame_index == 30
    assert not after[there & (view.tracks.track >= len(DRAGGED) + len(LEAPT))].any()
    assert (after != before)[~there].mean() < 0.001


def test_the_users_own_tracks_never_slip():
    """A track that the user has placed is handed back as it is."""
    view, state, _, _ = shot(4, trusted=5)
    slip = let_go(view, state, True)
    assert not slip[view.tracks.track == 5].any()
    assert slip[view.tracks.track == 6].any()


def test_a_track_that_belongs_to_no_point_is_unreliable_and_whole():
    """It leaps about from frame to frame: nothing of it is at rest, and nothing of it is taken away."""
    view, state, _, _ = shot(6)
    rows = np.flatnonzero(view.tracks.track == 50)
    view.xy[rows] += 30.0 * np.random.default_rng(0).normal(size=(len(rows), 2))
    slip = let_go(view, state, True)
    assert not slip[rows].any()
    assert state.label[50] == LABEL_UNRELIABLE
    assert state.label[51] == LABEL_STATIC


def test_movers_are_handed_out_whole():
    """Only what is at rest has a point to slip from."""
    view, state, _, _ = shot(5)
    state.label[:20] = 1
    slip = let_go(view, state, True)
    assert not slip[view.tracks.track < 20].any()
    assert slip[(view.tracks.track >= 20) & (view.tracks.track < 40)].any()


def test_slips_reach_from_where_a_track_leaves_to_where_it_comes_back():
    """Runs are of one track; only those with something sure in them count; remainders too short for a point go, too."""
    group = np.repeat([0, 1], 10)
    maybe = np.zeros(20, bool)
    maybe[[2, 3, 4, 8, 9, 10, 11]] = True
    sure = np.zeros(20, bool)
    sure[[3, 10]] = True
    gone = runs_with(sure, maybe, group)
    assert np.flatnonzero(gone).tolist() == [2, 3, 4, 10, 11]
    assert np.flatnonzero(short_between(gone, group)).tolist() == [0, 1]
    assert not short_between(np.zeros(20, bool), np.repeat(np.arange(10), 2)).any()  # short tracks that hold are left alone
