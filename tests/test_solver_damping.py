"""The damping of Levenberg-Marquardt's steps."""

from __future__ import annotations

import numpy as np
import pytest

from solver.damping import LOWEST, LOWEST_REFUSED, after_gain, after_refusal


def test_a_step_as_good_as_foreseen_lets_the_next_be_longer() -> None:
    assert after_gain(1e-3, 1.0, 1.0, False) == pytest.approx(1e-4)
    assert after_gain(LOWEST, 1.0, 1.0, False) == LOWEST
    assert after_gain(1e-3, 1.0, 1.0, True) == 1e-3  # less has just been refused
    assert after_gain(1e-3, 0.5, 1.0, False) == 1e-3
    assert after_gain(1e-3, 0.1, 1.0, False) > 1e-3


def test_a_step_far_too_long_is_cut_at_once() -> None:
    """A parabola that falls by 1 at first and has risen by 99 at the end is lowest after a two-hundredth of the way."""
    assert after_refusal(1e-3, 1.0, 99.0) == pytest.approx(0.2)
    assert after_refusal(1e-3, 1.0, 0.1) == pytest.approx(8e-3)  # a little too long
    assert after_refusal(0.0, 1.0, 0.1) == LOWEST_REFUSED
    for unknown in (np.inf, np.nan):  # no step at all, or a cost that is no number
        assert after_refusal(1e-3, np.inf, unknown) == pytest.approx(8e-3)
        assert after_refusal(1e-3, 1.0, unknown) == pytest.approx(8e-3)
