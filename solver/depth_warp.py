"""Depth maps seen from neighbouring cameras: how far they agree, and what they say together."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np

View = tuple["LensCamera", np.ndarray, np.ndarray | None]  # camera, depth (h, w), confidence (h, w) or None


@dataclass(frozen=True)
class LensCamera:
    """A solved camera with its lens; a depth map of any resolution spans its whole picture."""

    cam_from_world: np.ndarray  # (4, 4)
    focal_px: tuple[float, float]
    centre_px: tuple[float, float]
    radial: tuple[float, float]  # k1, k2
    size_px: tuple[int, int]  # width, height

    def rays(self, shape: tuple[int, int]) -> np.ndarray:
        """(h, w, 3) camera-space points at z = 1 behind the centres of a map's pixels, lens distortion taken out."""
        h, w = shape
        x = ((np.arange(w) + 0.5) * self.size_px[0] / w - self.centre_px[0]) / self.focal_px[0]
        y = ((np.arange(h) + 0.5) * self.size_px[1] / h - self.centre_px[1]) / self.focal_px[1]
        distorted = np.stack(np.meshgrid(x, y), -1)
        plain = distorted.copy()
        k1, k2 = self.radial
        for _ in range(8 if k1 or k2 else 0):
            r2 = (plain**2).sum(-1, keepdims=True)
            plain = distorted / np.maximum(1 + r2 * (k1 + r2 * k2), 0.2)
        return np.concatenate([plain, np.ones((h, w, 1))], -1)

    def place(self, points: np.ndarray, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        """Where (..., 3) camera-space points lie in a map of this shape: (column, row) counted from pixel centres; NaN behind."""
        z = np.where(points[..., 2] > 1e-9, points[..., 2], np.nan)
        x, y = points[..., 0] / z, points[..., 1] / z
        r2 = x * x + y * y
        factor = 1 + r2 * (self.radial[0] + r2 * self.radial[1])
        u = self.focal_px[0] * factor * x + self.centre_px[0]
        v = self.focal_px[1] * factor * y + self.centre_px[1]
        return u * shape[1] / self.size_px[0] - 0.5, v * shape[0] / self.size_px[1] - 0.5


def disagreement(here: View, there: View, step: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """What the other view's map says about the surfaces seen here.

    Returns ((h, w) log(depth the other map has where this map's points fall / their depth from there), NaN where they fall
    outside or behind, (h, w) the same statement as depth here). Every step-th row and column.
    """
    camera, depth, _ = here
    other, other_depth, _ = there
    depth = depth[::step, ::step]
    points = camera.rays(here[1].shape)[::step, ::step] * depth[..., None]
    other_from_here = other.cam_from_world @ np.linalg.inv(camera.cam_from_world)
    seen = points @ other_from_here[:3, :3].T + other_from_here[:3, 3]
    column, row = other.place(seen, other_depth.shape)
    with np.errstate(invalid="ignore"):
        inside = (column > -0.5) & (row > -0.5) & (column < other_depth.shape[1] - 0.5) & (row < other_depth.shape[0] - 0.5)
    found = cv2.remap(
        np.log(other_depth.astype(np.float32)),
        np.where(inside, column, 0).astype(np.float32),
        np.where(inside, row, 0).astype(np.float32),
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = np.where(inside, found - np.log(seen[..., 2]), np.nan)
    # The other map moves the point along the other camera's ray; its depth here follows from that camera's place.
    centre_z = float(np.linalg.inv(other_from_here)[2, 3])
    return ratio, centre_z + np.exp(ratio) * (depth - centre_z)


def blend_views(here: View, others: list[View], weights: np.ndarray) -> np.ndarray:
    """(h, w) float32: this view's depth, averaged in log depth with what the others say where they see the same surface.

    weights: of each other view against 1 for this one. A view that is off by much more than views usually are sees something
    else (an edge, a thing that moved) and does not count.
    """
    depth = here[1].astype(np.float64)
    own = np.ones_like(depth) if here[2] is None else 0.1 + here[2].astype(np.float64)
    said = [disagreement(here, other) for other in others]
    off = [float(np.nanmedian(np.abs(ratio))) for ratio, _ in said if np.isfinite(ratio).any()]
    tolerance = float(np.clip(2.0 * np.median(off), 0.01, 0.12)) if off else 0.05
    total, mass = own * np.log(depth), own.copy()
    for (ratio, from_there), weight in zip(said, weights, strict=True):
        with np.errstate(invalid="ignore", divide="ignore"):
            logs = np.log(from_there)
            share = weight * own * np.exp(-0.5 * (ratio / tolerance) ** 2)
        usable = np.isfinite(logs) & np.isfinite(share)
        total += np.where(usable, share * np.nan_to_num(logs), 0.0)
        mass += np.where(usable, share, 0.0)
    return np.exp(total / mass).astype(np.float32)


def inconsistency(views: list[View], step: int = 1) -> float:
    """Median |log depth ratio| between each map and the next, seen from the same place, averaged; NaN for a single map."""
    pairs = [disagreement(a, b, step)[0] for a, b in pairwise(views)]
    medians = [np.nanmedian(np.abs(ratio)) for ratio in pairs if np.isfinite(ratio).any()]
    return float(np.mean(medians)) if medians else float("nan")
