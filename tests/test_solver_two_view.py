"""The classical start from an essential matrix, on tracks whose cameras are known."""

from __future__ import annotations

import numpy as np
import pytest

from solver.hypotheses import candidates
from solver.initialise import StartOptions, start
from solver.two_view import begin, best_pair
from solver.types import Settings, Tracks
from solver.view import ShotView, World

WIDTH, HEIGHT, FOCAL = 960, 540, 900.0


def shot(step_m: float, seed: int = 2, movers: int = 0) -> tuple[ShotView, np.ndarray, np.ndarray]:
    """A camera that goes sideways and turns past 150 points, 12 frames: (view, rotations (F, 3, 3), centres (F, 3))."""
    rng = np.random.default_rng(seed)
    points = np.c_[rng.uniform(-2, 2, 150), rng.uniform(-1, 1, 150), rng.uniform(3, 7, 150)]
    rotations, centres, track, frame, xy = [], [], [], [], []
    for f in range(12):
        angle = 0.004 * f
        r = np.array([[np.cos(angle), 0, -np.sin(angle)], [0, 1, 0], [np.sin(angle), 0, np.cos(angle)]])
        c = np.array([step_m * f, 0.1 * step_m * f, 0.0])
        here = points.copy()
        here[:movers] += [0, 0.05 * f, 0]
        q = (here - c) @ r.T
        p = FOCAL * q[:, :2] / q[:, 2:] + [WIDTH / 2, HEIGHT / 2] + rng.normal(0, 0.1, (150, 2))
        rotations.append(r), centres.append(c)
        track.append(np.arange(150)), frame.append(np.full(150, f)), xy.append(p)
    track, frame, xy = map(np.concatenate, (track, frame, xy))
    order = np.lexsort((frame, track))
    tracks = Tracks(np.arange(12), track[order], frame[order], xy[order], np.full(len(track), 0.1), 150)
    return ShotView(tracks, WIDTH, HEIGHT, {}), np.array(rotations), np.array(centres)


def test_the_pair_is_wide_and_its_pose_right():
    view, rotations, centres = shot(0.05)
    pair = best_pair(view, np.arange(12), np.ones(150, bool), FOCAL)
    assert abs(pair.first - pair.second) >= 8
    true = rotations[pair.second] @ rotations[pair.first].T
    off = np.degrees(np.arccos(np.clip((np.trace(true.T @ pair.rotation) - 1) / 2, -1, 1)))
    assert off < 0.3
    way = rotations[pair.second] @ (centres[pair.first] - centres[pair.second])
    assert np.dot(way, pair.translation) / np.linalg.norm(way) / np.linalg.norm(pair.translation) > 0.995


def test_points_of_the_pair_have_their_depth_and_movers_none():
    view, rotations, centres = shot(0.05, movers=20)
    world = World.blank(12, 150, FOCAL)
    first, second = begin(view, world, np.arange(12), np.ones(150, bool), FOCAL)
    assert world.registered.sum() == 2 and world.known[20:].mean() > 0.9
    assert world.known[:20].mean() < 0.3
    known = np.nonzero(world.known)[0]
    for frame in (first, second):
        rows = view.rows_of(frame)
        seen = world.origin[known] + world.direction[known] / world.rho[known][:, None]
        q = seen @ world.rotation[frame].T + world.translation[frame]
        at = view.xy[rows][np.searchsorted(view.tracks.track[rows], known)]
        assert (q[:, 2] > 0).all()
        assert np.median(np.hypot(*(FOCAL * q[:, :2] / q[:, 2:] - at).T)) < 0.3


def test_a_whole_start_from_the_pair():
    view, _, centres = shot(0.05)
    options = StartOptions(FOCAL, focal_free=False, use_depth=False, essential=True)
    begun = start(view, np.arange(12), np.ones(150, bool), options)
    assert begun.world.registered.all()
    found = np.array([begun.world.centre(f) for f in range(12)])
    length = np.linalg.norm(np.diff(found, axis=0), axis=1)
    assert length.std() / length.mean() < 0.05  # the true camera goes at one speed
    assert begun.cost < 2


def test_too_few_common_tracks_are_no_pair():
    view, _, _ = shot(0.05)
    few = np.zeros(150, bool)
    few[:10] = True
    assert best_pair(view, np.arange(12), few, FOCAL) is None
    world = World.blank(12, 150, FOCAL)
    assert begin(view, world, np.arange(12), few, FOCAL) == ()
    assert not world.registered.any()


@pytest.mark.parametrize("start_by", ["depth", "essential"])
def test_the_option_reaches_every_start_that_travels(start_by):
    view, _, _ = shot(0.05)
    options = candidates(view, Settings(start_by=start_by), use_depth=False)
    assert {o.essential for o in options if o.translation} == {start_by == "essential"}
    assert not any(o.essential for o in options if not o.translation)


def test_depth_in_the_start_alone_leaves_adjustments_without_it():
    from solver.types import DepthMap

    tracks = shot(0.05)[0].tracks
    maps = {6: DepthMap(6, "depth", np.full((54, 96), 2.0, np.float32))}
    view = ShotView(tracks, WIDTH, HEIGHT, maps)
    everything = (np.arange(12), np.ones(150, bool))
    assert len(view.problem(*everything).obs.depth_obs) > 100
    view.depth_term = False
    assert len(view.problem(*everything).obs.depth_obs) == 0
    assert np.isfinite(view.depth_value).sum() > 100  # still there to lift points by


def test_a_keyframe_without_tracks_is_no_trouble():
    """As in the middle of a whip, where nothing can be followed."""
    from solver.types import DepthMap

    full = shot(0.05)[0].tracks
    keep = full.frame_index != 6
    tracks = Tracks(full.frame_numbers, full.track[keep], full.frame_index[keep], full.xy[keep], full.sigma_px[keep], 150)
    for kind in ("depth", "disparity"):
        maps = {f: DepthMap(f, kind, np.full((54, 96), 2.0, np.float32)) for f in (3, 6)}
        view = ShotView(tracks, WIDTH, HEIGHT, maps)
        assert np.isfinite(view.depth_value).sum() == len(view.rows_of(3))
