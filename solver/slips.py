"""Where a track at rest lets go of its point: somebody's edge passes in front and takes it along, or it leaps to something alike.

The adjustment hardly listens to such observations. Whoever sees them does: a marker that rides off on a sleeve, though its point
stays. They are left out of what is handed out, from where they leave the point to where they come back to it.
"""

from __future__ import annotations

import numpy as np

from .bundle_model import Observations, project
from .reconstruct import State
from .resection import refine_points
from .types import LABEL_STATIC, LABEL_UNRELIABLE
from .view import ShotView

SLIPPED, LEAVING = 8.0, 3.0  # deviations: elsewhere beyond doubt; on the way there or back
VISIBLE = 8e-4  # of the picture's width: what slips by less nobody sees
SHORTEST = 4  # observations in a row by which a point is told: fewer between two slips belong to them
MOST = 0.5  # of what a frame sees: so much has not slipped, the camera is wrong there


def let_go(view: ShotView, state: State, translation: bool) -> np.ndarray:
    """(M,) bool: observations of tracks at rest that are not of their points.

    In `state`, points of which some have let go move to where the others see them. What the user has placed never slips. A
    track of which hardly anything belongs to one point is kept as it is, and unreliable.
    translation: whether the camera travels, so that points have a depth.
    """
    slip = _fit_and_judge(view, state, np.zeros(len(view.tracks.track), bool), translation)
    if slip.any():
        # a point that was held in part by what has slipped is elsewhere now, and more or less of its track belongs to it
        slip = _fit_and_judge(view, state, slip, translation)
    track, count = view.tracks.track, view.tracks.track_count
    left = np.bincount(track[~slip], minlength=count)
    nowhere = (left < SHORTEST) & (np.bincount(track[slip], minlength=count) > 0)
    state.label[nowhere] = LABEL_UNRELIABLE
    return slip & ~nowhere[track]


def deviations(state: State, obs: Observations, squares: np.ndarray) -> np.ndarray:
    """(M,) how far observations are from where their points project, in what is to be expected of them in this shot.

    squares (M,) px^2, of `obs.squares`.
    """
    return np.sqrt(squares) / (obs.sigma_px * max(state.scale, 0.5))


def _fit_and_judge(view: ShotView, state: State, before: np.ndarray, translation: bool) -> np.ndarray:
    """(M,) bool: what has slipped under points that are fitted to all but those that had `before` (M,) bool.

    The points of tracks of which some had are left where they were fitted.
    """
    world = state.world
    at_rest = world.known & (state.label == LABEL_STATIC) & ~view.trusted
    problem = view.problem(np.arange(view.frame_count), at_rest, min_views=SHORTEST, depth=False)
    out = np.zeros(len(before), bool)
    if not len(problem.tracks):
        return out
    obs, x = problem.obs, world.gather(problem, view.depth_is_log)
    had = before[problem.rows]
    x = refine_points(obs.pixels_of(np.flatnonzero(~had)), x, translation=translation)
    torn = np.bincount(obs.point[had], minlength=obs.point_count) > 0
    world.direction[problem.tracks[torn]], world.rho[problem.tracks[torn]] = x.direction[torn], x.rho[torn]
    proj = project(obs, x)
    away = deviations(state, obs, obs.squares(proj.residual))
    far = proj.behind | ((away > SLIPPED) & (np.hypot(*proj.residual.T) > VISIBLE * view.width))
    seen = np.bincount(obs.cam, minlength=obs.cam_count)
    lost = np.bincount(obs.cam[far], minlength=obs.cam_count) > MOST * seen
    far &= ~lost[obs.cam]
    gone = runs_with(far, far | (away > LEAVING), obs.point)
    out[problem.rows] = gone | short_between(gone, obs.point)
    return out


def runs(value: np.ndarray, group: np.ndarray) -> np.ndarray:
    """(M,) the number of the run, of equal values within a group, that each element belongs to."""
    return np.cumsum(np.concatenate([[False], (value[1:] != value[:-1]) | (group[1:] != group[:-1])]))


def runs_with(sure: np.ndarray, maybe: np.ndarray, group: np.ndarray) -> np.ndarray:
    """(M,) bool: runs of `maybe` (M,) bool, within groups, that hold something sure."""
    run = runs(maybe, group)
    return maybe & (np.bincount(run, sure) > 0)[run]


def short_between(gone: np.ndarray, group: np.ndarray) -> np.ndarray:
    """(M,) bool: runs of what is left that are shorter than a point needs, in groups of which something is gone."""
    run = runs(gone, group)
    torn = np.bincount(group, gone) > 0
    return ~gone & (np.bincount(run) < SHORTEST)[run] & torn[group]
