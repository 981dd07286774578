"""First reconstructions go on until they have settled."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .heats import alike
from .hypotheses import DEFAULT_FOCAL_OVER_WIDTH
from .initialise import Started, lift_seen
from .movers import explained
from .reconstruct import Model, State, from_start, is_flat, trim
from .types import LABEL_MOVER, Settings
from .view import ShotView

ZOOM_DISCOUNT = 0.87  # a zooming lens takes up some of a path, or of what people do: it must explain clearly more,
# or leave so much less of the residuals while the focal length changes by so much: in grain a zoom explains little more to within
# the noise. Zooms that were none changed the lens by 4 % at most; true ones left 0.92 and less, in much grain.
ZOOM_CLEANER, ZOOM_CHANGE = 0.95, 0.1


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
            * (zoom_discount(s, settled, frames) if s.model.translation else 0.99 if s.model.focal_varies else 1.0)
            * (0.97 if s.model.k1 else 1.0)
            * (1.0 if s.model.translation else 1.02)
        )

    best = max(settled, key=score)
    if best.model.translation and is_flat(view, best.state, frames, chosen):
        # towards a wall a dolly and a zoom look the same, and every point's own depth takes up some of its track's drift
        zooms = [s for s in settled if not s.model.translation and s.model.focal_varies and score(s) > 0.75 * score(best)]
        best = max(zooms, key=score, default=best)
    return best


def zoom_discount(settled: Settled, those: list[Settled], frames: np.ndarray) -> float:
    """What counts of what a reconstruction explains, compared with all of `those`: less where only a zoom explains it."""
    if not settled.model.focal_varies:
        return 1.0
    unzoomed = [s.state.scale for s in those if s.model.translation and not s.model.focal_varies]
    change = float(np.ptp(settled.state.world.log_focal[frames]))
    zooms = change > ZOOM_CHANGE and settled.state.scale < ZOOM_CLEANER * min(unzoomed, default=0.0)
    return 1.0 if zooms else ZOOM_DISCOUNT


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
