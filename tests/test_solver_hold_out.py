"""Tracks kept out of every solve: how many, and where from."""

import numpy as np
import pytest

from solver.selfcheck import hold_out
from solver.types import Tracks
from solver.view import ShotView

FRAMES, CROWD, SET = 20, 180, 20


def view_of_a_crowd() -> ShotView:
    """Most tracks in the left half (people), twenty in a corner at the right, which is all that shows of the set."""
    rng = np.random.default_rng(2)
    place = np.concatenate([rng.uniform((0, 0), (500, 540), (CROWD, 2)), rng.uniform((850, 450), (950, 530), (SET, 2))])
    track = np.repeat(np.arange(CROWD + SET), FRAMES)
    frame = np.tile(np.arange(FRAMES), CROWD + SET)
    return ShotView(Tracks(np.arange(FRAMES), track, frame, place[track], np.full(len(track), 0.1), CROWD + SET), 960, 540, {})


@pytest.mark.parametrize("seed", range(12))
def test_a_corner_of_the_set_loses_no_more_than_its_share(seed):
    held = hold_out(view_of_a_crowd(), 0.1, seed)
    assert held.sum() == (CROWD + SET) // 10
    assert 1 <= held[CROWD:].sum() <= 3
    assert np.array_equal(held, hold_out(view_of_a_crowd(), 0.1, seed))


def test_another_seed_holds_others_out_and_trusted_tracks_are_left_in():
    view = view_of_a_crowd()
    assert not np.array_equal(hold_out(view, 0.1, 0), hold_out(view, 0.1, 1))
    view.trusted[: CROWD + SET // 2] = True
    held = hold_out(view, 0.1, 0)
    assert held.sum() == 1 and not held[view.trusted].any()
