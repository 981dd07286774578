"""Which kind of shot is it? Quick starts under competing assumptions, on few frames and tracks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from .initialise import Started, StartOptions, choose_frames, grow, start
from .parallel import side_by_side
from .types import Settings
from .view import ShotView

# Fields of view of common film lenses, as focal length over image width: 15 to 120 mm on Super 35.
FOCAL_OVER_WIDTH = (0.7, 1.2, 2.2)
DEFAULT_FOCAL_OVER_WIDTH = 1.3
LONG_LENS = 1.6  # focal length over the picture's width from which perspective tells little of it
AS_GOOD = 1.25  # ratio of the costs of two quick starts that may change places
LONGER = 2.2  # times as long a lens as was found, to begin with where that seems long
MAX_STILL_PX = 0.35
SAME_FOCAL = 0.02  # in log
ENDED_ALIKE = 1.06  # ratio of the costs of two starts that ended in the same place
CLEAN_COST = 8.0  # of a start without crowds in the picture


def start_frames(view: ShotView, wanted: int, need_depth: bool) -> np.ndarray:
    """Frames for the first reconstruction: well spread, with a keyframe near the middle, and joined by enough tracks."""
    frames = choose_frames(view, wanted)
    if need_depth and view.keys:
        frames = np.union1d(frames, [view.keys[len(view.keys) // 2]])
    return _close_gaps(view, frames)


def _close_gaps(view: ShotView, frames: np.ndarray, share: float = 0.45) -> np.ndarray:
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
    length = np.bincount(t.track, minlength=t.track_count)
    mean = (
        np.stack([np.bincount(t.track, view.xy[:, k], minlength=t.track_count) for k in (0, 1)], 1)
        / np.maximum(length, 1)[:, None]
    )
    away = np.hypot(*(view.xy - mean[t.track]).T)
    spread = np.bincount(t.track, away, minlength=t.track_count) / np.maximum(length, 1)
    long = length >= 0.5 * view.frame_count
    if long.sum() < 20:
        return False
    # rocking by a few hundredths of a pixel is the tracker's; a camera that moves takes (nearly) everything along
    return bool(np.median(spread[long]) < MAX_STILL_PX * 0.3 and np.percentile(spread[long], 70) < MAX_STILL_PX)


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


def found_options(started: Started, frames: np.ndarray) -> StartOptions:
    """The same options, beginning with the focal length that was found."""
    if not started.options.focal_free:
        return started.options
    return replace(started.options, focal_px=float(np.exp(np.median(started.world.log_focal[frames]))))


def alike(one: StartOptions, other: StartOptions) -> bool:
    """Whether two starts that have found their focal length have found the same."""
    kind = (one.translation, one.focal_varies) == (other.translation, other.focal_varies)
    return kind and abs(np.log(one.focal_px / other.focal_px)) < SAME_FOCAL


def telling(options: list[StartOptions]) -> list[StartOptions]:
    """The few starts that a shot without riddles needs: turning; the middle lens with the network's depth and without, zooming
    and not."""
    turning = [o for o in options if not o.translation]
    moving = [o for o in options if o.translation]
    middle = float(np.median([o.focal_px for o in moving])) if moving else 0.0
    there = [o for o in moving if o.focal_px == middle]
    constant, varying = ([o for o in there if o.focal_varies == v] for v in (False, True))
    return turning[-1:] + constant + varying[-1:]


def agreed(heats: list[Started], frames: np.ndarray) -> bool:
    """Whether the starts of one lens, with the network's depth and without, ended alike and nothing else comes near: then other
    starts would end there, too."""
    constant = sorted((h for h in heats if h.options.translation and not h.options.focal_varies), key=lambda h: h.cost)
    others = [h for h in heats if h not in constant]
    if len(constant) < 2:
        return False
    best, second = constant[:2]
    same = alike(found_options(best, frames), found_options(second, frames)) and second.cost < ENDED_ALIKE * best.cost
    turning = [h.cost for h in others if not h.options.translation]
    zooming = [h.cost for h in others if h.options.translation]
    return (
        same
        and best.cost < CLEAN_COST
        and min(turning, default=np.inf) > 2 * best.cost
        and min(zooming, default=np.inf) > 0.95 * best.cost
    )


def best_starts(
    view: ShotView, frames: np.ndarray, tracks: np.ndarray, options: list[StartOptions], seed: int, progress=None
) -> tuple[list[Started], bool]:
    """(starts, the best first by the mean saturating cost of the pixels; whether the camera travels beyond doubt).

    All candidates run on half of the frames and tracks; the best, and a second that is close to it, run in full.
    """
    turning: list[Started] = []
    travels = False
    small: dict[StartOptions, Started] = {}
    best: list[StartOptions] = []
    if len(options) > 2 and len(frames) >= 9:
        few = frames[np.unique(np.linspace(0, len(frames) - 1, max(6, len(frames) // 2)).round().astype(int))]
        with_depth = np.intersect1d(frames, view.keys)
        if len(with_depth):
            few = np.union1d(few, with_depth[len(with_depth) // 2])  # a start needs the network's word on one of them
        few = _close_gaps(view, few, share=0.3)
        rng = np.random.default_rng(seed)
        some = tracks & (rng.uniform(size=len(tracks)) < 0.5)

        def run(those: list[StartOptions], before: int) -> list[Started]:
            told = None if progress is None else lambda count: progress(before + count, len(options) + 2)
            return side_by_side(lambda o: start(view, few, some, o, seed), those, told)

        first = [o for o in options if o in telling(options)]
        heats = run(first, 0)
        if not agreed(heats, few):
            heats += run([o for o in options if o not in first], len(first))
        heats.sort(key=lambda h: h.cost)
        moving = [h for h in heats if h.options.translation]
        turning = [h for h in heats if not h.options.translation]
        travels = bool(moving and turning and turning[0].cost > 3 * moving[0].cost + 1)
        small = {found_options(h, few): h for h in heats}
        best = [found_options(heats[0], few)]
        second = found_options(heats[1], few)
        if heats[1].cost < 1.6 * heats[0].cost + 0.5 and not alike(second, best[0]):
            best.append(second)
        # once more by all tracks, and carried on as well: the one finds the way out of a mirror image (with hardly any parallax
        # few tracks are content with either), the other keeps along a wide arc what was found
        options = list(best)
        if moving and turning and turning[0].cost < 2.5 * moving[0].cost + 0.5 and not any(not o.translation for o in options):
            options.append(found_options(turning[0], few))  # far fewer unknowns: it need not fit quite as well as yet
        if moving and turning and not travels:
            # a pan tells its focal length by turning alone: travel from there
            focal = found_options(turning[0], few).focal_px
            pan = replace(moving[0].options, focal_px=focal, focal_varies=False)
            if not any(o.translation and not o.focal_varies and abs(o.focal_px / focal - 1) < 0.04 for o in options):
                options.append(pan)
        clean = heats[0].cost < CLEAN_COST  # in a crowd all starts are alike
        near = [o for o, h in small.items() if clean and o.translation and h.cost < AS_GOOD * heats[0].cost]
        seeming = [o for o in (*options, *near) if o.focal_free and not o.focal_varies and o.focal_px > LONG_LENS * view.width]
        if moving and seeming:
            # a start falls short of a long lens by far, and may end in the mirror image, which is the better one there
            longest = max(seeming, key=lambda o: o.focal_px)
            lifted = any(o.use_depth for o in small)
            options.append(replace(longest, focal_px=LONGER * longest.focal_px, use_depth=lifted, translation=True))

    def in_full(job: tuple[StartOptions, Started | None]) -> Started:
        options, found = job
        return start(view, frames, tracks, options, seed) if found is None else grow(view, found, frames, tracks, options, seed)

    jobs = [(o, None) for o in best] + [(o, small.get(o)) for o in options if o not in best[1:]]
    jobs.sort(key=lambda job: job[1] is not None)  # what takes longest comes first
    done = side_by_side(in_full, jobs)
    done.sort(key=lambda s: s.cost)
    if turning and done[0].options.translation:
        travels |= turning[0].cost > 3 * done[0].cost + 1
    return done, travels
