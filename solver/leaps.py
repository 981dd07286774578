"""Cameras do not leap while they whip round.

In the streaks of a whip pan points are known to pixels, and few are seen from both sides. What joins the sides is a narrow strip
of the picture, in which a shift looks like a part of the turn: only what cameras can do rules a leap between the sides out.
"""

from __future__ import annotations

import numpy as np

from .bundle_model import Observations, Unknowns

SOFTLY = 0.2  # of the spread of a keyframe's disparities, over which its nearness ends at none
LEAP_SIGMA = 0.01  # of the scene's depth per frame that a camera goes on meanwhile; a hand that swings round by its arm's length


def racing_pairs(x: Unknowns, frame_step: np.ndarray, racing_rad: float) -> np.ndarray:
    """Cameras (n,) from which the next one has turned by more than that per frame; frame_step (F - 1,) between neighbours."""
    turn = np.arccos(np.clip((np.einsum("fij,fij->f", x.rotation[1:], x.rotation[:-1]) - 1) / 2, -1, 1))
    return np.nonzero(turn > racing_rad * frame_step)[0]


def leap_priors(
    obs: Observations, x: Unknowns, pairs: np.ndarray, frame_step: np.ndarray, cam_size: int, key_at: int
) -> list[tuple[list[int], list[float], float, float]]:
    """(columns, derivatives, residual, weight) of three priors for each of the pairs: how far the next camera is away, over the
    scene's depth.

    Depth is the network's, as the keyframes' scales have it: so making the whole scene larger or smaller changes nothing. None
    without it. cam_size: unknowns of each camera; key_at: the column of the first keyframe's scale.
    """
    if not len(pairs) or not len(obs.depth_obs):
        return []
    keys = np.unique(obs.depth_key)
    values = [obs.depth_value[obs.depth_key == k] for k in keys]
    value = np.array([np.median(v) for v in values])
    scale, shift = x.key_scale[keys], x.key_shift[keys]
    if obs.depth_is_log:
        nearness, by_scale, by_shift = np.exp(-value - scale), -np.ones(len(keys)), np.zeros(len(keys))
    else:
        if (scale <= 0).any():
            return []
        # a prior that came and went with a keyframe at infinity would be a step in the cost, and the adjustment would take it
        spread = np.array([np.std(v) for v in values])
        above = value - shift
        root = np.hypot(above, SOFTLY * spread) + 1e-12
        nearness = (above + root) / 2 / scale
        by_scale, by_shift = -1 / scale, -1 / root
    near = float(np.exp(np.log(nearness).mean()))
    key_columns = np.stack([key_at + 2 * keys, key_at + 2 * keys + 1], 1).ravel().tolist()
    by_key = np.stack([by_scale, by_shift], 1).ravel() / len(keys)
    centres = x.centres()
    out = []
    for i in pairs:
        leap = near * (centres[i + 1] - centres[i])
        columns = [
            *range(i * cam_size + 3, i * cam_size + 6),
            *range((i + 1) * cam_size + 3, (i + 1) * cam_size + 6),
            *key_columns,
        ]
        for axis in range(3):
            # a step of the translation moves the centre by -R^T of it
            slope = np.r_[near * x.rotation[i][:, axis], -near * x.rotation[i + 1][:, axis], leap[axis] * by_key]
            out.append((columns, slope.tolist(), float(leap[axis]), (LEAP_SIGMA * frame_step[i]) ** -2))
    return out
