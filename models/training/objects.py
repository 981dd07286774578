"""Meshes and textures in stock, the builder of scenes, and people, cars, trees and buildings. Metres, z up, standing on z = 0."""

from __future__ import annotations

import numpy as np

from . import primitives
from .raster import Item, Mesh
from .textures import TextureBank


def yaw_matrix(yaw: float) -> np.ndarray:
    """(3, 3) rotation about z, radians."""
    c, s = np.cos(yaw), np.sin(yaw)
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1.0]])


def axis_matrix(axis: np.ndarray, angle: float) -> np.ndarray:
    """(3, 3) rotation about a unit axis, radians (Rodrigues)."""
    x, y, z = np.asarray(axis, float) / np.linalg.norm(axis)
    k = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * k + (1 - np.cos(angle)) * (k @ k)


class Stock:
    """Meshes and textures shared by all scenes of a process, so that they are uploaded once."""

    def __init__(self, seed: int, pictures: np.ndarray | None = None) -> None:
        """pictures: (N, H, W, 3) uint8, rendered before, that this stock's posters and screens may show."""
        rng = np.random.default_rng(seed)
        self.textures = TextureBank(rng, pictures)
        self.box, self.sheet, self.ball, self.cylinder = (
            primitives.box(),
            primitives.sheet(),
            primitives.ball(),
            primitives.cylinder(),
        )
        self.cone, self.tapered = primitives.cylinder(14, 0.0), primitives.cylinder(16, 0.6)
        self.rounded = [primitives.superball(s) for s in (0.15, 0.25, 0.4, 0.6)]
        self.stones = [primitives.lumpy_ball(rng, rng.uniform(0.1, 0.5)) for _ in range(24)]
        self.vessels = [self._vessel(rng) for _ in range(30)]
        self.car_bodies = [self._car_body(rng) for _ in range(8)]
        self.terrains = [primitives.height_field(self._terrain(rng)) for _ in range(10)]
        self.limb, self.tapered_limb = primitives.capsule(), primitives.capsule(0.72)
        self.rings = [primitives.ring(t) for t in (0.12, 0.25, 0.4)]
        self.handle = primitives.ring(0.2, 0.55)
        self.bags = [primitives.crumpled(rng, rng.uniform(0.2, 0.9), rng.uniform(0.05, 0.25)) for _ in range(14)]
        self.cloths = [primitives.draped(rng) for _ in range(10)]
        self.bottles = [self._bottle(rng) for _ in range(16)]
        self.torsos = [self._torso(rng) for _ in range(12)]
        self.heads = [self._head(rng) for _ in range(8)]

    @staticmethod
    def _vessel(rng: np.random.Generator) -> Mesh:
        """Cup, bottle, vase, bowl, lamp shade: height 1, largest radius about 0.5."""
        count = int(rng.integers(3, 8))
        radius = np.clip(np.cumsum(rng.normal(0, 0.25, count)) + 0.6, 0.12, 1.0)
        fine = np.interp(np.linspace(0, 1, 14), np.linspace(0, 1, count), radius)
        fine *= 0.5 / fine.max()
        height = np.linspace(-0.5, 0.5, 14)
        return primitives.revolution(np.concatenate([[[0, -0.5]], np.stack([fine, height], 1), [[0, 0.5]]]), 16)

    @staticmethod
    def _bottle(rng: np.random.Generator) -> Mesh:
        """A body, a shoulder, a neck, a cap: height 1, largest radius 0.5."""
        neck, shoulder, cap = rng.uniform(0.2, 0.55), rng.uniform(-0.1, 0.3), rng.uniform(0.36, 0.46)
        waist = rng.uniform(0.75, 1.0)
        profile = [
            (0, -0.5),
            (0.46, -0.5),
            (0.5, -0.47),
            (0.5 * waist, -0.1),
            (0.5, shoulder - 0.08),
            (0.5 * neck + 0.14, shoulder + 0.02),
            (0.5 * neck, shoulder + 0.12),
            (0.5 * neck, cap),
            (0.5 * neck + 0.04, cap),
            (0.5 * neck + 0.03, 0.5),
            (0, 0.5),
        ]
        return primitives.revolution(np.array(profile), 20)

    @staticmethod
    def _torso(rng: np.random.Generator) -> Mesh:
        """From the hips (-0.5) to the neck (0.5), for a body that is 0.62 m long; metres across."""
        wide, stout = rng.uniform(0.85, 1.2), rng.uniform(0.8, 1.5)
        sections = np.array(
            [
                [-0.5, 0.17 * wide, 0.11 * stout, 0],
                [-0.35, 0.18 * wide, 0.13 * stout, 0],
                [-0.1, 0.15 * wide * rng.uniform(0.9, 1.15), 0.12 * stout * rng.uniform(0.9, 1.2), 0.01],
                [0.15, 0.18 * wide, 0.125, 0.015],
                [0.3, 0.205 * wide, 0.12, 0.0],
                [0.4, 0.2 * wide, 0.1, -0.01],
                [0.46, 0.13, 0.08, -0.01],
                [0.5, 0.065, 0.065, 0],
            ]
        )
        return primitives.loft(sections, 22, rng.uniform(0.75, 1.0))

    @staticmethod
    def _head(rng: np.random.Generator) -> Mesh:
        """Chin to crown, 0.235 m high around the origin, the face towards +y."""
        jaw, brow = rng.uniform(0.8, 1.15), rng.uniform(0.92, 1.08)
        sections = np.array(
            [
                [-0.118, 0.022 * jaw, 0.025, 0.055],
                [-0.105, 0.04 * jaw, 0.045, 0.045],
                [-0.075, 0.056 * jaw, 0.07, 0.02],
                [-0.03, 0.068, 0.09, 0.005],
                [0.01, 0.074 * brow, 0.098, 0],
                [0.05, 0.075 * brow, 0.097, -0.003],
                [0.09, 0.06, 0.08, -0.006],
                [0.11, 0.036, 0.05, -0.008],
                [0.118, 0.012, 0.015, -0.008],
            ]
        )
        return primitives.loft(sections, 20)

    @staticmethod
    def _car_body(rng: np.random.Generator) -> Mesh:
        """The side view of a car drawn out over its width; length, height and width 1."""
        bonnet, roof = rng.uniform(0.42, 0.6), 1.0
        outline = np.array(
            [
                [-0.5, 0.1],
                [-0.5, rng.uniform(0.35, 0.8)],
                [-0.47, rng.uniform(0.5, 1.0)],
                [rng.uniform(-0.4, -0.2), roof],
                [rng.uniform(0.0, 0.15), roof],
                [rng.uniform(0.2, 0.32), bonnet + 0.03],
                [0.46, bonnet - 0.06],
                [0.5, 0.3],
                [0.5, 0.1],
            ]
        )
        outline[:, 1] -= 0.5
        return primitives.extrusion(outline[::-1])

    @staticmethod
    def _terrain(rng: np.random.Generator) -> np.ndarray:
        from .textures import cloud

        return (cloud(rng, int(rng.integers(1, 4)), 5, rng.uniform(0.25, 0.5), size=64) - 0.5).astype(np.float64)


class Builder:
    """Collects the items of a scene. `begin` starts an object with its own id and frame; `part` adds to it."""

    def __init__(self, rng: np.random.Generator, stock: Stock) -> None:
        self.rng, self.stock = rng, stock
        self.items: list[Item] = []
        self.object_id = self._last_id = 0
        self._origin, self._rotation = np.zeros(3), np.eye(3)
        self.focus: list[np.ndarray] = []  # centres of things worth looking at

    def begin(self, origin=(0.0, 0.0, 0.0), yaw: float = 0.0, rotation: np.ndarray | None = None) -> None:
        """Starts an object at `origin` (world), turned by yaw about z or by a whole rotation."""
        self._last_id += 1
        self.object_id = self._last_id
        self._origin = np.asarray(origin, float)
        self._rotation = yaw_matrix(yaw) if rotation is None else rotation

    def look(self, *kinds: str, odd: float = 0.12, tile: tuple[float, float] = (0.3, 2.5), tint: float = 0.25) -> dict:
        """A material: a texture of one of the kinds (now and then of any kind) with its tile size, tint and gloss."""
        rng = self.rng
        texture = self.stock.textures.pick(rng, *(() if rng.random() < odd else kinds))
        shine = rng.random()
        return {
            "texture": texture,
            "tile_m": float(np.exp(rng.uniform(*np.log(tile)))),
            "colour": tuple(rng.uniform(1 - tint, 1.0) * rng.uniform(1 - tint / 2, 1.0, 3)),
            "specular": rng.uniform(0.05, 0.8) if shine < 0.35 else 0.0,
            "shininess": float(np.exp(rng.uniform(1.5, 5))),
            "bump": rng.uniform(0.0, 0.03) if rng.random() < 0.4 else 0.0,
        }

    def part(self, mesh: Mesh, at, size, look: dict, rotation: np.ndarray | None = None, **changes) -> None:
        """Adds a mesh at a place in the object's frame; size in metres along the mesh's axes."""
        turn = self._rotation if rotation is None else self._rotation @ rotation
        self.items.append(
            Item(
                mesh,
                self.object_id,
                rotation=turn,
                position=self._origin + self._rotation @ np.asarray(at, float),
                scale=np.maximum(np.asarray(size, float), 1e-4),
                **{**look, **changes},
            )
        )

    def rod(self, start, end, width: float, look: dict, mesh: Mesh | None = None) -> None:
        """A cylinder (or any mesh along z) from start to end in the object's frame."""
        start, end = np.asarray(start, float), np.asarray(end, float)
        along = end - start
        length = float(np.linalg.norm(along))
        z = along / max(length, 1e-9)
        x = np.cross([0, 1.0, 0] if abs(z[1]) < 0.9 else [1.0, 0, 0], z)
        x /= np.linalg.norm(x)
        self.part(
            mesh or self.stock.cylinder, (start + end) / 2, (width, width, length), look, np.stack([x, np.cross(z, x), z], 1)
        )


def plant(b: Builder, origin, height: float) -> None:
    """A pot plant, bush or broad-leaved tree of cards with holes."""
    rng = b.rng
    b.begin(origin, rng.uniform(0, 6.28))
    trunk, crown = b.look("wood", "mottled"), b.stock.textures.pick(rng, "leaves")
    h = height * rng.uniform(0.2, 0.5)
    b.part(b.stock.tapered, (0, 0, h / 2), (height * 0.07, height * 0.07, h * 1.2), trunk)
    solid = rng.random() < 0.4
    look = {"texture": crown, "colour": tuple(rng.uniform(0.6, 1, 3))}
    for _ in range(int(rng.integers(5, 14))):
        at = np.array([*rng.normal(0, height * 0.13, 2), h + (height - h) * rng.uniform(0.1, 0.9)])
        s = height * rng.uniform(0.25, 0.5)
        if solid:
            b.part(
                b.stock.stones[rng.integers(24)],
                at,
                (s, s, s * 0.8),
                b.look("cells", "mottled", odd=0),
                colour=tuple(rng.uniform(0.3, 0.7, 3) * [0.6, 1, 0.4]),
                tile_m=height * 0.3,
            )
        turn = axis_matrix(rng.normal(size=3), rng.uniform(0, 3.1))
        b.part(b.stock.sheet, at, (s * 1.2, s * 1.2, 1), look, turn)


def conifer(b: Builder, origin, height: float) -> None:
    """A fir: cones on a trunk."""
    rng = b.rng
    b.begin(origin, rng.uniform(0, 6.28))
    look = b.look("cells", "mottled", odd=0)
    look["colour"], look["tile_m"] = tuple(rng.uniform(0.2, 0.6, 3) * [0.5, 0.9, 0.5]), height * 0.15
    b.part(b.stock.tapered, (0, 0, height * 0.15), (height * 0.05, height * 0.05, height * 0.3), b.look("wood"))
    layers = int(rng.integers(2, 5))
    for k in range(layers):
        w = height * rng.uniform(0.3, 0.4) * (1 - 0.7 * k / layers)
        b.part(b.stock.cone, (0, 0, height * (0.25 + 0.65 * k / layers) + height * 0.15), (w, w, height * 0.45), look)


def person(b: Builder, origin, yaw: float, height: float | None = None, seated: bool = False) -> None:
    """A clothed figure of ellipsoids and limbs, standing, walking or seated, facing +y."""
    rng = b.rng
    b.begin(origin, yaw)
    s = (height or rng.uniform(1.5, 1.95)) / 1.8
    skin = {
        "texture": b.stock.textures.pick(rng, "plain"),
        "colour": tuple(np.array([0.85, 0.6, 0.45]) * rng.uniform(0.25, 1.0)),
        "tile_m": 0.7,
    }
    coat, trousers = b.look("fabric", "pattern", "plain", tile=(0.15, 0.8)), b.look("fabric", "plain", tile=(0.15, 0.8))
    hair = b.look("fabric", "plain")
    hair["colour"] = tuple(np.array([0.4, 0.28, 0.18]) * rng.uniform(0.1, 1.6))
    hip = 0.5 if seated else 0.92
    b.part(b.stock.rounded[3], np.array([0, 0, hip + 0.3]) * s, np.array([0.44, 0.27, 0.66]) * s * rng.uniform(0.85, 1.25), coat)
    b.part(b.stock.ball, np.array([0, 0, hip + 0.76]) * s, np.array([0.19, 0.22, 0.26]) * s, skin)
    b.part(b.stock.ball, np.array([0, -0.02, hip + 0.81]) * s, np.array([0.21, 0.23, 0.22]) * s, hair)
    b.part(b.stock.cylinder, np.array([0, 0, hip + 0.62]) * s, np.array([0.11, 0.11, 0.14]) * s, skin)
    for side in (-1, 1):
        swing = rng.normal(0, 0.25)
        knee = np.array([side * 0.11, 0.42 if seated else 0.2 * np.sin(swing), hip if seated else 0.5])
        foot = np.array([side * 0.12, 0.42 if seated else 0.42 * np.sin(swing * 0.7), 0.05])
        b.rod(np.array([side * 0.1, 0, hip + 0.05]) * s, knee * s, 0.17 * s, trousers)
        b.rod(knee * s, foot * s, 0.13 * s, trousers)
        b.part(b.stock.rounded[1], (foot + [0, 0.06, 0]) * s, np.array([0.1, 0.27, 0.1]) * s, hair)
        elbow = np.array([side * rng.uniform(0.26, 0.4), rng.uniform(-0.15, 0.2), hip + rng.uniform(0.2, 0.35)])
        hand = elbow + np.array([rng.uniform(-0.15, 0.1) * side, rng.uniform(-0.05, 0.3), rng.uniform(-0.3, 0.25)])
        b.rod(np.array([side * 0.22, 0, hip + 0.52]) * s, elbow * s, 0.11 * s, coat)
        b.rod(elbow * s, hand * s, 0.085 * s, coat if rng.random() < 0.6 else skin)
        b.part(b.stock.ball, hand * s, np.array([0.1, 0.1, 0.12]) * s, skin)
    b.focus.append(np.asarray(origin, float) + [0, 0, (hip + 0.5) * s])


def car(b: Builder, origin, yaw: float) -> None:
    """A car, van or lorry along x."""
    rng = b.rng
    b.begin(origin, yaw)
    van = rng.random() < 0.2
    length, width, height = rng.uniform(3.6, 4.9), rng.uniform(1.6, 1.9), rng.uniform(1.35, 1.75)
    paint = b.look("plain", odd=0.02)
    paint.update(
        specular=rng.uniform(0.2, 0.9),
        shininess=60.0,
        colour=tuple(np.clip(rng.uniform(0.05, 1) * rng.uniform(0.3, 1.3, 3), 0, 1)),
        bump=0.0,
    )
    glass = {"colour": (0.03, 0.035, 0.04), "specular": 0.8, "shininess": 80.0}
    if van:
        height, length = rng.uniform(1.9, 3.2), rng.uniform(4.5, 8)
        b.part(b.stock.box, (-0.1 * length, 0, 0.3 + height / 2), (0.8 * length, width * 1.1, height), paint)
        b.part(b.stock.box, (0.4 * length, 0, 0.3 + height * 0.35), (0.22 * length, width, height * 0.7), paint)
        b.part(b.stock.box, (0.43 * length, 0, 0.3 + height * 0.52), (0.17 * length, width * 1.01, height * 0.28), glass)
    else:
        body = b.stock.car_bodies[rng.integers(8)]
        b.part(body, (0, 0, 0.2 + height * 0.45), (length, width, height * 0.9), paint, tile_m=3.0)
        b.part(body, (-0.02 * length, 0, 0.2 + height * 0.585), (length * 0.82, width * 1.005, height * 0.52), glass)
    tyre = {"colour": (0.04, 0.04, 0.04), "texture": b.stock.textures.pick(rng, "mottled"), "tile_m": 0.5}
    turn = axis_matrix([1, 0, 0], np.pi / 2)
    for x in (-0.32, 0.32):
        for y in (-0.46, 0.46):
            b.part(b.stock.cylinder, (x * length, y * width, 0.32), (0.64, 0.64, 0.2), tyre, turn)
            b.part(
                b.stock.cylinder,
                (x * length, y * width * 1.02, 0.32),
                (0.38, 0.38, 0.2),
                {"colour": (0.5, 0.5, 0.5), "specular": 0.4},
                turn,
            )
    b.focus.append(np.asarray(origin, float) + [0, 0, 0.8])


def building(b: Builder, origin, yaw: float, width: float, depth: float, height: float) -> None:
    """A house or block whose front (at -y) has windows, a shop or doors, cornices, now and then a pitched roof or balconies."""
    rng = b.rng
    b.begin(origin, yaw)
    look = b.look("facade", odd=0.08, tile=(2.5, 9.0))
    b.part(b.stock.box, (0, depth / 2, height / 2), (width, depth, height), look)
    trim = b.look("plain", "mottled")
    if rng.random() < 0.6:
        b.part(b.stock.box, (0, depth / 2, height), (width + 0.5, depth + 0.5, rng.uniform(0.2, 0.8)), trim)
    if rng.random() < 0.5:
        ground = rng.uniform(2.8, 4.2)
        b.part(
            b.stock.box, (0, -0.05, ground / 2), (width * 0.98, 0.2, ground), b.look("facade", "plain", "poster", tile=(2.0, 5.0))
        )
        if rng.random() < 0.4:
            b.part(
                b.stock.box,
                (rng.uniform(-0.2, 0.2) * width, -0.7, ground),
                (width * rng.uniform(0.3, 0.8), 1.4, 0.15),
                b.look("pattern", "fabric"),
                axis_matrix([1, 0, 0], 0.3),
            )
    if rng.random() < 0.35:
        for z in np.arange(4.0, height - 1, 3.0)[:6]:
            for x in np.linspace(-0.35, 0.35, int(rng.integers(1, 4))) * width:
                b.part(b.stock.box, (x, -0.6, z), (1.8, 1.2, 0.15), trim)
                b.part(b.stock.box, (x, -1.15, z + 0.5), (1.8, 0.06, 0.9), trim)
    if height < 12 and rng.random() < 0.5:
        rise = rng.uniform(0.25, 0.5) * depth
        slope = np.arctan2(rise, depth / 2)
        for side in (-1, 1):
            b.part(
                b.stock.box,
                (0, depth / 2 + side * depth / 4, height + rise / 2),
                (width * 1.05, depth / 2 / np.cos(slope) * 1.1, 0.15),
                b.look("tiles", "mottled", tile=(0.8, 3)),
                axis_matrix([1, 0, 0], -side * slope),
            )
