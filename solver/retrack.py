"""Tracking a part of the shot again, hung on what is solved around it.

Tracks that lie on solved points are taken up where the kept frames saw them; new ones fill the gaps.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from .flow import Picture, prepare
from .live import Live
from .parallel import use_cores
from .patches import make_templates
from .tracked import TrackingOptions
from .tracker import Tracker
from .types import LABEL_STATIC, ClipInfo, Progress, Settings, Solution, Tracks

SAME_PLACE_PX = 0.7  # a followed point that is farther than this from where it was seen in the kept part is another one


@dataclass(frozen=True)
class Part:
    """Which frames, by the clip's numbers: the part to solve, the kept ones, and those tracked (part and seams)."""

    part: np.ndarray
    kept: np.ndarray
    tracked: np.ndarray
    forwards: bool  # tracking begins before the part


class SeededTracker(Tracker):
    """A tracker that takes up given places of the first picture before it looks for corners of its own."""

    def __init__(self, options: TrackingOptions, seeds: np.ndarray) -> None:
        super().__init__(options)
        self.seeds = seeds  # (n, 2) OpenCV px

    def _replenish(self, picture: Picture, ignore: np.ndarray | None) -> None:
        if self.index == 0 and len(self.seeds):
            n = len(self.seeds)
            xy = self.seeds.astype(float)
            self.live = Live.born(np.arange(n), xy, 0, make_templates(picture.fine, xy, self.grid))
            self.next_id = n
            self.colours.append(np.zeros((n, 3), np.uint8))  # theirs are known
            self._record(self.live.id, xy, np.full(n, 0.05), np.zeros((n, 2)))
        super()._replenish(picture, ignore)


@dataclass(frozen=True)
class Found:
    """New observations: track -1 - i is seed i, 0.. are new ones. number (M,) of the clip's frame."""

    track: np.ndarray
    number: np.ndarray
    xy: np.ndarray
    sigma: np.ndarray
    elongation: np.ndarray
    colour: np.ndarray  # (new, 3)
    seeds: np.ndarray  # (n,) the solution's number of each seed


def track_part(solution: Solution, plan: Part, clip, masks, settings: Settings, progress: Progress) -> Found:
    cv2.setNumThreads(use_cores(settings.threads))
    # at full size whatever the quality: the seeds' places are exact to hundredths of a pixel
    options = replace(TrackingOptions.for_quality(settings.quality, clip.info.width, clip.info.height), shrink=1.0)
    order = plan.tracked if plan.forwards else plan.tracked[::-1]
    t = solution.tracks
    here = t.frame_numbers[t.frame_index] == order[0]
    solved = np.zeros(t.track_count, bool)
    solved[solution.point_track] = True
    solved[[d["track"] for d in solution.user_tracks]] = False
    rows = np.nonzero(here & solved[t.track] & (np.asarray(solution.track_label)[t.track] == LABEL_STATIC))[0]
    margin = options.patch_radius_px + 2
    xy = t.xy[rows] - 0.5
    rows = rows[((xy > margin) & (xy < np.array([clip.info.width, clip.info.height]) - margin)).all(1)]
    tracker = SeededTracker(options, t.xy[rows] - 0.5)
    pictures = clip.images() if plan.forwards else ((int(n), clip.read(int(n))) for n in order)
    seen = []
    for number, image in pictures:
        tracker.step(prepare(image, options.shrink), masks.ignore(number) if masks else None)
        seen.append(number)
        progress("track", len(seen), len(order))
    ids, index, places, sigma, elongation = tracker.observations()
    tracker.thread.shutdown()
    new = ids >= len(rows)
    track = np.where(new, ids - len(rows), -1 - ids)
    colour = np.concatenate(tracker.colours)[len(rows) :]
    return Found(track, np.array(seen)[index], places + 0.5, sigma, elongation, colour, t.track[rows])


def join(solution: Solution, plan: Part, found: Found, info: ClipInfo) -> tuple[Solution, np.ndarray]:
    """The solution with the part's observations replaced by the new ones; cameras of the part as placeholders.

    Also (N,) bool: which tracks are new.
    """
    t = solution.tracks
    number = t.frame_numbers[t.frame_index]
    of_user = np.zeros(t.track_count, bool)
    of_user[[d["track"] for d in solution.user_tracks]] = True
    inside = np.isin(number, plan.part)
    old = t.rows(~inside | of_user[t.track])
    old_number = old.frame_numbers[old.frame_index]
    # seeds: those that were where they should be in the seams
    seeded = found.track < 0
    seed = found.seeds[-1 - found.track[seeded]] if seeded.any() else np.zeros(0, int)
    gone = _strayed(old.track, old_number, old.xy, seed, found.number[seeded], found.xy[seeded])
    use = np.isin(found.number[seeded], plan.part) & ~np.isin(seed, gone)
    # new ones of some length
    length = np.bincount(found.track[~seeded], minlength=len(found.colour))
    alive = np.nonzero(length >= 4)[0]
    new_of = np.full(len(found.colour), -1)
    new_of[alive] = t.track_count + np.arange(len(alive))
    fresh_rows = ~seeded
    fresh_rows[~seeded] = new_of[found.track[~seeded]] >= 0
    frames = np.union1d(plan.kept, plan.part)
    index_of = np.full(int(frames.max()) - int(frames.min()) + 1, -1)
    index_of[frames - frames.min()] = np.arange(len(frames))
    track = np.r_[old.track, seed[use], new_of[found.track[fresh_rows]]]
    all_numbers = np.r_[old_number, found.number[seeded][use], found.number[fresh_rows]]
    xy = np.concatenate([old.xy, found.xy[seeded][use], found.xy[fresh_rows]])
    sigma = np.r_[old.sigma_px, found.sigma[seeded][use], found.sigma[fresh_rows]]
    elongation = np.concatenate([old.elongation, found.elongation[seeded][use], found.elongation[fresh_rows]])
    index = index_of[all_numbers - frames.min()]
    order = np.lexsort((index, track))
    tracks = Tracks(
        frames,
        track[order].astype(np.int32),
        index[order].astype(np.int32),
        xy[order],
        sigma[order].astype(np.float32),
        t.track_count + len(alive),
        elongation[order],
    )
    more = len(alive)
    at = np.searchsorted(solution.frame_numbers, frames).clip(0, len(solution.frame_numbers) - 1)
    label = np.r_[np.asarray(solution.track_label), np.full(more, LABEL_STATIC)]
    colour = solution.track_colour
    if colour is None:
        colour = np.full((t.track_count, 3), 128, np.uint8)
        colour[solution.point_track] = solution.point_colour
    joined = replace(
        solution,
        clip=replace(
            solution.clip,
            frames=tuple(frames.tolist()),
            missing=tuple(sorted({*solution.clip.missing, *info.missing})),
        ),
        frame_numbers=frames,
        cam_from_world=solution.cam_from_world[at],
        focal_px=np.interp(frames, plan.kept, solution.focal_px[np.isin(solution.frame_numbers, plan.kept)]),
        tracks=tracks,
        track_label=label,
        track_held_out=np.r_[np.asarray(solution.track_held_out, bool), np.zeros(more, bool)],
        track_muted=None if solution.track_muted is None else np.r_[solution.track_muted, np.zeros(more, bool)],
        track_colour=np.concatenate([colour, found.colour[alive]]),
    )
    fresh = np.arange(tracks.track_count) >= t.track_count
    return joined, fresh


def _strayed(track, number, xy, seed, seed_number, seed_xy) -> np.ndarray:
    """Seeds that are not where the kept part saw them, in the seams where both are known."""
    far = 10**8
    key, seed_key = track.astype(np.int64) * far + number, seed.astype(np.int64) * far + seed_number
    _, a, b = np.intersect1d(key, seed_key, return_indices=True)
    off = np.hypot(*(xy[a] - seed_xy[b]).T)
    return np.unique(seed[b[off > SAME_PLACE_PX]])
