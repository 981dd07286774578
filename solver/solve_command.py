"""The `solve` and `probe` commands: from options to a job folder."""

from __future__ import annotations

import argparse
import math
import os
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

from . import report
from .clip import MovieReader, SequenceReader, open_clip
from .errors import EXIT_USAGE, HoldfastError
from .events import JsonReporter, Reporter
from .log import RunLog, say
from .types import ClipInfo, Settings

import cv2  # isort: skip  after .clip, which sets its switches


def make_settings(options: argparse.Namespace, clip: ClipInfo) -> Settings:
    """The solver's settings; focal lengths in mm become px of the clip's width, metadata fills in what the user left open."""
    focal_px, source = options.focal_px, "user"
    if options.focal_mm:
        if not options.sensor_mm:
            raise HoldfastError(
                "usage.sensor",
                "--focal-mm alone does not tell the field of view.",
                "Give --sensor-mm too: the width of the sensor area that the picture shows, e.g. 36 for full frame.",
                EXIT_USAGE,
            )
        focal_px = options.focal_mm / options.sensor_mm * clip.width
    if focal_px is None:
        focal_px, source = clip.focal_px, "metadata"
    if focal_px is None:
        source = None
        if options.focal == "known":
            raise HoldfastError(
                "usage.focal",
                "--focal known needs a focal length, and the clip's metadata has none.",
                "Give --focal-px, or --focal-mm with --sensor-mm.",
                EXIT_USAGE,
            )
    return Settings(
        focal_px=focal_px,
        focal_source=source,
        focal_mode=options.focal,
        motion=options.motion,
        distortion=options.distortion,
        rolling_shutter=options.rolling_shutter,
        steady=options.steady,
        quality=options.quality,
        seed=options.seed,
        threads=options.threads,
        start_by=options.start_by,
        depth_use=options.depth_use,
    )


def solve_clip(options: argparse.Namespace, reporter: Reporter, log: RunLog) -> dict[str, Any]:
    """Run a solve and write its job folder; returns the document that solve.json holds. Raises HoldfastError."""
    try:
        return _solve(options, reporter, log, exact_count=False)
    except HoldfastError as error:
        if error.code != "clip.ended_early":
            raise
        say(f"{error.message} Counting the frames that decode and starting again.")
        return _solve(options, reporter, log, exact_count=True)


def _solve(options: argparse.Namespace, reporter: Reporter, log: RunLog, exact_count: bool) -> dict[str, Any]:
    began = time.monotonic()
    if options.threads > 0:
        cv2.setNumThreads(options.threads)
    reporter("open", 0, 1)
    from .depth import open_depth_source
    from .effort import Effort

    with ThreadPoolExecutor(1) as pool:  # a network takes as long to load as all else, scipy included
        opening = pool.submit(
            open_depth_source,
            options.depth_model,
            options.depth_maps,
            options.device,
            options.threads,
            reporter,
            Effort.of(options.quality).depth_keyframes,
        )
        clip = open_clip(options.clip, options.start, options.end, options.step, reporter, exact_count=exact_count)
        settings = make_settings(options, clip.info)
        masks = None
        if options.mask:
            from .masks import open_masks

            masks = open_masks(options.mask, clip.info, reporter)
        more = {}
        if getattr(options, "user_tracks", None):
            from .user_tracks import read_user_tracks

            more["user_tracks"] = read_user_tracks(options.user_tracks, clip.info.width, clip.info.height)
        from .pipeline import solve

        depth = opening.result()
    folder = report.prepare_output(options.out)
    log.open_in(folder)
    _log_clip(clip, settings)
    reporter("open", 1, 1)

    opened = time.monotonic()
    solution = solve(clip, settings, depth, masks, reporter, **more)
    solved = time.monotonic()
    reporter("write", 0, 1)
    timings = {"open": opened - began, **solution.timings, "total": solved - began}
    solution = replace(solution, timings=timings)
    warnings = tuple(message for _, message in reporter.warnings)
    document = report.solve_document(solution, warnings)
    report.write_solution(solution, folder, warnings)
    reporter("write", 1, 1)
    for stage, seconds in timings.items():
        if isinstance(seconds, (int, float)):
            say(f"{stage}: {seconds:.2f} s", stage=stage, seconds=round(seconds, 3))
    for warning in document["warnings"]:
        say(f"Warning: {warning}")
    for sentence in document["verdict"]["statements"]:
        say(sentence)
    say(f"Verdict: {document['verdict']['status']}. {document['verdict']['summary']}")
    reporter.result(result_fields(document, str(folder), time.monotonic() - began))
    return document


def result_fields(document: dict[str, Any], out: str, seconds: float) -> dict[str, Any]:
    """What the result event says of a written solve."""
    verdict = document["verdict"]
    focal = [frame["fx"] for frame in document["frames"]]
    return report.json_ready(
        {
            "out": os.path.abspath(out),
            "summary": verdict["summary"],
            "verdict": verdict,
            "frames": len(focal),
            "error_px": verdict["error_px"],
            "focal_px": [min(focal), max(focal)] if focal else None,
            "seconds": round(seconds, 2),
        }
    )


def _log_clip(clip: MovieReader | SequenceReader, settings: Settings) -> None:
    info = clip.info
    say(
        f"Clip: {info.path}, {info.width}x{info.height}, {info.fps:g} fps, frames {info.frames[0]} to {info.frames[-1]} "
        f"({len(info.frames)} used of {info.frame_count})"
    )
    say(f"Settings: {settings}")


def probe_clip(path: str, reporter: Reporter, as_json: bool) -> None:
    """Say what a clip is. Raises HoldfastError when it is none."""
    clip = open_clip(path, progress=reporter, min_frames=1)
    clip.read(clip.info.frames[0])
    info = clip.info
    first, last = info.frames[0], info.frames[-1]
    fields = {
        "path": info.path,
        "width": info.width,
        "height": info.height,
        "fps": info.fps,
        "frame_start": info.frame_start,
        "frame_count": info.frame_count,
        "frames": [first, last],
        "missing": list(info.missing),
        "pixel_aspect": info.pixel_aspect,
        "is_sequence": info.is_sequence,
        "rotation_deg": info.rotation_deg,
        "focal_px": info.focal_px,
        "focal_source": info.focal_source,
    }
    if as_json and isinstance(reporter, JsonReporter):
        reporter.event("clip", **fields)
        return
    kind = "image sequence" if info.is_sequence else "movie"
    lines = [
        f"{info.path}: {kind}, {info.width} x {info.height}, {info.fps:g} frames a second",
        f"frames {first} to {last} ({len(info.frames)}, {len(info.frames) / info.fps:.1f} s)"
        + (f", {len(info.missing)} missing" if info.missing else ""),
    ]
    if info.rotation_deg:
        lines.append(f"turned by {info.rotation_deg} degrees, as its metadata asks")
    if info.pixel_aspect != 1:
        lines.append(f"pixel aspect {info.pixel_aspect:.4g}")
    if info.focal_px:
        angle = math.degrees(2 * math.atan(info.width / 2 / info.focal_px))
        lines.append(f"focal length {info.focal_px:.0f} px ({angle:.0f} degrees across), from {info.focal_source}")
    else:
        lines.append("focal length: not in the metadata")
    print("\n".join(lines))
