"""Whether a camera travels or only turns, told from what a path explains of tracks that also drift."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter1d
from scipy.spatial.transform import Rotation

from solver.reconstruct import Model, State, classify
from solver.selfcheck import NEEDED_COHERENCE, Contender, HeldOut, coherence, contend, decide, questions
from solver.types import LABEL_STATIC, Settings, Tracks
from solver.view import ShotView, World

WIDTH, HEIGHT, FOCAL_PX, FRAMES, POINTS = 960, 540, 900.0, 24, 420
ALL, FRAME = np.ones(POINTS, bool), np.arange(FRAMES)


def shot(way_m: float, noise_px: float, drift_px: float, seed: int) -> tuple[ShotView, World]:
    """(view, true world) of a slope of boxes 4 to 9 m away, from a camera that pans and goes aside by way_m.

    Every track has noise from frame to frame and drifts slowly besides.
    """
    rng = np.random.default_rng(seed)
    s = np.linspace(-0.5, 0.5, FRAMES)
    rotation = Rotation.from_rotvec(np.c_[0.01 * np.sin(5 * s), 0.12 * s, 0.004 * s]).as_matrix()
    centre = np.c_[way_m * s, 0.2 * way_m * s**2, 0.1 * way_m * s]
    u, v = rng.uniform(-0.6, 0.6, POINTS), rng.uniform(-0.32, 0.32, POINTS)
    depth = 6.5 - 5 * v + 1.2 * np.sign(np.sin(11 * u) * np.sin(9 * v))
    points = np.c_[u, v, np.ones(POINTS)] * depth[:, None]
    q = np.einsum("fij,pfj->pfi", rotation, points[:, None] - centre)
    drift = gaussian_filter1d(rng.normal(size=(POINTS, FRAMES, 2)), 5, axis=1)
    drift *= drift_px / drift.std()
    xy = FOCAL_PX * q[..., :2] / q[..., 2:] + drift + noise_px * rng.normal(size=drift.shape)
    track, frame = np.divmod(np.arange(POINTS * FRAMES), FRAMES)
    sigma = np.full(len(track), 0.1, np.float32)
    tracks = Tracks(FRAME, track, frame, xy.reshape(-1, 2) + [WIDTH / 2, HEIGHT / 2], sigma, POINTS)
    world = World.blank(FRAMES, POINTS, FOCAL_PX)
    world.rotation[:] = rotation
    world.translation[:] = -np.einsum("fij,fj->fi", rotation, centre)
    distance = np.linalg.norm(points, axis=1)
    world.direction[:], world.rho[:], world.origin[:] = points / distance[:, None], 1 / distance, 0.0
    world.registered[:] = world.known[:] = True
    return ShotView(tracks, WIDTH, HEIGHT, {}), world


def under_truth(world: World) -> Contender:
    """The true cameras, as the contest begins with them."""
    nobody = HeldOut(np.zeros(0), np.zeros(0, int), np.inf)
    return Contender(Model(depth=False), State(world.copy(), np.full(POINTS, LABEL_STATIC), 3.0), nobody)


def both_ways(view: ShotView, world: World) -> tuple[State, State]:
    """The shot under a camera that turns, and under one that travels."""
    turning, travelling = (
        contend(view, under_truth(world), Model(depth=False, translation=t), FRAME, ALL, ALL, 0.3, 10).state
        for t in (False, True)
    )
    return turning, travelling


def contest(view: ShotView, world: World) -> tuple[Contender, list[Contender]]:
    """(winner, contenders) over the motion alone, a tenth of the tracks held out."""
    base = under_truth(world)
    held = np.arange(POINTS) % 10 == 0
    asked = [q for q in questions(Settings(), base.model, travels=False) if q.about == "motion"]
    return decide(view, base, asked, FRAME, ALL & ~held, held, 0)


@pytest.mark.parametrize("noise_px", [0.05, 0.4, 0.8])
@pytest.mark.parametrize("seed", [0, 1])
def test_a_small_move_is_told_from_drift_in_any_noise(noise_px, seed):
    """A hundredth of the depth: some four pixels between near and far."""
    view, world = shot(0.06, noise_px, 0.1, seed)
    assert coherence(view, *both_ways(view, world), FRAME, ALL) > NEEDED_COHERENCE


@pytest.mark.parametrize(("noise_px", "drift_px"), [(0.05, 0.1), (0.05, 0.4), (0.4, 0.1), (0.8, 0.3)])
@pytest.mark.parametrize("seed", [0, 1])
def test_a_turn_stays_one_however_tracks_drift(noise_px, drift_px, seed):
    view, world = shot(0.0, noise_px, drift_px, seed)
    assert coherence(view, *both_ways(view, world), FRAME, ALL) < NEEDED_COHERENCE


# of 2 to 3 cm most of what held-out tracks are off by is noise: a path takes away 3 to 8 % of it, as it may of a turn
@pytest.mark.parametrize(("way_m", "noise_px"), [(0.06, 0.05), (0.06, 0.8), (0.03, 1.2), (0.02, 0.8), (0.0, 0.05), (0.0, 0.8)])
def test_the_contest_finds_out_which(way_m, noise_px):
    view, world = shot(way_m, noise_px, 0.1, 3)
    winner, _ = contest(view, world)
    assert winner.model.translation == (way_m > 0)


def test_steady_drift_alone_is_no_path():
    """Every track slides along by itself, the worst case: a point's own depth takes up the part along the way."""
    view, world = shot(0.0, 0.03, 0.0, 4)
    slide = np.random.default_rng(5).normal(0, 0.8, (POINTS, 2))[view.tracks.track] * (
        view.tracks.frame_index[:, None] / FRAMES - 0.5
    )
    view = ShotView(replace(view.tracks, xy=view.tracks.xy + slide), WIDTH, HEIGHT, {})
    winner, contenders = contest(view, world)
    assert not winner.model.translation, [c.why for c in contenders]


def test_points_that_took_no_part_move_to_where_the_cameras_see_them():
    """The cameras that some tracks were adjusted with have drifted off: the world is a tenth larger and stands elsewhere."""
    view, world = shot(0.5, 0.02, 0.0, 0)
    some = np.arange(POINTS) % 3 == 0
    larger = world.copy()
    larger.translation *= 1.1
    larger.rho[some] /= 1.1
    state = State(larger, np.full(POINTS, LABEL_STATIC), 1.0)
    classify(view, state, FRAME, ALL, Model(depth=False), adjusted=some)
    assert np.allclose(state.world.rho[~some] * 1.1, world.rho[~some], rtol=0.02)
    assert np.array_equal(state.world.rho[some], larger.rho[some])
    assert (state.label == LABEL_STATIC).all()
