"""A camera that stands still is known by what rests, however much moves before it, and told from one that hardly moves."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from solver.lock_off import at_rest, common_motion
from solver.pipeline import solve
from solver.types import LABEL_STATIC, Settings, Tracks
from solver.view import ShotView
from tests.test_solver_pipeline import Clip, Quiet
from tests.test_solver_tracking import texture, warped

WIDTH, HEIGHT, FRAMES, RESTING = 640, 360, 60, 160


def swaying(size_px: float) -> np.ndarray:
    """(F, 2) px that the whole picture sways by."""
    t = np.linspace(0, 2 * np.pi, FRAMES)
    return size_px * np.stack([np.sin(1.3 * t), 0.5 * np.cos(2.1 * t)], 1)


def shot(sway: np.ndarray, moving: int = 200, noise_px: float = 0.12, life: int = FRAMES) -> ShotView:
    """Tracks at rest all over the picture but for a common sway (F, 2) px, each of which lives for some frames; the last `moving`
    tracks, in the left half, wander by tens of pixels."""
    rng = np.random.default_rng(3)
    n = RESTING + moving
    place = rng.uniform([0, 0], [WIDTH, HEIGHT], (n, 2))
    place[RESTING:, 0] /= 2
    begin = rng.integers(0, FRAMES - life + 1, n)
    frame = (begin[:, None] + np.arange(life)).ravel()
    track = np.repeat(np.arange(n), life)
    xy = place[track] + sway[frame] + rng.normal(0, noise_px, (len(track), 2))
    wander = np.where(track >= RESTING, 30 * np.sin(frame / 9 + track), 0.0)
    xy += wander[:, None] * [1.0, 0.4]
    tracks = Tracks(np.arange(FRAMES), track.astype(np.int32), frame.astype(np.int32), xy, np.full(len(xy), 0.1, np.float32), n)
    return ShotView(tracks, WIDTH, HEIGHT, {})


def test_a_still_camera_is_known_by_what_rests_though_most_tracks_move():
    rest = at_rest(shot(np.zeros((FRAMES, 2))))
    assert rest.holds and rest.still
    assert rest.tracks[:RESTING].all() and not rest.tracks[RESTING:].any()


def test_a_sway_of_a_fifth_of_a_pixel_is_no_still_camera():
    sway = swaying(0.2)
    rest = at_rest(shot(sway))
    assert rest.holds and not rest.still
    assert np.abs(rest.sway_px - (sway - sway.mean(0))).max() < 0.06


@pytest.mark.parametrize("step_px", [0.1, 1.0])
def test_a_camera_that_moves_on_leaves_nothing_at_rest(step_px):
    assert not at_rest(shot(np.outer(np.arange(FRAMES), [step_px, 0.0]))).holds


def test_a_drift_is_seen_through_tracks_that_each_see_little_of_it():
    drift = np.outer(np.arange(FRAMES) - (FRAMES - 1) / 2, [0.02, 0.0])
    view = shot(drift, moving=0, life=10)
    motion, _ = common_motion(view, np.ones(RESTING, bool))
    assert np.abs(motion - drift).max() < 0.25 < drift.max()
    assert not at_rest(view).still


def before_a_room(body: np.ndarray, path: np.ndarray, sway: np.ndarray) -> Clip:
    """A body (h, w) whose corner goes along a path (F, 2) in front of a room, seen by a camera that sways by (F, 2) px."""
    room, rng = texture(12, 700, 500), np.random.default_rng(5)
    images = []
    for (x, y), (right, down) in zip(path, sway, strict=True):
        picture = room.copy()
        picture[y : y + body.shape[0], x : x + body.shape[1]] = body
        images.append(warped(picture, np.array([[1, 0, 90 + right], [0, 1, 90 + down], [0, 0, 1]]), 2.0, rng))
    return Clip(images)


def wandering(tracks: Tracks) -> np.ndarray:
    """(N,) bool: tracks that do not stay where they are in the picture."""
    return np.array([np.ptp(tracks.xy[tracks.track == i], axis=0).max() for i in range(tracks.track_count)]) > 8


def test_what_passes_before_a_camera_that_hardly_moves_does_not_carry_it():
    """Half of the picture is a body of its own; the camera turns by some hundredths of a degree."""
    i = np.arange(30)
    path = np.stack([110 + 4 * i, 120 + (10 * np.sin(i / 4)).astype(int)], 1)
    sway = 0.25 * np.stack([np.sin(i / 3), np.cos(i / 5)], 1)
    clip = before_a_room(texture(13, 300, 300)[:, :230], path, sway)
    found = solve(clip, Settings(threads=1), None, None, Quiet())
    passes = wandering(found.tracks)
    assert passes.sum() > 150
    assert (found.track_label[passes] == LABEL_STATIC).mean() < 0.02
    assert (found.track_label[~passes] == LABEL_STATIC).mean() > 0.7
    centres = -np.einsum("fji,fj->fi", found.cam_from_world[:, :3, :3], found.cam_from_world[:, :3, 3])
    assert np.abs(centres).max() < 0.01  # of the set's distance


def in_the_wind(share: float, sway_px: float, seed: int) -> Clip:
    """A picture of which a share, on the right, is leaves: each moves as its neighbours do, by a pixel, to and fro. The rest
    stays in place, but for a common sway that no tripod is quite without."""
    rng, source = np.random.default_rng(seed), texture(12 + seed, WIDTH, HEIGHT)
    x, y = np.meshgrid(np.arange(WIDTH, dtype=np.float32), np.arange(HEIGHT, dtype=np.float32))
    begins = WIDTH * (1 - share)
    soft = np.clip((x - begins) / 40, 0, 1)
    waves = [(rng.normal(0, 1 / 40, 2), rng.uniform(0, 2 * np.pi), rng.uniform(0.2, 0.5)) for _ in range(10)]
    images = []
    for i in range(40):
        leaves = np.zeros((2, HEIGHT, WIDTH), np.float32)
        for n, (k, phase, speed) in enumerate(waves):
            leaves[n % 2] += 0.6 * np.sin(k[0] * x + k[1] * y + phase + speed * i)
        right, down = soft * leaves + sway_px * np.array([np.sin(i / 5), np.cos(i / 7)])[:, None, None]
        place = (x + right).astype(np.float32), (y + down).astype(np.float32)
        picture = cv2.remap(source, *place, cv2.INTER_CUBIC, None, cv2.BORDER_REFLECT) + rng.normal(0, 2, x.shape)
        images.append(np.repeat(np.clip(picture, 0, 255).astype(np.uint8)[..., None], 3, axis=2))
    return Clip(images)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_leaves_in_the_wind_do_not_set_a_tripod_in_motion(seed):
    """Neither a path nor a lens is made of what they do."""
    clip = in_the_wind(0.6, 0.12, seed)
    clip.info = replace(clip.info, width=WIDTH, height=HEIGHT)
    found = solve(clip, Settings(threads=1), None, None, Quiet())
    assert found.verdict.motion != "free" and found.verdict.focal == "prior" and not found.camera.k1
    centres = -np.einsum("fji,fj->fi", found.cam_from_world[:, :3, :3], found.cam_from_world[:, :3, 3])
    assert np.abs(centres).max() < 1e-9


def test_a_camera_that_stands_still_by_the_users_word_does_so_behind_whatever_moves():
    """Nearly all of the picture is a body of its own."""
    i = np.arange(20)
    clip = before_a_room(texture(13, 600, 420)[:330, :430], np.stack([110 + 3 * i, 120 + 2 * i], 1), np.zeros((20, 2)))
    found = solve(clip, Settings(motion="static", threads=1), None, None, Quiet())
    assert found.verdict.motion == "static"
    assert "as the settings say" in found.verdict.statements[0]
    np.testing.assert_allclose(found.cam_from_world, np.tile(np.eye(4), (20, 1, 1)), atol=1e-12)
    moves = wandering(found.tracks)
    assert moves.mean() > 0.5
    assert (found.track_label[moves] == LABEL_STATIC).mean() < 0.02
    assert (found.track_label[~moves] == LABEL_STATIC).mean() > 0.7


def test_a_camera_that_moves_against_the_users_word_is_called_weak():
    source, rng = texture(12, 700, 500), np.random.default_rng(5)
    images = [warped(source, np.array([[1, 0, 60.0 + 3 * i], [0, 1, 90], [0, 0, 1]]), 2.0, rng) for i in range(20)]
    found = solve(Clip(images), Settings(motion="static", threads=1), None, None, Quiet())
    assert found.verdict.motion == "static" and found.verdict.status == "weak"
