"""The start: depth-lifted keypoints of one frame, then every further frame by the points it sees.

As in Liu, Nie, Hamid (CVPR 2022, section 3.2), the two-view start of classical structure from motion is replaced by depths
from a network at the keypoints of a reference frame; frames are then registered outwards from it. Where no depth is to be
had, all points start at one distance, which small moves forgive (Ha et al., "High-Quality Depth from Uncalibrated Small
Motion Clip", CVPR 2016).
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace

import numpy as np

from .bundle import Adjustment, robust
from .bundle_model import Freedom, project
from .movers import consensus_pose, coverage_weight, residual_scale, track_fit
from .resection import refine_points, resect
from .two_view import begin
from .view import Problem, ShotView, World, unproject

NEAREST_OVER_FARTHEST = 8.0  # assumed depth range of a disparity map before the adjustment finds its shift

TURNS_AS_WELL = 0.8  # of the points that a shift explains: a turn explains a whip pan as well as that


@dataclass(frozen=True)
class StartOptions:
    """focal_varies: every frame may have its own focal length; use_depth: lift with the network's depth."""

    focal_px: float
    focal_free: bool = True
    focal_varies: bool = False
    focal_prior_sigma: float = 0.5
    use_depth: bool = True
    depth_sigma: float = 0.1
    translation: bool = True
    distortion: bool = False
    essential: bool = False  # two frames by their essential matrix instead of lifted points


@dataclass(eq=False)
class Started:
    """A first reconstruction of the solve frames and the robust cost per observation by which starts are compared."""

    world: World
    cost: float
    options: StartOptions
    trust: np.ndarray  # (N,) how well a point at rest explains each track


def choose_frames(view: ShotView, wanted: int) -> np.ndarray:
    """Frames to start with: spread by image motion and time, never more than 10 frames apart."""
    motion = view.median_steps() / view.width
    arc = np.cumsum(motion + max(0.25 * motion.mean(), 1e-4))
    arc = (arc - arc[0]) / max(arc[-1] - arc[0], 1e-12)
    pick = np.unique(
        np.r_[
            0,
            np.searchsorted(arc, np.linspace(0, 1, min(wanted, view.frame_count))).clip(0, view.frame_count - 1),
            view.frame_count - 1,
        ]
    )
    filled = [pick[:1]]
    for a, b in itertools.pairwise(pick):
        filled.append(np.linspace(a, b, int(np.ceil((b - a) / 10)) + 1).round().astype(int)[1:])
    return np.unique(np.concatenate(filled))


def reference_frame(view: ShotView, frames: np.ndarray, need_depth: bool) -> int:
    """The frame whose tracks reach most of the other frames, among those with depth when that is wanted."""
    t = view.tracks
    with_depth = np.intersect1d(frames, view.keys) if need_depth else frames
    candidates = with_depth if len(with_depth) else frames
    length = np.bincount(t.track[np.isin(t.frame_index, frames)], minlength=t.track_count)
    score = [length[t.track[view.rows_of(f)]].sum() for f in candidates]
    return int(candidates[int(np.argmax(score))])


def lift(view: ShotView, world: World, frame: int, rows: np.ndarray, use_depth: bool) -> None:
    """Give tracks without a point one, from the frame's observations `rows`: the network's depth in line with the points
    known there, or that of their neighbours."""
    tracks = view.tracks.track[rows]
    fresh = ~world.known[tracks]
    if not fresh.any():
        return
    known_rows, new_rows = rows[~fresh], rows[fresh]
    new = view.tracks.track[new_rows]
    rotation = world.rotation[frame]
    ray = unproject(view.xy[new_rows], float(np.exp(world.log_focal[frame])), world.k1, world.k2)
    inverse_depth = np.full(len(new), np.nan)
    depth = world.depth_in(frame, view.tracks.track[known_rows]) if len(known_rows) else np.zeros(0)
    usable = depth > 1e-3
    known_rows, depth = known_rows[usable], depth[usable]
    value_new = view.depth_value[new_rows]
    if use_depth and np.isfinite(value_new).any():
        inverse_depth = (
            _aligned(view, known_rows, 1 / depth, value_new) if len(known_rows) >= 12 else _raw_inverse_depth(view, value_new)
        )
    missing = ~np.isfinite(inverse_depth)
    if missing.any():
        if len(known_rows) >= 3:
            inverse_depth[missing] = _from_neighbours(view.xy[known_rows], 1 / depth, view.xy[new_rows[missing]])
        else:
            inverse_depth[missing] = 1.0
    # distance along the ray, not depth
    rho = np.maximum(inverse_depth, 1e-3) * ray[:, 2]
    world.direction[new] = ray @ rotation
    world.rho[new] = rho
    world.origin[new] = world.centre(frame)
    world.known[new] = True


def lift_seen(view: ShotView, world: World, frame: int, tracks: np.ndarray, use_depth: bool) -> None:
    """`lift` for those of the tracks (N,) bool that the frame sees."""
    rows = view.rows_of(frame)
    lift(view, world, frame, rows[tracks[view.tracks.track[rows]]], use_depth)


def _raw_inverse_depth(view: ShotView, value: np.ndarray) -> np.ndarray:
    """Before any point is known: inverse depth with median 1."""
    if view.depth_is_log:
        return np.exp(np.nanmedian(value) - value)
    low, high = np.nanpercentile(value, [2, 98])
    span = max(high - low, 1e-9)
    inverse = np.clip((value - low) / span, -0.02, 1.5) * (1 - 1 / NEAREST_OVER_FARTHEST) + 1 / NEAREST_OVER_FARTHEST
    return inverse / np.nanmedian(inverse)


def _aligned(view: ShotView, known_rows: np.ndarray, inverse_depth: np.ndarray, value_new: np.ndarray) -> np.ndarray:
    """The network's values through the scale (and shift) that fit the known points, robustly."""
    value = view.depth_value[known_rows]
    ok = np.isfinite(value)
    if ok.sum() < 12:
        return np.full(len(value_new), np.nan)
    value, inverse_depth = value[ok], inverse_depth[ok]
    if view.depth_is_log:
        return np.exp(np.median(np.log(inverse_depth) + value) - value_new)
    fit = robust_line(value, inverse_depth)
    if fit[0] <= 0:
        return np.full(len(value_new), np.nan)
    return np.maximum(fit[0] * value_new + fit[1], 0.2 * inverse_depth.min())


def robust_line(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """(slope, offset) of y over x by reweighted least squares, so that whole wrong regions pull little."""
    a = np.c_[x, np.ones(len(x))]
    weight = np.ones(len(x))
    for _ in range(8):
        fit = np.linalg.lstsq(a * weight[:, None], y * weight, rcond=None)[0]
        residual = np.abs(a @ fit - y)
        weight = 1 / np.sqrt(1 + (residual / (1.4826 * np.median(residual) + 1e-9)) ** 2)
    return fit


def _from_neighbours(known_xy: np.ndarray, inverse_depth: np.ndarray, xy: np.ndarray) -> np.ndarray:
    from scipy.spatial import cKDTree

    k = min(5, len(known_xy))
    _, index = cKDTree(known_xy).query(xy, k=k)
    return np.median(inverse_depth[index.reshape(len(xy), k)], axis=1)


def start(view: ShotView, frames: np.ndarray, tracks: np.ndarray, options: StartOptions, seed: int = 0, progress=None) -> Started:
    """A reconstruction of the given frames (ascending indices) from the given tracks (N,) bool."""
    world = World.blank(view.frame_count, view.tracks.track_count, options.focal_px)
    pair = begin(view, world, frames, tracks, options.focal_px) if options.essential else ()
    reference = pair[0] if pair else reference_frame(view, frames, options.use_depth)
    world.registered[reference] = True
    lift_seen(view, world, reference, tracks, options.use_depth)
    rng = np.random.default_rng(seed)
    trust = np.ones(view.tracks.track_count)
    order = [step for step in _outwards(frames, reference) if step[0] not in pair]
    done = [*pair] or [reference]
    next_adjustment = 3
    for count, (frame, neighbour) in enumerate(order):
        register(view, world, frame, neighbour, tracks, trust, options, rng)
        done.append(frame)
        lift_seen(view, world, frame, tracks, options.use_depth)
        last = count == len(order) - 1
        if len(done) >= next_adjustment or last:
            next_adjustment = int(np.ceil(1.6 * len(done)))
            registered = np.sort(done)
            adjust_trusted(view, world, registered, tracks, trust, options, last)
        if progress is not None:
            progress(count + 1, len(order))
    return Started(world, cost_of(view, world, np.sort(done), tracks), options, trust)


def adjust_trusted(
    view: ShotView, world: World, frames: np.ndarray, tracks: np.ndarray, trust: np.ndarray, options: StartOptions, last: bool
) -> None:
    """Adjust what is trusted and trust anew; the last time, adjust by that trust until little changes."""
    adjust(view, world, frames, tracks & (trust > 0.25), options, iterations=8, width=8.0)
    update_trust(view, world, frames, tracks, trust, options)
    if last:
        adjust(view, world, frames, tracks & (trust > 0.25), options, iterations=20, width=4.0)


def grow(view: ShotView, small: Started, frames: np.ndarray, tracks: np.ndarray, options: StartOptions, seed: int = 0) -> Started:
    """A start over few frames and tracks carried on to all the given ones: what was found is kept."""
    world, trust = small.world.copy(), small.trust.copy()
    rng = np.random.default_rng(seed)
    have = np.nonzero(world.registered)[0]
    for frame in have:
        lift_seen(view, world, int(frame), tracks, options.use_depth)
    todo = list(np.setdiff1d(frames, have))
    while todo:
        frame = int(min(todo, key=lambda f: np.abs(have - f).min()))
        register(view, world, frame, int(have[np.argmin(np.abs(have - frame))]), tracks, trust, options, rng)
        lift_seen(view, world, frame, tracks, options.use_depth)
        have = np.sort(np.r_[have, frame])
        todo.remove(frame)
    adjust_trusted(view, world, have, tracks, trust, options, last=True)
    return Started(world, cost_of(view, world, have, tracks), options, trust)


def register(
    view: ShotView, world: World, frame: int, neighbour: int, tracks: np.ndarray, trust: np.ndarray, options: StartOptions, rng
) -> None:
    """Find the pose of a frame from the points it sees: consensus, then a robust fit."""
    world.log_focal[frame] = world.log_focal[neighbour]
    problem = view.problem(np.array([frame]), tracks & world.known, min_views=1, depth=False)
    near = (world.rotation[neighbour], world.translation[neighbour])
    focal = float(np.exp(world.log_focal[frame]))
    obs, x = problem.obs, world.gather(problem, view.depth_is_log)
    xy = obs.xy
    if world.k1 or world.k2:
        ray = unproject(xy, focal, world.k1, world.k2)
        xy = ray[:, :2] / ray[:, 2:] * focal
    weight = trust[problem.tracks] ** 2 * coverage_weight(xy, view.width, view.height)
    target = x.points() if options.translation else x.direction
    threshold = max(1.5, 2.5e-3 * view.width)
    travels = options.translation
    rotation, translation, score = consensus_pose(target, xy, focal, weight, threshold, rng, translation=travels, near=near)
    if travels and view.racing[min(frame, neighbour) + 1 : max(frame, neighbour) + 1].any():
        # points in the streaks of a whip pan are known to pixels, which any shift could be; but a camera hardly goes anywhere
        centre = world.centre(neighbour)
        turn, _, turned = consensus_pose(target - centre, xy, focal, weight, threshold, rng, translation=False, near=near)
        if turned > TURNS_AS_WELL * score:
            rotation, translation, travels = turn, -turn @ centre, False
    world.rotation[frame], world.translation[frame] = rotation, translation
    x = world.gather(problem, view.depth_is_log)
    obs = replace(obs, sigma_px=obs.sigma_px / np.sqrt(np.clip(trust[problem.tracks], 0.05, 1)))
    for width in (12.0, 5.0):
        x = resect(
            obs,
            x,
            loss="geman",
            width=width,
            iterations=12,
            focal=options.focal_varies and options.focal_free,
            focal_sigma=0.03,
            translation=travels,
        )
    world.rotation[frame], world.translation[frame], world.log_focal[frame] = x.rotation[0], x.translation[0], x.log_focal[0]
    world.registered[frame] = True


def update_trust(
    view: ShotView, world: World, frames: np.ndarray, tracks: np.ndarray, trust: np.ndarray, options: StartOptions
) -> float:
    """Trust of each track: how well a point at rest explains it in the registered frames; points are fitted anew for all."""
    problem = view.problem(frames, tracks & world.known, depth=False)
    if not len(problem.tracks):
        return 1.0
    x = world.gather(problem, view.depth_is_log)
    x = refine_points(problem.obs, x, translation=options.translation, width=6.0, iterations=6)
    scale = max(residual_scale(problem.obs, x), 0.5)
    share, _ = track_fit(problem.obs, x, cut=max(6.0 * scale, 6.0))
    views = np.bincount(problem.obs.point, minlength=problem.obs.point_count)
    # few views say little: stay near one half
    trust[problem.tracks] = (share * views + 0.6) / (views + 1.0) * np.where(share < 0.5, 0.4, 1.0)
    fitted = problem.tracks
    doubtful = trust[fitted] <= 0.25
    world.direction[fitted[doubtful]], world.rho[fitted[doubtful]] = x.direction[doubtful], x.rho[doubtful]
    return scale


def adjust(
    view: ShotView, world: World, frames: np.ndarray, tracks: np.ndarray, options: StartOptions, *, iterations: int, width: float
) -> None:
    """Adjust what is known so far."""
    align_keys(view, world, frames)
    problem = view.problem(frames, tracks & world.known, depth=options.use_depth)
    free = Freedom(
        focal=options.focal_free,
        focal_varies=options.focal_varies and options.focal_free,
        focal_prior_log=float(np.log(options.focal_px)),
        focal_prior_sigma=options.focal_prior_sigma,
        translation=options.translation,
        k1=options.distortion,
        depth_sigma=options.depth_sigma,
        depth_strength=depth_strength(problem),
        loss="cauchy",
        loss_width=width,
        focal_smooth_sigma=0.01,
    )
    adjustment = Adjustment(problem.obs, free, focal_frames=frames.astype(float))
    found = adjustment.run(world.gather(problem, view.depth_is_log), max_iterations=iterations, tolerance=1e-4)
    world.scatter(problem, found.unknowns)


def depth_strength(problem: Problem, independent: float = 40.0) -> float:
    """A network's errors hang together over regions and frames: all its values count as this many independent ones."""
    return min(1.0, independent / max(len(problem.obs.depth_obs), 1))


def align_keys(view: ShotView, world: World, frames: np.ndarray) -> None:
    """Scale and shift of keyframes that have none yet, from the points they see."""
    for k in view.keys:
        if k in world.key_scale or k not in set(frames.tolist()):
            continue
        rows = view.rows_of(k)
        rows = rows[world.known[view.tracks.track[rows]] & np.isfinite(view.depth_value[rows])]
        if len(rows) < 8:
            continue
        depth = world.depth_in(k, view.tracks.track[rows])
        rows, depth = rows[depth > 1e-3], depth[depth > 1e-3]
        value = view.depth_value[rows]
        if view.depth_is_log:
            world.key_scale[k], world.key_shift[k] = float(np.median(np.log(depth) - value)), 0.0
        else:
            fit = robust_line(1 / depth, value)
            world.key_scale[k], world.key_shift[k] = float(fit[0]), float(fit[1])


def cost_of(view: ShotView, world: World, frames: np.ndarray, tracks: np.ndarray, width: float = 6.0) -> float:
    """Mean saturating cost of the pixels, to compare starts by: gross outliers count alike in all of them."""
    problem = view.problem(frames, tracks & world.known, depth=False)
    proj = project(problem.obs, world.gather(problem, view.depth_is_log))
    s = problem.obs.squares(proj.residual) / problem.obs.sigma_px**2
    return float(robust(np.where(proj.behind, 1e9, s), "geman", width)[0].mean())


def _outwards(frames: np.ndarray, reference: int) -> list[tuple[int, int]]:
    """Frames in order of distance from the reference, each with its neighbour on the reference's side."""
    frames = np.sort(frames)
    at = int(np.nonzero(frames == reference)[0][0])
    order = []
    for step in range(1, len(frames)):
        for side in (-1, 1):
            i = at + side * step
            if 0 <= i < len(frames):
                order.append((int(frames[i]), int(frames[i - side])))
    return order
