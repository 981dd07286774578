"""What is said of the focal length: a range that goes along with the solve, and a place in it where the shot cannot tell."""

from types import SimpleNamespace

import numpy as np
import pytest

from solver.bundle_model import rotation_exp
from solver.lens_range import LensRange, held_where_still, hold_at_prior, judge_focal
from solver.reconstruct import Model, State
from solver.selfcheck import Contender, HeldOut, lens_rivals
from solver.types import LABEL_STATIC, Settings, Tracks
from solver.view import ShotView, World

WIDTH = 1280


def held_at(low_px: float, high_px: float, valley: tuple[tuple[float, float], ...] = ()) -> float:
    """Where a focal length (px) is held that is known to lie in a range."""
    none = np.zeros(0, int)
    view = ShotView(Tracks(np.arange(3), none, none, np.zeros((0, 2)), np.zeros(0, np.float32), 1), WIDTH, 720, {})
    state = State(World.blank(3, 1, 900.0), np.full(1, LABEL_STATIC), 1.0)
    model = Model(focal_prior_log=float(np.log(1.3 * WIDTH)), focal_prior_sigma=0.5)
    lens = LensRange("prior", low_px, high_px, float(np.log(high_px / low_px) / 4), np.sqrt(low_px * high_px), valley=valley)
    assert not hold_at_prior(view, state, model, lens).focal_free
    return float(np.exp(state.world.log_focal[0]))


@pytest.mark.parametrize("factor", [0.99, 1.0, 1.01])
def test_a_range_goes_along_with_the_last_adjustment_and_keeps_what_fitted_before(factor):
    lens = LensRange("measured", 995.0, 1005.0, 0.0025, 1000.0).after(1000.0 * factor)
    assert lens.low_px <= min(995.0, 995.0 * factor) and lens.high_px >= max(1005.0, 1005.0 * factor)
    assert lens.word == "measured"


def test_two_adjustments_far_apart_are_no_measurement():
    assert LensRange("measured", 990.0, 1010.0, 0.005, 1000.0).after(1050.0).word == "weak"


def test_a_lens_that_was_given_stays_as_given():
    given = LensRange("given", 1000.0, 1000.0, 0.0)
    assert given.after(1100.0) is given


@pytest.mark.parametrize(
    ("low", "high", "least", "most"),
    [
        (5000.0, 10000.0, 5900.0, 7071.0),  # far from usual lenses, and sure of it: near the middle of what fits
        (400.0, 8000.0, 1300.0, 2000.0),  # all lenses fit: the usual one
        (1500.0, 2600.0, 1750.0, 1975.0),  # in between
    ],
)
def test_a_focal_length_the_shot_cannot_tell_lies_where_prior_and_range_meet(low, high, least, most):
    assert least < held_at(low, high) < most


def test_how_well_each_focal_length_fits_counts_where_the_shot_cannot_tell():
    """The same range, of which 900 px fit best: the steeper its sides, the nearer to that."""
    held = [
        held_at(600.0, 2000.0, valley)
        for valley in ((), ((600.0, 1.0), (900.0, 0.0), (2000.0, 1.0)), ((600.0, 4.0), (900.0, 0.0), (2000.0, 4.0)))
    ]
    assert held[0] > held[1] > held[2] > 900.0
    assert held[0] > 1250.0 and held[2] < 1100.0


@pytest.mark.parametrize(
    ("found", "word", "said"),
    [
        ((1010.0, 1010.0, 1011.0), "measured", (1004.0, 1016.1)),  # nothing is known better than to 0.6 %
        ((1000.0, 1010.0, 1020.0), "measured", (998.3, 1021.7)),
        ((1000.0, 1100.0, 1300.0), "weak", (1000.0, 1300.0)),
        ((1000.0, 3000.0, 10000.0), "prior", (631.0, 15849.0)),  # ends of a long valley are as unsure as it is long
    ],
)
def test_the_longer_the_range_the_less_sure_its_ends(monkeypatch, found, word, said):
    monkeypatch.setattr("solver.lens_range.lens_spread", lambda *a: {})
    monkeypatch.setattr("solver.lens_range.focal_range", lambda *a: (*found, ()))
    state = State(World.blank(3, 1, 1000.0), np.full(1, LABEL_STATIC), 1.0)
    lens = judge_focal(None, Settings(), state, Model(), np.arange(3), np.ones(1, bool), [])
    assert lens.word == word
    assert (lens.low_px, lens.high_px) == pytest.approx(said, rel=1e-3)


@pytest.mark.parametrize("better", [False, True])
def test_a_bend_that_was_not_ruled_out_widens_the_range_by_its_own(monkeypatch, better):
    monkeypatch.setattr("solver.lens_range.lens_spread", lambda *a: {"focal": 0.05})
    monkeypatch.setattr("solver.lens_range.focal_range", lambda *a: (990.0, 1000.0, 1010.0, ()))
    straight, bent = (State(World.blank(3, 1, focal), np.full(1, LABEL_STATIC), 1.0) for focal in (1000.0, 900.0))
    rivals = [(Model(k1=True), bent, better)]
    lens = judge_focal(None, Settings(), straight, Model(), np.arange(3), np.ones(1, bool), rivals)
    assert lens.low_px == pytest.approx(900.0 * np.exp(-0.1)) and lens.high_px == pytest.approx(1011.7, abs=0.1)
    assert lens.word == "weak"
    assert lens.bend_doubt == better and lens.after(1010.0).bend_doubt == better


@pytest.mark.parametrize(("sigmas", "said"), [(2.3, [True]), (0.5, [False]), (-4.0, [])])
def test_bends_that_held_out_tracks_cannot_rule_out_are_rivals_and_those_that_fit_better_are_told_apart(sigmas, said):
    count = 100
    gain = np.random.default_rng(4).uniform(-1, 1, count)
    gain += sigmas * gain.std(ddof=1) / np.sqrt(count) - gain.mean()
    cost = np.full(count, 10.0)
    straight = Contender(Model(), None, HeldOut(cost, np.arange(count), 0.2))
    bent = Contender(Model(k1=True), None, HeldOut(cost - gain, np.arange(count), 0.2))
    of_another_kind = Contender(Model(k1=True, row_time=True), None, bent.held)
    rivals = lens_rivals(straight, [straight, bent, of_another_kind])
    assert [better for _, better in rivals] == said
    assert all(c is bent for c, _ in rivals)


@pytest.mark.parametrize(
    ("turn_deg", "model", "word", "focal_px"),
    [
        (0.004, Model(translation=False), "prior", 1248.0),
        (0.2, Model(translation=False), "weak", 2040.0),  # it turns
        (0.004, Model(), "weak", 2040.0),  # it travels
        (0.004, Model(translation=False, focal_varies=True), "weak", 2040.0),  # it zooms
    ],
)
def test_a_camera_that_stands_still_says_nothing_of_its_lens(turn_deg, model, word, focal_px):
    """A lock-off in noise had a lens of 2040 px, and 1440 to 40758 px were said to fit, where it was 864."""
    frames = 24
    world = World.blank(frames, 1, 2040.0)
    turns = np.radians(turn_deg) * np.c_[np.sin(np.arange(frames)), np.cos(np.arange(frames)) - 1, np.zeros(frames)] / 2
    world.rotation[:] = rotation_exp(turns)
    world.registered[:] = world.known[:] = True
    state = State(world, np.full(1, LABEL_STATIC), 1.0)
    view = SimpleNamespace(width=960, frame_count=frames)
    lens = held_where_still(view, Settings(), state, model, LensRange("weak", 1440.0, 40758.0, 0.8, 2040.0))
    assert lens.word == word
    assert np.exp(np.median(state.world.log_focal)) == pytest.approx(focal_px)
    assert (lens.low_px < 864 < lens.high_px) == (word == "prior")


def test_a_lens_that_is_put_elsewhere_bends_the_picture_as_before():
    world = World.blank(3, 1, 2040.0)
    world.registered[:] = world.known[:] = True
    world.k1, world.k2 = -0.2, 0.05
    state = State(world, np.full(1, LABEL_STATIC), 1.0)
    held_where_still(
        SimpleNamespace(width=960, frame_count=3), Settings(), state, Model(translation=False), LensRange("weak", 1e3, 3e3, 0.5)
    )
    radius_px = 500.0

    def bend_px(world: World) -> float:
        r2 = (radius_px / np.exp(world.log_focal[0])) ** 2
        return radius_px * (world.k1 * r2 + world.k2 * r2**2)

    assert bend_px(state.world) == pytest.approx(bend_px(world))
    assert state.world.k1 != -0.2


def test_a_lens_that_was_given_stays_however_still_the_camera_stands():
    world = World.blank(3, 1, 2040.0)
    world.registered[:] = True
    state, given = State(world, np.full(1, LABEL_STATIC), 1.0), LensRange("given", 2040.0, 2040.0, 0.0)
    still = Model(translation=False, focal_free=False)
    assert held_where_still(SimpleNamespace(width=960, frame_count=3), Settings(), state, still, given) is given
    assert np.exp(state.world.log_focal) == pytest.approx(2040.0)
