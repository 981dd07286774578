"""Heats: quick starts under competing assumptions, on few frames and tracks, and the few that are worth all of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from .hypotheses import close_gaps
from .initialise import Started, StartOptions, grow, start
from .parallel import side_by_side
from .view import ShotView

LONG_LENS = 1.6  # focal length over the picture's width from which perspective tells little of it
FAR_BEYOND = 3.5  # nobody begins with so long a lens but where a longer one is looked for
LONGER = 2.2  # times as long a lens as was found, to begin with where that seems long
SAME_FOCAL, NEAR_FOCAL = 0.02, 0.2  # in log: found the same; near enough to end in the same place
CLEAN_COST = 8.0  # of a start without crowds in the picture, under a lens that is straight and not too long
# Ratios of the costs of two starts:
ENDED_ALIKE = 1.06  # that ended in the same place
AS_GOOD = 1.25  # that may change places once they have all frames
PROMISING = 1.5  # up to which a start of a lens that nothing else has tried may be the right one
NO_WORSE = 1.02  # up to which one that does not zoom explains all that a zoom does
BENDS = 0.7  # down to which a lens that bends the picture brings it, where it does
TURNS = 2.0  # up to which turning alone may be all there is: other lenses change nothing
TRAVELS = 3.0  # from which the camera travels,
PLAIN = 4.0  # from which other lenses are not asked where one path explains everything,
FAR = 5.0  # and from which its parallax is there for everybody to see


@dataclass(frozen=True)
class Begun:
    """Starts, the best first by the mean saturating cost of the pixels; travels: whether the camera does so beyond doubt;
    bend_tried: whether the best was tried under a lens that bends the picture, too."""

    starts: list[Started]
    travels: bool
    bend_tried: bool


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


def by_motion(heats: list[Started]) -> tuple[list[Started], list[Started]]:
    """Those that travel and those that turn, the best of each first."""
    ordered = sorted(heats, key=lambda h: h.cost)
    return [h for h in ordered if h.options.translation], [h for h in ordered if not h.options.translation]


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


def plain(heats: list[Started], frames: np.ndarray) -> bool:
    """Whether one path explains everything and a turn next to nothing: another lens would hardly lead elsewhere, unless it has
    become longer on the way."""
    moving, turning = by_motion(heats)
    if not (moving and turning) or moving[0].cost > CLEAN_COST / 2 or _ratio(turning[0], moving[0]) < PLAIN:
        return False
    return _lengthened(moving[0], frames) < NEAR_FOCAL


def only_turns(heats: list[Started]) -> bool:
    """Whether turning explains nearly as much as any path does, whatever the lens."""
    best = min(h.cost for h in heats)
    _, turning = by_motion(heats)
    return bool(turning) and turning[0].cost < min(TURNS * best + 0.3, CLEAN_COST / 2)


def best_starts(
    view: ShotView,
    frames: np.ndarray,
    tracks: np.ndarray,
    options: list[StartOptions],
    seed: int,
    progress=None,
    may_bend: bool = False,
) -> Begun:
    """Starts of all frames by all tracks. may_bend: whether the lens may bend the picture where nothing else fits.

    All candidates run on half of the frames and tracks; the best, and a second that is close to it, run in full.
    """
    if len(options) <= 2 or len(frames) < 9:
        starts = side_by_side(lambda o: start(view, frames, tracks, o, seed), options)
        return Begun(sorted(starts, key=lambda s: s.cost), False, False)
    few = frames[np.unique(np.linspace(0, len(frames) - 1, max(6, len(frames) // 2)).round().astype(int))]
    with_depth = np.intersect1d(frames, view.keys)
    if len(with_depth):
        few = np.union1d(few, with_depth[len(with_depth) // 2])  # a start needs the network's word on one of them
    few = close_gaps(view, few, share=0.3)
    some = tracks & (np.random.default_rng(seed).uniform(size=len(tracks)) < 0.5)
    heats, bend_tried = _heats(lambda o: start(view, few, some, o, seed), few, options, may_bend, progress)
    jobs, travels = _worth_in_full(view, heats, few)

    def in_full(job: tuple[StartOptions, Started | None]) -> Started:
        options, found = job
        return start(view, frames, tracks, options, seed) if found is None else grow(view, found, frames, tracks, options, seed)

    jobs.sort(key=lambda job: job[1] is not None)  # what takes longest comes first
    done = sorted(side_by_side(in_full, jobs), key=lambda s: s.cost)
    _, turning = by_motion(heats)
    if turning and done[0].options.translation:
        travels |= _ratio(turning[0], done[0]) > TRAVELS
    return Begun(done, travels, bend_tried)


def _heats(
    begin: Callable[[StartOptions], Started], few: np.ndarray, options: list[StartOptions], may_bend: bool, progress
) -> tuple[list[Started], bool]:
    """What the candidates come to, the best first, and whether a lens that bends was among them; begin(options) starts one."""
    total = len(options) + 2

    def run(those: list[StartOptions], before: int) -> list[Started]:
        return side_by_side(begin, those, None if progress is None else lambda count: progress(before + count, total))

    first = [o for o in options if o in telling(options)]
    heats = run(first, 0)
    if not (agreed(heats, few) or plain(heats, few)):
        rest = [o for o in options if o not in first]
        heats += run([o for o in rest if not o.translation] if only_turns(heats) else rest, len(first))
    heats.sort(key=lambda h: h.cost)
    moving, turning = by_motion(heats)
    if heats[0].cost < CLEAN_COST or not moving:
        return heats, False
    # nothing fits: a crowd, a lens that bends the picture, or one far longer than those tried (a turn asks for it, too)
    bent = [replace(found_options(moving[0], few), distortion=True)] if may_bend else []
    lenses = sorted((o for o in options if o.translation and not o.focal_varies), key=lambda o: o.focal_px)
    turned = max((_lengthened(h, few) for h in turning), default=np.inf)
    ask = lenses and lenses[-1].focal_px > lenses[0].focal_px and turned > NEAR_FOCAL / 2
    longer = [replace(lenses[-1], focal_px=LONGER * lenses[-1].focal_px)] if ask else []
    solved = run(bent + longer, len(options))
    heats += [h for h in solved if h.options in longer or h.cost < BENDS * heats[0].cost]
    return sorted(heats, key=lambda h: h.cost), may_bend


def _worth_in_full(
    view: ShotView, heats: list[Started], few: np.ndarray
) -> tuple[list[tuple[StartOptions, Started | None]], bool]:
    """Which starts are worth all frames and tracks, each with the heat that it carries on, or None to begin afresh; whether the
    camera travels."""
    needed = _without_needless_zooms(heats)
    moving, turning = by_motion(needed)
    ratio = _ratio(turning[0], moving[0]) if moving and turning else 1.0
    travels = ratio > TRAVELS
    clean = heats[0].cost < CLEAN_COST  # in a crowd all starts are alike
    turns = only_turns(heats)
    small = {found_options(h, few): h for h in heats}
    first, *others = needed
    best = [found_options(first, few)]
    if others and clean and not turns:
        second = found_options(others[0], few)
        if others[0].cost < 1.6 * first.cost + 0.5 and not alike(second, best[0]):
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
        if not any(o.translation and not o.focal_varies and abs(np.log(o.focal_px / focal)) < NEAR_FOCAL for o in options):
            options.append(pan)
    if not clean and first.options.translation:
        # far from where it began, a start by few tracks and frames stops on the way to a long lens
        options += [h.options for h in others if h.options.focal_px > FAR_BEYOND * view.width and h.cost < PROMISING * first.cost]
    # what came close and became no shorter may be short of a long lens by far
    near = [o for o, h in small.items() if clean and h.cost < AS_GOOD * first.cost and o.focal_px > h.options.focal_px]
    seeming = [
        o
        for o in (*options, *near)
        if o.translation and o.focal_free and not o.focal_varies and o.focal_px > LONG_LENS * view.width
    ]
    if moving and seeming and not turns and max(h.options.focal_px for h in heats) < FAR_BEYOND * view.width:
        # a start falls short of a long lens by far, and may end in the mirror image, which is the better one there
        longest = max(seeming, key=lambda o: o.focal_px)
        lifted = any(o.use_depth for o in small)
        options.append(replace(longest, focal_px=LONGER * longest.focal_px, use_depth=lifted))
    if turns or (clean and ratio > FAR):
        return [(o, small.get(o)) for o in options], travels
    return [(o, None) for o in best] + [(o, small.get(o)) for o in options if o not in best[1:]], travels


def _lengthened(started: Started, frames: np.ndarray) -> float:
    """By how much, in log, its lens has become longer than it began."""
    return float(np.log(found_options(started, frames).focal_px / started.options.focal_px))


def _ratio(worse: Started, better: Started) -> float:
    """Of their costs, over the noise."""
    return worse.cost / (better.cost + 1 / 3)


def _without_needless_zooms(heats: list[Started]) -> list[Started]:
    """The heats without those that zoom where the same camera without a zoom explains as much."""

    def needless(h: Started) -> bool:
        return h.options.focal_varies and any(
            o.options.translation == h.options.translation and not o.options.focal_varies and o.cost < NO_WORSE * h.cost
            for o in heats
        )

    return [h for h in heats if not needless(h)]
