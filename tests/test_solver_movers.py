"""Telling the set from what moves in it: poses by consensus."""

from dataclasses import replace

import numpy as np
import pytest

from solver.bundle import Adjustment
from solver.bundle_model import Freedom, rotation_exp
from solver.movers import consensus_pose, residual_scale, track_noise
from tests.test_solver_bundle import make_scene

FOCAL_PX = 900.0


def seen_by(rotation: np.ndarray, translation: np.ndarray, points: np.ndarray) -> np.ndarray:
    """(n, 2) px from the principal point."""
    q = points @ rotation.T + translation
    return FOCAL_PX * q[:, :2] / q[:, 2:]


def degrees_between(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.degrees(np.arccos(np.clip((np.trace(a @ b.T) - 1) / 2, -1, 1))))


@pytest.mark.parametrize("translation", [True, False])
def test_the_pose_is_found_though_more_tracks_move_than_stay(translation):
    rng = np.random.default_rng(3)
    points = np.c_[rng.uniform(-2, 2, 200), rng.uniform(-1, 1, 200), rng.uniform(3, 8, 200)]
    rotation = rotation_exp(np.array([0.05, -0.1, 0.02]))
    shift = np.array([0.3, -0.1, 0.2]) if translation else np.zeros(3)
    target = points if translation else points / np.linalg.norm(points, axis=1, keepdims=True)
    xy = seen_by(rotation, shift, points) + 0.3 * rng.normal(size=(200, 2))
    xy[:110] += rng.uniform(20, 200, (110, 2))  # each its own way
    found, offset, score = consensus_pose(target, xy, FOCAL_PX, np.ones(200), 3.0, rng, translation=translation)
    assert degrees_between(found, rotation) < 0.5
    assert np.linalg.norm(offset - shift) < 0.1
    assert 0.25 < score < 0.5


def test_tracks_without_trust_are_never_asked():
    rng = np.random.default_rng(4)
    points = np.c_[rng.uniform(-2, 2, 60), rng.uniform(-1, 1, 60), rng.uniform(3, 8, 60)]
    rotation = rotation_exp(np.array([0.0, 0.08, 0.0]))
    xy = seen_by(rotation, np.zeros(3), points)
    other = seen_by(np.eye(3), np.array([0.5, 0, 0]), points)
    trust = np.r_[np.zeros(40), np.ones(20)]
    xy[:40] = other[:40]  # the many that agree with another pose count for nothing
    found, _, score = consensus_pose(points, xy, FOCAL_PX, trust, 3.0, rng)
    assert degrees_between(found, rotation) < 0.2
    assert score > 0.8


def test_cameras_follow_steady_tracks_more_than_restless_ones():
    """Patches without much in them are several times worse than the tracker knows: what they leave tells."""
    better = []
    for seed in range(6):
        obs, truth = make_scene(seed, cams=16, points=80, depth=None, k1=0.0, k2=0.0, baseline=1.2)
        rng = np.random.default_rng(seed)
        times = np.where(rng.uniform(size=obs.point_count) < 0.4, 5.0, 1.0)
        xy = obs.xy + 0.1 * times[obs.point][:, None] * rng.normal(size=obs.xy.shape)
        obs = replace(obs, xy=xy, sigma_px=np.full(len(obs.cam), 0.1))
        free = Freedom(loss="cauchy", loss_width=3.0)
        found = Adjustment(obs, free).run(truth, max_iterations=30).unknowns
        noise = track_noise(obs, found, residual_scale(obs, found))
        assert np.median(noise[times > 1]) > 1.8 * np.median(noise[times == 1])
        weighed = replace(obs, sigma_px=obs.sigma_px * noise[obs.point])
        again = Adjustment(weighed, free).run(truth, max_iterations=30).unknowns
        errors = [np.sqrt(np.mean((x.points() - truth.points())[times == 1] ** 2)) for x in (found, again)]
        focal = [abs(x.log_focal[0] - truth.log_focal[0]) for x in (found, again)]
        better.append((errors[0] / errors[1], focal[0] / focal[1]))
    assert np.exp(np.mean(np.log(better), axis=0)).min() > 1.05
