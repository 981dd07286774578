"""Frames that nothing joins to the rest of the shot: after a cut, in a black frame, behind somebody who fills the picture."""

from __future__ import annotations

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from .types import Tracks

FEWEST, FEWEST_TURNING = 6, 3  # tracks that two stretches of a shot must share to be one; where the camera only turns
SEEN = 4  # times on either side, for a track to tie two frames together


def apart(tracks: Tracks, weight: np.ndarray, holds: np.ndarray | None = None, fewest: int = FEWEST) -> np.ndarray:
    """(F,) bool: frames that are not joined to most of the others by tracks that count as `weight` (N,) says (0: not at all).

    Neighbouring frames that share enough make a stretch, stretches that share enough belong together, and the largest such group
    is the shot. holds (M,) bool: which observations count (default: all). Somebody who hides the whole picture shares tracks with
    the frames around him, but the same cameras do not explain them there.
    """
    frames = len(tracks.frame_numbers)
    on = np.nonzero((weight[tracks.track] > 0) & (True if holds is None else holds))[0]
    track, frame = tracks.track[on], tracks.frame_index[on]
    first = np.searchsorted(track, track)
    before = np.arange(len(on)) - first  # so many times the track was seen before this frame
    since = np.searchsorted(track, track, side="right") - np.arange(len(on))  # and from it on
    linked = 1 + np.nonzero((track[1:] == track[:-1]) & (np.diff(frame) == 1))[0]
    known = (before[linked] >= np.minimum(SEEN, frame[linked])) & (since[linked] >= np.minimum(SEEN, frames - frame[linked]))
    linked = linked[known]
    shared = np.bincount(frame[linked], weight[track[linked]], minlength=frames)
    stretch = np.cumsum(np.r_[0, shared[1:] < fewest])
    count = int(stretch[-1]) + 1
    if count == 1:
        return np.zeros(frames, bool)
    seen = coo_array((np.ones(len(on)), (stretch[frame], track)), (count, tracks.track_count)).tocsr()
    seen.sum_duplicates()
    length = np.bincount(stretch)
    seen.data = (seen.data >= np.minimum(SEEN, np.repeat(length, np.diff(seen.indptr)))).astype(float)
    together = (seen * weight) @ seen.T
    group = connected_components(together >= fewest, directed=False)[1]
    size = np.bincount(group[stretch])
    return group[stretch] != int(size.argmax())


def only_in(tracks: Tracks, frames: np.ndarray) -> np.ndarray:
    """(N,) bool: tracks that are seen in the given frames (F,) bool alone."""
    outside = np.zeros(tracks.track_count, bool)
    outside[tracks.track[~frames[tracks.frame_index]]] = True
    return ~outside


def hidden_share(tracks: Tracks, chosen: np.ndarray) -> np.ndarray:
    """(F,) share of the chosen tracks (N,) bool seen before and after a frame that are not seen in it."""
    frames = len(tracks.frame_numbers)
    first, last = np.full(tracks.track_count, frames), np.full(tracks.track_count, -1)
    np.minimum.at(first, tracks.track, tracks.frame_index)
    np.maximum.at(last, tracks.track, tracks.frame_index)
    begin, end = (np.bincount(k[chosen & (last >= 0)], minlength=frames + 1) for k in (first, last + 1))
    spanning = np.cumsum(begin - end)[:frames]
    seen = np.bincount(tracks.frame_index[chosen[tracks.track]], minlength=frames)
    return 1 - seen / np.maximum(spanning, 1)
