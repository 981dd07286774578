"""The mirror image of a reconstruction: near and far change places, the path turns about."""

import numpy as np
import pytest

from solver.bundle_model import rotation_exp
from solver.mirror import better_mirror, mirrored
from solver.reconstruct import Model, State
from solver.types import LABEL_STATIC, Tracks
from solver.view import ShotView, World

WIDTH, HEIGHT, FOCAL_PX, FRAMES, POINTS = 1280, 720, 1100.0, 16, 300


@pytest.fixture(scope="module")
def pan():
    """A pan on whose way the camera drifts by a hundredth of the scene's depth, seen with little noise: (view, true world)."""
    rng = np.random.default_rng(7)
    points = np.c_[rng.uniform(-6, 6, POINTS), rng.uniform(-2, 2, POINTS), rng.uniform(3, 12, POINTS)]
    s = np.linspace(-0.5, 0.5, FRAMES)
    rotation = rotation_exp(np.c_[0.02 * np.sin(4 * s), 0.5 * s, 0.01 * s])
    centre = np.c_[0.08 * s, 0.02 * s**2, 0.03 * s]
    world = World.blank(FRAMES, POINTS, FOCAL_PX)
    world.rotation[:] = rotation
    world.translation[:] = -np.einsum("fij,fj->fi", rotation, centre)
    world.registered[:] = True
    distance = np.linalg.norm(points, axis=1)
    world.direction[:], world.rho[:], world.origin[:] = points / distance[:, None], 1 / distance, 0.0
    world.known[:] = True
    q = np.einsum("fij,pj->pfi", rotation, points) + world.translation
    xy = FOCAL_PX * q[..., :2] / q[..., 2:] + [WIDTH / 2, HEIGHT / 2] + 0.05 * rng.normal(size=(POINTS, FRAMES, 2))
    inside = (q[..., 2] > 0.1) & (xy > 5).all(-1) & (xy[..., 0] < WIDTH - 5) & (xy[..., 1] < HEIGHT - 5)
    track, frame = np.nonzero(inside)
    tracks = Tracks(np.arange(FRAMES), track, frame, xy[track, frame], np.full(len(track), 0.05, np.float32), POINTS)
    return ShotView(tracks, WIDTH, HEIGHT, {}), world


def path_of(world: World) -> np.ndarray:
    """Camera positions about that of the middle frame, in its axes."""
    middle = FRAMES // 2
    return np.array([world.centre(f) - world.centre(middle) for f in range(FRAMES)]) @ world.rotation[middle].T


def test_mirroring_twice_gives_the_scene_back(pan):
    _, world = pan
    frames = np.arange(FRAMES)
    there = mirrored(world, frames)
    assert np.allclose(path_of(there)[0], -path_of(world)[0])
    back = mirrored(there, frames)
    assert np.allclose(path_of(back), path_of(world), atol=1e-9)
    known = world.known & back.known
    assert np.median(np.abs(back.depth_in(8, known) / world.depth_in(8, known) - 1)) < 0.02


def test_a_start_in_the_mirror_finds_out(pan):
    view, world = pan
    frames, everything = np.arange(FRAMES), np.ones(POINTS, bool)
    model = Model(depth=False, focal_free=True, focal_prior_log=float(np.log(FOCAL_PX)))
    label = np.full(POINTS, LABEL_STATIC)
    wrong = State(mirrored(world, frames), label.copy(), 2.0)
    found = better_mirror(view, wrong, model, frames, everything, everything)
    assert found is not wrong
    true_path, path = path_of(world), path_of(found.world)
    assert np.sum(true_path * path) / np.sqrt(np.sum(true_path**2) * np.sum(path**2)) > 0.95
    right = State(world.copy(), label.copy(), 1.0)
    assert better_mirror(view, right, model, frames, everything, everything) is None
