"""Pictures out of focus: as sharp as the last one in focus is, what is seen there does not look like it any longer.

Patches that are compared across a change of focus come to rest where their blurred surroundings pull them. So while a picture
shows less detail, its points are matched with the last sharp one, blurred as much; one that shows more is blurred itself.
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
MORE_DETAIL = 0.97  # as good as a sharp one
EVERY_FRAMES = 4  # a picture in focus takes the place of the last one
SAMPLES = 80  # points that tell how blurred a picture is
FEWEST = 20
CLEARLY = 0.002  # more alike, in the mean


def detail(coarse: np.ndarray) -> float:
    """How much of a picture (H, W) uint8 is fine detail: its curvature over that of the picture at a quarter of its size."""
    small = cv2.resize(coarse, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA)
    fine, large = (cv2.meanStdDev(cv2.Laplacian(p, cv2.CV_16S, ksize=1))[1].item() for p in (coarse, small))
    return fine / max(large, 1.0)


@dataclass
class Sharp:
    """A picture in focus: fine (H, W) float32, its detail, and the tracks in it; templates by blur, made as they are needed."""

    index: int
    fine: np.ndarray
    detail: float
    id: np.ndarray
    xy: np.ndarray
    affine: np.ndarray
    templates: dict[int, tuple[Templates, PatchGrid]] = field(default_factory=dict)


class FocusWatch:
    """The last picture in focus, and how blurred the one of the moment is against it.

    refine: patches.refine with the tracker's settings: (image, templates, xy, affine, grid=) -> Refined.
    """

    def __init__(self, radius_px: int, refine: Callable[..., Refined]) -> None:
        self.radius_px, self._refine = radius_px, refine
        self.details: list[float] = []  # of all frames so far
        self.forget()

    def forget(self) -> None:
        """Begin as if no picture had been in focus yet."""
        self.step = 0  # of BLURS_PX; below 0 the picture is sharper than the one that was in focus
        self._sharp: Sharp | None = None

    @property
    def lost(self) -> bool:
        """Whether the picture of the moment is out of focus."""
        return self.step != 0

    def look(self, coarse: np.ndarray) -> None:
        """Take the picture of the moment (H, W) uint8."""
        self.details.append(detail(coarse))

    @property
    def doubtful(self) -> bool:
        """Whether the picture of the moment may be more blurred than the one in focus."""
        return self.lost or (self._sharp is not None and self.details[-1] < LESS_DETAIL * self._sharp.detail)

    def improve(self, found: Refined, moved: Live, xy: np.ndarray, fine: np.ndarray) -> Refined:
        """Places (as `found` by the tracks' own looks) of tracks that the sharp picture shows, as it would show them if it were
        as blurred. moved: the tracks in the frame before; xy (n, 2): about where they are now."""
        sharp = self._sharp
        _, rows, its = np.intersect1d(moved.id, sharp.id, assume_unique=True, return_indices=True)
        if len(rows) < FEWEST:
            self.step = 0
            return found
        some = np.unique(np.linspace(0, len(rows) - 1, min(len(rows), SAMPLES)).round().astype(int))
        steps = [s for s in (self.step - 1, self.step, self.step + 1) if abs(s) < len(BLURS_PX)]
        start = moved.affine[rows] @ np.linalg.inv(sharp.affine[its])
        alike = [float(np.median(self._match(s, its[some], xy[rows[some]], start[some], fine).ncc)) for s in steps]
        before, best = self.step, int(np.argmax(alike))
        if alike[best] > alike[steps.index(before)] + CLEARLY:
            self.step = steps[best]
        if not self.lost:
            return found
        there = self._match(self.step, its, xy[rows], start, fine)
        out = Refined(*(getattr(found, f.name).copy() for f in fields(Refined)))
        for name in ("xy", "ncc", "sigma_px", "elongation", "step_px"):
            getattr(out, name)[rows] = getattr(there, name)
        out.affine[rows] = there.affine @ sharp.affine[its]
        return out

    def keep(self, index: int, fine: np.ndarray, live: Live) -> None:
        """Take a frame as it is left, where it is in focus."""
        sharp = self._sharp
        if self.lost or len(live.id) < FEWEST:
            return
        good = sharp is None or self.details[-1] > MORE_DETAIL * sharp.detail or index - sharp.index >= 4 * EVERY_FRAMES
        if good and (sharp is None or index - sharp.index >= EVERY_FRAMES):
            self._sharp = Sharp(index, fine, self.details[-1], live.id, live.xy, live.affine)

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
            near = {k: known for k, known in sharp.templates.items() if abs(k - step) < 3}  # they are large
            sharp.templates = near | {step: (make_templates(image, sharp.xy, grid), grid)}
        return sharp.templates[step]
