"""Following points through motion blur.

A streak's ends lie half its length before and behind the point that drew it, and its length changes from frame to frame as a
pan speeds up or slows down: features of two blurred frames are not at the same place of the scene, by pixels. Two frames
become comparable once each is blurred as the other one was; a straight, even blur commutes, so then both carry both.
(The idea is that of Jin, Favaro, Cipolla, "Visual Tracking in the Presence of Motion Blur", CVPR 2005.)
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields, replace
from functools import cached_property

import cv2
import numpy as np

from .patches import PatchGrid, Refined, make_templates

SHUTTERS = (0.0, 0.25, 0.5, 0.75, 1.0)  # exposure time over frame time; film cameras are mostly near one half
# Points in a streak are known to this share of its length: its parts are seen from different places.
STREAK_ERROR = 0.015
MOST_PARTS = 8  # of the picture that are asked for it in a pair of frames
ROOM_PX = 16.0  # that a patch may move by
ENOUGH_LOOKS = 4  # pairs of frames that tell the shutter once blur is proven: it stays the same over a shot
UNPROVEN_LOOKS = 6  # after which only pairs that tell more are looked at
TELLING_CHANGE_PX = 1.0  # of the motion per frame, from which two frames tell the shutter
SURELY_BLURRED = 3.0  # deviations; the first two frames of a whip alone bring 4 to 10, fast pans without blur 1
# What is left of the detail along the motion, over what is left across it, since the picture was calm: whips have 0.58 and less
# in their first three fast frames, clean, dark, grainy or out of focus; fast pans without blur 0.95 and more.
SMEARED, SINCE_CALM = 0.65, 4
DETAIL_PX = 2.0  # coarser than grain


def smeared(calm: np.ndarray, now: np.ndarray, step_px: np.ndarray) -> float:
    """How much of its detail along the motion step_px (2,) a picture (H, W) has beside that across it, over the same in a calm
    picture of about the same things."""
    along = step_px / max(float(np.hypot(*step_px)), 1e-9)

    def one_sided(image: np.ndarray) -> float:
        coarse = cv2.GaussianBlur(image, (0, 0), DETAIL_PX)
        x, y = (cv2.Sobel(coarse, cv2.CV_32F, dx, 1 - dx, ksize=1) for dx in (1, 0))
        return float(np.square(along[0] * x + along[1] * y).mean() / (np.square(along[0] * y - along[1] * x).mean() + 1e-9))

    return one_sided(now) / (one_sided(calm) + 1e-9)


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
        self.most_telling_px = 0.0  # largest change of a motion that was looked at
        self.proof = np.zeros(len(SHUTTERS))  # deviations by which frames are more alike blurred as each other than as themselves
        self.proven = False
        self._calm: np.ndarray | None = None
        self._since_calm = 0

    def calm(self, picture: np.ndarray) -> None:
        """Hear of a picture (smoothed float32) before which little moved."""
        self._calm, self._since_calm = picture, 0

    def look(self, picture: np.ndarray, step_px: np.ndarray) -> None:
        """Look whether a picture into which everything moved by step_px (2,) is smeared along that."""
        self._since_calm += 1
        if not self.proven and self._calm is not None and self._since_calm <= SINCE_CALM:
            self.proven = smeared(self._calm, picture, step_px) < SMEARED

    @property
    def share(self) -> float:
        """The best guess so far; 0 as long as nothing proves that there is any blur."""
        return SHUTTERS[int(np.argmax(self.score))] if self.proven else 0.0

    def learn(self, pair: Streaks) -> None:
        """Where streaks get longer or shorter, only the true shutter makes two frames alike.

        Any blur takes away noise and makes them more alike, so that alone says little: each must be blurred as the other was,
        not as it was itself.
        """
        telling = sorted((p for p in pair.parts if p.change_px > TELLING_CHANGE_PX), key=lambda p: -p.change_px)[:MOST_PARTS]
        if not telling or (self.proven and self.looks >= ENOUGH_LOOKS):
            return
        if not self.proven and self.looks >= UNPROVEN_LOOKS and telling[0].change_px <= self.most_telling_px:
            return
        self.looks += 1
        self.most_telling_px = max(self.most_telling_px, telling[0].change_px)
        grid = PatchGrid(self.radius_px)
        few = [replace(p, rows=p.rows[:16]) for p in telling]
        ends = np.cumsum([len(p.rows) for p in few])[:-1]
        found = [self._found(_all_blurred(pair, few, share, grid), grid).ncc for share in SHUTTERS]
        alike = np.array([np.mean([np.median(part) for part in np.split(ncc, ends)]) for ncc in found])
        self.score += telling[0].change_px * (alike - alike.max())
        if self.proven:
            return
        swapped = [replace(p, before_px=p.now_px, now_px=p.before_px) for p in few]
        for k, share in enumerate(SHUTTERS[1:], 1):  # without blur both ways are the same
            gain = found[k] - self._found(_all_blurred(pair, swapped, share, grid), grid).ncc
            self.proof[k] += np.median(gain) / (gain.std() / np.sqrt(len(gain)) + 1e-12)
        self.proven = bool(self.proof.max() > SURELY_BLURRED * np.sqrt(self.looks))

    def match(self, pair: Streaks) -> Refined:
        """From the frame before, not from the first appearance: what streaks look like changes too fast."""
        parts = pair.parts
        lengths = [self.share * float(np.hypot(*p.now_px)) for p in parts]
        grid = self._grid(max(lengths))
        found = self._found(_all_blurred(pair, parts, self.share, grid), grid)
        return self._in_order(found, [p.rows for p in parts], lengths)

    def match_sharp(
        self, sharp: np.ndarray, now: np.ndarray, xy: np.ndarray, velocity: np.ndarray, acceleration: np.ndarray, share: float
    ) -> Refined:
        """Points xy (n, 2) of a sharp picture that was brought into line with a blurred one (both smoothed float32, (H, W)), in
        that one; they move by velocity (n, 2) px per frame time there, which changes by acceleration (n, 2), the shutter open for
        this share of it."""
        parts = picture_parts(xy, now.shape)
        speed = [np.median(velocity[rows], axis=0) for rows in parts]
        lengths = [share * float(np.hypot(*v)) for v in speed]
        grid = self._grid(max(lengths))
        pieces = []
        for rows, v, length in zip(parts, speed, lengths, strict=True):
            margin = grid.radius + 0.5 * length + ROOM_PX
            old, at = _crop(sharp, xy[rows], margin)
            new, _ = _crop(now, xy[rows], margin)
            blurred = path_blur(old, v, np.median(acceleration[rows], axis=0), share)
            pieces.append(_Piece(blurred, xy[rows] - at, new, xy[rows] - at, at))
        return self._in_order(self._found(pieces, grid), parts, lengths)

    def _found(self, pieces: list[_Piece], grid: PatchGrid) -> Refined:
        """Where the points of all pieces are in the whole picture, piece after piece. All are laid on one sheet first: patches
        are quicker together."""
        old, old_at = _sheet([p.old for p in pieces], grid.radius)
        new, new_at = _sheet([p.new for p in pieces], grid.radius)
        known = np.concatenate([p.xy_old + at for p, at in zip(pieces, old_at, strict=True)])
        start = np.concatenate([p.xy_new + at for p, at in zip(pieces, new_at, strict=True)])
        whole = np.concatenate([np.tile(p.new_at - at, (len(p.xy_new), 1)) for p, at in zip(pieces, new_at, strict=True)])
        still = np.tile(np.eye(2), (len(start), 1, 1))
        found = self.refine(new, make_templates(old, known, grid), start, still, grid=grid)
        return replace(found, xy=found.xy + whole)

    def _grid(self, streak_px: float) -> PatchGrid:
        """Streaks leave little to see along the motion: look at more of the picture, as much as they are long."""
        return PatchGrid(int(np.clip(round(0.6 * streak_px), self.radius_px, 2.5 * self.radius_px)))

    @staticmethod
    def _in_order(found: Refined, rows: list[np.ndarray], streak_px: list[float]) -> Refined:
        """What was found part by part, in the points' order, as exactly as streaks so long can be located."""
        order = np.argsort(np.concatenate(rows))
        ordered = Refined(*(getattr(found, field.name)[order] for field in fields(Refined)))
        streak = np.repeat(streak_px, [len(r) for r in rows])[order]
        return replace(ordered, sigma_px=np.hypot(ordered.sigma_px, STREAK_ERROR * streak))


@dataclass(frozen=True)
class _Piece:
    """A part of two pictures (float32): `old`, with points at xy_old (n, 2) px in it, is sought in `new`, from xy_new (n, 2) on;
    new_at (2,): where the whole picture has `new`'s first pixel."""

    old: np.ndarray
    xy_old: np.ndarray
    new: np.ndarray
    xy_new: np.ndarray
    new_at: np.ndarray


def _all_blurred(pair: Streaks, parts: list[_Part], share: float, grid: PatchGrid) -> list[_Piece]:
    """A piece for each part. Blurring takes long and lets go of Python's lock."""
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(lambda part: _both_blurred(pair, part, share, grid), parts))


def _both_blurred(pair: Streaks, part: _Part, share: float, grid: PatchGrid) -> _Piece:
    """A part of the frame before, blurred as this one is, and of this one, blurred as that one was."""
    margin = grid.radius + 0.5 * max(np.hypot(*part.before_px), np.hypot(*part.now_px)) + ROOM_PX
    xy_old, xy_new = pair.xy_before[part.rows], pair.xy_now[part.rows]
    old, old_at = _crop(pair.before, xy_old, margin)
    new, new_at = _crop(pair.now, xy_new, margin)
    blurred = line_blur(old, share * part.now_px), line_blur(new, share * part.before_px)
    return _Piece(blurred[0], xy_old - old_at, blurred[1], xy_new - new_at, new_at)


def _sheet(pictures: list[np.ndarray], border_px: int) -> tuple[np.ndarray, list[np.ndarray]]:
    """Pictures one above the other, their edges carried on for border_px at least, and where the first pixel of each lies."""
    width = max(p.shape[1] for p in pictures)
    framed = [
        cv2.copyMakeBorder(p, border_px, border_px, border_px, border_px + width - p.shape[1], cv2.BORDER_REPLICATE)
        for p in pictures
    ]
    tops = np.cumsum([0, *(len(f) for f in framed[:-1])])
    return np.concatenate(framed), [np.array([border_px, top + border_px], float) for top in tops]


def _crop(image: np.ndarray, xy: np.ndarray, margin_px: float) -> tuple[np.ndarray, np.ndarray]:
    """The part of an image around the given points, and where its first pixel lies."""
    h, w = image.shape
    x0, y0 = np.clip(np.floor(xy.min(axis=0) - margin_px).astype(int), 0, (w - 2, h - 2))
    x1, y1 = np.clip(np.ceil(xy.max(axis=0) + margin_px).astype(int) + 1, (x0 + 2, y0 + 2), (w, h))
    return image[y0:y1, x0:x1], np.array([x0, y0], float)
