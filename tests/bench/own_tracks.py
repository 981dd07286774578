"""Tracks that no solver used, and how well a solve's cameras explain them: a measure for footage without ground truth.

Corners of some frames are followed both ways by pyramidal Lucas-Kanade; every position is then matched against the corner's first
appearance, so that errors do not add up along the way, and must lead back to it. Computed once for a clip, the same for all
solvers. Each track is triangulated again, robustly, with the solved cameras; what is left holds the tracks' own error (some
0.1 to 0.3 px at 1920 wide) beside the cameras', so that solves can be compared by it, but a small slip does not show.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from tests.bench.metrics import REFERENCE_WIDTH_PX, Cameras, straight_rays, triangulate

VERSION = 2  # of the tracks: those of another version are made anew
CORNERS = 160  # per frame that corners are looked for in
WINDOW = (21, 21)
ASTRAY_OVER_WIDTH = 1.2e-3  # how far the match against the first appearance may lie from the followed place
BACK_OVER_WIDTH = 2.5e-4  # how near the way back must come to where it began
MIN_FRAMES = 8
FITS_PX = 1.0  # of the clip: a small picture's tracks are no finer than its pixels
NEEDED_SHARE = 0.8  # of a track's observations within FITS_PX


@dataclass(frozen=True)
class OwnTracks:
    """Observations sorted by track: track (M,), frame (M,) counted from 0, xy (M, 2) px, first pixel's centre at 0.5."""

    width: int
    height: int
    track: np.ndarray
    frame: np.ndarray
    xy: np.ndarray

    @property
    def count(self) -> int:
        return len(np.unique(self.track))

    def spans(self) -> Iterator[tuple[int, int]]:
        """First row of each track, and the row after its last."""
        return itertools.pairwise(np.r_[np.flatnonzero(np.r_[True, np.diff(self.track) != 0]), len(self.track)])


def tracks_of(movie: Path, cache: Path) -> OwnTracks:
    """A movie's tracks, from the cache where they are there."""
    digest = hashlib.sha256(movie.read_bytes() + str(VERSION).encode()).hexdigest()[:16]
    kept = cache / f"{movie.stem}-{digest}.npz"
    if not kept.exists():
        found = follow(_grey_frames(movie))
        cache.mkdir(parents=True, exist_ok=True)
        part = kept.with_suffix(".part.npz")
        np.savez_compressed(part, size=(found.width, found.height), track=found.track, frame=found.frame, xy=found.xy)
        part.replace(kept)
    with np.load(kept) as data:
        return OwnTracks(*map(int, data["size"]), data["track"], data["frame"], data["xy"])


def _grey_frames(movie: Path) -> list[np.ndarray]:
    capture = cv2.VideoCapture(str(movie))
    frames = []
    while (got := capture.read())[0]:
        frames.append(cv2.cvtColor(got[1], cv2.COLOR_BGR2GRAY))
    return frames


def follow(frames: list[np.ndarray]) -> OwnTracks:
    """Corners of every n-th frame, followed both ways."""
    height, width = frames[0].shape
    seeds = np.linspace(0, len(frames) - 1, max(5, len(frames) // 30) + 2).round().astype(int)[1:-1]
    track, frame, xy = [], [], []
    for seed in np.unique(seeds):
        places = _from_seed(frames, int(seed), width)
        for line in places:
            if len(line) >= MIN_FRAMES:
                at = sorted(line)
                track.append(np.full(len(at), len(track)))
                frame.append(np.array(at))
                xy.append(np.array([line[f] for f in at]) + 0.5)
    if not track:
        return OwnTracks(width, height, np.zeros(0, int), np.zeros(0, int), np.zeros((0, 2)))
    return OwnTracks(width, height, np.concatenate(track), np.concatenate(frame), np.concatenate(xy))


def _from_seed(frames: list[np.ndarray], seed: int, width: int) -> list[dict[int, np.ndarray]]:
    """For each corner of one frame, its places {frame: (2,) OpenCV px}."""
    corner = cv2.goodFeaturesToTrack(frames[seed], CORNERS, 0.005, width / 32, blockSize=7)
    if corner is None:
        return []
    first = corner.reshape(-1, 2).astype(np.float32)
    first = cv2.cornerSubPix(frames[seed], first, (5, 5), (-1, -1), (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_COUNT, 20, 0.01))
    lines = [{seed: p.astype(float)} for p in first]
    for step in (1, -1):
        alive, place = np.arange(len(first)), first.copy()
        now = seed + step
        while 0 <= now < len(frames) and len(alive):
            there, good = _match(frames, seed, now - step, now, first[alive], place, width)
            alive, place = alive[good], there[good]
            for i, p in zip(alive, place):
                lines[i][now] = p.astype(float)
            now += step
    return lines


def _match(frames: list[np.ndarray], seed: int, before: int, now: int, first: np.ndarray, place: np.ndarray, width: int):
    """Places (n, 2) in frame `now` and whether each is sure."""
    fine = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_COUNT, 30, 0.003)
    guess, ok, _ = cv2.calcOpticalFlowPyrLK(frames[before], frames[now], place, None, winSize=WINDOW, maxLevel=4)
    use = {"winSize": WINDOW, "maxLevel": 0, "criteria": fine, "flags": cv2.OPTFLOW_USE_INITIAL_FLOW}
    there, ok_there, _ = cv2.calcOpticalFlowPyrLK(frames[seed], frames[now], first, guess.copy(), **use)
    back, ok_back, _ = cv2.calcOpticalFlowPyrLK(frames[now], frames[seed], there, first.copy(), **use)
    good = (ok.ravel() > 0) & (ok_there.ravel() > 0) & (ok_back.ravel() > 0)
    good &= np.linalg.norm(there - guess, axis=1) < max(ASTRAY_OVER_WIDTH * width, 0.8)
    good &= np.linalg.norm(back - first, axis=1) < max(BACK_OVER_WIDTH * width, 0.15)
    height, width = frames[now].shape
    good &= (there > 2).all(1) & (there[:, 0] < width - 3) & (there[:, 1] < height - 3)
    return there, good


def score(tracks: OwnTracks, estimate: Cameras) -> dict:
    """own_tracks: how many; own_fit_pct: share of them that the cameras explain to a px of the clip; own_rms_px: RMS of what is
    left of those, own_median_px: over all observations of all tracks, both in px at 1920 wide.

    Where the solve has a rolling shutter's row time, a track is taken to where it was when the middle row was read;
    own_fit_still_pct is then the share explained without, as a renderer without a rolling shutter shows it. A frame without a
    camera explains nothing.
    """
    if not tracks.count:
        return {}
    if estimate.row_time:
        still = score(tracks, replace(estimate, row_time=0.0))
        tracks = at_middle_row(tracks, estimate.row_time)
        return score(tracks, replace(estimate, row_time=0.0)) | {"own_fit_still_pct": still["own_fit_pct"]}
    estimate = estimate.scaled_to(tracks.width)
    unit = REFERENCE_WIDTH_PX / tracks.width
    fits, errors, everything = 0, [], []
    for a, b in tracks.spans():
        frames = tracks.frame[a:b]
        have = np.array([int(f) in estimate.c2w for f in frames])
        error = np.full(b - a, np.inf)
        if have.sum() >= 3:
            error[have] = unit * _errors(estimate, frames[have], tracks.xy[a:b][have])
        within = error <= FITS_PX * unit
        everything.append(error)
        if within.mean() >= NEEDED_SHARE:
            fits += 1
            errors.append(error[within])
    median = float(np.median(np.concatenate(everything)))
    out = {"own_tracks": tracks.count, "own_fit_pct": 100.0 * fits / tracks.count}
    if fits:
        out["own_rms_px"] = float(np.sqrt(np.mean(np.concatenate(errors) ** 2)))
    return out | ({"own_median_px": median} if np.isfinite(median) else {})


def at_middle_row(tracks: OwnTracks, row_time: float) -> OwnTracks:
    """The tracks where they were when the middle row was read; row_time: from the first row to the last, in frames."""
    xy = tracks.xy.astype(float)
    for a, b in tracks.spans():
        read_at = tracks.frame[a:b] + row_time * (tracks.xy[a:b, 1] / tracks.height - 0.5)
        xy[a:b] = _between(read_at, xy[a:b], tracks.frame[a:b])
    return replace(tracks, xy=xy)


def _between(at: np.ndarray, values: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """(n, C): of the values (n, C), known `at` (n,), the polynomial through the five nearest at the `wanted` (n,) beside each."""
    nodes = min(5, len(at))
    first = np.clip(np.arange(len(at)) - nodes // 2, 0, len(at) - nodes)
    near = first[:, None] + np.arange(nodes)
    apart = at[near][:, :, None] - at[near][:, None]
    apart[:, np.arange(nodes), np.arange(nodes)] = 1.0
    away = np.repeat((wanted[:, None] - at[near])[:, None], nodes, axis=1)
    away[:, np.arange(nodes), np.arange(nodes)] = 1.0
    return np.einsum("nk,nkc->nc", away.prod(2) / apart.prod(2), values[near])


def _errors(estimate: Cameras, frames: np.ndarray, xy: np.ndarray) -> np.ndarray:
    """(n,) px between the observations and a track's best point, found without those that are far off."""
    w2c = np.linalg.inv(np.array([estimate.c2w[int(f)] for f in frames]))[:, :3]
    k = np.array([estimate.intrinsics[int(f)] for f in frames])
    ray = straight_rays((xy - k[:, 2:]) / k[:, :2], estimate.k1, estimate.k2)
    point, residual = triangulate(w2c, ray, k[:, :2])
    for _ in range(2):
        size = np.linalg.norm(residual, axis=1)
        near = size <= max(2.5 * float(np.median(size)), 1e-3)
        if near.all() or near.sum() < max(3, 0.6 * len(frames)):
            break
        point, _ = triangulate(w2c[near], ray[near], k[near, :2])
        p = w2c @ point
        depth = np.where(np.abs(p[:, 2]) < 1e-12, 1e-12, p[:, 2])
        residual = (p[:, :2] / depth[:, None] - ray) * k[:, :2]
    return np.linalg.norm(residual, axis=1)
