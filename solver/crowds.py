"""Reconstructions freed of what moves: the camera follows the set, not the people."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from .bodies import HALF, LEAST_NEIGHBOURS, ONE_BODY, Body, begun_from, bodies, gathered, resting_on
from .hypotheses import candidates
from .initialise import StartOptions, start
from .movers import explained, share_of_picture, smooth_movers
from .parallel import side_by_side
from .settle import Settled, best_of, rather_a_zoom, settle, zoom_discount
from .shared_parallax import sharing_a_path
from .types import LABEL_STATIC, Settings
from .view import ShotView

SHARP_LOOK = 1.4  # times the noise of the cleanest: what is right is right to within it, a compromise only roughly
MOVERS_TELL = (0.06, 0.8)  # share of movers from which, and up to which, starting again without them is worth the time
LEVEL = 0.05  # of what the best explains: as good
SAME_MOVERS = 0.02  # share of the tracks that changed sides in a round up to which the next brings nothing new
IN_COMMON = 0.02  # share of the picture that the paths of two parts of the set both fit
FIRST_LENSES = 2  # those near the one under which a turn explains most, or the shorter ones, before the rest is tried,
WAYS_AT_ONCE = 2  # the nearest first: where it finds the set, others are not asked
SAME_LENS, SAME_SET = 0.1, 0.8  # in log of focal length; share of what rests in either: reconstructions ended alike
ABOUT = 0.03  # by which the residuals of a reconstruction may be above those of one that has taken much longer
CROWD = 0.15  # share of movers that can have carried the path along, so that looking for bodies is worth the time
RESTLESS, RESTLESS_TURN = 0.28, 0.15  # share of tracks not at rest from which it is, too
AS_SHARP = 1.06  # times the noise of a part that the parts of one set have together; sets joined to people have 1.1 and more
COMPROMISE = 2.0  # times the noise that residuals have under a path between several bodies


def freed_of_movers(
    view: ShotView, settings: Settings, settled: list[Settled], frames: np.ndarray, chosen: np.ndarray, use_depth: bool
) -> Settled:
    """The best reconstruction without movers.

    People can carry a path, or bend it, whatever is tried next from there: where much moves, what takes up most of the picture
    among all that moves as one is looked for beside it.
    """
    lead = best_of(view, settled, frames, chosen)

    def refined(guess: Settled) -> Settled:
        return without_movers(view, settings, guess, frames, chosen, use_depth)

    options = travelling(view, settings, lead, use_depth)
    # tracks that the user has placed say what is at rest; bodies ask them
    turning = [] if view.trusted[chosen].any() else [s for s in settled if not s.model.translation][:1]
    if options is None or not crowded(view, lead, frames, chosen, nearly_turns=bool(turning)):
        return refined(lead)

    def singled_out(guess: Settled, clean: bool) -> tuple[list[Body], list[Settled]]:
        found = bodies(view, settings, of_one_lens(guess), frames, chosen, use_depth, options, clean)
        return found, [resting_on(view, body, frames, chosen) for body in found[:1]]

    lenses_px = sorted({o.focal_px for o in travellers(view, settings, use_depth)}) if options.focal_free else [options.focal_px]
    if turning:
        turned = np.median(turning[0].state.world.log_focal[frames])
        lenses_px.sort(key=lambda focal_px: abs(np.log(focal_px) - turned))
    resting = [rest for turn in turning for rest in resting_under(view, turn, frames, chosen)]

    zooms = any(clearly_zooms(s, frames) for s in (lead, *turning))
    first_px = lenses_px[:FIRST_LENSES]
    first = first_ways(view, settings, lead, resting, frames, chosen, use_depth, options, first_px, zooms)
    if first.all_there_is:
        return first.clean
    # clean under one lens, or the same under two: no need of others
    further_px = [] if first.clean or first.agreed else lenses_px[FIRST_LENSES:]
    further = ways_from(view, settings, first.resting, frames, chosen, use_depth, options, further_px)
    if zooms:
        zooming = replace(options, focal_varies=True, focal_px=float(np.median(lenses_px)))
        some_px = first_px[:1] if first.agreed else first_px
        further = while_zooming(view, settings, lead, first.resting, frames, chosen, use_depth, zooming, some_px) + further
    guess = first.clean or lead
    *others, (found, largest) = side_by_side(
        lambda way: way(), [*further, partial(refined, guess), partial(singled_out, guess, first.clean is not None)]
    )
    best = sharpest(view, [*first.begun, *largest, *others], frames, chosen)
    parts_px = list(dict.fromkeys([options.focal_px, *first_px]))
    return with_parts(view, settings, best, found, frames, chosen, use_depth, parts_px)


@dataclass(frozen=True)
class FirstWays:
    """What came of beginning from what rests under a turn, under the first lenses: the reconstructions; the sets of tracks that
    further ones should begin from; the best, where that fits as one body does; whether nothing else can be larger than it;
    whether the lenses led to the same."""

    begun: list[Settled]
    resting: list[np.ndarray]
    clean: Settled | None = None
    all_there_is: bool = False
    agreed: bool = False


def first_ways(
    view: ShotView,
    settings: Settings,
    lead: Settled,
    resting: list[np.ndarray],
    frames: np.ndarray,
    chosen: np.ndarray,
    use_depth: bool,
    options: StartOptions,
    lenses_px: list[float],
    zooms: bool,
) -> FirstWays:
    """Begins from each of several sets of tracks, `resting`, lens by lens, until that has found the set or no lens is left.

    zooms: whether the lens seems to zoom, so that one that does not cannot have the last word.
    """
    begun: list[Settled] = []
    by_rest: list[list[Settled]] = [[] for _ in resting]  # the same, lens by lens
    clean = None
    while by_rest and len(by_rest[0]) < len(lenses_px):
        asked = len(by_rest[0])
        at_once = lenses_px[asked : asked + max(1, WAYS_AT_ONCE // len(resting))]
        ways = ways_from(view, settings, resting, frames, chosen, use_depth, options, at_once)
        latest = side_by_side(lambda way: way(), ways)
        begun += latest
        for k, of_rest in enumerate(by_rest):
            of_rest += latest[k :: len(resting)]
        best = sharpest(view, [lead, *begun], frames, chosen)
        fits = best is not lead and best.state.scale < min(ONE_BODY, (1 + ABOUT) * lead.state.scale)
        clean = best if fits else None
        if clean and not zooms and share_at_rest(view, clean, frames, chosen) > HALF:
            return FirstWays(begun, resting, clean, all_there_is=True)
        if len(resting) > 1 and ended_alike(latest, frames, chosen):  # either will do
            better = sharpest(view, latest, frames, chosen)
            at = next(k for k, one in enumerate(latest) if one is better)
            resting, by_rest = [resting[at]], [by_rest[at]]
    agreed = bool(by_rest) and all(len(of_rest) > 1 and ended_alike(of_rest, frames, chosen) for of_rest in by_rest)
    return FirstWays(begun, resting, clean, agreed=agreed)


def clearly_zooms(settled: Settled, frames: np.ndarray) -> bool:
    """Whether the lens changes by more than people ever made it seem to."""
    return settled.model.focal_varies and zoom_discount(settled, frames) == 1


def while_zooming(
    view: ShotView,
    settings: Settings,
    lead: Settled,
    resting: list[np.ndarray],
    frames: np.ndarray,
    chosen: np.ndarray,
    use_depth: bool,
    zooming: StartOptions,
    lenses_px: list[float],
) -> list[Callable[[], Settled]]:
    """Ways to begin anew with a lens that zooms, the longest first: from the largest body; and from what rests under `lead`, if
    that zooms (its own lens may have held it to a false path), or under a turn, `resting`."""
    leads = clearly_zooms(lead, frames)
    if leads:
        resting = [chosen & (lead.state.label == LABEL_STATIC)]

    def largest() -> Settled:
        whole = lead if leads else begun_from(view, settings, frames, chosen, use_depth, zooming)
        found = bodies(view, settings, whole, frames, chosen, use_depth, zooming)
        return resting_on(view, found[0], frames, chosen) if found else lead  # too few tracks for a body

    return [largest, *ways_from(view, settings, resting, frames, chosen, use_depth, zooming, lenses_px)]


def with_parts(
    view: ShotView,
    settings: Settings,
    best: Settled,
    found: list[Body],
    frames: np.ndarray,
    chosen: np.ndarray,
    use_depth: bool,
    lenses_px: list[float],
) -> Settled:
    """The reconstruction, or one joined with what else of the bodies belongs to the set, begun under each of the focal lengths.

    A false path can fit the far end of a set to within the noise; the rest then passes for a body of its own. Such a body's path
    fits some of what is at rest, as that of a person hardly does, unless it fits nothing well. Two bodies that one path explains
    are one.
    """
    if share_at_rest(view, best, frames, chosen) > HALF:
        return best
    at_rest = chosen & (best.state.label == LABEL_STATIC)
    sharp = [body.tracks for body in found if body.settled.state.scale < COMPROMISE * best.state.scale]
    parts = [tracks for tracks in sharp if (tracks & ~at_rest).sum() >= LEAST_NEIGHBOURS]
    common = [share_of_picture(view, frames, chosen, part & at_rest) for part in parts]
    if max(common, default=0.0) < IN_COMMON:
        return best
    both = at_rest | parts[int(np.argmax(common))]

    def joined(focal_px: float) -> Settled:
        options = replace(best.started.options, focal_px=focal_px, distortion=False)
        begun = begun_from(view, settings, frames, both, use_depth, options)
        return resting_on(view, gathered(view, begun, frames, chosen, use_depth), frames, chosen)

    whole = [s for s in side_by_side(joined, lenses_px) if s.state.scale < AS_SHARP * best.state.scale]
    return sharpest(view, [best, *whole], frames, chosen)


def sharpest(view: ShotView, those: list[Settled], frames: np.ndarray, chosen: np.ndarray) -> Settled:
    """The reconstruction that explains most of the picture to well within the noise of the cleanest; among those that come close
    to it, the one that lets most of the picture rest for the size of its residuals."""
    noise = min(s.state.scale for s in those)

    def score(s: Settled) -> float:
        share = explained(view, s.state, frames, chosen, s.model.translation, noise, SHARP_LOOK, by_room=True, floor_px=0.0)
        return share * zoom_discount(s, frames)

    scores = [score(s) for s in those]
    level = [s for s, reached in zip(those, scores, strict=True) if reached >= (1 - LEVEL) * max(scores)]
    best = max(level, key=lambda s: share_at_rest(view, s, frames, chosen) / s.state.scale)
    return rather_a_zoom(view, best, those, score, frames, chosen)


def share_at_rest(view: ShotView, settled: Settled, frames: np.ndarray, chosen: np.ndarray) -> float:
    """Share of the picture whose tracks are at rest under a reconstruction."""
    return share_of_picture(view, frames, chosen, chosen & (settled.state.label == LABEL_STATIC))


def of_one_lens(settled: Settled) -> Settled:
    """The same reconstruction under a lens that does not zoom."""
    if not settled.model.focal_varies:
        return settled
    state = settled.state.copy()
    state.world.log_focal[:] = np.median(state.world.log_focal[state.world.registered])
    return replace(settled, model=replace(settled.model, focal_varies=False), state=state)


def resting_under(view: ShotView, turning: Settled, frames: np.ndarray, chosen: np.ndarray) -> list[np.ndarray]:
    """What may be at rest, (N,) bool each: the tracks that a camera explains which only turns; and these with those that one path
    explains along with them.

    A turn is stiff: it cannot take up what people do, as a path does under which each of their points has a depth of its own.
    What it explains of a small move is the far end of the set, which false paths fit as well; the near end rules those out. But
    people who hardly move can share the path.
    """
    at_rest = chosen & (turning.state.label == LABEL_STATIC)
    both = at_rest | sharing_a_path(view, turning.state, frames, chosen)
    ways = [at_rest, both] if (both & ~at_rest).any() else [at_rest]  # the same start need not be made twice
    return [rest for rest in ways if rest.sum() >= LEAST_NEIGHBOURS]


def ways_from(
    view: ShotView,
    settings: Settings,
    resting: list[np.ndarray],
    frames: np.ndarray,
    chosen: np.ndarray,
    use_depth: bool,
    options: StartOptions,
    lenses_px: list[float],
) -> list[Callable[[], Settled]]:
    """Ways to begin anew from each of several sets of tracks, `resting`, under each of the focal lengths, lens by lens."""
    return [
        partial(from_what_rests, view, settings, rest, frames, chosen, use_depth, replace(options, focal_px=focal_px))
        for focal_px in lenses_px
        for rest in resting
    ]


def ended_alike(those: list[Settled], frames: np.ndarray, chosen: np.ndarray) -> bool:
    """Whether reconstructions that began in different ways have found about the same lens and the same set."""
    log_focal = [np.median(s.state.world.log_focal[frames]) for s in those]
    rest = [chosen & (s.state.label == LABEL_STATIC) for s in those]
    in_common = np.logical_and.reduce(rest).sum() / max(1, np.logical_or.reduce(rest).sum())
    return bool(np.ptp(log_focal) < SAME_LENS and in_common > SAME_SET)


def from_what_rests(
    view: ShotView,
    settings: Settings,
    rest: np.ndarray,
    frames: np.ndarray,
    chosen: np.ndarray,
    use_depth: bool,
    options: StartOptions,
) -> Settled:
    """What moves as one with the tracks `rest` (N,) bool."""
    begun = begun_from(view, settings, frames, rest, use_depth, options)
    return resting_on(view, gathered(view, begun, frames, chosen, use_depth), frames, chosen)


def travellers(view: ShotView, settings: Settings, use_depth: bool) -> list[StartOptions]:
    """Starts of a camera that travels and does not zoom."""
    return [o for o in candidates(view, settings, use_depth) if o.translation and not o.focal_varies]


def travelling(view: ShotView, settings: Settings, lead: Settled, use_depth: bool) -> StartOptions | None:
    """How to begin anew for a camera that travels, with the lens of `lead`; None where that is no question."""
    kinds = travellers(view, settings, use_depth)
    known = lead.started.options
    if not kinds or not (known.translation or known.focal_varies):  # a zoom may be what is left of a path that follows people
        return None
    return replace(known if known.translation and not known.focal_varies else kinds[len(kinds) // 2], distortion=False)


def without_movers(
    view: ShotView,
    settings: Settings,
    best: Settled,
    frames: np.ndarray,
    chosen: np.ndarray,
    use_depth: bool,
    rounds: int = 6,
) -> Settled:
    """The best reconstruction, beginning with `best`, once movers are kept out from the very start.

    Movers pull a first path, and the set then fits it only in part (one wall, say, for which a false path can be found).
    Starting again without them, and without whatever fits badly beside them, frees the set; a few rounds, as long as more of the
    picture comes to rest.
    """
    since = 0
    latest, without = best, None
    for _ in range(rounds):
        movers = smooth_movers(view, latest.state.label, frames, chosen)
        if not MOVERS_TELL[0] * chosen.sum() <= movers.sum() <= MOVERS_TELL[1] * chosen.sum():
            break
        # what fits badly now and then beside them may belong to them, and would hold the next path to the false one
        movers |= chosen & (latest.state.label != LABEL_STATIC)
        if without is not None and (movers ^ without).sum() <= SAME_MOVERS * chosen.sum():
            break  # the same again
        without = movers
        options = replace(latest.started.options, distortion=False)
        latest = settle(
            view,
            settings,
            start(view, frames, chosen & ~movers, options, settings.seed),
            frames,
            chosen,
            use_depth,
            keep_out=movers,
        )
        leader = best_of(view, [best, latest], frames, chosen)
        since = 0 if leader is latest else since + 1
        best = leader
        if since >= 2:
            break
    return best


def crowded(view: ShotView, lead: Settled, frames: np.ndarray, chosen: np.ndarray, nearly_turns: bool) -> bool:
    """Whether enough moves in the picture to pull the camera along, or the path fits too little of it.

    nearly_turns: a camera that only turns comes close, so that a path has much room to follow people.
    """
    movers = smooth_movers(view, lead.state.label, frames, chosen).sum()
    restless = (lead.state.label[chosen] != LABEL_STATIC).mean()
    return bool(
        movers >= CROWD * chosen.sum()
        or restless >= (RESTLESS_TURN if nearly_turns else RESTLESS)
        or lead.state.scale > COMPROMISE
    )
