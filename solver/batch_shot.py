"""One shot of a batch, in a process of its own: lock, solve unless done, export, scene, pictures for the report, state.

What is finished is kept: a run that was killed between the solve and its exports goes on with the exports.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .batch_list import Shot
from .batch_scene import BLEND, SCENE_FORMATS, make_scene
from .batch_state import Locked, is_solved, lock, read_state, shot_key, write_state
from .errors import EXIT_INPUT, EXIT_INTERNAL, EXIT_OK, EXIT_UNSOLVED, HoldfastError
from .events import Reporter
from .log import RunLog, say, say_environment

EXIT_LOCKED = 75  # between runner and shot only: another run has this shot; come back later


@dataclass(frozen=True)
class Job:
    """What a runner tells the process that solves a shot."""

    shot: Shot
    folder: Path
    threads: int
    exports: tuple[str, ...]
    log_format: str = "text"
    since: float = 0.0  # clock time at which the batch began: a failure after it is not tried again
    blender: str = ""  # makes the scene; empty for none
    force: bool = False  # solve what is done already, unless that was after `since`

    def write(self, path: Path) -> None:
        """Write the job as a file that `read_job` reads, here or on another machine with the same file system."""
        fields = {
            "name": self.shot.name, "clip": self.shot.clip, "options": self.shot.options, "folder": str(self.folder),
            "threads": self.threads, "exports": list(self.exports), "since": self.since, "log_format": self.log_format,
            "blender": self.blender, "force": self.force,
        }  # fmt: skip
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(f".{os.getpid()}.part")
        partial.write_text(json.dumps(fields, indent=1), encoding="utf-8")
        os.replace(partial, path)


def read_job(path: str) -> Job:
    """Read a job file. Raises HoldfastError when it is none."""
    try:
        fields = json.loads(Path(path).read_text(encoding="utf-8"))
        shot = Shot(fields["name"], fields["clip"], fields["options"])
        return Job(
            shot, Path(fields["folder"]), fields["threads"], tuple(fields["exports"]), fields["log_format"], fields["since"],
            fields["blender"], fields["force"],
        )  # fmt: skip
    except (OSError, ValueError, KeyError) as error:
        raise HoldfastError("batch.job", f"{path} is no job of a batch.", "Start batches with `batch`.", EXIT_INPUT) from error


def solve_arguments(job: Job) -> list[str]:
    """The `solve` command line of a job."""
    arguments = ["solve", job.shot.clip, "--out", str(job.folder), f"--threads={job.threads}", f"--log-format={job.log_format}"]
    for key, value in job.shot.options.items():
        if value is not None:
            arguments.append(f"--{key.replace('_', '-')}={value}")
    return arguments


def wanted_exports(job: Job) -> list[str]:
    """What a finished shot has beside its solve; the scene counts as one."""
    return [*job.exports, *([BLEND] if job.blender else [])]


def run_shot(job: Job, reporter: Reporter, log: RunLog) -> int:
    """Solve a shot unless its results are there already; returns the exit code and leaves `shot.json`. Raises Locked."""
    with lock(job.folder):
        before = read_state(job.folder)
        key = shot_key(job.shot, before.get("key"))
        ended = before.get("finished_at", 0.0)
        solved = is_solved(job.folder, key) and not (job.force and ended < job.since)
        missing = [name for name in wanted_exports(job) if not solved or name not in before.get("exports", [])]
        if solved and not missing and before.get("status") == "done" and before["key"] == key:
            return EXIT_OK
        if before.get("status") == "failed" and before["key"] == key and ended > job.since:
            return int(before.get("exit_code") or EXIT_INTERNAL)  # another run tried it while this one was under way
        state: dict[str, Any] = {
            "schema": 2, "name": job.shot.name, "clip": job.shot.clip, "options": job.shot.options, "key": key,
            "status": "running", "host": socket.gethostname(), "pid": os.getpid(), "started": _now(),
            "started_at": round(time.time(), 3), "threads": job.threads, "solved_now": not solved,
        }  # fmt: skip
        if solved:
            kept = ("solved", "frames", "exports", "pictures", "stages", "peak_memory_mb", "total_seconds")
            state |= {name: before[name] for name in kept if name in before}
        write_state(job.folder, state)
        began = time.monotonic()
        code = _attempt(job, state, missing, reporter, log)
        seconds = time.monotonic() - began
        state |= {
            "seconds": round(seconds, 3),
            "total_seconds": round(seconds + (state.get("total_seconds", 0.0) if solved else 0.0), 3),
            "peak_memory_mb": max(peak_memory_mb() or 0.0, state.get("peak_memory_mb") or 0.0) or None,
            "exit_code": code,
            **ended_now(),
        }
        write_state(job.folder, state)
        return code


def _attempt(job: Job, state: dict[str, Any], missing: list[str], reporter: Reporter, log: RunLog) -> int:
    """Do what is still to do; failures become the shot's state."""
    try:
        if not state.get("solved"):
            _solve(job, state, reporter, log)
        elif log.path is None:
            log.open_in(job.folder, append=True)
        _finish(job, state, missing, reporter)
        return EXIT_OK
    except HoldfastError as error:
        state |= {"status": "failed", "error": {"code": error.code, "message": error.message, "hint": error.hint}}
        _log_failure(job, log, f"{error.code}: {error.message} {error.hint}")
        reporter.error(error)
        return error.exit_code
    except Exception as error:
        where = log.bug()
        state |= {
            "status": "failed",
            "error": {"code": "internal", "message": f"A bug in Holdfast ({type(error).__name__}).", "hint": f"Details: {where}"},
        }
        return EXIT_INTERNAL


def _solve(job: Job, state: dict[str, Any], reporter: Reporter, log: RunLog) -> None:
    from . import __version__
    from .cli import build_parser, check_solve_options
    from .solve_command import solve_clip

    arguments = solve_arguments(job)
    options = build_parser().parse_args(arguments)
    check_solve_options(options)
    say_environment(__version__, arguments)
    document = solve_clip(options, reporter, log)
    state["frames"] = len(document["frames"])
    if document["verdict"]["status"] == "failed":
        raise HoldfastError("solve.failed", document["verdict"]["summary"], "See the shot's solver.log.", EXIT_UNSOLVED)
    state["solved"] = True
    write_state(job.folder, state)


def _finish(job: Job, state: dict[str, Any], missing: list[str], reporter: Reporter) -> None:
    """Exports, scene and pictures of a solved shot; then it is done. What is made is noted at once."""
    from .batch_pictures import write_pictures
    from .export import export_solution

    made = state.setdefault("exports", [])
    stages = state.setdefault("stages", {})
    total = max(len(missing), 1)

    def note(stage: str, began: float, *names: str) -> None:
        stages[stage] = round(stages.get(stage, 0.0) + time.monotonic() - began, 3)
        say(f"{stage}: {', '.join(names) or 'done'}, {time.monotonic() - began:.2f} s", stage=stage)
        made.extend(name for name in names if name not in made)
        made.sort()
        write_state(job.folder, state)

    for i, name in enumerate(name for name in missing if name != BLEND and name not in SCENE_FORMATS):
        reporter("export", i, total)
        began = time.monotonic()
        export_solution(str(job.folder), name)
        note("export", began, name)
    in_blender = [name for name in missing if name in SCENE_FORMATS]
    if in_blender or BLEND in missing:
        reporter("scene", total - 1, total)
        began = time.monotonic()
        make_scene(job.blender, job.folder, job.shot.clip, job.shot.name, in_blender)
        note("scene", began, BLEND, *in_blender)
    began = time.monotonic()
    if not state.get("pictures"):
        state["pictures"] = write_pictures(job.folder)
        note("pictures", began)
    state["status"] = "done"
    state.pop("error", None)
    write_state(job.folder, state)


def _log_failure(job: Job, log: RunLog, text: str) -> None:
    """A shot's log exists even when its clip could not be opened."""
    from logging import getLogger

    getLogger("solver").error(text)
    if log.path is None:
        log.open_in(job.folder)


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def ended_now() -> dict[str, Any]:
    """The times that a state of an ended shot carries."""
    return {"finished": _now(), "finished_at": round(time.time(), 3)}


def peak_memory_mb() -> float | None:
    """Peak resident memory of this process; None where the system does not say."""
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (1024 * 1024 if sys.platform == "darwin" else 1024), 1)


def add_shot_parser(commands: argparse._SubParsersAction) -> None:
    """`batch-shot JOB`: what runners start, on this machine or another."""
    parser = commands.add_parser("batch-shot", description="Solve one shot of a batch (started by `batch`).")
    parser.add_argument("job", metavar="JOB")
    parser.add_argument("--events", action="store_true")
    parser.add_argument("--log-format", choices=("text", "json"), default="text")
    parser.add_argument("--wait", action="store_true", help="wait while another run has the shot")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace, reporter: Reporter, log: RunLog) -> int:
    job = read_job(options.job)
    from .cli import begin_work

    begin_work()
    while True:
        try:
            return run_shot(job, reporter, log)
        except Locked:
            if not options.wait:
                return EXIT_LOCKED
            time.sleep(1.0)
