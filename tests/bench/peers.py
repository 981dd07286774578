"""Runs each solver on a shot in a process of its own and reads what it found, with its time and memory.

Every peer writes solve.json with Holdfast's keys; what it cost is measured from outside, the same way for all.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np

from tests.bench.metrics import Cameras, load_cameras

ROOT = Path(__file__).resolve().parent.parent.parent
TIME_LIMIT_S = 1800


@dataclass
class Run:
    """One peer on one shot. cameras is None where it found nothing; then `note` says what it said."""

    peer: str
    shot: str
    cameras: Cameras | None = None
    wall_s: float = 0.0
    peak_mb: float | None = None
    stages_s: dict[str, float] = field(default_factory=dict)
    note: str = ""
    solve: dict = field(default_factory=dict)


@dataclass(frozen=True)
class Peer:
    """How a solver is called: {clip}, {out} and {python} (of the main environment) are filled in."""

    title: str
    command: tuple[str, ...]


COLMAP = (sys.executable, "-m", "tests.bench.peer_colmap", "{clip}", "{out}", "--mapper")
HOLDFAST = ("{python}", "-m", "solver", "solve", "{clip}", "--out", "{out}", "--seed", "0")
PEERS: dict[str, Peer] = {
    "holdfast": Peer("Holdfast", HOLDFAST),
    "holdfast-draft": Peer("Holdfast, draft", (*HOLDFAST, "--quality", "draft")),
    "holdfast-best": Peer("Holdfast, best", (*HOLDFAST, "--quality", "best")),
    "holdfast-none": Peer("Holdfast without depth", (*HOLDFAST, "--depth-model", "none")),
    "holdfast-mask": Peer("Holdfast with masks", (*HOLDFAST, "--mask", "{mask}")),
    "colmap": Peer("COLMAP incremental", (*COLMAP, "incremental")),
    "colmap-global": Peer("COLMAP global", (*COLMAP, "global")),
    "blender": Peer("Blender's tracker", ("{python}", "-m", "tests.bench.peer_blender", "{clip}", "{out}")),
}


def holdfast_with(model: str) -> Peer:
    """Holdfast with one of its other depth networks, by id or path."""
    return Peer(f"Holdfast, {Path(model).stem}", (*HOLDFAST, "--depth-model", model))


def find_peer(name: str) -> Peer:
    """A peer by name; `holdfast:NETWORK` is Holdfast with that depth network. Raises KeyError."""
    return holdfast_with(name.split(":", 1)[1]) if name.startswith("holdfast:") else PEERS[name]


def short_name(name: str) -> str:
    """A peer's name for tables: a network's path gives way to its stem."""
    return f"holdfast:{Path(name.split(':', 1)[1]).stem}" if name.startswith("holdfast:") else name


def solve(name: str, shot_name: str, clip: Path, out: Path, mask: Path | None = None, solver_root: Path = ROOT) -> Run:
    """Run a peer on a clip and read its result. Never raises for the peer's own failures.

    solver_root: the checkout whose solver runs, so that two versions can be compared on the same shots.
    """
    peer = find_peer(name)
    out.mkdir(parents=True, exist_ok=True)
    result = out / "solve.json"
    result.unlink(missing_ok=True)
    places = {"python": os.environ.get("HOLDFAST_PYTHON", sys.executable), "clip": str(clip), "out": str(out), "mask": str(mask)}
    command = [part.format(**places) for part in peer.command]
    run = Run(name, shot_name)
    log = out / "bench.log"
    started = time.monotonic()
    with log.open("wb") as sink:
        code, run.peak_mb = _watch(command, sink, solver_root if name.startswith("holdfast") else ROOT)
    run.wall_s = time.monotonic() - started
    tail = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    if not result.exists():
        run.note = (tail[-1] if tail else "said nothing")[:200] + f" (exit {code})"
        return run
    run.solve = {k: v for k, v in json.loads(result.read_text()).items() if k not in ("frames",)}
    run.stages_s = {k: float(v) for k, v in run.solve.get("timings", {}).items() if isinstance(v, (int, float)) and k != "total"}
    cameras = load_cameras(result)
    if not cameras.c2w:
        run.note = (tail[-1] if tail else "no camera")[:200]
        return run
    run.cameras = cameras
    cameras.observed = observed_points(out)
    return run


def _watch(command: list[str], sink: BinaryIO, folder: Path) -> tuple[int, float | None]:
    """Run to the end; (exit code, peak resident memory of the largest process in MB where the system tells)."""
    process = subprocess.Popen(command, stdout=sink, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, cwd=folder)
    deadline = time.monotonic() + TIME_LIMIT_S
    if not hasattr(os, "wait4"):
        return process.wait(TIME_LIMIT_S), None
    while True:
        pid, status, usage = os.wait4(process.pid, os.WNOHANG)
        if pid:
            process.returncode = os.waitstatus_to_exitcode(status)
            scale = 1e6 if sys.platform == "darwin" else 1e3
            return process.returncode, usage.ru_maxrss / scale
        if time.monotonic() > deadline:
            process.kill()
            deadline = float("inf")
        time.sleep(0.05)


def observed_points(out: Path) -> dict[int, np.ndarray]:
    """Per frame, the solved points it sees: from a peer's observed.npz, or from Holdfast's points and tracks."""
    if (out / "observed.npz").exists():
        with np.load(out / "observed.npz") as data:
            return {int(k): data[k] for k in data.files}
    if not ((out / "points.npz").exists() and (out / "tracks.npz").exists()):
        return {}
    with np.load(out / "points.npz") as points, np.load(out / "tracks.npz") as tracks:
        xyz, point_of_track = points["xyz"].astype(float), tracks["point"]
        numbers, frame_index, track = tracks["frame_numbers"], tracks["frame_index"], tracks["track"]
    point = point_of_track[track]
    return {int(n): xyz[point[(frame_index == i) & (point >= 0)]] for i, n in enumerate(numbers)}
