"""Which frames a depth network is asked about, beside the tracking."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

from .types import DepthMap, DepthSource, Progress

MOST_FRAMES_PER_KEYFRAME = 60


class KeyframeDepths:
    """Chooses keyframes while tracking runs and asks the network about them in a thread of its own."""

    def __init__(self, source: DepthSource | None, frame_count: int, wanted: int) -> None:
        self.source = source
        self.spacing = min(max(4, frame_count // max(wanted, 1)), MOST_FRAMES_PER_KEYFRAME)
        self.pool = ThreadPoolExecutor(1) if source is not None else None
        self.waiting: dict[int, Future] = {}
        self.last = -(10**9)
        self.frame_count = frame_count

    def offer(self, index: int, frame: int, image: np.ndarray) -> None:
        """A frame went by; take it when the last keyframe lies far enough back."""
        if self.pool is not None and (index == 0 or index - self.last >= self.spacing):
            self.last = index
            self.waiting[index] = self.pool.submit(self.source.predict, frame, image.copy())

    def collect(self, progress: Progress) -> dict[int, DepthMap]:
        """Wait for all maps: frame index -> map."""
        maps: dict[int, DepthMap] = {}
        for n, (index, future) in enumerate(self.waiting.items()):
            found = future.result()
            if found is not None and np.isfinite(found.values).mean() > 0.2 and np.nanstd(found.values) > 0:
                maps[index] = found
            progress("depth", n + 1, len(self.waiting))
        if self.pool is not None:
            self.pool.shutdown()
        return maps
