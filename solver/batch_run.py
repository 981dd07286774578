"""Running the jobs of a batch on this machine: a process per shot, within a budget of threads and memory."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .batch_shot import EXIT_LOCKED, Job, ended_now, wanted_exports
from .batch_state import is_solved, read_state, settings_hash, stat_signature, write_state
from .errors import EXIT_OK, HoldfastError
from .lifetime import on_end

# Resident memory of a solve, generously: 72 frames of 960x540 with a small network peak at 260 MB.
_BASE_MB, _PER_MEGAPIXEL_MB = 300.0, 250.0
_BLENDER_MB = 400.0  # an empty Blender without a window and a scene of some thousand points
_LOCKED_PAUSE_S = 1.0
ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Outcome:
    """How a shot ended: status "done", "skipped" (its results were there) or "failed"."""

    job: Job
    status: str


def command_line(job_file: Path, *extra: str, python: str | None = None) -> list[str]:
    """The process that solves one shot; it finds this package by path, so nothing must be installed for it."""
    start = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from {__package__}.cli import main; sys.exit(main(sys.argv[1:]))"
    return [python or sys.executable, "-c", start, "batch-shot", str(job_file), *extra]


def skip_without_looking(job: Job) -> bool:
    """True when no file, setting or export of a finished shot has changed: no process is needed to find that out."""
    state = read_state(job.folder)
    key = state.get("key", {})
    if job.force or state.get("status") != "done" or key.get("settings") != settings_hash(job.shot):
        return False
    return (
        key.get("stat") == stat_signature(job.shot)
        and is_solved(job.folder, key)
        and set(wanted_exports(job)) <= set(state.get("exports", []))
    )


def estimate_mb(job: Job) -> float:
    """Memory a shot will want, from its picture size; the base figure where that cannot be told yet."""
    from . import sequence

    import cv2  # isort: skip  after .sequence, which sets its switches

    try:
        files = sequence.find_sequence(job.shot.clip)
        if files is not None:
            size = sequence.check_sizes(dict([next(iter(files.files.items()))]))
            pixels = size.width * size.height
        else:
            capture = cv2.VideoCapture(job.shot.clip, cv2.CAP_FFMPEG)
            pixels = capture.get(cv2.CAP_PROP_FRAME_WIDTH) * capture.get(cv2.CAP_PROP_FRAME_HEIGHT)
            capture.release()
    except HoldfastError:
        pixels = 0
    return _BASE_MB + _PER_MEGAPIXEL_MB * pixels / 1e6 + (_BLENDER_MB if job.blender else 0.0)


def available_memory_mb() -> float:
    """Memory that may be used now; 4 GB where the system does not say."""
    try:
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return float(line.split()[1]) / 1024
    except (OSError, ValueError, IndexError):
        pass
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1048576 * 0.6
    except (AttributeError, ValueError, OSError):
        return 4096.0


@dataclass
class _Running:
    job: Job
    process: subprocess.Popen
    need_mb: float
    finished_before: Any
    tail: deque


def run_local(
    jobs: list[Job], job_files: dict[str, Path], workers: int, memory_mb: float, on_event: Callable[[Job, dict[str, Any]], None]
) -> Iterator[Outcome]:
    """Solve jobs, `workers` at a time at most and within `memory_mb`; yields each as it ends.

    on_event: told of the events (progress, warning) of running shots, from another thread. A shot that needs more than the whole
    budget runs alone. Shots that another run has locked are taken up again until they are free.
    """
    waiting: deque[tuple[float, Job]] = deque((0.0, job) for job in jobs)
    running: dict[str, _Running] = {}
    ended: queue.Queue[str] = queue.Queue()

    def stop_all() -> None:
        for shot in list(running.values()):
            shot.process.send_signal(signal.SIGTERM)

    take_back = on_end(stop_all)
    try:
        while waiting or running:
            _start_some(waiting, running, ended, job_files, workers, memory_mb, on_event)
            try:
                name = ended.get(timeout=0.2)
            except queue.Empty:
                continue
            shot = running.pop(name)
            code = shot.process.wait()
            if code == EXIT_LOCKED:
                waiting.append((time.monotonic() + _LOCKED_PAUSE_S, shot.job))
                continue
            yield Outcome(shot.job, settle(shot.job, code, shot.finished_before, list(shot.tail)))
    finally:
        stop_all()
        take_back()


def _start_some(waiting, running, ended, job_files, workers, memory_mb, on_event) -> None:
    """Start what the budget allows, in order; locked shots wait out their pause."""
    for _ in range(len(waiting)):
        if len(running) >= workers:
            return
        not_before, job = waiting[0]
        if not_before > time.monotonic():
            waiting.rotate(-1)
            continue
        need = estimate_mb(job)
        if running and sum(shot.need_mb for shot in running.values()) + need > memory_mb:
            return
        waiting.popleft()
        process = subprocess.Popen(
            command_line(job_files[job.shot.name], "--events", "--log-format", job.log_format), stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
        )  # fmt: skip
        shot = _Running(job, process, need, read_state(job.folder).get("finished_at"), deque(maxlen=8))
        running[job.shot.name] = shot
        threading.Thread(target=_listen, args=(shot, ended, on_event), daemon=True, name=f"holdfast-{job.shot.name}").start()


def _listen(shot: _Running, ended: queue.Queue, on_event) -> None:
    """Pass a process's events on, keep what else it says, and tell when it has ended."""
    assert shot.process.stdout is not None
    try:
        for line in shot.process.stdout:
            try:
                event = json.loads(line)
            except ValueError:
                event = None
            if isinstance(event, dict) and "event" in event:
                on_event(shot.job, event)
            elif line.strip():
                shot.tail.append(line.strip())
        shot.process.wait()
    finally:
        ended.put(shot.job.shot.name)


def settle(job: Job, code: int, finished_before: Any, tail: list[str]) -> str:
    """The status of an ended shot; one whose process died without a word gets its failure written here."""
    state = read_state(job.folder)
    if code == EXIT_OK and state.get("status") == "done":
        return "skipped" if state.get("finished_at") == finished_before else "done"
    if state.get("status") != "failed" or code < 0:
        if code == -9 or code == 137:
            why, hint = (
                "The solve was killed by the system.",
                "It probably ran out of memory: try --jobs 1, or a shorter range.",
            )
        else:
            why = f"The solve ended unexpectedly (code {code})."
            hint = tail[-1] if tail else "See the shot's solver.log."
        job.folder.mkdir(parents=True, exist_ok=True)
        error = {"code": "batch.crashed", "message": why, "hint": hint}
        known = {"name": job.shot.name, "clip": job.shot.clip, "status": "failed", "error": error, "exit_code": code}
        write_state(job.folder, state | known | ended_now())
    return "failed"
