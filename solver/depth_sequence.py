"""Depth of every frame of a solved shot: aligned to the solved points, steady over time, and agreeing between cameras.

Three things flicker when every frame is aligned on its own, and each is steadied: scale and shift (fitted for the whole shot at
once, as a random walk), the correction towards the points (collected over neighbouring frames), and the maps themselves (each
averaged with its neighbours where, seen through the solved cameras, they show the same surface).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .depth_warp import LensCamera, View, blend_views, inconsistency
from .errors import EXIT_UNSOLVED, HoldfastError
from .fuse import MIN_POINTS, Anchors, CorrectionGrid, Fit, apply_fit, fit_map, log_range, rough_line, values_at
from .poses import focal_xy
from .types import DepthMap, Solution
from .view import disparity_span

WALK_SIGMA = 0.01  # how far scale and shift wander from one frame to the next, relative to the scene's disparity
FIT_SIGMA = 0.1  # spread of a network's depth at the points
FIT_POINTS = 20.0  # a network's errors go together over whole regions: a frame's points count as so many at most
STEADY_FRAMES = 2.0  # reach over time (standard deviation) of the correction
BLEND_REACH = 6  # frames on either side that a frame is averaged with


@dataclass(frozen=True)
class SteadyDepth:
    """What is known of the shot's depth."""

    views: tuple[View, ...]  # camera, depth (h, w) in scene units, confidence, of every frame
    scale: np.ndarray  # (F,)
    shift: np.ndarray  # (F,)
    spread: float  # median over frames of the robust spread of log(solved depth / network's depth)
    inconsistency: float  # median |log depth ratio| between neighbouring frames, through the solved cameras
    inconsistency_alone: float  # the same, every frame aligned on its own


def camera_of(solution: Solution, index: int) -> LensCamera:
    """The solved camera of a frame."""
    lens, focal = solution.camera, focal_xy(solution)[index]
    return LensCamera(
        np.asarray(solution.cam_from_world[index], np.float64),
        (float(focal[0]), float(focal[1])),
        (lens.cx, lens.cy),
        (lens.k1, lens.k2),
        (lens.width, lens.height),
    )


def anchors_of(solution: Solution) -> list[Anchors]:
    """The solved points seen in each frame."""
    tracks = solution.tracks
    point_of = np.full(tracks.track_count, -1)
    point_of[solution.point_track] = np.arange(len(solution.points))
    point = point_of[tracks.track]
    result = []
    for i, pose in enumerate(np.asarray(solution.cam_from_world)):
        rows = np.flatnonzero((tracks.frame_index == i) & (point >= 0))
        depth = solution.points[point[rows]] @ pose[2, :3] + pose[2, 3]
        front = depth > 1e-6
        rows = rows[front]
        result.append(Anchors(tracks.xy[rows], depth[front], np.asarray(solution.point_depth_sigma, float)[point[rows]]))
    return result


def steady_scales(maps: list[DepthMap], anchors: list[Anchors], width: int, height: int) -> tuple[np.ndarray, np.ndarray]:
    """(scale (F,), shift (F,)) of all frames, robustly and at once, each frame held to its neighbours as a random walk.

    Minimises sum (z_j (scale_f v_fj + shift_f) - 1)^2 / FIT_SIGMA^2 + sum |theta_f - theta_(f-1)|^2 / WALK_SIGMA^2 by iterated
    reweighting; theta is scale and shift in units of the shot's own span of values and disparity. For networks that give
    depth, the logarithm of the scale alone. Raises HoldfastError when no frame has points enough.
    """
    frames, disparity = len(maps), maps[0].kind == "disparity"
    inverse = np.concatenate([1 / a.depth for a in anchors if len(a.depth)] or [np.ones(1)])
    typical = float(np.median(inverse))
    unit = float(np.median([disparity_span(m.values) for m in maps])) if disparity else 1.0
    rows = []
    for source, anchor in zip(maps, anchors, strict=True):
        value = values_at(source, anchor, width, height)
        keep = np.isfinite(value) & (disparity | (value > 0))
        value, depth, trust = value[keep], anchor.depth[keep], anchor.weight()[keep]
        if disparity:
            design = np.c_[value / unit, np.ones(len(value))] * (depth * typical)[:, None]
            rows.append((design, np.ones(len(value)), trust))
        else:
            rows.append((np.ones((len(value), 1)), np.log(depth / np.maximum(value, 1e-9)), trust))
    if max(len(target) for _, target, _ in rows) < MIN_POINTS:
        raise HoldfastError(
            "depth.no_points",
            "No frame of the solve shows enough solved points to hold depth maps against.",
            "Solve the clip again with --quality best, or check the masks.",
            EXIT_UNSOLVED,
        )
    size = 2 if disparity else 1
    if disparity:
        lines = [rough_line(d[:, 0] / d[:, 1], d[:, 1]) for d, _, _ in rows if len(d) >= MIN_POINTS]
    else:
        lines = [[float(np.median(target))] for _, target, _ in rows if len(target) >= MIN_POINTS]
    theta = np.tile(np.median(lines, axis=0), (frames, 1))
    for _ in range(12):
        blocks, right = np.zeros((frames, size, size)), np.zeros((frames, size))
        for f, (design, target, trust) in enumerate(rows):
            if not len(target):
                continue
            residual = np.abs(design @ theta[f] - target)
            width_of = 1.4826 * np.median(residual) + 1e-3
            weight = trust / (1 + (residual / width_of) ** 2)
            weight = weight * min(FIT_POINTS / max(len(target), 1), 1.0) / FIT_SIGMA**2
            blocks[f] = design.T @ (design * weight[:, None])
            right[f] = design.T @ (weight * target)
        theta = _random_walk(blocks, right, 1 / WALK_SIGMA**2)
    if not disparity:
        return np.exp(theta[:, 0]), np.zeros(frames)
    if np.median(theta[:, 0]) <= 0:  # the network holds near for far: flat maps, and the points alone say what is where
        theta[:, 0] = 0.0
        theta[:, 1] = 1.0
    scale = np.maximum(theta[:, 0], 0.0) * typical / unit
    return scale, theta[:, 1] * typical


def _random_walk(blocks: np.ndarray, right: np.ndarray, stiffness: float) -> np.ndarray:
    """(F, n) solution of the block-tridiagonal system: blocks (F, n, n), right (F, n), neighbours tied by stiffness."""
    frames, n = right.shape
    tie = stiffness * np.eye(n)
    diagonal = blocks + 1e-6 * np.eye(n)
    diagonal[:-1] += tie
    diagonal[1:] += tie
    right = right.copy()
    for f in range(1, frames):  # Thomas' elimination, in blocks
        factor = tie @ np.linalg.inv(diagonal[f - 1])
        diagonal[f] = diagonal[f] - factor @ tie
        right[f] = right[f] + factor @ right[f - 1]
    result = np.zeros_like(right)
    result[-1] = np.linalg.solve(diagonal[-1], right[-1])
    for f in range(frames - 2, -1, -1):
        result[f] = np.linalg.solve(diagonal[f], right[f] + tie @ result[f + 1])
    return result


def steady_depth(solution: Solution, maps: list[DepthMap], indices: list[int] | None = None) -> SteadyDepth:
    """All maps brought together; indices: which frames of the solution they are of (left out: all).

    Raises HoldfastError as `steady_scales`.
    """
    width, height = solution.camera.width, solution.camera.height
    indices = list(range(len(solution.frame_numbers))) if indices is None else indices
    every = anchors_of(solution)
    anchors, cameras = [every[i] for i in indices], [camera_of(solution, i) for i in indices]
    scale, shift = steady_scales(maps, anchors, width, height)
    fits = [apply_fit(m, a, width, height, s, t) for m, a, s, t in zip(maps, anchors, scale, shift, strict=True)]
    low, high = log_range(fits)
    grids, spreads = [], []
    for fit, anchor in zip(fits, anchors, strict=True):
        grid = CorrectionGrid(width, height, low, high)
        spreads.append(grid.add(fit, anchor) if len(anchor.depth) else np.nan)
        grids.append(grid)
    totals, masses = (_over_time(np.stack([getattr(g, name) for g in grids])) for name in ("total", "mass"))
    steady: list[View] = []
    for i, fit in enumerate(fits):
        grids[i].total, grids[i].mass = totals[i], masses[i]
        steady.append((cameras[i], grids[i].correct(fit.depth), maps[i].confidence))
    blended = []
    for i, view in enumerate(steady):
        near = [n for n in range(i - BLEND_REACH, i + BLEND_REACH + 1) if n != i and 0 <= n < len(steady)]
        weights = np.exp(-0.5 * ((np.array(near, float) - i) / (0.6 * BLEND_REACH)) ** 2)
        blended.append((view[0], blend_views(view, [steady[n] for n in near], weights), view[2]))
    alone = [_alone(m, a, c, f) for m, a, c, f in zip(maps, anchors, cameras, fits, strict=True)]
    step = max(min(maps[0].values.shape) // 48, 1)
    return SteadyDepth(
        tuple(blended),
        scale,
        shift,
        float(np.nanmedian(spreads)),
        inconsistency(blended, step),
        inconsistency(alone, step),
    )


def _alone(source: DepthMap, anchors: Anchors, camera: LensCamera, otherwise: Fit) -> View:
    """A frame aligned and corrected on its own, for comparison."""
    fit = fit_map(source, anchors, *camera.size_px) or otherwise
    grid = CorrectionGrid(*camera.size_px, *log_range([fit]))
    if len(anchors.depth):
        grid.add(fit, anchors)
    return camera, grid.correct(fit.depth), source.confidence


def _over_time(grids: np.ndarray) -> np.ndarray:
    """(F, ...) averaged along the first axis with a Gaussian; at the ends over the frames there are."""
    reach = int(np.ceil(2.5 * STEADY_FRAMES))
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / STEADY_FRAMES) ** 2)
    result, mass = np.zeros_like(grids), np.zeros(len(grids), np.float32)
    for offset, weight in zip(range(-reach, reach + 1), weights, strict=True):
        to = slice(max(-offset, 0), len(grids) - max(offset, 0))
        of = slice(max(offset, 0), len(grids) - max(-offset, 0))
        if to.start < to.stop:
            result[to] += weight * grids[of]
            mass[to] += weight
    return result / mass.reshape(-1, *[1] * (grids.ndim - 1))
