"""A clip in, a solution out: the stages of a solve, one after the other."""

from __future__ import annotations

import time
from dataclasses import replace

import cv2
import numpy as np

from .clip import ranges
from .effort import Effort, Stopwatch
from .errors import EXIT_INPUT, EXIT_UNSOLVED, HoldfastError
from .finish import assemble
from .interlace import InterlaceWatch
from .joints import apart
from .keyframes import KeyframeDepths
from .parallel import use_cores
from .preview import Preview
from .reconstruction import reconstruct
from .selfcheck import fit_held_out
from .tracked import TrackedClip, TrackingOptions
from .tracker import Tracker
from .tracking import track_clip
from .types import ClipInfo, ClipReader, DepthSource, MaskReader, Progress, Settings, Solution, Tracks
from .user_tracks import UserTrack, trust, with_errors, with_users
from .view import ShotView

SMALLEST_SIDE_PX = 16  # of a picture into which a patch fits
FEWEST_IN_SHOT = 8  # tracks in each of its frames,
SHORTEST_SHOT = 8  # so many frames: a flash or a black frame is none


def solve(
    clip: ClipReader,
    settings: Settings,
    depth: DepthSource | None,
    masks: MaskReader | None,
    progress: Progress,
    user_tracks: tuple[UserTrack, ...] = (),
) -> Solution:
    """Track the camera of a clip. Raises HoldfastError when the clip gives nothing to hold on to."""
    watch = Stopwatch()
    info = clip.info
    check_size(info)
    effort = Effort.of(settings.quality)
    cv2.setNumThreads(use_cores(settings.threads))
    options = TrackingOptions.for_quality(settings.quality, info.width, info.height)
    total = len(info.frames)
    depths = KeyframeDepths(depth, total, effort.depth_keyframes)
    preview = Preview(progress)
    interlace = InterlaceWatch()

    def after_frame(index: int, frame: int, image: np.ndarray, tracker: Tracker) -> None:
        depths.offer(index, frame, image)
        if interlace.found(index, image):
            progress.warn(
                "clip.interlaced",
                "The clip is interlaced: each frame is woven of two half pictures, taken one after the other, and tracks follow "
                "a mixture of both. Deinterlace it (ffmpeg -vf bwdif) and solve that.",
            )
        preview.tracked(index, frame, tracker.live.id, tracker.places, (info.width, info.height), depths.waiting)
        progress("track", index + 1, max(total, index + 1))

    tracked = track_clip(
        clip.images(),
        np.array(info.frames),
        options,
        again=clip.images,
        ignore=masks.ignore if masks else lambda frame: None,
        on_frame=after_frame,
    )
    watch.lap("track")
    check_trackable(tracked)
    maps = depths.collect(progress)
    watch.lap("depth")
    if depth is not None and not maps:
        progress.warn("depth.empty", f"{depth.name} gave no usable depth for any keyframe; solving on geometry alone.")
    fov = [m.fov_x_deg for m in maps.values() if m.fov_x_deg]
    if settings.focal_px is None and info.focal_px:
        settings = replace(settings, focal_px=info.focal_px, focal_source=info.focal_source or "metadata")
    elif settings.focal_px is None and fov:
        settings = replace(
            settings, focal_px=0.5 * info.width / np.tan(np.radians(float(np.median(fov))) / 2), focal_source="network"
        )
    tracked, described = with_users(tracked, user_tracks, progress)
    view = ShotView(tracked.tracks, info.width, info.height, maps, pixel_aspect=info.pixel_aspect)
    view.depth_term = settings.depth_use == "all"
    trust(view, described)
    warn_of_cuts(tracked.tracks, apart(tracked.tracks, np.ones(tracked.tracks.track_count)), progress)
    winner, contenders, tracks, held, lens = reconstruct(view, settings, effort, progress, watch, preview, tracked.colour)
    fit_held_out(view, winner, held)
    solution = assemble(clip, settings, view, tracked, winner, contenders, tracks, held, lens, maps, depth, progress, watch)
    quality = solution.quality | {
        "joined_by_descriptors": [int(tracked.tracks.frame_numbers[i]) for i in tracked.bridged_by_descriptors]
    }
    solution = replace(solution, settings=settings.record(), track_colour=tracked.colour, user_tracks=described, quality=quality)
    return replace(
        with_errors(solution),
        timings={k: round(v, 3) for k, v in watch.seconds.items()} | {"total": round(time.perf_counter() - watch.begun, 3)},
    )


def warn_of_cuts(tracks: Tracks, unjoined: np.ndarray, progress: Progress) -> None:
    """Say where a clip seems to hold more than one shot; unjoined (F,) bool: frames that no track joins to most of the others."""
    numbers = np.asarray(tracks.frame_numbers)
    seen = np.bincount(tracks.frame_index, minlength=len(numbers))
    others = unjoined & (seen >= FEWEST_IN_SHOT)
    if others.sum() >= SHORTEST_SHOT:
        step = int(numbers[1] - numbers[0])
        progress.warn(
            "clip.cuts",
            f"Frames {ranges(numbers[others], step)} seem to be another shot than {ranges(numbers[~unjoined], step)}: there is a "
            "cut, or something hides all of the picture. One camera is solved, that of the latter; solve other shots by "
            "themselves (first and last frame in the settings).",
        )


def check_size(info: ClipInfo) -> None:
    """Refuse pictures that no patch fits into. Raises HoldfastError (clip.too_small)."""
    if min(info.width, info.height) < SMALLEST_SIDE_PX:
        raise HoldfastError(
            "clip.too_small",
            f"The clip's pictures are {info.width}x{info.height} px: nothing can be followed in less than {SMALLEST_SIDE_PX} px.",
            "Check that it is the shot itself, and not a thumbnail or a placeholder.",
            EXIT_INPUT,
        )


def check_trackable(tracked: TrackedClip) -> None:
    """Refuse clips without anything to follow."""
    tracks = tracked.tracks
    frames = len(tracks.frame_numbers)
    if frames < 3:
        raise HoldfastError(
            "clip.too_short",
            f"The clip has {frames} usable frame(s); a camera track needs at least 3.",
            "Choose a longer range.",
            EXIT_UNSOLVED,
        )
    if tracks.track_count < 12:
        raise HoldfastError(
            "track.nothing",
            f"Only {tracks.track_count} points could be followed: the picture is black, blank, or changes completely "
            "from frame to frame.",
            "Check the clip and the range; brighten dark footage; look whether a mask hides everything.",
            EXIT_UNSOLVED,
        )
    seen = np.bincount(tracks.frame_index, minlength=frames)
    if (seen >= 8).sum() < max(3, 0.5 * frames):
        raise HoldfastError(
            "track.too_few",
            f"Fewer than 8 points can be followed in {int((seen < 8).sum())} of {frames} frames.",
            "Solve a part of the shot, or check for cuts, fades and heavy blur.",
            EXIT_UNSOLVED,
        )
