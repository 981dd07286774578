"""Adjusting some frames while all other cameras stay where they are."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from .bundle import Adjustment
from .bundle_model import Freedom, Observations, Projection, Unknowns
from .initialise import align_keys, depth_strength
from .movers import residual_scale
from .reconstruct import Model, State
from .types import LABEL_STATIC
from .view import ShotView


class HeldAdjustment(Adjustment):
    """An adjustment in which some cameras (bool, one per camera) take no step; they still hold the points."""

    def __init__(self, obs: Observations, free: Freedom, held: np.ndarray, focal_frames: np.ndarray | None = None) -> None:
        super().__init__(obs, free, focal_frames)
        self.held = held
        self.held_columns = np.nonzero(np.repeat(held, self.d))[0]

    def linearise(self, x: Unknowns, proj: Projection):
        """The normal equations with the held cameras' columns cut loose: their step is nought."""
        lin = super().linearise(x, proj)
        c = self.held_columns
        lin.camera[c, :] = 0.0
        lin.camera[:, c] = 0.0
        lin.camera[c, c] = 1.0
        lin.gradient[c] = 0.0
        lin.cross[:, :, self.held[self.obs.cam]] = 0.0
        return lin


def adjust_part(
    view: ShotView,
    state: State,
    frames: np.ndarray,
    part: np.ndarray,
    tracks: np.ndarray,
    model: Model,
    *,
    iterations: int,
    width: float = 2.5,
) -> None:
    """Adjust the cameras of `part` and the static points that the given frames see; the other frames' cameras are held."""
    world = state.world
    align_keys(view, world, frames)
    chosen = tracks & world.known & (state.label == LABEL_STATIC)
    problem = view.problem(frames, chosen, depth=model.depth and model.translation)
    if not len(problem.tracks):
        return
    obs = replace(problem.obs, sigma_px=problem.obs.sigma_px * max(state.scale, 0.3))
    # the lens is the shot's, not the part's
    lens = replace(model, k1=False, k2=False, row_time=False)
    free = lens.freedom(depth_strength(problem, model.depth_independent), "cauchy", width)
    found = HeldAdjustment(obs, free, ~np.isin(frames, part), focal_frames=frames.astype(float)).run(
        world.gather(problem, view.depth_is_log), max_iterations=iterations, tolerance=1e-4
    )
    world.scatter(problem, found.unknowns)
    inside = np.isin(problem.obs.cam, np.nonzero(np.isin(frames, part))[0])
    if inside.any():
        state.scale = float(np.clip(residual_scale(problem.obs.pixels_of(inside), found.unknowns), 0.3, 20))
