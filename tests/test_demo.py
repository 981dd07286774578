"""The demo as a newcomer runs it, on geometry alone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
pytest.importorskip("bpy")


def demo(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = dict(os.environ, HOLDFAST_PYTHON=sys.executable)
    command = [sys.executable, "-m", "tests.demo.run_demo", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL)


@pytest.mark.slow
def test_demo_makes_everything_it_names(tmp_path):
    (tmp_path / "frames").mkdir()
    (tmp_path / "frames" / "lock_000999.png").touch()  # of another clip, shown here before
    done = demo("--out", str(tmp_path), "--depth-model", "none", "--size", "320x180")
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert len(list((tmp_path / "frames").glob("*.png"))) == 4
    for name in ("sample.blend", "overview.png", "solve/solve.json"):
        assert (tmp_path / name).stat().st_size > 1000
    assert "prop slip" in done.stdout and "48 of 48" in done.stdout
    assert "Fra:" not in done.stdout


def test_demo_of_a_missing_clip_is_one_line(tmp_path):
    done = demo("--clip", str(tmp_path / "none.mp4"), "--out", str(tmp_path / "out"))
    assert done.returncode == 3
    assert done.stderr.strip().count("\n") == 0 and "none.mp4" in done.stderr
    assert not (tmp_path / "out").exists()
