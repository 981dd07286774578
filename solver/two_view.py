"""The classical start, with no depth from anywhere: two frames by their essential matrix, points by triangulation.

Holdfast starts from lifted keypoints (initialise.py); this is what it is measured against (`--start-by essential`). The pair is
the one whose points are seen under the widest angle while many tracks still reach from one frame to the other. Essential matrix
by five points in RANSAC: Nistér, "An Efficient Solution to the Five-Point Relative Pose Problem" (PAMI 2004).
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from .view import ShotView, World, unproject

MIN_COMMON_TRACKS = 20
INLIER_OVER_WIDTH = 1e-3  # of the picture's width: what a track may be off by
WIDE_ANGLE_DEG = 8.0  # wider than this a pair gains nothing more
FARTHEST_BASELINES = 1e4  # points farther off than this are taken for points behind
ANCHORS = 5  # frames tried as the first of a pair


@dataclass(frozen=True)
class Pair:
    """Two frames with their relative pose and points. first, second: frame indices; tracks (n,) the points belong to."""

    first: int
    second: int
    rotation: np.ndarray  # (3, 3) second from first
    translation: np.ndarray  # (3,) second from first; the points' median distance is 1
    tracks: np.ndarray
    ray: np.ndarray  # (n, 3) unit, in the first camera
    distance: np.ndarray  # (n,) along the ray
    score: float


def best_pair(view: ShotView, frames: np.ndarray, tracks: np.ndarray, focal_px: float) -> Pair | None:
    """The pair of the given frames (ascending indices) to start from; None when no two share enough of the tracks (N,) bool."""
    anchors = frames[np.unique(np.linspace(0, len(frames) - 1, min(ANCHORS, len(frames))).round().astype(int))]
    found = [_pair(view, int(a), int(b), tracks, focal_px) for a in anchors for b in frames if a != b]
    return max((p for p in found if p is not None), key=lambda p: p.score, default=None)


def begin(view: ShotView, world: World, frames: np.ndarray, tracks: np.ndarray, focal_px: float) -> tuple[int, ...]:
    """Register the best pair in a blank world and give its tracks points; the registered frames, none if there is no pair."""
    pair = best_pair(view, frames, tracks, focal_px)
    if pair is None:
        return ()
    world.rotation[pair.second], world.translation[pair.second] = pair.rotation, pair.translation
    world.direction[pair.tracks], world.rho[pair.tracks] = pair.ray, 1 / pair.distance
    world.known[pair.tracks] = True
    world.registered[[pair.first, pair.second]] = True
    return pair.first, pair.second


def _pair(view: ShotView, a: int, b: int, tracks: np.ndarray, focal_px: float) -> Pair | None:
    rows_a, rows_b = (rows[tracks[view.tracks.track[rows]]] for rows in (view.rows_of(a), view.rows_of(b)))
    common, at_a, at_b = np.intersect1d(view.tracks.track[rows_a], view.tracks.track[rows_b], return_indices=True)
    if len(common) < MIN_COMMON_TRACKS:
        return None
    xy_a, xy_b = view.xy[rows_a[at_a]], view.xy[rows_b[at_b]]
    camera = np.diag([focal_px, focal_px, 1.0])
    matrix, inlier = cv2.findEssentialMat(xy_a, xy_b, camera, cv2.RANSAC, 0.999, INLIER_OVER_WIDTH * view.width, 400)
    if matrix is None or matrix.shape != (3, 3):
        return None
    _, rotation, translation, *_ = cv2.recoverPose(matrix, xy_a, xy_b, camera, FARTHEST_BASELINES, mask=inlier.copy())
    ray_a, ray_b = (unproject(xy, focal_px, 0.0, 0.0) for xy in (xy_a, xy_b))
    distance, angle = _triangulate(ray_a, ray_b @ rotation, -rotation.T @ translation.ravel())
    good = (inlier.ravel() > 0) & (distance > 0)
    if good.sum() < MIN_COMMON_TRACKS:
        return None
    median = float(np.median(distance[good]))
    far = distance[good].clip(0.02 * median, 50 * median) / median
    score = float(good.sum() * min(float(np.degrees(np.median(angle[good]))), WIDE_ANGLE_DEG))
    return Pair(a, b, rotation, translation.ravel() / median, common[good], ray_a[good], far, score)


def _triangulate(ray_a: np.ndarray, ray_b: np.ndarray, centre_b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distance (n,) along ray_a to where it comes closest to ray_b from centre_b (negative: behind), and the angle (n,)."""
    cosine = (ray_a * ray_b).sum(1)
    sine2 = np.maximum(1 - cosine**2, 1e-12)
    along_a, along_b = ray_a @ centre_b, ray_b @ centre_b
    first = (along_a - cosine * along_b) / sine2
    second = (cosine * along_a - along_b) / sine2
    return np.where(second > 0, first, -1.0), np.arccos(np.clip(cosine, -1, 1))
