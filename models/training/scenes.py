"""Random worlds and the cameras that look at them: rooms, table tops, streets, faces of buildings, nature, heaps of shapes.

The spread is wide on purpose (domain randomisation): a network that has seen enough wrong worlds takes the real one for another.
"""

from __future__ import annotations

import numpy as np

from . import objects
from .closeup import close, in_the_way, people
from .filmed import filmed
from .light import relight
from .lived_in import lived_in
from .objects import Builder, Stock, axis_matrix
from .raster import Scene
from .rooms import room
from .world import View, World, outdoor_light


def street(rng: np.random.Generator, stock: Stock) -> World:
    """A street between rows of buildings, with traffic, people, trees and posts; from it also views of a building's face."""
    b = Builder(rng, stock)
    road, pavement, length = rng.uniform(5, 16), rng.uniform(1.5, 5), rng.uniform(60, 220)
    b.begin()
    b.part(stock.sheet, (0, 0, -0.02), (600, 600, 1), b.look("mottled", "cells", tile=(2, 10)))
    b.part(
        stock.sheet,
        (0, 0, 0),
        (road, length * 1.5, 1),
        b.look("mottled", "cells", "tiles", odd=0.05, tile=(1, 6)),
        colour=tuple(rng.uniform(0.2, 0.7) * rng.uniform(0.9, 1, 3)),
    )
    if rng.random() < 0.7:
        for y in np.arange(-length / 2, length / 2, 6.0):
            b.part(stock.sheet, (0, y, 0.012), (0.15, 3, 1), {"colour": (0.9, 0.9, 0.85)})
    front = road / 2 + pavement
    for side in (-1, 1):
        b.begin()
        b.part(
            stock.box,
            (side * (road / 2 + pavement / 2), 0, 0.06),
            (pavement, length * 1.5, 0.14),
            b.look("tiles", "mottled", "cells", tile=(0.5, 3)),
        )
        y, base = -length / 2, rng.uniform(4, 30)
        while y < length / 2:
            width = rng.uniform(5, 25)
            if rng.random() < 0.85:
                objects.building(
                    b,
                    (side * (front + max(rng.normal(0, 1.0), 0)), y + width / 2, 0),
                    side * -np.pi / 2,
                    width,
                    rng.uniform(8, 20),
                    max(base * rng.uniform(0.6, 1.5), 3.5),
                )
            else:
                for _ in range(4):
                    objects.plant(b, (side * (front + rng.uniform(2, 12)), y + rng.uniform(0, width), 0), rng.uniform(4, 12))
            y += width + (rng.uniform(0, 6) if rng.random() < 0.3 else 0)
        kerb = side * (road / 2 + 0.5)
        gap, tree = rng.uniform(8, 30), rng.random() < 0.5
        for y in np.arange(-length / 2, length / 2, gap):
            if tree:
                objects.plant(b, (kerb, y + rng.normal(0, 0.5), 0.1), rng.uniform(3, 9))
            else:
                b.begin((kerb, y, 0.1))
                look = b.look("plain")
                b.part(stock.cylinder, (0, 0, 2.8), (0.14, 0.14, 5.6), look)
                b.part(stock.box, (-side * 0.7, 0, 5.6), (1.5, 0.15, 0.1), look)
        for _ in range(int(rng.integers(0, 9))):
            objects.person(
                b, (side * (road / 2 + rng.uniform(0.3, pavement)), rng.uniform(-0.3, 0.3) * length, 0.13), rng.uniform(0, 6.28)
            )
        y = -length / 2
        while rng.random() < 0.9 and y < length / 2:
            y += rng.uniform(5, 18)
            objects.car(b, (side * (road / 2 - 1.1), y, 0), np.pi / 2 + rng.integers(2) * np.pi + rng.normal(0, 0.03))
    for _ in range(int(rng.integers(0, 6))):
        objects.car(b, (rng.uniform(-0.25, 0.25) * road, rng.uniform(-0.4, 0.4) * length, 0), np.pi / 2 + rng.integers(2) * np.pi)
    eyes, targets = [], list(b.focus[:12])
    for _ in range(12):
        x, y = rng.uniform(-front * 0.85, front * 0.85), rng.uniform(-0.45, 0.3) * length
        z = rng.uniform(0.5, 2.2) if rng.random() < 0.75 else rng.uniform(2.2, 12)
        eyes.append(np.array([x, y, z]))
        if rng.random() < 0.7:
            targets.append(
                np.array([rng.uniform(-front, front), y + rng.choice([-1, 1]) * rng.uniform(10, 80), rng.uniform(0, 5)])
            )
        else:
            targets.append(np.array([np.sign(rng.normal()) * front, y + rng.normal(0, 10), rng.uniform(1, 8)]))
    return World("street", Scene(b.items, **outdoor_light(rng, np.zeros(3), min(length * 0.5, 45))), eyes, targets, (18, 200))


def nature(rng: np.random.Generator, stock: Stock) -> World:
    """Rolling ground with trees, bushes, stones, a path or water, hills behind."""
    b = Builder(rng, stock)
    terrain = stock.terrains[rng.integers(len(stock.terrains))]
    size, relief = rng.uniform(60, 400), rng.uniform(0.5, 25)
    grid = terrain.vertices[:, 2].reshape(64, 64)
    middle = grid[32, 32]

    def ground(x: float, y: float) -> float:
        u, v = np.clip((x / size + 0.5) * 63, 0, 62.999), np.clip((y / size + 0.5) * 63, 0, 62.999)
        i, j = int(v), int(u)
        a, c = v - i, u - j
        top = grid[i, j] * (1 - c) + grid[i, j + 1] * c
        low = grid[i + 1, j] * (1 - c) + grid[i + 1, j + 1] * c
        return float((top * (1 - a) + low * a - middle) * relief)

    def spot(reach: float) -> np.ndarray:
        r, t = reach * rng.uniform(0.02, 1) ** 0.8, rng.uniform(0, 6.28)
        return np.array([r * np.cos(t), r * np.sin(t), ground(r * np.cos(t), r * np.sin(t)) - 0.05])

    b.begin((0, 0, -middle * relief))
    earth = b.look("mottled", "cells", "fabric", odd=0.05, tile=(1.5, 12))
    earth["colour"] = tuple(rng.uniform(0.4, 1.0) * np.array([rng.uniform(0.5, 1), rng.uniform(0.6, 1), rng.uniform(0.3, 0.7)]))
    b.part(terrain, (0, 0, 0), (size, size, relief), earth)
    b.part(
        stock.sheet,
        (0, 0, -0.6 * relief),
        (6000, 6000, 1),
        earth if rng.random() < 0.5 else {"colour": (0.15, 0.25, 0.35), "specular": 0.5},
    )
    for _ in range(int(rng.integers(0, 6))):
        turn, away = rng.uniform(0, 6.28), rng.uniform(300, 1500)
        b.begin((away * np.cos(turn), away * np.sin(turn), -0.4 * relief))
        b.part(
            stock.stones[rng.integers(24)],
            (0, 0, 0),
            (away, away * 0.6, away * rng.uniform(0.1, 0.6)),
            b.look("mottled", "cells", odd=0),
            tile_m=away * 0.2,
        )
    reach = size * 0.4
    wood_kind = rng.random()
    for _ in range(int(rng.integers(0, 45))):
        if rng.random() < wood_kind:
            objects.conifer(b, spot(reach), rng.uniform(3, 18))
        else:
            objects.plant(b, spot(reach), rng.uniform(1.0, 14))
    for _ in range(int(rng.integers(0, 25))):
        b.begin(spot(reach), rng.uniform(0, 6.28))
        s = float(np.exp(rng.uniform(np.log(0.2), np.log(4))))
        b.part(
            stock.stones[rng.integers(24)], (0, 0, s * 0.15), s * rng.uniform(0.5, 1.2, 3), b.look("mottled", "cells", odd=0.03)
        )
    grass = stock.textures.pick(rng, "leaves")
    for _ in range(int(rng.integers(0, 60))):
        s = rng.uniform(0.2, 0.9)
        b.begin(spot(reach * 0.25) + [0, 0, s * 0.4], rng.uniform(0, 6.28))
        b.part(stock.sheet, (0, 0, 0), (s, s, 1), {"texture": grass}, axis_matrix([1, 0, 0], np.pi / 2))
    for _ in range(int(rng.integers(0, 5))):
        kind = rng.random()
        if kind < 0.6:
            objects.person(b, spot(reach * 0.3), rng.uniform(0, 6.28))
        elif kind < 0.8:
            objects.car(b, spot(reach * 0.3), rng.uniform(0, 6.28))
        else:
            objects.building(b, spot(reach), rng.uniform(0, 6.28), rng.uniform(5, 12), rng.uniform(5, 10), rng.uniform(3, 7))
    if rng.random() < 0.3:  # fence
        start, turn = spot(reach * 0.3), rng.uniform(0, 6.28)
        b.begin(start, turn)
        look = b.look("wood", "plain")
        for k in range(16):
            b.part(stock.box, (k * 1.5, 0, 0.5), (0.1, 0.1, 1.2), look)
        for z in (0.4, 0.9):
            b.part(stock.box, (11, 0, z), (24, 0.05, 0.12), look)
    eyes = []
    for _ in range(12):
        eye = spot(reach * 0.6)
        eyes.append(eye + [0, 0, rng.uniform(0.4, 2.5) if rng.random() < 0.75 else rng.uniform(2.5, 30)])
    targets = [spot(reach) + [0, 0, rng.uniform(0, 3)] for _ in range(12)] + [f + rng.normal(0, 0.3, 3) for f in b.focus]
    return World("nature", Scene(b.items, **outdoor_light(rng, np.zeros(3), min(reach, 40))), eyes, targets, (18, 200))


def heap(rng: np.random.Generator, stock: Stock) -> World:
    """Shapes of every kind lying or floating in a box or under a sky: no habits to learn, only edges, shading and perspective."""
    b = Builder(rng, stock)
    extent = float(np.exp(rng.uniform(np.log(1.0), np.log(12.0))))
    meshes = [stock.box, stock.ball, stock.cylinder, stock.cone, *stock.rounded, *stock.stones[:8], *stock.vessels[:8]]
    if rng.random() < 0.8:
        b.begin()
        b.part(stock.sheet, (0, 0, 0), (extent * 6, extent * 6, 1), b.look(tile=(0.1 * extent, extent)))
    for k in range(int(rng.integers(0, 3))):
        b.begin((rng.normal(0, 0.3) * extent, 0, 0), k * np.pi / 2 + rng.normal(0, 0.3))
        b.part(
            stock.sheet,
            (0, extent * rng.uniform(1.2, 2.0), extent),
            (extent * 6, extent * 4, 1),
            b.look(tile=(0.1 * extent, extent)),
            axis_matrix([1, 0, 0], np.pi / 2),
            casts_shadow=False,
        )
    for _ in range(int(rng.integers(8, 60))):
        size = extent * float(np.exp(rng.uniform(np.log(0.05), np.log(0.6))))
        at = rng.normal(0, 0.5, 3) * extent
        lying = rng.random() < 0.7
        d = size * rng.uniform(0.3, 1.0, 3)
        at[2] = d[2] / 2 if lying else abs(at[2])
        b.begin(at, rng.uniform(0, 6.28), None if lying else axis_matrix(rng.normal(size=3), rng.uniform(0, 3.1)))
        b.part(meshes[rng.integers(len(meshes))], (0, 0, 0), d, b.look(tile=(0.1 * size, 2 * size)))
    eyes = []
    for _ in range(8):
        direction = rng.normal(size=3)
        direction[2] = abs(direction[2]) * 0.6 + 0.05
        eyes.append(direction / np.linalg.norm(direction) * extent * rng.uniform(0.9, 2.2) + [0, 0, 0.1 * extent])
    return World(
        "heap",
        Scene(b.items, **outdoor_light(rng, np.zeros(3), extent * 2)),
        eyes,
        [rng.normal(0, 0.3, 3) * extent for _ in range(8)],
        (18, 120),
    )


# Share of each kind where none is asked for.
WORLDS = {
    "close": (close, 0.26),
    "people": (people, 0.12),
    "filmed": (filmed, 0.18),
    "lived_in": (lived_in, 0.12),
    "room": (room, 0.07),
    "table": (lambda rng, stock: room(rng, stock, table_top=True), 0.06),
    "street": (street, 0.09),
    "nature": (nature, 0.05),
    "heap": (heap, 0.05),
}
INDOORS = ("close", "people", "filmed", "lived_in", "room", "table")


def random_world(rng: np.random.Generator, stock: Stock, name: str | None = None) -> World:
    """A world of the given kind, or of a random one; now and then in another light, or with something close to the camera."""
    names = list(WORLDS)
    name = name or names[rng.choice(len(names), p=[WORLDS[n][1] for n in names])]
    world = WORLDS[name][0](rng, stock)
    if rng.random() < (0.4 if name in INDOORS else 0.1):
        relight(rng, world.scene)
    if rng.random() < (0.05 if name in ("close", "people", "heap") else 0.2):
        pairs = world.views or [
            (world.eyes[rng.integers(len(world.eyes))], world.targets[rng.integers(len(world.targets))]) for _ in range(4)
        ]
        seen = in_the_way(rng, stock, world, [pairs[k] for k in rng.permutation(len(pairs))])
        if seen and world.views is not None:
            world.views = world.views[: 2 * len(seen)] + seen
        elif seen:
            world.views = seen
    return world


def random_view(rng: np.random.Generator, world: World, width: int) -> View:
    """A camera somewhere in the world: lens, tilt and roll at random."""
    if world.views:
        eye, target = world.views[rng.integers(len(world.views))]
        span = float(np.linalg.norm(np.asarray(target, float) - eye))  # never the same picture twice
        eye, target = eye + rng.normal(0, 0.05, 3) * span, target + rng.normal(0, 0.07, 3) * span
    else:
        eye = world.eyes[rng.integers(len(world.eyes))]
        target = world.targets[rng.integers(len(world.targets))]
        # Look at what is at a sensible distance for most views, not always.
        for _ in range(4):
            if np.linalg.norm(target - eye) > 0.4:
                break
            target = world.targets[rng.integers(len(world.targets))]
    forward = target - eye
    forward /= max(np.linalg.norm(forward), 1e-9)
    up = np.array([0, 0, 1.0]) if abs(forward[2]) < 0.98 else np.array([0, 1.0, 0])
    right = np.cross(forward, up)
    right /= np.linalg.norm(right)
    rotation = np.stack([right, np.cross(forward, right), forward])
    roll = rng.normal(0, 0.03) if rng.random() < 0.85 else rng.normal(0, 0.25)
    rotation = axis_matrix([0, 0, 1], roll) @ rotation
    cam_from_world = np.eye(4)
    cam_from_world[:3, :3] = rotation
    cam_from_world[:3, 3] = -rotation @ eye
    low, high = world.lens_mm
    lens_mm = (
        np.clip(np.exp(rng.normal(np.log(32), 0.45)), low, high)
        if rng.random() < 0.75
        else np.exp(rng.uniform(np.log(low), np.log(high)))
    )
    return View(cam_from_world, float(lens_mm / 36.0 * width))
