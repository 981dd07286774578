"""Command line of the solver. Imports stay light here: numpy and OpenCV come in only once the threads are set."""

from __future__ import annotations

import argparse
import gc
import os
import sys
from contextlib import suppress
from itertools import pairwise
from typing import TYPE_CHECKING

from . import __version__
from .errors import EXIT_CANCELLED, EXIT_INTERNAL, EXIT_OK, EXIT_UNSOLVED, EXIT_USAGE, HoldfastError

if TYPE_CHECKING:
    from .events import Reporter
    from .log import RunLog

DEFAULT_DEPTH_MODEL = "holdfast-small"
EXPORT_FORMATS = ("colmap", "nerfstudio", "ply", "chan", "nuke-lens", "stmap")
EXIT_CODE_HELP = """\
exit codes:
  0  done
  1  a bug in Holdfast; the log says more
  2  options that do not fit together
  3  the clip, mask, depth maps or results given cannot be used
  4  the depth network is missing or unusable
  5  the results cannot be written
  6  the clip is fine, but no camera could be found
  7  cancelled, or the program that started it has ended
"""


class _Parser(argparse.ArgumentParser):
    """Usage errors take the same way as all others, so that --events programs get them too."""

    def error(self, message: str) -> None:
        raise HoldfastError("usage.options", message[:1].upper() + message[1:] + ".", f"See: {self.prog} --help", EXIT_USAGE)


def build_parser() -> argparse.ArgumentParser:
    """The whole command line."""
    parser = _Parser(
        prog="python -m solver",
        description="Holdfast tracks the camera of a shot: a clip in, a camera path and a point cloud out.",
        epilog=EXIT_CODE_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"Holdfast {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True, parser_class=_Parser)
    _add_solve(commands)
    try:
        from .models_cli import add_models_parser

        add_models_parser(commands)
    except ModuleNotFoundError as error:
        if error.name != "solver.models_cli":
            raise
    _add_probe(commands)
    _add_export(commands)
    from .refine_cli import add_refine_parser

    add_refine_parser(commands)
    from .batch_cli import add_batch_parser
    from .depth_command import add_depth_parser

    add_depth_parser(commands)
    add_batch_parser(commands)
    return parser


def _add_solve(commands: argparse._SubParsersAction) -> None:
    solve = commands.add_parser(
        "solve",
        help="track the camera of a clip",
        epilog=EXIT_CODE_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Track the camera of a clip and write the results to a folder. "
        "It ends with the program that started it, unless that is nohup.",
    )
    solve.add_argument(
        "clip", metavar="CLIP", help="a movie, a folder of images, one image of a sequence, or a pattern like shot.####.exr"
    )
    solve.add_argument("--out", metavar="DIR", required=True, help="folder for the results; made if it does not exist")
    add_solve_options(solve)
    solve.add_argument(
        "--user-tracks",
        metavar="FILE",
        help="tracks made by hand, as JSON; they weigh more than the solver's own (see the README)",
    )
    solve.add_argument(
        "--events", action="store_true", help="say progress and results as JSON, one object per line, for programs"
    )
    solve.add_argument("--log-format", choices=("text", "json"), default="text", help="form of solver.log (default: text)")
    solve.set_defaults(run=_run_solve)


def add_solve_options(parser: argparse.ArgumentParser) -> None:
    """The options that say how to solve a shot; `batch` takes the same as defaults for its shots."""
    frames = parser.add_argument_group("frames")
    frames.add_argument("--start", metavar="N", type=int, help="first frame, as the clip numbers it (movies begin at 0)")
    frames.add_argument("--end", metavar="N", type=int, help="last frame, included")
    frames.add_argument("--step", metavar="N", type=int, default=1, help="use every Nth frame (default: 1)")
    lens = parser.add_argument_group("lens")
    lens.add_argument("--focal-px", metavar="F", type=float, help="focal length in pixels of the clip's full width")
    lens.add_argument("--focal-mm", metavar="F", type=float, help="focal length in millimetres; needs the sensor's width too")
    lens.add_argument(
        "--sensor-mm", metavar="S", type=float, help="width in millimetres of the sensor area that the picture shows"
    )
    lens.add_argument(
        "--focal",
        choices=("known", "constant", "varying", "auto"),
        default="auto",
        help="known: keep the one given; constant: find one for the shot; varying: a zoom, one per frame; auto: find out",
    )
    lens.add_argument(
        "--distortion",
        choices=("none", "radial1", "radial2", "auto"),
        default="auto",
        help="lens distortion: none, one or two radial terms, or whatever the shot supports (default: auto)",
    )
    lens.add_argument(
        "--rolling-shutter",
        choices=("off", "auto", "on"),
        default="auto",
        help="model a sensor that is read row by row: never, when the shot clearly shows it, always (default: auto)",
    )
    camera = parser.add_argument_group("camera move")
    camera.add_argument(
        "--motion",
        choices=("auto", "free", "rotation", "static"),
        default="auto",
        help="free: the camera travels; rotation: it only turns (tripod); static: it does not move; auto: find out (default)",
    )
    camera.add_argument(
        "--steady",
        choices=("auto", "off"),
        default="auto",
        help="auto: take out of the path what is noise and no motion of a camera (default); off: leave it as the frames give it",
    )
    camera.add_argument(
        "--mask", metavar="DIR_OR_CLIP", help="what to ignore: images or a movie, white (or opaque) over people, cars, logos"
    )
    depth = parser.add_argument_group("depth")
    depth.add_argument(
        "--depth-model",
        metavar="ID_OR_PATH",
        help=f"depth network by name (see `models`) or ONNX file; 'none' uses geometry alone (default: {DEFAULT_DEPTH_MODEL})",
    )
    depth.add_argument("--depth-maps", metavar="DIR", help="depth maps of your own, one EXR, 16-bit PNG or NPY per frame")
    depth.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="where the network runs (default: auto)")
    compare = parser.add_argument_group("for comparison", "what Holdfast is measured against; worse on most shots")
    compare.add_argument(
        "--start-by",
        choices=("depth", "essential"),
        default="depth",
        help="essential: start from two frames by their essential matrix instead of lifted points (default: depth)",
    )
    compare.add_argument(
        "--depth-use",
        choices=("all", "start"),
        default="all",
        help="start: the network's depth is where points start, and no term of the adjustment (default: all)",
    )
    effort = parser.add_argument_group("effort")
    effort.add_argument(
        "--quality", choices=("draft", "standard", "best"), default="standard", help="speed against accuracy (default: standard)"
    )
    effort.add_argument(
        "--seed", metavar="N", type=int, default=0, help="start of the random choices; same seed, same result (default: 0)"
    )
    effort.add_argument("--threads", metavar="N", type=int, default=0, help="processor cores to use (default: all)")


def _add_probe(commands: argparse._SubParsersAction) -> None:
    probe = commands.add_parser(
        "probe", help="say what a clip is, without solving it", description="Say what a clip is, without solving it."
    )
    probe.add_argument("clip", metavar="CLIP", help="a movie or an image sequence")
    probe.add_argument("--json", "--events", dest="events", action="store_true", help="as one JSON object")
    probe.set_defaults(run=_run_probe)


def _add_export(commands: argparse._SubParsersAction) -> None:
    export = commands.add_parser(
        "export",
        help="write a solve for other programs",
        description="Write the results of a solve for other programs.",
    )
    export.add_argument("folder", metavar="DIR", help="folder of a finished solve")
    export.add_argument("--to", choices=EXPORT_FORMATS, required=True, help="what to write")
    export.add_argument("--out", metavar="PATH", help="where (default: inside DIR, under the format's usual name)")
    export.add_argument("--events", action="store_true", help="say the result as JSON")
    export.set_defaults(run=_run_export)


def limit_threads() -> None:
    """Keep the linear algebra to one thread; only works before it is imported.

    The solver's matrices are small: threads that wait for each other cost more than they bring, many times more on a busy
    machine. --threads counts for tracking and depth networks, which share their work out on their own.
    """
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS", "NUMEXPR_NUM_THREADS")
    os.environ.update(dict.fromkeys(names, "1"))


def keep_freed_memory() -> None:
    """Let glibc keep what is freed for the next array: to hand megabytes back and fetch them again, page by page, takes as long
    as to compute with them. Elsewhere nothing happens."""
    if not sys.platform.startswith("linux"):
        return
    import ctypes

    trim_threshold, mmap_threshold = -1, -3  # of mallopt
    with suppress(OSError, AttributeError):
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(mmap_threshold, 1 << 28)
        libc.mallopt(trim_threshold, 1 << 29)


def begin_work() -> None:
    """What every process that computes does first, before numpy is loaded: few threads, an end when told to or left alone."""
    limit_threads()
    keep_freed_memory()
    gc.set_threshold(100_000, 50, 50)  # arrays are freed as they go out of use; looking for cycles among them takes its time
    from .lifetime import install_signal_handlers, watch_parent

    install_signal_handlers()
    watch_parent()


def main(argv: list[str] | None = None) -> int:
    """Run a command; returns the exit code (see EXIT_CODE_HELP). Nothing but that code and one clear line reaches the user."""
    arguments = sys.argv[1:] if argv is None else argv
    from .events import JsonReporter, TextReporter
    from .log import RunLog

    events = "--events" in arguments or "--json" in arguments
    reporter: Reporter = JsonReporter() if events else TextReporter()
    log_format = "json" if "--log-format=json" in arguments or _follows(arguments, "--log-format", "json") else "text"
    log = RunLog(log_format)
    try:
        options = build_parser().parse_args(arguments)
        options.arguments = arguments
        return options.run(options, reporter, log)
    except HoldfastError as error:
        from logging import getLogger

        getLogger("solver").error("%s: %s %s", error.code, error.message, error.hint)
        reporter.error(error)
        return error.exit_code + _offset(arguments)
    except KeyboardInterrupt:
        return EXIT_CANCELLED
    except Exception as error:
        where = log.bug()
        what = "There is not enough memory" if isinstance(error, MemoryError) else "Holdfast met a bug of its own"
        hint = (
            "Try a shorter range, a larger --step or --quality draft." if isinstance(error, MemoryError) else f"Details: {where}"
        )
        reporter.error(HoldfastError("internal", f"{what} ({type(error).__name__}).", hint, EXIT_INTERNAL))
        return EXIT_INTERNAL + _offset(arguments)


def _offset(arguments: list[str]) -> int:
    """A batch counts failed shots with the low exit codes; its own failures come 100 higher."""
    return 100 if "batch" in arguments[:1] else 0


def _follows(arguments: list[str], name: str, value: str) -> bool:
    return any(a == name and b == value for a, b in pairwise(arguments))


def wrong_options(message: str, hint: str) -> HoldfastError:
    """The error for options that do not fit together."""
    return HoldfastError("usage.options", message, hint, EXIT_USAGE)


def check_lens_options(options: argparse.Namespace) -> None:
    """Raise HoldfastError (usage.options) for focal lengths that cannot be, or are given twice, and for too few threads."""
    for name in ("focal_px", "focal_mm", "sensor_mm"):
        value = getattr(options, name)
        if value is not None and not 0 < value < 1e6:
            raise wrong_options(f"--{name.replace('_', '-')} must be a number above 0.", "Leave it out if you do not know it.")
    if options.focal_px and options.focal_mm:
        raise wrong_options("--focal-px and --focal-mm say the same thing twice.", "Give one of them.")
    if options.threads < 0:
        raise wrong_options("--threads must be 0 or more.", "Leave it out to use all cores.")


def check_solve_options(options: argparse.Namespace) -> None:
    """Raise HoldfastError (usage.options) for options that do not fit together, before anything heavy is loaded."""
    check_lens_options(options)
    if options.sensor_mm and not options.focal_mm:
        raise wrong_options("--sensor-mm needs --focal-mm.", "Give both, or neither.")
    if options.depth_model not in (None, "none") and options.depth_maps:
        raise wrong_options("--depth-model and --depth-maps exclude each other.", "Give one of them.")
    if options.step < 1:
        raise wrong_options("--step must be 1 or more.", "Leave it out to use every frame.")


def _run_solve(options: argparse.Namespace, reporter: Reporter, log: RunLog) -> int:
    check_solve_options(options)
    reporter("open", 0, 1)  # before numpy and OpenCV are loaded, which takes seconds on a cold disk
    begin_work()
    from .log import say_environment
    from .solve_command import solve_clip

    say_environment(__version__, options.arguments)
    document = solve_clip(options, reporter, log)
    return EXIT_UNSOLVED if document["verdict"]["status"] == "failed" else EXIT_OK


def _run_probe(options: argparse.Namespace, reporter: Reporter, log: RunLog) -> int:
    from .solve_command import probe_clip

    probe_clip(options.clip, reporter, options.events)
    return EXIT_OK


def _run_export(options: argparse.Namespace, reporter: Reporter, log: RunLog) -> int:
    from .export import export_solution

    written = export_solution(options.folder, options.to, options.out)
    reporter.result({"out": str(written), "summary": f"Written for {options.to}."})
    return EXIT_OK
