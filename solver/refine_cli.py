"""The `refine` command: a finished job folder in, a better one out, without tracking."""

from __future__ import annotations

import argparse
import os
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from .errors import EXIT_OK, EXIT_UNSOLVED, EXIT_USAGE, HoldfastError

if TYPE_CHECKING:
    from .edits import Edits
    from .events import Reporter
    from .log import RunLog
    from .types import Settings, Solution

_LOG_NAME = "refine.log"


def add_refine_parser(commands: argparse._SubParsersAction) -> None:
    """`python -m solver refine`."""
    refine = commands.add_parser(
        "refine",
        help="adjust a finished solve anew, without some tracks or with tracks of your own; nothing is tracked again",
        description="Adjust a finished solve anew: leave bad tracks out, take tracks of your own in, try another lens, or track "
        "and solve a part of the shot again. What stands in the scene stays in its place. DIR changes only once all is done.",
    )
    refine.add_argument("folder", metavar="DIR", help="folder of a finished solve")
    refine.add_argument("--out", metavar="DIR2", help="folder for the results (default: DIR itself)")
    tracks = refine.add_argument_group("tracks")
    tracks.add_argument("--drop", metavar="TRACKS", default="", help="tracks to leave out, e.g. 3,17,40-52")
    tracks.add_argument("--restore", metavar="TRACKS", default="", help="tracks left out before, to be taken in again")
    tracks.add_argument(
        "--tracks",
        metavar="FILE",
        help='the same from a file: numbers, or JSON {"drop": [], "restore": [], "cut": [[track, a, b]]}',
    )
    tracks.add_argument(
        "--user-tracks",
        metavar="FILE",
        help="tracks made by hand, as JSON; they replace those of an earlier time (see the README)",
    )
    tracks.add_argument(
        "--mask",
        metavar="DIR_OR_CLIP",
        help="what to ignore, white over people, cars, logos: tracks that lie under it are left out",
    )
    part = refine.add_argument_group("a part of the shot again")
    part.add_argument(
        "--range",
        metavar=("FIRST", "LAST"),
        nargs=2,
        type=int,
        help="track and solve these frames again, joined to the cameras around them, which stay as they are",
    )
    part.add_argument("--clip", metavar="CLIP", help="the footage for --range, where it is not in its old place")
    lens = refine.add_argument_group("lens and move (default: as the solve was asked)")
    lens.add_argument("--focal-px", metavar="F", type=float, help="focal length in pixels of the clip's full width")
    lens.add_argument("--focal-mm", metavar="F", type=float, help="focal length in millimetres; needs --sensor-mm")
    lens.add_argument("--sensor-mm", metavar="S", type=float, help="width of the sensor area that the picture shows")
    lens.add_argument("--focal", choices=("known", "constant", "varying", "auto"), help="see `solve`")
    lens.add_argument("--distortion", choices=("none", "radial1", "radial2", "auto"), help="see `solve`")
    lens.add_argument("--rolling-shutter", choices=("off", "auto", "on"), help="see `solve`")
    lens.add_argument("--motion", choices=("auto", "free", "rotation", "static"), help="see `solve`")
    lens.add_argument("--steady", choices=("auto", "off"), help="see `solve`")
    lens.add_argument("--same-model", action="store_true", help="do not ask again which kind of lens and move it is: quicker")
    lens.add_argument("--again", action="store_true", help="find the cameras from nothing instead of going on from the old ones")
    refine.add_argument("--quality", choices=("draft", "standard", "best"), help="default: as the solve was")
    refine.add_argument("--threads", metavar="N", type=int, default=0, help="processor cores to use (default: all)")
    refine.add_argument("--events", action="store_true", help="say progress and results as JSON, one object per line")
    refine.add_argument("--log-format", choices=("text", "json"), default="text", help=f"form of {_LOG_NAME} (default: text)")
    refine.set_defaults(run=run_refine)


def run_refine(options: argparse.Namespace, reporter: Reporter, log: RunLog) -> int:
    """The command. Raises HoldfastError."""
    _check(options)
    from .cli import begin_work

    begin_work()
    from . import __version__
    from .log import say_environment

    say_environment(__version__, options.arguments)
    document = refine_folder(options, reporter, log)
    return EXIT_UNSOLVED if document["verdict"]["status"] == "failed" else EXIT_OK


def _check(options: argparse.Namespace) -> None:
    from .cli import check_lens_options
    from .cli import wrong_options as wrong

    check_lens_options(options)
    if bool(options.sensor_mm) != bool(options.focal_mm):
        raise wrong("--focal-mm and --sensor-mm need each other.", "Give both, or neither.")
    if options.range and options.range[0] > options.range[1]:
        raise wrong("--range: the first frame lies after the last.", "Give the smaller number first.")
    if not options.range and options.clip:
        raise wrong("--clip is for --range: nothing else is tracked again.", "Give --range, or leave it out.")
    if options.range and (options.again or options.motion or options.focal or options.focal_px or options.focal_mm):
        raise wrong(
            "--range keeps the lens and the cameras around it.", "Refine the whole shot with the new lens first, then the part."
        )


def refine_folder(options: argparse.Namespace, reporter: Reporter, log: RunLog) -> dict[str, Any]:
    """Refine a job folder; returns the document that the new solve.json holds. Raises HoldfastError."""
    began = time.monotonic()
    reporter("open", 0, 1)
    from . import report
    from .edits import Edits, apply_edits, parse_numbers, read_edits, under_mask
    from .load import load_solution
    from .log import say
    from .refine import refine, settings_of, with_user_tracks
    from .solve_command import result_fields
    from .user_tracks import read_user_tracks

    solution = load_solution(options.folder)
    settings = _settings(options, solution, settings_of(solution, options.threads))
    edits = _edits(options, parse_numbers, read_edits)
    user = read_user_tracks(options.user_tracks, solution.clip.width, solution.clip.height) if options.user_tracks else None
    covered = Edits()
    if options.mask:
        from .masks import open_masks

        covered = under_mask(solution, open_masks(options.mask, solution.clip, reporter))
    folder = report.prepare_output(options.out or options.folder)
    solution = apply_edits(solution, edits.joined(replace(covered, drop=covered.drop - edits.restore)))
    if user is not None and not options.range:
        solution = with_user_tracks(solution, user, reporter)
    log.open_in(folder, _LOG_NAME)
    say(f"Refining {options.folder}: {_words(options, edits, user)}")
    if options.range:
        from .solve_range import solve_range

        solution = solve_range(
            solution, settings, *options.range, reporter, clip_path=options.clip, mask_path=options.mask, user=user
        )
    else:
        solution = refine(solution, settings, reporter, again=options.again, same_model=options.same_model)
    note = {
        "did": "range" if options.range else "refine",
        "range": options.range,
        "dropped": sorted(edits.drop),
        "restored": sorted(edits.restore),
        "cut": [list(c) for c in edits.cut],
        "under_mask": len(covered.drop) or None,
        "user_tracks": None if user is None else len(user),
    }
    solution = replace(solution, history=(*solution.history, {k: v for k, v in note.items() if v not in (None, [])}))
    solved = time.monotonic()
    reporter("write", 0, 1)
    solution = replace(solution, timings=solution.timings | {"total": round(solved - began, 3)})
    warnings = tuple(message for _, message in reporter.warnings)
    document = report.solve_document(solution, warnings)
    report.write_solution(solution, folder, warnings)
    reporter("write", 1, 1)
    for sentence in document["verdict"]["statements"]:
        say(sentence)
    say(f"Verdict: {document['verdict']['status']}. {document['verdict']['summary']} ({time.monotonic() - began:.1f} s)")
    reporter.result(result_fields(document, str(folder), time.monotonic() - began))
    return document


def _edits(options: argparse.Namespace, parse_numbers, read_edits) -> Edits:
    from .edits import Edits

    edits = Edits(parse_numbers(options.drop, "--drop"), parse_numbers(options.restore, "--restore"))
    return edits.joined(read_edits(options.tracks)) if options.tracks else edits


def _settings(options: argparse.Namespace, solution: Solution, asked: Settings) -> Settings:
    """What the solve was asked, with what the options change."""
    focal_px = options.focal_px
    if options.focal_mm:
        focal_px = options.focal_mm / options.sensor_mm * solution.clip.width
    changed: dict[str, Any] = {}
    if focal_px:
        changed |= {"focal_px": focal_px, "focal_source": "user"}
    for name, value in (
        ("focal_mode", options.focal),
        ("distortion", options.distortion),
        ("rolling_shutter", options.rolling_shutter),
        ("motion", options.motion),
        ("steady", options.steady),
        ("quality", options.quality),
    ):
        if value:
            changed[name] = value
    asked = replace(asked, **changed)
    if asked.focal_mode == "known" and not asked.focal_px:
        raise HoldfastError(
            "usage.focal",
            "--focal known needs a focal length, and the solve was given none.",
            "Give --focal-px, or --focal-mm with --sensor-mm.",
            EXIT_USAGE,
        )
    return asked


def _words(options: argparse.Namespace, edits: Edits, user) -> str:
    parts = [
        f"{len(edits.drop)} tracks left out" if edits.drop else "",
        f"{len(edits.restore)} taken in again" if edits.restore else "",
        f"{len(edits.cut)} stretches cut off" if edits.cut else "",
        f"{len(user)} user tracks" if user is not None else "",
        f"frames {options.range[0]} to {options.range[1]} again" if options.range else "",
        f"into {os.path.abspath(options.out)}" if options.out else "",
    ]
    return ", ".join(filter(None, parts)) or "the same tracks"
