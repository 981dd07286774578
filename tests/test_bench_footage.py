"""The bench's own tracks, and clips that lie in a folder."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.bench import footage, metrics, own_tracks, run

SAMPLE = Path(__file__).resolve().parent / "data" / "sample" / "sample.mp4"


@pytest.fixture(scope="module")
def tracks(tmp_path_factory) -> own_tracks.OwnTracks:
    """Of every second frame of the sample."""
    return own_tracks.follow(own_tracks._grey_frames(SAMPLE)[::2])


@pytest.fixture
def cameras() -> metrics.Cameras:
    """The true cameras of those frames."""
    truth = metrics.load_truth(SAMPLE.with_name("sample.gt.json"))
    poses = {k // 2: v for k, v in truth.c2w.items() if k % 2 == 0}
    return metrics.Cameras(truth.width, truth.height, poses, {k // 2: v for k, v in truth.intrinsics.items() if k % 2 == 0})


def test_tracks_are_long_many_and_repeat(tracks):
    length = np.bincount(tracks.track)
    assert tracks.count > 150 and np.median(length) >= 16
    frames = own_tracks._grey_frames(SAMPLE)[::2]
    again = own_tracks.follow(frames)
    assert np.array_equal(again.xy, tracks.xy) and np.array_equal(again.track, tracks.track)


def test_true_cameras_explain_them_and_no_solve_is_needed(tracks, cameras):
    found = own_tracks.score(tracks, cameras)
    assert found["own_fit_pct"] > 90
    assert found["own_rms_px"] < 0.35


def test_a_slip_shows_in_them_by_its_size(tracks, cameras):
    true = own_tracks.score(tracks, cameras)
    shake = np.radians(0.02)  # every other frame, either way
    bad = metrics.Cameras(cameras.width, cameras.height, {}, cameras.intrinsics)
    for k, pose in cameras.c2w.items():
        a = shake if k % 2 else -shake
        turn = np.eye(4)
        turn[:3, :3] = cv2.Rodrigues(np.array([0.0, a, 0.0]))[0]
        bad.c2w[k] = pose @ turn
    slip = cameras.intrinsics[0][0] * np.tan(shake) * 1920 / cameras.width
    found = own_tracks.score(tracks, bad)
    assert np.sqrt(found["own_rms_px"] ** 2 - true["own_rms_px"] ** 2) == pytest.approx(slip, rel=0.2)
    for k in bad.c2w:
        bad.c2w[k] = cameras.c2w[0]
    assert own_tracks.score(tracks, bad)["own_fit_pct"] < 10


def test_frames_without_a_camera_explain_nothing(tracks, cameras):
    cameras.c2w = {k: v for k, v in cameras.c2w.items() if k < 12}
    assert own_tracks.score(tracks, cameras)["own_fit_pct"] < 30


def rolled(row_time: float) -> tuple[own_tracks.OwnTracks, metrics.Cameras]:
    """Exact tracks of a hand's shaking (by 6 px) as a sensor read row by row sees it, and the cameras of its middle row."""
    width, height, focal, frames = 640, 360, 600.0, 20
    rng = np.random.default_rng(3)
    points = np.c_[rng.uniform(-2.5, 3.5, 300), rng.uniform(-1.5, 1.5, 300), rng.uniform(4, 9, 300)]

    def pose(t: float) -> np.ndarray:
        turned = np.eye(4)
        turned[:3, :3] = cv2.Rodrigues(np.array([0.007 * np.sin(0.4 * t), 0.01 * np.sin(0.5 * t), 0.001 * t]))[0]
        turned[:3, 3] = [0.02 * t, 0.0, 0.005 * t]
        return turned

    seen = []
    for i, point in enumerate(points):
        for f in range(frames):
            y = height / 2
            for _ in range(8):  # the row decides when it is read, and when decides where the point is
                q = np.linalg.inv(pose(f + row_time * (y / height - 0.5)))[:3] @ np.r_[point, 1.0]
                x, y = focal * q[:2] / q[2] + [width / 2, height / 2]
            if 0 < x < width and 0 < y < height:
                seen.append((i, f, x, y))
    table = np.array(seen)
    long = np.bincount(table[:, 0].astype(int), minlength=len(points))[table[:, 0].astype(int)] >= own_tracks.MIN_FRAMES
    track, frame = table[long, 0].astype(int), table[long, 1].astype(int)
    lens = (focal, focal, width / 2, height / 2)
    cameras = metrics.Cameras(width, height, {f: pose(f) for f in range(frames)}, dict.fromkeys(range(frames), lens))
    return own_tracks.OwnTracks(width, height, track, frame, table[long, 2:]), cameras


def test_a_rolling_shutters_rows_are_taken_into_account():
    tracks, cameras = rolled(0.8)
    still = own_tracks.score(tracks, cameras)
    assert still["own_median_px"] > 0.9
    found = own_tracks.score(tracks, replace(cameras, row_time=0.8))
    assert found["own_fit_pct"] > 99 and found["own_median_px"] < 0.25 * still["own_median_px"]
    assert found["own_fit_still_pct"] == still["own_fit_pct"] < 95
    assert "own_fit_still_pct" not in still


def test_a_blank_clip_has_no_tracks():
    blank = own_tracks.follow([np.full((90, 160), 128, np.uint8)] * 12)
    assert blank.count == 0
    assert own_tracks.score(blank, metrics.Cameras(160, 90, {}, {})) == {}


def test_distortion_is_taken_out_as_the_solve_has_it():
    rng = np.random.default_rng(0)
    straight = rng.uniform(-0.5, 0.5, (50, 2))
    r2 = (straight**2).sum(1, keepdims=True)
    assert metrics.straight_rays(straight * (1 - 0.15 * r2 + 0.03 * r2**2), -0.15, 0.03) == pytest.approx(straight, abs=1e-9)


@pytest.fixture
def folder(tmp_path) -> Path:
    """A rendered clip with truth, one without, and two real ones, one measured."""
    (tmp_path / "real").mkdir()
    for name in ("orbit", "untold", "real/room", "real/dog"):
        (tmp_path / f"{name}.mp4").write_bytes(SAMPLE.read_bytes())
    for name in ("orbit", "real/room"):
        (tmp_path / f"{name}.gt.json").write_bytes(SAMPLE.with_name("sample.gt.json").read_bytes())
    return tmp_path


def test_clips_of_a_folder(folder):
    shots = {s.name: s for s in footage.clips_in(folder)}
    assert list(shots) == ["clips/orbit", "real/dog", "real/room"]
    assert shots["clips/orbit"].kind.slip_limit_px == 0.15 and not shots["clips/orbit"].real
    assert shots["real/dog"].truth is None and shots["real/room"].truth is not None
    assert footage.clips_in(folder / "nowhere") == []
    chosen = run.choose_shots("real/dog", (640, 360), 48, 1, folder)
    assert [s.name for s in chosen] == ["real/dog"]
    with pytest.raises(SystemExit, match="real/cat"):
        run.choose_shots("real/cat", (640, 360), 48, 1, folder)
    assert footage.own_movie(folder / "untold.mp4").real
    assert not footage.own_movie(folder / "orbit.mp4").real
    assert footage.length_of(folder / "orbit.mp4") == (48, 24.0)


def test_depth_cameras_maps_are_read_in_metres(folder):
    (folder / "real" / "room.depth").mkdir()
    depth = np.full((30, 40), 2500, np.uint16)
    depth[:, :5] = 0
    cv2.imwrite(str(folder / "real" / "room.depth" / "00008.png"), depth)
    truth = metrics.load_truth(folder / "real" / "room.gt.json")
    assert truth.depth[8].shape == (30, 40) and truth.depth[8][3, 20] == 2.5 and truth.depth[8][3, 2] == 0
    assert len(footage.without_exact_points(truth).grid_xyz) == 0


def test_a_zooms_range_is_compared_at_its_own_frame(cameras):
    truth = metrics.Truth(
        cameras.width, cameras.height, cameras.c2w, {k: (800.0 + 10 * k,) * 2 + (480, 270) for k in cameras.c2w}
    )
    middle = sorted(truth.c2w)[len(truth.c2w) // 2]
    assert run.true_focal(truth, None, None) == 800 + 10 * middle
    right = metrics.Cameras(cameras.width, cameras.height, cameras.c2w, truth.intrinsics)
    assert run.true_focal(truth, right, [838, 843]) == 840
    wrong = {k: (1.1 * f, 1.1 * f, cx, cy) for k, (f, _, cx, cy) in truth.intrinsics.items()}
    off = metrics.Cameras(cameras.width, cameras.height, cameras.c2w, wrong)
    assert run.true_focal(truth, off, [920, 928]) == 840  # solved as 924
