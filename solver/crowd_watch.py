"""Whether much moves on its own: where the set shows in few places, it takes more tracks to have enough of it."""

from __future__ import annotations

import cv2
import numpy as np

from .live import Live

LOOK_BACK_FRAMES = 6
# Share of tracks that no one motion of the camera explains over so many frames: 0.2 at most where the set fills the picture,
# 0.25 and more with people in front, on stages with next to no texture, and in noisy footage.
CROWD = 0.22
CROWD_TRACKS = 1.4  # times as many are wanted then,
ENOUGH_TRACKS = 1000  # up to so many


class CrowdWatch:
    """How many tracks are wanted; every so many frames the tracks are compared with where they were."""

    def __init__(self, wanted: int) -> None:
        self.wanted = self._usual = wanted
        self._then: tuple[np.ndarray, np.ndarray] = (np.zeros(0, int), np.zeros((0, 2)))  # ids and places some frames ago

    def look(self, live: Live, threshold_px: float, raced: bool) -> None:
        """Compare, unless the picture has raced since: streaks are too rough to judge by. threshold_px: what counts as astray."""
        ids, xy = self._then
        _, now, then = np.intersect1d(live.id, ids, assume_unique=True, return_indices=True)
        self._then = live.id, live.xy
        if len(now) < 30 or self.wanted > self._usual or raced:
            return
        sides = xy[then], live.xy[now]
        fits = cv2.findFundamentalMat(*sides, cv2.FM_RANSAC, threshold_px, 0.99, 500)[1]
        plane = cv2.findHomography(*sides, cv2.RANSAC, threshold_px)[1]
        if max(0.0 if mask is None else mask.mean() for mask in (fits, plane)) < 1 - CROWD:
            self.wanted = max(self.wanted, min(int(CROWD_TRACKS * self.wanted), ENOUGH_TRACKS))
