"""A still of real footage, laid on a relief and filmed by a phone: real texture, blur and grain with exact cameras.

`real/dog+phone_stand`: the middle frame of that clip, seen by a hand that shakes; `+phone_walk`: by somebody who walks towards
it; `+phone_pan`: who turns; `+phone_turn`: who turns and stays in one spot to the millimetre. The sensor is read row by row
over half a frame, exposed for a third of one; noise, exposure and compression are a phone's. The relief is the same smooth one
for all: near below, far above, with bumps, and no depth network sees it. Made once into .cache/bench/worn.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import cv2
import numpy as np

from tests.bench.movies import read, write
from tests.bench.shots import Shot

FRAMES, FPS = 60, 30
ROW_TIME, EXPOSURE, MOMENTS = 0.5, 0.3, 3  # in frames; pictures that are averaged over the exposure
NOISE_LEVELS, CRF = 4.0, 24
STILL_FOCAL, PHONE_FOCAL = 1.1, 1.22  # over the still's width
SHARE = 0.75  # of the still's width and height that the phone's picture has
SETTLED_PX = 1e-3
ROUNDS = 20
ENLARGED = 4  # times: OpenCV looks up pixels to a thirty-second
HARMONICS = 7  # of the hand's shake


@dataclass(frozen=True)
class Hand:
    """What a hand does: degrees about x, y, z and metres along them, at a time from 0 to 1."""

    turn: Callable[[float, np.ndarray], tuple[float, float, float]]
    place: Callable[[float, np.ndarray], tuple[float, float, float]]


def _bounce(t: float) -> float:
    return math.sin(2 * math.pi * 1.8 * t)


# v: six shakes, independent of each other
MOVES: dict[str, Hand] = {
    "phone_stand": Hand(
        lambda t, v: (0.7 * v[0], 0.8 * v[1], 0.35 * v[2]), lambda t, v: (0.02 * v[3], 0.015 * v[4], 0.012 * v[5])
    ),
    "phone_walk": Hand(
        lambda t, v: (0.5 * v[0], 0.5 * v[1], 0.3 * v[2]),
        lambda t, v: (0.025 * v[3] + 0.02 * _bounce(t), 0.012 * v[4] + 0.02 * abs(_bounce(t)), 0.5 * t + 0.01 * v[5]),
    ),
    "phone_pan": Hand(
        lambda t, v: (0.4 * v[0], 0.4 * v[1] + 7 * (t - 0.5), 0.3 * v[2]),
        lambda t, v: (0.02 * v[3] + 0.06 * (t - 0.5), 0.012 * v[4], 0.01 * v[5]),
    ),
    "phone_turn": Hand(lambda t, v: (0.7 * v[0], 0.8 * v[1] + 3 * (t - 0.5), 0.35 * v[2]), lambda t, v: (0.0, 0.0, 0.0)),
}


class Still:
    """A picture on a relief, and the phone before it."""

    def __init__(self, picture: np.ndarray, hand: Hand, seed: int) -> None:
        """picture (H, W, 3) uint8 BGR; hand: what the phone does; seed: how it shakes."""
        rng = np.random.default_rng(seed)
        self.hand = hand
        self.phase = rng.uniform(size=(6, HARMONICS))
        self.size = rng.normal(size=(6, HARMONICS)) / np.arange(1, HARMONICS + 1) ** 0.8
        self.still_height, self.still_width = picture.shape[:2]
        self.picture = cv2.resize(picture, None, fx=ENLARGED, fy=ENLARGED, interpolation=cv2.INTER_CUBIC)
        self.width, self.height = (2 * round(SHARE * n / 2) for n in (self.still_width, self.still_height))
        self.focal_px = PHONE_FOCAL * self.still_width

    def points(self, at: np.ndarray) -> np.ndarray:
        """(..., 3) metres: where the relief is at places (..., 2) of the still, px."""
        u, v = np.moveaxis((at - [self.still_width / 2, self.still_height / 2]) / self.still_width, -1, 0)
        depth = 4.2 - 4.0 * v + 0.5 * np.sin(9 * u + 1) * np.sin(8 * v) + 0.3 * np.sin(17 * u) * np.cos(13 * v + 1)
        return np.stack([u / STILL_FOCAL * depth, v / STILL_FOCAL * depth, depth], -1)

    def camera(self, time: float) -> np.ndarray:
        """(4, 4) world-from-camera at a time from 0 to 1, OpenCV axes; the world's are those of the still's own camera."""
        turns = 2 * np.pi * (1.1 * time * np.arange(1, HARMONICS + 1) + self.phase)
        shake = (self.size * np.sin(turns)).sum(1)
        pose = np.eye(4)
        for axis, degrees in zip(np.eye(3), self.hand.turn(time, shake), strict=True):
            pose[:3, :3] = pose[:3, :3] @ cv2.Rodrigues(np.radians(degrees) * axis)[0]
        pose[:3, 3] = self.hand.place(time, shake)
        return pose

    def seen(self, frame: float, begin: np.ndarray | None = None) -> np.ndarray:
        """(h, w, 2) where in the still (px, corner at 0) each of the phone's pixels looks; begin: a guess."""
        x, y = np.meshgrid(np.arange(self.width) + 0.5, np.arange(self.height) + 0.5)
        rows = [self.camera((frame + ROW_TIME * ((k + 0.5) / self.height - 0.5)) / (FRAMES - 1)) for k in range(self.height)]
        turn, place = np.array([r[:3, :3] for r in rows]), np.array([r[:3, 3] for r in rows])[:, None]
        scale = STILL_FOCAL / PHONE_FOCAL
        wanted = np.stack([x - self.width / 2, y - self.height / 2], -1)
        at = wanted * scale + [self.still_width / 2, self.still_height / 2] if begin is None else begin
        for _ in range(ROUNDS):
            q = np.matmul(self.points(at) - place, turn)
            miss = wanted - self.focal_px * q[..., :2] / q[..., 2:]
            at = at + scale * miss
            if np.abs(miss).max() < SETTLED_PX:
                break
        return at

    def film(self, rng: np.random.Generator) -> np.ndarray:
        """(FRAMES, h, w, 3) uint8 BGR."""
        out = np.empty((FRAMES, self.height, self.width, 3), np.uint8)
        at = None
        for k in range(FRAMES):
            light = np.zeros(out.shape[1:], np.float32)
            for moment in range(MOMENTS):
                at = self.seen(k + EXPOSURE * ((moment + 0.5) / MOMENTS - 0.5), at)
                x, y = np.moveaxis((ENLARGED * at - 0.5).astype(np.float32), -1, 0)
                light += cv2.remap(self.picture, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
            noise = cv2.GaussianBlur(rng.normal(size=light.shape).astype(np.float32), (0, 0), 0.7)
            exposure = 1 + 0.12 * math.sin(5 * k / FRAMES)
            out[k] = np.clip(light / MOMENTS * exposure + NOISE_LEVELS / noise.std() * noise, 0, 255)
        return out

    def truth(self) -> dict:
        """The contents of the .gt.json: the cameras are those of the middle row."""
        lens = {"fx": self.focal_px, "fy": self.focal_px, "cx": self.width / 2, "cy": self.height / 2}
        poses = [self.camera(k / (FRAMES - 1)) for k in range(FRAMES)]
        frames = [{"frame": k, "c2w": pose.tolist()} | lens for k, pose in enumerate(poses)]
        middle = poses[FRAMES // 2]
        x, y = np.meshgrid(np.linspace(0, self.still_width, 26)[1:-1], np.linspace(0, self.still_height, 20)[1:-1])
        some = self.points(np.stack([x, y], -1)).reshape(-1, 3)
        q = (some - middle[:3, 3]) @ middle[:3, :3]
        uv = self.focal_px * q[:, :2] / q[:, 2:] + [self.width / 2, self.height / 2]
        inside = ((uv > 5) & (uv < [self.width - 5, self.height - 5])).all(1)
        return {
            "width": self.width, "height": self.height, "fps": FPS, "k1": 0.0, "k2": 0.0, "rolling": ROW_TIME, "frames": frames,
            "grid": {"frame": FRAMES // 2, "uv": uv[inside].tolist(), "xyz": some[inside].tolist()},
        }  # fmt: skip


def filmed(shot: Shot, how: str, made: Shot, say: Callable[[str], None] = print) -> Shot:
    """A still of the shot, its middle frame, filmed by a phone in one of the MOVES; made where `made` says if need be."""
    made = replace(made, kind=None, real=False)  # whatever the shot was, this one's truth is exact
    if not made.movie.exists():
        made.movie.parent.mkdir(parents=True, exist_ok=True)
        say(f"  making {made.name}")
        pictures, _ = read(shot.movie)
        still = Still(pictures[len(pictures) // 2], MOVES[how], list(MOVES).index(how))
        made.truth.write_text(json.dumps(still.truth()), encoding="utf-8")
        write(still.film(np.random.default_rng(5)), FPS, made.movie, CRF)
    return made
