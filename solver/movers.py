"""Telling the set from what moves in it.

A camera must follow the set even where people carry many tracks. Two tools: poses by consensus (RANSAC over points that are
known so far, weighted so that every part of the picture counts), and labels by residuals over a track's whole life.
"""

from __future__ import annotations

import cv2
import numpy as np
from scipy.spatial import cKDTree

from .bundle_model import Observations, Projection, Unknowns, project, rotation_exp
from .resection import refine_points
from .types import LABEL_MOVER, LABEL_STATIC, LABEL_UNRELIABLE
from .view import Problem

ORDINARY_VIEWS = 8.0  # that a track's own noise is weighed against
POINT_VIEWS = 1.5  # taken up by the point's own three unknowns
NOISE_LIMIT_SIGMAS = 5.0
GROSS_SIGMAS = 400.0
SAMPLE_FRAMES = 48  # of a shot, that what takes up the picture is looked at in
BY_ROOM = {"cells": 8, "crowd": 0.0}  # what takes up the picture, however many tracks it carries


def coverage_weight(xy: np.ndarray, width: int, height: int, cells: int = 12, crowd: float = 0.5) -> np.ndarray:
    """(n,) weights that let every occupied cell of the picture count by this power of the number in it: 0.5 a crowd for more than
    a lone track, 0 every part of the picture alike."""
    if not len(xy):
        return np.zeros(0)
    cx = np.clip(((xy[:, 0] + width / 2) / width * cells).astype(int), 0, cells - 1)
    cy = np.clip(((xy[:, 1] + height / 2) / height * cells).astype(int), 0, cells - 1)
    _, cell, count = np.unique(cy * cells + cx, return_inverse=True, return_counts=True)
    return count[cell] ** (crowd - 1.0)


def _minimal_poses(
    world_points: np.ndarray,
    xy: np.ndarray,
    focal: float,
    trust: np.ndarray,
    threshold_px: float,
    rng: np.random.Generator,
    trials: int,
    translation: bool,
) -> tuple[np.ndarray, np.ndarray]:
    """Poses (H, 3, 3), (H, 3) that fit a few randomly picked points each: three and one to choose by, or two directions."""
    n = len(xy)
    need = 4 if translation else 2
    if n < need + 2 or (trust > 0).sum() < need:
        return np.zeros((0, 3, 3)), np.zeros((0, 3))
    # the largest of log trust plus Gumbel noise: drawn without repeats, with chances as trust says, for all trials at once
    chance = np.log(np.maximum(trust, 1e-300)) + rng.gumbel(size=(trials, n))
    picks = np.argpartition(-chance, need - 1, axis=1)[:, :need]
    if not translation:
        rays = np.concatenate([xy / focal, np.ones((n, 1))], 1)[picks]
        seen = rays / np.linalg.norm(rays, axis=2, keepdims=True)
        known = world_points[picks] / np.linalg.norm(world_points[picks], axis=2, keepdims=True)
        u, _, vt = np.linalg.svd(seen.transpose(0, 2, 1) @ known)
        u[:, :, 2] *= np.linalg.det(u @ vt)[:, None]
        return u @ vt, np.zeros((trials, 3))
    camera = np.diag([focal, focal, 1.0])
    turns, shifts, trial = [], [], []
    for i, pick in enumerate(picks):
        _, rs, ts = cv2.solveP3P(world_points[pick[:3]], xy[pick[:3]], camera, None, cv2.SOLVEPNP_P3P)
        turns += rs
        shifts += ts
        trial += [i] * len(rs)
    if not turns:
        return np.zeros((0, 3, 3)), np.zeros((0, 3))
    rotation = rotation_exp(np.reshape(turns, (-1, 3)))
    offset, trial = np.reshape(shifts, (-1, 3)), np.array(trial)
    judge = picks[trial, 3]
    q = (rotation @ world_points[judge][:, :, None])[:, :, 0] + offset
    error = np.where(q[:, 2] > 0, np.hypot(*(focal * q[:, :2] / np.where(q[:, 2:] > 0, q[:, 2:], 1) - xy[judge]).T), np.inf)
    order = np.lexsort((error, trial))
    best = order[np.concatenate([[True], np.diff(trial[order]) > 0])]  # of each trial
    best = best[error[best] < 8 * threshold_px]
    return rotation[best], offset[best]


def consensus_pose(
    world_points: np.ndarray,
    xy: np.ndarray,
    focal: float,
    trust: np.ndarray,
    threshold_px: float,
    rng: np.random.Generator,
    *,
    trials: int = 60,
    translation: bool = True,
    near: tuple[np.ndarray, np.ndarray] | None = None,
) -> tuple[np.ndarray, np.ndarray, float]:
    """Pose (R, t, score) that most of the trusted points agree on.

    world_points (n, 3): positions, or directions when translation is False; xy (n, 2) px from the principal point,
    undistorted; trust (n,) >= 0: chance of being picked and weight in the score; near: a pose that takes part as it is.
    """
    rotation, offset = _minimal_poses(world_points, xy, focal, trust, threshold_px, rng, trials, translation)
    if near is not None:
        rotation, offset = np.concatenate([near[0][None], rotation]), np.concatenate([near[1][None], offset])
    if not len(rotation):
        return np.eye(3), np.zeros(3), 0.0
    q = np.einsum("hij,nj->hni", rotation, world_points) + (offset[:, None] if translation else 0)
    z = np.where(q[..., 2] > 1e-6, q[..., 2], np.nan)
    e2 = ((focal * q[..., :2] / z[..., None] - xy) ** 2).sum(-1)
    gain = np.where(np.isfinite(e2), np.maximum(0, 1 - e2 / threshold_px**2), 0.0)
    score = gain @ trust
    best = int(np.argmax(score))
    return rotation[best], offset[best], float(score[best] / max(trust.sum(), 1e-12))


def track_fit(obs: Observations, x: Unknowns, cut: float) -> tuple[np.ndarray, np.ndarray]:
    """Per point: share of its observations within cut sigmas, and the RMS (px) of those."""
    proj = project(obs, x)
    e2 = obs.squares(proj.residual)
    good = (e2 < (cut * obs.sigma_px) ** 2) & ~proj.behind
    n = np.bincount(obs.point, minlength=obs.point_count)
    g = np.bincount(obs.point, good, minlength=obs.point_count)
    rms = np.sqrt(np.bincount(obs.point, e2 * good, minlength=obs.point_count) / np.maximum(g, 1))
    return g / np.maximum(n, 1), rms


def residual_scale(obs: Observations, x: Unknowns) -> float:
    """How much larger than their sigmas residuals really are (robust, per coordinate)."""
    proj = project(obs, x)
    s = np.sqrt(obs.squares(proj.residual)) / obs.sigma_px
    return float(np.median(s) / 1.1774)


def track_noise(obs: Observations, x: Unknowns, scale: float) -> np.ndarray:
    """(P,) how many times noisier each track is than its sigmas and the common scale say, by what its own point leaves.

    Patches without much in them, or that change as the view does, are several times worse than the tracker can know. A few views
    say little: every track counts as some ordinary ones besides, and gross errors only up to a limit.
    """
    s = np.minimum(obs.squares(project(obs, x).residual) / (2 * (scale * obs.sigma_px) ** 2), NOISE_LIMIT_SIGMAS**2)
    total = np.bincount(obs.point, s, minlength=obs.point_count)
    views = np.bincount(obs.point, minlength=obs.point_count)
    own = np.maximum(views - POINT_VIEWS, 0)
    return np.sqrt((ORDINARY_VIEWS + total) / (ORDINARY_VIEWS + own))


def relabel(
    obs: Observations, x: Unknowns, *, translation: bool, scale: float, cut: float = 5.0, floor_px: float = 0.6
) -> tuple[np.ndarray, Unknowns]:
    """Labels (P,) of the points, and the unknowns with every point fitted to the cameras on its own.

    A mover leaves its best static place for most of its life by far more than the noise; an unreliable track does so by
    little or now and then (a slipped patch, an edge of two surfaces).
    """
    x = refine_points(obs, x, translation=translation, width=3.0 * max(scale, 1.0), iterations=8)
    proj = project(obs, x)
    error = np.sqrt(obs.squares(proj.residual))
    limit = np.maximum(cut * scale * obs.sigma_px, floor_px)
    n = np.bincount(obs.point, minlength=obs.point_count)
    share = np.bincount(obs.point, (error > limit) | proj.behind, minlength=obs.point_count) / np.maximum(n, 1)
    far = np.bincount(obs.point, error > 3 * limit, minlength=obs.point_count) / np.maximum(n, 1)
    label = np.full(obs.point_count, LABEL_STATIC)
    label[share > 0.3] = LABEL_UNRELIABLE
    label[far > 0.3] = LABEL_MOVER
    return label, x


def _at_rest(view, state, frames: np.ndarray, tracks: np.ndarray, translation: bool) -> tuple[Problem, Projection]:
    """What three frames and more have seen of the tracks, and where points at rest, each where it fits best, would be seen."""
    problem = view.problem(frames, tracks & state.world.known, min_views=3, depth=False)
    x = state.world.gather(problem, view.depth_is_log)
    return problem, project(problem.obs, refine_points(problem.obs, x, translation=translation, width=3.0, iterations=6))


def track_error(view, state, frames: np.ndarray, tracks: np.ndarray, translation: bool) -> tuple[np.ndarray, np.ndarray]:
    """Of each track the root mean square of its residuals (in its sigmas; infinite where it has no point) where a point at rest
    fits it best, and the number of views (N,)."""
    problem, proj = _at_rest(view, state, frames, tracks, translation)
    square = np.where(proj.behind, GROSS_SIGMAS**2, problem.obs.squares(proj.residual) / problem.obs.sigma_px**2)
    error, views = np.full(len(tracks), np.inf), np.zeros(len(tracks), int)
    count = np.bincount(problem.obs.point, minlength=problem.obs.point_count)
    total = np.bincount(problem.obs.point, np.minimum(square, GROSS_SIGMAS**2), minlength=problem.obs.point_count)
    error[problem.tracks], views[problem.tracks] = np.sqrt(total / np.maximum(count, 1)), count
    return error, views


def share_of_picture(view, frames: np.ndarray, tracks: np.ndarray, part: np.ndarray) -> float:
    """Share of the picture, over all frames, that some (N,) bool of the tracks (N,) bool take up, by the room each has."""
    rows = [view.rows_of(int(f)) for f in frames]
    rows = [r[tracks[view.tracks.track[r]]] for r in rows]
    weight = np.concatenate([coverage_weight(view.xy[r], view.width, view.height, **BY_ROOM) for r in rows])
    return float(weight @ part[view.tracks.track[np.concatenate(rows)]] / max(weight.sum(), 1e-9))


def share_throughout(view, tracks: np.ndarray, part: np.ndarray) -> float:
    """Share of the picture that some (N,) bool of the tracks (N,) bool take up, by frames from all over the shot."""
    sample = np.unique(np.linspace(0, view.frame_count - 1, SAMPLE_FRAMES).round().astype(int))
    return share_of_picture(view, sample, tracks, part)


def explained(
    view,
    state,
    frames: np.ndarray,
    tracks: np.ndarray,
    translation: bool,
    scale: float,
    cut: float = 3.0,
    by_room: bool = False,
    floor_px: float = 0.25,
) -> float:
    """Share of the picture, over all frames, whose tracks a point at rest explains to within `cut` deviations.

    Every track is weighted by the room it has, so that a crowd of tracks on one actor does not outvote the set; by_room: by that
    alone.
    """
    problem, proj = _at_rest(view, state, frames, tracks, translation)
    if not len(problem.tracks):
        return 0.0
    limit = np.maximum(cut * max(scale, 0.5) * problem.obs.sigma_px, floor_px)
    good = (problem.obs.squares(proj.residual) < limit**2) & ~proj.behind
    weight = np.zeros(len(good))
    for c in range(problem.obs.cam_count):
        rows = np.nonzero(problem.obs.cam == c)[0]
        weight[rows] = coverage_weight(problem.obs.xy[rows], view.width, view.height, **(BY_ROOM if by_room else {}))
    views = np.bincount(problem.obs.point, minlength=problem.obs.point_count)
    weight *= np.minimum(views[problem.obs.point] / 6.0, 1.0)  # a handful of views fits any point
    return float((good * weight).sum() / max(weight.sum(), 1e-9))


def smooth_movers(view, label: np.ndarray, frames: np.ndarray, tracks: np.ndarray, neighbours: int = 8) -> np.ndarray:
    """(N,) bool: movers, with the label of a track's surroundings taken into account.

    Movers are bodies: a track that seems at rest amid movers belongs to them, a lone mover amid tracks at rest does not count.
    """
    mover = label == LABEL_MOVER
    total = np.zeros(len(label))
    count = np.zeros(len(label))
    for f in frames:
        rows = view.rows_of(int(f))
        rows = rows[tracks[view.tracks.track[rows]]]
        if len(rows) <= neighbours:
            continue
        ids = view.tracks.track[rows]
        _, near = cKDTree(view.xy[rows]).query(view.xy[rows], k=neighbours + 1)
        total[ids] += mover[ids[near[:, 1:]]].mean(1)
        count[ids] += 1
    share = total / np.maximum(count, 1)
    return tracks & ((share > 0.6) | (mover & (share > 0.25)))
