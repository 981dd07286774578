"""Where new tracks start: corners spread over the whole frame, away from those that are tracked already."""

from __future__ import annotations

import cv2
import numpy as np


def corner_strength(gray: np.ndarray, block_px: int = 5) -> np.ndarray:
    """Smaller eigenvalue of the structure tensor (Shi and Tomasi 1994), (H, W) float32."""
    return cv2.cornerMinEigenVal(gray, block_px, ksize=3)


def spread_corners(
    gray: np.ndarray,
    wanted: int,
    taken_xy: np.ndarray,
    ignore: np.ndarray | None,
    *,
    spacing_px: float,
    margin_px: int,
    noise_levels: float,
) -> np.ndarray:
    """Corners (n, 2) in OpenCV px, at most `wanted`, at least spacing_px from each other and from taken_xy.

    Every cell of a grid gives its best corners first, so weakly textured regions are covered too, as long as a corner
    stands out of the noise. ignore (H, W) bool: no corner there.
    """
    h, w = gray.shape
    if wanted <= 0:
        return np.zeros((0, 2), np.float32)
    strength = corner_strength(gray)
    allowed = np.zeros((h, w), np.uint8)
    allowed[margin_px : h - margin_px, margin_px : w - margin_px] = 1
    if ignore is not None:
        allowed[cv2.dilate(ignore.astype(np.uint8), np.ones((2 * margin_px + 1,) * 2, np.uint8)) > 0] = 0
    for x, y in np.rint(taken_xy).astype(int).reshape(-1, 2):
        cv2.circle(allowed, (int(x), int(y)), max(1, int(round(spacing_px))), 0, -1)
    reach = 2 * max(1, int(spacing_px / 2)) + 1
    peak = (strength >= cv2.dilate(strength, np.ones((reach, reach), np.uint8))) & (allowed > 0)
    # Strength of pure noise: a Sobel response of the noise, squared; corners must clear it well.
    floor = max(2e-6 * float(strength.max()), (0.35 * noise_levels / 255.0) ** 2 * 0.02)
    peak &= strength > floor
    ys, xs = np.nonzero(peak)
    if not len(xs):
        return np.zeros((0, 2), np.float32)
    value = strength[ys, xs]
    cell = max(8.0, np.sqrt(w * h / max(wanted, 1)))
    key = (ys / cell).astype(int) * 4096 + (xs / cell).astype(int)
    order = np.lexsort((xs, ys, -value))
    key = key[order]
    # rank of each corner inside its cell
    by_cell = np.argsort(key, kind="stable")
    sorted_key = key[by_cell]
    starts = np.r_[0, np.nonzero(np.diff(sorted_key))[0] + 1]
    rank = np.empty(len(key), int)
    rank[by_cell] = np.arange(len(key)) - np.repeat(starts, np.diff(np.r_[starts, len(key)]))
    pick = order[np.argsort(rank, kind="stable")]
    chosen: list[tuple[int, int]] = []
    free = allowed.copy()
    for i in pick:
        x, y = int(xs[i]), int(ys[i])
        if not free[y, x]:
            continue
        chosen.append((x, y))
        if len(chosen) >= wanted:
            break
        cv2.circle(free, (x, y), max(1, int(round(spacing_px))), 0, -1)
    return np.array(chosen, np.float32).reshape(-1, 2)


def empty_cells(xy: np.ndarray, width: int, height: int) -> float:
    """Share of an 8 x 6 grid over the picture without any of the points (n, 2)."""
    seen = np.zeros((6, 8), bool)
    column, row = (xy / (width, height) * (8, 6)).astype(int).T
    seen[np.clip(row, 0, 5), np.clip(column, 0, 7)] = True
    return 1.0 - float(seen.mean())


def image_noise(gray: np.ndarray) -> float:
    """Grey-level deviation of the image's noise (Immerkaer 1996, robust version: median instead of mean)."""
    kernel = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)
    response = cv2.filter2D(gray.astype(np.float32), -1, kernel)
    return float(np.median(np.abs(response)) * 1.4826 / 6.0)
