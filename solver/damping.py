"""How much the next step of Levenberg-Marquardt is damped.

By how well the last one was foreseen (Madsen, Nielsen, Tingleff, "Methods for Non-Linear Least Squares Problems", 2004, section
3.2), and after a step that went too far by how far it went: between where it began and where it ended the cost is taken for a
parabola.
"""

from __future__ import annotations

LEAST, MOST_AT_ONCE = 8.0, 1000.0  # times which the damping grows after a step that was refused
LESS = 10.0  # times by which it falls after a step as good as foreseen
MORE = 2.0  # times which it grows after one that fell well short
AS_FORESEEN, WELL_SHORT = 0.75, 0.25  # gain over the gain foreseen
LOWEST, LOWEST_REFUSED = 1e-10, 1e-8


def after_refusal(damping: float, slope: float, rise: float) -> float:
    """Damping to try next. slope: fall of the cost along the step by its first derivatives; rise: what it rose by."""
    curvature = 2 * (rise + slope)  # the parabola's lowest place lies at slope / curvature of the step
    times = min(max(curvature / slope, LEAST), MOST_AT_ONCE) if slope > 0 and curvature < float("inf") else LEAST
    return max(damping * times, LOWEST_REFUSED)


def after_gain(damping: float, gain: float, foreseen: float, refused_before: bool) -> float:
    """Damping of the next step. refused_before: a lower damping has just been found too low, and is not tried again at once."""
    if gain < WELL_SHORT * foreseen:
        return damping * MORE
    return damping if refused_before or gain < AS_FORESEEN * foreseen else max(damping / LESS, LOWEST)
