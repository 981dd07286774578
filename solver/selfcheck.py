"""Competing models, judged on tracks that took no part in the solve. The simplest one within noise wins."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from .bundle import robust
from .bundle_model import project
from .movers import residual_scale
from .reconstruct import Model, State, adjust_state
from .resection import refine_points
from .view import ShotView

# A richer model must be better by this many standard errors of the paired difference, and by this share.
NEEDED_SIGMAS = 3.0
NEEDED_SHARE = 0.01
NEEDED_PX = 0.004


@dataclass(frozen=True)
class HeldOut:
    """Errors of held-out tracks under one model: cost (n,) per track, and the RMS in px over the ones at rest."""

    cost: np.ndarray
    tracks: np.ndarray
    rms_px: float


@dataclass
class Contender:
    """A model with its reconstruction and its score."""

    model: Model
    state: State
    held: HeldOut
    won: bool = False
    why: str = ""


def hold_out(view: ShotView, share: float, seed: int) -> np.ndarray:
    """(N,) bool: tracks kept out of every solve, chosen by the seed among those long enough to judge by."""
    length = np.bincount(view.tracks.track, minlength=view.tracks.track_count)
    long = np.nonzero(length >= 6)[0]
    rng = np.random.default_rng(seed + 1)
    held = np.zeros(view.tracks.track_count, bool)
    held[rng.choice(long, int(share * len(long)), replace=False)] = True
    return held


def measure(view: ShotView, state: State, frames: np.ndarray, held: np.ndarray, translation: bool, unit_px: float) -> HeldOut:
    """Errors of the held-out tracks when only their points are fitted to the given cameras.

    unit_px: what counts as one unit of error; the same for all models that are compared.
    """
    world = state.world
    problem = view.problem(frames, held & world.known, min_views=3, depth=False)
    x = world.gather(problem, view.depth_is_log)
    x = refine_points(problem.obs, x, translation=translation, width=4.0, iterations=15)
    proj = project(problem.obs, x)
    e2 = (proj.residual**2).sum(1)
    cost = robust(np.where(proj.behind, 1e9, e2 / unit_px**2), "geman", 5.0)[0]
    n = np.bincount(problem.obs.point, minlength=problem.obs.point_count)
    per_track = np.bincount(problem.obs.point, cost, minlength=problem.obs.point_count) / np.maximum(n, 1)
    limit = (5 * unit_px) ** 2
    share = np.bincount(problem.obs.point, e2 > limit, minlength=problem.obs.point_count) / np.maximum(n, 1)
    rest = (share < 0.3)[problem.obs.point] & (e2 <= limit)
    # the point's own 3 unknowns are taken from the count, so that short tracks do not flatter
    dof = 2 * rest.sum() - 3 * len(np.unique(problem.obs.point[rest]))
    rms = float(np.sqrt(2 * e2[rest].sum() / max(dof, 1))) if rest.any() else np.inf
    return HeldOut(per_track, problem.tracks, rms)


def compare(simple: HeldOut, rich: HeldOut) -> tuple[float, float]:
    """(mean gain of the richer model as a share, gain in standard errors), over the tracks both have."""
    _, a, b = np.intersect1d(simple.tracks, rich.tracks, return_indices=True)
    gain = simple.cost[a] - rich.cost[b]
    if len(gain) < 5:
        return 0.0, 0.0
    error = gain.std(ddof=1) / np.sqrt(len(gain)) + 1e-12
    return float(gain.mean() / max(simple.cost[a].mean(), 1e-12)), float(gain.mean() / error)


def contend(
    view: ShotView,
    base: Contender,
    model: Model,
    frames: np.ndarray,
    tracks: np.ndarray,
    held: np.ndarray,
    unit_px: float,
    iterations: int,
) -> Contender:
    """The base's reconstruction, adjusted under another model."""
    state = State(base.state.world.copy(), base.state.label.copy(), base.state.scale, base.state.cost)
    world = state.world
    if not model.k1:
        world.k1 = 0.0
    if not model.k2:
        world.k2 = 0.0
    if not model.row_time:
        world.row_time = 0.0
    if not model.focal_varies and base.model.focal_varies:
        world.log_focal[:] = world.log_focal[world.registered].mean()
    if not model.translation:
        flatten(world)
    adjust_state(view, state, frames, tracks, model, iterations=iterations, tolerance=1e-5)
    return Contender(model, state, measure(view, state, frames, held, model.translation, unit_px))


def flatten(world) -> None:
    """Make a world of directions only: every camera in one place."""
    points = world.origin + world.direction / np.maximum(world.rho, 1e-5)[:, None]
    centre = np.mean([world.centre(int(f)) for f in np.nonzero(world.registered)[0]], axis=0)
    ray = points - centre
    world.direction = ray / np.linalg.norm(ray, axis=1, keepdims=True)
    world.rho = np.zeros(len(world.rho))
    world.origin = np.zeros_like(world.origin)
    world.translation[:] = 0.0


def decide(
    view: ShotView,
    base: Contender,
    models: list[Model],
    frames: np.ndarray,
    tracks: np.ndarray,
    held: np.ndarray,
    *,
    iterations: int = 10,
    progress=None,
) -> tuple[Contender, list[Contender]]:
    """Let models (the simplest first) compete from the base's reconstruction; the winner and all of them, with reasons."""
    unit = unit_of(view, base, frames, tracks)
    base = replace(base, held=measure(view, base.state, frames, held, base.model.translation, unit))
    contenders = []
    for i, m in enumerate(models):
        contenders.append(base if m == base.model else contend(view, base, m, frames, tracks, held, unit, iterations))
        if progress is not None:
            progress(i + 1, len(models))
    winner = contenders[0]
    for c in contenders[1:]:
        share, sigmas = compare(winner.held, c.held)
        if sigmas > NEEDED_SIGMAS and share > NEEDED_SHARE and winner.held.rms_px - c.held.rms_px > -NEEDED_PX:
            c.why = f"better than {winner.model.name} on held-out tracks by {100 * share:.0f} % ({sigmas:.1f} standard errors)"
            winner = c
        else:
            c.why = f"no better than {winner.model.name} beyond noise ({100 * share:+.1f} %, {sigmas:+.1f} standard errors)"
    winner.won = True
    if not winner.why:
        winner.why = "the simplest model; no other is better beyond noise"
    return winner, contenders


def unit_of(view: ShotView, base: Contender, frames: np.ndarray, tracks: np.ndarray) -> float:
    """Typical residual (px) of the base's static tracks."""
    problem = view.problem(frames, tracks & base.state.world.known & (base.state.label == 0), depth=False)
    if not len(problem.tracks):
        return 0.3
    return max(
        0.05,
        residual_scale(problem.obs, base.state.world.gather(problem, view.depth_is_log))
        * float(np.median(problem.obs.sigma_px))
        * 1.4,
    )
