"""Whether the thread of the tracks has snapped, and the picture from before that is looked back at to tie it again.

A flash, a black frame, somebody who passes right in front of the lens: what was followed is gone within a few frames, and what is
followed afterwards has nothing to do with it. The same view is back soon after, if it was not a cut.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .gap import plane_motion
from .live import Live

SPACING_FRAMES = 12  # from one picture that is kept to the next
KEPT = 5  # so many: somebody who walks by hides the view for two seconds at most
FEWEST = 12  # tracks that tie two pictures together
TIED = 0.3  # of a picture's tracks: it need not be looked back at any longer
VANISHED = 0.5  # of a picture's tracks were lost in the middle of it: the camera has not just turned away
HANDFUL = 0.1  # of the tracks: so few may have survived by chance
AGREE = 0.5  # of those move as one, if not
TRIES = (0, 1, 2, 4, 8, 16, 32)  # frames, since the thread snapped, that are compared with the picture before


def by_chance(xy: np.ndarray, then: np.ndarray, of: int) -> bool:
    """Whether so few of so many tracks are left at xy (n, 2), from `then` (n, 2) in the frame before, and go ways so much their
    own, that they have only found something alike in another picture."""
    if len(xy) > HANDFUL * of:
        return False
    if len(xy) < FEWEST:
        return True
    agree = plane_motion(then, xy)[1]
    return agree is None or agree.mean() < AGREE


@dataclass
class Kept:
    """A picture (H, W) uint8 with its tracks; vanished (n,): which of them were lost though they had not reached its edge."""

    gray: np.ndarray
    live: Live
    vanished: np.ndarray

    def in_common(self, live: Live) -> int:
        """How many of its tracks live."""
        return len(np.intersect1d(self.live.id, live.id, assume_unique=True))


class BreakWatch:
    """The pictures of the last two seconds, and what is known of a break: the picture before it, and the frames since."""

    def __init__(self) -> None:
        self._kept: list[Kept] = []
        self._last: list[Kept] = []  # the frame before
        self._before: Kept | None = None
        self._frames = 0

    def lost(self, gone: Live, shape: tuple[int, int], margin_px: float) -> None:
        """Hear which tracks were lost, as they were in the frame before."""
        h, w = shape
        there = gone.xy + gone.velocity
        edge = margin_px + np.hypot(*gone.velocity.T)[:, None]
        inside = ((there > edge) & (there < np.array([w, h]) - 1 - edge)).all(axis=1)
        for kept in [*self._kept, *self._last, *([self._before] if self._before else [])]:
            kept.vanished |= np.isin(kept.live.id, gone.id[inside])

    def keep(self, index: int, gray: np.ndarray, live: Live) -> None:
        """Take a frame as it is left."""
        self._last = [Kept(gray, live, np.zeros(len(live.id), bool))] if len(live.id) >= 2 * FEWEST else []
        if index % SPACING_FRAMES == 0 and self._before is None:
            self._kept = self._kept[1 - KEPT :] + self._last

    def look_back(self, live: Live) -> Kept | None:
        """The picture whose tracks should be looked for in the frame of the moment; None: none."""
        if self._before is None:
            snapped = [k for k in self._kept + self._last if k.in_common(live) < FEWEST and k.vanished.mean() > VANISHED]
            if not snapped:
                return None
            self._before, self._kept, self._frames = max(snapped, key=lambda k: k.vanished.sum()), [], -1
        self._frames += 1
        if self._frames > TRIES[-1] or self._before.in_common(live) > TIED * len(self._before.live.id):
            self._before = None
            return None
        return self._before if self._frames in TRIES else None
