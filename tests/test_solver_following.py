"""A camera that follows somebody: who stays in the picture must not pass for the set that rushes by behind."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from solver.crowds import freed_of_movers
from solver.hypotheses import behind_whom_is_followed, choose_tracks, close_gaps, start_frames
from solver.initialise import StartOptions, choose_frames, start
from solver.settle import settle
from solver.types import LABEL_STATIC, Settings, Tracks
from solver.view import ShotView
from tests.test_solver_crowds import as_seen, rotation_error_deg, shot_with_people

WIDTH, HEIGHT, FOCAL, FRAMES = 640, 360, 700.0, 72
SET_LIFE, PERSON_LIFE = (8, 16), (25, 60)  # frames from the first to the last that sees a track
NOISE_PX = 0.15


def panned_after(seed: int, pan_rad: float = 2.4, set_tracks: int = 2600, person_tracks: int = 240):
    """(view, true rotations (F, 3, 3), whether each track is on the set (N,)): a camera on the shoulder pans after somebody who
    walks round it. The set's tracks are lost after a few frames, as behind a fast pan; the person's live long."""
    rng = np.random.default_rng(seed)
    t = np.linspace(0, 1, FRAMES)
    shake = np.cumsum(rng.normal(0, 0.002, (FRAMES, 3)), 0)
    heading = pan_rad * t + shake[:, 1]
    turned = Rotation.from_rotvec(np.c_[shake[:, 0], 0 * t, shake[:, 2]]) * Rotation.from_rotvec(np.c_[0 * t, -heading, 0 * t])
    rotation = turned.as_matrix()
    centre = np.c_[0.5 * t, 0 * t, 0.3 * t] + np.cumsum(rng.normal(0, 0.003, (FRAMES, 3)), 0)
    direction, depth = rng.uniform(-0.6, pan_rad + 0.6, set_tracks), rng.uniform(4, 9, set_tracks)
    around = np.c_[np.sin(direction), rng.uniform(-0.28, 0.28, set_tracks), np.cos(direction)] * depth[:, None]
    ahead = np.c_[np.sin(heading), 0 * t, np.cos(heading)]
    aside = np.c_[np.cos(heading), 0 * t, -np.sin(heading)]
    middle = centre + ahead * (2.6 - 0.4 * t[:, None]) + aside * (0.1 * np.sin(2 * np.pi * (1.3 * t[:, None] + rng.uniform())))
    middle[:, 1] += 0.02 * np.sin(10 * np.pi * t)
    facing = np.c_[0 * t, heading + 0.3 * np.sin(1.4 * np.pi * t), 0.05 * np.sin(4 * np.pi * t)]
    local = rng.normal(0, (0.2, 0.35, 0.12), (person_tracks, 3))
    person = np.einsum("fij,nj->nfi", Rotation.from_rotvec(facing).as_matrix(), local) + middle
    points = np.concatenate([np.repeat(around[:, None], FRAMES, 1), person])
    q = np.einsum("fij,nfj->nfi", rotation, points - centre)
    xy = FOCAL * q[..., :2] / q[..., 2:] + rng.normal(0, NOISE_PX, (*q.shape[:2], 2))
    seen = (np.abs(xy) < [WIDTH / 2 - 5, HEIGHT / 2 - 5]).all(-1) & (q[..., 2] > 0.3)
    born = np.r_[np.argmax(seen[:set_tracks], 1) + rng.integers(0, 12, set_tracks), rng.integers(-40, FRAMES, person_tracks)]
    life = np.r_[rng.integers(*SET_LIFE, set_tracks), rng.integers(*PERSON_LIFE, person_tracks)]
    frame = np.arange(FRAMES)
    seen &= (frame >= born[:, None]) & (frame < (born + life)[:, None])
    keep = seen.sum(1) >= 4
    tracks = as_seen(seen[keep], xy[keep] + [WIDTH / 2, HEIGHT / 2], NOISE_PX)
    on_set = np.repeat([True, False], [set_tracks, person_tracks])
    return ShotView(tracks, WIDTH, HEIGHT, {}), rotation, on_set[keep]


def first_path(view: ShotView, frames: np.ndarray, seed: int):
    """(the reconstruction of these frames freed of movers, its tracks (N,) bool), started without depth from one lens."""
    chosen = choose_tracks(view, frames, 320, np.ones(view.tracks.track_count, bool), seed)

    def begun(translation: bool):
        options = StartOptions(1.1 * FOCAL, use_depth=False, translation=translation)
        return settle(view, Settings(seed=seed), start(view, frames, chosen, options, seed), frames, chosen, False)

    return freed_of_movers(view, Settings(seed=seed), [begun(True), begun(False)], frames, chosen, False), chosen


@pytest.mark.parametrize("seed", [1, 2, *(pytest.param(s, marks=pytest.mark.slow) for s in (0, 3, 4, 5, 6, 7))])
def test_the_camera_stays_with_a_set_that_rushes_by_behind_whom_it_follows(seed):
    view, true, on_set = panned_after(seed)
    # in a dozen frames hardly any of the set's tracks is seen three times: the camera turns with the person
    few = close_gaps(view, choose_frames(view, 12))
    pulled, _ = first_path(view, few, seed)
    before_deg = rotation_error_deg(pulled.state.world.rotation[few], true[few])
    assert before_deg > 30
    frames = start_frames(view, 12, False)
    found, chosen = first_path(view, frames, seed)
    after_deg = rotation_error_deg(found.state.world.rotation[frames], true[frames])
    focal = float(np.exp(np.median(found.state.world.log_focal[frames])))
    print(
        f"seed {seed}: {before_deg:.1f} degrees off in {len(few)} frames, {after_deg:.2f} in {len(frames)}, focal {focal:.0f} px"
    )
    # what is left, over a pan of 137 degrees, is a focal length that is a percent off
    assert after_deg < 1.2
    assert abs(focal / FOCAL - 1) < 0.02
    assert (found.state.label[chosen & on_set] == LABEL_STATIC).mean() > 0.95
    assert (found.state.label[chosen & ~on_set] == LABEL_STATIC).mean() < 0.05


def test_a_set_is_looked_at_more_often_only_where_somebody_is_followed():
    spread = np.arange(0, FRAMES, 6)
    followed, _, on_set = panned_after(0)
    assert len(behind_whom_is_followed(followed, spread)) > 1.7 * len(spread)
    t = followed.tracks
    there = on_set[t.track]  # the same pan with nobody in the picture
    number = np.cumsum(on_set) - 1
    alone = Tracks(t.frame_numbers, number[t.track[there]], t.frame_index[there], t.xy[there], t.sigma_px[there], on_set.sum())
    assert behind_whom_is_followed(ShotView(alone, WIDTH, HEIGHT, {}), spread).tolist() == spread.tolist()
    slow, _, _ = shot_with_people(0)
    assert behind_whom_is_followed(slow, spread[:8]).tolist() == spread[:8].tolist()
