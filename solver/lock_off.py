"""A camera that does not move, or hardly does: told by what stays in place, however much moves in front of it.

Tracks that stay in place over a good part of the picture are no coincidence. What they all do together, frame by frame, is the
camera's: it is known to a small part of a track's own noise, and tells a lock-off from a camera that sways by a tenth of a pixel.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import scipy.sparse as sparse
from scipy.sparse.linalg import LinearOperator, cg

from .hypotheses import assumed_focal_px, candidates
from .in_place import AT_REST, LEAST_VIEWS, spread_of
from .initialise import Started, cost_of, lift_seen
from .movers import share_throughout
from .settle import Settled, settle
from .types import Settings
from .view import ShotView, World

RESTING_PX = 0.35  # RMS of a track about its mean place up to which it rests; rocking by less is noise, compression, leaves
NEARLY = 1e-3  # the same over the width of the picture, before what all do together is taken out
SWAY_PX = 0.03  # RMS of what resting tracks do together, over the shot, up to which the camera stands still
HUBER_PX = 0.3
ROUNDS = 4
CLOSE, MOST_STEPS = 1e-4, 200  # of the common motion's equations


@dataclass(frozen=True)
class Rest:
    """What stays in place: tracks (N,) bool, the share of the picture they take up, and their common motion (F, 2) px."""

    tracks: np.ndarray
    share: float
    sway_px: np.ndarray

    @property
    def holds(self) -> bool:
        """Whether so much of the picture is no coincidence."""
        return self.share > AT_REST

    @property
    def still(self) -> bool:
        """Whether the camera stands still as well."""
        return self.holds and float(np.sqrt((self.sway_px**2).sum(1).mean())) < SWAY_PX


def begun_at_rest(
    view: ShotView, settings: Settings, rest: Rest, frames: np.ndarray, chosen: np.ndarray, use_depth: bool
) -> Settled:
    """A reconstruction of a camera that hardly moves, begun from one that does not: it turns a little, by too little to say
    anything of its lens, and whatever does not rest is left out at first."""
    turning = next(o for o in candidates(view, settings, use_depth) if not o.translation)
    turning = replace(turning, focal_free=False, focal_px=assumed_focal_px(settings, view.width))
    world = World.blank(view.frame_count, view.tracks.track_count, turning.focal_px)
    world.registered[frames] = True
    for f in frames:
        lift_seen(view, world, int(f), chosen, turning.use_depth)
    begun = Started(world, cost_of(view, world, frames, chosen), turning, rest.tracks.astype(float))
    return settle(view, settings, begun, frames, chosen, use_depth)


def at_rest(view: ShotView) -> Rest:
    """What of the picture stays in place all the time that it is seen."""
    rms, views = spread_of(view, slice(None))
    long = views >= LEAST_VIEWS
    nearly = long & (rms < max(RESTING_PX, NEARLY * view.width))
    if not nearly.any():
        return Rest(nearly, 0.0, np.zeros((view.frame_count, 2)))
    sway, left = common_motion(view, nearly)
    resting = nearly & (left < RESTING_PX)
    if resting.any():
        sway, _ = common_motion(view, resting)
    return Rest(resting, share_throughout(view, long, resting), sway)


def common_motion(view: ShotView, tracks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(F, 2) px by which these tracks (N,) bool are off their own places together in each frame; zero in the mean.

    Places and motion are found as one robust least-squares problem, so that a slow drift shows in tracks each of which sees but a
    part of it.
    """
    rows = np.nonzero(tracks[view.tracks.track])[0]
    _, track = np.unique(view.tracks.track[rows], return_inverse=True)
    frame, xy = view.tracks.frame_index[rows], view.xy[rows]
    count, frames = int(track.max()) + 1, view.frame_count
    weight = np.ones(len(rows))
    motion = np.zeros((frames, 2))

    def places(of: np.ndarray) -> np.ndarray:
        total = np.bincount(track, weight, minlength=count)
        return np.stack([np.bincount(track, weight * of[:, k], minlength=count) for k in (0, 1)], 1) / total[:, None]

    for _ in range(ROUNDS):
        seen = sparse.csr_matrix((weight, (frame, track)), (frames, count))
        of_tracks, of_frames = np.asarray(seen.sum(0)).ravel(), np.asarray(seen.sum(1)).ravel() + 1e-6

        def normal(v: np.ndarray, seen=seen, of_tracks=of_tracks, of_frames=of_frames) -> np.ndarray:
            return of_frames * v - seen @ ((seen.T @ v) / of_tracks)

        # never formed: in a long lock-off every frame shares tracks with every other
        equations = LinearOperator((frames, frames), normal, dtype=float)
        by_frame = LinearOperator((frames, frames), lambda v, of_frames=of_frames: v / of_frames, dtype=float)
        off = weight[:, None] * (xy - places(xy)[track])
        for k in (0, 1):
            pull = np.bincount(frame, off[:, k], minlength=frames)
            motion[:, k], _ = cg(equations, pull, motion[:, k], rtol=CLOSE, maxiter=MOST_STEPS, M=by_frame)
        left = xy - motion[frame]
        weight = np.minimum(1, HUBER_PX / np.maximum(np.hypot(*(left - places(left)[track]).T), 1e-9))
    off = np.hypot(*(left - places(left)[track]).T)
    rms = np.full(len(tracks), np.inf)
    ids = np.nonzero(np.bincount(view.tracks.track[rows], minlength=len(tracks)))[0]
    rms[ids] = np.sqrt(np.bincount(track, off**2, minlength=count) / np.bincount(track, minlength=count))
    return motion - motion.mean(0), rms
