"""Which kind of shot is it? The starts worth trying, and the frames and tracks to try them on."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np

from .initialise import StartOptions, choose_frames
from .types import Settings
from .view import ShotView

# Fields of view of common film lenses, as focal length over image width: 15 to 120 mm on Super 35.
FOCAL_OVER_WIDTH = (0.7, 1.2, 2.2)
DEFAULT_FOCAL_OVER_WIDTH = 1.3
MAX_STILL_PX = 0.35
ACROSS = 0.15  # of the picture's width: what a set may cross from one frame to the next behind somebody who is followed
SLOWER, FASTER = 0.15, 0.75  # of the tracks: what the slower share, on somebody, stays below, and what most of the set does
FOLLOWED = 0.4  # times as fast as the set: who is followed hardly moves in the picture


def start_frames(view: ShotView, wanted: int, need_depth: bool) -> np.ndarray:
    """Frames for the first reconstruction: well spread, with a keyframe near the middle, and joined by enough tracks."""
    frames = choose_frames(view, wanted)
    if need_depth and view.keys:
        frames = np.union1d(frames, [view.keys[len(view.keys) // 2]])
    return close_gaps(view, behind_whom_is_followed(view, frames))


def behind_whom_is_followed(view: ShotView, frames: np.ndarray) -> np.ndarray:
    """Add frames where the camera follows somebody: the set must not cross too much of the picture from one to the next.

    Who is followed stays in the picture and has the long tracks. The set behind is seen three times, as it must be to hold the
    camera, only if it is looked at more often. The streaks of a whip pan show nothing more often.
    """
    slower, faster = (np.cumsum(np.where(view.racing, 0.0, view.steps(q))) / view.width for q in (SLOWER, FASTER))
    out = [frames]
    for a, b in itertools.pairwise(frames):
        way = faster[b] - faster[a]
        if slower[b] - slower[a] < FOLLOWED * way and way > ACROSS:
            out.append(np.searchsorted(faster, np.linspace(faster[a], faster[b], int(np.ceil(way / ACROSS)) + 1)[1:-1]))
    return np.unique(np.concatenate(out))


def close_gaps(view: ShotView, frames: np.ndarray, share: float = 0.45) -> np.ndarray:
    """Add frames where neighbours share less than this part of their tracks (fast moves)."""
    t = view.tracks
    sets: dict[int, np.ndarray] = {}

    def seen(f: int) -> np.ndarray:
        if f not in sets:
            sets[f] = t.track[view.rows_of(f)]
        return sets[f]

    out = [int(frames[0])]
    for f in frames[1:]:
        stack = [int(f)]
        while stack:
            b = stack[-1]
            a = out[-1]
            both = len(np.intersect1d(seen(a), seen(b), assume_unique=True))
            if b - a > 1 and both < share * max(min(len(seen(a)), len(seen(b))), 1):
                stack.append((a + b) // 2)
            else:
                out.append(stack.pop())
    return np.array(out)


def choose_tracks(view: ShotView, frames: np.ndarray, wanted: int, allowed: np.ndarray, seed: int) -> np.ndarray:
    """(N,) bool: long tracks, spread over the picture of every frame."""
    t = view.tracks
    rows = np.isin(t.frame_index, frames)
    length = np.bincount(t.track[rows], minlength=t.track_count) * np.where(view.trusted, 100, 1)
    rng = np.random.default_rng(seed)
    jitter = rng.uniform(0.8, 1.2, t.track_count)
    chosen = np.zeros(t.track_count, bool)
    cells = int(np.ceil(np.sqrt(wanted)))
    order = sorted(frames, key=lambda f: abs(f - frames[len(frames) // 2]))
    per_cell = max(1, wanted // (cells * cells))
    for f in order:
        r = view.rows_of(int(f))
        r = r[(length[t.track[r]] >= 3) & allowed[t.track[r]]]
        cell = np.clip(t.xy[r, 1] / view.height * cells, 0, cells - 1).astype(int) * cells + np.clip(
            t.xy[r, 0] / view.width * cells, 0, cells - 1
        ).astype(int)
        have = np.bincount(cell[chosen[t.track[r]]], minlength=cells * cells)
        best = np.argsort(-(length * jitter)[t.track[r]], kind="stable")
        for i in best:
            if not chosen[t.track[r[i]]] and have[cell[i]] < per_cell:
                have[cell[i]] += 1
                chosen[t.track[r[i]]] = True
    return chosen


def is_still(view: ShotView) -> bool:
    """True when most tracks stay where they are: a lock-off."""
    t = view.tracks
    away, length = view.away_from_mean()
    spread = np.bincount(t.track, away, minlength=t.track_count) / np.maximum(length, 1)
    long = length >= 0.5 * view.frame_count
    if long.sum() < 20:
        return False
    # rocking by a few hundredths of a pixel is the tracker's; a camera that moves takes (nearly) everything along
    return bool(np.median(spread[long]) < MAX_STILL_PX * 0.3 and np.percentile(spread[long], 70) < MAX_STILL_PX)


def assumed_focal_px(settings: Settings, width_px: float) -> float:
    """What the user says, or a usual lens."""
    return settings.focal_px or DEFAULT_FOCAL_OVER_WIDTH * width_px


def candidates(view: ShotView, settings: Settings, use_depth: bool) -> list[StartOptions]:
    """Starts worth trying under the user's settings."""
    w = view.width
    varies = settings.focal_mode == "varying"
    fixed = settings.focal_px if settings.focal_px and settings.focal_mode == "known" else None
    distortion = settings.distortion in ("radial1", "radial2")
    if fixed:
        focals, free, sigma = (fixed / w,), False, 0.02
    elif settings.focal_px:
        focals, free, sigma = (settings.focal_px / w,), True, 0.08
    else:
        focals, free, sigma = FOCAL_OVER_WIDTH, True, 0.6
    middle = focals[len(focals) // 2] * w
    out: list[StartOptions] = []
    if settings.motion in ("auto", "rotation"):
        # the second: a zoom on a tripod
        for v in (False, True) if settings.focal_mode == "auto" and free else (varies,):
            out.append(StartOptions(middle, free, v and free, sigma, False, translation=False, distortion=distortion))
    if settings.motion in ("auto", "free"):
        # along a wide arc a network's depth under a wrong focal length leads astray; points at one distance do not
        lifts = (True, False) if use_depth and free else (use_depth,)
        if not varies or not free:
            out += [StartOptions(f * w, free, False, sigma, use_depth, distortion=distortion) for f in focals]
            out += [StartOptions(middle, free, False, sigma, lift, distortion=distortion) for lift in lifts[1:]]
        if free and settings.focal_mode in ("auto", "varying"):
            out += [StartOptions(middle, free, True, sigma, lift, distortion=distortion) for lift in lifts]
    return [replace(o, essential=settings.start_by == "essential" and o.translation) for o in out]
