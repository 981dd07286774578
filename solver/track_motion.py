"""How fast tracks move in each frame, and how that changes: what a sensor that is read row by row makes of it."""

from __future__ import annotations

import numpy as np

REACH = 2  # frames before and after that take part
AROUND = tuple(k for k in range(-REACH, REACH + 1) if k)


def derivatives(there: tuple[int, ...]) -> np.ndarray:
    """(2, len(there)): weights of the differences to the values at these frames, relative to the own one, in the first and the
    second derivative of the polynomial that runs through all of them (the second is 0 where one is all there is)."""
    power = np.arange(1, len(there) + 1)
    taylor = np.array(there, float)[:, None] ** power / np.cumprod(power)
    weights = np.linalg.inv(taylor)
    return weights[:2] if len(there) > 1 else np.concatenate([weights, np.zeros((1, 1))])


def motion(track: np.ndarray, frame: np.ndarray, xy: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Velocity (M, 2) in px per frame and acceleration (M, 2) in px per frame^2 of each observation of tracks; 0 where nothing is
    seen nearby. track, frame (M,): ascending; xy (M, 2).

    Plain differences cut off a shake's peaks, and at a track's ends they lag behind by half a frame.
    """
    count = len(track)
    away = np.zeros((len(AROUND), count, 2))
    seen = np.zeros((len(AROUND), count), bool)
    row = np.arange(count)
    for at, k in enumerate(AROUND):
        for step in range(np.sign(k), k + np.sign(k), np.sign(k)):  # a track may lack frames between
            other = row + step
            inside = (other >= 0) & (other < count)
            other = np.where(inside, other, row)
            hit = inside & (track[other] == track) & (frame[other] - frame == k)
            away[at][hit] = (xy[other] - xy)[hit]
            seen[at] |= hit
    pattern = (seen * (1 << np.arange(len(AROUND)))[:, None]).sum(0)
    out = np.zeros((2, count, 2))
    for each in np.unique(pattern[pattern > 0]):
        rows = np.nonzero(pattern == each)[0]
        there = [at for at in range(len(AROUND)) if each >> at & 1]
        weights = derivatives(tuple(AROUND[at] for at in there))
        out[:, rows] = np.einsum("dk,knc->dnc", weights, away[np.ix_(there, rows)])
    return out[0], out[1]
