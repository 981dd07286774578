"""What stays in place while the picture moves: writing burnt into it, a logo, dirt on the lens, the hood of a car.

It moves as one with the frame, is as sharp as anything, and where a set has little texture it carries the most reliable tracks of
all: a path would hold on to it. What is far away may keep its place, too, as long as the camera does not turn; whether it does or
not is plain once the rest has been solved.
"""

from __future__ import annotations

import numpy as np

from .movers import share_of_picture
from .view import ShotView

IN_PLACE = 1.2e-4  # RMS of a track about its mean, over the picture's width, up to which it does not move: 0.15 px of 1280
AROUND = 10.0  # times that, at least, by which most other tracks do over the same frames
LEAST_VIEWS = 8
ALONGSIDE = 0.8  # of a track's frames that others must share to be compared with it
LEAST_OTHERS = 12
# Share of the picture in place from which it is the camera that rests, before a crowd: bars and writing take up 0.13 of
# it, 0.22 where a set has little texture beside them.
AT_REST = 0.3
SAMPLE_FRAMES = 24  # that are looked at for that


def in_place(view: ShotView) -> np.ndarray:
    """(N,) bool: tracks that stay where they are in the picture while most others move."""
    t = view.tracks
    track, count = t.track, t.track_count
    spread, views = _spread(track, view.xy, count)
    long = views >= LEAST_VIEWS
    limit = IN_PLACE * view.width
    still = long & (spread < limit)
    out = np.zeros(count, bool)
    sample = np.unique(np.linspace(0, view.frame_count - 1, SAMPLE_FRAMES).round().astype(int))
    if not still.any() or share_of_picture(view, sample, long, still) > AT_REST:
        return out
    first, last = np.full(count, view.frame_count), np.full(count, -1)
    np.minimum.at(first, track, t.frame_index)
    np.maximum.at(last, track, t.frame_index)
    for begin, end in np.unique(np.c_[first, last][still], axis=0):
        rows = (t.frame_index >= begin) & (t.frame_index <= end) & ~still[track]
        others, together = _spread(track[rows], view.xy[rows], count)
        others = others[together >= ALONGSIDE * (end - begin + 1)]
        if len(others) >= LEAST_OTHERS and np.median(others) > AROUND * limit:
            out |= still & (first == begin) & (last == end)
    return out


def _spread(track: np.ndarray, xy: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Of each track the RMS distance (px) from its mean place, and the number of its views (count,)."""
    views = np.bincount(track, minlength=count)
    square = np.zeros(count)
    for k in (0, 1):
        mean = np.bincount(track, xy[:, k], minlength=count) / np.maximum(views, 1)
        square += np.bincount(track, (xy[:, k] - mean[track]) ** 2, minlength=count)
    return np.sqrt(square / np.maximum(views, 1)), views
