"""Shallow focus in shots with people: they are sharp before a soft set, or the focus is pulled from one to the other.

Made of a rendered shot by its masks of what moves: both layers are blurred on their own and put together again, with a little
grain. Where a blurred layer ends, what is behind it shows through, as in a lens.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

WIDE = 1920  # blurs are in px of a picture so wide
GRAIN = 1.5  # of 255
EDGE_PX = 0.6  # that no edge of a layer is sharper than


def _pulled(place: float) -> float:
    """From 0 to 1 in the middle third of the shot."""
    return 1 / (1 + np.exp(-14 * (place - 0.5)))


# place in the shot, 0..1 -> deviation of the blur of the set, of what moves (px at WIDE)
FOCUS: dict[str, Callable[[float], tuple[float, float]]] = {
    "shallow": lambda place: (3.0, 0.0),
    "wide_open": lambda place: (6.0, 0.0),
    "pull_in": lambda place: (6 * (1 - _pulled(place)), 6 * _pulled(place)),
    "pull_out": lambda place: (6 * _pulled(place), 6 * (1 - _pulled(place))),
}


def _blurred(values: np.ndarray, deviation_px: float) -> np.ndarray:
    return cv2.GaussianBlur(values, (0, 0), deviation_px) if deviation_px > 0.2 else values


def _layer(frame: np.ndarray, share: np.ndarray, deviation_px: float) -> np.ndarray:
    """The frame (h, w, 3) blurred by what belongs to a layer (h, w) alone; as it was where that is far away."""
    total = _blurred(share, deviation_px)[..., None]
    mixed = _blurred(frame * share[..., None], deviation_px)
    return np.where(total > 0.01, mixed / np.maximum(total, 0.001), frame)


def focused(frames: np.ndarray, movers: np.ndarray, how: str, rng: np.random.Generator) -> np.ndarray:
    """Frames (F, h, w, 3) uint8 with the set and what moves in and out of focus as FOCUS[how] says; movers (F, h, w): 1 where
    something moves."""
    unit = frames.shape[2] / WIDE
    out = np.empty_like(frames)
    for k, (frame, moving) in enumerate(zip(frames.astype(np.float32), movers.astype(np.float32), strict=True)):
        of_set, of_movers = (blur * unit for blur in FOCUS[how](k / max(len(frames) - 1, 1)))
        edge = max(of_movers, EDGE_PX)
        behind = _layer(frame, 1 - moving, of_set)
        before = _layer(frame, moving, edge) if of_movers > 0.2 else frame
        share = _blurred(moving, edge)[..., None]
        grain = rng.normal(0, GRAIN, moving.shape)[..., None]
        out[k] = np.clip(behind * (1 - share) + before * share + grain, 0, 255)
    return out
