"""Points end at infinity: what is fitted to noise may want to go on beyond it, as a part of every far background does.

The adjustment must not count on that. A point that is at infinity and would go on takes no part with its distance, so that the
cameras move as it lets them (projected Newton: Bertsekas, "Projected Newton Methods for Optimization Problems with Simple
Constraints", 1982); one whose step would take it beyond ends there, and what it does across fits that.
"""

from __future__ import annotations

import numpy as np

from .bundle_model import MIN_RHO

MOST_NEARER = 2.0  # times a point's inverse distance that a step may add to it,
FAR_SHARE = 0.3  # or of the mean, for those that are farther


def stays_at_infinity(rho: np.ndarray, gradient: np.ndarray) -> np.ndarray:
    """(P,) bool: the points at inverse distances rho (P,) that are at infinity, and that the cost's gradient (P, 3) would take
    beyond."""
    return (rho <= MIN_RHO) & (gradient[:, 2] > 0)


def bound_steps(d_point: np.ndarray, rho: np.ndarray, hessian: np.ndarray, gradient: np.ndarray, damping: np.ndarray) -> None:
    """Ends those of the points' steps d_point (P, 3) at infinity that would go on beyond it, and cuts those that come much nearer
    at once, as one does that a step takes behind a camera; their way across is fitted to that.

    rho (P,) are the inverse distances before the step; hessian (P, 3, 3), gradient (P, 3) and damping (P,) those it comes from.
    """
    usual = float(rho.mean()) if len(rho) else 0.0
    near = MOST_NEARER * np.maximum(rho, FAR_SHARE * usual) if usual > MIN_RHO else np.inf  # else nothing is known
    along = np.clip(d_point[:, 2], -rho, near)
    cut = np.flatnonzero(along != d_point[:, 2])
    if not len(cut):
        return
    block = hessian[cut, :2, :2] * (1 + damping[cut, None, None] * np.eye(2)) + 1e-12 * np.eye(2)
    left = gradient[cut, :2] + hessian[cut, :2, 2] * along[cut, None]
    d_point[cut, :2] = -np.linalg.solve(block, left[..., None])[..., 0]
    d_point[cut, 2] = along[cut]
