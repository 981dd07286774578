"""Flashes, black frames, passers-by and cuts: what comes after is tied to what was before where it is the same view alone."""

from dataclasses import replace
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from solver.doubts import in_doubt
from solver.joints import apart, hidden_share, only_in
from solver.pipeline import solve
from solver.tracked import TrackingOptions
from solver.tracking import track_clip
from solver.types import Settings, Tracks
from solver.view import ShotView, World
from tests.test_solver_pipeline import Clip, Quiet, pan
from tests.test_solver_tracking import HEIGHT, WIDTH, drift_of, texture, warped

OPTIONS = TrackingOptions(tracks_wanted=300, patch_radius_px=6)
GAP = range(14, 17)


class Listening(Quiet):
    """Progress that remembers what it was warned of."""

    def __init__(self) -> None:
        super().__init__()
        self.codes: list[str] = []
        self.messages: list[str] = []

    def warn(self, code: str, message: str) -> None:
        """Remember."""
        self.codes.append(code)
        self.messages.append(message)


def black(image: np.ndarray, k: int) -> np.ndarray:
    """Nothing at all."""
    return np.zeros_like(image)


def flash(image: np.ndarray, k: int) -> np.ndarray:
    """Most of the picture burns out."""
    return np.clip(4.0 * image + 60, 0, 255).astype(np.uint8)


def passer_by(image: np.ndarray, k: int) -> np.ndarray:
    """Somebody's coat, close to the lens and on its way."""
    there = 60 * (k - GAP[0])
    coat = texture(77, 700, HEIGHT)[:, there : there + WIDTH].astype(np.uint8)
    return cv2.cvtColor(coat, cv2.COLOR_GRAY2BGR)


def sliding(frames: int, seed: int = 5):
    """A view that slides by slowly: pictures, and where each is in the source (3, 3)."""
    rng = np.random.default_rng(2)
    matrices = [np.array([[1, 0, 120 + 1.5 * i], [0, 1, 120 - 0.5 * i], [0, 0, 1.0]]) for i in range(frames)]
    source = texture(seed)
    return [warped(source, m, 2.0, rng) for m in matrices], matrices


@pytest.mark.parametrize("hide", [black, flash, passer_by])
def test_tracks_go_on_after_what_hid_the_view(hide):
    images, matrices = sliding(34)
    shown = [hide(image, k) if k in GAP else image for k, image in enumerate(images)]
    tracks = track_clip(enumerate(shown), None, OPTIONS).tracks
    before, after = (np.unique(tracks.track[sel]) for sel in (tracks.frame_index < GAP[0], tracks.frame_index > GAP[-1]))
    both = np.intersect1d(before, after)
    assert len(both) > 80
    rows = np.isin(tracks.track, both) & ~np.isin(tracks.frame_index, GAP)
    seen = replace(tracks, track=tracks.track[rows], frame_index=tracks.frame_index[rows], xy=tracks.xy[rows])
    assert np.percentile(drift_of(seen, matrices), 90) < 0.3


def test_a_cut_ties_nothing():
    images = sliding(16)[0] + sliding(16, seed=8)[0]
    tracks = track_clip(enumerate(images), None, OPTIONS).tracks
    before, after = (np.unique(tracks.track[sel]) for sel in (tracks.frame_index < 16, tracks.frame_index >= 16))
    assert len(np.intersect1d(before, after)) < 3


def test_black_frames_do_not_turn_a_shot_against_itself():
    images, rotations = pan()
    shown = [black(image, k) if k in GAP else image for k, image in enumerate(images)]
    found = solve(Clip(shown, 1001), Settings(threads=1), None, None, Quiet())
    assert found.verdict.status == "usable"
    assert any("1015-1017" in line for line in found.verdict.statements)
    assert "No camera known in 3 of 30 frames" in found.verdict.summary
    assert found.quality["frames_without_camera"] == [1015, 1016, 1017]
    for f in (5, 13, 14, 16, 17, 29):
        error = found.cam_from_world[f, :3, :3] @ (rotations[f] @ rotations[0].T).T
        assert np.degrees(np.arccos(np.clip((np.trace(error) - 1) / 2, -1, 1))) < 0.15, f


def test_a_cut_is_said_at_once_and_never_called_good():
    progress = Listening()
    found = solve(Clip(pan(24)[0] + sliding(12, seed=8)[0]), Settings(threads=1), None, None, progress)
    assert progress.codes == ["clip.cuts"]
    assert "24-35" in progress.messages[0]
    assert found.verdict.status == "weak"
    assert any("24-35" in line for line in found.verdict.statements)
    turns = Rotation.from_matrix(found.cam_from_world[:, :3, :3])
    steps = (turns[1:] * turns[:-1].inv()).magnitude()
    assert (np.diff(steps[23:]) < 0).all() and steps[-1] < 0.2 * steps[22]  # the camera comes to rest


def tracks_of(seen: list[tuple[int, int]], frames: int, without: dict[int, range] | None = None) -> Tracks:
    """Tracks from first to last frame each (inclusive), some of them without some frames."""
    rows = [(t, f) for t, (a, b) in enumerate(seen) for f in range(a, b + 1) if f not in (without or {}).get(t, ())]
    track, frame = np.array(rows).T
    return Tracks(
        np.arange(frames), track, frame, np.zeros((len(rows), 2)), np.ones(len(rows)), len(seen), np.zeros((len(rows), 2))
    )


def test_frames_that_too_little_joins_are_apart():
    frames = np.arange(30)
    two_shots = tracks_of([(0, 29)] * 4 + [(0, 16)] * 10 + [(17, 29)] * 10, 30)
    assert (apart(two_shots, np.ones(24)) == (frames > 16)).all()
    # tracks that are seen on both sides join them, however little is seen in between
    gap = range(13, 18)
    joined = [(0, 29)] * 8 + [(0, 12)] * 10 + [(18, 29)] * 10
    with_gap = tracks_of(joined, 30, dict.fromkeys(range(8), gap))
    assert (apart(with_gap, np.ones(28)) == np.isin(frames, gap)).all()
    # somebody who hides the view is seen on both sides as well, but there the cameras do not explain him
    passing = tracks_of(joined + [(8, 22)] * 20, 30, dict.fromkeys(range(8), gap))
    holds = (passing.track < 28) | np.isin(passing.frame_index, gap)
    assert not apart(passing, np.ones(48)).any()
    assert (apart(passing, np.ones(48), holds) == np.isin(frames, gap)).all()
    # tracks that count double are as good as twice as many
    assert not apart(two_shots, np.r_[np.full(4, 2.0), np.ones(20)]).any()


def test_what_hides_the_view_is_counted():
    tracks = tracks_of([(0, 9)] * 10, 10, {t: range(4, 6) for t in range(7)})
    assert hidden_share(tracks, np.ones(10, bool)).tolist() == pytest.approx([0, 0, 0, 0, 0.7, 0.7, 0, 0, 0, 0])
    assert only_in(tracks_of([(0, 9), (3, 5)], 10), np.isin(np.arange(10), range(3, 7))).tolist() == [False, True]


@pytest.mark.parametrize(("unseen", "hides"), [(11, False), (17, True)])
def test_a_frame_is_hidden_when_it_shows_far_less_than_is_usual(unseen, hides):
    """Grain and blur keep 9 of 20 tracks from being seen in each frame of a shaken shot: nobody stands in front of it."""
    share = {k: unseen if k == 20 else 9 for k in range(1, 39)}
    missing = {t: [k for k in share if (t + 7 * k) % 20 < share[k]] for t in range(20)}
    view = ShotView(tracks_of([(0, 39)] * 20, 40, missing), WIDTH, HEIGHT, {})
    nothing = SimpleNamespace(bridged_by_descriptors=[], detail=np.zeros(0))
    doubts = in_doubt(view, np.ones(20, bool), np.full(40, 11), np.zeros(40, bool), nothing)
    assert np.nonzero(doubts.hidden)[0].tolist() == ([20] if hides else [])


def turning(count: int) -> World:
    """A camera that turns by 2 degrees and goes 1 to the side from frame to frame."""
    world = World.blank(count, 1, 500.0)
    turn = Rotation.from_euler("y", np.arange(count) * 2.0, degrees=True).as_matrix()
    centre = np.c_[np.arange(float(count)), np.zeros((count, 2))]
    world.rotation[:], world.translation[:] = turn, -np.einsum("fij,fj->fi", turn, centre)
    return world


def carried(world: World, gone: list[int]) -> np.ndarray:
    """(F, 2) what the camera has turned by (degrees) and where it is along its way, once the frames `gone` were carried over."""
    count = len(world.rotation)
    gone = np.isin(np.arange(count), gone)
    world.rotation[gone], world.translation[gone], world.log_focal[gone] = np.eye(3), 9.0, 0.0
    for frame in np.nonzero(gone)[0]:
        world.carry_over(frame, np.nonzero(~gone)[0])
    assert np.allclose(world.log_focal, np.log(500.0))
    turned = Rotation.from_matrix(world.rotation).as_euler("yxz", degrees=True)
    centre = np.array([world.centre(f) for f in range(count)])
    assert np.allclose(turned[:, 1:], 0) and np.allclose(centre[:, 1:], 0)
    return np.c_[turned[:, 0], centre[:, 0]]


def test_cameras_between_known_ones_go_evenly_from_one_to_the_other():
    assert np.allclose(carried(turning(8), [3, 4]), np.c_[2.0 * np.arange(8), np.arange(8)])


@pytest.mark.parametrize("back", [False, True])
def test_cameras_beyond_the_known_ones_keep_their_pace_and_come_to_rest(back):
    count, known = 40, 10
    gone = range(count - known) if back else range(known, count)
    turned, way = carried(turning(count), list(gone)).T
    if back:
        turned, way = 2.0 * (count - 1) - turned[::-1], count - 1 - way[::-1]
    assert np.allclose(turned, 2 * way)
    assert way[known] == pytest.approx(known, abs=0.1)  # the first one but a little short of it
    steps = np.diff(way[known - 1 :])
    assert (steps > 0).all() and (np.diff(steps) < 0).all()
    assert way[-1] == pytest.approx(known - 1 + 6, abs=0.1)


def test_a_single_known_camera_stands_for_all():
    assert np.allclose(carried(turning(5), [0, 1, 3, 4]), [[4.0, 2.0]] * 5)
