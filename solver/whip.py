"""Points in the streaks of a whip pan, by the sharp pictures on either side of it.

From one streaked frame to the next errors along the motion add up to many pixels. So once a whip is over, every streaked frame is
compared with the last sharp picture before it and with the first one after it: bent into line, and blurred along the path that
its points take while the shutter is open. That also shows points in the streaks that could not be followed into them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from itertools import pairwise

import cv2
import numpy as np

from .blur import SHUTTERS, StreakMatcher
from .gap import carry, plane_motion

FEWEST = 12  # points that tell how the picture moved from one frame to the next
ENOUGH = 300  # points of one sharp picture in one streaked frame
FEW = 200  # of these, to tell how long the shutter was open
NEAR_PX = 3.0  # a point is looked for within this, and a part of the streak, of where the picture's motion puts it
NEAR_STREAK = 0.15
LOOKS, MOST_WAYS = 3, 4  # frames on a way, and ways, that tell how long the shutter was open
FINER = 0.1  # of a frame's time


@dataclass(frozen=True)
class Passing:
    """A frame of a race, or the sharp one before or after it: its picture (smoothed float32) and the tracks followed into it."""

    index: int
    fine: np.ndarray
    id: np.ndarray
    xy: np.ndarray


@dataclass(frozen=True)
class Placed:
    """Where tracks are in a streaked frame: ids (n,), xy (n, 2), sigma_px (n,), elongation (n, 2)."""

    id: np.ndarray
    xy: np.ndarray
    sigma_px: np.ndarray
    elongation: np.ndarray


@dataclass(frozen=True)
class Race:
    """Frames in which the picture raced: the first of `passing` is sharp, and where the race has ended the last."""

    passing: list[Passing]
    ended: bool


def placed(
    races: list[Race], matcher: StreakMatcher, min_ncc: float, each: Callable[[Callable, Iterable], Iterable] = map
) -> dict[int, Placed]:
    """By frame index, tracks of the sharp pictures in the streaked ones. Frames that nothing joins to a sharp one are not in it.

    each: how the ways through the races, forth and back, are gone: one after the other, or side by side.
    """
    ways = [(n, back) for n, race in enumerate(races) for back in (False, True) if race.ended or not back]
    share = shutter([races[n].passing[::-1] if back else races[n].passing for n, back in ways], matcher, min_ncc, each)

    def go(way: tuple[int, bool]) -> dict[int, Placed]:
        passing = races[way[0]].passing
        onwards = passing[::-1] if way[1] else passing
        found = _one_way(onwards, _steps(onwards), matcher, min_ncc, share)[0]
        return {passing[len(passing) - 1 - k if way[1] else k].index: there for k, there in found.items()}

    gone = dict(zip(ways, each(go, ways), strict=True))
    out: dict[int, Placed] = {}
    for n, race in enumerate(races):
        for k in range(1, len(race.passing) - race.ended):
            index = race.passing[k].index
            sides = [gone.get((n, back), {}).get(index) for back in (False, True)]
            nearer, other = sides if k <= len(race.passing) / 2 else sides[::-1]
            if nearer is None:
                nearer, other = other, None
            if nearer is not None:
                out[index] = nearer if other is None else _with_more(nearer, other)
    return out


def shutter(
    ways: list[list[Passing]], matcher: StreakMatcher, min_ncc: float, each: Callable[[Callable, Iterable], Iterable] = map
) -> float:
    """Share of a frame's time that the shutter was open; each way begins with a sharp picture.

    From streak to streak any blur makes noisy pictures more alike, and a long one most of all. A sharp picture that is blurred
    looks most like the streaks beside it where it is blurred as they are, whatever noise is on those.
    """
    if not matcher.share:
        return 0.0
    ways = [way[: LOOKS + 2] for way in ways[:MOST_WAYS]]
    steps = [_steps(way) for way in ways]

    told: dict[float, list[list[float]]] = {}  # by share, how much alike each way's frames are

    def alike(shares: list[float]) -> np.ndarray:
        fresh = [share for share in shares if share not in told]
        jobs = [(*way, share) for share in fresh for way in zip(ways, steps, strict=True)]
        found = list(each(lambda job: _one_way(job[0], job[1], matcher, min_ncc, job[2], FEW, LOOKS)[1], jobs))
        told.update((share, found[n * len(ways) : (n + 1) * len(ways)]) for n, share in enumerate(fresh))
        total = np.zeros(len(shares))
        for looks in zip(*(told[share] for share in shares), strict=True):
            common = min(len(those) for those in looks)
            total += [sum(those[:common]) for those in looks]
        return total

    best = SHUTTERS[1 + int(np.argmax(alike(list(SHUTTERS[1:]))))]
    for _ in range(2):
        less, here, more = alike([round(best + k * FINER, 6) for k in (-1, 0, 1)])
        if here > max(less, more):
            return best + FINER * float(more - less) / (2 * (2 * here - less - more))
        best = round(best + FINER * float(np.sign(more - less)), 6)
    return best


def _with_more(nearer: Placed, other: Placed) -> Placed:
    """The tracks of the one, and those of the other that the one has not."""
    more = ~np.isin(other.id, nearer.id)
    return Placed(*(np.concatenate([getattr(nearer, f.name), getattr(other, f.name)[more]]) for f in fields(Placed)))


def _step(a: Passing, b: Passing) -> np.ndarray | None:
    """Homography (3, 3) of the picture's motion from one frame to another, by the tracks in both; None where too few are."""
    _, i, j = np.intersect1d(a.id, b.id, assume_unique=True, return_indices=True)
    return _homography(a.xy[i], b.xy[j])


def _steps(passing: list[Passing]) -> list[np.ndarray | None]:
    """`_step` from each of the frames to the next."""
    return [_step(a, b) for a, b in pairwise(passing)]


def _homography(source: np.ndarray, target: np.ndarray) -> np.ndarray | None:
    return plane_motion(source, target)[0] if len(source) >= FEWEST else None


def _one_way(
    passing: list[Passing],
    steps: list[np.ndarray | None],
    matcher: StreakMatcher,
    min_ncc: float,
    share: float,
    points: int = ENOUGH,
    most: int | None = None,
) -> tuple[dict[int, Placed], list[float]]:
    """By place in `passing`, tracks of its first frame (so many points) in the frames after it (`most` of these at most); and how
    much alike they were in each, times the picture's speed. steps: how the picture moves between them; share: of a frame's time,
    for which the shutter was open."""
    sharp = passing[0]
    few = np.unique(np.linspace(0, len(sharp.id) - 1, min(len(sharp.id), points)).round().astype(int))
    ids, known = sharp.id[few], sharp.xy[few].astype(np.float64)
    way = np.eye(3)
    out = {}
    alike: list[float] = []
    for k in range(1, len(passing) if most is None else min(len(passing), 1 + most)):
        if steps[k - 1] is None:
            break
        way = steps[k - 1] @ way
        here = carry(way, known).astype(np.float64)
        come = here - carry(np.linalg.inv(steps[k - 1]), here)
        go = carry(steps[k], here) - here if k < len(steps) and steps[k] is not None else come
        velocity, acceleration = (come + go) / 2, go - come
        speed = np.hypot(*velocity.T)
        streak = share * speed
        inside = _inside(here, passing[k].fine.shape, matcher.radius_px)
        inside &= _inside(known, sharp.fine.shape, matcher.radius_px + streak / 2)
        rows = np.nonzero(inside)[0]
        if len(rows) < FEWEST:
            break
        h, w = sharp.fine.shape
        bent = cv2.warpPerspective(sharp.fine, way, (w, h), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        found = matcher.match_sharp(bent, passing[k].fine, here[rows], velocity[rows], acceleration[rows], share)
        alike.append(float(np.median(found.ncc) * np.median(speed[rows])))
        good = (found.ncc > min_ncc) & (found.step_px < NEAR_PX + NEAR_STREAK * streak[rows])
        better = _homography(known[rows][good], found.xy[good])
        if better is None:
            break
        way = better
        out[k] = Placed(ids[rows][good], found.xy[good], found.sigma_px[good], found.elongation[good])
    return out, alike


def _inside(xy: np.ndarray, shape: tuple[int, int], margin_px: float | np.ndarray) -> np.ndarray:
    """Whether points (n, 2) are at least so far (one for all, or (n,)) inside a picture."""
    h, w = shape
    return (xy[:, 0] >= margin_px) & (xy[:, 0] <= w - 1 - margin_px) & (xy[:, 1] >= margin_px) & (xy[:, 1] <= h - 1 - margin_px)
