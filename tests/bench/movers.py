"""What moves in front of the camera: people who walk or stand and gesture, cars that drive. All are functions of time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from models.training import primitives
from models.training.raster import Item, Mesh
from tests.bench import textures

FIRST_MOVER_ID = 1000
# Where something is at a time in frames: (x, y, z) metres and heading in radians (0 looks along +x).
Path = Callable[[float], tuple[np.ndarray, float]]


# A trunk from hips to neck: radius and height, scaled to depth, width and height in metres.
TORSO = primitives.revolution(
    np.array(
        [[0, 0], [0.4, 0], [0.44, 0.1], [0.38, 0.3], [0.42, 0.5], [0.5, 0.78], [0.48, 0.88], [0.34, 0.96], [0.16, 1.0], [0, 1.0]]
    ),
    28,
)


def rotation_z(angle: float) -> np.ndarray:
    """(3, 3) turn about z."""
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1.0]])


def rotation_y(angle: float) -> np.ndarray:
    """(3, 3) turn about y."""
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])


def straight(start: tuple[float, float], velocity_m_per_frame: tuple[float, float], z: float = 0.0) -> Path:
    """At constant speed, looking where it goes."""
    heading = float(np.arctan2(velocity_m_per_frame[1], velocity_m_per_frame[0]))

    def at(t: float) -> tuple[np.ndarray, float]:
        return np.array([start[0] + velocity_m_per_frame[0] * t, start[1] + velocity_m_per_frame[1] * t, z]), heading

    return at


def parked(where: tuple[float, float], heading: float) -> Path:
    """Always in the same place."""
    return lambda t: (np.array([*where, 0.0]), heading)


def standing(where: tuple[float, float], heading: float, sway_m: float, rng: np.random.Generator, z: float = 0.0) -> Path:
    """On the spot, shifting weight and turning a little."""
    phase = rng.uniform(0, 6.28, 4)
    speed = rng.uniform(0.05, 0.14, 4)

    def at(t: float) -> tuple[np.ndarray, float]:
        wave = np.sin(phase + speed * t)
        return np.array([where[0] + sway_m * wave[0], where[1] + 0.5 * sway_m * wave[1], z]), heading + 0.35 * float(wave[2])

    return at


@dataclass
class Limb:
    """One rigid part: a mesh scaled to `size`, hung at `joint` (body frame), swinging about y with amplitude and phase."""

    mesh: Mesh
    size: np.ndarray
    joint: np.ndarray
    drop: float  # metres from the joint down to the part's centre
    swing: float  # radians
    phase: float
    texture: np.ndarray
    tile_m: float | None


class Person:
    """A figure 1.6 to 1.9 m tall. `stride` is the walking swing's speed in radians per frame; 0 for gestures only."""

    def __init__(self, rng: np.random.Generator, path: Path, object_id: int, stride: float = 0.28) -> None:
        self.path, self.object_id, self.stride = path, object_id, stride
        self.height = float(rng.uniform(1.62, 1.88))
        h = self.height
        tube, ball = primitives.cylinder(18, 0.85), primitives.ball(24)
        shirt = textures.cloth(rng, textures.muted(rng, 0.15, 0.8), str(rng.choice(["weave", "stripes", "check", "print"])))
        trousers = textures.cloth(rng, textures.muted(rng, 0.08, 0.4), "weave")
        face = textures.skin(rng)
        swing = 0.5 if stride else 0.12
        self.gesture = 0.0 if stride else float(rng.uniform(0.5, 0.9))
        arm, leg = 0.36 * h, 0.47 * h
        self.parts = [
            Limb(
                primitives.ball(24),
                np.array([0.26, 0.44, 0.62]) * h / 1.75,
                np.array([0, 0, 0.66 * h]),
                0.0,
                0.03,
                0.0,
                shirt,
                0.5,
            ),
            Limb(ball, np.array([0.21, 0.17, 0.25]) * h / 1.75, np.array([0.01, 0, 0.93 * h]), 0.0, 0.06, 1.0, face, None),
            Limb(tube, np.array([0.1, 0.1, 0.1]), np.array([0, 0, 0.845 * h]), 0.0, 0.0, 0.0, face, 5.0),
        ]
        for side, phase in ((1, 0.0), (-1, np.pi)):
            shoulder = np.array([0, side * 0.22 * h / 1.75, 0.8 * h])
            hip = np.array([0, side * 0.1, 0.49 * h])
            self.parts.append(Limb(tube, np.array([0.11, 0.11, arm]), shoulder, arm / 2, swing, phase + np.pi, shirt, 0.4))
            self.parts.append(
                Limb(tube, np.array([0.16, 0.16, leg]), hip, leg / 2, swing if stride else 0.02, phase, trousers, 0.5)
            )

    def items(self, t: float) -> list[Item]:
        """Its parts at a time in frames."""
        where, heading = self.path(t)
        turn = rotation_z(heading)
        bob = 0.02 * abs(np.sin(self.stride * t)) if self.stride else 0.0
        result = []
        for limb in self.parts:
            speed = self.stride or 0.13
            angle = limb.swing * np.sin(speed * t + limb.phase)
            if self.gesture and limb.drop and limb.joint[2] > 0.6 * self.height and limb.joint[1] > 0:
                angle = -self.gesture * (1 + 0.5 * np.sin(0.17 * t))
            local = rotation_y(angle)
            centre = limb.joint + local @ np.array([0, 0, -limb.drop]) + [0, 0, bob]
            result.append(
                Item(
                    limb.mesh,
                    self.object_id,
                    turn @ local,
                    where + turn @ centre,
                    limb.size,
                    limb.texture,
                    tile_m=limb.tile_m,
                    uv_scale=(1.0, 1.0),
                    specular=0.02,
                )
            )
        return result


class Car:
    """A car about 4.3 m long. Its wheels turn with the way it has gone."""

    def __init__(self, rng: np.random.Generator, path: Path, object_id: int) -> None:
        self.path, self.object_id = path, object_id
        self.length, self.width = float(rng.uniform(3.9, 4.7)), 1.75
        paint = textures.muted(rng, 0.1, 0.75)
        self.paint = textures.plaster(rng, paint, 0.03, 256)
        self.glass = textures.plaster(rng, (0.07, 0.09, 0.11), 0.08, 256)
        self.dark = textures.plaster(rng, (0.06, 0.06, 0.06), 0.1, 256)
        self.rim = textures.tiles(rng, [(0.6, 0.6, 0.62), (0.15, 0.15, 0.16)], 8, 128)
        self.plate = textures.poster(rng, 128, 48)
        self.box, self.tube, self.ball = primitives.box(), primitives.cylinder(24), primitives.ball(16)

    def items(self, t: float) -> list[Item]:
        """Its parts at a time in frames."""
        where, heading = self.path(t)
        turn, length, width = rotation_z(heading), self.length, self.width
        gone = float(np.dot(where[:2], [np.cos(heading), np.sin(heading)]))

        def part(
            mesh: Mesh, size: tuple, centre: tuple, texture: np.ndarray, tile: float | None, local: np.ndarray | None = None
        ) -> Item:
            rotation = turn if local is None else turn @ local
            return Item(
                mesh,
                self.object_id,
                rotation,
                where + turn @ np.array(centre),
                np.array(size, float),
                texture,
                tile_m=tile,
                specular=0.15,
                shininess=40,
            )

        result = [
            part(self.box, (length, width, 0.55), (0, 0, 0.58), self.paint, 3.0),
            part(self.box, (length * 0.5, width * 0.9, 0.5), (-0.1 * length, 0, 1.1), self.glass, 3.0),
            part(self.box, (length * 0.44, width * 0.84, 0.06), (-0.1 * length, 0, 1.38), self.paint, 3.0),
            part(self.box, (0.06, 0.5, 0.14), (length / 2 + 0.01, 0, 0.5), self.plate, None),
            part(self.box, (0.06, 0.5, 0.14), (-length / 2 - 0.01, 0, 0.5), self.plate, None),
            part(self.box, (0.1, width * 0.96, 0.16), (length / 2, 0, 0.36), self.dark, 1.0),
            part(self.box, (0.1, width * 0.96, 0.16), (-length / 2, 0, 0.36), self.dark, 1.0),
        ]
        upright = np.array([[1, 0, 0], [0, 0, -1], [0, 1, 0.0]])  # a cylinder's axis from z to y
        spin = rotation_y(gone / 0.32)
        for x in (0.32, -0.32):
            for y in (0.5, -0.5):
                hub = (x * length, y * (width - 0.1), 0.32)
                result.append(part(self.tube, (0.64, 0.64, 0.2), hub, self.dark, 0.3, spin @ upright))
                result.append(part(self.tube, (0.38, 0.38, 0.22), hub, self.rim, 0.25, spin @ upright))
            for y in (0.36, -0.36):
                result.append(part(self.ball, (0.12, 0.3, 0.18), (np.sign(x) * length / 2, y * width, 0.66), self.rim, 1.0))
        return result
