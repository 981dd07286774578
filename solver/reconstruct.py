"""From a start to the whole shot: more frames, more tracks, movers left behind, then all frames at once."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from .bundle import Adjustment
from .bundle_model import Freedom, Unknowns
from .initialise import Started, StartOptions, align_keys, depth_strength, lift, lift_seen, register
from .movers import relabel, residual_scale, smooth_movers, track_error, track_noise
from .resection import refine_points, resect
from .types import LABEL_MOVER, LABEL_STATIC
from .view import Problem, ShotView, World

CORNER_BEND = 0.05  # lenses move the picture's corners by about this share of their distance from the middle
ZOOM_FLATNESS = 0.04  # relative deviation of depth below which a scene is taken for a zoom's
CROWDED = 0.06  # share of movers from which tracks amid them are looked at
NEIGHBOURS_IN = 18  # frames, about, in which a track's neighbours are asked
SURE_DEVIATIONS, SURE_VIEWS = 2.0, 10  # of both coordinates: a track amid movers that is at rest beyond doubt
MAX_FRAMES_AT_ONCE = 420  # beyond this, frames between keyframes are fitted to the points instead of adjusted


@dataclass(frozen=True)
class Model:
    """What kind of camera is being solved for."""

    translation: bool = True
    focal_free: bool = True
    focal_varies: bool = False
    k1: bool = False
    k2: bool = False
    row_time: bool = False
    depth: bool = True
    focal_prior_log: float = 0.0
    focal_prior_sigma: float = 0.5
    depth_sigma: float = 0.08
    depth_independent: float = 40.0
    focal_smooth_sigma: float = 0.002

    @property
    def name(self) -> str:
        """E.g. "free, constant focal, radial1"."""
        lens = "radial2" if self.k2 else "radial1" if self.k1 else "no distortion"
        focal = "varying focal" if self.focal_varies else "constant focal" if self.focal_free else "fixed focal"
        return ", ".join(
            [("free" if self.translation else "rotation only"), focal, lens] + (["rolling shutter"] if self.row_time else [])
        )

    def freedom(self, strength: float, loss: str, width: float, corner_radius: float = 0.6) -> Freedom:
        """What the adjustment may change under this model."""
        return Freedom(
            focal=self.focal_free,
            focal_varies=self.focal_varies and self.focal_free,
            k1=self.k1,
            k2=self.k2,
            row_time=self.row_time,
            translation=self.translation,
            focal_prior_log=self.focal_prior_log,
            focal_prior_sigma=self.focal_prior_sigma,
            k1_prior_sigma=CORNER_BEND / corner_radius**2,
            k2_prior_sigma=CORNER_BEND / corner_radius**4,
            focal_smooth_sigma=self.focal_smooth_sigma,
            depth_sigma=self.depth_sigma,
            depth_strength=strength,
            loss=loss,
            loss_width=width,
        )


@dataclass
class State:
    """A reconstruction: the world, labels of the tracks (N,), and how much residuals exceed their sigmas."""

    world: World
    label: np.ndarray
    scale: float
    cost: float = np.inf
    steadied_px: float = 0.0  # root mean square of what steadying the path moved the points by

    def copy(self) -> State:
        """An independent copy."""
        return replace(self, world=self.world.copy(), label=self.label.copy())


def adjust_state(
    view: ShotView,
    state: State,
    frames: np.ndarray,
    tracks: np.ndarray,
    model: Model,
    *,
    iterations: int = 15,
    loss: str = "cauchy",
    width: float = 3.0,
    tolerance: float = 1e-4,
    noise: np.ndarray | None = None,
    progress=None,
) -> None:
    """Adjust the given frames with the static ones among the given tracks. noise (N,): how many times noisier each track is."""
    world = state.world
    align_keys(view, world, frames)
    problem = view.problem(frames, tracks & world.known & (state.label == LABEL_STATIC), depth=model.depth and model.translation)
    if not len(problem.tracks):
        return
    scale = max(state.scale, 0.3)
    times = 1.0 if noise is None else noise[problem.tracks][problem.obs.point]
    obs = replace(problem.obs, sigma_px=problem.obs.sigma_px * scale * times)
    corner_radius = 0.5 * float(np.hypot(view.width, view.height) / np.exp(np.median(world.log_focal[frames])))
    free = model.freedom(depth_strength(problem, model.depth_independent), loss, width, corner_radius)
    found = Adjustment(obs, free, focal_frames=frames.astype(float)).run(
        world.gather(problem, view.depth_is_log), max_iterations=iterations, tolerance=tolerance, progress=progress
    )
    world.scatter(problem, found.unknowns)
    if not model.focal_varies:
        world.log_focal[:] = found.unknowns.log_focal[0]
    state.scale = float(np.clip(residual_scale(problem.obs, found.unknowns), 0.3, 20))
    state.cost = found.cost


def classify(
    view: ShotView,
    state: State,
    frames: np.ndarray,
    tracks: np.ndarray,
    model: Model,
    cut: float = 4.0,
    adjusted: np.ndarray | None = None,
) -> tuple[Problem, Unknowns]:
    """Label all given tracks anew against the cameras of the given frames; points of all of them are fitted.

    adjusted (N,) bool: the tracks whose points came with the cameras (all by default). The others' points are where earlier
    cameras saw them, and move to where these do: few cameras and points drift along together, in scale above all.

    Returns what was seen of them, and the unknowns with every point where it fits best.
    """
    world = state.world
    problem = view.problem(frames, tracks & world.known, depth=False)
    if not len(problem.tracks):
        return problem, world.gather(problem, view.depth_is_log)
    label, x = relabel(
        problem.obs, world.gather(problem, view.depth_is_log), translation=model.translation, scale=state.scale, cut=cut
    )
    label[view.trusted[problem.tracks]] = LABEL_STATIC
    state.label[problem.tracks] = label
    # static points keep the adjustment's positions (depth term included); the others take what fits them
    moved = label != LABEL_STATIC
    if adjusted is not None:
        moved |= ~adjusted[problem.tracks]
    world.direction[problem.tracks[moved]], world.rho[problem.tracks[moved]] = x.direction[moved], x.rho[moved]
    return problem, x


def trim(
    view: ShotView, state: State, frames: np.ndarray, tracks: np.ndarray, model: Model, rounds: int = 4, iterations: int = 12
) -> None:
    """Adjust and relabel in turns: as movers leave, the scale of the residuals shrinks and shows the next ones."""
    for turn in range(rounds):
        before = state.label.copy()
        scale = state.scale
        adjust_state(view, state, frames, tracks, model, iterations=iterations, width=2.5)
        classify(view, state, frames, tracks, model)
        changed = (before != state.label)[tracks].mean()
        if turn and changed < 0.005 and abs(state.scale / scale - 1) < 0.05:
            break


def extend(
    view: ShotView, state: State, frames: np.ndarray, tracks: np.ndarray, model: Model, rng, on_frame=lambda frame: None
) -> None:
    """Register further frames next to registered ones and give all tracks a point. on_frame(index) hears of each frame."""
    world = state.world
    frames = np.union1d(frames, np.nonzero(world.registered)[0])
    options = StartOptions(
        focal_px=float(np.exp(np.median(world.log_focal[world.registered]))),
        focal_varies=model.focal_varies,
        focal_free=model.focal_free,
        translation=model.translation,
        use_depth=model.depth and model.translation,
    )
    trust = np.where(state.label == LABEL_STATIC, 1.0, 0.05)
    have = np.nonzero(world.registered)[0]
    for f in have:
        lift_seen(view, world, f, tracks, options.use_depth)
    todo = np.setdiff1d(frames, have)
    # nearest to a registered frame first
    while len(todo):
        gap = np.abs(todo[:, None] - have[None]).min(axis=1)
        at = int(np.argmin(gap))
        frame = int(todo[at])
        neighbour = int(have[np.argmin(np.abs(have - frame))])
        if not have.min() < frame < have.max():
            register(view, world, frame, neighbour, tracks, trust, options, rng)
        else:
            world.carry_over(frame, have)
            resect_frames(view, state, np.array([frame]), tracks, model)
            world.registered[frame] = True
        lift_seen(view, world, frame, tracks, options.use_depth)
        have = np.sort(np.r_[have, frame])
        todo = np.delete(todo, at)
        on_frame(frame)


def resect_frames(view: ShotView, state: State, frames: np.ndarray, tracks: np.ndarray, model: Model) -> None:
    """Fit the cameras of the given frames to the points as they stand."""
    world = state.world
    problem = view.problem(frames, tracks & world.known & (state.label == LABEL_STATIC), min_views=1, depth=False)
    if not len(problem.tracks):
        return
    x = world.gather(problem, view.depth_is_log)
    for width in (16.0, 4.0):
        x = resect(
            replace(problem.obs, sigma_px=problem.obs.sigma_px * max(state.scale, 0.5)),
            x,
            loss="geman",
            width=width,
            translation=model.translation,
            focal=model.focal_varies and model.focal_free,
            focal_sigma=0.01,
        )
    world.rotation[frames], world.translation[frames], world.log_focal[frames] = x.rotation, x.translation, x.log_focal


def all_frames(view: ShotView, state: State, tracks: np.ndarray, model: Model, *, iterations: int, progress=None) -> None:
    """Every frame of the shot gets a camera: interpolated, fitted to the points, then adjusted with everything."""
    world = state.world
    have = np.nonzero(world.registered)[0]
    missing = np.setdiff1d(np.arange(view.frame_count), have)
    for frame in missing:
        world.carry_over(int(frame), have)
    if len(missing):
        resect_frames(view, state, missing, tracks, model)
        world.registered[missing] = True
    everything = np.arange(view.frame_count)
    for f in everything:
        rows = view.rows_of(int(f))
        rows = rows[tracks[view.tracks.track[rows]]]
        if (~world.known[view.tracks.track[rows]]).any():
            lift(view, world, int(f), rows, model.depth and model.translation)
    seen, fitted = classify(view, state, everything, tracks, model)
    leave_bodies(view, state, everything, tracks, model)
    if view.frame_count <= MAX_FRAMES_AT_ONCE:
        noise = np.ones(view.tracks.track_count)
        noise[seen.tracks] = track_noise(seen.obs, fitted, max(state.scale, 0.3))
        noise[view.trusted] = 1.0
        adjust_state(view, state, everything, tracks, model, iterations=iterations, noise=noise, progress=progress)
    else:
        _adjust_in_windows(view, state, tracks, model, iterations)
    classify(view, state, everything, tracks, model)
    leave_bodies(view, state, everything, tracks, model)


def amid_movers(view: ShotView, state: State, frames: np.ndarray, tracks: np.ndarray, translation: bool) -> np.ndarray:
    """(N,) bool: those of the tracks that are part of bodies that move, whatever they seem by themselves; none where hardly
    anything moves.

    A short track, or one that goes the camera's way, fits some point; what is seen through a body for long is at rest.
    """
    none = np.zeros(len(tracks), bool)
    if (state.label[tracks] == LABEL_MOVER).mean() < CROWDED:
        return none
    some = frames[:: max(1, len(frames) // NEIGHBOURS_IN)]
    amid = smooth_movers(view, state.label, some, tracks) & ~view.trusted
    error, views = track_error(view, state, frames, amid & (state.label == LABEL_STATIC), translation)
    sure = (error < SURE_DEVIATIONS * max(state.scale, 0.3)) & (views >= SURE_VIEWS)
    return amid & ~sure


def leave_bodies(view: ShotView, state: State, frames: np.ndarray, tracks: np.ndarray, model: Model) -> None:
    """What only seems at rest, amid movers, is one."""
    amid = amid_movers(view, state, frames, tracks, model.translation)
    state.label[amid & (state.label == LABEL_STATIC)] = LABEL_MOVER


def _adjust_in_windows(view: ShotView, state: State, tracks: np.ndarray, model: Model, iterations: int) -> None:
    """Long shots: keyframes together, then points and frames in turns."""
    frames = np.arange(view.frame_count)
    step = int(np.ceil(view.frame_count / MAX_FRAMES_AT_ONCE))
    adjust_state(view, state, np.unique(np.r_[frames[::step], frames[-1]]), tracks, model, iterations=iterations)
    for _ in range(2):
        resect_frames(view, state, frames, tracks, model)
        problem = view.problem(frames, tracks & state.world.known, depth=False)
        x = state.world.gather(problem, view.depth_is_log)
        state.world.scatter(
            problem,
            refine_points(
                replace(problem.obs, sigma_px=problem.obs.sigma_px * max(state.scale, 0.5)), x, translation=model.translation
            ),
        )


def is_flat(view: ShotView, state: State, frames: np.ndarray, tracks: np.ndarray) -> bool:
    """Whether all static points lie at (nearly) one depth, seen from the middle frame: a zoom rather than a dolly."""
    middle = int(frames[len(frames) // 2])
    static = np.nonzero(tracks & state.world.known & (state.label == LABEL_STATIC))[0]
    depth = state.world.depth_in(middle, static) if len(static) else np.zeros(0)
    depth = depth[depth > 0]
    return len(depth) >= 10 and float(np.subtract(*np.percentile(np.log(depth), [84, 16]))) / 2 < ZOOM_FLATNESS


def give_depth(view: ShotView, world: World) -> None:
    """A camera that only turns sees no depth: points get the network's, or their neighbours', so that there is a scene."""
    known = world.known.copy()
    if world.rho[known].any():
        return
    direction = world.direction.copy()
    world.known[:] = False
    order = sorted(view.keys, key=lambda k: abs(k - view.frame_count // 2))
    for f in [*order, *range(view.frame_count)]:
        rows = view.rows_of(int(f))
        rows = rows[known[view.tracks.track[rows]]]
        if len(rows):
            lift(view, world, int(f), rows, bool(view.keys))
    world.direction[:] = direction
    world.origin[:] = 0.0
    world.translation[:] = 0.0


def from_start(view: ShotView, started: Started) -> State:
    """A state to go on from."""
    label = np.where(started.trust > 0.25, LABEL_STATIC, 1)
    return State(started.world.copy(), label, 2.0, started.cost)
