"""A part of a shot tracked and solved again: the part comes out right, the rest is not touched."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from solver.bundle_model import rotation_exp
from solver.load import load_solution
from solver.refine import spread_out, take_apart
from solver.report import write_solution
from tests.bench import metrics

ROOT = Path(__file__).resolve().parent.parent
SAMPLE = ROOT / "tests" / "data" / "sample" / "sample.mp4"
FIRST, LAST = 18, 30


def run(*arguments: object) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "solver", *map(str, arguments), "--threads", "1"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )


@pytest.fixture(scope="module")
def solved(tmp_path_factory) -> Path:
    """The sample, with three tracks of the user's: true points of the scene, as the true cameras see them."""
    out = tmp_path_factory.mktemp("range") / "job"
    truth = metrics.load_truth(SAMPLE.with_name("sample.gt.json"))
    tracks = []
    for number in np.linspace(0, len(truth.grid_xyz) - 1, 5).astype(int)[1:4]:
        markers = []
        for frame, c2w in truth.c2w.items():
            q = np.linalg.inv(c2w)[:3] @ np.append(truth.grid_xyz[number], 1)
            fx, fy, cx, cy = truth.intrinsics[frame]
            markers.append([frame, fx * q[0] / q[2] + cx, fy * q[1] / q[2] + cy])
        tracks.append({"name": f"Mine {number}", "markers": markers})
    mine = out.with_name("mine.json")
    mine.write_text(json.dumps({"tracks": tracks}))
    done = run("solve", SAMPLE, "--out", out, "--depth-model", "none", "--quality", "draft", "--user-tracks", mine)
    assert done.returncode == 0, done.stderr[-2000:]
    return out


def test_own_tracks_take_part_in_a_solve(solved):
    document = json.loads((solved / "solve.json").read_text())
    assert len(document["user_tracks"]) == 3 and all(d["error_px"] < 0.5 for d in document["user_tracks"])
    assert any("3 user-made track(s) take part" in line for line in document["verdict"]["statements"])
    solution = load_solution(solved)
    numbers = [d["track"] for d in document["user_tracks"]]
    assert not solution.track_label[numbers].any() and not solution.track_held_out[numbers].any()
    assert document["settings"]["quality"] == "draft" and "threads" not in document["settings"]


def test_markers_off_their_points_go_where_it_was_tracked_again(solved):
    """What an adjustment finds to have slipped is no longer handed out in frames just tracked, and stays elsewhere."""
    old = load_solution(solved)
    numbers = np.r_[3:40, old.user_tracks[0]["track"]]
    old = replace(old, track_muted=np.isin(np.arange(old.tracks.track_count), [0, 1, 2]))
    material = take_apart(old, 0)
    t = old.tracks
    slipped = np.isin(t.track, numbers) & (t.frame_index % 3 == 0)
    inside = material.view.tracks
    stayed = ~(np.isin(material.kept[inside.track], numbers) & (inside.frame_index % 3 == 0))
    new = replace(
        old, tracks=inside.rows(stayed), track_label=material.label, track_held_out=material.held, point_track=np.zeros(0, int)
    )
    part = np.arange(FIRST, LAST + 1)
    for tracked, gone in ((np.zeros(0, int), np.zeros(len(slipped), bool)), (part, slipped & np.isin(t.frame_index, part))):
        out = spread_out(new, old, material, tracked)
        assert np.array_equal(out.tracks.xy, t.xy[~gone]) and np.array_equal(out.tracks.track, t.track[~gone])
        assert out.quality["observations"] == (out.tracks.track > 2).sum()
    assert gone.any() and np.isin([0, 1, 2], out.tracks.track).all()


def turn_errors(folder: Path) -> dict[int, float]:
    """Degrees by which the turn from the last kept frame before the part to each frame is wrong."""
    truth, found = metrics.load_truth(SAMPLE.with_name("sample.gt.json")), metrics.load_cameras(folder / "solve.json")
    out = {}
    for f in found.c2w:
        a = np.linalg.inv(truth.c2w[FIRST - 1][:3, :3]) @ truth.c2w[f][:3, :3]
        b = np.linalg.inv(found.c2w[FIRST - 1][:3, :3]) @ found.c2w[f][:3, :3]
        out[f] = float(np.degrees(np.arccos(np.clip((np.trace(a.T @ b) - 1) / 2, -1, 1))))
    return out


def spoiled(folder: Path, out: Path) -> Path:
    """The solve with cameras and tracks of the part gone astray."""
    solution = load_solution(folder)
    rng = np.random.default_rng(0)
    part = (solution.frame_numbers >= FIRST) & (solution.frame_numbers <= LAST)
    pose = solution.cam_from_world.copy()
    pose[part, :3, :3] = rotation_exp(np.cumsum(rng.normal(0, 0.004, (part.sum(), 3)), 0)) @ pose[part, :3, :3]
    t = solution.tracks
    drift = np.cumsum(rng.normal(0, 3, (len(part), 2)), 0)[t.frame_index] * rng.uniform(0.2, 1.5, (t.track_count, 1))[t.track]
    xy = t.xy + drift * part[t.frame_index][:, None]
    write_solution(replace(solution, cam_from_world=pose, tracks=replace(t, xy=xy)), out)
    return out


def cameras(folder: Path) -> dict[int, list]:
    return {f["frame"]: f["c2w"] for f in json.loads((folder / "solve.json").read_text())["frames"]}


def test_a_spoiled_part_is_mended_and_the_rest_stays(solved, tmp_path):
    bad = spoiled(solved, tmp_path / "bad")
    before, kept = turn_errors(bad), cameras(bad)
    assert max(before[f] for f in range(FIRST, LAST + 1)) > 0.3
    done = run("refine", bad, "--range", FIRST, LAST)
    assert done.returncode == 0, done.stderr[-2000:]
    good, after = turn_errors(solved), turn_errors(bad)
    for f in range(FIRST, LAST + 1):
        assert after[f] < good[f] + 0.02
    found = cameras(bad)
    for f, c2w in kept.items():
        if not FIRST <= f <= LAST:
            assert np.abs(np.array(found[f]) - c2w).max() < 1e-12
    document = json.loads((bad / "solve.json").read_text())
    assert document["history"] == [{"did": "range", "range": [FIRST, LAST]}]
    assert document["world_id"] and any("tracked and solved again" in s for s in document["verdict"]["statements"])
    # points and tracks agree with the cameras in the part
    solution = load_solution(bad)
    assert solution.frame_error_px[FIRST : LAST + 1].max() < 0.4
    assert solution.frame_tracks[FIRST : LAST + 1].min() > 60


def test_frames_can_be_added_at_an_end(solved, tmp_path):
    """The solve of the first 36 frames, and the rest added to it."""
    solution = load_solution(solved)
    rows = solution.tracks.frame_index < 36
    t = solution.tracks
    tracks = replace(t.rows(rows), frame_numbers=t.frame_numbers[:36])
    seen = (np.bincount(tracks.track, minlength=t.track_count) >= 4)[solution.point_track]
    names = ("points", "point_track", "point_colour", "point_error_px", "point_length", "point_depth_sigma")
    by_frame = ("frame_numbers", "cam_from_world", "focal_px", "frame_error_px", "frame_tracks")
    short = replace(
        solution,
        tracks=tracks,
        clip=replace(solution.clip, frames=solution.clip.frames[:36]),
        **{name: getattr(solution, name)[seen] for name in names},
        **{name: getattr(solution, name)[:36] for name in by_frame},
    )
    write_solution(short, tmp_path / "short")
    mine = solved.with_name("mine.json")
    done = run("refine", tmp_path / "short", "--range", 36, 47, "--out", tmp_path / "long", "--user-tracks", mine)
    assert done.returncode == 0, done.stderr[-2000:]
    long = load_solution(tmp_path / "long")
    assert all(d["error_px"] < 0.6 for d in long.user_tracks) and len(long.user_tracks) == 3
    numbers = long.tracks.frame_numbers[long.tracks.frame_index[long.tracks.track == long.user_tracks[0]["track"]]]
    assert list(numbers) == list(range(48))
    found = cameras(tmp_path / "long")
    assert sorted(found) == list(range(48))
    good, after = turn_errors(solved), turn_errors(tmp_path / "long")
    assert max(after[f] - good[f] for f in range(36, 48)) < 0.03
    far = run("refine", tmp_path / "short", "--range", 40, 47, "--events")
    assert far.returncode == 2 and "does not touch" in far.stdout.splitlines()[-1]


def test_a_range_that_leaves_nothing_is_refused(solved):
    done = run("refine", solved, "--range", 0, 47, "--events")
    assert done.returncode == 2 and "fewer than 3 solved frames" in done.stdout.splitlines()[-1]
    done = run("refine", solved, "--range", 40, 90, "--events")
    assert done.returncode == 2 and "beyond the clip" in done.stdout.splitlines()[-1]
    done = run("refine", solved, "--range", 20, 25, "--clip", "/nowhere.mp4", "--events")
    assert done.returncode == 3 and "--clip" in done.stdout.splitlines()[-1]
