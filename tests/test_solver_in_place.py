"""What is burnt into the picture is told from the scene: the start does without it."""

import numpy as np

from solver.in_place import in_place
from solver.types import Tracks
from solver.view import ShotView

WIDTH, HEIGHT, FRAMES, SCENE, WRITING = 1280, 720, 40, 200, 30


def shot(step_px: float, writing: int = WRITING) -> ShotView:
    """A picture that moves by so much a frame, but for writing along its lower edge (the last tracks)."""
    rng = np.random.default_rng(0)
    first = np.r_[rng.uniform(100, 600, (SCENE, 2)), np.c_[rng.uniform(100, 500, writing), rng.uniform(680, 700, writing)]]
    moved = np.where(np.arange(SCENE + writing) < SCENE, step_px, 0.0)
    xy = first[:, None] + np.arange(FRAMES)[:, None] * moved[:, None, None] * [1.0, 0.1]
    xy += rng.normal(0, 0.05, xy.shape)
    n = SCENE + writing
    track, frame = np.repeat(np.arange(n), FRAMES).astype(np.int32), np.tile(np.arange(FRAMES), n).astype(np.int32)
    tracks = Tracks(np.arange(FRAMES), track, frame, xy.reshape(-1, 2), np.full(n * FRAMES, 0.05, np.float32), n)
    return ShotView(tracks, WIDTH, HEIGHT, {})


def test_writing_stays_in_place_while_the_scene_moves():
    assert (in_place(shot(5.0)) == (np.arange(SCENE + WRITING) >= SCENE)).all()


def test_nothing_is_in_place_where_hardly_anything_moves():
    assert not in_place(shot(0.02)).any()


def test_a_camera_that_rests_before_what_moves_is_not_taken_for_writing():
    view = shot(5.0)
    swapped = Tracks(
        view.tracks.frame_numbers,
        view.tracks.track,
        view.tracks.frame_index,
        np.where((view.tracks.track % 2 == 0)[:, None], view.tracks.xy[view.tracks.track * FRAMES], view.tracks.xy),
        view.tracks.sigma_px,
        view.tracks.track_count,
    )
    assert not in_place(ShotView(swapped, WIDTH, HEIGHT, {})).any()
