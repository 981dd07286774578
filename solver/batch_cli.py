"""The `batch` command: a list of shots in, a folder per shot and a report out."""

from __future__ import annotations

import argparse
import os
import shutil
import socket
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from .batch_list import OPTIONS, read_shots
from .batch_shot import Job
from .errors import EXIT_OK, EXIT_OUTPUT, EXIT_USAGE, HoldfastError
from .events import Reporter
from .log import RunLog

EXIT_BATCH = 100  # added to the usual exit codes when the batch itself, not a shot, is at fault
MAX_FAILED_CODE = 99

HELP = f"""\
A folder: every movie in it, every folder of images, every numbered sequence.

A CSV has one row per shot:
  clip,name,range,lens,motion,mask,network,quality
  sh010/plate.mov,sh010,,35/24.9,,,,
  sh020/plate.####.exr,sh020,1001-1080,varying,free,sh020/mask,holdfast-small,best

A TOML has defaults too:
  [defaults]
  quality = "best"
  [[shot]]
  clip = "sh010/plate.mov"
  range = "0-80"
  lens = "35/24.9"      # focal length / sensor width in mm; or 1450px; or varying

Further columns and keys: {", ".join(OPTIONS)}.
Paths are relative to the list. What a shot says wins over the list's defaults, these over the command line's.

Run it again to go on where it was: shots whose pictures and settings are unchanged are skipped. Several runs may
work on one folder at the same time, on one machine or on many that share it.

exit codes:
  0        every shot is solved
  1 .. 99  so many shots failed (99: 99 or more); the report says why
  102      options that do not fit together
  103      the shot list cannot be used, no Dask scheduler answers, or there is no such Blender
  105      the results cannot be written
  101,107  a bug; cancelled
"""


def add_batch_parser(commands: argparse._SubParsersAction) -> None:
    """Add `batch` (and the command that it starts its shots with)."""
    from .batch_scene import SCENE_FORMATS
    from .batch_shot import add_shot_parser
    from .cli import EXPORT_FORMATS, add_solve_options

    batch = commands.add_parser(
        "batch", help="track many shots", description="Track many shots and report on them. " + HELP.split("\n")[0],
        epilog=HELP, formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    batch.add_argument("shots", metavar="LIST_OR_FOLDER", help="a shot list (.csv, .toml) or a folder of clips")
    batch.add_argument("--out", metavar="OUT", required=True, help="folder for the results: one folder per shot, and the report")
    batch.add_argument("--jobs", metavar="N", type=int, default=0, help="shots at the same time (default: what the cores allow)")
    batch.add_argument(
        "--memory", metavar="GB", type=float, default=0, help="memory for all shots together (default: most of what is free)"
    )
    batch.add_argument(
        "--export", metavar="FORMATS", default="all",
        help=f"exports per shot, comma-separated: {', '.join(EXPORT_FORMATS)}; with --blender also {', '.join(SCENE_FORMATS)}; "
        "all (default) or none",
    )  # fmt: skip
    batch.add_argument(
        "--blender", metavar="PATH",
        help="make a .blend of every shot with this Blender (4.2 or newer, or a Python with bpy; on Dask workers the same path)",
    )  # fmt: skip
    batch.add_argument("--force", action="store_true", help="solve again what is done already")
    batch.add_argument("--dask", metavar="ADDRESS", help="solve on the workers of this Dask scheduler, e.g. tcp://host:8786")
    batch.add_argument("--dask-python", metavar="PATH", help="Python to use on the workers (default: this one's path)")
    batch.add_argument("--events", action="store_true", help="say progress and results as JSON, one object per line")
    batch.add_argument(
        "--log-format", choices=("text", "json"), default="text", help="form of the shots' solver.log (default: text)"
    )
    add_solve_options(batch)
    batch.set_defaults(run=run_batch)
    add_shot_parser(commands)


def run_batch(options: argparse.Namespace, reporter: Reporter, log: RunLog) -> int:
    """Run a batch; returns the number of failed shots (99 at most), or 100 and more when the batch itself is at fault."""
    from .lifetime import install_signal_handlers, set_cancel_exit_code, watch_parent
    from .report import prepare_output

    set_cancel_exit_code(EXIT_BATCH + 7)
    install_signal_handlers()
    watch_parent()
    out = Path(options.out).expanduser().resolve()
    blender, scene_formats = _blender(options)
    exports = _exports(options.export, scene_formats)
    jobs = [replace(job, blender=blender, force=options.force) for job in make_jobs(options, out, exports)]
    prepare_output(out)
    workers, threads = share_cores(options.jobs, options.threads, len(jobs))
    jobs = [replace(job, threads=threads, since=time.time()) for job in jobs]
    return Batch(options, reporter, out, jobs, workers).run()


def _blender(options: argparse.Namespace) -> tuple[str, tuple[str, ...]]:
    """(the Blender to use as the workers will find it, the formats it writes); empty for none."""
    from .batch_scene import SCENE_FORMATS, check_blender

    if not options.blender:
        return "", ()
    return (options.blender, SCENE_FORMATS) if options.dask else check_blender(options.blender)


def _exports(text: str, scene_formats: tuple[str, ...]) -> tuple[str, ...]:
    """The formats of --export. Raises HoldfastError (usage.options) for one that there is not, or that no Blender writes here.

    scene_formats: what the Blender of this batch can write.
    """
    from .batch_scene import SCENE_FORMATS
    from .cli import EXPORT_FORMATS

    if text == "none":
        return ()
    if text == "all":  # points.ply is among a solve's results anyway
        return tuple(name for name in (*EXPORT_FORMATS, *scene_formats) if name != "ply")
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    for name in names:
        if name not in (*EXPORT_FORMATS, *SCENE_FORMATS):
            known = ", ".join((*EXPORT_FORMATS, *SCENE_FORMATS))
            raise HoldfastError(
                "usage.options", f"There is no export {name!r}.", f"Choose from {known}, all or none.", EXIT_USAGE
            )
        if name in SCENE_FORMATS and name not in scene_formats:
            what, hint = f"Only Blender can write {name}.", "Name one with --blender, or run the batch inside Blender."
            if scene_formats:
                what, hint = f"This Blender was built without {name}.", "Use one from blender.org, or leave that export out."
            raise HoldfastError("usage.options", what, hint, EXIT_USAGE)
    return names


def make_jobs(options: argparse.Namespace, out: Path, exports: tuple[str, ...]) -> list[Job]:
    """The jobs of the list, with the command line's options as defaults. Raises HoldfastError (batch.*, usage.*)."""
    from .cli import check_solve_options

    check_solve_options(options)
    plain = {"step": 1, "focal": "auto", "distortion": "auto", "rolling_shutter": "auto", "motion": "auto", "steady": "auto",
             "device": "auto", "quality": "standard", "seed": 0}  # fmt: skip
    defaults = {key: getattr(options, key) for key in OPTIONS}
    defaults = {key: value for key, value in defaults.items() if value is not None and value != plain.get(key)}
    for key in ("mask", "depth_maps"):
        if key in defaults:
            defaults[key] = os.path.abspath(defaults[key])
    shots = read_shots(options.shots, defaults)
    return [Job(_absolute(shot), out / shot.name, 1, exports, options.log_format) for shot in shots]


def _absolute(shot: Any) -> Any:
    """Paths that mean the same in any process, on any machine."""
    paths = {key: os.path.abspath(shot.options[key]) for key in ("mask", "depth_maps") if shot.options.get(key)}
    network = str(shot.options.get("depth_model") or "")
    if network.lower().endswith(".onnx"):
        paths["depth_model"] = os.path.abspath(network)
    return replace(shot, clip=os.path.abspath(os.path.expanduser(shot.clip)), options={**shot.options, **paths})


def share_cores(jobs: int, threads: int, shots: int) -> tuple[int, int]:
    """(shots at the same time, threads for each). A solve uses two cores well and more of them poorly."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if jobs <= 0:
        jobs = max(1, cores // (threads or 2))
    jobs = max(1, min(jobs, shots))
    return jobs, threads or max(1, cores // jobs)


class Batch:
    """One run over the jobs: runs them, says how it goes, keeps the report up to date."""

    def __init__(self, options: argparse.Namespace, reporter: Reporter, out: Path, jobs: list[Job], workers: int) -> None:
        self._options, self._reporter, self._out, self._jobs, self._workers = options, reporter, out, jobs, workers
        self._this_run: dict[str, str] = {}
        self._began = time.monotonic()
        self._reported = 0.0

    def run(self) -> int:
        """Solve what is not solved yet; returns the exit code."""
        from .batch_run import skip_without_looking
        from .lifetime import on_end

        files = {}
        orders = self._out / ".batch" / f"{socket.gethostname()}-{os.getpid()}"  # each run its own
        take_back = on_end(lambda: shutil.rmtree(orders, ignore_errors=True))
        for job in self._jobs:
            files[job.shot.name] = orders / f"{job.shot.name}.json"
            try:
                job.write(files[job.shot.name])
            except OSError as error:
                why = (error.strerror or str(error)).lower()
                raise HoldfastError(
                    "output.unwritable", f"{self._out} cannot be written ({why}).", "Choose another --out.", EXIT_OUTPUT
                ) from error
        todo = []
        for job in self._jobs:
            if skip_without_looking(job):
                self._note(job, "skipped")
            else:
                todo.append(job)
        if todo:
            for outcome in self._outcomes(todo, files):
                self._note(outcome.job, outcome.status)
        take_back()
        shutil.rmtree(orders, ignore_errors=True)
        document = self._report(finished=True)
        failed = document["summary"].get("failed", 0)
        figures = document["throughput"]
        rate = f" {figures['shots_per_hour']:g} shots an hour." if figures["shots_per_hour"] else ""
        done, page = len(self._jobs) - failed, str(self._out / "report.html")
        self._reporter.result(
            {
                "out": str(self._out), "report": page, "shots": document["summary"], "throughput": figures,
                "summary": f"{done} of {len(self._jobs)} shots solved, {failed} failed.{rate} Report: {page}",
            }
        )  # fmt: skip
        return EXIT_OK if not failed else min(failed, MAX_FAILED_CODE)

    def _outcomes(self, todo: list[Job], files: dict[str, Path]):
        if self._options.dask:
            from .batch_dask import DaskRunner

            runner = DaskRunner(self._options.dask, self._options.dask_python)
            self._workers = runner.workers()
            try:
                for outcome in runner.run(todo, files):
                    self._workers = max(self._workers, runner.workers())  # some join late
                    yield outcome
            finally:
                runner.close()
            return
        from .batch_run import available_memory_mb, run_local

        memory = self._options.memory * 1024 or 0.85 * available_memory_mb()
        yield from run_local(todo, files, self._workers, memory, self._pass_on)

    def _pass_on(self, job: Job, event: dict[str, Any]) -> None:
        """Events of a running shot, for programs that listen."""
        fields = {key: value for key, value in event.items() if key != "event"}
        if event["event"] in ("progress", "warning"):
            self._reporter.event(f"shot_{event['event']}", name=job.shot.name, **fields)

    def _note(self, job: Job, status: str) -> None:
        from .batch_report import shot_record

        self._this_run[job.shot.name] = status
        record = shot_record(self._out, job.shot, self._this_run)
        count = len(self._this_run)
        words = {"done": "solved", "skipped": "unchanged, kept", "failed": "failed"}[status]
        text = f"{job.shot.name}: {words}. {record['message'] or ''} {record['hint'] or ''}".strip()
        facts = {key: record[key] for key in ("verdict", "error_px", "seconds", "code", "message", "hint")}
        self._reporter.shot(count, len(self._jobs), job.shot.name, status, text, facts)
        if time.monotonic() - self._reported > 2.0:
            self._report(finished=False)

    def _report(self, finished: bool) -> dict[str, Any]:
        from .batch_report import write_report

        shots = [job.shot for job in self._jobs]
        try:
            took, how = time.monotonic() - self._began, "dask" if self._options.dask else "local"
            document = write_report(self._out, shots, self._this_run, took, self._workers, finished, how)
        except OSError as error:
            why = (error.strerror or str(error)).lower()
            raise HoldfastError(
                "output.unwritable", f"The report cannot be written ({why}).", "Free the disk or folder.", EXIT_OUTPUT
            ) from error
        self._reported = time.monotonic()
        return document
