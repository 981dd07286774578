"""Depth maps in the units of the solved scene: robust scale and shift, then a smooth correction towards the solved points.

The correction lives on a bilateral grid (Chen, Paris & Durand 2007): cells over the picture and over depth. Points on a thing in
front do not pull at what lies behind it, however close their pixels are, and since cells are averages with positive weights,
read linearly, the correction never leaves the range of what the points ask for.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from .depth_warp import LensCamera, blend_views
from .types import AlignedDepth, DepthMap
from .view import ShotView, World, disparity_span, sample_map

MIN_POINTS = 12
CORRECTION_COLUMNS = 32  # cells across the picture
NARROW_CELLS, WIDE_CELLS = 0.8, 3.0  # reach (standard deviation) of a point over cells
LEVEL = 0.2  # height of a cell in log depth
MAX_LEVELS = 40
HOLD_POINTS = 0.2  # what the wider surroundings of a cell say counts as if it were this many points of its own
HOLD_WIDE_POINTS = 0.4  # and "no correction" against the surroundings
MAX_CORRECTION = 1.5  # of log depth
FUSED_NEIGHBOURS = 2  # keyframes on either side that a keyframe is fused with


@dataclass(frozen=True)
class Anchors:
    """Solved points that are seen in one frame: what its depth map is held against."""

    xy: np.ndarray  # (n, 2) px of the full resolution, first pixel's centre at 0.5
    depth: np.ndarray  # (n,) z in scene units, above 0
    sigma: np.ndarray  # (n,) relative deviation of it

    def weight(self) -> np.ndarray:
        """(n,) how far each can be trusted, 0..1."""
        return 1 / (1 + (self.sigma / 0.05) ** 2)


@dataclass(frozen=True)
class Fit:
    """A map brought to scene units by a scale and a shift."""

    scale: float
    shift: float
    depth: np.ndarray  # (h, w) float32
    at_points: np.ndarray  # (n,) the same at the anchors


def values_at(source: DepthMap, anchors: Anchors, width: int, height: int) -> np.ndarray:
    """(n,) what a map says at the anchors; NaN where it says nothing."""
    return sample_map(source.values, anchors.xy, width, height) if len(anchors.xy) else np.zeros(0)


def fit_map(source: DepthMap, anchors: Anchors, width: int, height: int) -> Fit | None:
    """The robust fit of one map; None when it says nothing about the scene or has too few points."""
    value = values_at(source, anchors, width, height)
    keep = np.isfinite(value) & (anchors.depth > 0) & ((value > 0) | (source.kind == "disparity"))
    if keep.sum() < MIN_POINTS:
        return None
    if source.kind != "disparity":
        scale = weighted_median(anchors.depth[keep] / value[keep], anchors.weight()[keep])
        return apply_fit(source, anchors, width, height, scale, 0.0)
    unit = disparity_span(source.values)
    a, depth = np.c_[value[keep] / unit, np.ones(keep.sum())], anchors.depth[keep]
    trust = np.sqrt(anchors.weight()[keep])
    fit = rough_line(a[:, 0], depth)
    for _ in range(10):
        residual = np.abs((a @ fit) * depth - 1)
        weight = 1 / np.sqrt(1 + (residual / (1.4826 * np.median(residual) + 1e-6)) ** 2)
        w = weight * trust * depth  # errors relative to the depth itself, so that far points count as much as near ones
        fit = np.linalg.lstsq(a * w[:, None], w / depth, rcond=None)[0]
    return apply_fit(source, anchors, width, height, float(fit[0] / unit), float(fit[1])) if fit[0] > 0 else None


def rough_line(value: np.ndarray, depth: np.ndarray, draws: int = 200) -> np.ndarray:
    """(scale, shift) of 1/depth = scale * value + shift with the least median error (Rousseeuw 1984): up to half may be wrong."""
    rng = np.random.default_rng(len(value))
    first, second = rng.integers(len(value), size=(2, draws))
    gap = value[first] - value[second]
    usable = np.abs(gap) > 1e-3 * (np.ptp(value) + 1e-12)
    if not usable.any():
        return np.array([0.0, float(np.median(1 / depth))])
    first, second, gap = first[usable], second[usable], gap[usable]
    scale = (1 / depth[first] - 1 / depth[second]) / gap
    shift = 1 / depth[first] - scale * value[first]
    few = rng.permutation(len(value))[:400]
    error = np.median(np.abs((scale[:, None] * value[few] + shift[:, None]) * depth[few] - 1), axis=1)
    best = int(np.argmin(error))
    return np.array([scale[best], shift[best]])


def apply_fit(source: DepthMap, anchors: Anchors, width: int, height: int, scale: float, shift: float) -> Fit:
    """Depth of the whole map and at the anchors, for 1/z = scale * value + shift (disparity) or z = scale * value."""
    value = values_at(source, anchors, width, height)
    if source.kind != "disparity":
        return Fit(scale, 0.0, (source.values * scale).astype(np.float32), value * scale)
    # Nothing lies further than five times the furthest points: what the map puts beyond (sky, its own errors) stays there.
    floor = 0.2 / float(np.percentile(anchors.depth, 99)) if len(anchors.depth) else 1e-6
    dense = (1 / np.maximum(scale * source.values.astype(np.float64) + shift, floor)).astype(np.float32)
    return Fit(scale, shift, dense, 1 / np.maximum(scale * value + shift, floor))


def weighted_median(values: np.ndarray, weights: np.ndarray) -> float:
    """The value with half of the weight on either side."""
    order = np.argsort(values)
    total = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(total, 0.5 * total[-1])])


class CorrectionGrid:
    """What the points ask of a map, in log depth, collected in cells over picture and depth; grids of one shape add up."""

    def __init__(self, width: int, height: int, low: float, high: float) -> None:
        """width, height of the picture in px; low, high: the log depths that are to be corrected."""
        self.width, self.height, self.low = width, height, low
        self.columns = CORRECTION_COLUMNS
        self.rows = max(3, round(self.columns * height / width))
        self.levels = int(np.clip(np.ceil((high - low) / LEVEL) + 1, 2, MAX_LEVELS))
        self.total, self.mass = (np.zeros((self.rows, self.columns, self.levels), np.float32) for _ in range(2))

    def _cells(self, xy: np.ndarray, log_depth: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
        """The eight cells around each place, as (flat index, share of the place)."""
        at = (
            np.clip(xy[:, 1] / self.height * self.rows - 0.5, 0, self.rows - 1),
            np.clip(xy[:, 0] / self.width * self.columns - 0.5, 0, self.columns - 1),
            np.clip((log_depth - self.low) / LEVEL, 0, self.levels - 1),
        )
        lower = [np.minimum(a.astype(int), n - 2) for a, n in zip(at, self.total.shape, strict=True)]
        part = [a - b for a, b in zip(at, lower, strict=True)]
        corners = []
        for corner in range(8):
            step = (corner >> 2 & 1, corner >> 1 & 1, corner & 1)
            share = np.ones(len(xy))
            for s, p in zip(step, part, strict=True):
                share = share * (p if s else 1 - p)
            index = np.ravel_multi_index([b + s for b, s in zip(lower, step, strict=True)], self.total.shape)
            corners.append((index, share))
        return corners

    def add(self, fit: Fit, anchors: Anchors) -> float:
        """Takes in the points of one frame; returns the robust spread of log(solved depth / fitted depth)."""
        ratio = np.log(anchors.depth / np.maximum(fit.at_points, 1e-9))
        known = np.isfinite(ratio)
        if not known.any():
            return float("nan")
        spread = float(1.4826 * np.median(np.abs(ratio[known] - np.median(ratio[known]))))
        weight = np.where(known, anchors.weight(), 0.0)
        ratio = np.clip(np.nan_to_num(ratio), -MAX_CORRECTION, MAX_CORRECTION)
        for index, share in self._cells(anchors.xy, np.log(np.maximum(np.nan_to_num(fit.at_points, nan=1.0), 1e-9))):
            np.add.at(self.total.reshape(-1), index, (share * weight * ratio).astype(np.float32))
            np.add.at(self.mass.reshape(-1), index, (share * weight).astype(np.float32))
        return spread

    def field(self) -> np.ndarray:
        """(rows, columns, levels) correction of log depth: near points first, then the wider surroundings, then none."""
        far_total, far_mass = (_spread_out(a, WIDE_CELLS, 2) for a in (self.total, self.mass))
        surroundings = far_total / (far_mass + HOLD_WIDE_POINTS)
        near_total, near_mass = (_spread_out(a, NARROW_CELLS, 1) for a in (self.total, self.mass))
        return (near_total + HOLD_POINTS * surroundings) / (near_mass + HOLD_POINTS)

    def correct(self, depth: np.ndarray) -> np.ndarray:
        """(h, w) depth -> corrected depth, float32; NaN stays NaN."""
        h, w = depth.shape
        x, y = np.meshgrid((np.arange(w) + 0.5) * self.width / w, (np.arange(h) + 0.5) * self.height / h)
        log_depth = np.log(np.maximum(np.nan_to_num(depth, nan=1.0), 1e-9)).ravel()
        field, result = self.field().reshape(-1), np.zeros(h * w)
        for index, share in self._cells(np.c_[x.ravel(), y.ravel()], log_depth):
            result += share * field[index]
        return (depth * np.exp(result).reshape(h, w)).astype(np.float32)


def _spread_out(grid: np.ndarray, sigma: float, level_passes: int) -> np.ndarray:
    """The grid blurred over picture and levels, in units of points: about how many lie within the kernel."""
    blurred = cv2.GaussianBlur(grid, (0, 0), sigma, borderType=cv2.BORDER_CONSTANT).reshape(grid.shape)
    for _ in range(level_passes):
        padded = np.pad(blurred, ((0, 0), (0, 0), (1, 1)))
        blurred = 0.25 * padded[..., :-2] + 0.5 * padded[..., 1:-1] + 0.25 * padded[..., 2:]
    return blurred * (2 * np.pi * sigma**2) * (2 * level_passes)


def log_range(fits: list[Fit]) -> tuple[float, float]:
    """The log depths that the maps and their points take."""
    logs = [np.log(np.nanpercentile(np.maximum(np.r_[f.depth.ravel(), f.at_points], 1e-9), [1, 99])) for f in fits]
    return float(min(a for a, _ in logs)), float(max(b for _, b in logs))


def align_maps(
    view: ShotView, world: World, maps: dict[int, DepthMap], good: np.ndarray, depth_sigma: np.ndarray
) -> tuple[AlignedDepth, ...]:
    """Every map that the solved points (N,) good can be held against, each then fused with its neighbours.

    depth_sigma (N,): relative deviation of each point's depth.
    """
    aligned: dict[int, AlignedDepth] = {}
    for k in sorted(maps):
        rows = view.rows_of(k)
        rows = rows[good[view.tracks.track[rows]]]
        depth = world.depth_in(k, view.tracks.track[rows])
        front = depth > 1e-6
        anchors = Anchors(view.tracks.xy[rows[front]], depth[front], depth_sigma[view.tracks.track[rows[front]]])
        fit = fit_map(maps[k], anchors, view.width, view.height)
        if fit is None:
            continue
        grid = CorrectionGrid(view.width, view.height, *log_range([fit]))
        spread = grid.add(fit, anchors)
        aligned[k] = AlignedDepth(
            int(view.tracks.frame_numbers[k]),
            grid.correct(fit.depth),
            maps[k].confidence,
            fit.scale,
            fit.shift,
            spread,
            maps[k].values,
            maps[k].kind,
        )
    keys = sorted(aligned)
    cameras = {k: camera_of(view, world, k) for k in keys}
    fused = []
    for i, k in enumerate(keys):
        near = [n for n in keys[max(i - FUSED_NEIGHBOURS, 0) : i + FUSED_NEIGHBOURS + 1] if n != k]
        depth = blend_views(
            (cameras[k], aligned[k].depth, aligned[k].confidence),
            [(cameras[n], aligned[n].depth, aligned[n].confidence) for n in near],
            np.full(len(near), 0.5),
        )
        fused.append(AlignedDepth(**{**aligned[k].__dict__, "depth": depth}))
    return tuple(fused)


def camera_of(view: ShotView, world: World, frame: int) -> LensCamera:
    """The camera of a frame, as depth maps are warped with it."""
    focal = float(np.exp(world.log_focal[frame]))
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = world.rotation[frame], world.translation[frame]
    return LensCamera(
        pose,
        (focal, focal * view.pixel_aspect),
        (float(view.centre[0]), float(view.centre[1])),
        (float(world.k1), float(world.k2)),
        (view.width, view.height),
    )
