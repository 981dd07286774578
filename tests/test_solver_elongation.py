"""Places that are known better one way than the other: what patches say of it, and what cameras gain by it."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from scipy.linalg import expm

from solver.bundle import Adjustment
from solver.bundle_model import Freedom, project
from solver.elongation import LARGEST_RATIO, RATIO_POWER, elongation_of, sharpening
from solver.patches import PatchGrid, best_known, covariance, make_templates, refine, smooth
from solver.resection import refine_points
from tests.test_solver_bundle import make_scene

RADIUS = 8


def covariance_of(angle_deg: float, ratio: float) -> np.ndarray:
    """(2, 2), `ratio` times as long along the angle as across it."""
    a = np.radians(angle_deg)
    along = np.array([np.cos(a), np.sin(a)])
    return 0.01 * (np.eye(2) + (ratio**2 - 1) * np.outer(along, along))


def line_picture(angle_deg: float, *through: tuple[float, float], noise: float = 0.0, seed: int = 0) -> np.ndarray:
    """Float32 grey picture, dark lines of one angle through the given points (x, y), and one at right angles to it through the
    last point where there are two."""
    y, x = np.mgrid[:120, :160].astype(np.float64)
    out = np.full(x.shape, 150.0)
    for k, (px, py) in enumerate(through):
        a = np.radians(angle_deg + 90 * k)
        out -= 80 * np.exp(-0.5 * ((-np.sin(a) * (x - px) + np.cos(a) * (y - py)) / 1.3) ** 2)
    out += noise * np.random.default_rng(seed).normal(size=out.shape)
    return smooth(out.astype(np.float32), 1.0)


def test_the_direction_and_the_ratio_are_those_of_the_covariance():
    found = elongation_of(np.stack([covariance_of(30, 3), covariance_of(-60, 3), covariance_of(10, 1), covariance_of(80, 50)]))
    length = RATIO_POWER * np.log(3)
    np.testing.assert_allclose(found[0], length * np.array([np.cos(np.radians(60)), np.sin(np.radians(60))]), atol=1e-6)
    np.testing.assert_allclose(found[1], -found[0], atol=1e-6)  # the other way round
    np.testing.assert_allclose(found[2], 0, atol=1e-6)
    assert np.hypot(*found[3]) == pytest.approx(np.log(LARGEST_RATIO))


@pytest.mark.parametrize("aspect", [1.0, 2.0])
def test_sharpened_errors_are_alike_in_all_directions(aspect):
    elongation = np.random.default_rng(1).normal(size=(50, 2))
    s = sharpening(elongation, aspect).transpose(2, 0, 1)
    shrink = np.diag([1.0, 1 / aspect])
    for e, matrix in zip(elongation, s, strict=True):
        error = shrink @ expm(np.array([[e[0], e[1]], [e[1], -e[0]]])) @ shrink
        np.testing.assert_allclose(matrix @ error @ matrix.T, np.eye(2) / aspect, atol=1e-9)
        np.testing.assert_allclose(matrix, matrix.T)
        assert np.linalg.det(matrix) == pytest.approx(1)


@pytest.mark.parametrize("angle", [20.0, 115.0])
def test_a_patch_on_a_line_says_that_it_may_slide_along_it(angle):
    grid = PatchGrid(RADIUS)
    template = make_templates(line_picture(angle, (80, 60)), np.array([[80.0, 60.0]]), grid)
    slid = []
    for seed in range(20):
        now = line_picture(angle, (80, 60), noise=4.0, seed=seed)
        slid.append(refine(now, template, np.array([[80.0, 60.0]]), np.eye(2)[None], grid, noise_levels=1.2))
    a = np.radians(angle)
    for found in slid:
        said = found.elongation[0]
        assert np.hypot(*said) > np.log(2)
        np.testing.assert_allclose(said / np.hypot(*said), [np.cos(2 * a), np.sin(2 * a)], atol=0.1)
    error = np.array([found.xy[0] for found in slid]) - (80, 60)
    along, across = error @ [np.cos(a), np.sin(a)], error @ [-np.sin(a), np.cos(a)]
    assert np.sqrt((along**2).mean()) > 3 * np.sqrt((across**2).mean())


def test_a_patch_pins_the_crossing_of_its_lines_best():
    crossing = np.array([80.0, 60.0])
    grid = PatchGrid(RADIUS)
    picture = line_picture(25, tuple(crossing), tuple(crossing))
    for off in ((3, 0), (-2, 2), (0, -3)):
        template = make_templates(picture, crossing[None] + off, grid)
        found = crossing + off + best_known(covariance(template, grid, 1.0), RADIUS / 2)[0]
        assert np.hypot(*(found - crossing)) < 0.7
    far = make_templates(picture, crossing[None] + (7, 0), grid)
    assert np.hypot(*best_known(covariance(far, grid, 1.0), RADIUS / 2)[0]) <= RADIUS / 2 + 1e-9


def test_a_point_that_is_pinned_stays_put_though_the_patch_is_sheared():
    """What a crossing lacks is the stretch along its lines: a point off it wanders with every wrong guess of that."""
    crossing = np.array([80.0, 60.0])
    grid = PatchGrid(RADIUS)
    picture = line_picture(0, tuple(crossing), tuple(crossing))
    errors = []
    for start in (crossing, crossing + (4.0, 0.0)):
        template = make_templates(picture, start[None], grid)
        xy, warp = start[None].copy(), np.eye(2)[None]
        for step in range(1, 16):  # the picture grows wider around the crossing; its lines do not show it
            wider = np.array([[1 + 0.02 * step, 0, -0.02 * step * crossing[0]], [0, 1, 0]])
            now = cv2.warpAffine(picture, wider, picture.shape[::-1], flags=cv2.INTER_LINEAR)
            found = refine(now, template, xy, warp, grid, noise_levels=1.0)
            xy, warp = found.xy, found.affine
        errors.append(np.hypot(*(xy[0] - (wider[:, :2] @ start + wider[:, 2]))))
    assert errors[0] < 0.1
    assert errors[1] > 5 * errors[0]


def test_props_hold_better_where_the_adjustment_knows_which_way_tracks_slide():
    slip = []
    for seed in range(4):
        obs, truth = make_scene(seed, cams=8, points=60, depth=None, k1=0.0, k2=0.0, baseline=1.2)
        rng = np.random.default_rng(seed)
        m = len(obs.cam)
        angle = rng.uniform(0, np.pi, obs.point_count)[obs.point]
        along = np.stack([np.cos(angle), np.sin(angle)], 1)
        across = np.stack([-np.sin(angle), np.cos(angle)], 1)
        noise = 0.2 * along * rng.normal(size=(m, 1)) + 0.05 * across * rng.normal(size=(m, 1))
        blind = replace(obs, xy=obs.xy + noise, sigma_px=np.full(m, 0.1))
        told = replace(blind, sharpen=sharpening(np.log(4) * np.stack([np.cos(2 * angle), np.sin(2 * angle)], 1)))
        for seen in (blind, told):
            found = Adjustment(seen, Freedom(focal=False)).run(truth, max_iterations=30, tolerance=1e-9).unknowns
            slip.append(np.sqrt((project(obs, refine_points(obs, found)).residual ** 2).sum(1).mean()))
    gain = np.divide(slip[1::2], slip[::2])
    assert (gain < 0.9).all(), gain
    assert gain.mean() < 0.75, gain
