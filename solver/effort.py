"""How much work each quality level does, and how long it took."""

from __future__ import annotations

import time
from dataclasses import dataclass


@dataclass(frozen=True)
class Effort:
    """How much work each quality level does."""

    start_frames: int
    start_tracks: int
    solve_frames: int
    depth_keyframes: int
    final_iterations: int
    compete_iterations: int
    compete_tracks: int  # in every frame, about

    @staticmethod
    def of(quality: str) -> Effort:
        """Draft, standard, best."""
        return {
            "draft": Effort(10, 240, 14, 4, 4, 5, 140),
            "standard": Effort(12, 320, 28, 10, 14, 10, 240),
            "best": Effort(12, 320, 48, 20, 20, 12, 700),
        }[quality]


class Stopwatch:
    """Seconds by stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.begun = self.last = time.perf_counter()

    def lap(self, stage: str) -> None:
        """Book the time since the last lap."""
        now = time.perf_counter()
        self.seconds[stage] = self.seconds.get(stage, 0.0) + now - self.last
        self.last = now
