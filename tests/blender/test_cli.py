"""The command line inside Blender: exit codes, shots and batches from clips to scenes; the processes' solve is synthetic."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from . import synthetic

ROOT = Path(__file__).resolve().parents[2]

# Loaded by every Python that the batch starts: the stages behind the solver's command line are replaced.
STAND_IN = """
import sys, types
def solve(clip, settings, depth, masks, progress):
    from tests.io_synthetic import make_solution
    info = clip.info
    return make_solution(frames=info.frames, path=info.path, size=(info.width, info.height))
sys.modules["solver.pipeline"] = types.SimpleNamespace(solve=solve)
sys.modules["solver.depth"] = types.SimpleNamespace(open_depth_source=lambda *a: None)
"""


def test_help_and_wrong_options(blender, capsys):
    from addon import cli

    assert cli.run(["solve", "--help"]) == 0
    assert "--depth-model" in capsys.readouterr().out
    assert cli.run(["solve"]) == 2
    assert cli.run(["solve", "nothing.mp4", "-o", "x.blend"]) == 3
    assert "nothing.mp4" in capsys.readouterr().err


@pytest.fixture
def solver_python(monkeypatch, tmp_path):
    """A Python that can run the solver, whose solve is an exact synthetic one; everything around it is the real thing."""
    python = os.environ.get("HOLDFAST_PYTHON", sys.executable)
    if subprocess.run([python, "-c", "import cv2, scipy"], capture_output=True).returncode:
        pytest.skip("this Python cannot run the solver: HOLDFAST_PYTHON names one that can")
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(STAND_IN)
    monkeypatch.setenv("PYTHONPATH", f"{site}{os.pathsep}{ROOT}")
    monkeypatch.setenv("HOLDFAST_PYTHON", python)
    return python


def footage(folder, frames=5):
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(frames):
        synthetic.write_png(folder / f"{folder.name}.{1001 + i}.png", synthetic.picture(320, 180, [], i))
    return folder


def test_batch_makes_scenes_reports_and_resumes(blender, solver_python, tmp_path, capfd):
    from addon import cli

    clips = tmp_path / "clips"
    for name in ("one", "two"):
        footage(clips / name)
    (clips / "bad.mp4").write_bytes(b"nothing")
    out = tmp_path / "out"
    assert cli.run(["batch", str(clips), "-o", str(out), "--export", "usd,chan"]) == 1
    said = capfd.readouterr()
    assert "2 of 3 shots solved" in said.out + said.err
    for name in ("one", "two"):
        assert {f"{name}.blend", f"{name}.usd", "camera.chan", "solve.json"} <= {path.name for path in (out / name).iterdir()}
    report = json.loads((out / "report.json").read_text())
    shots = {shot["name"]: shot for shot in report["shots"]}
    assert shots["one"]["scene"] == "one/one.blend" and shots["one"]["timings"]["scene"] > 0 and shots["bad"]["code"]
    before = {path: path.stat().st_mtime_ns for path in (*out.glob("*/*.blend"), *out.glob("*/solve.json"))}
    assert cli.run(["batch", str(clips), "-o", str(out), "--export", "usd,chan,fbx"]) == 1  # one more export, no new solve
    assert (out / "one" / "one.fbx").is_file()
    assert all(path.stat().st_mtime_ns == when for path, when in before.items() if path.name == "solve.json")

    blender.ops.wm.open_mainfile(filepath=str(out / "two" / "two.blend"))
    assert [scene.name for scene in blender.data.scenes] == ["two"]
    scene = blender.context.scene
    assert scene.camera and (scene.frame_start, scene.frame_end) == (1, 5)
    assert [clip.name for clip in blender.data.movieclips] == ["two.1001.png"]


def test_a_scene_that_fails_is_one_failed_shot_and_tried_again(blender, solver_python, tmp_path, capfd):
    from addon import cli

    clips, out = tmp_path / "clips", tmp_path / "out"
    footage(clips / "one")
    (out / "one" / "one.usd").mkdir(parents=True)  # where an export should go
    assert cli.run(["batch", str(clips), "-o", str(out), "--export", "usd"]) == 1
    shot = json.loads((out / "report.json").read_text())["shots"][0]
    assert shot["code"] == "scene.failed" and "one.usd" in shot["message"] and "\n" not in shot["message"]
    solved = (out / "one" / "solve.json").stat().st_mtime_ns
    (out / "one" / "one.usd").rmdir()
    assert cli.run(["batch", str(clips), "-o", str(out), "--export", "usd"]) == 0
    assert (out / "one" / "one.usd").is_file() and (out / "one" / "solve.json").stat().st_mtime_ns == solved
    assert "Traceback" not in "".join(capfd.readouterr())


def test_solve_saves_a_scene_and_exports(blender, solver_python, tmp_path, capfd):
    from addon import cli

    clip = footage(tmp_path / "plates")
    pattern = str(clip / "plates.####.png")
    blend = tmp_path / "work" / "shot.blend"
    assert cli.run(["solve", pattern, "-o", str(blend), "--export", "usd,alembic,fbx,colmap"]) == 0, capfd.readouterr()
    assert {path.suffix for path in blend.parent.glob("shot.*")} == {".blend", ".usd", ".abc", ".fbx"}
    assert (blend.parent / "holdfast" / "shot" / "colmap" / "cameras.txt").is_file()
    assert "frames" in capfd.readouterr().out


def test_usage_errors_of_batches_are_not_counts(blender, solver_python, tmp_path, capfd):
    from addon import cli

    assert cli.run(["batch", str(tmp_path / "none"), "-o", str(tmp_path / "out")]) == 103
    assert cli.run(["batch", str(tmp_path), "-o", str(tmp_path / "out"), "--export", "maya"]) == 102
    assert cli.run(["batch", str(tmp_path), "--nonsense"]) == 102
    assert cli.run(["solve", "x.mp4", "-o", "x.blend", "--export", "maya"]) == 2
    assert "Traceback" not in "".join(capfd.readouterr())
    assert cli.run(["batch", "--help"]) == 0 and "range" in capfd.readouterr().out
