"""Camera paths as functions of time in frames: where, which way, and how long the lens is.

A path gives (world_from_camera (4, 4) OpenCV, focal length as a share of the image width). Moves start and end gently, as
an operator's do, and carry a little shake; every path is smooth in t, so that motion blur and rolling shutter can sample
between frames.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

CameraPath = Callable[[float], tuple[np.ndarray, float]]


def look_at(eye: np.ndarray, target: np.ndarray, roll: float = 0.0) -> np.ndarray:
    """World-from-camera of a camera at `eye` that sees `target` in the middle; z is up, roll in radians."""
    forward = np.asarray(target, float) - eye
    forward /= np.linalg.norm(forward)
    right = np.cross(forward, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right)
    down = np.cross(forward, right)
    c, s = np.cos(roll), np.sin(roll)
    c2w = np.eye(4)
    c2w[:3, 0], c2w[:3, 1], c2w[:3, 2], c2w[:3, 3] = c * right + s * down, c * down - s * right, forward, eye
    return c2w


def heading(eye: np.ndarray, pan: float, tilt: float, roll: float = 0.0) -> np.ndarray:
    """World-from-camera by angles in radians: pan 0 looks along +y and grows to the right, tilt grows upwards."""
    forward = np.array([np.sin(pan) * np.cos(tilt), np.cos(pan) * np.cos(tilt), np.sin(tilt)])
    return look_at(np.asarray(eye, float), eye + forward, roll)


def ease(t: float, count: int) -> float:
    """0 to 1 over the shot, half way between a constant speed and a gentle start and end."""
    u = np.clip(t / max(count - 1, 1), -0.05, 1.05)
    return float(0.5 * u + 0.5 * (0.5 - 0.5 * np.cos(np.pi * u)))


class Shake:
    """Smooth unrest of a hand or a head: a sum of slow and quicker sines, unit spread in each of three directions."""

    def __init__(self, rng: np.random.Generator, cycles_per_frame: tuple[float, float] = (0.004, 0.11), waves: int = 9) -> None:
        self.rate = 2 * np.pi * np.exp(rng.uniform(*np.log(cycles_per_frame), (waves, 3)))
        self.phase = rng.uniform(0, 2 * np.pi, (waves, 3))
        # Slow waves are large, quick ones small, as measured hand movements are.
        weight = self.rate**-0.8
        self.weight = weight * np.sqrt(2 / (weight**2).sum(0))

    def __call__(self, t: float) -> np.ndarray:
        return (self.weight * np.sin(self.rate * t + self.phase)).sum(0)


def moving(start: np.ndarray, end: np.ndarray, target: np.ndarray, count: int, focal: float, rng: np.random.Generator,
           shake_m: float = 0.0, shake_deg: float = 0.0, end_focal: float | None = None,
           end_target: np.ndarray | None = None) -> CameraPath:  # fmt: skip
    """A dolly, truck, crane or walk from start to end with the target held in view, and the lens from focal to end_focal."""
    start, end, target = (np.asarray(v, float) for v in (start, end, target))
    last = target if end_target is None else np.asarray(end_target, float)
    body, head = Shake(rng), Shake(rng)

    def at(t: float) -> tuple[np.ndarray, float]:
        u = ease(t, count)
        eye = start + u * (end - start) + shake_m * body(t)
        c2w = look_at(eye, target + u * (last - target))
        return _nudged(c2w, np.radians(shake_deg) * head(t)), focal * (1 if end_focal is None else (end_focal / focal) ** u)

    return at


def orbiting(centre: np.ndarray, radius: float, height: float, arc: tuple[float, float], count: int, focal: float,
             rng: np.random.Generator, shake_m: float = 0.004) -> CameraPath:  # fmt: skip
    """Around `centre` from arc[0] to arc[1] radians (0: from −y), looking at it."""
    body = Shake(rng)

    def at(t: float) -> tuple[np.ndarray, float]:
        angle = arc[0] + ease(t, count) * (arc[1] - arc[0])
        eye = np.array([centre[0] + radius * np.sin(angle), centre[1] - radius * np.cos(angle), height])
        return look_at(eye + shake_m * body(t), centre), focal

    return at


def panning(eye: np.ndarray, pan_deg: tuple[float, float], tilt_deg: tuple[float, float], count: int, focal: float,
            arm_m: float = 0.0, end_focal: float | None = None, profile: Callable[[float], float] | None = None,
            rng: np.random.Generator | None = None, shake_m: float = 0.0, shake_deg: float = 0.0) -> CameraPath:  # fmt: skip
    """A head that turns on a tripod; the lens sits arm_m in front of the turning point (0: pure rotation)."""
    body = Shake(rng) if rng is not None else None
    head = Shake(rng) if rng is not None else None

    def at(t: float) -> tuple[np.ndarray, float]:
        u = profile(t) if profile else ease(t, count)
        pan, tilt = (np.radians(a + u * (b - a)) for a, b in (pan_deg, tilt_deg))
        c2w = heading(np.asarray(eye, float), pan, tilt)
        c2w[:3, 3] += arm_m * c2w[:3, 2]
        if body is not None and head is not None:
            c2w[:3, 3] += shake_m * body(t)
            c2w = _nudged(c2w, np.radians(shake_deg) * head(t))
        return c2w, focal * (1 if end_focal is None else (end_focal / focal) ** u)

    return at


def whip(count: int, length_frames: float) -> Callable[[float], float]:
    """Profile 0 to 1: still, a fast swing of the given length in the middle, still."""

    def at(t: float) -> float:
        u = np.clip((t - (count - 1) / 2) / length_frames + 0.5, 0, 1)
        return float(u * u * u * (u * (6 * u - 15) + 10))

    return at


def _nudged(c2w: np.ndarray, turn: np.ndarray) -> np.ndarray:
    """The camera turned by a small rotation vector (radians) in its own axes."""
    angle = float(np.linalg.norm(turn))
    if angle < 1e-12:
        return c2w
    x, y, z = turn / angle
    k = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    out = c2w.copy()
    out[:3, :3] = c2w[:3, :3] @ (np.eye(3) + np.sin(angle) * k + (1 - np.cos(angle)) * k @ k)
    return out
