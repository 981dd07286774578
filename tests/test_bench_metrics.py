"""The bench's measures on cameras whose errors are known beforehand."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tests.bench import metrics

WIDTH, HEIGHT, FOCAL = 960, 540, 800.0


def turn(axis: list[float], degrees: float) -> np.ndarray:
    """(3, 3) rotation."""
    x, y, z = np.array(axis, float) / np.linalg.norm(axis)
    k = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    a = np.radians(degrees)
    return np.eye(3) + np.sin(a) * k + (1 - np.cos(a)) * k @ k


@pytest.fixture
def truth() -> metrics.Truth:
    """A camera that goes sideways and turns, with a wall of true points."""
    rng = np.random.default_rng(4)
    poses = {}
    for i in range(24):
        pose = np.eye(4)
        pose[:3, :3] = turn([0.2, 1, 0.1], 0.2 * i)
        pose[:3, 3] = [0.03 * i, 0.004 * np.sin(i), 0.001 * i]
        poses[i] = pose
    grid = np.c_[rng.uniform(-1.5, 1.5, 60), rng.uniform(-0.8, 0.8, 60), rng.uniform(3, 6, 60)]
    intrinsics = dict.fromkeys(poses, (FOCAL, FOCAL, WIDTH / 2, HEIGHT / 2))
    return metrics.Truth(WIDTH, HEIGHT, poses, intrinsics, grid_xyz=grid, scene_depth=4.5, name="wall")


def copied(truth: metrics.Truth, change=None, focal: float = 1.0, **lens: float) -> metrics.Cameras:
    """The true cameras with something done to each pose."""
    poses = {k: (change(k, v.copy()) if change else v) for k, v in truth.c2w.items()}
    intrinsics = {k: (f * focal, g * focal, cx, cy) for k, (f, g, cx, cy) in truth.intrinsics.items()}
    return metrics.Cameras(WIDTH, HEIGHT, poses, intrinsics, **lens)


def test_a_perfect_solve_in_another_world_scores_zero(truth):
    world = turn([1, 2, 3], 70)

    def elsewhere(_, pose):
        pose[:3, 3] = 2.5 * world @ pose[:3, 3] + [4, -1, 2]
        pose[:3, :3] = world @ pose[:3, :3]
        return pose

    scored = metrics.score(truth, copied(truth, elsewhere))
    assert scored["registered_pct"] == 100
    for key in (
        "rotation_rms_deg",
        "ate_pct_extent",
        "ate_oriented_pct_extent",
        "rpe10_translation_pct_depth",
        "slip_rms_px",
        "jitter_rotation_deg",
    ):
        assert scored[key] < 1e-6, key
    assert scored["auc1_pct"] > 99.999
    assert scored["focal_error_pct"] == pytest.approx(0, abs=1e-12)


def test_a_known_turn_of_one_frame_is_measured(truth):
    scored = metrics.score(truth, copied(truth, lambda k, p: _turned(p, 0.5) if k == 12 else p))
    # One of 24 frames is off by 0.5 degrees; the common rotation absorbs a 24th of it.
    assert scored["rotation_max_deg"] == pytest.approx(0.5 * 23 / 24, rel=0.02)
    assert scored["rotation_rms_deg"] == pytest.approx(0.5 / np.sqrt(24), rel=0.05)
    assert scored["auc1_pct"] < 99


def _turned(pose, degrees):
    pose[:3, :3] = pose[:3, :3] @ turn([0, 1, 0], degrees)
    return pose


def test_slip_is_in_px_at_1920_wide(truth):
    """A camera that shakes by d degrees moves the picture f tan d px; half of the frames one way, half the other."""
    shake = 0.01
    scored = metrics.score(truth, copied(truth, lambda k, p: _turned(p, shake if k % 2 else -shake)))
    expected = FOCAL * np.tan(np.radians(shake)) * 1920 / WIDTH
    assert scored["slip_rms_px"] == pytest.approx(expected, rel=0.12)


def test_lost_frames_lower_the_share_and_the_auc(truth):
    lost = copied(truth)
    lost.c2w = {k: v for k, v in lost.c2w.items() if k < 12}
    scored = metrics.score(truth, lost)
    assert scored["registered"] == 12
    assert scored["auc5_pct"] == pytest.approx(100 * (12 * 11) / (24 * 23), rel=1e-6)


def test_a_camera_that_never_moves_is_scored(truth):
    """All rays of a point meet in one place: any focal length is as good, and nothing slips."""
    still = metrics.Truth(
        WIDTH, HEIGHT, dict.fromkeys(truth.c2w, truth.c2w[0]), truth.intrinsics, grid_xyz=truth.grid_xyz, scene_depth=4.5
    )
    scored = metrics.score(still, copied(still, focal=1.5))
    assert scored["slip_rms_px"] < 1e-6
    assert "ate_pct_extent" not in scored
    assert scored["focal_error_pct"] == pytest.approx(50)


def test_distortion_error_at_the_corner(truth):
    """With k1 alone the corner moves by k1 r³ f."""
    corner = 0.5 * np.hypot(WIDTH, HEIGHT) / FOCAL
    scored = metrics.score(truth, copied(truth, k1=0.05))
    assert scored["distortion_error_px"] == pytest.approx(0.05 * corner**3 * FOCAL * 1920 / WIDTH, rel=1e-6)
    assert scored["slip_plate_rms_px"] > 0.05
    assert scored["slip_rms_px"] < 1e-6


def test_cloud_depth_error(truth):
    depth = np.full((135, 240), 5.0, np.float32)
    truth.depth = {0: depth}
    z = np.full(400, 5.0) * 1.7  # another scale
    z[:200] *= 1.04
    rng = np.random.default_rng(1)
    points = np.c_[rng.uniform(-0.3, 0.3, 400) * z, rng.uniform(-0.2, 0.2, 400) * z, z]
    estimate = copied(truth)
    estimate.observed = {0: points}
    scored = metrics.score(truth, estimate)
    assert scored["cloud_depth_median_pct"] == pytest.approx(2.0, abs=0.1)


def test_solve_at_another_size_is_scaled(truth):
    small = copied(truth)
    half = {k: tuple(v / 2 for v in values) for k, values in small.intrinsics.items()}
    scored = metrics.score(truth, metrics.Cameras(WIDTH // 2, HEIGHT // 2, small.c2w, half))
    assert scored["focal_error_pct"] == pytest.approx(0, abs=1e-9)


def test_truth_file_round_trip(truth, tmp_path):
    frames = [
        {"frame": k, "c2w": v.tolist(), "fx": FOCAL, "fy": FOCAL, "cx": WIDTH / 2, "cy": HEIGHT / 2} for k, v in truth.c2w.items()
    ]
    data = {
        "width": WIDTH,
        "height": HEIGHT,
        "k1": 0.1,
        "frames": frames,
        "grid": {"frame": 0, "uv": [], "xyz": truth.grid_xyz.tolist()},
    }
    (tmp_path / "a.gt.json").write_text(json.dumps(data))
    np.savez(tmp_path / "a.depth.npz", **{"0": np.ones((4, 4), np.float16)})
    loaded = metrics.load_truth(tmp_path / "a.gt.json")
    assert loaded.k1 == 0.1 and 0 in loaded.depth
    assert loaded.scene_depth == pytest.approx(np.median(truth.grid_xyz[:, 2]))
