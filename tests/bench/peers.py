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

from tests.bench.footage import length_of
from tests.bench.metrics import Cameras, load_cameras

ROOT = Path(__file__).resolve().parent.parent.parent
TIME_LIMIT_S = 1800.0
NEAR_OVER_FAR = 4.0  # of the tilted plane


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


COLMAP = (sys.executable, "-m", "tests.bench.peer_colmap", "{clip}", "{out}", "--store", "{store}", "--mapper")
HOLDFAST = ("{python}", "-m", "solver", "solve", "{clip}", "--out", "{out}", "--seed", "0")
PEERS: dict[str, Peer] = {
    "holdfast": Peer("Holdfast", HOLDFAST),
    "holdfast-draft": Peer("Holdfast, draft", (*HOLDFAST, "--quality", "draft")),
    "holdfast-best": Peer("Holdfast, best", (*HOLDFAST, "--quality", "best")),
    "holdfast-none": Peer("no depth, essential matrix", (*HOLDFAST, "--depth-model", "none", "--start-by", "essential")),
    "holdfast-flat": Peer("no depth, points at one distance", (*HOLDFAST, "--depth-model", "none")),
    "holdfast-depth-start": Peer("depth in the start alone", (*HOLDFAST, "--depth-use", "start")),
    "holdfast-plane": Peer("a tilted plane for depth", (*HOLDFAST, "--depth-maps", "{plane}")),
    "holdfast-seed": Peer("Holdfast with another seed: what is noise", (*HOLDFAST, "--seed", "1")),
    "holdfast-mask": Peer("Holdfast with masks", (*HOLDFAST, "--mask", "{mask}")),
    "colmap": Peer("COLMAP incremental", (*COLMAP, "incremental")),
    "colmap-global": Peer("COLMAP global", (*COLMAP, "global")),
    "blender": Peer("Blender's tracker", ("{python}", "-m", "tests.bench.peer_blender", "{clip}", "{out}")),
}


def holdfast_with(model: str) -> Peer:
    """Holdfast with one of its other depth networks, by id or path."""
    return Peer(f"Holdfast, {Path(model).stem}", (*HOLDFAST, "--depth-model", model))


def network_of(name: str) -> str | None:
    """The network of `holdfast:NETWORK` or `holdfast-net:NETWORK`, an id or a path; None for other peers."""
    before, colon, network = name.partition(":")
    return network if colon and before in ("holdfast", "holdfast-net") else None


def find_peer(name: str) -> Peer:
    """A peer by name; `holdfast:NETWORK` is Holdfast with that depth network. Raises KeyError."""
    network = network_of(name)
    return holdfast_with(network) if network else PEERS[name]


def short_name(name: str) -> str:
    """A peer's name for tables: a network's path gives way to its stem."""
    network = network_of(name)
    return f"holdfast:{Path(network).stem}" if network else name


def write_plane(clip: Path, folder: Path) -> None:
    """Depth maps that know nothing of the picture: the lower, the nearer. A control for depth networks."""
    frames, _ = length_of(clip)
    folder.mkdir(parents=True, exist_ok=True)
    rows = np.linspace(1, NEAR_OVER_FAR, 36, dtype=np.float32)  # disparity
    for frame in range(frames):
        np.save(folder / f"{frame:06d}.npy", np.repeat(rows[:, None], 64, axis=1))
    (folder / "depth.json").write_text(json.dumps({"kind": "disparity"}))


def solve(
    name: str,
    shot_name: str,
    clip: Path,
    out: Path,
    mask: Path | None = None,
    solver_root: Path = ROOT,
    time_limit_s: float = TIME_LIMIT_S,
    store: Path | None = None,
) -> Run:
    """Run a peer on a clip and read its result. Never raises for the peer's own failures.

    solver_root: the checkout whose solver runs, so that two versions can be compared on the same shots.
    store: where COLMAP's two mappers share what comes before mapping; its time counts for both.
    """
    peer = find_peer(name)
    out.mkdir(parents=True, exist_ok=True)
    result = out / "solve.json"
    result.unlink(missing_ok=True)
    places = {"python": os.environ.get("HOLDFAST_PYTHON", sys.executable), "clip": str(clip), "out": str(out), "mask": str(mask)}
    store = store or out / "store"
    places |= {"plane": str(out / "plane"), "store": str(store)}
    if name == "holdfast-plane":
        write_plane(clip, out / "plane")
    command = [part.format(**places) for part in peer.command]
    before_s, before_mb = _done_before(store) if "{store}" in peer.command else (0.0, 0.0)
    run = Run(name, shot_name)
    log = out / "bench.log"
    started = time.monotonic()
    with log.open("wb") as sink:
        code, run.peak_mb = _watch(
            command, sink, solver_root if name.startswith("holdfast") else ROOT, max(1.0, time_limit_s - before_s)
        )
    run.wall_s = before_s + time.monotonic() - started
    run.peak_mb = max(run.peak_mb or 0.0, before_mb) or None
    tail = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    if not result.exists():
        run.note = (tail[-1] if tail else "said nothing")[:200] + f" (exit {code})"
        if run.wall_s >= time_limit_s:
            run.note = f"stopped after {time_limit_s:.0f} s; last: {run.note}"
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


def _done_before(store: Path) -> tuple[float, float]:
    """(seconds, peak MB) that the stages took which an earlier run left in the store."""
    done = store / "done.json"
    kept = json.loads(done.read_text()) if done.exists() else {"timings": {}, "peak_mb": 0.0}
    return sum(kept["timings"].values()), kept["peak_mb"] or 0.0


def _watch(command: list[str], sink: BinaryIO, folder: Path, limit_s: float) -> tuple[int, float | None]:
    """Run to the end or to the limit; (exit code, peak resident memory in MB where the system tells)."""
    # as where a peer is installed: what Python compiled once it finds again
    kept = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    process = subprocess.Popen(command, stdout=sink, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, cwd=folder, env=kept)
    deadline = time.monotonic() + limit_s
    # Not what wait4 says of the child: there it begins with the bench's own memory, from before the program was loaded.
    status = Path(f"/proc/{process.pid}/status")
    peak_mb = None
    while process.poll() is None:
        if time.monotonic() > deadline:
            process.kill()
            deadline = float("inf")
        peak_mb = _high_water_mb(status) or peak_mb
        time.sleep(0.01)
    return process.returncode, peak_mb


def _high_water_mb(status: Path) -> float | None:
    """Most memory a process has held so far, from its status file on Linux."""
    try:
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
    except (OSError, StopIteration):
        return None
    return int(line.split()[1]) / 1024


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
