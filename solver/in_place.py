"""What stays in place while the picture moves: writing burnt into it, a logo, dirt on the lens, the hood of a car.

It moves as one with the frame, is as sharp as anything, and where a set has little texture it carries the most reliable tracks of
all: a path would hold on to it. What is far away may keep its place, too, as long as the camera does not turn; whether it does or
not is plain once the rest has been solved.
"""

from __future__ import annotations

import numpy as np

from .movers import share_throughout
from .view import ShotView

IN_PLACE = 1.2e-4  # RMS of a track about its mean, over the picture's width, up to which it does not move: 0.15 px of 1280
AROUND = 10.0  # times that, at least, by which most other tracks do over the same frames
LEAST_VIEWS = 8
ALONGSIDE = 0.8  # of a track's frames that others must share to be compared with it
LEAST_OTHERS = 12
# Share of the picture in place from which it is the camera that rests, before a crowd: bars and writing take up 0.13 of
# it, 0.22 where a set has little texture beside them.
AT_REST = 0.3


def in_place(view: ShotView) -> np.ndarray:
    """(N,) bool: tracks that stay where they are in the picture while most others move."""
    t = view.tracks
    spread, views = spread_of(view, slice(None))
    long = views >= LEAST_VIEWS
    limit = IN_PLACE * view.width
    still = long & (spread < limit)
    out = np.zeros(t.track_count, bool)
    if not still.any() or share_throughout(view, long, still) > AT_REST:
        return out
    first, last = np.full(t.track_count, view.frame_count), np.full(t.track_count, -1)
    np.minimum.at(first, t.track, t.frame_index)
    np.maximum.at(last, t.track, t.frame_index)

    def others_move(begin: int, end: int) -> bool:
        those, together = spread_of(view, view.rows_between(begin, end))
        those = those[~still & (together >= ALONGSIDE * (end - begin + 1))]
        return len(those) >= LEAST_OTHERS and np.median(those) > AROUND * limit

    lives, life = np.unique(np.c_[first, last][still], axis=0, return_inverse=True)
    out[still] = np.array([others_move(*ends) for ends in lives])[life]
    return out


def spread_of(view: ShotView, rows: np.ndarray | slice) -> tuple[np.ndarray, np.ndarray]:
    """Of each track the RMS distance (px) from its mean place over these observations, and how many of them it has (N,)."""
    away, views = view.away_from_mean(rows)
    square = np.bincount(view.tracks.track[rows], away**2, minlength=view.tracks.track_count)
    return np.sqrt(square / np.maximum(views, 1)), views
