"""The command line as a user and a program meet it. The solve itself is replaced by an exact synthetic one."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
import types
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from solver import cli, events
from solver.clip import open_clip
from solver.errors import HoldfastError
from tests.io_synthetic import make_solution, write_movie

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def movie(tmp_path_factory):
    return str(write_movie(tmp_path_factory.mktemp("movie") / "shot.mp4", 8))


@pytest.fixture
def fake_solver(monkeypatch):
    """Stand-ins for the stages behind the command line; `calls` keeps what they were given."""
    calls = types.SimpleNamespace(settings=None, depth=None, solves=0, change=lambda solution: solution, fail=None)

    def solve(clip, settings, depth, masks, progress):
        calls.settings, calls.masks, calls.solves = settings, masks, calls.solves + 1
        if calls.fail is not None:
            raise calls.fail
        for i in range(len(clip.info.frames)):
            progress("track", i + 1, len(clip.info.frames))
        progress.warn("lens.weak", "The lens is a guess.")
        return calls.change(make_solution(frames=clip.info.frames, path=clip.info.path))

    def open_depth_source(model, maps_dir, device, threads, progress, pictures):
        calls.depth = (model, maps_dir, device, threads)

    monkeypatch.setitem(sys.modules, "solver.pipeline", types.SimpleNamespace(solve=solve))
    monkeypatch.setitem(sys.modules, "solver.depth", types.SimpleNamespace(open_depth_source=open_depth_source))
    monkeypatch.setattr("solver.lifetime.install_signal_handlers", lambda: None)
    monkeypatch.setattr("solver.lifetime.watch_parent", lambda: None)
    return calls


def run(capsys, *arguments) -> tuple[int, str, str]:
    code = cli.main([str(a) for a in arguments])
    out, err = capsys.readouterr()
    assert "Traceback" not in out + err
    return code, out, err


def test_solve_writes_results_and_events(fake_solver, movie, tmp_path, capsys):
    code, out, err = run(capsys, "solve", movie, "--out", tmp_path / "job", "--events", "--seed", 7, "--threads", 1)
    lines = [json.loads(line) for line in out.splitlines()]
    assert code == 0 and err == ""
    stages = [line["stage"] for line in lines if line["event"] == "progress"]
    assert stages[0] == "open" and stages[-1] == "write" and list(dict.fromkeys(stages)) == ["open", "track", "write"]
    assert {"event": "warning", "code": "lens.weak", "message": "The lens is a guess."} in lines
    result = lines[-1]
    assert result["event"] == "result" and result["verdict"]["status"] == "good" and result["frames"] == 8
    document = json.loads((tmp_path / "job" / "solve.json").read_text())
    assert "The lens is a guess." in document["warnings"] and document["timings"]["total"] > 0
    assert document["clip"]["path"] == movie
    assert fake_solver.settings.seed == 7 and fake_solver.depth == (None, None, "auto", 1)
    log = (tmp_path / "job" / "solver.log").read_text()
    assert "Clip: " in log and "Verdict: good" in log and "total" in log


def test_lens_options_become_pixels(fake_solver, movie, tmp_path, capsys):
    assert run(capsys, "solve", movie, "--out", tmp_path, "--focal-mm", 35, "--sensor-mm", 36, "--depth-model", "none")[0] == 0
    assert fake_solver.settings.focal_px == pytest.approx(35 / 36 * 160) and fake_solver.settings.focal_source == "user"
    assert fake_solver.depth[0] == "none"
    assert run(capsys, "solve", movie, "--out", tmp_path)[0] == 0
    assert fake_solver.settings.focal_px is None and fake_solver.settings.focal_source is None
    assert run(capsys, "solve", movie, "--out", tmp_path, "--depth-maps", "maps")[0] == 0
    assert fake_solver.depth[:2] == (None, "maps")


@pytest.mark.parametrize(
    "options",
    [
        ["--focal-mm", "35"], ["--sensor-mm", "36"], ["--focal-px", "-3"], ["--focal", "known"], ["--quality", "great"],
        ["--focal-px", "900", "--focal-mm", "35", "--sensor-mm", "36"], ["--nonsense"],
        ["--depth-model", "a", "--depth-maps", "b"], ["--step", "0"],
    ],
)  # fmt: skip
def test_options_that_do_not_fit(fake_solver, movie, tmp_path, capsys, options):
    code, out, _ = run(capsys, "solve", movie, "--out", tmp_path / "job", "--events", *options)
    last = json.loads(out.splitlines()[-1])
    assert code == 2 and last["event"] == "error" and last["hint"] and not (tmp_path / "job").exists()


def test_bad_input_leaves_nothing_behind(fake_solver, movie, tmp_path, capsys):
    code, _, err = run(capsys, "solve", tmp_path / "no.mp4", "--out", tmp_path / "job")
    assert code == 3 and err.startswith("Error: ") and not (tmp_path / "job").exists()
    code, _, err = run(capsys, "solve", movie, "--out", tmp_path / "job", "--mask", tmp_path / "no")
    assert code == 3 and not (tmp_path / "job").exists()
    (tmp_path / "file").write_text("")
    code, _, err = run(capsys, "solve", movie, "--out", tmp_path / "file")
    assert code == 5 and fake_solver.solves == 0


def test_a_bug_goes_to_the_log(fake_solver, movie, tmp_path, capsys):
    fake_solver.fail = ZeroDivisionError("inner detail")
    code, _, err = run(capsys, "solve", movie, "--out", tmp_path / "job")
    log = tmp_path / "job" / "solver.log"
    assert code == 1 and str(log) in err and "inner detail" not in err
    assert "Traceback" in log.read_text() and "inner detail" in log.read_text()
    assert not (tmp_path / "job" / "solve.json").exists()


def test_unsolved_shots_have_their_own_code(fake_solver, movie, tmp_path, capsys):
    fake_solver.fail = HoldfastError("solve.no_features", "The pictures are black.", "Give pictures.", 6)
    assert run(capsys, "solve", movie, "--out", tmp_path / "a")[0] == 6
    fake_solver.fail = None
    fake_solver.change = lambda solution: replace(solution, verdict=replace(solution.verdict, status="failed"))
    assert run(capsys, "solve", movie, "--out", tmp_path / "b")[0] == 6
    assert (tmp_path / "b" / "solve.json").exists()


def test_movies_that_end_early_are_counted_and_solved(fake_solver, movie, tmp_path, capsys, monkeypatch):
    opened = []

    def flaky(*args, exact_count=False, **kwargs):
        opened.append(exact_count)
        if not exact_count:
            fake_solver.fail = HoldfastError("clip.ended_early", "The movie stops.", "Convert it.", 3)
        else:
            fake_solver.fail = None
        return open_clip(*args, exact_count=exact_count, **kwargs)

    monkeypatch.setattr("solver.solve_command.open_clip", flaky)
    assert run(capsys, "solve", movie, "--out", tmp_path)[0] == 0 and opened == [False, True]


def test_probe(movie, tmp_path, capsys):
    code, out, _ = run(capsys, "probe", movie)
    assert code == 0 and "160 x 96" in out and "frames 0 to 7" in out
    code, out, _ = run(capsys, "probe", movie, "--json")
    assert json.loads(out)["frame_count"] == 8
    assert run(capsys, "probe", tmp_path / "nothing")[0] == 3


def test_help_lists_the_exit_codes(capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main(["solve", "--help"])
    text = capsys.readouterr().out
    assert caught.value.code == 0 and "exit codes:" in text
    for option in ("--start", "--focal-px", "--rolling-shutter", "--depth-maps", "--mask", "--events"):
        assert option in text


def test_progress_is_throttled_and_estimated(monkeypatch):
    clock = [100.0]
    monkeypatch.setattr(events.time, "monotonic", lambda: clock[0])
    stream = io.StringIO()
    reporter = events.JsonReporter(stream)
    for i in range(1001):
        clock[0] += 0.004
        reporter("track", i, 1000)
    reporter("track", 1000, 1000)
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert 38 <= len(lines) <= 43 and lines[0]["done"] == 0 and lines[-1]["done"] == 1000
    assert lines[0]["eta_s"] is None and lines[-1]["eta_s"] == pytest.approx(4.0, abs=0.5)
    etas = [line["eta_s"] for line in lines if line["eta_s"] is not None]
    assert etas[-1] < etas[0]


def test_events_are_strict_json():
    stream = io.StringIO()
    events.JsonReporter(stream).event("preview", value=float("nan"), rows=[1.0, float("inf")], array=np.arange(2))
    assert json.loads(stream.getvalue(), parse_constant=pytest.fail) == {
        "event": "preview", "value": None, "rows": [1.0, None], "array": [0, 1]
    }  # fmt: skip


def test_text_progress_in_a_file_has_no_control_characters():
    stream = io.StringIO()
    reporter = events.TextReporter(stream)
    for i in range(5):
        reporter("track", i, 4)
    reporter.warn("x", "Mind the gap.")
    reporter.warn("x", "Mind the gap.")
    assert "\r" not in stream.getvalue() and "\033" not in stream.getvalue()
    assert stream.getvalue().count("Mind the gap.") == 1 and "Tracking: 4 of 4" in stream.getvalue()


SLOW_SOLVE = """
import sys, time, types
from solver import cli
def solve(clip, settings, depth, masks, progress):
    progress("track", 1, 8)
    end = time.monotonic() + 30
    while time.monotonic() < end:
        sum(range(1000))
sys.modules["solver.pipeline"] = types.SimpleNamespace(solve=solve)
sys.modules["solver.depth"] = types.SimpleNamespace(open_depth_source=lambda *a: None)
sys.exit(cli.main(sys.argv[1:]))
"""


def start_slow(movie, out, parent_code=None) -> subprocess.Popen:
    arguments = [sys.executable, "-c", SLOW_SOLVE, "solve", movie, "--out", str(out), "--events"]
    if parent_code is not None:
        arguments = [sys.executable, "-c", parent_code, *arguments]
    return subprocess.Popen(arguments, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_end_it_at_once(movie, tmp_path, number):
    process = start_slow(movie, tmp_path / "job")
    while '"track"' not in process.stdout.readline():
        assert process.poll() is None
    began = time.monotonic()
    process.send_signal(number)
    _, err = process.communicate(timeout=10)
    assert process.returncode == 7 and time.monotonic() - began < 1.0
    assert "Cancelled" in err and "Traceback" not in err
    assert sorted(path.name for path in (tmp_path / "job").iterdir()) == ["solver.log"]


@pytest.mark.skipif(os.name == "nt", reason="POSIX processes")
def test_it_ends_with_its_parent(movie, tmp_path):
    parent = textwrap.dedent("""
        import signal, subprocess, sys
        signal.signal(signal.SIGHUP, signal.SIG_DFL)  # ignored under nohup, where the solver outlives its parent on purpose
        child = subprocess.Popen(sys.argv[1:])
        print("child", child.pid, flush=True)
        child.wait()
    """)
    process = start_slow(movie, tmp_path / "job", parent)
    child = int(process.stdout.readline().split()[1])
    while '"track"' not in process.stdout.readline():
        assert process.poll() is None
    process.kill()
    began = time.monotonic()
    while Path(f"/proc/{child}/stat").exists() and Path(f"/proc/{child}/stat").read_text().split(")")[1].split()[0] != "Z":
        assert time.monotonic() - began < 3.0  # a second, and what a busy machine adds
        time.sleep(0.05)


def test_starting_is_quick_and_light():
    code = "import sys, solver.cli as c; c.build_parser(); print('numpy' in sys.modules, 'cv2' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert result.stdout.split() == ["False", "False"]
