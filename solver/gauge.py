"""Keeping a new solve in the world of the old one, so that what was put into the scene stays where it is.

A solve is known up to a similarity. After changes, cameras and points of the new solve are laid over the old ones: the turn from
all cameras, the scale from the points (which carry the props), the place from all cameras.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

import numpy as np

from .poses import world_from_cam
from .types import Solution


@dataclass(frozen=True)
class Similarity:
    """old = scale * rotation @ new + shift."""

    rotation: np.ndarray  # (3, 3)
    scale: float
    shift: np.ndarray  # (3,)


def world_id_of(c2w: np.ndarray) -> str:
    """A name for the world that a solve defined: from its cameras (F, 4, 4) as solve.json holds them."""
    return hashlib.sha256(np.ascontiguousarray(c2w, "<f8").tobytes()).hexdigest()[:16]


def world_of(solution: Solution) -> str:
    """The id of a solution's world: that of the solve whose world it was laid over, or its own."""
    return solution.world_id or world_id_of(world_from_cam(solution.cam_from_world))


def similarity(old: Solution, new: Solution) -> Similarity:
    """What brings the new solve's world onto the old one's, over the frames and tracks both have."""
    _, a, b = np.intersect1d(old.frame_numbers, new.frame_numbers, return_indices=True)
    before, after = world_from_cam(old.cam_from_world[a]), world_from_cam(new.cam_from_world[b])
    u, _, vt = np.linalg.svd(np.einsum("fij,fkj->ik", before[:, :3, :3], after[:, :3, :3]))
    rotation = u @ np.diag([1.0, 1.0, np.linalg.det(u @ vt)]) @ vt
    _, p, q = np.intersect1d(old.point_track, new.point_track, return_indices=True)
    scale = 1.0
    if len(p):
        middle = len(a) // 2
        depth_before = _depths(old.cam_from_world[a[middle]], old.points[p])
        depth_after = _depths(new.cam_from_world[b[middle]], new.points[q])
        front = (depth_before > 1e-9) & (depth_after > 1e-9)
        # points whose depth is well known say most about the size of things
        sure = front & (old.point_depth_sigma[p] <= np.median(old.point_depth_sigma[p]))
        use = sure if sure.sum() >= 8 else front
        if use.any():
            scale = float(np.median(depth_before[use] / depth_after[use]))
    shift = np.median(before[:, :3, 3] - scale * after[:, :3, 3] @ rotation.T, axis=0)
    return Similarity(rotation, scale, shift)


def _depths(cam_from_world: np.ndarray, points: np.ndarray) -> np.ndarray:
    return points @ cam_from_world[2, :3] + cam_from_world[2, 3]


def moved(solution: Solution, by: Similarity) -> Solution:
    """The same solve in another world frame: pixels stay as they are."""
    pose = solution.cam_from_world.copy()
    centre = -np.einsum("fji,fj->fi", pose[:, :3, :3], pose[:, :3, 3])
    pose[:, :3, :3] = pose[:, :3, :3] @ by.rotation.T
    pose[:, :3, 3] = -np.einsum("fij,fj->fi", pose[:, :3, :3], by.scale * centre @ by.rotation.T + by.shift)
    maps = tuple(
        replace(
            m,
            depth=(m.depth * by.scale).astype(np.float32),
            # disparity: 1/z = scale * v + shift; else z = scale * v
            scale=m.scale / by.scale if m.kind == "disparity" else m.scale * by.scale,
            shift=m.shift / by.scale if m.kind == "disparity" else m.shift,
        )
        for m in solution.depth_maps
    )
    points = by.scale * solution.points @ by.rotation.T + by.shift
    return replace(solution, cam_from_world=pose, points=points, depth_maps=maps)


def laid_over(old: Solution, new: Solution) -> Solution:
    """The new solve in the old one's world, under its id."""
    return replace(moved(new, similarity(old, new)), world_id=world_of(old))
