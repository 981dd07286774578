"""Places that are known better one way than the other, as on a line: how a patch tells, and how the adjustment heeds it.

An elongation (2,) is log(ratio) (cos 2a, sin 2a): along the direction of angle a the error is `ratio` times as large as across
it; (0, 0) is alike in all directions. Doubled, because a direction and its opposite are the same, so that elongations can be
scaled and compared like vectors.
"""

from __future__ import annotations

import numpy as np

# What a patch says of its own noise is a little too one-sided: real errors go with this power of its ratio, up to a limit.
RATIO_POWER = 0.8
LARGEST_RATIO = 4.0


def elongation_of(covariance: np.ndarray) -> np.ndarray:
    """(n, 2) elongations of what patches say of their error, covariances (n, 2, 2)."""
    half = (covariance[:, 0, 0] - covariance[:, 1, 1]) / 2
    across = covariance[:, 0, 1]
    middle = (covariance[:, 0, 0] + covariance[:, 1, 1]) / 2
    spread = np.hypot(half, across)
    # the variances are middle +- spread
    ratio = np.sqrt(np.maximum(middle + spread, 1e-30) / np.maximum(middle - spread, 1e-30))
    length = np.minimum(RATIO_POWER * np.log(np.maximum(ratio, 1.0)), np.log(LARGEST_RATIO))
    return np.stack([half, across], 1) * (length / np.maximum(spread, 1e-30))[:, None]


def sharpening(elongation: np.ndarray, pixel_aspect: float = 1.0) -> np.ndarray:
    """(2, 2, M): symmetric matrices of determinant 1 that make errors of the given elongations (M, 2) alike in all directions,
    short along the weak direction, long across it. pixel_aspect: rows are divided by it first."""
    length = np.hypot(*elongation.T.astype(np.float64))
    grow, turn = np.cosh(length), np.sinh(length) / np.maximum(length, 1e-12)
    # the covariance, of determinant 1
    xx, xy, yy = grow + turn * elongation[:, 0], turn * elongation[:, 1], grow - turn * elongation[:, 0]
    xx, yy = xx * pixel_aspect, yy / pixel_aspect
    # the root of a matrix A of determinant 1 is (A + 1) / sqrt(trace A + 2); here of the covariance's inverse
    return np.stack([np.stack([yy + 1, -xy]), np.stack([-xy, xx + 1])]) / np.sqrt(xx + yy + 2)
