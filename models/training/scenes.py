"""Random worlds and the cameras that look at them: rooms, table tops, streets, faces of buildings, nature, heaps of shapes.

The spread is wide on purpose (domain randomisation): a network that has seen enough wrong worlds takes the real one for another.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from . import objects
from .objects import Builder, Stock, axis_matrix
from .raster import Scene


@dataclass
class View:
    """A camera: cam_from_world (4, 4), focal length in px."""

    cam_from_world: np.ndarray
    focal_px: float


@dataclass
class World:
    """A scene and how to look at it."""

    name: str
    scene: Scene
    eyes: list[np.ndarray]  # places a camera may stand, (3,)
    targets: list[np.ndarray]  # places it may look at, (3,)
    lens_mm: tuple[float, float]  # range of lenses on a 36 mm wide sensor that make sense here


def _sun(rng: np.random.Generator, low_deg: float = 8.0) -> np.ndarray:
    height, turn = np.radians(rng.uniform(low_deg, 85)), rng.uniform(0, 2 * np.pi)
    return np.array([np.cos(height) * np.cos(turn), np.cos(height) * np.sin(turn), np.sin(height)])


def _tinted(rng: np.random.Generator, level: float, spread: float = 0.2) -> tuple[float, float, float]:
    return tuple(level * rng.uniform(1 - spread, 1 + spread, 3))


def _outdoor_light(rng: np.random.Generator, centre: np.ndarray, radius: float) -> dict:
    """Sun, cloud or dusk."""
    overcast = rng.random() < 0.3
    sun = 0.15 if overcast else float(np.exp(rng.uniform(np.log(0.5), np.log(3.0))))
    ambient = rng.uniform(0.6, 1.3) if overcast else rng.uniform(0.15, 0.7)
    grey = rng.uniform(0.4, 1.0)
    blue = np.array([0.25, 0.45, 0.9]) * (1 - overcast) + overcast * grey
    haze = rng.random() < 0.35
    return {
        "sun_direction": _sun(rng), "sun_colour": tuple(sun * np.array([1.0, rng.uniform(0.75, 1.0), rng.uniform(0.5, 1.0)])),
        "ambient_up": tuple(ambient * (0.5 + 0.5 * blue)), "ambient_down": _tinted(rng, ambient * 0.4),
        "sky_zenith": tuple(blue * rng.uniform(0.5, 1.1)), "sky_horizon": _tinted(rng, rng.uniform(0.5, 1.0), 0.15),
        "clouds": rng.uniform(0, 0.9) if rng.random() < 0.7 else 0.0, "sky_seed": rng.uniform(0, 50),
        "fog_colour": _tinted(rng, rng.uniform(0.5, 0.95), 0.1), "fog_density": float(np.exp(rng.uniform(-7.5, -4.0))) if haze else 0.0,
        "exposure": rng.uniform(0.7, 1.3), "shadow_centre": centre, "shadow_radius": radius,
    }


def room(rng: np.random.Generator, stock: Stock, table_top: bool = False) -> World:
    """A furnished room; with table_top the cameras stand close to the things on its tables and counters."""
    b = Builder(rng, stock)
    w, d, h = rng.uniform(2.6, 8.0), rng.uniform(2.6, 8.0), rng.uniform(2.3, 3.4)
    wall_look = b.look("plain", "mottled", "tiles", "pattern", tile=(1.0, 4.0), tint=0.4)
    shell = {"casts_shadow": False}
    b.begin()
    b.part(stock.sheet, (0, 0, 0), (w, d, 1), b.look("wood", "tiles", "fabric", "plain", "mottled", tile=(0.6, 3.0)), **shell)
    b.begin()
    b.part(stock.sheet, (0, 0, h), (w, d, 1), b.look("plain", odd=0.03), **shell)
    walls = [((0, d / 2), 0.0, w), ((w / 2, 0), -np.pi / 2, d), ((0, -d / 2), np.pi, w), ((-w / 2, 0), np.pi / 2, d)]  # yaw: front looks inwards
    for (x, y), yaw, length in walls:
        b.begin((x, y, 0), yaw)
        look = wall_look if rng.random() < 0.75 else b.look("plain", "tiles", "pattern", "poster", tile=(1.0, 4.0))
        b.part(stock.sheet, (0, 0, h / 2), (length, h, 1), look, axis_matrix([1, 0, 0], np.pi / 2), **shell)
        if rng.random() < 0.7:
            b.part(stock.box, (0, -0.01, 0.05), (length, 0.03, 0.1), b.look("plain", "wood"), **shell)
        if rng.random() < 0.45:  # window
            ww, wh, at = rng.uniform(0.7, min(2.5, length * 0.6)), rng.uniform(0.7, 1.5), rng.uniform(-0.25, 0.25) * length
            b.part(stock.box, (at, -0.02, 1.5), (ww + 0.16, 0.08, wh + 0.16), b.look("plain", "wood"), **shell)
            b.part(stock.box, (at, -0.04, 1.5), (ww, 0.06, wh), b.look("poster", "facade", "plain", "mottled", tile=(1, 3)), emission=rng.uniform(0.2, 1.0), **shell)
            for k in range(int(rng.integers(1, 4))):
                b.part(stock.box, (at + ww * ((k + 1) / 4 - 0.5), -0.06, 1.5), (0.05, 0.06, wh), b.look("plain"), **shell)
            if rng.random() < 0.5:
                for side in (-1, 1):
                    b.part(stock.rounded[1], (at + side * (ww / 2 + 0.1), -0.12, 1.4), (0.35, 0.12, min(wh + 0.8, h - 0.1)), b.look("fabric", "pattern"))
        elif rng.random() < 0.4:  # door
            at = rng.uniform(-0.3, 0.3) * length
            b.part(stock.box, (at, -0.02, 1.05), (1.05, 0.1, 2.15), b.look("wood", "plain"), **shell)
            b.part(stock.box, (at, -0.04, 1.02), (0.9, 0.09, 2.05), b.look("wood", "plain"), **shell)
        for _ in range(int(rng.integers(0, 4))):  # pictures
            pw, ph = rng.uniform(0.2, 1.2), rng.uniform(0.2, 0.9)
            at, z = rng.uniform(-0.45, 0.45) * length, rng.uniform(1.2, 2.0)
            b.part(stock.box, (at, -0.015, z), (pw + 0.06, 0.03, ph + 0.06), b.look("wood", "plain"))
            b.part(stock.box, (at, -0.022, z), (pw, 0.03, ph), b.look("poster", "page", odd=0), tile_m=None)
        # Furniture along the wall; its front (+y) looks away from the wall.
        at = -length / 2 + 0.4
        while at < length / 2 - 0.4:
            width = rng.uniform(0.5, 1.8)
            spot = np.array([x, y, 0.0]) + objects.yaw_matrix(yaw) @ np.array([at + width / 2, -0.36, 0])
            kind = rng.random()
            if at + width > length / 2 - 0.3:
                break
            if kind < 0.45:
                objects.cupboard(b, spot, yaw + np.pi, width)
            elif kind < 0.58:
                objects.table(b, spot, yaw, (width, rng.uniform(0.5, 0.7), rng.uniform(0.65, 0.95)))
            elif kind < 0.68:
                objects.sofa(b, spot, yaw + np.pi)
                at += 0.5
            elif kind < 0.75:
                objects.plant(b, spot, rng.uniform(0.4, 1.9))
            elif kind < 0.82:
                objects.chair(b, spot, yaw + np.pi + rng.normal(0, 0.4))
            elif kind < 0.87:
                objects.lamp(b, spot)
            at += width + (rng.uniform(0, 0.8) if rng.random() < 0.5 else 0.03)
        if rng.random() < 0.25:  # wall cupboards
            width = rng.uniform(0.5, 0.9) * length
            b.begin((x, y, 0), yaw)
            b.part(stock.box, (0, -0.18, rng.uniform(1.7, 1.9)), (width, 0.35, 0.65), b.look("wood", "plain"))
    if rng.random() < 0.4:
        b.begin((rng.normal(0, 0.5), rng.normal(0, 0.5), 0.006), rng.uniform(0, 6.28))
        b.part(stock.box, (0, 0, 0), (rng.uniform(1, 3), rng.uniform(1, 2.5), 0.012), b.look("fabric", "pattern", "poster"))
    if table_top or rng.random() < 0.7:
        spot, yaw = np.array([rng.normal(0, w * 0.1), rng.normal(0, d * 0.1), 0]), rng.uniform(0, 6.28)
        objects.table(b, spot, yaw, things=int(rng.integers(3, 14)) if table_top else None)
        for _ in range(int(rng.integers(0, 6))):
            turn = rng.uniform(0, 6.28)
            objects.chair(b, spot + np.array([np.sin(turn), -np.cos(turn), 0]) * rng.uniform(0.6, 1.1), turn + rng.normal(0, 0.5))
    elif rng.random() < 0.3:
        objects.bed(b, (rng.normal(0, w * 0.1), rng.normal(0, d * 0.1), 0), rng.integers(4) * np.pi / 2)
    objects.clutter(b, (0, 0, 0), (w * 0.8, d * 0.8), int(rng.integers(0, 7)), (0.1, 0.6))
    for _ in range(int(rng.integers(0, 3)) if rng.random() < 0.35 else 0):
        objects.person(b, (rng.uniform(-0.35, 0.35) * w, rng.uniform(-0.35, 0.35) * d, 0), rng.uniform(0, 6.28), seated=rng.random() < 0.3)
    night = rng.random() < 0.2
    level = rng.uniform(0.15, 0.4) if night else rng.uniform(0.35, 0.95)
    lamps = [((rng.uniform(-0.4, 0.4) * w, rng.uniform(-0.4, 0.4) * d, rng.uniform(1.0, h - 0.1)),
              tuple(rng.uniform(0.3, 2.2) * np.array([1, rng.uniform(0.7, 1), rng.uniform(0.4, 1)])), rng.uniform(0.7, 2.5))
             for _ in range(int(rng.integers(1, 4)))]
    scene = Scene(b.items, sun_direction=_sun(rng, 35), sun_colour=_tinted(rng, rng.uniform(0, 1.2) if rng.random() < 0.7 else 0.0),
                  ambient_up=_tinted(rng, level, 0.15), ambient_down=_tinted(rng, level * rng.uniform(0.4, 0.9), 0.15), lamps=lamps,
                  exposure=rng.uniform(0.7, 1.3), shadow_radius=0.5 * float(np.hypot(w, d)) + 0.5, shadow_centre=np.array([0, 0, 1.0]))
    targets = [f + rng.normal(0, 0.15, 3) for f in b.focus] or [np.array([0, 0, 0.8])]
    targets += [np.array([rng.uniform(-0.5, 0.5) * w, rng.uniform(-0.5, 0.5) * d, rng.uniform(0, 1.6)]) for _ in range(3)]
    if table_top:
        targets, eyes = targets[:-3], []
        for _ in range(16):
            target = targets[rng.integers(len(targets))]
            turn, tilt, away = rng.uniform(0, 6.28), np.radians(rng.uniform(5, 65)), rng.uniform(0.35, 1.6)
            eye = target + away * np.array([np.cos(turn) * np.cos(tilt), np.sin(turn) * np.cos(tilt), np.sin(tilt)])
            eyes.append(np.clip(eye, [-w / 2 + 0.1, -d / 2 + 0.1, 0.15], [w / 2 - 0.1, d / 2 - 0.1, h - 0.1]))
        return World("table", scene, eyes, targets, (22, 90))
    eyes = [np.array([rng.uniform(-0.46, 0.46) * w, rng.uniform(-0.46, 0.46) * d, np.clip(rng.normal(1.4, 0.35), 0.3, h - 0.2)]) for _ in range(12)]
    return World("room", scene, eyes, targets, (18, 70))


def street(rng: np.random.Generator, stock: Stock) -> World:
    """A street between rows of buildings, with traffic, people, trees and posts; from it also views of a building's face."""
    b = Builder(rng, stock)
    road, pavement, length = rng.uniform(5, 16), rng.uniform(1.5, 5), rng.uniform(60, 220)
    b.begin()
    b.part(stock.sheet, (0, 0, -0.02), (600, 600, 1), b.look("mottled", "cells", tile=(2, 10)))
    b.part(stock.sheet, (0, 0, 0), (road, length * 1.5, 1), b.look("mottled", "cells", "tiles", odd=0.05, tile=(1, 6)), colour=tuple(rng.uniform(0.2, 0.7) * rng.uniform(0.9, 1, 3)))
    if rng.random() < 0.7:
        for y in np.arange(-length / 2, length / 2, 6.0):
            b.part(stock.sheet, (0, y, 0.012), (0.15, 3, 1), {"colour": (0.9, 0.9, 0.85)})
    front = road / 2 + pavement
    for side in (-1, 1):
        b.begin()
        b.part(stock.box, (side * (road / 2 + pavement / 2), 0, 0.06), (pavement, length * 1.5, 0.14), b.look("tiles", "mottled", "cells", tile=(0.5, 3)))
        y, base = -length / 2, rng.uniform(4, 30)
        while y < length / 2:
            width = rng.uniform(5, 25)
            if rng.random() < 0.85:
                objects.building(b, (side * (front + max(rng.normal(0, 1.0), 0)), y + width / 2, 0), side * -np.pi / 2, width,
                                 rng.uniform(8, 20), max(base * rng.uniform(0.6, 1.5), 3.5))
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
            objects.person(b, (side * (road / 2 + rng.uniform(0.3, pavement)), rng.uniform(-0.3, 0.3) * length, 0.13), rng.uniform(0, 6.28))
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
            targets.append(np.array([rng.uniform(-front, front), y + rng.choice([-1, 1]) * rng.uniform(10, 80), rng.uniform(0, 5)]))
        else:
            targets.append(np.array([np.sign(rng.normal()) * front, y + rng.normal(0, 10), rng.uniform(1, 8)]))
    return World("street", Scene(b.items, **_outdoor_light(rng, np.zeros(3), min(length * 0.5, 45))), eyes, targets, (18, 200))


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
    b.part(stock.sheet, (0, 0, -0.6 * relief), (6000, 6000, 1), earth if rng.random() < 0.5 else {"colour": (0.15, 0.25, 0.35), "specular": 0.5})
    for _ in range(int(rng.integers(0, 6))):
        turn, away = rng.uniform(0, 6.28), rng.uniform(300, 1500)
        b.begin((away * np.cos(turn), away * np.sin(turn), -0.4 * relief))
        b.part(stock.stones[rng.integers(24)], (0, 0, 0), (away, away * 0.6, away * rng.uniform(0.1, 0.6)), b.look("mottled", "cells", odd=0), tile_m=away * 0.2)
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
        b.part(stock.stones[rng.integers(24)], (0, 0, s * 0.15), s * rng.uniform(0.5, 1.2, 3), b.look("mottled", "cells", odd=0.03))
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
    return World("nature", Scene(b.items, **_outdoor_light(rng, np.zeros(3), min(reach, 40))), eyes, targets, (18, 200))


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
        b.part(stock.sheet, (0, extent * rng.uniform(1.2, 2.0), extent), (extent * 6, extent * 4, 1), b.look(tile=(0.1 * extent, extent)), axis_matrix([1, 0, 0], np.pi / 2), casts_shadow=False)
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
    return World("heap", Scene(b.items, **_outdoor_light(rng, np.zeros(3), extent * 2)), eyes, [rng.normal(0, 0.3, 3) * extent for _ in range(8)], (18, 120))


WORLDS = {"room": (room, 0.38), "table": (lambda rng, stock: room(rng, stock, table_top=True), 0.24), "street": (street, 0.16),
          "nature": (nature, 0.12), "heap": (heap, 0.10)}


def random_world(rng: np.random.Generator, stock: Stock, name: str | None = None) -> World:
    """A world of the given kind, or of a random one."""
    names = list(WORLDS)
    name = name or names[rng.choice(len(names), p=[WORLDS[n][1] for n in names])]
    return WORLDS[name][0](rng, stock)


def random_view(rng: np.random.Generator, world: World, width: int) -> View:
    """A camera somewhere in the world: lens, tilt and roll at random."""
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
    lens_mm = np.clip(np.exp(rng.normal(np.log(32), 0.45)), low, high) if rng.random() < 0.75 else np.exp(rng.uniform(np.log(low), np.log(high)))
    return View(cam_from_world, float(lens_mm / 36.0 * width))
