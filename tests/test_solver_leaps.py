"""Cameras that whip round: they do not leap meanwhile, however little joins the two sides."""

from dataclasses import replace

import numpy as np
import pytest

from solver.bundle import Adjustment
from solver.bundle_model import Freedom, Observations, Unknowns, rotation_exp
from solver.initialise import StartOptions, register
from solver.leaps import leap_priors, racing_pairs
from solver.types import Tracks
from solver.view import ShotView, World
from tests.test_solver_bundle import make_scene

WIDTH, HEIGHT, FOCAL_PX, POINTS = 640, 360, 530.0, 80


def two_frames(turn_rad: float, aside: float, streak_px: float) -> tuple[ShotView, World, np.ndarray, np.ndarray]:
    """(view, a world that knows the first camera and the points, the second one's true rotation and centre): from one frame to
    the next the camera turns and goes aside; in the second, points are known to so many px along the motion."""
    rng = np.random.default_rng(0)
    ray = np.c_[rng.uniform(-0.2, 0.6, POINTS), rng.uniform(-0.3, 0.3, POINTS), np.ones(POINTS)]
    points = ray * rng.choice([2.0, 4.0, 6.0], POINTS)[:, None]
    rotation, centre = rotation_exp(np.array([[0.0, -turn_rad, 0.0]]))[0], np.array([aside, 0.0, 0.0])
    both = []
    for r, c in ((np.eye(3), np.zeros(3)), (rotation, centre)):
        q = (points - c) @ r.T
        both.append(FOCAL_PX * q[:, :2] / q[:, 2:] + [WIDTH / 2, HEIGHT / 2])
    both[1][:, 0] += streak_px * rng.normal(size=POINTS)
    track, frame = np.divmod(np.arange(2 * POINTS), 2)
    xy = np.stack(both, 1).reshape(-1, 2)
    view = ShotView(Tracks(np.arange(2), track, frame, xy, np.full(len(track), 0.5, np.float32), POINTS), WIDTH, HEIGHT, {})
    world = World.blank(2, POINTS, FOCAL_PX)
    distance = np.linalg.norm(points, axis=1)
    world.direction[:], world.rho[:], world.origin[:] = points / distance[:, None], 1 / distance, 0.0
    world.known[:] = True
    world.registered[0] = True
    return view, world, rotation, centre


def registered(view: ShotView, world: World) -> None:
    every, trust = np.ones(POINTS, bool), np.ones(POINTS)
    register(view, world, 1, 0, every, trust, StartOptions(FOCAL_PX, use_depth=False), np.random.default_rng(0))


def test_in_streaks_a_camera_turns_where_it_stands():
    """Known to 4 px, they would let it leap by some percent of the depth."""
    view, world, rotation, _ = two_frames(0.12, 0.0, 4.0)
    assert view.racing.tolist() == [False, True]
    registered(view, world)
    assert np.allclose(world.centre(1), 0.0)
    assert np.abs(world.rotation[1] - rotation).max() < 0.004


def test_what_only_a_shift_explains_is_one_however_fast():
    view, world, rotation, centre = two_frames(0.0, 0.3, 0.0)
    assert view.racing[1]
    registered(view, world)
    assert np.allclose(world.centre(1), centre, atol=0.005)
    assert np.abs(world.rotation[1] - rotation).max() < 0.002


def test_an_adjustment_keeps_a_camera_that_hardly_anything_holds_from_leaping():
    """The last one, by four points that are known to 20 px."""
    obs, x = make_scene()
    rng = np.random.default_rng(1)
    last = obs.cam == obs.cam_count - 1
    few = last & (obs.point < 4)
    xy = obs.xy + np.where(few[:, None], 20 * rng.normal(size=obs.xy.shape), 0)
    weight = np.where(last & ~few, 1e-9, 1.0)
    obs = replace(obs, xy=xy, sigma_px=np.where(few, 20.0, 0.5), weight=weight)

    def leap(racing_rad: float) -> float:
        free = Freedom(focal=False, loss="none", racing_rad=racing_rad)
        centres = Adjustment(obs, free).run(x, max_iterations=30).unknowns.centres()
        return float(np.linalg.norm(centres[-1] - centres[-2]))

    assert leap(9.0) > 0.3
    assert leap(0.0) < 0.15


@pytest.mark.parametrize("depth", ["log", "disparity"])
def test_leaps_are_told_whatever_the_scenes_size(depth):
    obs, x = make_scene(depth=depth)
    scale = x.key_scale + np.log(3) if depth == "log" else 3 * x.key_scale
    larger = replace(x, translation=3 * x.translation, rho=x.rho / 3, origin=3 * x.origin, key_scale=scale)
    step = np.ones(obs.cam_count - 1)
    pairs = racing_pairs(x, step, 0.0)
    one, other = (leap_priors(obs, state, pairs, step, 6, 100) for state in (x, larger))
    assert len(one) == 3 * (obs.cam_count - 1)
    assert [r for _, _, r, _ in one] == pytest.approx([r for _, _, r, _ in other])
    assert max(abs(r) for _, _, r, _ in one) > 1e-3


def with_a_keyframe_far_away(obs: Observations, x: Unknowns, beyond: float) -> Unknowns:
    """The first keyframe's disparities begin that far above their median: nearly all of it lies at infinity."""
    return replace(x, key_shift=np.r_[np.median(obs.depth_value[obs.depth_key == 0]) + beyond, x.key_shift[1:]])


def leaps(obs: Observations, x: Unknowns) -> list:
    pairs = racing_pairs(x, np.ones(obs.cam_count - 1), 0.0)
    return leap_priors(obs, x, pairs, np.ones(obs.cam_count - 1), 6, 100)


def test_what_a_leap_costs_does_not_depend_on_which_side_of_infinity_a_keyframe_comes_out():
    """An adjustment would go where the cost drops, and could not get back."""
    obs, x = make_scene(depth="disparity")
    near, beyond = (leaps(obs, with_a_keyframe_far_away(obs, x, at)) for at in (-1e-6, 1e-6))
    assert len(near) == len(beyond) == 3 * (obs.cam_count - 1)
    assert [r for _, _, r, _ in beyond] == pytest.approx([r for _, _, r, _ in near], rel=1e-3)


@pytest.mark.parametrize("beyond", [-0.3, 0.0, 0.01])
def test_leaps_change_with_a_keyframes_scale_and_shift_as_told(beyond):
    obs, x = make_scene(depth="disparity")
    x = with_a_keyframe_far_away(obs, x, beyond)
    told = np.array([slope[6:8] for _, slope, _, _ in leaps(obs, x)])
    for column, name in enumerate(("key_scale", "key_shift")):
        ahead, back = (
            np.array([r for _, _, r, _ in leaps(obs, replace(x, **{name: np.r_[getattr(x, name)[0] + h, getattr(x, name)[1:]]}))])
            for h in (1e-6, -1e-6)
        )
        assert told[:, column] == pytest.approx((ahead - back) / 2e-6, rel=1e-4, abs=1e-9)


def test_a_camera_that_turns_slowly_may_go_where_it_likes():
    obs, x = make_scene()
    assert not len(racing_pairs(x, np.ones(obs.cam_count - 1), 0.05))
    assert leap_priors(obs, x, np.zeros(0, int), np.ones(5), 6, 100) == []
