"""Focal length and depth shift from a point map that is known up to scale and a shift in z."""

from __future__ import annotations

import numpy as np


def focal_and_shift(points: np.ndarray, valid: np.ndarray | None = None) -> tuple[float, float]:
    """(focal, shift) with  x / (z + shift) * focal = u  for every pixel, in the least-squares sense.

    points (h, w, 3): x right, y down, z forward, up to a common scale and a shift of z. valid (h, w) bool or None.
    focal is in units of half the image's diagonal, square pixels, principal point in the middle. For each shift the best
    focal is in closed form, so only the shift is searched: a coarse scan, then golden section.
    Raises ValueError when fewer than 16 pixels are valid.
    """
    h, w = points.shape[:2]
    half_diagonal = np.hypot(w, h) / 2
    u = np.broadcast_to((np.arange(w) + 0.5 - w / 2) / half_diagonal, (h, w))
    v = np.broadcast_to(((np.arange(h) + 0.5 - h / 2) / half_diagonal)[:, None], (h, w))
    keep = np.isfinite(points).all(-1)
    if valid is not None:
        keep &= valid
    index = np.flatnonzero(keep)
    if len(index) < 16:
        raise ValueError("the point map has no valid points")
    index = index[:: max(len(index) // 4096, 1)]
    x, y, z = points.reshape(-1, 3)[index].T.astype(np.float64)
    u, v = u.reshape(-1)[index], v.reshape(-1)[index]
    spread = float(np.percentile(z, 95) - np.percentile(z, 5)) + 1e-6
    nearest = float(z.min())

    def cost(log_gap: float) -> tuple[float, float]:
        inverse = 1.0 / (z - nearest + np.exp(log_gap))
        a, b = x * inverse, y * inverse
        focal = float((a @ u + b @ v) / max(a @ a + b @ b, 1e-12))
        return float(np.sum((focal * a - u) ** 2 + (focal * b - v) ** 2)), focal

    # The nearest point lies exp(log_gap) in front of the camera.
    scan = np.log(spread) + np.linspace(-6.0, 5.0, 45)
    best = int(np.argmin([cost(g)[0] for g in scan]))
    low, high = scan[max(best - 1, 0)], scan[min(best + 1, len(scan) - 1)]
    golden = (np.sqrt(5.0) - 1) / 2
    for _ in range(40):
        a, b = high - golden * (high - low), low + golden * (high - low)
        if cost(a)[0] < cost(b)[0]:
            high = b
        else:
            low = a
    log_gap = (low + high) / 2
    return cost(log_gap)[1], float(np.exp(log_gap) - nearest)
