# SPDX-License-Identifier: GPL-3.0-or-later
"""`blender -b -c holdfast solve CLIP -o shot.blend` and `… batch FOLDER_OR_LIST -o OUT`: whole scenes without a window."""

from __future__ import annotations

import argparse
import csv
import sys
import time
import traceback
from pathlib import Path

import bpy

from . import events, headless, job, jobfolder

EXIT_OK, EXIT_INTERNAL, EXIT_USAGE, EXIT_INPUT, EXIT_OUTPUT = 0, 1, 2, 3, 5
_MOVIES = {".mp4", ".mov", ".m4v", ".mkv", ".avi", ".webm", ".mxf", ".mpg", ".mpeg"}

_handles: list = []


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="blender -b -c holdfast", description="Solve the camera of shots and save Blender scenes."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("solve", help="solve one clip and save the scene", description="Solve one clip and save the scene.")
    one.add_argument("clip", type=Path, help="a movie, or an image of a sequence")
    one.add_argument(
        "-o", "--out", type=Path, required=True, help="the .blend file to write; the solve goes to holdfast/ beside it"
    )
    many = commands.add_parser(
        "batch",
        help="solve many clips, a scene for each",
        description="Solve the movies of a folder, or of a list (text: a path per line; CSV with a column 'clip' and columns "
        "named as the options below). Shots that are done are skipped; the exit code is the number that failed.",
    )
    many.add_argument("source", type=Path, help="a folder of movies, or a list of clips (.txt, .csv)")
    many.add_argument("-o", "--out", type=Path, required=True, help="folder for the scenes and solves")
    many.add_argument("--force", action="store_true", help="solve again what is done already")
    for sub in (one, many):
        group = sub.add_argument_group("solver options")
        for name, kind, text in (
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
        ):
            group.add_argument(f"--{name}", type=kind, help=text)
        group.add_argument("--focal", choices=("known", "constant", "varying", "auto"), help="what is known of the focal length")
        group.add_argument("--motion", choices=("auto", "free", "rotation"), help="how the camera moved")
        group.add_argument("--distortion", choices=("none", "radial1", "radial2", "auto"), help="lens distortion")
        group.add_argument("--quality", choices=("draft", "standard", "best"), help="how much work is put in")
        group.add_argument("--device", choices=("auto", "cpu", "cuda"), help="where the depth network runs")
    return parser


_OPTIONS = (
    "start",
    "end",
    "step",
    "focal_px",
    "focal_mm",
    "sensor_mm",
    "mask",
    "depth_model",
    "depth_maps",
    "seed",
    "threads",
    "focal",
    "motion",
    "distortion",
    "quality",
    "device",
)


def run(argv: list[str]) -> int:
    """The command. Returns the exit code: the solver's own where it failed, the number of failed shots for batch."""
    try:
        options = _parser().parse_args(argv)
    except SystemExit as stop:  # --help and wrong options
        return int(stop.code or 0)
    settings = {name: getattr(options, name) for name in _OPTIONS if getattr(options, name) is not None}
    try:
        if options.command == "solve":
            return _solve(options.clip, options.out.with_suffix(".blend"), settings)
        return _batch(options.source, options.out, settings, options.force)
    except KeyboardInterrupt:
        return 7
    except OSError as error:
        print(f"Holdfast: {error.strerror or error}: {error.filename or ''}", file=sys.stderr)
        return EXIT_OUTPUT


def _solve(clip: Path, blend: Path, settings: dict) -> int:
    """Solve a clip, build the scene, save it. Trouble is one line on standard error."""
    if not clip.exists():
        print(f"Holdfast: there is no clip {clip}", file=sys.stderr)
        return EXIT_INPUT
    folder = blend.resolve().parent / "holdfast" / blend.stem
    printer = _Printer(clip.name)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        scene = headless.solve_clip_to_scene(clip, folder, settings, printer)
        headless.save_blend(blend)
    except headless.SolveFailed as error:
        print(f"Holdfast: {clip.name}: {error}", file=sys.stderr)
        return error.exit_code
    except (jobfolder.JobFolderError, RuntimeError, FileNotFoundError) as error:
        print(f"Holdfast: {clip.name}: {' '.join(str(error).split())}", file=sys.stderr)
        return EXIT_INPUT
    own = scene.holdfast.clip.holdfast
    print(
        f"Holdfast: {clip.name}: {own.summary or 'solved'}; error {own.error_px:.2f} px, {own.focal_words}, "
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


def shot_list(source: Path) -> list[tuple[Path, dict]]:
    """Clips and their own settings, of a folder, a text list or a CSV. Raises ValueError with what is wrong."""
    if source.is_dir():
        return [(path, {}) for path in sorted(source.iterdir()) if path.suffix.lower() in _MOVIES]
    if not source.is_file():
        raise ValueError(f"there is no folder or list {source}")
    base = source.parent
    if source.suffix.lower() != ".csv":
        lines = [line.strip() for line in source.read_text(encoding="utf-8").splitlines()]
        return [(base / line, {}) for line in lines if line and not line.startswith("#")]
    shots = []
    with source.open(newline="", encoding="utf-8-sig") as file:
        for number, row in enumerate(csv.DictReader(file), 2):
            if not row.get("clip"):
                raise ValueError(f"{source}, line {number}: the column 'clip' is empty or missing")
            own = {}
            for key, value in row.items():
                name = (key or "").strip().replace("-", "_")
                if name == "clip" or not (value or "").strip():
                    continue
                if name not in _OPTIONS:
                    raise ValueError(f"{source}: there is no option '{key}'")
                own[name] = value.strip()
            shots.append((base / row["clip"].strip(), own))
    return shots


def _batch(source: Path, out: Path, settings: dict, force: bool) -> int:
    """Every shot of a list. One bad shot does not stop the others."""
    try:
        shots = shot_list(source)
    except ValueError as error:
        print(f"Holdfast: {error}", file=sys.stderr)
        return EXIT_USAGE
    if not shots:
        print(f"Holdfast: no clips in {source}", file=sys.stderr)
        return EXIT_USAGE
    failed, names = 0, set()
    for clip, own in shots:
        name = clip.stem
        while name in names:  # two clips of one name from two folders
            name += "_"
        names.add(name)
        blend = out / f"{name}.blend"
        if blend.is_file() and not force:
            print(f"Holdfast: {clip.name}: done already, {blend}")
            continue
        try:
            code = _solve(clip, blend, {**settings, **own})
        except Exception:
            traceback.print_exc()
            code = EXIT_INTERNAL
        failed += code != EXIT_OK
        _forget()
    print(f"Holdfast: {len(shots) - failed} of {len(shots)} shots")
    return min(failed, 125)


def _forget() -> None:
    """Drop a finished shot's scene before the next one: an empty file, the add-ons and preferences as they are."""
    bpy.ops.wm.read_homefile(use_factory_startup=True, use_empty=True)


def register() -> None:
    if hasattr(bpy.utils, "register_cli_command"):
        _handles.append(bpy.utils.register_cli_command("holdfast", run))


def unregister() -> None:
    while _handles:
        bpy.utils.unregister_cli_command(_handles.pop())
