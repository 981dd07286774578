# SPDX-License-Identifier: GPL-3.0-or-later
"""`blender -b -c holdfast solve CLIP -o shot.blend` and `… batch FOLDER_OR_LIST -o OUT`: whole scenes without a window.

`solve` works in this Blender. `batch` hands the list to the solver's own batch, which has the restarts, the budgets and the
report, and tells it to make the scenes with this Blender's program.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

import bpy

from . import events, headless, job, jobfolder, preferences, scene_export, solver_process

EXIT_OK, EXIT_INTERNAL, EXIT_USAGE, EXIT_INPUT, EXIT_OUTPUT, EXIT_CANCELLED = 0, 1, 2, 3, 5, 7
SOLVER_FORMATS = ("colmap", "nerfstudio", "chan", "nuke-lens", "stmap", "ply")
FORMATS = (*scene_export.FORMATS, *SOLVER_FORMATS)
_SOLVE_CODES = """\
exit codes:
  0  done                        4  the depth network is missing or unusable
  1  a bug in Holdfast           5  the results cannot be written
  2  wrong options               6  no camera could be found for this clip
  3  the clip cannot be used     7  cancelled
"""
_BATCH_CODES = """\
A CSV has a row per shot, with a header; a TOML has [defaults] and a [[shot]] table per shot:
  clip,name,range,lens,motion,mask,network,quality
  sh010/plate.mov,sh010,,35/24.9,,,,
  sh020/plate.####.exr,sh020,1001-1080,varying,free,sh020/mask,holdfast-small,best
Lenses are focal length / sensor width in mm, 1450px, or varying. Paths are relative to the list. What a shot says wins over the
list's defaults, these over the options given here. A .txt has a path per line.

Every shot gets a folder OUT/NAME with NAME.blend, solve.json, the exports and solver.log; OUT/report.html tells of all.
Run it again to go on: shots whose pictures and settings are unchanged are skipped. Several runs may share one folder.

exit codes:
  0        every shot is done
  1 .. 99  so many shots failed (99: 99 or more); the report says why
  102      options that do not fit together
  103      the list cannot be used, or no Dask scheduler answers
  105      the results cannot be written
  101,107  a bug; cancelled
"""

_handles: list = []


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="blender -b -c holdfast", description="Solve the camera of shots and save Blender scenes."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    layout = argparse.RawDescriptionHelpFormatter
    one = commands.add_parser(
        "solve", help="solve one clip and save the scene", epilog=_SOLVE_CODES, formatter_class=layout,
        description="Solve one clip and save the scene.",
    )  # fmt: skip
    one.add_argument("clip", metavar="CLIP", help="a movie, a folder of images, an image of a sequence, or shot.####.exr")
    one.add_argument(
        "-o", "--out", type=Path, required=True, help="the .blend file to write; the solve goes to holdfast/ beside it"
    )
    one.add_argument(
        "--export", metavar="FORMATS", default="none",
        help=f"write these too, comma-separated: {', '.join(FORMATS)}; all or none (default). "
        "USD, Alembic and FBX go beside the .blend, the others into the solve's folder",
    )  # fmt: skip
    many = commands.add_parser(
        "batch", help="solve many clips, a scene for each, and report", epilog=_BATCH_CODES, formatter_class=layout,
        description="Solve the clips of a folder or a list, make a scene of each, and report on them.",
    )  # fmt: skip
    many.add_argument("source", metavar="FOLDER_OR_LIST", help="a folder of clips, or a shot list (.csv, .toml, .txt)")
    many.add_argument("-o", "--out", required=True, help="folder for the scenes, solves and the report")
    many.add_argument(
        "--export", metavar="FORMATS", default="all", help=f"exports per shot: {', '.join(FORMATS)}; all (default) or none"
    )
    many.add_argument("--force", action="store_true", help="solve again what is done already")
    many.add_argument("--jobs", type=int, help="shots at the same time (default: what the cores allow)")
    many.add_argument("--memory", type=float, help="memory in GB for all shots together (default: most of what is free)")
    many.add_argument("--dask", metavar="ADDRESS", help="solve on the workers of this Dask scheduler, e.g. tcp://host:8786")
    many.add_argument("--dask-python", metavar="PATH", help="Python to use on the workers")
    many.add_argument("--events", action="store_true", help="say progress and results as JSON, one object per line")
    for sub in (one, many):
        sub.add_argument("--log-format", choices=("text", "json"), help="form of solver.log (default: text)")
        group = sub.add_argument_group("solver options")
        for name, kind, text in _VALUES:
            group.add_argument(f"--{name}", type=kind, help=text)
        for name, (choices, text) in _CHOICES.items():
            group.add_argument(f"--{name}", choices=choices, help=text)
    return parser


_VALUES = (
    ("start", int, "first frame, as the clip numbers them"),
    ("end", int, "last frame"),
    ("step", int, "every Nth frame"),
    ("focal-px", float, "focal length in px"),
    ("focal-mm", float, "focal length in mm, with --sensor-mm"),
    ("sensor-mm", float, "sensor width in mm"),
    ("mask", str, "folder or clip of masks, white is ignored"),
    ("depth-model", str, "depth network by id or path, or none"),
    ("depth-maps", str, "folder of depth maps"),
    ("seed", int, "start of the random choices"),
    ("threads", int, "processor cores to use"),
)
_CHOICES = {
    "focal": (("known", "constant", "varying", "auto"), "what is known of the focal length"),
    "motion": (("auto", "free", "rotation", "static"), "how the camera moved"),
    "distortion": (("none", "radial1", "radial2", "auto"), "lens distortion"),
    "rolling-shutter": (("off", "auto", "on"), "model a sensor that is read row by row"),
    "steady": (("auto", "off"), "take noise out of the camera's path"),
    "quality": (("draft", "standard", "best"), "how much work is put in"),
    "device": (("auto", "cpu", "cuda"), "where the depth network runs"),
}
_OPTIONS = (*(name.replace("-", "_") for name, _, _ in _VALUES), *(name.replace("-", "_") for name in _CHOICES))


def run(argv: list[str]) -> int:
    """The command. Returns the exit code: the solver's own where it failed, the number of failed shots for batch."""
    try:
        options = _parser().parse_args(argv)
    except SystemExit as stop:  # --help and wrong options
        code = int(stop.code or 0)
        return 100 + code if code and "batch" in argv[:1] else code
    try:
        return _solve(options) if options.command == "solve" else _batch(options)
    except KeyboardInterrupt:
        return EXIT_CANCELLED
    except FileNotFoundError as error:  # no Python for the solver
        print(f"Holdfast: {error}", file=sys.stderr)
        return EXIT_INPUT
    except OSError as error:
        print(f"Holdfast: {error.strerror or error}: {error.filename or ''}", file=sys.stderr)
        return EXIT_OUTPUT


def _formats(text: str) -> list[str] | None:
    """The formats of --export; None, having said so, for one that there is not here."""
    if text in ("all", "none"):  # the solve's own folder has points.ply
        here = scene_export.available()
        return [name for name in FORMATS if name in here or name in SOLVER_FORMATS[:-1]] if text == "all" else []
    names = [name.strip() for name in text.split(",") if name.strip()]
    unknown = [name for name in names if name not in FORMATS]
    try:
        for name in names:
            if name in scene_export.FORMATS:
                scene_export.check_available(name)
    except scene_export.ExportError as error:
        print(f"Holdfast: {error}", file=sys.stderr)
        return None
    if unknown:
        print(f"Holdfast: there is no export '{unknown[0]}'; choose from {', '.join(FORMATS)}, all or none", file=sys.stderr)
    return None if unknown else names


def _solve(options: argparse.Namespace) -> int:
    """Solve a clip, build the scene, save it, export. Trouble is one line on standard error."""
    formats = _formats(options.export)
    if formats is None:
        return EXIT_USAGE
    clip, blend = Path(options.clip), options.out.with_suffix(".blend")
    settings = {name: getattr(options, name) for name in (*_OPTIONS, "log_format") if getattr(options, name) is not None}
    folder = blend.resolve().parent / "holdfast" / blend.stem
    printer = _Printer(clip.name)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        scene = headless.solve_clip_to_scene(clip, folder, settings, printer)
        saved = headless.save_blend(blend)
        shot = jobfolder.read_shot(folder)
        in_blender = [name for name in formats if name in scene_export.FORMATS]
        made = scene_export.export_shot(scene, scene.holdfast.clip, shot, saved.with_suffix(""), in_blender)
        for path in made.values():
            print(f"Holdfast: {clip.name}: {path}")
    except headless.SolveFailed as error:
        print(f"Holdfast: {clip.name}: {error}", file=sys.stderr)
        return error.exit_code
    except scene_export.ExportError as error:
        print(f"Holdfast: {clip.name}: {error}", file=sys.stderr)
        return EXIT_OUTPUT
    except (jobfolder.JobFolderError, RuntimeError) as error:
        print(f"Holdfast: {clip.name}: {' '.join(str(error).split())}", file=sys.stderr)
        return EXIT_INPUT
    for name in formats:
        if name in SOLVER_FORMATS and (code := _run_solver(["export", str(folder), "--to", name])):
            return code
    own = scene.holdfast.clip.holdfast
    summary = (own.summary or "solved").rstrip(".")
    print(
        f"Holdfast: {clip.name}: {summary}; error {own.error_px:.2f} px, {own.focal_words}, "
        f"{own.frames_solved} of {own.frames_total} frames; {blend}"
    )
    return EXIT_OK


class _Printer:
    """Prints progress: a line per stage, and one every few seconds within a long stage."""

    def __init__(self, name: str) -> None:
        self.name, self.stage, self.at = name, "", 0.0

    def __call__(self, solver: job.SolverJob) -> None:
        now = time.monotonic()
        if solver.stage == self.stage and now - self.at < 5.0:
            return
        self.stage, self.at = solver.stage, now
        left = events.time_left_text(solver.eta_s)
        print(
            f"Holdfast: {self.name}: {events.stage_label(solver.stage)} {round(100 * solver.fraction)} %"
            + (f", {left}" if left else ""),
            flush=True,
        )


def blender_program() -> str:
    """What starts another one like this: Blender itself, or the Python it is a module of."""
    return bpy.app.binary_path or sys.executable


def batch_arguments(options: argparse.Namespace) -> list[str]:
    """The solver's command line for a batch asked for here."""
    arguments = ["batch", options.source, f"--out={options.out}", f"--blender={blender_program()}", f"--export={options.export}"]
    for name in ("jobs", "memory", "dask", "dask_python", "log_format", *_OPTIONS):
        value = getattr(options, name)
        if value is not None:
            # Joined: a value of its own could look like an option ("-1").
            arguments.append(f"--{name.replace('_', '-')}={value}")
    return arguments + [f"--{name}" for name in ("force", "events") if getattr(options, name)]


def _batch(options: argparse.Namespace) -> int:
    """The solver's batch, speaking for itself; its exit code is ours."""
    return _run_solver(batch_arguments(options))


def _run_solver(arguments: list[str]) -> int:
    """Run a command of the solver to its end, with its output on ours. Ctrl-C reaches it as it reaches us: wait for it."""
    python = solver_process.find_python(preferences.get().python)
    command = [python, "-m", "solver", *arguments]
    # The working folder stays the user's (paths are relative to it), and no `solver` in it may take the place of ours.
    environment = solver_process.environment(python) | {"PYTHONSAFEPATH": "1"}
    sys.stdout.flush()
    process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL)
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:
            continue


def register() -> None:
    if hasattr(bpy.utils, "register_cli_command"):
        _handles.append(bpy.utils.register_cli_command("holdfast", run))


def unregister() -> None:
    while _handles:
        bpy.utils.unregister_cli_command(_handles.pop())
