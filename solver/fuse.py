"""Keyframe depth in the units of the solved scene: robust scale and shift, then a smooth correction towards the points."""

from __future__ import annotations

import cv2
import numpy as np

from .types import AlignedDepth, DepthMap
from .view import ShotView, World, disparity_span

CORRECTION_CELLS = 12  # across the width of the picture
CORRECTION_HOLD = 1.5  # points' worth of "no correction" in every cell
MAX_CORRECTION = 0.7  # of log depth


def align_maps(
    view: ShotView, world: World, maps: dict[int, DepthMap], good: np.ndarray, depth_sigma: np.ndarray
) -> tuple[AlignedDepth, ...]:
    """Every map that the solved points (N,) good can be held against.

    depth_sigma (N,): relative deviation of each point's depth.
    """
    out = []
    for k in sorted(maps):
        rows = view.rows_of(k)
        tracks = view.tracks.track[rows]
        keep = good[tracks] & np.isfinite(view.depth_value[rows])
        rows, tracks = rows[keep], tracks[keep]
        if len(rows) < 12:
            continue
        depth = world.depth_in(k, tracks)
        front = depth > 1e-6
        rows, tracks, depth = rows[front], tracks[front], depth[front]
        fitted = _fit(view, maps[k], view.depth_value[rows], depth)
        if fitted is None:
            continue
        scale, shift, dense, at_points = fitted
        ratio = np.log(depth / np.maximum(at_points, 1e-9))
        spread = float(1.4826 * np.median(np.abs(ratio - np.median(ratio))))
        dense = dense * np.exp(_smooth_correction(view, view.tracks.xy[rows], ratio, depth_sigma[tracks], dense.shape)).astype(
            np.float32
        )
        out.append(
            AlignedDepth(
                int(view.tracks.frame_numbers[k]),
                dense.astype(np.float32),
                maps[k].confidence,
                scale,
                shift,
                spread,
                maps[k].values,
                maps[k].kind,
            )
        )
    return tuple(out)


def _fit(view: ShotView, source: DepthMap, value: np.ndarray, depth: np.ndarray):
    """(scale, shift, dense depth, depth at the points) of the robust fit; None when the map says nothing about the scene."""
    values = source.values.astype(np.float64)
    if view.depth_is_log:
        scale = float(np.exp(np.median(np.log(depth) - value)))
        return scale, 0.0, (values * scale).astype(np.float32), np.exp(value) * scale
    unit = disparity_span(values)
    a = np.c_[value, np.ones(len(value))]
    weight = np.ones(len(value))
    # errors relative to the depth itself, so that far points count as much as near ones
    relative = depth
    for _ in range(10):
        w = weight * relative
        fit = np.linalg.lstsq(a * w[:, None], w / depth, rcond=None)[0]
        residual = np.abs((a @ fit) * depth - 1)
        weight = 1 / np.sqrt(1 + (residual / (1.4826 * np.median(residual) + 1e-6)) ** 2)
    if fit[0] <= 0:
        return None
    floor = 0.2 / float(np.percentile(depth, 99))
    dense = 1 / np.maximum(fit[0] * values / unit + fit[1], floor)
    return float(fit[0] / unit), float(fit[1]), dense.astype(np.float32), 1 / np.maximum(a @ fit, floor)


def _smooth_correction(
    view: ShotView, xy: np.ndarray, ratio: np.ndarray, sigma: np.ndarray, shape: tuple[int, int]
) -> np.ndarray:
    """Log-depth correction (h, w): points averaged over cells, held towards zero where there are few, then interpolated."""
    columns = CORRECTION_CELLS
    rows = max(3, round(columns * view.height / view.width))
    u = np.clip(xy[:, 0] / view.width * columns - 0.5, 0, columns - 1)
    v = np.clip(xy[:, 1] / view.height * rows - 0.5, 0, rows - 1)
    weight = 1 / (1 + (sigma / 0.05) ** 2)
    ratio = np.clip(ratio, -MAX_CORRECTION, MAX_CORRECTION)
    total, mass = np.zeros((rows, columns), np.float32), np.zeros((rows, columns), np.float32)
    for du in (0, 1):
        for dv in (0, 1):
            i, j = np.minimum(u.astype(int) + du, columns - 1), np.minimum(v.astype(int) + dv, rows - 1)
            share = np.abs(1 - du - (u - u.astype(int))) * np.abs(1 - dv - (v - v.astype(int))) * weight
            np.add.at(total, (j, i), share * ratio)
            np.add.at(mass, (j, i), share)
    total, mass = cv2.GaussianBlur(total, (0, 0), 0.8), cv2.GaussianBlur(mass, (0, 0), 0.8)
    field = total / (mass + CORRECTION_HOLD * 0.1)
    return cv2.resize(field, (shape[1], shape[0]), interpolation=cv2.INTER_CUBIC)
