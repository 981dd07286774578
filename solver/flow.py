"""From one picture to the next: about where every point has gone, for refinement to begin from."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from .gap import bridge_prediction
from .patches import smooth

SMOOTHING_PX = 0.7
SAME_LIGHT = 0.05  # of the brightness and the contrast: content that comes and goes changes them by so much
HALVE_FROM_PX = 900  # pictures at least so wide or high are halved for Lucas-Kanade


@dataclass(frozen=True)
class Picture:
    """A frame as the tracker looks at it: image (H, W, 3) uint8 BGR as the clip has it; gray, at the tracked size; coarse, what
    Lucas-Kanade looks at, coarse_scale times that size; fine, float32, smoothed; scale (2,): the clip's size over the tracked."""

    image: np.ndarray
    gray: np.ndarray
    coarse: np.ndarray
    coarse_scale: float
    fine: np.ndarray
    scale: np.ndarray


def prepare(image: np.ndarray, shrink: float) -> Picture:
    """All that the tracker needs of a frame (H, W, 3) uint8 BGR or (H, W) uint8, tracked at `shrink` times its size."""
    gray = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY) if image.ndim == 3 else image
    scale = np.ones(2)
    if shrink < 1:
        size = tuple(round(n * shrink) for n in gray.shape[::-1])
        scale = np.array(gray.shape[::-1]) / size
        gray = cv2.resize(gray, size, interpolation=cv2.INTER_AREA)
    halved = max(gray.shape) >= HALVE_FROM_PX
    coarse = cv2.pyrDown(gray) if halved else gray
    return Picture(image, gray, coarse, 0.5 if halved else 1.0, smooth(gray, SMOOTHING_PX), scale)


def like(picture: np.ndarray, other: np.ndarray) -> np.ndarray:
    """A grey picture (H, W) uint8 as bright and as contrasty as another: Lucas-Kanade takes a change of light for motion.

    One that is that already, nearly, stays as it is.
    """
    (mean, spread), (its_mean, its_spread) = (np.maximum(cv2.meanStdDev(p), 1.0).ravel() for p in (picture, other))
    gain = its_spread / spread
    if max(abs(gain - 1), abs(its_mean / mean - 1)) < SAME_LIGHT:
        return picture
    return cv2.addWeighted(picture, gain, picture, 0.0, its_mean - gain * mean)


@dataclass(frozen=True)
class Flow:
    """Where points went: xy (n, 2) px, ok (n,) whether they were found; by_descriptors: too far for Lucas-Kanade alone."""

    xy: np.ndarray
    ok: np.ndarray
    by_descriptors: bool = False


def lucas_kanade(
    before: Picture, now: Picture, xy: np.ndarray, guess: np.ndarray, window_px: int, max_backward_px: float
) -> Flow:
    """Pyramidal Lucas-Kanade from xy (n, 2), beginning at guess (n, 2), checked backwards.

    Large pictures are looked at in half their size: what that loses in sharpness refinement finds anyway.
    """
    shrink = np.float32(now.coarse_scale)
    from_xy = ((xy + 0.5) * shrink - 0.5).astype(np.float32)
    window = (2 * round((0.65 if shrink < 1 else 1.0) * window_px / 2) + 1,) * 2
    before_coarse = like(before.coarse, now.coarse)
    criteria = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 12, 0.03)
    found, status, _ = cv2.calcOpticalFlowPyrLK(
        before_coarse,
        now.coarse,
        from_xy,
        ((guess + 0.5) * shrink - 0.5).astype(np.float32),
        winSize=window,
        maxLevel=4 if shrink == 1 else 3,
        criteria=criteria,
        flags=cv2.OPTFLOW_USE_INITIAL_FLOW,
    )
    # Backwards from the found place the start is close: no need to begin with coarse levels.
    back, status2, _ = cv2.calcOpticalFlowPyrLK(
        now.coarse,
        before_coarse,
        found,
        from_xy.copy(),
        winSize=window,
        maxLevel=1 if shrink == 1 else 0,
        criteria=criteria,
        flags=cv2.OPTFLOW_USE_INITIAL_FLOW,
    )
    ok = (status.ravel() > 0) & (status2.ravel() > 0)
    ok &= np.hypot(*(back - from_xy).T) < shrink * max_backward_px
    return Flow((found.astype(np.float64) + 0.5) / shrink - 0.5, ok)


def follow(before: Picture, now: Picture, xy: np.ndarray, velocity: np.ndarray, window_px: int, max_backward_px: float) -> Flow:
    """Where the points xy (n, 2) went that moved by velocity (n, 2) the frame before, however far that is."""
    best = lucas_kanade(before, now, xy, xy + velocity, window_px, max_backward_px)
    if best.ok.mean() < 0.5 and np.abs(velocity).max() > 1:
        # the move may have stopped or turned: start from where the points were
        again = lucas_kanade(before, now, xy, xy, window_px, max_backward_px)
        best = again if again.ok.sum() > best.ok.sum() else best
    if best.ok.mean() < 0.5:
        # too far for the pyramid (whip pan, cut-like jolt): take the motion from descriptors, then try again
        predicted = bridge_prediction(before.gray, now.gray, xy.astype(np.float32))
        if predicted is not None:
            far = lucas_kanade(before, now, xy, predicted, window_px, max_backward_px)
            if far.ok.sum() > best.ok.sum():
                return Flow(far.xy, far.ok, by_descriptors=True)
    return best
