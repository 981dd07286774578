"""The tracks of the moment, row by row."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from .patches import Templates


@dataclass
class Live:
    """Tracks as they stand in one frame: id (n,); xy (n, 2) OpenCV px; velocity (n, 2) px per frame; affine (n, 2, 2) from the
    first appearance; ref_frame (n,), ref_xy (n, 2): when and where that was; templates: what it looked like."""

    id: np.ndarray
    xy: np.ndarray
    velocity: np.ndarray
    affine: np.ndarray
    ref_frame: np.ndarray
    ref_xy: np.ndarray
    templates: Templates | None

    @staticmethod
    def empty() -> Live:
        """None."""
        return Live(
            np.zeros(0, int), np.zeros((0, 2)), np.zeros((0, 2)), np.zeros((0, 2, 2)), np.zeros(0, int), np.zeros((0, 2)), None
        )

    @staticmethod
    def born(ids: np.ndarray, xy: np.ndarray, frame: int, templates: Templates) -> Live:
        """Tracks that begin in this frame, at xy (n, 2)."""
        still = np.tile(np.eye(2), (len(xy), 1, 1))
        return Live(ids, xy, np.zeros_like(xy), still, np.full(len(xy), frame), xy.copy(), templates)

    def take(self, index: np.ndarray) -> Live:
        """The tracks of the given rows."""
        arrays = (getattr(self, field.name)[index] for field in fields(self)[:-1])
        return Live(*arrays, self.templates.take(index) if self.templates is not None else None)

    def join(self, other: Live) -> Live:
        """Both, one after the other."""
        if other.templates is None:
            return self
        both = (np.concatenate([getattr(self, field.name), getattr(other, field.name)]) for field in fields(self)[:-1])
        return Live(*both, Templates.join(self.templates, other.templates))
