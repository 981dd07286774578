"""Which of the reconstructions that have settled is gone on with."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from solver.crowds import sharpest
from solver.hypotheses import choose_tracks, start_frames
from solver.initialise import StartOptions, start
from solver.settle import Settled, best_of, settle
from solver.types import Settings, Tracks
from solver.view import ShotView

WIDTH, HEIGHT, FRAMES, POINTS = 640, 360, 40, 500


ROOM = (2.5, 4.0, 5.0)  # how far its walls are
SHALLOW = (3.6, 4.0, 4.2)


def walk(zoom: float, noise_px: float, seed: int, steps: float = 1.0, room: tuple = ROOM, forth: float = 0.7) -> ShotView:
    """A camera in the hand that walks into a room, the lens 500 px long at first and `zoom` times as long at the end; tracks are
    some times noisier than they know. steps: 0 for a tripod; forth: how far it walks, back if negative."""
    rng = np.random.default_rng(seed)
    s = np.linspace(0, 1, FRAMES)
    shake = np.cumsum(rng.normal(0, 0.002, (FRAMES, 3)), axis=0)
    rotation = Rotation.from_rotvec(shake + np.outer(s, [0.01, 0.03, 0.0])).as_matrix()
    centre = steps * (np.outer(s, [0.1, 0.02, forth]) + np.cumsum(rng.normal(0, 0.004, (FRAMES, 3)), axis=0))
    focal_px = 500 * zoom ** (s * s * (3 - 2 * s))
    u, v = rng.uniform(-0.66, 0.66, POINTS), rng.uniform(-0.37, 0.37, POINTS)
    depth = rng.choice(room, POINTS) * rng.uniform(0.9, 1.1, POINTS)
    points = np.c_[u, v, np.ones(POINTS)] * depth[:, None]
    q = np.einsum("fij,pfj->pfi", rotation, points[:, None] - centre)
    xy = focal_px[:, None] * q[..., :2] / q[..., 2:] + noise_px * rng.normal(size=(POINTS, FRAMES, 2))
    track, frame = np.nonzero((np.abs(xy) < [WIDTH / 2, HEIGHT / 2]).all(axis=-1))
    at = xy[track, frame] + [WIDTH / 2, HEIGHT / 2]
    tracks = Tracks(np.arange(FRAMES), track, frame, at, np.full(len(track), 0.1, np.float32), POINTS)
    return ShotView(tracks, WIDTH, HEIGHT, {})


def settled_under(view: ShotView, cameras: list[StartOptions], seed: int) -> tuple[list[Settled], np.ndarray, np.ndarray]:
    """(reconstructions that have settled, their frames, their tracks)."""
    frames = start_frames(view, 12, False)
    chosen = choose_tracks(view, frames, 320, np.ones(view.tracks.track_count, bool), seed)
    begun = (start(view, frames, chosen, camera, seed) for camera in cameras)
    return [settle(view, Settings(), one, frames, chosen, False) for one in begun], frames, chosen


def both_lenses(view: ShotView, seed: int) -> tuple[list[Settled], np.ndarray, np.ndarray]:
    """Under a lens of one focal length and one that zooms."""
    return settled_under(view, [StartOptions(600.0, focal_varies=v, use_depth=False) for v in (False, True)], seed)


@pytest.mark.parametrize(("zoom", "noise_px"), [(1.5, 0.1), (1.5, 0.5), (1.25, 0.5)])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_zoom_while_walking_is_one_in_grain_too(zoom, noise_px, seed):
    """Which explains only some percent more of the picture to within the noise than a lens of one focal length."""
    view = walk(zoom, noise_px, seed)
    settled, frames, chosen = both_lenses(view, seed)
    assert best_of(view, settled, frames, chosen).model.focal_varies
    assert sharpest(view, settled, frames, chosen).model.focal_varies


@pytest.mark.parametrize(("zoom", "noise_px", "forth"), [(1.5, 0.5, 0.2), (1.5, 0.5, 0.7), (1.2, 0.5, 0.4), (1.2, 0.5, -0.3)])
@pytest.mark.parametrize("seed", [0, 1])
def test_a_zoom_in_a_shallow_room_is_no_walk_towards_a_wall(zoom, noise_px, forth, seed):
    """The walk presses the room flat and explains all but a hundredth of what the zoom does."""
    view = walk(zoom, noise_px, seed, room=SHALLOW, forth=forth)
    settled, frames, chosen = both_lenses(view, seed)
    assert best_of(view, settled, frames, chosen).model.focal_varies
    assert sharpest(view, settled, frames, chosen).model.focal_varies


@pytest.mark.parametrize("forth", [1.2, -0.3])
@pytest.mark.parametrize("seed", [0, 1])
def test_a_walk_in_a_shallow_room_is_no_zoom(forth, seed):
    view = walk(1.0, 0.9, seed, room=SHALLOW, forth=forth)
    settled, frames, chosen = both_lenses(view, seed)
    assert not best_of(view, settled, frames, chosen).model.focal_varies


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_zoom_on_a_tripod_is_no_dolly_towards_a_wall(seed):
    """In grain, where the depth of each point takes up some of it, the dolly fits better."""
    view = walk(1.5, 0.5, seed, steps=0.0)
    dolly, zoom = StartOptions(600.0, use_depth=False), StartOptions(600.0, focal_varies=True, use_depth=False, translation=False)
    settled, frames, chosen = settled_under(view, [dolly, zoom], seed)
    for choose in (best_of, sharpest):
        found = choose(view, settled, frames, chosen)
        assert found is settled[1]
    assert np.ptp(found.state.world.log_focal[frames]) == pytest.approx(np.log(1.5), abs=0.02)


@pytest.mark.parametrize("noise_px", [0.1, 0.5])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_lens_that_stays_as_it_is_does_not_zoom(noise_px, seed):
    view = walk(1.0, noise_px, seed)
    settled, frames, chosen = both_lenses(view, seed)
    assert not best_of(view, settled, frames, chosen).model.focal_varies
