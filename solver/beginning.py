"""Shots that begin blurred: out of focus, or in the streaks of a whip pan.

What is first seen blurred tells little of where it is, and comes to rest elsewhere once it is sharp. So the tracks begin anew in
the first sharp picture, and go back from there to the first frame: from sharp to blurred they are followed as well as anywhere.
"""

from __future__ import annotations

import numpy as np

from .race import RaceWatch

SHARPER = 1.6  # times as much detail as where the tracks began: content changes it by a quarter, noise in the dark by 0.43
# The most so far has hardly grown for a few frames, and is nearly reached: in a shaken camera's pictures it comes and goes.
FEW_FRAMES = 3
GROWS, NEAR_MOST = 1.05, 0.9
LATEST_FRAMES = 240  # later the shot is no longer at its beginning
CALM_FRAMES = 2  # after a whip, until the picture is sharp


class Beginning:
    """The frame in which the tracks begin: the first, or the first sharp one."""

    def __init__(self, settled: bool) -> None:
        self.index = 0
        self.settled = settled  # nothing changes it

    def better_now(self, index: int, details: list[float], race: RaceWatch) -> bool:
        """Whether the tracks should begin anew in the frame of the moment, `index`; if so, that is where they begin.

        details: how much of each frame so far is fine detail (see focus.py).
        """
        if self.settled or index > LATEST_FRAMES or race.racing or index - self.index < FEW_FRAMES:
            return False
        since = np.array(details[self.index : index + 1])
        sharper = since[-1] > SHARPER * since[0]
        at_rest = NEAR_MOST * since.max() <= since[-1] and since[-FEW_FRAMES:].max() < GROWS * since[:-FEW_FRAMES].max()
        out_of_a_whip = race.from_the_start and index == race.ended + CALM_FRAMES
        if not (sharper and at_rest) and not out_of_a_whip:
            return False
        self.index = index
        return True
