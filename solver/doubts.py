"""Frames that are less sure than others, and why."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .clip import ranges
from .joints import hidden_share
from .tracked import TrackedClip
from .view import ShotView

FEW_TRACKS = 15  # at rest, in a frame: look at it
BLIND_TRACKS = 6  # fewer do not hold a camera
MOSTLY_HIDDEN = 0.5  # people who fill 40 % of the picture hide an eighth of the tracks, the streaks of a whip pan 0.4
USUALLY_HIDDEN_PERCENTILE = 25  # of the frames; grain and blur keep tracks from being seen in each of them
SOFT, SOFT_FRAMES = 0.45, 5  # detail against the sharp frames; shaken cameras of real clips go down to a half of it


@dataclass(frozen=True)
class Doubts:
    """Which frames are in doubt, each (F,) bool: unjoined to the rest; resting on few tracks; blind, on next to none; with most
    of the picture hidden; fast, as in a whip pan; soft, out of focus or blurred; jumped, joined to the one before by
    descriptors."""

    unjoined: np.ndarray
    few: np.ndarray
    blind: np.ndarray
    hidden: np.ndarray
    fast: np.ndarray
    soft: np.ndarray
    jumped: np.ndarray

    @property
    def some(self) -> bool:
        """Whether the user should look at frames for another reason than few tracks."""
        return bool((self.unjoined | self.hidden | self.fast | self.soft).any())


def in_doubt(view: ShotView, static: np.ndarray, frame_tracks: np.ndarray, unjoined: np.ndarray, tracked: TrackedClip) -> Doubts:
    """The frames in doubt. static (N,) bool: tracks at rest; frame_tracks (F,): how many of them each frame sees; unjoined (F,)
    bool: frames apart from the rest, of which nothing else is said."""
    count = view.frame_count
    joined = ~unjoined
    jumped = np.zeros(count, bool)
    jumped[[k for k in tracked.bridged_by_descriptors if joined[k] and joined[k - 1]]] = True
    fast = view.racing & joined & np.r_[True, joined[:-1]]
    soft = np.zeros(count, bool)
    if len(tracked.detail) == count:
        soft = (tracked.detail < SOFT * np.percentile(tracked.detail, 90)) & joined & ~fast
    return Doubts(
        unjoined,
        (frame_tracks < FEW_TRACKS) & joined,
        (frame_tracks < BLIND_TRACKS) & joined,
        (_hidden_besides(hidden_share(view.tracks, static)) > MOSTLY_HIDDEN) & joined,
        fast,
        soft if soft.sum() >= SOFT_FRAMES else np.zeros(count, bool),
        jumped,
    )


def _hidden_besides(share: np.ndarray) -> np.ndarray:
    """(F,) of what each frame could show the share that it hides, of what is usually seen in this shot."""
    usual = float(np.percentile(share, USUALLY_HIDDEN_PERCENTILE))
    return (share - usual) / max(1 - usual, 1e-9)


def said_of(doubts: Doubts, numbers: np.ndarray) -> list[str]:
    """The sentences on them; numbers (F,): the frames' numbers."""
    step = int(numbers[1] - numbers[0])

    def these(frames: np.ndarray) -> str:
        """'frame 7', 'frames 3, 7-9'."""
        return ("frame " if frames.sum() == 1 else "frames ") + ranges(numbers[frames].tolist(), step)

    def first(frames: np.ndarray) -> int:
        return int(numbers[np.argmax(frames)])

    lines = []
    if doubts.unjoined.any():
        lines.append(
            f"Nothing joins {these(doubts.unjoined)} to the others (a cut, a fade, a flash, somebody right in "
            "front of the lens): the camera is not known there, it only goes on from the frames around. Another shot needs "
            "a solve of its own."
        )
    if doubts.few.any():
        lines.append(
            f"{int(doubts.few.sum())} frame(s) rest on fewer than {FEW_TRACKS} tracks (first: {first(doubts.few)}); look at them."
        )
    if doubts.blind.any():
        lines.append(
            f"In {int(doubts.blind.sum())} frame(s) (first: {first(doubts.blind)}) next to nothing could be followed: their "
            "cameras are guessed, and what comes before and after may not fit together."
        )
    if doubts.hidden.any():
        lines.append(
            f"In {these(doubts.hidden)} most of what is seen before and after is hidden (somebody in front of the "
            "lens?): the camera may follow what hides it. Look at a prop there, or draw a mask."
        )
    if doubts.jumped.any():
        lines.append(
            f"Between {int(doubts.jumped.sum())} pair(s) of neighbouring frames the picture jumped (first: frame "
            f"{first(doubts.jumped)}); they were joined by matching descriptors."
        )
    if doubts.fast.any():
        last = int(numbers[np.nonzero(doubts.fast)[0][-1]])
        lines.append(
            f"The picture races by between frames {first(doubts.fast)} and {last} (a whip pan, a jolt): the blur "
            "hides small errors there, and the two sides may not fit together exactly. Look at a prop on both sides."
        )
    if doubts.soft.any():
        lines.append(
            f"The picture is out of focus or blurred in {these(doubts.soft)}: what is followed there is less sure. "
            "Look at a prop there."
        )
    return lines
