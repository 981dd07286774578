"""First reconstructions go on until they have settled, and are freed of movers."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from .effort import Effort
from .hypotheses import DEFAULT_FOCAL_OVER_WIDTH, alike, candidates, choose_tracks
from .initialise import Started, lift_seen, start
from .movers import explained, smooth_movers
from .parallel import side_by_side
from .reconstruct import Model, State, from_start, is_flat, trim
from .types import LABEL_MOVER, LABEL_STATIC, Settings
from .view import ShotView

SECOND_GO = 1000  # added to the seed
SHARP_LOOK = 0.6
ZOOM_DISCOUNT = 0.87  # a zooming lens takes up some of a path, or of what people do: it must explain clearly more
MOVERS_TELL = (0.06, 0.8)  # share of movers from which, and up to which, starting again without them is worth the time
SAME_MOVERS = 0.02  # share of the tracks that changed sides in a round up to which the next brings nothing new
CROWD = 0.15  # share of movers that can have carried the path along, so that a second go is worth the time


@dataclass
class Settled:
    """A start that was trimmed until nothing changed."""

    started: Started
    model: Model
    state: State


def contrasting(starts: list[Started]) -> list[Started]:
    """The best start; the best of another kind or focal length, and the best that only turns, when they come close."""
    best = starts[0]
    out = [best]
    for other in starts[1:]:
        if other.cost < 1.25 * best.cost + 0.5 and not alike(other.options, best.options):
            out.append(other)
            break
    turning = [s for s in starts if not s.options.translation and s.cost < 2 * best.cost + 0.5]
    if turning and turning[0] not in out:
        out.append(turning[0])
    return out


def settle(
    view: ShotView,
    settings: Settings,
    started: Started,
    frames: np.ndarray,
    chosen: np.ndarray,
    use_depth: bool,
    keep_out: np.ndarray | None = None,
) -> Settled:
    """Go on from a start until it has settled."""
    state = from_start(view, started)
    if keep_out is not None:
        state.label[keep_out] = LABEL_MOVER
        for f in frames:
            lift_seen(view, state.world, int(f), chosen, use_depth)
    model = base_model(view, settings, started, use_depth)
    trim(view, state, frames, chosen, model)
    return Settled(started, model, state)


def freed_of_movers(
    view: ShotView,
    settings: Settings,
    effort: Effort,
    settled: list[Settled],
    frames: np.ndarray,
    chosen: np.ndarray,
    tracks: np.ndarray,
    use_depth: bool,
) -> tuple[Settled, np.ndarray]:
    """The best reconstruction without movers, and the tracks (N,) bool it rests on.

    People can carry a path whatever is tried next from there: where much moves, a second go by other tracks, from every focal
    length, runs beside the first.
    """
    lead = best_of(view, settled, frames, chosen)
    kinds = [o for o in candidates(view, settings, use_depth) if o.translation and not o.focal_varies]
    goes = [(lead, chosen, settings.seed)]
    doubtful = lead.model.translation or lead.model.focal_varies  # a zoom may be what is left of a path that follows people
    if kinds and doubtful and crowded(view, lead, frames, chosen):
        seed = settings.seed + SECOND_GO
        those = choose_tracks(view, frames, effort.start_tracks, tracks, seed)
        begun = side_by_side(
            lambda kind: settle(view, settings, start(view, frames, those, kind, seed), frames, those, use_depth), kinds
        )
        goes.append((best_of(view, begun, frames, those), those, seed))

    def go(task: tuple[Settled, np.ndarray, int]) -> tuple[Settled, np.ndarray]:
        best, those, seed = task
        return without_movers(view, settings, best, frames, those, use_depth, seed), those

    freed = side_by_side(go, goes)
    # a sharp look: what is right is right to well within the noise
    noise = SHARP_LOOK * min(s.state.scale for s, _ in freed)

    def score(those: tuple[Settled, np.ndarray]) -> float:
        settled, by = those
        share = explained(view, settled.state, frames, by, settled.model.translation, noise)
        return share * (ZOOM_DISCOUNT if settled.model.focal_varies else 1.0)

    return max(freed, key=score)


def without_movers(
    view: ShotView,
    settings: Settings,
    best: Settled,
    frames: np.ndarray,
    chosen: np.ndarray,
    use_depth: bool,
    seed: int,
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
            start(view, frames, chosen & ~movers, options, seed),
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


def crowded(view: ShotView, lead: Settled, frames: np.ndarray, chosen: np.ndarray) -> bool:
    """Whether enough moves in the picture to pull the camera along."""
    return bool(smooth_movers(view, lead.state.label, frames, chosen).sum() >= CROWD * chosen.sum())


def best_of(view: ShotView, settled: list[Settled], frames: np.ndarray, chosen: np.ndarray) -> Settled:
    """The reconstruction that explains most of the picture to within the noise; a zooming lens must be clearly better."""
    noise = min(s.state.scale for s in settled)

    def score(s: Settled) -> float:
        return (
            explained(view, s.state, frames, chosen, s.model.translation, noise)
            * ((ZOOM_DISCOUNT if s.model.translation else 0.99) if s.model.focal_varies else 1.0)
            * (0.97 if s.model.k1 else 1.0)
            * (1.0 if s.model.translation else 1.02)
        )

    best = max(settled, key=score)
    if best.model.translation and is_flat(view, best.state, frames, chosen):
        # towards a wall a dolly and a zoom look the same, and every point's own depth takes up some of its track's drift
        zooms = [s for s in settled if not s.model.translation and s.model.focal_varies and score(s) > 0.75 * score(best)]
        best = max(zooms, key=score, default=best)
    return best


def base_model(view: ShotView, settings: Settings, started, use_depth: bool) -> Model:
    """The model a start goes on with: its own kind, with what the user asked for."""
    o = started.options
    return Model(
        translation=o.translation,
        focal_free=o.focal_free,
        focal_varies=o.focal_varies,
        k1=o.distortion or settings.distortion in ("radial1", "radial2"),
        k2=settings.distortion == "radial2",
        row_time=settings.rolling_shutter == "on",
        depth=use_depth,
        focal_prior_log=float(np.log(settings.focal_px or DEFAULT_FOCAL_OVER_WIDTH * view.width)),
        focal_prior_sigma=0.05 if settings.focal_px else 0.5,
    )
