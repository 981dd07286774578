"""The solver as a process: progress, cancel, death; and the way from the operator to the scene."""

from __future__ import annotations

import sys
import time

import pytest

from . import synthetic

# A stand-in for the solver's process: it speaks the same language.
SPEAKS = """
import json, sys, time, shutil
def say(**e): print(json.dumps(e), flush=True)
print("a library's chatter")
say(event="progress", stage="open", done=1, total=1, eta_s=9)
say(event="progress", stage="track", done=30, total=60, eta_s=5.5)
say(event="warning", code="w", message="some warning")
"""


def run(code, out, wait=True):
    from addon.job import SolverJob

    job = SolverJob([sys.executable, "-c", SPEAKS + code], out)
    job.start()
    if wait:
        job.wait(interval_s=0.01)
    return job


def test_progress_and_result(tmp_path):
    (tmp_path / "solve.json").write_text("{}")
    job = run("say(event='result', out='x', summary='All well')", tmp_path)
    assert (job.state.value, job.message, job.fraction) == ("done", "All well", 1.0)
    assert job.warnings == ["some warning"]


def test_progress_on_the_way(tmp_path):
    job = run("time.sleep(30)", tmp_path, wait=False)
    limit = time.monotonic() + 10
    while job.stage != "track" and time.monotonic() < limit:
        job.poll()
        time.sleep(0.01)
    assert (job.done, job.total, job.eta_s) == (30, 60, 5.5)
    assert 0.2 < job.fraction < 0.3
    job.kill()
    assert job.state.value == "cancelled"


@pytest.mark.parametrize(
    "code",
    [
        "time.sleep(30)",
        "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); say(event='progress', stage='adjust'); time.sleep(30)",
    ],
    ids=["willing", "stubborn"],
)
def test_cancel_takes_less_than_a_second(tmp_path, code):
    job = run(code, tmp_path, wait=False)
    limit = time.monotonic() + 10
    while not job.warnings and time.monotonic() < limit:
        job.poll()
        time.sleep(0.01)
    time.sleep(0.2)
    begun = time.monotonic()
    job.cancel()
    assert time.monotonic() - begun < 0.05  # it does not wait
    job.wait(interval_s=0.01)
    assert time.monotonic() - begun < 1.0
    assert job.state.value == "cancelled"


def test_error_event_is_passed_on(tmp_path):
    job = run(
        "say(event='error', code='clip.black', message='Every frame is black', hint='Check the clip'); sys.exit(3)", tmp_path
    )
    assert (job.state.value, job.code, job.message, job.hint, job.exit_code) == (
        "failed",
        "clip.black",
        "Every frame is black",
        "Check the clip",
        3,
    )


def test_death_is_told_clearly(tmp_path):
    job = run("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", tmp_path)
    assert job.state.value == "failed"
    assert "SIGKILL" in job.message
    assert "memory" in job.message
    job = run("raise ValueError('that was it')", tmp_path)
    assert job.state.value == "failed"
    assert "that was it" in job.message
    assert "\n" not in job.message
    job = run("", tmp_path)  # ends well but leaves nothing
    assert job.state.value == "failed"
    assert "without a result" in job.message


def test_a_flood_of_events_does_not_hold_up_the_interface(tmp_path):
    (tmp_path / "solve.json").write_text("{}")
    job = run("for i in range(20000): say(event='progress', stage='track', done=i, total=20000)", tmp_path, wait=False)
    longest = 0.0
    while job.state.active:
        begun = time.thread_time()
        job.poll(0.004)
        longest = max(longest, time.thread_time() - begun)
        time.sleep(0.005)
    assert job.state.value == "done"
    assert longest < 0.05


def test_a_python_that_is_not_there(monkeypatch, tmp_path):
    from addon import solver_process
    from addon.job import SolverJob

    monkeypatch.setenv("HOLDFAST_PYTHON", str(tmp_path / "nothing"))
    with pytest.raises(FileNotFoundError, match="HOLDFAST_PYTHON"):
        solver_process.find_python()
    monkeypatch.delenv("HOLDFAST_PYTHON")
    assert solver_process.find_python() == sys.executable
    job = SolverJob([str(tmp_path / "nothing")], tmp_path)
    job.start()
    assert job.state.value == "failed"


def test_settings_become_options(blender):
    from addon import preferences, properties, solver_process

    clip = blender.data.movieclips.new if hasattr(blender.data.movieclips, "new") else None
    assert clip is None  # clips come from files only: the settings are tested on a real one below
    command = solver_process.command_line(
        "py", "clip.mp4", "out", {"focal_mm": 35.0, "sensor_mm": 24.89, "mask": "", "start": -1, "depth_model": "none"}
    )
    assert command[:7] == ["py", "-m", "solver", "solve", "clip.mp4", "--out", "out"]
    assert set(command[7:]) == {"--events", "--focal-mm=35", "--sensor-mm=24.89", "--start=-1", "--depth-model=none"}
    with pytest.raises(KeyError):
        solver_process.command_line("py", "c", "o", {"nonsense": 1})
    assert preferences.get().device == "auto"
    assert properties.SENSORS[0][0] == "CLIP"


def test_operator_runs_the_solver_and_builds_the_scene(blender, tmp_path, monkeypatch):
    """The whole way in the background, with a process that writes a real job folder in place of the solver."""
    import addon.solver_process as process
    from addon import headless

    truth = synthetic.write_job(tmp_path)
    asked = {}

    def command_line(python, clip, out, settings=None):
        asked.update(settings, clip=clip)
        return [
            sys.executable,
            "-c",
            SPEAKS + f"shutil.copytree({str(truth.folder)!r}, {out!r}, dirs_exist_ok=True); say(event='result', summary='fine')",
        ]

    monkeypatch.setattr(process, "command_line", command_line)
    scene = blender.context.scene
    clip = headless.load_clip(truth.footage)
    scene.holdfast.clip = clip
    own = clip.holdfast
    own.focal, own.focal_mm, own.sensor, own.motion, own.quality, own.depth = "known", 35.0, "SUPER35", "free", "best", "none"
    own.use_range, own.start, own.end = True, 2, 7
    blender.ops.wm.save_as_mainfile(filepath=str(tmp_path / "file.blend"))
    assert blender.ops.holdfast.solve("EXEC_DEFAULT", scene_setup="SET") == {"FINISHED"}
    assert (asked["clip"], asked["focal_mm"], asked["motion"], asked["depth_model"]) == (str(truth.footage), 35.0, "free", "none")
    assert (asked["start"], asked["end"]) == (1002, 1007)  # the files' own numbers
    assert asked["sensor_mm"] == pytest.approx(24.89)
    assert scene.camera.name == "shot.1001.png Camera"
    assert own.job_folder == "//holdfast/shot.1001"
    assert (tmp_path / "holdfast" / "shot.1001" / "solve.json").is_file()


def test_operator_reports_failure(blender, tmp_path, monkeypatch):
    import addon.solver_process as process
    from addon import headless

    truth = synthetic.write_job(tmp_path)
    monkeypatch.setattr(
        process,
        "command_line",
        lambda *a: [sys.executable, "-c", SPEAKS + "say(event='error', code='c', message='Too dark', hint='h'); sys.exit(6)"],
    )
    blender.context.scene.holdfast.clip = headless.load_clip(truth.footage)
    count = len(blender.data.objects)
    with pytest.raises(RuntimeError, match="Too dark"):
        blender.ops.holdfast.solve("EXEC_DEFAULT")
    assert len(blender.data.objects) == count
