"""The near part of a set is told from people in front of it by the parallax it shares with the far part."""

import numpy as np
import pytest

from solver.crowds import resting_under
from solver.hypotheses import choose_tracks, start_frames
from solver.initialise import StartOptions, start
from solver.reconstruct import State
from solver.settle import settle
from solver.shared_parallax import PATH, PLANE, left_by_turn, sharing_a_path
from solver.types import LABEL_MOVER, LABEL_STATIC, Settings
from solver.view import World
from tests.test_solver_crowds import FOCAL, FRAMES, Staging, shot_with_people

DEEP = Staging((0.1, 0.01, 0.03), (3.0, 30.0))


def turned(seed: int, focal_px: float):
    """(view, whom each track is on, frames, chosen tracks, a camera that only turns) of a deep room with people in it."""
    view, _, whom = shot_with_people(seed, 300, 200, DEEP)
    frames = start_frames(view, 12, False)
    chosen = choose_tracks(view, frames, 500, np.ones(view.tracks.track_count, bool), seed)
    begun = start(view, frames, chosen, StartOptions(focal_px, use_depth=False, translation=False), seed)
    return view, whom, frames, chosen, settle(view, Settings(seed=seed), begun, frames, chosen, False)


@pytest.mark.parametrize("seed", [0, 1, 2, 3])
@pytest.mark.parametrize("focal_px", [FOCAL, 0.75 * FOCAL])
def test_the_near_end_of_the_set_joins_and_people_do_not(seed, focal_px):
    """Under a wrong focal length, too."""
    view, whom, frames, chosen, turn = turned(seed, focal_px)
    far = chosen & (turn.state.label == LABEL_STATIC)
    near = chosen & (whom == 0) & ~far
    people = chosen & (whom > 0)
    assert near.sum() > 20 and people.sum() > 100
    group = sharing_a_path(view, turn.state, frames, chosen)
    assert group[near].mean() > 0.3
    assert group[people].mean() < 0.02
    alone, both = resting_under(view, turn, frames, chosen)
    assert (alone == far).all() and (both == (far | group)).all()


def test_a_plane_and_one_path_are_all_that_a_turn_leaves_of_what_rests():
    """Exact shifts: the motion that made them, each point's distance along it, and nothing left."""
    view, whom, frames, chosen, turn = turned(0, FOCAL)
    left = left_by_turn(view, turn.state, frames, chosen)
    rng = np.random.default_rng(3)
    motion = rng.normal(size=(len(frames), PLANE + PATH))
    motion[:, PLANE:] /= np.sqrt((motion[:, PLANE:] ** 2).sum(axis=1).mean())
    motion[:, :PLANE] *= 0.1
    near, mean = 0.1 * rng.uniform(0.5, 2.0, len(left.tracks)), rng.normal(size=(len(left.tracks), 2))
    lever = np.concatenate([left.plane, near[:, None, None] * left.path], axis=2)
    left.shift[:] = np.einsum("nck,fk->nfc", lever, motion) + mean[:, None]
    found, its_mean, error = left.fitted(motion)
    np.testing.assert_allclose(found, near, rtol=1e-6)
    np.testing.assert_allclose(its_mean, mean, atol=1e-6)
    assert error.max() < 1e-6
    again = left.motion(np.arange(len(near)), near, mean)  # held back a little, where a patch could not tell
    assert left.fitted(again)[2].mean() < 0.2 * left.fitted(np.zeros_like(motion))[2].mean()


def test_too_few_tracks_to_tell_share_nothing():
    view, whom, frames, chosen, turn = turned(1, FOCAL)
    few = chosen & (np.cumsum(chosen) <= 15)
    assert not sharing_a_path(view, turn.state, frames, few).any()
    nowhere = State(World.blank(FRAMES, len(whom), FOCAL), np.full(len(whom), LABEL_MOVER), 1.0)
    nowhere.world.known[:] = True
    assert not sharing_a_path(view, nowhere, frames, chosen).any()
