"""The sample shot through the command line: a clip in, a camera that holds fast out, against exact truth."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.bench import metrics, peers

ROOT = Path(__file__).resolve().parent.parent
SAMPLE = ROOT / "tests" / "data" / "sample" / "sample.mp4"


@pytest.fixture(scope="module")
def solved(tmp_path_factory) -> tuple[Path, list[dict]]:
    """The job folder of the sample solved on geometry alone, and the events on the way."""
    out = tmp_path_factory.mktemp("sample") / "job"
    command = [
        sys.executable,
        "-m",
        "solver",
        "solve",
        str(SAMPLE),
        "--out",
        str(out),
        "--depth-model",
        "none",
        "--events",
        "--threads",
        "2",
    ]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return out, [json.loads(line) for line in done.stdout.splitlines()]


def test_the_sample_holds_fast(solved):
    out, _ = solved
    cameras = metrics.load_cameras(out / "solve.json")
    cameras.observed = peers.observed_points(out)
    scored = metrics.score(metrics.load_truth(SAMPLE.with_name("sample.gt.json")), cameras)
    assert scored["registered"] == scored["frames"] == 48
    assert scored["slip_rms_px"] < 0.1
    assert scored["rotation_rms_deg"] < 0.05
    assert scored["ate_oriented_pct_extent"] < 2
    assert scored["cloud_depth_median_pct"] < 3


def test_the_verdict_does_not_claim_more_than_the_truth(solved):
    """A 4 % dolly fits a range of focal lengths: the true one must be inside what the verdict calls equally good."""
    out, _ = solved
    verdict = json.loads((out / "solve.json").read_text())["verdict"]
    low, high = verdict["focal_range_px"]
    truth = metrics.load_truth(SAMPLE.with_name("sample.gt.json")).intrinsics[0][0]
    assert verdict["motion"] == "free"
    assert 0.97 * low <= truth <= 1.03 * high


def test_events_lead_to_the_result(solved):
    out, events = solved
    stages = [e["stage"] for e in events if e["event"] == "progress"]
    order = [s for s in ("open", "track", "start", "adjust", "check", "write") if s in stages]
    assert order[0] == "open" and {"track", "start", "adjust", "write"} <= set(order)
    assert [stages.index(s) for s in order] == sorted(stages.index(s) for s in order)
    assert events[-1]["event"] == "result" and Path(events[-1]["out"]) == out


def test_points_and_tracks_agree_with_the_cameras(solved):
    """Every stored point, projected by the stored cameras, lands on its own stored track."""
    out, _ = solved
    cameras = metrics.load_cameras(out / "solve.json")
    with np.load(out / "points.npz") as points, np.load(out / "tracks.npz") as tracks:
        xyz, error = points["xyz"].astype(float), points["error_px"]
        point = tracks["point"][tracks["track"]]
        frame, xy = tracks["frame_numbers"][tracks["frame_index"]], tracks["xy"]
    keep = point >= 0
    residuals = np.empty(int(keep.sum()))
    for i, (n, f, at) in enumerate(zip(point[keep], frame[keep], xy[keep])):
        p = np.linalg.inv(cameras.c2w[int(f)])[:3] @ np.append(xyz[n], 1)
        fx, fy, cx, cy = cameras.intrinsics[int(f)]
        residuals[i] = np.hypot(fx * p[0] / p[2] + cx - at[0], fy * p[1] / p[2] + cy - at[1])
    assert np.sqrt(np.median(residuals**2)) < 0.3
    assert np.median(error) < 0.3
