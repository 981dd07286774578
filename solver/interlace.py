"""Whether a clip is interlaced: every frame woven of two half pictures, one line of each in turn, taken one after the other."""

from __future__ import annotations

import numpy as np

EVERY_FRAMES = 6
EVERY_COLUMNS = 4
# How alike the curvature of lines two apart is, at most 1: below 0.09 in ordinary footage, burnt-in text and hard edges included;
# 0.5 and more where things in interlaced footage move by a few lines' worth.
COMBED = 0.3
TWICE = 2  # looks that make it certain: a single frame may show a window blind


def combing(picture: np.ndarray) -> float:
    """Correlation of the vertical curvature of a picture (H, W) with that two lines below.

    Along a comb's teeth the curvature changes its sign from line to line, so two lines apart it is the same; in a picture of one
    moment hardly anything is.
    """
    lines = picture.astype(np.float32)
    curvature = 2 * lines[1:-1] - lines[:-2] - lines[2:]
    return float((curvature[:-2] * curvature[2:]).sum() / max(float((curvature**2).sum()), 1.0))


class InterlaceWatch:
    """Looks at a frame now and then."""

    def __init__(self) -> None:
        self._combed = 0

    def found(self, index: int, image: np.ndarray) -> bool:
        """Whether it has just become certain, with frame `index`, (H, W, 3) uint8, that the clip is interlaced."""
        if index % EVERY_FRAMES or self._combed == TWICE:
            return False
        self._combed += combing(image[:, ::EVERY_COLUMNS, 1]) > COMBED
        return self._combed == TWICE
