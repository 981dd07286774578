"""Whether a clip is interlaced: every frame woven of two half pictures, one line of each in turn, taken one after the other."""

from __future__ import annotations

import numpy as np

EVERY_FRAMES = 6
EVERY_COLUMNS = 4
# As combing() says: 0.11 at most in footage of whole pictures, burnt-in text, hard edges, noise and blur included; 0.5 and more
# where things in interlaced footage move by a few pixels.
COMBED = 0.3
TWICE = 2  # looks that make it certain: a single frame may show a window blind


def combing(picture: np.ndarray) -> float:
    """How much a picture (H, W) looks like a comb: correlation of its vertical curvature with that two lines below, or minus the
    one with that one line below, whichever is smaller.

    Along a comb's teeth the curvature changes its sign from line to line: one line apart it is the opposite, two lines apart the
    same. In a blurred picture it is the same either way, in noise hardly anything two lines apart.
    """
    lines = picture.astype(np.float32)
    curvature = 2 * lines[1:-1] - lines[:-2] - lines[2:]
    power = max(float((curvature**2).sum()), 1.0)
    one, two = (float((curvature[:-k] * curvature[k:]).sum()) / power for k in (1, 2))
    return min(two, -one)


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
