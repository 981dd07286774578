"""Points end at infinity: what is fitted to noise may want to go on beyond it, as a part of every far background does.

The adjustment must not count on that. A point that is at infinity and would go on takes no part with its distance, so that the
cameras move as it lets them (projected Newton: Bertsekas, "Projected Newton Methods for Optimization Problems with Simple
Constraints", 1982); one whose step would take it beyond ends there, and what it does across fits that.
"""

from __future__ import annotations

import numpy as np

from .bundle_model import MIN_RHO


def stays_at_infinity(rho: np.ndarray, gradient: np.ndarray) -> np.ndarray:
    """(P,) bool: the points at inverse distances rho (P,) that are at infinity, and that the cost's gradient (P, 3) would take
    beyond."""
    return (rho <= MIN_RHO) & (gradient[:, 2] > 0)


def stop_at_infinity(
    d_point: np.ndarray, rho: np.ndarray, hessian: np.ndarray, gradient: np.ndarray, damping: np.ndarray
) -> None:
    """Ends those of the points' steps d_point (P, 3) at infinity that would go on beyond it, and fits their way across to that.

    rho (P,) are the inverse distances before the step; hessian (P, 3, 3), gradient (P, 3) and damping (P,) those it comes from.
    """
    beyond = np.flatnonzero(d_point[:, 2] < -rho)
    if not len(beyond):
        return
    block = hessian[beyond, :2, :2] * (1 + damping[beyond, None, None] * np.eye(2)) + 1e-12 * np.eye(2)
    left = gradient[beyond, :2] - hessian[beyond, :2, 2] * rho[beyond, None]
    d_point[beyond, :2] = -np.linalg.solve(block, left[..., None])[..., 0]
    d_point[beyond, 2] = -rho[beyond]
