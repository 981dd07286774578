# SPDX-License-Identifier: GPL-3.0-or-later
"""Standing the scene up: from the solver's arbitrary frame to z up, ground at z = 0, forward along +y, at a useful scale.

A solve fixes the scene up to a similarity. What is chosen here, in this order: what solve.json says (`world_up`, `ground`); the
axis a panning camera turned about; the largest plane below the camera that is level in the picture's sideways direction (people
hold cameras without much roll, and pitch them, but seldom steeply); else the camera of the middle frame is taken as level.
No Blender here.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from . import coordinates, jobfolder

MEDIAN_DEPTH_M = 5.0  # depth of the median point in a scene whose true scale is unknown
_MAX_PITCH_DEG = 60.0
_MAX_ROLL_DEG = 12.0
_USUAL_PITCH_DEG = 30.0  # planes that ask for a steeper camera must carry more of the samples
_MIN_PAN_DEG = 4.0  # a pan must turn this much to show its axis
_MIN_GROUND_SHARE = 0.10  # of the samples, for a plane to be called ground
_MAX_BELOW_SHARE = 0.06  # of the samples that may lie under the ground
_CLEAR_SHARE = 0.02  # where hardly anything lies under a plane, half as many samples on it will do
_HYPOTHESES = 600


@dataclass(frozen=True)
class Stand:
    """scene_from_world: 4x4 similarity. ground: whether z = 0 is a surface that was found. words: for the panel."""

    scene_from_world: np.ndarray
    scale: float
    ground: bool
    words: str


def stand_up(shot: jobfolder.Shot) -> Stand:
    """Choose the scene's frame for a solved shot."""
    camera = shot.c2w[shot.middle]
    depths = point_depths(shot)
    median = float(np.median(depths)) if len(depths) else 1.0
    scale = 1.0 if shot.metric or not median > 0 else MEDIAN_DEPTH_M / median
    given_up = _vector(shot.data.get("world_up"))
    axis = pan_axis(shot) if given_up is None else None
    given_up = given_up if axis is None else axis
    plane = _given_ground(shot.data.get("ground"))
    source = "ground given by the solver"
    if plane is None:
        plane = find_ground(shot, given_up)
        source = "ground found from the points"
        if plane is not None and axis is not None:
            plane, source = _level(shot, plane, axis), "ground found from the points, level by the axis of the pan"
    if plane is not None:
        normal, offset = plane
    elif given_up is not None:
        normal, offset = given_up, None
        source = "no ground found; up by the axis of the pan" if axis is not None else "no ground found; up given by the solver"
    else:
        normal, offset, source = -camera[:3, 1], None, "no ground found; the camera is taken as level"
    if offset is None:  # stand on the lowest of what is seen
        offset = _low_level(shot, normal)
    rotation = _rotation(normal, camera[:3, 2])
    matrix = np.eye(4)
    matrix[:3, :3] = scale * rotation
    foot = camera[:3, 3] - normal * (normal @ camera[:3, 3] - offset)
    matrix[:3, 3] = -scale * rotation @ foot
    unit = (
        "scale in metres by the depth network's guess" if shot.metric else "scale free: the middle of the scene is put 5 m away"
    )
    return Stand(matrix, scale, plane is not None, f"{source[0].upper()}{source[1:]}; {unit}")


def point_depths(shot: jobfolder.Shot, index: int | None = None) -> np.ndarray:
    """Depths of the points in front of a frame's camera (the middle one by default), world units."""
    camera = shot.c2w[shot.middle if index is None else index]
    depth = (shot.points.xyz - camera[:3, 3]) @ camera[:3, 2]
    return depth[depth > 0]


def find_ground(shot: jobfolder.Shot, up: np.ndarray | None = None) -> tuple[np.ndarray, float] | None:
    """The ground as (unit normal, offset) with normal @ X = offset in world, or None.

    Random sample consensus over the solved points and a coarse grid of the middle keyframe's depth. A plane counts when the
    camera is above it, it is level sideways in the picture, it carries a tenth of the samples and next to nothing lies below.
    """
    points, grid = _good_points(shot), _depth_samples(shot)
    found = _find_plane(shot, points, grid, up)
    if found is None and len(grid) and len(points) >= 100:  # the network's depth may be bent where the points are not
        found = _find_plane(shot, points, grid[:0], up)
    return found


def _find_plane(
    shot: jobfolder.Shot, points: np.ndarray, grid: np.ndarray, up: np.ndarray | None
) -> tuple[np.ndarray, float] | None:
    """`find_ground` from given samples, (N, 3) and (M, 3) world."""
    camera = shot.c2w[shot.middle]
    samples = np.concatenate([points, grid]) if len(grid) else points
    if len(samples) < 30:
        return None
    # Every sample counts by its own group's size, so that a dense grid does not drown the points.
    weights = np.concatenate([np.full(len(points), 1.0 / max(1, len(points))), np.full(len(grid), 1.0 / max(1, len(grid)))])
    weights /= weights.sum()
    local = (samples - camera[:3, 3]) @ camera[:3, :3]  # camera coordinates: y down, z forward
    tolerance = 0.012 * np.abs(local[:, 2])
    rng = np.random.default_rng(0)
    low = np.flatnonzero(local[:, 1] / np.maximum(local[:, 2], 1e-9) > -0.1)  # the ground is seen below the horizon
    if len(low) < 20:
        return None
    level = up @ camera[:3, :3] if up is not None else None
    triples = local[low[rng.integers(0, len(low), (_HYPOTHESES, 3))]]
    normals = np.cross(triples[:, 1] - triples[:, 0], triples[:, 2] - triples[:, 0])
    lengths = np.linalg.norm(normals, axis=1)
    usable = lengths > 1e-12
    normals = normals[usable] / lengths[usable, None]
    normals *= np.where(normals[:, 1:2] > 0, -1.0, 1.0)  # up is -y of the camera
    offsets = np.einsum("hi,hi->h", normals, triples[usable][:, 0])
    allowed = _may_be_ground(normals, level) & (offsets < 0)  # the camera, at 0, is on the upper side
    best = (0.0, None)
    for normal, offset in zip(normals[allowed], offsets[allowed]):
        height = local @ normal - offset
        score = weights[np.abs(height) < tolerance].sum() - 2.0 * weights[height < -3.0 * tolerance].sum()
        if level is None:
            pitch = np.degrees(np.arctan2(normal[2], -normal[1]))
            score *= np.exp(-0.5 * (pitch / _USUAL_PITCH_DEG) ** 2)
        if score > best[0]:
            best = (score, (normal, offset))
    if best[1] is None:
        return None
    # The network's depth helps to find the plane; where it lies exactly, the solved points know better.
    solved = np.abs(local[: len(points)] @ best[1][0] - best[1][1]) < tolerance[: len(points)]
    trust = weights.copy()
    if solved.sum() >= 20:
        trust[len(points) :] *= 0.02
    normal, offset = _refine(local, trust, tolerance, *best[1])
    height = local @ normal - offset
    inside = weights[np.abs(height) < tolerance].sum()
    below = weights[height < -3.0 * tolerance].sum()
    enough = _MIN_GROUND_SHARE if below > _CLEAR_SHARE else 0.5 * _MIN_GROUND_SHARE
    if inside < enough or below > _MAX_BELOW_SHARE or not _may_be_ground(normal[None], level)[0] or offset >= 0:
        return None
    world_normal = camera[:3, :3] @ normal
    return world_normal, float(offset + world_normal @ camera[:3, 3])


def pan_axis(shot: jobfolder.Shot) -> np.ndarray | None:
    """The axis (3,) world, upwards, about which a camera on a tripod panned; None for other moves.

    Tripods are set up level: the pan's axis is plumb, which single-image depth is not.
    """
    if shot.verdict.get("motion") != "rotation" or len(shot.numbers) < 3:
        return None
    turns = np.einsum("nij,kj->nik", shot.c2w[:, :3, :3], shot.c2w[shot.middle, :3, :3])  # against the middle frame, in world
    angle = np.arccos(np.clip((np.trace(turns, axis1=1, axis2=2) - 1.0) / 2.0, -1.0, 1.0))
    axes = np.stack([turns[:, 2, 1] - turns[:, 1, 2], turns[:, 0, 2] - turns[:, 2, 0], turns[:, 1, 0] - turns[:, 0, 1]], 1)
    length = np.linalg.norm(axes, axis=1, keepdims=True)
    vectors = np.where(length > 1e-9, axes / np.maximum(length, 1e-9), 0.0) * angle[:, None]
    spread, directions = np.linalg.svd(vectors, full_matrices=False)[1:]
    up = -shot.c2w[shot.middle, :3, 1]
    axis = directions[0] if directions[0] @ up > 0 else -directions[0]
    if np.ptp(vectors @ axis) < np.radians(_MIN_PAN_DEG) or spread[1] > 0.1 * spread[0] or axis @ up < np.cos(np.radians(40.0)):
        return None
    return axis


def _level(shot: jobfolder.Shot, plane: tuple[np.ndarray, float], up: np.ndarray) -> tuple[np.ndarray, float]:
    """A plane turned level about the middle of the points that lie on it."""
    camera = shot.c2w[shot.middle]
    points = np.concatenate([_good_points(shot), _depth_samples(shot)])
    depth = np.abs((points - camera[:3, 3]) @ camera[:3, 2])
    inside = np.abs(points @ plane[0] - plane[1]) < 0.012 * depth
    return up, float(np.median(points[inside] @ up)) if inside.any() else plane[1]


def _may_be_ground(normals: np.ndarray, level: np.ndarray | None) -> np.ndarray:
    """Which normals (H, 3) in the camera's axes can be the ground's: pitched freely, hardly rolled; near `level` if given."""
    if level is not None:
        return normals @ level > np.cos(np.radians(15.0))
    return (-normals[:, 1] > np.cos(np.radians(_MAX_PITCH_DEG))) & (np.abs(normals[:, 0]) < np.sin(np.radians(_MAX_ROLL_DEG)))


def _refine(
    local: np.ndarray, weights: np.ndarray, tolerance: np.ndarray, normal: np.ndarray, offset: float
) -> tuple[np.ndarray, float]:
    """Least squares on the plane's inliers, three rounds; far samples count less, as their depth is less certain."""
    for _ in range(3):
        inside = np.abs(local @ normal - offset) < tolerance
        if inside.sum() < 8:
            break
        w = weights[inside] / tolerance[inside] ** 2
        mean = (local[inside] * w[:, None]).sum(0) / w.sum()
        centred = (local[inside] - mean) * np.sqrt(w)[:, None]
        fitted = np.linalg.svd(centred, full_matrices=False)[2][-1]
        normal = fitted if fitted @ normal > 0 else -fitted
        offset = float(normal @ mean)
    return normal, offset


def _good_points(shot: jobfolder.Shot) -> np.ndarray:
    """Points with a depth worth trusting, (N, 3) world."""
    sigma = shot.points.depth_sigma
    known = np.isfinite(sigma) & (sigma > 0)
    keep = np.ones(len(sigma), bool) if known.sum() < 30 else (sigma <= np.quantile(sigma[known], 0.8))
    return shot.points.xyz[keep]


def _depth_samples(shot: jobfolder.Shot, columns: int = 48) -> np.ndarray:
    """World points of a coarse grid over the middle keyframe's depth map, (N, 3)."""
    if not shot.depth_files:
        return np.zeros((0, 3))
    number = min(shot.depth_files, key=lambda n: abs(n - shot.numbers[shot.middle]))
    if number not in shot.numbers:
        return np.zeros((0, 3))
    try:
        depth, _ = jobfolder.read_depth(shot.depth_files[number])
    except (OSError, KeyError, ValueError):
        return np.zeros((0, 3))
    step = max(1, depth.shape[1] // columns)
    rows, cols = np.mgrid[step // 2 : depth.shape[0] : step, step // 2 : depth.shape[1] : step]
    z = depth[rows, cols].ravel()
    pixels = np.stack(
        [(cols.ravel() + 0.5) * shot.width / depth.shape[1], (rows.ravel() + 0.5) * shot.height / depth.shape[0]], 1
    )
    index = shot.index_of(number)
    directions = coordinates.rays(pixels, *shot.intrinsics[index])
    keep = np.isfinite(z)
    local = directions[keep] * z[keep, None]
    return local @ shot.c2w[index][:3, :3].T + shot.c2w[index][:3, 3]


def _low_level(shot: jobfolder.Shot, normal: np.ndarray) -> float:
    """Height, along normal, of the lowest twentieth of the points seen; below the camera where there are none."""
    heights = shot.points.xyz @ normal
    camera_height = float(normal @ shot.c2w[shot.middle][:3, 3])
    return float(min(np.quantile(heights, 0.05), camera_height)) if len(heights) >= 20 else camera_height - 1.0


def _rotation(up: np.ndarray, forward: np.ndarray) -> np.ndarray:
    """Rotation that takes `up` to +z and the level part of `forward` to +y."""
    z = up / np.linalg.norm(up)
    y = forward - z * (z @ forward)
    if np.linalg.norm(y) < 1e-6:  # looking straight down
        y = np.eye(3)[int(np.argmin(np.abs(z)))]
        y = y - z * (z @ y)
    y /= np.linalg.norm(y)
    return np.stack([np.cross(y, z), y, z])


def _vector(value) -> np.ndarray | None:
    try:
        vector = np.array(value, float)
    except (TypeError, ValueError):
        return None
    if vector.shape != (3,) or not np.isfinite(vector).all() or np.linalg.norm(vector) < 1e-9:
        return None
    return vector / np.linalg.norm(vector)


def _given_ground(value) -> tuple[np.ndarray, float] | None:
    """solve.json's `ground`: {"normal": [3], "point": [3]} or {"normal": [3], "offset": d} with normal @ X = d."""
    if not isinstance(value, dict):
        return None
    normal, point = _vector(value.get("normal")), value.get("point")
    if normal is None:
        return None
    if point is not None and np.shape(point) == (3,):
        return normal, float(normal @ np.asarray(point, float))
    return (normal, float(value["offset"])) if isinstance(value.get("offset"), (int, float)) else None


def carry_over(old_c2w: np.ndarray, old_depth: float, new_c2w: np.ndarray, new_depth: float) -> np.ndarray:
    """4x4 similarity from a new solve's world to an old one's, so that the same frame's camera and median depth coincide."""
    scale = old_depth / new_depth if new_depth > 0 and old_depth > 0 else 1.0
    return old_c2w @ np.diag([scale, scale, scale, 1.0]) @ np.linalg.inv(new_c2w)
