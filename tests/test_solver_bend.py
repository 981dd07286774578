"""Whether a lens bends the picture, where noise leaves held-out tracks no more than a hint of it."""

import re
from dataclasses import replace

import numpy as np
import pytest

from solver.reconstruct import trim
from solver.selfcheck import HINT_SHARE, HINT_SIGMAS, NEEDED_SIGMAS, Contender, decide, questions
from solver.types import Settings
from solver.view import ShotView
from tests.test_solver_motion import ALL, FOCAL_PX, FRAME, HEIGHT, POINTS, WIDTH, shot, under_truth


def contest(
    k1: float, noise_px: float, way_m: float, seed: int, k2: float = 0.0, straightened: bool = False
) -> tuple[Contender, list[Contender]]:
    """(winner, contenders) over the distortion alone, a tenth of the tracks held out.

    straightened: the contest begins with what a straight lens makes of it, instead of with the true cameras.
    """
    view, world = shot(way_m, noise_px, 0.1, seed)
    xy = view.tracks.xy - [WIDTH / 2, HEIGHT / 2]
    r2 = (xy**2).sum(1) / FOCAL_PX**2
    bend = 1 + k1 * r2 + k2 * r2**2
    view = ShotView(replace(view.tracks, xy=xy * bend[:, None] + [WIDTH / 2, HEIGHT / 2]), WIDTH, HEIGHT, {})
    base = under_truth(world)
    held = np.arange(POINTS) % 10 == 0
    if straightened:
        trim(view, base.state, FRAME, ALL & ~held, base.model, rounds=6, iterations=20)
    asked = [q for q in questions(Settings(), base.model, travels=True) if q.about == "distortion"]
    return decide(view, base, asked, FRAME, ALL & ~held, held, 0)


def hint(contenders: list[Contender]) -> tuple[float, float]:
    """What held-out tracks gain by the lens's first term, as the user reads it: share, and standard errors."""
    percent, sigmas = re.search(r"([+-][\d.]+) %, ([+-][\d.]+) standard errors", contenders[1].why).groups()
    return float(percent) / 100, float(sigmas)


@pytest.mark.parametrize(("way_m", "seed"), [(0.1, 1), (0.1, 2), (0.5, 1)])
def test_a_bend_is_found_where_held_out_tracks_only_hint_at_it(way_m, seed):
    winner, contenders = contest(-0.05, 0.5, way_m, seed)
    share, sigmas = hint(contenders)
    assert share > HINT_SHARE and HINT_SIGMAS < sigmas < NEEDED_SIGMAS  # they alone would have called it straight
    assert winner.model.k1 and "bent by" in winner.why
    assert winner.state.world.k1 == pytest.approx(-0.05, abs=0.02)


def test_a_hint_alone_bends_nothing():
    """By chance held-out tracks of a straight lens gain as much in coarse noise; the bend itself comes out within its error."""
    winner, contenders = contest(0.0, 3.0, 0.5, 1)
    share, sigmas = hint(contenders)
    assert share > HINT_SHARE and sigmas > HINT_SIGMAS
    assert not winner.model.k1


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_strong_bend_is_found_from_what_a_straight_lens_has_made_of_it(seed):
    """Far away: lenses that were judged on their way there came out 11 to 14 % too long."""
    winner, _ = contest(-0.3, 0.3, 1.0, seed, k2=0.1, straightened=True)
    assert winner.model.k1
    assert np.exp(np.median(winner.state.world.log_focal)) == pytest.approx(FOCAL_PX, rel=0.04)


@pytest.mark.parametrize("noise_px", [0.5, 1.5])
@pytest.mark.parametrize("seed", [0, 1, 2, 3])
def test_a_straight_lens_stays_straight(noise_px, seed):
    assert not contest(0.0, noise_px, 0.3, seed)[0].model.k1
