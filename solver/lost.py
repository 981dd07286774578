"""Tracks that were lost, and where they should be now."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from .gap import bridge, carry, carry_warp
from .live import Live

LONG_ENOUGH_FRAMES = 3  # a track must have lived, to be worth looking for
NEIGHBOURS = 8  # tracks of the same first frame that tell where a lost one went
FEWEST = 8  # lost tracks that are worth a search behind a whip
MOST_WARP, LEAST_AREA = 0.8, 0.2  # a patch that changed by more than this is not looked for


@dataclass(frozen=True)
class Expected:
    """Rows (n,) of lost tracks, where each should be (n, 2) px, and what its patch should have turned into (n, 2, 2)."""

    rows: np.ndarray
    xy: np.ndarray
    warp: np.ndarray

    def take(self, index: np.ndarray) -> Expected:
        """Those of the given places in this list."""
        return Expected(self.rows[index], self.xy[index], self.warp[index])

    @staticmethod
    def none() -> Expected:
        """Nothing is expected anywhere."""
        return Expected(np.zeros(0, int), np.zeros((0, 2)), np.zeros((0, 2, 2)))


class Lost:
    """The tracks that were lost within the last `remember_frames` frames."""

    def __init__(self, remember_frames: int) -> None:
        self.remember_frames = remember_frames
        self.tracks = Live.empty()
        self.since = np.zeros(0, int)

    def remember(self, gone: Live, index: int, most: int) -> None:
        """Tracks that are lost from frame `index` on; the oldest are forgotten, as are those beyond `most`."""
        long_enough = np.nonzero(index - gone.ref_frame >= LONG_ENOUGH_FRAMES)[0]
        if len(long_enough):
            self.tracks = self.tracks.join(gone.take(long_enough))
            self.since = np.r_[self.since, np.full(len(long_enough), index)]
        keep = np.nonzero(index - self.since <= self.remember_frames)[0][-most:]
        if len(keep) < len(self.since):
            self._keep(keep)

    def forget(self, ids: np.ndarray) -> None:
        """These are lost no longer."""
        self._keep(np.nonzero(~np.isin(self.tracks.id, ids))[0])

    def _keep(self, rows: np.ndarray) -> None:
        self.tracks, self.since = self.tracks.take(rows), self.since[rows]

    def by_neighbours(self, live: Live, shape: tuple[int, int], margin_px: float) -> Expected:
        """Lost tracks that should be in the picture (H, W), by where the neighbours of their first appearance have gone."""
        lost = self.tracks
        if not len(lost.id):
            return Expected.none()
        xy = np.full((len(lost.id), 2), np.nan)
        warp = np.tile(np.eye(2), (len(lost.id), 1, 1))
        for ref in np.unique(lost.ref_frame):
            rows = np.nonzero(lost.ref_frame == ref)[0]
            same = np.nonzero(live.ref_frame == ref)[0]
            if len(same) >= NEIGHBOURS:
                xy[rows], warp[rows] = _carried(lost.ref_xy[rows], live.ref_xy[same], live.xy[same])
        h, w = shape
        inside = (xy > margin_px).all(axis=1) & (xy[:, 0] < w - 1 - margin_px) & (xy[:, 1] < h - 1 - margin_px)
        return Expected(np.arange(len(lost.id)), xy, warp).take(np.nonzero(inside)[0])

    def behind_whip(self, known: Live, before: np.ndarray, now: np.ndarray, window_px: int) -> Expected:
        """Lost tracks that a sharp grey picture from before a whip knew (as `known`), in the first sharp one after it."""
        same, rows = np.intersect1d(known.id, self.tracks.id, return_indices=True)[1:]
        expected = seen_again(known.take(same), before, now, window_px)
        return Expected(rows[expected.rows], expected.xy, expected.warp)


def seen_again(known: Live, before: np.ndarray, now: np.ndarray, window_px: int) -> Expected:
    """Tracks of one grey picture (H, W) uint8, as `known` in it, where they should be in another one of much the same view."""
    homography = bridge(before, now) if len(known.id) >= FEWEST else None
    if homography is None:
        return Expected.none()
    h, w = now.shape
    there = carry(homography, known.xy)
    warp = carry_warp(homography, known.xy)
    inside = (there > 2).all(axis=1) & (there[:, 0] < w - 3) & (there[:, 1] < h - 3)
    inside &= (np.abs(warp - np.eye(2)).max(axis=(1, 2)) < MOST_WARP) & (np.linalg.det(warp) > LEAST_AREA)
    there, expected = there[inside], Expected(np.arange(len(known.id)), there, warp @ known.affine).take(inside)
    if len(there) < FEWEST:
        return Expected.none()
    # parallax moves points off the homography: look around in the picture as it was, brought into line with this one
    bent = cv2.warpPerspective(before, homography, (w, h), flags=cv2.INTER_LINEAR)
    near, ok, _ = cv2.calcOpticalFlowPyrLK(
        bent, now, there, there.copy(), winSize=(window_px, window_px), maxLevel=2, flags=cv2.OPTFLOW_USE_INITIAL_FLOW
    )
    return Expected(expected.rows, near.astype(np.float64), expected.warp).take(np.nonzero(ok.ravel())[0])


def _carried(xy: np.ndarray, source: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Points (n, 2) and warps (n, 2, 2) by an affine fit to how the nearest of source (m, 2) went to target (m, 2), at
    least NEIGHBOURS of them."""
    distance = np.hypot(*(xy[:, None] - source[None]).transpose(2, 0, 1))
    near = np.argpartition(distance, NEIGHBOURS - 1, axis=1)[:, :NEIGHBOURS]
    offset, shift = source[near] - xy[:, None], (target - source)[near]
    reach = np.take_along_axis(distance, near, axis=1).max(axis=1)[:, None, None] + 1
    weight = np.exp(-2 * (offset**2).sum(axis=2, keepdims=True) / reach**2)
    basis = np.concatenate([offset, np.ones((*offset.shape[:2], 1))], axis=2)
    # a light pull towards pure translation keeps collinear neighbours harmless
    normal = basis.transpose(0, 2, 1) @ (basis * weight) + reach**2 * np.diag([0.1, 0.1, 0.0]) + np.diag([0, 0, 1e-6])
    fit = np.linalg.solve(normal, basis.transpose(0, 2, 1) @ (shift * weight))
    return xy + fit[:, 2], np.eye(2) + fit[:, :2].transpose(0, 2, 1)
