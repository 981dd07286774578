"""First reconstructions go on until they have settled."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .heats import alike
from .hypotheses import assumed_focal_px
from .initialise import Started, lift_seen
from .movers import explained
from .reconstruct import Model, State, from_start, is_flat, trim
from .types import LABEL_MOVER, Settings
from .view import ShotView

# A zooming lens takes up some of a path, or of what people do: it must explain clearly more. Zooms that were none changed the
# focal length by 9 % at most, so one that changes it by more need not: in grain it explains hardly more to within the noise,
# and the self-check asks again.
ZOOM_DISCOUNT, ZOOM_CHANGE = 0.87, 0.1
ZOOM_OF_A_WALL = 0.75  # of what a dolly towards it explains


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


def best_of(view: ShotView, settled: list[Settled], frames: np.ndarray, chosen: np.ndarray) -> Settled:
    """The reconstruction that explains most of the picture to within the noise; a zooming lens must be clearly better."""
    noise = min(s.state.scale for s in settled)

    def score(s: Settled) -> float:
        return (
            explained(view, s.state, frames, chosen, s.model.translation, noise)
            * (zoom_discount(s, frames) if s.model.translation else 0.99 if s.model.focal_varies else 1.0)
            * (0.97 if s.model.k1 else 1.0)
            * (1.0 if s.model.translation else 1.02)
        )

    return rather_a_zoom(view, max(settled, key=score), settled, score, frames, chosen)


def rather_a_zoom(
    view: ShotView,
    best: Settled,
    those: list[Settled],
    score: Callable[[Settled], float],
    frames: np.ndarray,
    chosen: np.ndarray,
) -> Settled:
    """The best of those, or one that turns and zooms where the best travels towards a wall: both look the same, and every point's
    own depth takes up some of its track's drift."""
    if not best.model.translation or not is_flat(view, best.state, frames, chosen):
        return best
    zooms = [s for s in those if not s.model.translation and s.model.focal_varies and score(s) > ZOOM_OF_A_WALL * score(best)]
    return max(zooms, key=score, default=best)


def zoom_change(state: State, frames: np.ndarray) -> float:
    """By how much, in log, the focal length changes over the frames."""
    return float(np.ptp(state.world.log_focal[frames]))


def zoom_discount(settled: Settled, frames: np.ndarray) -> float:
    """What counts of what a reconstruction explains: less where a zoom explains it that may be none."""
    doubtful = settled.model.focal_varies and zoom_change(settled.state, frames) <= ZOOM_CHANGE
    return ZOOM_DISCOUNT if doubtful else 1.0


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
        focal_prior_log=float(np.log(assumed_focal_px(settings, view.width))),
        focal_prior_sigma=0.05 if settings.focal_px else 0.5,
    )
