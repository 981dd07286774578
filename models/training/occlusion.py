"""Shade where light hardly gets: screen-space ambient occlusion from a depth map (Mittring 2007, in a plain form).

Contact shadows, dark corners and gaps under furniture are what makes things stand on something in real pictures. The
rasteriser's lamps throw no shadows; this puts back what soft light from everywhere would leave.
"""

from __future__ import annotations

import cv2
import numpy as np

DIRECTIONS = 8


def occlusion(depth: np.ndarray, focal_px: float, radius_m: float, turn: float = 0.0) -> np.ndarray:
    """(H, W) z-depth in metres (inf: sky) -> (H, W) float32, 0 open .. 1 closed: how much of the surroundings within radius_m
    stands above the surface. Worked out at half the size, which is plenty for something this soft."""
    z = np.ascontiguousarray(np.where(np.isfinite(depth), depth, 1e4)[::2, ::2], np.float32)
    h, w = z.shape
    f = focal_px / 2
    y, x = np.mgrid[0:h, 0:w].astype(np.float32)
    points = np.stack([(x - w / 2) / f * z, (y - h / 2) / f * z, z], -1)
    # The smaller of the two one-sided differences stays on the surface next to an edge.
    along = []
    for axis in (1, 0):
        ahead = np.diff(points, axis=axis, append=np.take(points, [-1], axis))
        behind = np.diff(points, axis=axis, prepend=np.take(points, [0], axis))
        nearer = (np.abs(ahead[..., 2:]) < np.abs(behind[..., 2:])) & (np.abs(ahead).sum(-1, keepdims=True) > 0)
        nearer |= np.abs(behind).sum(-1, keepdims=True) == 0
        along.append(np.where(nearer, ahead, behind))
    normal = np.cross(along[1], along[0])
    normal /= np.linalg.norm(normal, axis=-1, keepdims=True) + 1e-12
    reach = np.clip(radius_m * f / z, 0, 0.25 * w)
    total = np.zeros((h, w), np.float32)
    weights = 0.0
    for k in range(DIRECTIONS):
        angle = turn + 2 * np.pi * k / DIRECTIONS
        for step in (0.2, 0.5, 0.9) if k % 2 else (0.1, 0.35, 0.7):
            sx, sy = x + np.cos(angle) * step * reach, y + np.sin(angle) * step * reach
            other = cv2.remap(z, sx, sy, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE)
            dx, dy, dz = (sx - w / 2) / f * other - points[..., 0], (sy - h / 2) / f * other - points[..., 1], other - z
            distance = np.sqrt(dx * dx + dy * dy + dz * dz) + 1e-6
            inside = (sx > -0.5) & (sx < w - 0.5) & (sy > -0.5) & (sy < h - 0.5)  # nothing is known beyond the picture's edge
            rise = (dx * normal[..., 0] + dy * normal[..., 1] + dz * normal[..., 2]) / distance
            total += inside * np.maximum(rise - 0.12, 0) * np.clip(1.5 - distance / radius_m, 0, 1)
            weights += 0.4
    total = cv2.GaussianBlur(np.clip(total / weights, 0, 1), (0, 0), 1.0)
    return cv2.resize(total, depth.shape[::-1], interpolation=cv2.INTER_LINEAR)


def shaded(rng: np.random.Generator, rgb: np.ndarray, depth: np.ndarray, focal_px: float) -> np.ndarray:
    """(H, W, 3) uint8 with less light where it hardly gets, at two random ranges."""
    near, far = float(np.exp(rng.uniform(np.log(0.05), np.log(0.15)))), float(np.exp(rng.uniform(np.log(0.3), np.log(0.9))))
    closed = 0.5 * occlusion(depth, focal_px, near, rng.uniform(0, 1)) + occlusion(depth, focal_px, far, rng.uniform(0, 1))
    left = np.exp(-rng.uniform(1.0, 3.5) * closed)
    return (np.clip(rgb.astype(np.float32) * (left ** (1 / 2.2))[..., None], 0, 255) + 0.5).astype(np.uint8)
