"""Sub-pixel tracks over long spans at the clip's full resolution.

Every frame: pyramidal Lucas-Kanade from the frame before (checked backwards), then refinement of every patch against its
first appearance (see patches.py), which keeps drift down. Lost tracks keep their first appearance for a while and are
looked for again where their neighbours say they should be.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, fields, replace

import cv2
import numpy as np

from .beginning import Beginning
from .blur import STREAK_ERROR, StreakMatcher, Streaks, streaks
from .breaks import FEWEST, BreakWatch, by_chance
from .crowd_watch import LOOK_BACK_FRAMES, CrowdWatch
from .detect import empty_cells, image_noise, spread_corners
from .elongation import elongation_of
from .flow import Flow, Picture, follow, like, lucas_kanade
from .focus import FocusWatch
from .live import Live
from .lost import Expected, Lost, seen_again
from .parallel import side_by_side
from .patches import PatchGrid, Refined, Templates, best_known, covariance, make_templates, refine
from .race import RaceWatch
from .tracked import TrackedClip, TrackingOptions
from .types import Tracks
from .whip import Race, placed

# Motion per frame from which blur is reckoned with, over the patch radius: streaks may be longer than a third of a patch then.
FAST_STEP = 1.5
PATCHES_AT_ONCE = 400  # more at a time only take more memory
# Of the lost tracks that are found again 98 in 100 look at least this alike where they are expected, of the others one in five.
PROMISING_NCC = 0.5
SAME_SPOT_PX = 3.0  # two tracks so close follow the same thing
SHARP_ENOUGH_PX = 25.0  # every so many px of streak make a place once more as uncertain as a sharp picture may


@dataclass(frozen=True)
class _Coming:
    """Points on their way into the picture after the last: ids, where they began (n, 2), and what comes out."""

    id: np.ndarray
    xy: np.ndarray
    flow: Future[Flow]


class Tracker:
    """Feeds on frames one by one; `result` gives the tracks."""

    def __init__(self, options: TrackingOptions, begins_later: bool = False) -> None:
        """begins_later: whether the tracks may begin anew in a later frame, the first sharp one."""
        self.options = options
        self.grid = PatchGrid(options.patch_radius_px, options.thin_patches)
        self.index = -1
        self.last: Picture | None = None
        self.step_px = self.step_before_px = np.zeros(2)  # median motion into the last frame, and into the one before
        self.blur = StreakMatcher(options.patch_radius_px, self._refine)
        self.focus = FocusWatch(options.patch_radius_px, self._refine)
        self.scale = np.ones(2)  # the clip's size over the tracked one
        self.crowd = CrowdWatch(options.tracks_wanted)
        self.noise = 3.0
        self.beginning = Beginning(settled=not begins_later)
        self.bridging: list[int] = []
        self.thread = ThreadPoolExecutor(1)
        self._begin()

    def _begin(self) -> None:
        """Without any tracks, as if the frame of the moment were the first."""
        self.live = self.begun = Live.empty()  # the tracks of the moment; those that were there where they begin
        self.lost = Lost(self.options.remember_lost_frames)
        self.race = RaceWatch()
        self.breaks = BreakWatch()
        self.focus.forget()
        self.next_id = 0
        # ids, frame index, xy, sigma, elongation
        self.records: list[tuple[np.ndarray, int, np.ndarray, np.ndarray, np.ndarray]] = []
        self.colours: list[np.ndarray] = []
        self.contrasts: list[float] = []  # median over the live tracks, frame by frame
        self.bridged: list[int] = []
        self.last_detection = -99
        self.coming: _Coming | None = None

    # one frame ------------------------------------------------------------------------------------------------------
    def step(self, picture: Picture, ignore: np.ndarray | None = None, upcoming: Picture | None = None) -> None:
        """Take the next frame; ignore: (H, W) bool of the clip's size, or None; upcoming: the frame after it, where known."""
        self.index += 1
        self.scale = picture.scale
        self.focus.look(picture.coarse)
        if ignore is not None and self.options.shrink < 1:
            ignore = cv2.resize(ignore.astype(np.uint8), picture.gray.shape[::-1], interpolation=cv2.INTER_NEAREST) > 0
        if self.beginning.better_now(self.index, self.focus.details, self.race):
            self._begin()
        if self.index == self.beginning.index:
            self.noise = max(0.5, image_noise(picture.gray))
        elif len(self.live.id):
            self._follow(picture, upcoming)
            if self.index % 4 == 0:
                self._find_again(picture.fine)
        if self.index and not self.race.racing:
            self._look_back(picture)
        self.bridging.append(len(self.live.id) if self.index else 0)
        if ignore is not None:
            self._drop_ignored(ignore)
        if self.index % LOOK_BACK_FRAMES == 0:
            raced = self.race.raced_within(LOOK_BACK_FRAMES, self.index)
            self.crowd.look(self.live, max(picture.gray.shape) / 1280, raced)
        self._replenish(picture, ignore)
        self._place_anew(self.race.keep(self.index, picture, self.live))
        self.breaks.keep(self.index, picture.gray, self.live)
        if not self.race.racing:
            self.focus.keep(self.index, picture.fine, self.live)
        if len(self.live.id):
            self.contrasts.append(float(np.median(self.live.templates.contrast)))
        if self.index == self.beginning.index:
            self.begun = self.live
        self.last = picture

    def _follow(self, picture: Picture, upcoming: Picture | None) -> None:
        live, fine = self.live, picture.fine
        h, w = fine.shape
        flow = self._flow(picture)
        xy, ok = flow.xy, flow.ok.copy()
        if flow.by_descriptors:
            self.bridged.append(self.index)
        margin = 2.0
        ok &= (xy[:, 0] > margin) & (xy[:, 0] < w - 1 - margin) & (xy[:, 1] > margin) & (xy[:, 1] < h - 1 - margin)
        keep = np.nonzero(ok)[0]
        gone = np.nonzero(~ok)[0]
        good = np.zeros(0, bool)
        step = np.median(xy[keep] - live.xy[keep], axis=0) if len(keep) else np.zeros(2)
        longest = max(float(np.hypot(*b)) for b in streaks(step, self.step_px))
        fast = hurried = longest > FAST_STEP * self.grid.radius
        if hurried:
            self.blur.look(fine, step)
        else:
            self.blur.calm(fine)
        self.step_before_px, self.step_px = self.step_px, step
        slowed = self.race.racing and not fast
        if upcoming is not None and len(keep) and not (fast or slowed):
            self._look_ahead(picture, upcoming, live.id[keep], xy[keep], xy[keep] - live.xy[keep])
        if len(keep):
            moved = live.take(keep)
            if fast or slowed:
                pair = Streaks(self.last.fine, fine, moved.xy, xy[keep], moved.velocity, self.step_before_px)
                self.blur.learn(pair)
                fast &= self.blur.share > 0  # a short shutter leaves the picture sharp however fast it goes
            if fast or slowed:
                found = self.blur.match(pair)
                found = replace(found, affine=found.affine @ moved.affine)
            else:
                found = self._refine(fine, moved.templates, xy[keep], moved.affine)
                if self.focus.doubtful(moved, xy[keep], fine.shape):
                    found = self.focus.improve(found, moved, xy[keep], fine)
            good = self._trustworthy(found, self.blur.share * longest if fast or slowed else 0.0)
            if by_chance(found.xy[good], moved.xy[good], len(live.id)):
                good[:] = False
            velocity = found.xy - moved.xy
            moved = replace(moved, xy=found.xy, velocity=velocity, affine=found.affine)
            sure = np.nonzero(good)[0]
            self.live = moved.take(sure)
            self._record(self.live.id, self.live.xy, found.sigma_px[sure], found.elongation[sure])
            if not self.focus.lost:
                self._renew_references(fine, slowed)
            gone = np.r_[gone, keep[~good]]
        else:
            self.live = Live.empty()
        self.race.now(fast, hurried, self.index, self.last, live)
        self.lost.remember(live.take(gone), self.index, 2 * self.crowd.wanted)
        self.breaks.lost(live.take(gone), fine.shape, self.grid.radius)
        if slowed and self.race.sharp is not None:
            self._rejoin(picture)

    def _flow(self, picture: Picture) -> Flow:
        """Where the live tracks are in the new picture; most were looked for while the last one was refined."""
        live, how = self.live, (self.options.lk_window_px, self.options.max_backward_px)
        coming, self.coming = self.coming, None
        if coming is None:
            return follow(self.last, picture, live.xy, live.velocity, *how)
        done = coming.flow.result()
        _, mine, its = np.intersect1d(live.id, coming.id, assume_unique=True, return_indices=True)
        xy, ok = live.xy + live.velocity, np.zeros(len(live.id), bool)
        # it began where the point was expected: what it moved by counts
        xy[mine], ok[mine] = live.xy[mine] + done.xy[its] - coming.xy[its], done.ok[its]
        fresh = np.setdiff1d(np.arange(len(live.id)), mine)
        if len(fresh):
            guess = live.xy[fresh] + live.velocity[fresh]
            found = lucas_kanade(self.last, picture, live.xy[fresh], guess, *how)
            xy[fresh], ok[fresh] = found.xy, found.ok
        return Flow(xy, ok, done.by_descriptors)

    def _look_ahead(
        self, picture: Picture, upcoming: Picture | None, ids: np.ndarray, xy: np.ndarray, velocity: np.ndarray
    ) -> None:
        """Begin to look for points in the picture after this one: their places here are known well enough for that."""
        if upcoming is not None and len(ids):
            how = (self.options.lk_window_px, self.options.max_backward_px)
            self.coming = _Coming(ids, xy, self.thread.submit(follow, picture, upcoming, xy, velocity, *how))

    def _refine(
        self,
        fine: np.ndarray,
        templates: Templates,
        xy: np.ndarray,
        affine: np.ndarray,
        slack: float = 1.0,
        grid=None,
        promising_ncc: float = -1.0,
    ):
        def part(index: slice):
            return refine(
                fine,
                templates.take(index),
                xy[index],
                affine[index],
                grid or self.grid,
                iterations=self.options.iterations,
                noise_levels=self.noise,
                affine_slack=slack,
                promising_ncc=promising_ncc,
            )

        n = len(xy)
        if n <= PATCHES_AT_ONCE:
            return part(slice(0, n))
        # in one thread: the arrays are small, threads would mostly wait for Python's lock
        parts = [part(slice(k, k + PATCHES_AT_ONCE)) for k in range(0, n, PATCHES_AT_ONCE)]
        return Refined(*(np.concatenate([getattr(p, field.name) for p in parts]) for field in fields(Refined)))

    def _trustworthy(self, found: Refined, streak_px: float = 0.0) -> np.ndarray:
        """Which of the found places to believe; in streaks of this length as exactly as streaks can be located."""
        slack = 1 + streak_px / SHARP_ENOUGH_PX
        det = found.affine[:, 0, 0] * found.affine[:, 1, 1] - found.affine[:, 0, 1] * found.affine[:, 1, 0]
        near = (found.step_px < 3.0 * slack) & (found.sigma_px < slack)
        return (found.ncc > self.options.min_ncc) & near & (det > 0.3) & (det < 3.0)

    def _renew_references(self, fine: np.ndarray, after_race: bool) -> None:
        """A patch seen from too different a place gets a new first appearance (at the price of a small random step).

        So does one whose first appearance was cut out of streaks, once the picture is sharp again.
        """
        live = self.live
        if not len(live.id):
            return
        change = np.abs(live.affine - np.eye(2)).max(axis=(1, 2))
        old = np.nonzero((change > 0.22) | (after_race & (live.ref_frame >= self.race.began)))[0]
        if not len(old):
            return
        fresh = make_templates(fine, live.xy[old], self.grid)
        for name in ("values", "jacobian", "contrast", "normal"):
            getattr(live.templates, name)[old] = getattr(fresh, name)
        live.affine[old] = np.eye(2)
        live.ref_frame[old] = self.index
        live.ref_xy[old] = live.xy[old]

    # lost and found -------------------------------------------------------------------------------------------------
    def _find_again(self, fine: np.ndarray) -> None:
        """Look for lost tracks where the neighbours of their first appearance have gone."""
        if len(self.live.id) < 12:
            return
        expected = self.lost.by_neighbours(self.live, fine.shape, self.grid.radius / 2)
        self._look_at(fine, self.lost.tracks, expected, slack=2.0, promising_ncc=PROMISING_NCC, most_step_px=2.0)

    def _rejoin(self, picture: Picture) -> None:
        """After a whip: what is still in the picture from before it is matched directly, not through the streaks."""
        (before, known), self.race.sharp = self.race.sharp, None
        expected = self.lost.behind_whip(known, before.gray, picture.gray, self.options.lk_window_px)
        self._look_at(picture.fine, self.lost.tracks, expected, slack=3.0)

    def _look_back(self, picture: Picture) -> None:
        """Where all that was followed has vanished: whether the same view is back."""
        before = self.breaks.look_back(self.live)
        if before is None:
            return
        known = before.live.take(np.nonzero(~np.isin(before.live.id, self.live.id))[0])
        expected = seen_again(known, like(before.gray, picture.gray), picture.gray, self.options.lk_window_px)
        self._look_at(picture.fine, known, expected, slack=3.0, fewest=FEWEST, older_win=True)

    def _look_at(
        self,
        fine: np.ndarray,
        lost: Live,
        expected: Expected,
        slack: float,
        promising_ncc: float = -1.0,
        most_step_px: float = np.inf,
        fewest: int = 1,
        older_win: bool = False,
    ) -> None:
        """Lost tracks that are surely where they are expected live on, if there are enough of them. One that lives there already
        is in their way or, where older ones win, goes."""
        if not len(expected.rows):
            return
        templates = lost.templates.take(expected.rows)
        found = self._refine(fine, templates, expected.xy, expected.warp, slack=slack, promising_ncc=promising_ncc)
        sure = self._trustworthy(found) & (found.ncc > max(0.9, self.options.min_ncc)) & (found.step_px < most_step_px)
        hit = np.nonzero(sure)[0]
        if len(hit) and len(self.live.id):
            near = np.hypot(*(found.xy[hit][:, None] - self.live.xy[None]).transpose(2, 0, 1)) <= SAME_SPOT_PX
            if not older_win:
                hit = hit[~near.any(axis=1)]
            elif len(hit) >= fewest:
                self.live = self.live.take(np.nonzero(~near.any(axis=0))[0])
        if len(hit) < fewest:
            return
        back = replace(
            lost.take(expected.rows[hit]), xy=found.xy[hit], velocity=np.zeros((len(hit), 2)), affine=found.affine[hit]
        )
        self.lost.forget(back.id)
        self._record(back.id, back.xy, found.sigma_px[hit], found.elongation[hit])
        self.live = self.live.join(back)

    def _place_anew(self, races: list[Race], each: Callable = map) -> None:
        """In streaks, sharp pictures know better than the frame before."""
        if not races or not self.blur.share:
            return
        there = placed(races, self.blur, self.options.min_ncc, each)
        self.records = [r for r in self.records if r[1] not in there]
        for index, found in there.items():
            self._record(found.id, found.xy, found.sigma_px, found.elongation, index)

    # new ones -------------------------------------------------------------------------------------------------------
    def _drop_ignored(self, ignore: np.ndarray) -> None:
        xy = np.rint(self.live.xy).astype(int)
        inside = (
            ignore[np.clip(xy[:, 1], 0, ignore.shape[0] - 1), np.clip(xy[:, 0], 0, ignore.shape[1] - 1)]
            if len(xy)
            else np.zeros(0, bool)
        )
        if inside.any():
            dropped = self.live.id[inside]
            self._forget(dropped)
            self.live = self.live.take(np.nonzero(~inside)[0])

    def _forget(self, ids: np.ndarray) -> None:
        """Take this frame's observations of the given tracks back."""
        for k in range(len(self.records) - 1, -1, -1):
            rid, index, *what = self.records[k]
            if index != self.index:
                break
            keep = ~np.isin(rid, ids)
            self.records[k] = (rid[keep], index, *(w[keep] for w in what))

    def _replenish(self, picture: Picture, ignore: np.ndarray | None) -> None:
        image, gray, fine = picture.image, picture.gray, picture.fine
        # what begins in streaks or out of focus is worth little
        wanted = self.crowd.wanted // 2 if self.race.racing or self.focus.lost else self.crowd.wanted
        h, w = gray.shape
        n = len(self.live.id)
        since = self.index - self.last_detection
        cells = empty_cells(self.live.xy, w, h)
        if not (n < 0.35 * wanted or (n < 0.85 * wanted and since >= 5) or (cells > 0.12 and since >= 5) or since >= 15):
            return
        self.last_detection = self.index
        spacing = 0.55 * np.sqrt(w * h / wanted)
        corners = spread_corners(
            gray,
            max(wanted - n, int(0.1 * wanted)),
            self.live.xy,
            ignore,
            spacing_px=max(4.0, spacing),
            margin_px=self.grid.radius + 1,
            noise_levels=self.noise,
        )
        if not len(corners):
            return
        ids = np.arange(self.next_id, self.next_id + len(corners))
        self.next_id += len(corners)
        templates = make_templates(fine, corners, self.grid)
        # not the corner's place but the point close to it that the patch tells best of
        to_best = best_known(covariance(templates, self.grid, self.noise), self.grid.radius / 2)
        edge = self.grid.radius + 1
        xy = np.clip(corners + to_best, edge, (w - 1 - edge, h - 1 - edge))
        templates = make_templates(fine, xy, self.grid)
        born = Live.born(ids, xy, self.index, templates)
        streak = self.blur.share * float(np.hypot(*self.step_px)) if self.race.racing else 0.0
        sigma = np.full(len(xy), np.hypot(0.05, STREAK_ERROR * streak))
        self._record(ids, xy, sigma, elongation_of(covariance(templates, self.grid, self.noise)[:, :2, :2]))
        xi, yi = ((xy + 0.5) * self.scale).astype(int).T
        blurred = cv2.blur(image, (3, 3)) if image.ndim == 3 else cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)
        self.colours.append(blurred[yi, xi][:, ::-1])
        self.live = self.live.join(born)

    def _record(
        self, ids: np.ndarray, xy: np.ndarray, sigma: np.ndarray, elongation: np.ndarray, index: int | None = None
    ) -> None:
        places = (xy + 0.5) * self.scale - 0.5
        index = self.index if index is None else index
        self.records.append((ids, index, places, (sigma * self.scale.max()).astype(np.float32), elongation.astype(np.float32)))

    @property
    def places(self) -> np.ndarray:
        """(n, 2) where the tracks of the moment are in the clip's picture, OpenCV px."""
        return (self.live.xy + 0.5) * self.scale - 0.5

    # the end --------------------------------------------------------------------------------------------------------
    def observations(self) -> tuple[np.ndarray, ...]:
        """All that was recorded: ids (M,), frame indices (M,), xy (M, 2) OpenCV px, sigma_px (M,), elongation (M, 2)."""
        none = np.zeros((0, 2))
        records = self.records or [(np.zeros(0, int), 0, none, np.zeros(0, np.float32), none.astype(np.float32))]
        ids, index, *what = zip(*records, strict=True)
        index = np.repeat(index, [len(i) for i in ids])
        return np.concatenate(ids), index, *(np.concatenate(w) for w in what)

    def finish(self) -> None:
        """Work off what is left once all pictures were seen."""
        if races := self.race.at_the_end():
            threads = cv2.getNumThreads()
            cv2.setNumThreads(1)  # its threads would be missing in another process
            self._place_anew(races, side_by_side)
            cv2.setNumThreads(threads)
        self.thread.shutdown()

    def result(self, frame_numbers: np.ndarray, min_length: int = 3) -> TrackedClip:
        """All tracks of at least min_length frames, in COLMAP's pixel convention."""
        self.finish()
        ids, index, *what = self.observations()
        keep = np.bincount(ids, minlength=self.next_id)[ids] >= min_length
        rows = np.lexsort((index, ids))
        rows = rows[keep[rows]]
        xy, sigma, elongation = (w[rows] for w in what)
        kept, track = np.unique(ids[rows], return_inverse=True)
        colour = np.concatenate(self.colours)[kept] if self.colours else np.zeros((0, 3), np.uint8)
        index = index[rows].astype(np.int32)
        tracks = Tracks(np.asarray(frame_numbers), track.astype(np.int32), index, xy + 0.5, sigma, len(kept), elongation)
        contrast = float(np.median(self.contrasts)) if self.contrasts else 0.0
        return TrackedClip(
            tracks, colour, self.noise, contrast, np.array(self.bridging), tuple(self.bridged), np.array(self.focus.details)
        )
