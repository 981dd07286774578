"""The adjustment: derivatives against finite differences, elimination against a dense solve, recovery of a known scene."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from solver import bundle_model
from solver.bundle import POINTS_PER_WINDOW, Adjustment
from solver.bundle_model import Freedom, Observations, Unknowns, depth_residuals, project, rotation_exp, step
from solver.elongation import sharpening


def make_scene(
    seed: int = 0,
    cams: int = 6,
    points: int = 40,
    noise_px: float = 0.0,
    depth: str | None = "log",
    k1: float = -0.08,
    k2: float = 0.02,
    baseline: float = 0.4,
    focal: float = 900.0,
    zoom: float = 0.0,
):
    """A room-sized cloud seen by a short dolly: true unknowns and their observations."""
    rng = np.random.default_rng(seed)
    world = np.c_[rng.uniform(-2, 2, points), rng.uniform(-1, 1, points), rng.uniform(3, 8, points)]
    s = np.linspace(-0.5, 0.5, cams)
    rotation = rotation_exp(np.c_[0.02 * np.sin(5 * s), 0.06 * s, 0.01 * s])
    centre = baseline * np.c_[s, 0.2 * s**2, 0.3 * np.sin(3 * s)]
    translation = -np.einsum("fij,fj->fi", rotation, centre)
    origin = np.tile([0.05, 0.02, -0.1], (points, 1))
    ray = world - origin
    distance = np.linalg.norm(ray, axis=1)
    x = Unknowns(
        rotation,
        translation,
        np.log(focal) + zoom * s,
        k1,
        k2,
        0.0,
        ray / distance[:, None],
        1 / distance,
        origin,
        np.zeros(0),
        np.zeros(0),
    )
    cam = np.tile(np.arange(cams), points)
    point = np.repeat(np.arange(points), cams)
    keep = rng.uniform(size=len(cam)) < 0.9
    cam, point = cam[keep], point[keep]
    m = len(cam)
    obs = Observations.without_depth(cam, point, np.zeros((m, 2)), np.full(m, 0.5), rng.normal(size=(m, 2)), cams, points)
    obs = replace(obs, xy=project(obs, x).residual + noise_px * rng.normal(size=(m, 2)))
    if depth:
        key_of = {1: 0, cams - 2: 1}
        at = np.nonzero(np.isin(cam, list(key_of)))[0]
        q = project(obs, x).q[at]
        z = q[:, 2] / x.rho[point[at]]
        key = np.array([key_of[c] for c in cam[at]])
        if depth == "log":
            value, scale, shift = np.log(z) - 0.3 - 0.1 * key, np.array([0.3, 0.4]), np.zeros(2)
        else:
            scale, shift = np.array([0.5, 0.8]), np.array([0.05, -0.02])
            value = scale[key] / z + shift[key]
        obs = replace(
            obs,
            depth_obs=at,
            depth_key=key,
            depth_value=value,
            depth_weight=np.ones(len(at)),
            depth_is_log=depth == "log",
            key_count=2,
        )
        x = replace(x, key_scale=scale, key_shift=shift)
    return obs, x


ALL_FREE = Freedom(k1=True, k2=True, row_time=True, loss="none")


def apply(x, adj, vector):
    points = vector[adj.size :].reshape(-1, 3)
    return step(
        x,
        vector[: adj.lens_at].reshape(-1, adj.d),
        vector[adj.lens_at : adj.key_at],
        vector[adj.key_at : adj.size].reshape(-1, 2),
        points,
        adj.free,
    )


@pytest.mark.parametrize("depth", ["log", "disparity"])
@pytest.mark.parametrize(("varies", "races"), [(False, False), (True, False), (False, True), (True, True)])
def test_gradient_and_hessian_match_finite_differences(depth, varies, races):
    obs, x = make_scene(depth=depth)
    rng = np.random.default_rng(3)
    free = replace(ALL_FREE, focal_varies=varies, focal_prior_log=6.5, focal_prior_sigma=0.3, loss="soft_l1")
    if races:  # every turn counts as a whip pan
        free = replace(free, racing_rad=0.0)
    adj = Adjustment(obs, free)
    elongation = 0.5 * rng.normal(size=obs.xy.shape)
    bend = rng.normal(size=obs.xy.shape)
    obs = replace(obs, xy=obs.xy + rng.normal(size=obs.xy.shape), sharpen=sharpening(elongation), row_bend=bend)
    adj = Adjustment(obs, free)
    x = apply(replace(x, row_time=0.2), adj, 1e-3 * rng.normal(size=adj.size + 3 * obs.point_count))
    cost, proj = adj.cost(x)
    lin = adj.linearise(x, proj)
    assert len(adj.racing) == (obs.cam_count - 1 if races else 0)
    analytic = np.r_[lin.gradient, lin.point_gradient.ravel()]
    numeric = np.empty_like(analytic)
    for i in range(len(analytic)):
        d = np.zeros(len(analytic))
        d[i] = 1e-6
        numeric[i] = (adj.cost(apply(x, adj, d))[0] - adj.cost(apply(x, adj, -d))[0]) / 2e-6
    scale = np.abs(numeric).max()
    held = np.ones(len(analytic), bool)
    if depth == "log":  # the shift has no meaning there
        held[adj.key_at + 1 : adj.size : 2] = False
    np.testing.assert_allclose(analytic[held], numeric[held], atol=2e-6 * scale)


def test_projection_agrees_with_opencv():
    obs, x = make_scene(depth=None)
    focal = float(np.exp(x.log_focal[0]))
    for f in range(obs.cam_count):
        rows = obs.cam == f
        expected, _ = cv2.projectPoints(
            x.points()[obs.point[rows]],
            cv2.Rodrigues(x.rotation[f])[0],
            x.translation[f],
            np.diag([focal, focal, 1.0]),
            np.array([x.k1, x.k2, 0, 0]),
        )
        np.testing.assert_allclose(obs.xy[rows], expected[:, 0], atol=1e-8)


def test_points_that_few_cameras_see_are_projected_alike(monkeypatch):
    """All pairs of a camera and a point at once, or each observation's alone: the quicker way is taken, both say the same."""
    obs, x = make_scene(depth=None)
    together = project(obs, x)
    monkeypatch.setattr(bundle_model, "MOST_UNSEEN", 0)
    alone = project(obs, x)
    np.testing.assert_allclose(together.residual, alone.residual, atol=1e-9)
    np.testing.assert_allclose(together.q, alone.q, atol=1e-12)


@pytest.mark.parametrize("depth", ["log", "disparity"])
def test_eliminating_points_equals_a_dense_solve(depth):
    obs, x = make_scene(depth=depth, points=2 * POINTS_PER_WINDOW + 20)
    rng = np.random.default_rng(1)
    obs = replace(obs, xy=obs.xy + rng.normal(size=obs.xy.shape))
    adj = Adjustment(obs, ALL_FREE)
    _, proj = adj.cost(x)
    lin = adj.linearise(x, proj)
    n, p = adj.size, obs.point_count
    dense = np.zeros((n + 3 * p, n + 3 * p))
    dense[:n, :n] = lin.camera
    for m in range(len(obs.cam)):
        c, q = obs.cam[m] * adj.d, n + 3 * obs.point[m]
        dense[c : c + adj.d, q : q + 3] += lin.cross[:, :, m]
    for j in range(p):
        dense[adj.lens_at : adj.key_at, n + 3 * j : n + 3 * j + 3] += lin.cross_lens[j]
        dense[n + 3 * j : n + 3 * j + 3, n + 3 * j : n + 3 * j + 3] = lin.point[j]
    for i, m in enumerate(obs.depth_obs):
        k, q = adj.key_at + 2 * obs.depth_key[i], n + 3 * obs.point[m]
        dense[k : k + 2, q : q + 3] += lin.cross_key[:, :, i]
    dense[n:, :n] = dense[:n, n:].T
    damping = 1e-3
    diagonal = np.diag(dense)
    dense += np.diag(damping * diagonal + np.where(diagonal == 0, 1.0, 0.0))
    expected = np.linalg.solve(dense, -np.r_[lin.gradient, lin.point_gradient.ravel()])
    d_all, d_point = adj.solve_damped(lin, damping)
    got = np.r_[d_all, d_point.ravel()]
    np.testing.assert_allclose(got, expected, atol=2e-5 * np.abs(expected).max())


def test_a_far_background_lets_the_cameras_come_to_rest():
    """Noise takes half of the points at infinity beyond it; as many cameras were held on their way as if they could go there."""
    obs, truth = make_scene(cams=12, points=160, depth=None, baseline=0.4)
    rng = np.random.default_rng(3)
    truth = replace(truth, rho=np.where(np.arange(160) % 4 > 0, 0.0, truth.rho))
    empty = replace(obs, xy=np.zeros_like(obs.xy))
    obs = replace(obs, xy=project(empty, truth).residual + 0.5 * rng.normal(size=obs.xy.shape))
    adj = Adjustment(obs, Freedom(focal=False))

    def with_cameras_moved(x: Unknowns, far: float) -> Unknowns:
        return apply(x, adj, np.r_[far * rng.normal(size=adj.size), np.zeros(3 * obs.point_count)])

    begun = with_cameras_moved(truth, 0.01)
    few, many = (adj.run(begun, max_iterations=n, tolerance=1e-9) for n in (8, 60))
    assert (few.unknowns.rho <= bundle_model.MIN_RHO).any()
    assert few.cost < 1.0001 * many.cost
    # at rest: a scatter of cameras around the end is nowhere better
    for _ in range(20):
        assert adj.cost(with_cameras_moved(many.unknowns, 1e-5))[0] > many.cost - 1e-3


@pytest.mark.parametrize("depth", ["log", "disparity", None])
@pytest.mark.parametrize("zoom", [0.0, 0.2])
def test_a_disturbed_scene_is_found_again(depth, zoom):
    obs, truth = make_scene(cams=10, points=120, noise_px=0.1, depth=depth, baseline=1.2, zoom=zoom)
    rng = np.random.default_rng(5)
    free = Freedom(k1=True, k2=True, focal_varies=zoom != 0, focal_smooth_sigma=0.05)
    adj = Adjustment(obs, free)
    kick = np.zeros(adj.size + 3 * obs.point_count)
    kick[: adj.lens_at] = 0.004 * rng.normal(size=adj.lens_at)
    kick[adj.size :] = 0.01 * rng.normal(size=3 * obs.point_count)
    start = apply(replace(truth, k1=0.0, k2=0.0, log_focal=truth.log_focal + 0.05), adj, kick)
    found = adj.run(start, max_iterations=60, tolerance=1e-9).unknowns
    rms = np.sqrt((project(obs, found).residual ** 2).mean())
    assert rms < 0.1
    assert np.abs(found.log_focal - truth.log_focal).max() < 0.02
    if depth:
        assert np.median(np.abs(depth_residuals(obs, found, project(obs, found)))) < 0.01


@pytest.mark.parametrize("zoom", [0.0, 0.2])
def test_the_spread_said_of_the_focal_length_is_the_one_that_noise_brings(zoom):
    """Of a zoom as well: there it is larger, for walking nearer and zooming in look alike."""
    free = Freedom(focal_varies=zoom != 0, loss="none", focal_smooth_sigma=0.002)
    errors, said = [], []
    for seed in range(12):
        obs, truth = make_scene(cams=8, points=60, depth=None, k1=0.0, k2=0.0, baseline=1.2, zoom=zoom)
        noise = 0.3 * np.random.default_rng(seed).normal(size=obs.xy.shape)
        adj = Adjustment(replace(obs, xy=obs.xy + noise, sigma_px=np.full(len(obs.cam), 0.3)), free)
        found = adj.run(truth, max_iterations=40, tolerance=1e-9).unknowns
        errors.append(np.mean((found.log_focal - truth.log_focal) ** 2))
        said.append(adj.covariance_of_lens(found)["focal"])
    assert 0.6 < np.mean(said) / np.sqrt(np.mean(errors)) < 1.6


def test_gross_outliers_do_not_move_the_camera():
    obs, truth = make_scene(cams=8, points=100, noise_px=0.1, baseline=1.0, depth=None, k1=0.0, k2=0.0)
    rng = np.random.default_rng(2)
    wrong = rng.choice(len(obs.cam), len(obs.cam) // 10, replace=False)
    xy = obs.xy.copy()
    xy[wrong] += rng.normal(size=(len(wrong), 2)) * 30
    adj = Adjustment(replace(obs, xy=xy), Freedom(focal=False, loss="cauchy"))
    found = adj.run(truth, max_iterations=30).unknowns
    relative = found.rotation[-1] @ found.rotation[0].T @ (truth.rotation[-1] @ truth.rotation[0].T).T
    assert np.degrees(np.arccos(np.clip((np.trace(relative) - 1) / 2, -1, 1))) < 0.03


@pytest.mark.parametrize("depth", ["log", "disparity"])
def test_the_size_of_the_scene_is_free(depth):
    """Pixels and networks cannot tell it: no cost, and so no creeping, along it."""
    obs, x = make_scene(depth=depth)
    rng = np.random.default_rng(4)
    obs = replace(obs, depth_value=obs.depth_value + 0.05 * rng.normal(size=len(obs.depth_value)))
    grown = replace(x, translation=2 * x.translation, origin=2 * x.origin, rho=x.rho / 2)
    grown = replace(grown, key_scale=x.key_scale + np.log(2) if depth == "log" else 2 * x.key_scale)
    adj = Adjustment(obs, ALL_FREE)
    assert adj.cost(grown)[0] == pytest.approx(adj.cost(x)[0], rel=1e-9)
