"""Pictures out of focus: as sharp as the last one in focus is, what is seen there does not look like it any longer.

Patches that are compared across a change of focus come to rest where their blurred surroundings pull them. So while a picture
shows less detail, its points are matched with the last sharp one, blurred as much; one that shows more is blurred itself. A focus
that is pulled from the people to the set does both at once: what becomes sharper and what becomes softer are told apart, point by
point.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields

import cv2
import numpy as np

from .live import Live
from .patches import PatchGrid, Refined, Templates, make_templates

# Standard deviations (px) of a blur, one for each step; the picture of the moment is a step up or down from the last at most.
BLURS_PX = (0.0, 0.8, 1.2, 1.8, 2.6, 3.6, 5.0, 7.0)
LESS_DETAIL = 0.8  # of the sharp picture's: in focus, content changes it by an eighth
SOME = 0.25  # share of the points around which there may be less detail, or more, before it is looked into
MORE_DETAIL = 0.97  # as good as a sharp one
EVERY_FRAMES = 4  # a picture in focus takes the place of the last one
SAMPLES = 80  # points that tell how blurred a picture is
FEWEST = 20
CLEARLY = 0.002  # more alike, in the mean
LOCAL_PX, LOCAL_CELLS = 8, 1.5  # cells of the coarse picture, and how many of them (a deviation) tell the detail around a point
FADES = 0.8  # of what a point has told before about whether it becomes sharper or softer
SHARPER, SOFTER = 0, 1


def curvatures(coarse: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of a picture (H, W) uint8, and of it at a quarter of its size."""
    small = cv2.resize(coarse, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA)
    return tuple(cv2.Laplacian(p, cv2.CV_16S, ksize=1) for p in (coarse, small))


def detail(fine: np.ndarray, large: np.ndarray) -> float:
    """How much of a picture is fine detail: its curvature over that of the picture at a quarter of its size."""
    fine_spread, large_spread = (cv2.meanStdDev(c)[1].item() for c in (fine, large))
    return fine_spread / max(large_spread, 1.0)


def local_detail(fine: np.ndarray, large: np.ndarray) -> np.ndarray:
    """The same around every place, (H / LOCAL_PX, W / LOCAL_PX)."""
    size = tuple(max(n // LOCAL_PX, 1) for n in fine.shape[::-1])
    fine_power, large_power = (
        cv2.GaussianBlur(cv2.resize(c.astype(np.float32) ** 2, size, interpolation=cv2.INTER_AREA), (0, 0), LOCAL_CELLS)
        for c in (fine, large)
    )
    return np.sqrt(fine_power / np.maximum(large_power, 1.0))


@dataclass
class Sharp:
    """A picture in focus: fine (H, W) float32, its detail, and the tracks in it, with the detail around each and how much more
    each has looked like a picture that becomes sharper than like one that becomes softer; templates by blur, made as they are
    needed."""

    index: int
    fine: np.ndarray
    detail: float
    id: np.ndarray
    xy: np.ndarray
    affine: np.ndarray
    around: np.ndarray
    leans: np.ndarray
    templates: dict[int, tuple[Templates, PatchGrid]] = field(default_factory=dict)


class FocusWatch:
    """The last picture in focus, and how blurred the one of the moment is against it.

    refine: patches.refine with the tracker's settings: (image, templates, xy, affine, grid=) -> Refined.
    """

    def __init__(self, radius_px: int, refine: Callable[..., Refined]) -> None:
        self.radius_px, self._refine = radius_px, refine
        self.details: list[float] = []  # of all frames so far
        self._local = np.zeros((1, 1), np.float32)
        self.forget()

    def forget(self) -> None:
        """Begin as if no picture had been in focus yet."""
        # steps of BLURS_PX: below 0 what becomes sharper than it was in the picture in focus, above 0 what becomes softer
        self.steps = [0, 0]
        self._sharp: Sharp | None = None

    @property
    def lost(self) -> bool:
        """Whether something is more blurred in the picture of the moment than in the one in focus, or sharper."""
        return any(self.steps)

    def look(self, coarse: np.ndarray) -> None:
        """Take the picture of the moment (H, W) uint8."""
        curved = curvatures(coarse)
        self.details.append(detail(*curved))
        self._local = local_detail(*curved)

    def doubtful(self, moved: Live, xy: np.ndarray, shape: tuple[int, int]) -> bool:
        """Whether some of the picture of the moment, of this shape, may be more blurred, or less, than in the one in focus.

        moved: the tracks in the frame before; xy (n, 2): about where they are now.
        """
        if self.lost:
            return True
        if self._sharp is None:
            return False
        if self.details[-1] < LESS_DETAIL * self._sharp.detail:
            return True
        rows, its = self._in_both(moved)
        if len(rows) < FEWEST:
            return False
        change = self._change(its, xy[rows], shape)
        return max((change < LESS_DETAIL).mean(), (change > 1 / LESS_DETAIL).mean()) > SOME

    def improve(self, found: Refined, moved: Live, xy: np.ndarray, fine: np.ndarray) -> Refined:
        """Places (as `found` by the tracks' own looks) of tracks that the sharp picture shows, as it would show them if it were
        as blurred. moved: the tracks in the frame before; xy (n, 2): about where they are now."""
        sharp = self._sharp
        rows, its = self._in_both(moved)
        if len(rows) < FEWEST:
            self.steps = [0, 0]
            return found
        start = moved.affine[rows] @ np.linalg.inv(sharp.affine[its])

        def match(step: int, some: np.ndarray) -> Refined:
            return self._match(step, its[some], xy[rows[some]], start[some], fine)

        self._step_on(match, its, self._change(its, xy[rows], fine.shape))
        if not self.lost:
            return found
        sides = self._sides(its)
        out = Refined(*(getattr(found, f.name).copy() for f in fields(Refined)))
        for side, step in enumerate(self.steps):
            mine = np.flatnonzero(sides == side)
            if not step or not len(mine):
                continue
            there, at = match(step, mine), rows[mine]
            for name in ("xy", "ncc", "sigma_px", "elongation", "step_px"):
                getattr(out, name)[at] = getattr(there, name)
            out.affine[at] = there.affine @ sharp.affine[its[mine]]
        return out

    def _step_on(self, match: Callable[[int, np.ndarray], Refined], its: np.ndarray, change: np.ndarray) -> None:
        """How blurred the picture of the moment is on either side, told by some of the tracks (n,) `its`, and what those tell of
        the side that each of them is on. change (n,): of the detail around them."""
        leans = self._sharp.leans[its]
        sides = self._sides(its)
        every = max(len(its) // SAMPLES, 1)
        some = np.arange(len(self.details) % every, len(its), every)  # others every time, until all have been asked
        alike: dict[int, np.ndarray] = {}

        def how_alike(step: int) -> np.ndarray:
            if step not in alike:
                alike[step] = match(step, some).ncc
            return alike[step]

        for side, sign in ((SHARPER, -1), (SOFTER, 1)):
            mine = sides[some] == side
            before = self.steps[side]
            if mine.sum() < FEWEST:
                self.steps[side] = 0
                continue
            # in noise blur makes pictures more alike, too: what is softer shows less detail, what is sharper more
            if sign * (np.median(change[some[mine]]) - 1) > 0:
                self.steps[side] -= int(np.sign(before))
                continue
            near = [s for s in (before - 1, before, before + 1) if abs(s) < len(BLURS_PX) and s * sign >= 0]
            level = [float(np.median(how_alike(s)[mine])) for s in near]
            best = int(np.argmax(level))
            if level[best] > level[near.index(before)] + CLEARLY:
                self.steps[side] = near[best]
        tells = how_alike(self.steps[SHARPER] or -1) - how_alike(self.steps[SOFTER] or 1)
        self._sharp.leans[its[some]] = FADES * leans[some] + tells

    def _sides(self, its: np.ndarray) -> np.ndarray:
        """Which side each of the sharp picture's tracks (n,) is on: all on one, where few seem to be on the other; those that
        have told nothing yet on that of most."""
        leans = self._sharp.leans[its]
        each = (leans > 0).sum(), (leans < 0).sum()
        most = SHARPER if each[SHARPER] > each[SOFTER] else SOFTER
        if min(each) < SOME * sum(each):
            return np.full(len(its), most)
        return np.where(leans == 0, most, np.where(leans > 0, SHARPER, SOFTER))

    def keep(self, index: int, fine: np.ndarray, live: Live) -> None:
        """Take a frame as it is left, where it is in focus."""
        sharp = self._sharp
        if self.lost or len(live.id) < FEWEST:
            return
        good = sharp is None or self.details[-1] > MORE_DETAIL * sharp.detail or index - sharp.index >= 4 * EVERY_FRAMES
        if good and (sharp is None or index - sharp.index >= EVERY_FRAMES):
            around, leans = self._around(live.xy, fine.shape), np.zeros(len(live.id))
            self._sharp = Sharp(index, fine, self.details[-1], live.id, live.xy, live.affine, around, leans)

    def _in_both(self, moved: Live) -> tuple[np.ndarray, np.ndarray]:
        """Rows (n,) of the tracks that the sharp picture shows as well, and their rows there."""
        return np.intersect1d(moved.id, self._sharp.id, assume_unique=True, return_indices=True)[1:]

    def _change(self, its: np.ndarray, xy: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
        """Times as much detail as the sharp picture has around its tracks (n,) there is around places (n, 2) of this one."""
        return self._around(xy, shape) / np.maximum(self._sharp.around[its], 1e-6)

    def _around(self, xy: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
        """Detail around places (n, 2) of the picture of the moment, of this shape."""
        at = (xy + 0.5) * (np.array(self._local.shape[::-1]) / np.array(shape[::-1])) - 0.5
        x, y = at.astype(np.float32).T
        return cv2.remap(self._local, x[None], y[None], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)[0]

    def _match(self, step: int, rows: np.ndarray, xy: np.ndarray, affine: np.ndarray, fine: np.ndarray) -> Refined:
        """Tracks (rows) of the sharp picture in one that is this much more blurred, or less."""
        templates, grid = self._templates(max(step, 0))
        seen = cv2.GaussianBlur(fine, (0, 0), BLURS_PX[-step]) if step < 0 else fine
        return self._refine(seen, templates.take(rows), xy, affine, grid=grid)

    def _templates(self, step: int) -> tuple[Templates, PatchGrid]:
        """What the sharp picture's tracks look like when it is blurred."""
        sharp = self._sharp
        if step not in sharp.templates:
            blur = BLURS_PX[step]
            grid = PatchGrid(int(round(self.radius_px + 1.5 * blur)))
            image = cv2.GaussianBlur(sharp.fine, (0, 0), blur) if blur else sharp.fine
            near = {k: known for k, known in sharp.templates.items() if k == 0 or abs(k - step) < 3}  # they are large
            sharp.templates = near | {step: (make_templates(image, sharp.xy, grid), grid)}
        return sharp.templates[step]
