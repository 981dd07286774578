"""The mirror image of a reconstruction: near and far change places, the path turns about."""

import numpy as np
import pytest

from solver.bundle_model import rotation_exp
from solver.heats import best_starts
from solver.hypotheses import candidates
from solver.lens_range import stretch
from solver.mirror import better_mirror, mirrored
from solver.reconstruct import Model, State
from solver.types import LABEL_STATIC, DepthMap, Settings, Tracks
from solver.view import ShotView, World

WIDTH, HEIGHT, FOCAL_PX, FRAMES, POINTS = 1280, 720, 1100.0, 16, 300


def seen_by(points: np.ndarray, rotation: np.ndarray, centre: np.ndarray, focal_px: float, rng) -> tuple[ShotView, World]:
    """(view, true world) of points seen with little noise."""
    world = World.blank(FRAMES, POINTS, focal_px)
    world.rotation[:] = rotation
    world.translation[:] = -np.einsum("fij,fj->fi", rotation, centre)
    world.registered[:] = True
    distance = np.linalg.norm(points, axis=1)
    world.direction[:], world.rho[:], world.origin[:] = points / distance[:, None], 1 / distance, 0.0
    world.known[:] = True
    q = np.einsum("fij,pj->pfi", rotation, points) + world.translation
    xy = focal_px * q[..., :2] / q[..., 2:] + [WIDTH / 2, HEIGHT / 2] + 0.05 * rng.normal(size=(POINTS, FRAMES, 2))
    inside = (q[..., 2] > 0.1) & (xy > 5).all(-1) & (xy[..., 0] < WIDTH - 5) & (xy[..., 1] < HEIGHT - 5)
    track, frame = np.nonzero(inside)
    tracks = Tracks(np.arange(FRAMES), track, frame, xy[track, frame], np.full(len(track), 0.05, np.float32), POINTS)
    return ShotView(tracks, WIDTH, HEIGHT, {}), world


@pytest.fixture(scope="module")
def pan():
    """A pan on whose way the camera drifts by a hundredth of the scene's depth."""
    rng = np.random.default_rng(7)
    points = np.c_[rng.uniform(-6, 6, POINTS), rng.uniform(-2, 2, POINTS), rng.uniform(3, 12, POINTS)]
    s = np.linspace(-0.5, 0.5, FRAMES)
    rotation = rotation_exp(np.c_[0.02 * np.sin(4 * s), 0.5 * s, 0.01 * s])
    return seen_by(points, rotation, np.c_[0.08 * s, 0.02 * s**2, 0.03 * s], FOCAL_PX, rng)


@pytest.fixture(scope="module")
def far():
    """A yard 30 m away through a long lens, the camera stepping aside and keeping it in view."""
    rng = np.random.default_rng(8)
    points = np.c_[rng.uniform(-2.5, 2.5, POINTS), rng.uniform(-1.4, 1.4, POINTS), rng.uniform(24, 40, POINTS)]
    s = np.linspace(-0.5, 0.5, FRAMES)
    rotation = rotation_exp(np.c_[0.002 * np.sin(4 * s), 0.06 * s, 0.003 * s])
    return seen_by(points, rotation, np.c_[1.8 * s, 0.1 * s**2, 0.2 * s], 5.5 * WIDTH, rng)


@pytest.fixture(scope="module")
def far_with_depth():
    """A slope 30 m away, seen as `far` is, with a network's word on the middle frame's depth."""
    rng = np.random.default_rng(9)
    middle, focal_px = FRAMES // 2, 5.5 * WIDTH

    def depth_at(u: np.ndarray, v: np.ndarray) -> np.ndarray:
        return 33 - 8 * v / HEIGHT + 2 * np.sin(9 * u / WIDTH)

    u, v = rng.uniform(0, WIDTH, POINTS), rng.uniform(0, HEIGHT, POINTS)
    z = depth_at(u, v)
    points = np.c_[(u - WIDTH / 2) / focal_px * z, (v - HEIGHT / 2) / focal_px * z, z]
    s = np.linspace(-0.5, 0.5, FRAMES)
    rotation = rotation_exp(np.c_[0.002 * np.sin(4 * s), 0.06 * s, 0.003 * s])
    centre = np.c_[1.8 * s, 0.1 * s**2, 0.2 * s]
    points = points @ rotation[middle] + centre[middle]
    view, world = seen_by(points, rotation, centre, focal_px, rng)
    grid = np.meshgrid((np.arange(64) + 0.5) * WIDTH / 64, (np.arange(36) + 0.5) * HEIGHT / 36)
    said = DepthMap(middle, "depth", depth_at(*grid).astype(np.float32))
    return ShotView(view.tracks, WIDTH, HEIGHT, {middle: said}), world


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


def test_an_image_that_fits_roughly_is_not_taken_whatever_a_jury_of_people_says(pan, monkeypatch):
    view, world = pan
    frames, everything = np.arange(FRAMES), np.ones(POINTS, bool)
    model = Model(depth=False, focal_free=True, focal_prior_log=float(np.log(FOCAL_PX)))
    right = State(world.copy(), np.full(POINTS, LABEL_STATIC), 0.5)
    monkeypatch.setattr("solver.mirror.compare", lambda its, other: (1.0, 100.0))
    assert better_mirror(view, right, model, frames, everything, everything) is None


def test_a_long_lens_is_found_from_usual_ones(far_with_depth):
    view, world = far_with_depth
    everything = np.ones(POINTS, bool)
    options = candidates(view, Settings(), True)
    begun = best_starts(view, np.arange(FRAMES), everything, options, 0)
    found = begun.starts[0].world
    true_path, path = path_of(world), path_of(found)
    assert np.sum(true_path * path) / np.sqrt(np.sum(true_path**2) * np.sum(path**2)) > 0.95
    assert 0.75 < np.exp(np.median(found.log_focal)) / np.exp(world.log_focal[0]) < 1.3


def test_a_long_lens_found_much_too_short_comes_right(far):
    """Under half the focal length the image that is wrong fits better: only a longer lens, mirrored, shows what is right."""
    view, world = far
    frames, everything = np.arange(FRAMES), np.ones(POINTS, bool)
    model = Model(depth=False, focal_free=True, focal_prior_log=float(np.log(1.3 * WIDTH)))
    wrong = State(mirrored(stretch(world, 0.5, FRAMES // 2), frames), np.full(POINTS, LABEL_STATIC), 2.0)
    found = better_mirror(view, wrong, model, frames, everything, everything)
    true_path, path = path_of(world), path_of(found.world)
    assert np.sum(true_path * path) / np.sqrt(np.sum(true_path**2) * np.sum(path**2)) > 0.95
    assert 0.8 < np.exp(np.median(found.world.log_focal)) / np.exp(world.log_focal[0]) < 1.25
