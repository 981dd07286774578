"""From the adjusted state to the solution that is handed out."""

from __future__ import annotations

import numpy as np

from .bundle_model import project
from .fuse import align_maps
from .joints import FEWEST, FEWEST_TURNING, apart, hidden_share, only_in
from .lens_range import LensRange
from .reconstruct import State, give_depth
from .resection import point_information
from .selfcheck import Contender
from .slips import SLIPPED, deviations, let_go
from .tracked import TrackedClip
from .types import (
    LABEL_MOVER,
    LABEL_STATIC,
    LABEL_UNRELIABLE,
    Camera,
    ClipReader,
    DepthMap,
    DepthSource,
    Progress,
    Settings,
    Solution,
)
from .verdict import Evidence, judge, parallax_px
from .view import ShotView

VEILED = 0.8  # of what is seen before and after a frame is not seen in it: the rest is what a flash has left
TRUSTED = 2.0  # times as much as another a track counts that the user placed
SCENE_DEPTH = 5.0  # median depth of the points in a scene whose size is unknown


def assemble(
    clip: ClipReader,
    settings: Settings,
    view: ShotView,
    tracked: TrackedClip,
    winner: Contender,
    contenders: list[Contender],
    tracks: np.ndarray,
    held: np.ndarray,
    lens: LensRange,
    maps: dict[int, DepthMap],
    depth: DepthSource | None,
    progress: Progress,
    watch,
) -> Solution:
    """Points with colours and errors, labels, aligned depth maps, figures and the verdict."""
    state, model = winner.state, winner.model
    world = state.world
    everything = np.arange(view.frame_count)
    unjoined = leave_apart(view, state, FEWEST if model.translation else FEWEST_TURNING)
    slip = let_go(view, state, model.translation)
    parallax = parallax_px(view, state, everything, tracks) if model.translation else 0.0
    if not model.translation:
        give_depth(view, world)
    metric = normalise(view, state, bool(maps) and view.depth_kind == "metric")
    label = final_labels(state)
    fit = fit_of(view, state, label, ~slip)
    colour = np.asarray(tracked.colour)
    good = (
        world.known
        & (label == LABEL_STATIC)
        & ((fit["length"] >= 4) | view.trusted)
        & (world.rho > 1e-4)
        & np.isfinite(fit["rms"])
    )
    track_ids = np.nonzero(good)[0]
    points = world.origin[good] + world.direction[good] / world.rho[good][:, None]
    aligned = align_maps(view, world, maps, good, fit["sigma"])
    depth_spread = float(np.median([a.spread for a in aligned])) if aligned else None
    depth_name = depth.name if depth is not None and maps else None
    verdict = judge(
        view,
        winner,
        Evidence(settings, contenders, tracks, tracked, lens, parallax, fit["frame_tracks"], unjoined, depth_name, depth_spread),
    )
    progress("check", 1, 1)
    pose = np.tile(np.eye(4), (view.frame_count, 1, 1))
    pose[:, :3, :3], pose[:, :3, 3] = world.rotation, world.translation
    bridging = tracked.bridging[1:] if len(tracked.bridging) > 1 else np.array([0])
    quality = {
        "held_out_px": round(verdict.error_px, 4),
        "held_out_tracks": int(held.sum()),
        "rms_px": round(float(fit["overall"]), 4),
        "tracks": int(view.tracks.track_count),
        "static": int((label == LABEL_STATIC).sum()),
        "movers": int((label == LABEL_MOVER).sum()),
        "unreliable": int((label == LABEL_UNRELIABLE).sum()),
        "observations": int((~slip).sum()),
        "slipped_observations": int(slip.sum()),
        "points": int(len(track_ids)),
        "fewest_tracks_in_a_frame": int(fit["frame_tracks"].min()),
        "fewest_bridging_tracks": int(bridging.min()),
        "frames_without_camera": [int(n) for n in view.tracks.frame_numbers[unjoined]],
        "parallax_px": round(parallax, 3),
        "steadied_px": round(state.steadied_px, 4),
        "noise_levels": round(float(tracked.noise_levels), 3),
        "contrast_levels": round(float(tracked.contrast_levels), 3),
        "focal_spread": round(lens.sigma, 5) if np.isfinite(lens.sigma) else None,
        "depth_spread": round(depth_spread, 4) if depth_spread is not None else None,
    }
    camera = Camera(
        view.width,
        view.height,
        float(view.centre[0]),
        float(view.centre[1]),
        float(world.k1),
        float(world.k2),
        float(world.row_time),
    )
    source = (
        {"name": depth.name, "provider": depth.provider, "kind": depth.kind}
        if depth is not None
        else {"name": "none", "provider": "", "kind": ""}
    )
    return Solution(
        clip.info,
        camera,
        view.tracks.frame_numbers,
        pose,
        np.exp(world.log_focal),
        fit["frame_error"],
        fit["frame_tracks"],
        points,
        track_ids,
        colour[good],
        fit["rms"][good],
        fit["length"][good],
        fit["sigma"][good],
        view.tracks.rows(~slip),
        label,
        held,
        tuple(int(view.tracks.frame_numbers[k]) for k in view.keys),
        aligned,
        verdict,
        metric,
        quality,
        (),
        dict(watch.seconds),
        source,
    )


def leave_apart(view: ShotView, state: State, fewest: int) -> np.ndarray:
    """(F,) bool: frames that too little (`fewest` tracks) joins to the rest of the shot. Their cameras go on from those around
    them, and what is seen there alone is not part of the scene."""
    static = (state.label == LABEL_STATIC) & state.world.known
    unjoined = apart(view.tracks, static * np.where(view.trusted, TRUSTED, 1.0), holding(view, state), fewest)
    unjoined |= hidden_share(view.tracks, static) > VEILED
    if unjoined.any() and not unjoined.all():
        for frame in np.nonzero(unjoined)[0]:
            state.world.carry_over(int(frame), np.nonzero(~unjoined)[0])
    if unjoined.any():
        state.label[only_in(view.tracks, unjoined) & static] = LABEL_UNRELIABLE
    return unjoined


def holding(view: ShotView, state: State) -> np.ndarray:
    """(M,) bool: observations that the cameras and points explain, outliers apart."""
    problem = view.problem(np.arange(view.frame_count), state.world.known, min_views=1, depth=False)
    obs = problem.obs
    proj = project(obs, state.world.gather(problem, view.depth_is_log))
    holds = np.zeros(len(view.tracks.track), bool)
    holds[problem.rows] = deviations(state, obs, obs.squares(proj.residual)) < SLIPPED
    return holds


def normalise(view: ShotView, state: State, metric: bool) -> bool:
    """First camera at the origin looking along z; metres when a metric network says so, else a handy size. True if metric."""
    world = state.world
    static = world.known & (state.label == LABEL_STATIC) & (world.rho > 1e-4)
    middle = view.frame_count // 2
    factor = 1.0
    if metric and world.key_scale:
        factor = float(np.exp(-np.median(list(world.key_scale.values()))))
    else:
        rows = view.rows_of(middle)
        seen = view.tracks.track[rows]
        seen = seen[static[seen]]
        if len(seen):
            depth = world.depth_in(middle, seen)
            depth = depth[depth > 0]
            if len(depth):
                factor = SCENE_DEPTH / float(np.median(depth))
    world.rescale(factor)
    for k in world.key_scale:
        if view.depth_is_log:
            world.key_scale[k] += np.log(factor)
        else:
            world.key_scale[k] *= factor
    rotation, centre = world.rotation[0].copy(), world.centre(0)
    centres = np.array([world.centre(f) for f in range(view.frame_count)])
    world.rotation = world.rotation @ rotation.T
    world.translation = -np.einsum("fij,fj->fi", world.rotation, (centres - centre) @ rotation.T)
    world.direction = world.direction @ rotation.T
    world.origin = (world.origin - centre) @ rotation.T
    return metric


def final_labels(state: State) -> np.ndarray:
    """Labels of all tracks; those that never got a point are unreliable."""
    label = state.label.copy()
    label[~state.world.known] = LABEL_UNRELIABLE
    return label


def fit_of(view: ShotView, state: State, label: np.ndarray, kept: np.ndarray) -> dict:
    """Errors by track and by frame over the static observations, among those kept (M,) bool."""
    world, t = state.world, view.tracks
    problem = view.problem(np.arange(view.frame_count), world.known, min_views=1, depth=False)
    obs, x = problem.obs.pixels_of(np.flatnonzero(kept[problem.rows])), world.gather(problem, view.depth_is_log)
    proj = project(obs, x)
    e2 = obs.squares(proj.residual)
    n, frames = t.track_count, view.frame_count
    length = np.bincount(t.track[kept], minlength=n)
    rms = np.full(n, np.nan)
    rms[problem.tracks] = np.sqrt(
        np.bincount(obs.point, e2, minlength=obs.point_count) / np.maximum(np.bincount(obs.point, minlength=obs.point_count), 1)
    )
    static = (label[problem.tracks] == LABEL_STATIC)[obs.point]
    # a slipped patch now and then is an outlier of the track, not an error of the camera
    use = static & (deviations(state, obs, e2) < SLIPPED)
    count = np.bincount(obs.cam[static], minlength=frames)
    error = np.sqrt(
        np.bincount(obs.cam[use], e2[use], minlength=frames) / np.maximum(np.bincount(obs.cam[use], minlength=frames), 1)
    )
    sigma = np.full(n, 1e3)
    sigma[problem.tracks] = point_information(obs, x)
    return {
        "rms": rms,
        "length": length,
        "frame_error": error,
        "frame_tracks": count,
        "sigma": sigma,
        "overall": np.sqrt(e2[use].mean()) if use.any() else np.nan,
    }
