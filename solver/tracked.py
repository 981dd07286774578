"""What the tracker is asked for, and what it gives."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from .types import Tracks

DRAFT_SIDE_PX = 960  # a draft looks at pictures of at most this size


@dataclass(frozen=True)
class TrackingOptions:
    """How hard to look. Lengths in px are at the size that is tracked: the clip's own times `shrink`."""

    tracks_wanted: int = 800
    patch_radius_px: int = 8
    lk_window_px: int = 17
    iterations: int = 4
    min_ncc: float = 0.80
    max_backward_px: float = 1.0
    remember_lost_frames: int = 60
    shrink: float = 1.0
    thin_patches: bool = True

    @staticmethod
    def for_quality(quality: str, width: int, height: int) -> TrackingOptions:
        """Draft, standard or best at the given size."""
        wanted = {"draft": 360, "standard": 720, "best": 1600}[quality]
        shrink = min(1.0, DRAFT_SIDE_PX / max(width, height)) if quality == "draft" else 1.0
        # patches cover the same part of the picture, within what is affordable
        size = shrink * np.sqrt(width * height)
        radius = int(np.clip(round(size / 115), 6, 12))
        return TrackingOptions(
            tracks_wanted=wanted,
            patch_radius_px=radius,
            lk_window_px=2 * radius + 3,
            iterations={"draft": 3, "standard": 4, "best": 6}[quality],
            shrink=shrink,
            thin_patches=quality != "best",
        )


@dataclass
class TrackedClip:
    """Tracks, the colour of each at its first appearance (N, 3) uint8 RGB, and how each pair of neighbours is bridged."""

    tracks: Tracks
    colour: np.ndarray
    noise_levels: float
    contrast_levels: float  # by how much the patches that are followed vary, in the mean; grey levels of 255, 0 without any
    bridging: np.ndarray  # (F,) tracks that come over from the frame before
    bridged_by_descriptors: tuple[int, ...]  # frame indices where the motion was too large for Lucas-Kanade
    detail: np.ndarray = field(default_factory=lambda: np.zeros(0))  # (F,) how much of each frame is fine detail; none: not known
