"""`python -m solver depth CLIP --out DIR`: steady depth of every frame, as EXR files and as a preview movie.

DIR/exr/depth.000012.exr   z-depth in scene units at the clip's size, 32-bit float, channels Z and Y; 0 where unknown
DIR/preview.mp4            the same in colours: near is warm
DIR/depth.json             unit, range, network, how steady it is; scale and shift of every frame
DIR/solve                  the solve, where none was given with --solve
"""

from __future__ import annotations

import argparse
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import EXIT_INPUT, EXIT_MODEL, EXIT_OK, EXIT_OUTPUT, EXIT_UNSOLVED, HoldfastError

if TYPE_CHECKING:
    from .events import Reporter
    from .log import RunLog
    from .types import ClipReader, DepthMap, DepthSource, Solution

KEPT_LONG_SIDE = 400  # px; maps of large networks are kept at this size, because those of all frames are
_NEW_SOLVE_ONLY = (  # options that say nothing to a finished solve
    *("start", "end", "step", "focal_px", "focal_mm", "sensor_mm", "focal", "distortion", "rolling_shutter"),
    *("motion", "steady", "mask", "quality", "seed"),
)


def add_depth_parser(commands: argparse._SubParsersAction) -> None:
    """Adds the `depth` command; sets `run` to a function of (options, reporter, log) that returns the exit code."""
    from .cli import EXIT_CODE_HELP, add_solve_options

    parser = commands.add_parser(
        "depth",
        help="depth of every frame, for compositing",
        epilog=EXIT_CODE_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Write the depth of every frame, in the units of the solved scene and steady over time, as EXR files and a "
        "preview movie. Solves the clip first, unless a finished solve of it is given.",
    )
    parser.add_argument("clip", metavar="CLIP", help="a movie or an image sequence, as for `solve`")
    parser.add_argument("--out", metavar="DIR", required=True, help="folder for the results; made if it does not exist")
    parser.add_argument("--solve", metavar="DIR", help="folder of a finished solve of this clip")
    add_solve_options(parser)
    parser.add_argument("--events", action="store_true", help="say progress and results as JSON, one object per line")
    parser.add_argument("--log-format", choices=("text", "json"), default="text", help="form of the solve's log (default: text)")
    parser.set_defaults(run=run_depth, new_solve_defaults={name: parser.get_default(name) for name in _NEW_SOLVE_ONLY})


def run_depth(options: argparse.Namespace, reporter: Reporter, log: RunLog) -> int:
    """The command. Raises HoldfastError."""
    from .cli import begin_work, check_solve_options, wrong_options

    check_solve_options(options)
    if options.depth_model == "none":
        raise wrong_options(
            "`depth` needs a depth network or maps.",
            "Leave --depth-model out for the one that ships with Holdfast, or give --depth-maps.",
        )
    given = [n for n in _NEW_SOLVE_ONLY if options.solve and getattr(options, n) != options.new_solve_defaults[n]]
    if given:
        name = f"--{given[0].replace('_', '-')}"
        raise wrong_options(f"{name} is for a new solve, and --solve gives a finished one.", f"Leave out {name} or --solve.")
    begin_work()
    _depth(options, reporter, log)
    return EXIT_OK


class _WithoutResult:
    """A reporter for the solve inside: everything is passed on but its result."""

    def __init__(self, reporter: Reporter) -> None:
        self._reporter = reporter

    def __call__(self, stage: str, done: int, total: int) -> None:
        self._reporter(stage, done, total)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reporter, name)

    def result(self, fields: dict[str, Any]) -> None:
        """Not the end yet."""


def _depth(options: argparse.Namespace, reporter: Reporter, log: RunLog) -> None:
    import cv2

    from .clip import open_clip
    from .depth import open_depth_source
    from .depth_output import write_depth
    from .depth_sequence import steady_depth
    from .load import load_solution
    from .report import prepare_output

    began = time.monotonic()
    open_clip(options.clip, min_frames=1)  # a clip that is not there leaves no folder behind
    folder = prepare_output(options.out)
    if options.threads > 0:
        cv2.setNumThreads(options.threads)
    solve_folder = options.solve
    if solve_folder is None:
        from .solve_command import solve_clip

        solve_folder = str(folder / "solve")
        nested = argparse.Namespace(**{**vars(options), "out": solve_folder})
        # Its stages are counted by a reporter of its own: the ones that follow begin anew.
        solve_clip(nested, _WithoutResult(type(reporter)()), log)  # type: ignore[arg-type]
    reporter("open", 0, 1)
    solution = load_solution(solve_folder)
    if solution.verdict.status == "failed":
        raise HoldfastError(
            "depth.unsolved",
            f"No camera was found for this clip: {solution.verdict.summary}",
            f"See {solve_folder}; depth cannot be brought to scene units without a camera.",
            EXIT_UNSOLVED,
        )
    frames = [int(n) for n in solution.frame_numbers]
    clip = open_clip(options.clip, frames[0], frames[-1], solution.clip.step, reporter)
    _check_same_clip(clip, solution, solve_folder)
    _check_space(folder, solution)
    source = open_depth_source(options.depth_model, options.depth_maps, options.device, options.threads, reporter, len(frames))
    reporter("open", 1, 1)
    indices, maps = _maps_of_all(clip, source, frames, reporter)
    steady = steady_depth(solution, maps, indices)
    document = write_depth(folder, solution, steady, indices, source, str(solve_folder), options.threads, reporter)
    seconds = time.monotonic() - began
    figure, alone = document["inconsistency"], document["inconsistency_alone"]
    reporter.result(
        {
            "out": str(folder.resolve()),
            "summary": f"Depth of {len(indices)} frames, within {100 * figure:.2f} % from frame to frame "
            f"({100 * alone:.2f} % had every frame been aligned on its own)."
            if figure is not None and alone is not None
            else f"Depth of {len(indices)} frame{'s' if len(indices) > 1 else ''}.",
            "frames": len(indices),
            "inconsistency": figure,
            "inconsistency_alone": alone,
            "range": document["range"],
            "seconds": round(seconds, 2),
        }
    )


def _check_same_clip(clip: ClipReader, solution: Solution, solve_folder: str) -> None:
    camera, info = solution.camera, clip.info
    missing = sorted({int(n) for n in solution.frame_numbers} - set(info.frames))
    if (camera.width, camera.height) != (info.width, info.height):
        what = f"is {info.width}x{info.height}, the solve is of {camera.width}x{camera.height}"
    elif missing:
        what = f"has no frame {missing[0]}, which the solve has"
    else:
        return
    raise HoldfastError(
        "depth.other_clip",
        f"{info.path} {what}.",
        f"Give the clip that {solve_folder} was made from, or leave --solve out.",
        EXIT_INPUT,
    )


def _check_space(folder: Path, solution: Solution) -> None:
    """Two float planes a frame; they rarely pack to less than a fifth."""
    need = solution.camera.width * solution.camera.height * 8 * len(solution.frame_numbers) // 5
    free = shutil.disk_usage(folder).free
    if free < need:
        raise HoldfastError(
            "output.disk_full",
            f"The depth of {len(solution.frame_numbers)} frames needs about {need / 1e9:.1f} GB, {free / 1e9:.1f} GB are free.",
            "Free some space, or choose another folder with --out.",
            EXIT_OUTPUT,
        )


def _maps_of_all(
    clip: ClipReader, source: DepthSource, frames: list[int], reporter: Reporter
) -> tuple[list[int], list[DepthMap]]:
    """(indices of the frames that have a map, their maps)."""
    from .depth import predict_all

    index_of = {frame: i for i, frame in enumerate(frames)}
    indices, maps, lacking = [], [], 0
    reporter("depth", 0, len(frames))
    wanted = ((frame, image) for frame, image in clip.images() if frame in index_of)
    for done, (frame, found) in enumerate(predict_all(source, wanted), 1):
        if found is None:
            lacking += 1
        else:
            indices.append(index_of[frame])
            maps.append(_small(found))
        reporter("depth", done, len(frames))
    if not maps:
        raise HoldfastError(
            "depth.empty",
            f"{source.name} has no depth for any frame of the solve.",
            "Maps must be numbered as the clip numbers its frames.",
            EXIT_MODEL if source.provider != "files" else EXIT_INPUT,
        )
    if lacking:
        reporter.warn("depth.gaps", f"{source.name} has no depth for {lacking} of {len(frames)} frames; these are left out.")
    return indices, maps


def _small(found: DepthMap) -> DepthMap:
    """The map at no more than KEPT_LONG_SIDE px, as half floats would not do for disparities near 0: float32."""
    from dataclasses import replace

    import cv2

    h, w = found.values.shape
    ratio = KEPT_LONG_SIDE / max(h, w)
    if ratio >= 1:
        return found
    size = (max(round(w * ratio), 2), max(round(h * ratio), 2))
    confidence = None if found.confidence is None else cv2.resize(found.confidence, size, interpolation=cv2.INTER_AREA)
    return replace(found, values=cv2.resize(found.values, size, interpolation=cv2.INTER_AREA), confidence=confidence)
