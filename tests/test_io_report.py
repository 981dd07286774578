"""The job folder: written whole, read back the same, and the same bytes every time."""

from __future__ import annotations

import json
import os
from dataclasses import replace

import numpy as np
import pytest

from solver import report
from solver.errors import EXIT_OUTPUT, HoldfastError
from tests.io_synthetic import make_solution


def all_bytes(folder) -> dict:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.parametrize(
    "options", [{}, {"zoom": True, "k1": 0.0}, {"k2": 0.01, "pixel_aspect": 2.0, "frames": range(1001, 1012, 2)}]
)
def test_round_trip(tmp_path, options):
    solution = make_solution(**options)
    report.write_solution(solution, tmp_path, ("Second.", "First."))
    again = report.load_solution(tmp_path)
    assert np.array_equal(again.frame_numbers, solution.frame_numbers)
    assert np.allclose(again.cam_from_world, solution.cam_from_world, atol=1e-14)
    for name in ("focal_px", "frame_error_px", "frame_tracks", "point_track", "point_colour", "point_length", "track_label"):
        assert np.array_equal(getattr(again, name), getattr(solution, name)), name
    assert np.allclose(again.points, solution.points, atol=1e-6)
    assert np.array_equal(again.tracks.elongation, solution.tracks.elongation)
    assert np.array_equal(again.tracks.xy, solution.tracks.xy) and again.tracks.track_count == solution.tracks.track_count
    assert again.camera == solution.camera and again.verdict == solution.verdict and again.keyframes == solution.keyframes
    assert np.array_equal(again.depth_maps[0].depth, solution.depth_maps[0].depth, equal_nan=True)
    assert again.warnings == ("First.", "Second.") and again.clip.pixel_aspect == solution.clip.pixel_aspect
    document = json.loads((tmp_path / "solve.json").read_text())
    assert document["quality"]["worst"] is None and document["schema"] == 1
    frame = document["frames"][2]
    assert frame["fy"] == pytest.approx(frame["fx"] * solution.clip.pixel_aspect)
    assert np.allclose(np.array(frame["c2w"]) @ solution.cam_from_world[2], np.eye(4), atol=1e-12)
    for name in document["files"].values():
        assert name == "solver.log" or (tmp_path / name).exists()
    with np.load(tmp_path / "tracks.npz") as tracks:
        assert tracks["point"][0] == -1 and tracks["point"][1] == 0 and len(tracks["point"]) == len(tracks["label"])


def test_same_solution_same_bytes(tmp_path):
    for name in ("a", "b"):
        report.write_solution(make_solution(), tmp_path / name)
    assert all_bytes(tmp_path / "a") == all_bytes(tmp_path / "b")
    other = make_solution(path="/elsewhere/shot.mp4")
    other = replace(other, timings={"track": 99.0}, depth_source={"name": "none", "provider": "X"})
    documents = [report.solve_document(s) for s in (make_solution(), other)]
    assert documents[0] != documents[1] and report.stable_part(documents[0]) == report.stable_part(documents[1])


def test_new_results_replace_the_old_ones_completely(tmp_path):
    report.write_solution(make_solution(), tmp_path)
    (tmp_path / "notes.txt").write_text("the user's own")
    second = replace(make_solution(seed=4), depth_maps=())
    report.write_solution(second, tmp_path)
    assert not (tmp_path / "depth").exists() and (tmp_path / "notes.txt").exists()
    assert np.allclose(report.load_solution(tmp_path).points, second.points, atol=1e-6)
    assert not list(tmp_path.glob(".holdfast*"))


def test_a_failure_while_writing_leaves_the_old_results(tmp_path, monkeypatch):
    report.write_solution(make_solution(), tmp_path)
    before = all_bytes(tmp_path)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(report, "_write_tracks", full)
    with pytest.raises(HoldfastError) as caught:
        report.write_solution(make_solution(seed=5), tmp_path)
    assert caught.value.exit_code == EXIT_OUTPUT and all_bytes(tmp_path) == before
    monkeypatch.undo()
    real, calls = os.replace, []

    def sticky(source, target):
        calls.append(source)
        if len(calls) == 7:
            raise OSError(13, "Permission denied")
        real(source, target)

    monkeypatch.setattr(report.os, "replace", sticky)
    with pytest.raises(HoldfastError):
        report.write_solution(make_solution(seed=5), tmp_path)
    monkeypatch.undo()
    assert all_bytes(tmp_path) == before


def test_unwritable_folders_are_found_first(tmp_path):
    (tmp_path / "file").write_text("")
    for bad in (tmp_path / "file", tmp_path / "file" / "below", "/proc/nowhere/out"):
        with pytest.raises(HoldfastError) as caught:
            report.prepare_output(bad)
        assert caught.value.code == "output.unwritable" and caught.value.exit_code == EXIT_OUTPUT


def test_left_overs_of_a_killed_run_are_cleared(tmp_path):
    (tmp_path / ".holdfast-999999999-abc").mkdir()
    mine = tmp_path / f".holdfast-{os.getppid()}-abc"  # another run that is alive
    mine.mkdir()
    report.prepare_output(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [mine.name]


def test_ply_is_what_it_says(tmp_path):
    solution = make_solution()
    report.write_solution(solution, tmp_path)
    data = (tmp_path / "points.ply").read_bytes()
    head, body = data.split(b"end_header\n", 1)
    assert f"element vertex {len(solution.points)}".encode() in head and len(body) == 19 * len(solution.points)
    assert np.allclose(np.frombuffer(body[:12], "<f4"), solution.points[0], atol=1e-6)
    assert tuple(body[12:15]) == tuple(solution.point_colour[0])


def test_damaged_results(tmp_path):
    for prepare in (
        lambda: None,
        lambda: (tmp_path / "solve.json").write_text("{"),
        lambda: (tmp_path / "solve.json").write_text("[]"),
    ):
        prepare()
        with pytest.raises(HoldfastError) as caught:
            report.load_solution(tmp_path)
        assert caught.value.exit_code == 3
    report.write_solution(make_solution(), tmp_path)
    (tmp_path / "tracks.npz").write_bytes(b"PK")
    with pytest.raises(HoldfastError) as caught:
        report.load_solution(tmp_path)
    assert caught.value.code == "result.damaged"
