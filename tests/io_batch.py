"""Batches in real processes for the tests: clips, the command line, and an exact synthetic solve in the place of the real one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

# Loaded by every Python the batch starts: the stages behind the command line are replaced, everything else is the real thing.
STAND_IN = """
import os, sys, time, types
def solve(clip, settings, depth, masks, progress):
    from tests.io_synthetic import make_solution
    with open(os.environ["SOLVES"], "a") as stream:
        stream.write(os.path.basename(clip.info.path) + "\\n")
    progress("track", 1, 2)
    time.sleep(float(os.environ.get("SOLVE_SECONDS", "0")))
    if "crash" in clip.info.path:
        os.kill(os.getpid(), 9)
    progress("track", 2, 2)
    return make_solution(frames=clip.info.frames, path=clip.info.path, size=(clip.info.width, clip.info.height))
sys.modules["solver.pipeline"] = types.SimpleNamespace(solve=solve)
sys.modules["solver.depth"] = types.SimpleNamespace(open_depth_source=lambda *a: None)
"""


class Place:
    """A folder of clips, an output folder and a way to run batches over them."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.out, self.clips, self.solves_file = folder, folder / "out", folder / "clips", folder / "solves.txt"
        self.clips.mkdir()
        (folder / "site").mkdir()
        (folder / "site" / "sitecustomize.py").write_text(STAND_IN)
        self.environment = {**os.environ, "PYTHONPATH": f"{folder / 'site'}{os.pathsep}{ROOT}", "SOLVES": str(self.solves_file)}

    def start(self, *options, source=None, **environment) -> subprocess.Popen:
        command = [
            sys.executable,
            "-m",
            "solver",
            "batch",
            str(source or self.clips),
            "--out",
            str(self.out),
            "--events",
            *options,
        ]
        return subprocess.Popen(
            command, cwd=ROOT, env={**self.environment, **environment}, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )

    def run(self, *options, **keywords) -> tuple[int, list[dict]]:
        process = self.start(*options, **keywords)
        out, err = process.communicate(timeout=40)
        assert "Traceback" not in out + err, err
        return process.returncode, [json.loads(line) for line in out.splitlines()]

    def solves(self) -> list[str]:
        return self.solves_file.read_text().split() if self.solves_file.exists() else []

    def report(self) -> dict:
        return json.loads((self.out / "report.json").read_text())


def wait_for(condition, seconds=20.0):
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < seconds
        time.sleep(0.05)
