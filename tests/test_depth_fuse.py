"""Depth brought to scene units: known answers for the fit, the correction at occlusion edges, the blend and the sequence."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
import zlib
from dataclasses import replace

import cv2
import numpy as np
import pytest

from solver import cli, depth_command
from solver.depth_sequence import anchors_of, camera_of, steady_depth, steady_scales
from solver.depth_warp import LensCamera, blend_views, disagreement, inconsistency
from solver.errors import EXIT_CANCELLED, EXIT_INPUT, EXIT_OK, EXIT_USAGE
from solver.exr_depth import exr_bytes
from solver.fuse import Anchors, CorrectionGrid, fit_map, log_range
from solver.report import write_solution
from solver.types import DepthMap, Tracks
from tests.io_synthetic import make_solution, project, rotation

WIDTH, HEIGHT = 640, 360


def anchors_on(depth: np.ndarray, rng, count: int = 400, sigma: float = 0.005) -> Anchors:
    """Points at random places of a depth map (h, w)."""
    h, w = depth.shape
    row, column = rng.integers(h, size=count), rng.integers(w, size=count)
    xy = np.c_[(column + 0.5) * WIDTH / w, (row + 0.5) * HEIGHT / h]
    return Anchors(xy, depth[row, column] * np.exp(rng.normal(0, sigma, count)), np.full(count, sigma))


def corrected(source: DepthMap, anchors: Anchors) -> np.ndarray:
    fit = fit_map(source, anchors, WIDTH, HEIGHT)
    grid = CorrectionGrid(WIDTH, HEIGHT, *log_range([fit]))
    grid.add(fit, anchors)
    return grid.correct(fit.depth)


def test_scale_and_shift_are_found_among_wrong_points():
    rng = np.random.default_rng(0)
    depth = np.linspace(2, 12, 45)[:, None] + rng.uniform(0, 2, (45, 80))
    anchors = anchors_on(depth, rng)
    wrong = rng.random(400) < 0.3
    anchors = replace(anchors, depth=np.where(wrong, anchors.depth * rng.uniform(1.5, 4, 400), anchors.depth))
    fit = fit_map(DepthMap(0, "disparity", (2.0 / depth - 0.1).astype(np.float32)), anchors, WIDTH, HEIGHT)
    assert (fit.scale, fit.shift) == pytest.approx((0.5, 0.05), rel=0.02)
    fit = fit_map(DepthMap(0, "depth", (depth / 3).astype(np.float32)), anchors, WIDTH, HEIGHT)
    assert fit.scale == pytest.approx(3, rel=0.02) and fit.shift == 0


def test_maps_that_say_nothing_or_the_opposite_are_refused():
    rng = np.random.default_rng(0)
    depth = np.linspace(2, 12, 45)[:, None] + np.zeros((45, 80))
    anchors = anchors_on(depth, rng)
    assert fit_map(DepthMap(0, "disparity", depth.astype(np.float32)), anchors, WIDTH, HEIGHT) is None
    few = Anchors(anchors.xy[:5], anchors.depth[:5], anchors.sigma[:5])
    assert fit_map(DepthMap(0, "disparity", (1 / depth).astype(np.float32)), few, WIDTH, HEIGHT) is None


def test_correction_keeps_to_its_side_of_an_occlusion_edge_and_does_not_ring():
    """A thing in front that the network has 25 % too far, before a wall that it has 20 % too near."""
    rng = np.random.default_rng(1)
    h, w = 90, 160
    y, x = np.mgrid[0:h, 0:w]
    front = (np.abs(x - 80) < 30) & (np.abs(y - 45) < 25)
    truth = np.where(front, 2.0, 6.0 + 0.01 * x)
    error = np.where(front, 1.25, 0.8)
    anchors = anchors_on(truth, rng, 600, 0.002)
    result = corrected(DepthMap(0, "metric", (truth * error).astype(np.float32)), anchors)
    off = np.abs(np.log(result / truth))
    assert np.median(off) < 0.01
    edge = cv2.dilate(front.astype(np.uint8), np.ones((5, 5))) != cv2.erode(front.astype(np.uint8), np.ones((5, 5)))
    assert np.percentile(off[edge], 95) < 0.05  # within two pixels of the edge too, where a blur over both sides is 20 % off
    # No correction beyond what any point asked for.
    fit = fit_map(DepthMap(0, "metric", (truth * error).astype(np.float32)), anchors, WIDTH, HEIGHT)
    asked, given = np.log(anchors.depth / fit.at_points), np.log(result / fit.depth)
    assert asked.min() - 1e-3 <= given.min() and given.max() <= asked.max() + 1e-3


def test_correction_is_smooth_and_fades_where_there_are_no_points():
    rng = np.random.default_rng(2)
    truth = np.full((45, 80), 4.0)
    anchors = anchors_on(truth, rng, 300)
    left = anchors.xy[:, 0] < WIDTH / 4
    anchors = Anchors(anchors.xy[left], anchors.depth[left] * 1.3, anchors.sigma[left])
    fit = fit_map(DepthMap(0, "metric", truth.astype(np.float32)), anchors, WIDTH, HEIGHT)
    fit = replace(fit, depth=truth.astype(np.float32), at_points=np.full(len(anchors.depth), 4.0))
    grid = CorrectionGrid(WIDTH, HEIGHT, *log_range([fit]))
    grid.add(fit, anchors)
    given = np.log(grid.correct(fit.depth) / fit.depth)
    assert given[:, :15].mean() == pytest.approx(np.log(1.3), rel=0.1)
    assert np.abs(given[:, -15:]).max() < 0.02
    assert np.abs(np.diff(given, axis=1)).max() < 0.06


def moving_cameras(count: int) -> list[LensCamera]:
    cameras = []
    for i in range(count):
        pose = np.eye(4)
        pose[:3, :3] = cv2.Rodrigues(np.array([0.0, 0.02 * i, 0.0]))[0]
        pose[:3, 3] = [0.1 * i, 0.0, -0.05 * i]
        cameras.append(LensCamera(pose, (500.0, 500.0), (320.0, 180.0), (-0.05, 0.01), (WIDTH, HEIGHT)))
    return cameras


def plane_depth(camera: LensCamera, shape: tuple[int, int]) -> np.ndarray:
    """z-depth of the slanted plane n . X = 5 in world space."""
    normal = np.array([0.1, 0.3, 0.9])
    rotation, translation = camera.cam_from_world[:3, :3], camera.cam_from_world[:3, 3]
    in_camera = rotation @ normal
    return (5.0 + in_camera @ translation) / (camera.rays(shape) @ in_camera)


def test_maps_of_one_surface_agree_through_lens_and_motion():
    cameras = moving_cameras(4)
    views = [(c, plane_depth(c, (90, 160)).astype(np.float32), None) for c in cameras]
    ratio, from_there = disagreement(views[0], views[3])
    known = np.isfinite(ratio)
    assert known.mean() > 0.7 and np.abs(ratio[known]).max() < 2e-3
    np.testing.assert_allclose(from_there[known], views[0][1][known], rtol=2e-3)
    assert inconsistency(views) < 5e-4
    assert inconsistency([(c, d * (1.05 if i % 2 else 1.0), None) for i, (c, d, _) in enumerate(views)]) == pytest.approx(
        np.log(1.05), rel=0.1
    )


def test_blending_averages_noise_and_leaves_out_what_moved():
    rng = np.random.default_rng(3)
    cameras = moving_cameras(5)
    truth = [plane_depth(c, (90, 160)) for c in cameras]
    noisy = [(d * np.exp(cv2.GaussianBlur(rng.normal(0, 0.2, d.shape), (0, 0), 3))).astype(np.float32) for d in truth]
    noisy[2][40:60, 60:80] = 1.5  # something before the surface, in this frame alone
    views = [(c, d, None) for c, d in zip(cameras, noisy, strict=True)]
    result = blend_views(views[2], [views[k] for k in (0, 1, 3, 4)], np.ones(4))
    still = np.ones(result.shape, bool)
    still[38:62, 58:82] = False
    before, after = (np.abs(np.log(d / truth[2]))[still].mean() for d in (noisy[2], result))
    assert after < 0.65 * before
    np.testing.assert_allclose(result[42:58, 62:78], 1.5, rtol=0.02)


def shot(count: int = 12, points: int = 250):
    """(solution, exact depth of every frame): points on a slanted plane all over the picture, a camera that moves a little."""
    solution = make_solution(range(count), points=points, size=(WIDTH, HEIGHT), k1=-0.05)
    poses = np.tile(np.eye(4), (count, 1, 1))
    for i in range(count):
        poses[i, :3, :3] = rotation([0.0, 0.006 * i, 0.002 * i])
        poses[i, :3, 3] = [0.03 * i, 0.01 * i, -0.02 * i]
    solution = replace(solution, cam_from_world=poses, focal_px=np.full(count, 520.0), metric=False)
    rng = np.random.default_rng(8)
    first, shape = camera_of(solution, 0), (48, 80)
    row, column = rng.integers(shape[0], size=points), rng.integers(shape[1], size=points)
    xyz = (first.rays(shape) * plane_depth(first, shape)[..., None])[row, column]
    track, index, xy = [], [], []
    for n in range(points):
        for i in range(count):
            track.append(n + 1)
            index.append(i)
            xy.append(project(solution.camera, (520.0, 520.0), poses[i], xyz[[n]])[0])
    xy, track, index = np.array(xy), np.array(track, np.int32), np.array(index, np.int32)
    inside = ((xy > 0) & (xy < [WIDTH, HEIGHT])).all(1)
    observed = Tracks(solution.frame_numbers, track[inside], index[inside], xy[inside], np.full(inside.sum(), 0.1), points + 2)
    solution = replace(solution, points=xyz, tracks=observed)
    return solution, [plane_depth(camera_of(solution, i), shape) for i in range(count)]


def flickering(truth: list[np.ndarray], seed: int = 5) -> list[DepthMap]:
    """Disparities whose scale and shift wander from frame to frame, with errors that differ from frame to frame."""
    rng = np.random.default_rng(seed)
    maps = []
    for i, depth in enumerate(truth):
        wrong = cv2.GaussianBlur(rng.normal(0, 1.0, depth.shape), (0, 0), 4)
        values = (3 + rng.normal(0, 0.01)) * (1 / depth) * (1 + 0.2 * wrong / wrong.std() * 0.3) + 0.4
        maps.append(DepthMap(i, "disparity", values.astype(np.float32), np.full(depth.shape, 0.5, np.float32)))
    return maps


def test_anchors_are_the_solved_points_each_frame_sees():
    solution, truth = shot(3)
    for i, anchors in enumerate(anchors_of(solution)):
        assert len(anchors.depth) > 100
        column, row = (anchors.xy * [80 / WIDTH, 48 / HEIGHT]).astype(int).T
        np.testing.assert_allclose(anchors.depth, truth[i][row, column], rtol=0.03)


def test_scales_of_frames_without_points_follow_their_neighbours():
    solution, truth = shot()
    maps = [DepthMap(i, "disparity", (2.0 / d + 0.3).astype(np.float32)) for i, d in enumerate(truth)]
    anchors = anchors_of(solution)
    for i in (0, 5, 6):
        anchors[i] = Anchors(np.zeros((0, 2)), np.zeros(0), np.zeros(0))
    scale, shift = steady_scales(maps, anchors, WIDTH, HEIGHT)
    np.testing.assert_allclose(scale, 0.5, rtol=0.02)
    np.testing.assert_allclose(shift, -0.15, atol=0.01)
    scale, _ = steady_scales(
        [replace(m, kind="depth", values=(d / 4).astype(np.float32)) for m, d in zip(maps, truth, strict=True)],
        anchors,
        WIDTH,
        HEIGHT,
    )
    np.testing.assert_allclose(scale, 4, rtol=0.02)


def test_sequence_is_right_and_steadier_than_frames_on_their_own():
    solution, truth = shot()
    steady = steady_depth(solution, flickering(truth))
    errors = [np.abs(np.log(view[1] / d)).mean() for view, d in zip(steady.views, truth, strict=True)]
    assert np.mean(errors) < 0.02
    assert steady.inconsistency < 0.6 * steady.inconsistency_alone


def test_exr_holds_what_it_was_given():
    """Unpacked by hand, following the file format's description."""
    rng = np.random.default_rng(0)
    depth = rng.uniform(1, 5, (37, 21)).astype(np.float32)
    data = exr_bytes({"Z": depth, "Y": depth + 1}, {"depthUnit": "metres"})
    assert data[:4] == bytes([0x76, 0x2F, 0x31, 0x01]) and b"depthUnit\0string\0" in data
    end = data.index(b"\0\0", data.index(b"screenWindowWidth"))
    head = data.index(b"metres") + len(b"metres") + 1
    assert end < head
    offsets = np.frombuffer(data, "<u8", 3, head)
    planes = {"Y": [], "Z": []}
    for top, offset in zip((0, 16, 32), offsets, strict=True):
        first, length = np.frombuffer(data, "<i4", 2, int(offset))
        assert first == top
        lines = min(16, 37 - top)
        raw = data[int(offset) + 8 : int(offset) + 8 + int(length)]
        if len(raw) < lines * 21 * 8:
            stored = np.frombuffer(zlib.decompress(raw), np.uint8).astype(np.int64)
            stored[1:] -= 128
            halves = (np.cumsum(stored) % 256).astype(np.uint8)
            middle = (len(halves) + 1) // 2
            both = np.empty_like(halves)
            both[0::2], both[1::2] = halves[:middle], halves[middle:]
            raw = both.tobytes()
        rows = np.frombuffer(raw, "<f4").reshape(lines, 2, 21)
        planes["Y"].append(rows[:, 0])
        planes["Z"].append(rows[:, 1])
    np.testing.assert_array_equal(np.concatenate(planes["Z"]), depth)
    np.testing.assert_array_equal(np.concatenate(planes["Y"]), depth + 1)


@pytest.fixture(scope="module")
def solved_shot(tmp_path_factory):
    """(movie, job folder, folder of depth maps, exact depths)."""
    folder = tmp_path_factory.mktemp("shot")
    solution, truth = shot(8)
    movie = folder / "shot.avi"
    writer = cv2.VideoWriter(str(movie), cv2.VideoWriter_fourcc(*"MJPG"), 24.0, (WIDTH, HEIGHT))
    for _ in range(8):
        writer.write(np.full((HEIGHT, WIDTH, 3), 90, np.uint8))
    writer.release()
    write_solution(replace(solution, clip=replace(solution.clip, path=str(movie))), folder / "solve")
    maps = folder / "maps"
    maps.mkdir()
    (maps / "depth.json").write_text(json.dumps({"kind": "disparity"}))
    for made in flickering(truth):
        np.save(maps / f"{made.frame:04d}.npy", made.values)
    return movie, folder / "solve", maps, truth


def run(capsys, *arguments) -> tuple[int, str, str]:
    code = cli.main([str(a) for a in arguments])
    said = capsys.readouterr()
    return code, said.out, said.err


@pytest.fixture(autouse=True)
def _no_process_hooks(monkeypatch):
    monkeypatch.setattr("solver.lifetime.install_signal_handlers", lambda: None)
    monkeypatch.setattr("solver.lifetime.watch_parent", lambda: None)


def test_command_writes_depth_of_every_frame(solved_shot, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("OPENCV_IO_ENABLE_OPENEXR", "1")
    movie, solve, maps, truth = solved_shot
    out = tmp_path / "depth"
    code, said, _ = run(capsys, "depth", movie, "--solve", solve, "--depth-maps", maps, "--out", out, "--events")
    assert code == EXIT_OK
    events = [json.loads(line) for line in said.splitlines()]
    assert {e["stage"] for e in events if e["event"] == "progress"} == {"open", "depth", "write"}
    assert events[-1]["event"] == "result" and events[-1]["frames"] == 8
    document = json.loads((out / "depth.json").read_text())
    assert document["inconsistency"] < document["inconsistency_alone"] and document["unit"] == "scene units"
    assert [f["frame"] for f in document["frames"]] == list(range(8))
    for i, depth in enumerate(truth):
        found = cv2.imread(str(out / "exr" / f"depth.{i:06d}.exr"), cv2.IMREAD_UNCHANGED)
        assert found.shape == (HEIGHT, WIDTH) and found.dtype == np.float32
        expected = cv2.resize(depth, (WIDTH, HEIGHT), interpolation=cv2.INTER_LINEAR)
        assert np.abs(np.log(found / expected)).mean() < 0.03
    capture = cv2.VideoCapture(str(out / "preview.mp4"))
    assert capture.get(cv2.CAP_PROP_FRAME_COUNT) == 8
    near, far = (capture.read()[1][at] for at in ((slice(-40, None), slice(None)), (slice(0, 40), slice(None))))
    assert near[..., 2].mean() != pytest.approx(far[..., 2].mean(), abs=5)
    capture.release()
    assert sorted(p.name for p in out.iterdir()) == ["depth.json", "exr", "preview.mp4"]  # nothing hidden is left


def test_a_failed_run_keeps_the_old_results(solved_shot, tmp_path, capsys, monkeypatch):
    movie, solve, maps, _ = solved_shot
    out = tmp_path / "depth"
    arguments = ("depth", movie, "--solve", solve, "--depth-maps", maps, "--out", out)
    assert run(capsys, *arguments)[0] == EXIT_OK
    before = (out / "depth.json").read_bytes()

    def full(path, depth, unit):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("solver.depth_output.write_depth_exr", full)
    code, _, said = run(capsys, *arguments)
    assert code != EXIT_OK and "no space left on device" in said and "Traceback" not in said
    assert (out / "depth.json").read_bytes() == before and len(list((out / "exr").iterdir())) == 8
    assert not list(out.glob(".holdfast-*"))


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--depth-model", "none"], EXIT_USAGE, "needs a depth network"),
        (["--quality", "best"], EXIT_USAGE, "--quality"),
        (["--solve", "nowhere"], EXIT_INPUT, "no finished solve"),
    ],
)
def test_errors_are_one_clear_line(solved_shot, tmp_path, capsys, arguments, code, words):
    movie, solve, _, _ = solved_shot
    given = arguments if "--solve" in arguments else [*arguments, "--solve", str(solve)]
    result, _, said = run(capsys, "depth", movie, "--out", tmp_path / "out", *given)
    assert result == code and words in said and "Traceback" not in said


def test_another_clip_than_the_solved_one_is_noticed(solved_shot, tmp_path, capsys):
    _, solve, maps, _ = solved_shot
    other = tmp_path / "other.avi"
    writer = cv2.VideoWriter(str(other), cv2.VideoWriter_fourcc(*"MJPG"), 24.0, (320, 180))
    for _ in range(8):
        writer.write(np.zeros((180, 320, 3), np.uint8))
    writer.release()
    code, _, said = run(capsys, "depth", other, "--solve", solve, "--depth-maps", maps, "--out", tmp_path / "out")
    assert code == EXIT_INPUT and "320x180" in said


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_cancel_ends_it_at_once_and_leaves_nothing(solved_shot, tmp_path):
    movie, solve, maps, _ = solved_shot
    out = tmp_path / "out"
    slow = (
        "import time, sys, solver.depth_output as o; o.write_depth_exr = lambda *a: time.sleep(30); "
        "from solver.cli import main; main(sys.argv[1:])"
    )
    arguments = ["depth", movie, "--solve", solve, "--depth-maps", maps, "--out", out, "--events"]
    process = subprocess.Popen([sys.executable, "-c", slow, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    for line in process.stdout:
        if json.loads(line).get("stage") == "write":
            break
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=10) == EXIT_CANCELLED and time.monotonic() - began < 5
    process.stdout.close()
    process.stderr.close()
    assert not list(out.iterdir())


def test_frames_without_a_map_are_left_out_and_said(solved_shot, tmp_path, capsys):
    movie, solve, maps, _ = solved_shot
    fewer = tmp_path / "maps"
    fewer.mkdir()
    for path in maps.iterdir():
        if path.stem not in ("0002", "0005"):
            (fewer / path.name).write_bytes(path.read_bytes())
    out = tmp_path / "out"
    code, _, said = run(capsys, "depth", movie, "--solve", solve, "--depth-maps", fewer, "--out", out)
    assert code == EXIT_OK and "2 of 8 frames" in said
    assert len(list((out / "exr").iterdir())) == 6 and not (out / "exr" / "depth.000002.exr").exists()


def test_large_maps_are_kept_small():
    found = depth_command._small(DepthMap(0, "disparity", np.ones((600, 1000), np.float32), np.ones((600, 1000), np.float32)))
    assert found.values.shape == (240, 400) == found.confidence.shape
