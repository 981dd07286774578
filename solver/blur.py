"""Following points through motion blur.

A streak's ends lie half its length before and behind the point that drew it, and its length changes from frame to frame as a
pan speeds up or slows down: features of two blurred frames are not at the same place of the scene, by pixels. Two frames
become comparable once each is blurred as the other one was; a straight, even blur commutes, so then both carry both.
(The idea is that of Jin, Favaro, Cipolla, "Visual Tracking in the Presence of Motion Blur", CVPR 2005.)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from functools import cached_property

import cv2
import numpy as np

from .patches import PatchGrid, Refined, make_templates

SHUTTERS = (0.0, 0.25, 0.5, 0.75, 1.0)  # exposure time over frame time; film cameras are mostly near one half
# Points in a streak are known to this share of its length: its parts are seen from different places.
STREAK_ERROR = 0.015
MOST_PARTS = 4  # of the picture that are asked for it in a pair of frames
ROOM_PX = 16.0  # that a patch may move by
ENOUGH_LOOKS = 6  # pairs of frames that tell the shutter: it stays the same over a shot
TELLING_CHANGE_PX = 1.0  # of the motion per frame, from which two frames tell the shutter


def line_blur(image: np.ndarray, length_px: np.ndarray) -> np.ndarray:
    """The image (H, W) as if everything had moved by the vector length_px (2,), evenly, while the shutter was open."""
    reach = float(np.hypot(*length_px))
    return image if reach < 0.3 else _moved(image, _moments(reach)[:, None] * length_px)


def path_blur(image: np.ndarray, velocity_px: np.ndarray, acceleration_px: np.ndarray, share: float) -> np.ndarray:
    """The same for a motion that gathers or loses speed, of which the image (H, W) shows the middle: velocity_px (2,) per frame
    time, acceleration_px (2,) per frame time squared, the shutter open for this share of it."""
    reach = share * float(np.hypot(*velocity_px))
    if reach < 0.3:
        return image
    s = share * _moments(reach)[:, None]
    return _moved(image, s * velocity_px + 0.5 * s**2 * acceleration_px)


def _moments(reach_px: float) -> np.ndarray:
    """Moments of an exposure, from -0.5 to 0.5."""
    count = max(3, int(np.ceil(4 * reach_px)))
    return (np.arange(count) + 0.5) / count - 0.5


def _moved(image: np.ndarray, shifts_px: np.ndarray) -> np.ndarray:
    """The mean of the image shifted by each of (n, 2). Light is what adds up, and levels are about its root."""
    half = np.ceil(np.abs(shifts_px).max(axis=0)).astype(int) + 1
    kernel = np.zeros((2 * half[1] + 1, 2 * half[0] + 1), np.float32)
    x, y = (half - shifts_px).T
    xi, yi = np.floor(x).astype(int), np.floor(y).astype(int)
    fx, fy = x - xi, y - yi
    for dx, dy, w in ((0, 0, (1 - fx) * (1 - fy)), (1, 0, fx * (1 - fy)), (0, 1, (1 - fx) * fy), (1, 1, fx * fy)):
        np.add.at(kernel, (yi + dy, xi + dx), w)
    light = cv2.filter2D(image * image, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REPLICATE)
    return np.sqrt(np.maximum(light, 0))


def streaks(step_px: np.ndarray, step_before_px: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Motion per frame time (px) at the frame before and at this one, from the last two steps between frames (..., 2)."""
    return (step_px + step_before_px) / 2, step_px + (step_px - step_before_px) / 2


def picture_parts(xy: np.ndarray, shape: tuple[int, int]) -> list[np.ndarray]:
    """Rows of the points (n, 2) in each part of a picture (H, W) that has any: streaks in one are about alike."""
    row = np.clip(xy[:, 1] / shape[0] * 3, 0, 2).astype(int)
    cell = row * 6 + np.clip(xy[:, 0] / shape[1] * 6, 0, 5).astype(int)
    return [np.nonzero(cell == c)[0] for c in np.unique(cell)]


@dataclass(frozen=True)
class Streaks:
    """Two neighbouring blurred frames (smoothed float32), the same points (n, 2) in both as far as known, and their velocity
    (n, 2) px per frame into the first one (0: born there; step_before_px (2,) stands in)."""

    before: np.ndarray
    now: np.ndarray
    xy_before: np.ndarray
    xy_now: np.ndarray
    velocity: np.ndarray
    step_before_px: np.ndarray

    @cached_property
    def parts(self) -> list[_Part]:
        """Streaks differ over the picture: its parts, with how everything in them moved."""
        known = np.abs(self.velocity).max(axis=1) > 0
        step_before = np.where(known[:, None], self.velocity, self.step_before_px)
        before_px, now_px = streaks(self.xy_now - self.xy_before, step_before)
        parts = []
        for rows in picture_parts(self.xy_before, self.before.shape):
            near = rows if known[rows].sum() >= 4 else np.arange(len(known))
            parts.append(_Part(rows, np.median(before_px[near], axis=0), np.median(now_px[near], axis=0)))
        return parts


@dataclass(frozen=True)
class _Part:
    """Points (rows) of one part of the picture and its motion per frame time (2,) at the frame before and at this one."""

    rows: np.ndarray
    before_px: np.ndarray
    now_px: np.ndarray

    @property
    def change_px(self) -> float:
        return float(np.hypot(*(self.now_px - self.before_px)))


class StreakMatcher:
    """Matches points of blurred frames, and learns meanwhile what share of a frame's time the shutter was open.

    refine: patches.refine with the tracker's settings: (image, templates, xy, affine, grid=) -> Refined.
    """

    def __init__(self, radius_px: int, refine: Callable[..., Refined]) -> None:
        self.radius_px, self.refine = radius_px, refine
        self.score = np.zeros(len(SHUTTERS))
        self.looks = 0

    @property
    def share(self) -> float:
        """The best guess so far; 0 as long as nothing was blurred enough to tell."""
        return SHUTTERS[int(np.argmax(self.score))]

    def learn(self, pair: Streaks) -> None:
        """Where streaks get longer or shorter, only the true shutter makes two frames alike."""
        telling = sorted((p for p in pair.parts if p.change_px > TELLING_CHANGE_PX), key=lambda p: -p.change_px)[:MOST_PARTS]
        if not telling or self.looks >= ENOUGH_LOOKS:
            return
        self.looks += 1
        grid = PatchGrid(self.radius_px)
        few = [replace(p, rows=p.rows[:16]) for p in telling]
        alike = [np.mean([np.median(self._match(pair, p, share, grid).ncc) for p in few]) for share in SHUTTERS]
        self.score += max(p.change_px for p in telling) * (np.array(alike) - max(alike))

    def match(self, pair: Streaks) -> Refined:
        """From the frame before, not from the first appearance: what streaks look like changes too fast."""
        parts = pair.parts
        longest = self.share * max(np.hypot(*p.now_px) for p in parts)
        found = [self._match(pair, p, self.share, self._grid(longest)) for p in parts]
        return self._joined(found, [p.rows for p in parts], [self.share * np.hypot(*p.now_px) for p in parts])

    def match_sharp(
        self, sharp: np.ndarray, now: np.ndarray, xy: np.ndarray, velocity: np.ndarray, acceleration: np.ndarray
    ) -> Refined:
        """Points xy (n, 2) of a sharp picture that was brought into line with a blurred one (both smoothed float32, (H, W)), in
        that one; they move by velocity (n, 2) px per frame time there, which changes by acceleration (n, 2)."""
        parts = picture_parts(xy, now.shape)
        speed = [np.median(velocity[rows], axis=0) for rows in parts]
        lengths = [self.share * float(np.hypot(*v)) for v in speed]
        found = []
        for rows, v, length in zip(parts, speed, lengths, strict=True):
            grid = self._grid(max(lengths))
            margin = grid.radius + 0.5 * length + ROOM_PX
            old, at = _crop(sharp, xy[rows], margin)
            new, _ = _crop(now, xy[rows], margin)
            blurred = path_blur(old, v, np.median(acceleration[rows], axis=0), self.share)
            still = np.tile(np.eye(2), (len(rows), 1, 1))
            moved = self.refine(new, make_templates(blurred, xy[rows] - at, grid), xy[rows] - at, still, grid=grid)
            found.append(replace(moved, xy=moved.xy + at))
        return self._joined(found, parts, lengths)

    def _grid(self, streak_px: float) -> PatchGrid:
        """Streaks leave little to see along the motion: look at more of the picture, as much as they are long."""
        return PatchGrid(int(np.clip(round(0.6 * streak_px), self.radius_px, 2.5 * self.radius_px)))

    @staticmethod
    def _joined(found: list[Refined], rows: list[np.ndarray], streak_px: list[float]) -> Refined:
        """What was found in the parts of the picture, in the points' order, as exactly as streaks so long can be located."""
        order = np.argsort(np.concatenate(rows))
        joined = Refined(*(np.concatenate([getattr(f, field.name) for f in found])[order] for field in fields(Refined)))
        streak = np.concatenate([np.full(len(r), length) for r, length in zip(rows, streak_px, strict=True)])[order]
        return replace(joined, sigma_px=np.hypot(joined.sigma_px, STREAK_ERROR * streak))

    def _match(self, pair: Streaks, part: _Part, share: float, grid: PatchGrid) -> Refined:
        """A part of the frame before, blurred as this one is, against this one, blurred as that one was."""
        rows, reach = part.rows, max(np.hypot(*part.before_px), np.hypot(*part.now_px))
        margin = grid.radius + 0.5 * reach + ROOM_PX
        old, at_old = _crop(pair.before, pair.xy_before[rows], margin)
        new, at_new = _crop(pair.now, pair.xy_now[rows], margin)
        templates = make_templates(line_blur(old, share * part.now_px), pair.xy_before[rows] - at_old, grid)
        still = np.tile(np.eye(2), (len(rows), 1, 1))
        found = self.refine(line_blur(new, share * part.before_px), templates, pair.xy_now[rows] - at_new, still, grid=grid)
        return replace(found, xy=found.xy + at_new)


def _crop(image: np.ndarray, xy: np.ndarray, margin_px: float) -> tuple[np.ndarray, np.ndarray]:
    """The part of an image around the given points, and where its first pixel lies."""
    h, w = image.shape
    x0, y0 = np.clip(np.floor(xy.min(axis=0) - margin_px).astype(int), 0, (w - 2, h - 2))
    x1, y1 = np.clip(np.ceil(xy.max(axis=0) + margin_px).astype(int) + 1, (x0 + 2, y0 + 2), (w, h))
    return image[y0:y1, x0:x1], np.array([x0, y0], float)
