"""Rooms as people live and film in them: desks, kitchens and shelves full of things, daylight from one side, a camera in hand.

`rooms.py` spreads furniture along walls and cameras everywhere. Here the room is smaller and fuller, the light comes from a
window or from lamps near the ceiling, surfaces are mostly calm, and the camera stands or sits where somebody would who films
what is in front of them: a metre or two away, looking a little or steeply down.
"""

from __future__ import annotations

import numpy as np

from . import furniture, objects
from .objects import Builder, Stock, axis_matrix, yaw_matrix
from .raster import Scene
from .world import World, sun, tinted


def _calm(b: Builder, *kinds: str, **more) -> dict:
    """A look with little contrast: real walls, desks and cupboards are mostly that."""
    return b.look(*kinds, odd=0.03, tint=0.35, **more)


def screen(b: Builder, at, yaw: float, width: float) -> None:
    """A monitor on its foot, or a laptop, standing at `at` and facing -y."""
    rng, stock = b.rng, b.stock
    b.begin(at, yaw)
    case = {**_calm(b, "plain"), "colour": (float(rng.uniform(0.02, 0.6)),) * 3}
    picture = b.look("interface", "photo", "page", "plain", odd=0)
    if rng.random() < 0.3:  # switched off: dark, with a sheen
        picture.update(colour=(0.02, 0.02, 0.025), specular=0.3)
    glow = float(rng.uniform(0.3, 1.0)) if rng.random() < 0.6 else 0.0
    if rng.random() < 0.5:
        lean, high = axis_matrix([1, 0, 0], rng.uniform(-0.15, 0.02)), width * rng.uniform(0.55, 0.65)
        z = rng.uniform(0.08, 0.16) + high / 2
        b.part(stock.box, (0, 0, z), (width, 0.035, high), case, lean)
        b.part(stock.box, (0, -0.02, z), (width * 0.96, 0.005, high * 0.93), picture, lean, tile_m=None, emission=glow)
        b.part(stock.box, (0, 0.04, z / 2), (0.06, 0.03, z), case)
        b.part(stock.box, (0, 0.02, 0.01), (width * 0.4, 0.2, 0.02), case)
    else:
        w, deep = width * 0.65, width * 0.45
        lean = axis_matrix([1, 0, 0], rng.uniform(-0.5, -0.15))
        b.part(stock.box, (0, -deep / 2, 0.012), (w, deep, 0.02), case)
        b.part(stock.box, (0, -deep * 0.45, 0.0235), (w * 0.85, deep * 0.4, 0.004), b.look("tiles", odd=0, tile=(0.1, 0.2)))
        b.part(stock.box, (0, 0.05, deep * 0.47), (w, 0.012, deep), case, lean)
        b.part(stock.box, (0, 0.042, deep * 0.47), (w * 0.93, 0.006, deep * 0.88), picture, lean, tile_m=None, emission=glow)


def papers(b: Builder, centre, spread: tuple[float, float], count: int, yaw: float) -> None:
    """Sheets, magazines and cables lying flat."""
    rng, turn = b.rng, yaw_matrix(yaw)
    for _ in range(count):
        at = np.asarray(centre, float) + turn @ [rng.uniform(-0.5, 0.5) * spread[0], rng.uniform(-0.5, 0.5) * spread[1], 0.003]
        b.begin(at, yaw + rng.normal(0, 0.5))
        if rng.random() < 0.75:
            b.part(
                b.stock.box, (0, 0, 0), (0.21, 0.297, rng.uniform(0.002, 0.02)), b.look("page", "poster", odd=0.02), tile_m=None
            )
        else:
            look, start = _calm(b, "plain"), np.zeros(3)
            look["colour"] = (float(rng.uniform(0.02, 0.8)),) * 3
            heading = rng.uniform(0, 6.28)
            for _ in range(6):
                heading += rng.normal(0, 0.6)
                end = start + 0.09 * np.array([np.cos(heading), np.sin(heading), 0])
                b.rod(start, end, 0.008, look)
                start = end


def desk(b: Builder, origin, yaw: float, length: float) -> float:
    """A desk against a wall at +y with what stands and lies on it; returns the height of its top."""
    rng, stock = b.rng, b.stock
    high, deep = rng.uniform(0.68, 0.8), rng.uniform(0.55, 0.85)
    origin = np.asarray(origin, float)
    turn = yaw_matrix(yaw)
    b.begin(origin, yaw)
    top, legs = _calm(b, "wood", "plain"), _calm(b, "wood", "plain")
    b.part(stock.box, (0, 0, high - 0.015), (length, deep, 0.03), top)
    if rng.random() < 0.5:
        b.part(stock.box, (length / 2 - 0.22, 0, (high - 0.03) / 2), (0.42, deep * 0.9, high - 0.03), legs)
    for x in (-1, 1):
        for y in (-1, 1):
            b.part(stock.box, (x * (length / 2 - 0.04), y * (deep / 2 - 0.04), high / 2 - 0.015), (0.05, 0.05, high - 0.03), legs)
    middle = origin + [0, 0, high]
    for _ in range(int(rng.integers(0, 3))):
        screen(
            b,
            middle + turn @ [rng.uniform(-0.4, 0.4) * length, deep * rng.uniform(-0.1, 0.3), 0],
            yaw + rng.normal(0, 0.3),
            rng.uniform(0.4, 0.75),
        )
    if rng.random() < 0.6:  # keyboard and mouse
        at = middle + turn @ [rng.uniform(-0.25, 0.25) * length, -deep * 0.25, 0]
        b.begin(at, yaw + rng.normal(0, 0.15))
        grey = (float(rng.uniform(0.02, 0.7)),) * 3
        b.part(stock.box, (0, 0, 0.012), (0.43, 0.14, 0.022), {**b.look("tiles", odd=0, tile=(0.12, 0.3)), "colour": grey})
        b.part(stock.rounded[1], (0.3, 0, 0.018), (0.06, 0.11, 0.036), {**_calm(b, "plain"), "colour": grey})
    papers(b, middle, (length * 0.9, deep * 0.8), int(rng.integers(0, 8)), yaw)
    furniture.clutter(b, middle, (length * 0.9, deep * 0.8), int(rng.integers(2, 14)), (0.05, 0.3), yaw)
    if rng.random() < 0.4:
        keep = rng.uniform(-0.4, 0.4) * length
        furniture.lamp(b, middle + turn @ [keep, deep * 0.3, 0])
    b.focus.append(middle + turn @ [rng.uniform(-0.3, 0.3) * length, 0, 0.1])
    return high


def kitchen(b: Builder, origin, yaw: float, length: float) -> None:
    """A run of base units with worktop, sink, hob, appliances, and cupboards or shelves above; the wall is at +y."""
    rng, stock = b.rng, b.stock
    origin, turn = np.asarray(origin, float), yaw_matrix(yaw)
    front, top, deep, high = _calm(b, "plain", "wood"), _calm(b, "mottled", "wood", "plain"), 0.6, rng.uniform(0.85, 0.94)
    b.begin(origin, yaw)
    b.part(stock.box, (0, 0, high / 2), (length, deep, high), front)
    b.part(stock.box, (0, -0.01, high + 0.018), (length + 0.02, deep + 0.04, 0.036), top)
    count = max(int(length / rng.uniform(0.4, 0.65)), 1)
    for k in range(count):
        x = ((k + 0.5) / count - 0.5) * length
        metal = rng.random() < 0.15
        look = {**_calm(b, "plain"), "colour": (0.5, 0.5, 0.5), "specular": 0.6} if metal else front
        b.part(stock.box, (x, -deep / 2, high / 2 + 0.04), (length / count - 0.01, 0.03, high - 0.14), look)
        b.part(stock.box, (x, -deep / 2 - 0.03, high * 0.85), (0.12, 0.02, 0.015), {"colour": (0.5, 0.5, 0.5), "specular": 0.6})
    level = high + 0.036
    tiles = _calm(b, "tiles", "plain", tile=(0.2, 1.0))
    b.part(stock.box, (0, deep / 2 - 0.02, level + 0.3), (length, 0.02, 0.6), tiles)
    if rng.random() < 0.7:  # sink with tap
        x, steel = rng.uniform(-0.35, 0.35) * length, {"colour": (0.45, 0.45, 0.45), "specular": 0.7}
        b.part(stock.box, (x, 0, level), (0.55, 0.42, 0.006), steel)
        b.part(stock.box, (x, 0, level + 0.001), (0.45, 0.34, 0.008), steel, colour=(0.2, 0.2, 0.2))
        b.rod((x, 0.2, level), (x, 0.2, level + 0.28), 0.03, steel)
        b.rod((x, 0.2, level + 0.28), (x, 0.02, level + 0.26), 0.025, steel)
    if rng.random() < 0.7:  # hob with pans
        x = rng.uniform(-0.35, 0.35) * length
        b.part(stock.box, (x, 0, level + 0.003), (0.58, 0.5, 0.008), {"colour": (0.02, 0.02, 0.02), "specular": 0.5})
        for _ in range(int(rng.integers(0, 3))):
            w = rng.uniform(0.14, 0.28)
            at = (x + rng.uniform(-0.15, 0.15), rng.uniform(-0.12, 0.12), level + 0.05)
            b.part(stock.cylinder, at, (w, w, rng.uniform(0.06, 0.18)), {"colour": (0.3, 0.3, 0.3), "specular": 0.6})
    for _ in range(int(rng.integers(1, 4))):  # kettle, microwave, bread bin
        x, size = rng.uniform(-0.45, 0.45) * length, rng.uniform(0.18, 0.5)
        mesh = stock.box if rng.random() < 0.6 else stock.rounded[rng.integers(3)]
        tall = size * rng.uniform(0.5, 1.1)
        b.part(mesh, (x, 0.12, level + tall / 2), (size, min(size, 0.35), tall), _calm(b, "plain", "mottled"))
    furniture.clutter(b, origin + [0, 0, level], (length * 0.95, deep * 0.8), int(rng.integers(3, 16)), (0.05, 0.3), yaw)
    if rng.random() < 0.65:
        low = rng.uniform(1.35, 1.6)
        b.begin(origin + turn @ [0, deep / 2 - 0.17, 0], yaw)
        for k in range(count):
            if rng.random() < 0.85:
                x = ((k + 0.5) / count - 0.5) * length
                b.part(stock.box, (x, 0, low + 0.35), (length / count - 0.01, 0.34, 0.7), front)
    else:
        low = rng.uniform(1.35, 1.7)
        b.begin(origin + turn @ [0, deep / 2 - 0.13, 0], yaw)
        b.part(stock.box, (0, 0, low), (length * 0.8, 0.25, 0.03), top)
        furniture.clutter(
            b,
            origin + turn @ [0, deep / 2 - 0.13, low + 0.015],
            (length * 0.75, 0.15),
            int(rng.integers(2, 9)),
            (0.06, 0.25),
            yaw,
        )
    b.focus.append(origin + turn @ [rng.uniform(-0.4, 0.4) * length, 0, level + 0.1])


def _window(b: Builder, at, yaw: float, h: float, width: float) -> np.ndarray:
    """A bright window in the wall at `at`; returns the place the daylight comes from."""
    rng, stock = b.rng, b.stock
    shell = {"casts_shadow": False}
    b.begin(at, yaw)
    low = rng.choice([0.1, 0.85, 1.0])
    tall = min(h - 0.25, 2.2) - low
    frame = _calm(b, "plain", "wood")
    b.part(stock.box, (0, -0.02, low + tall / 2), (width + 0.14, 0.08, tall + 0.14), frame, **shell)
    outside = b.look("plain", "poster", "facade", "mottled", "leaves", odd=0, tile=(1.5, 4))
    b.part(stock.box, (0, -0.05, low + tall / 2), (width, 0.05, tall), outside, emission=1.0, colour=(1.6, 1.6, 1.6), **shell)
    for x in np.linspace(-0.5, 0.5, int(rng.integers(2, 5)))[1:-1] * width:
        b.part(stock.box, (x, -0.07, low + tall / 2), (0.06, 0.06, tall), frame, **shell)
    if rng.random() < 0.35:  # radiator
        b.part(
            stock.box, (0, -0.1, low / 2), (width, 0.1, max(low - 0.25, 0.1)), b.look("tiles", "plain", odd=0, tile=(0.3, 0.6))
        )
    if rng.random() < 0.5:
        for side in (-1, 1):
            cloth = b.look("fabric", "pattern", "plain")
            b.part(stock.rounded[1], (side * (width / 2 + 0.12), -0.13, h / 2), (0.35, 0.12, h - 0.15), cloth)
    return np.asarray(at, float) + yaw_matrix(yaw) @ [0, -0.5, low + tall * 0.6]


def lived_in(rng: np.random.Generator, stock: Stock) -> World:
    """A full room, seen by somebody in it."""
    b = Builder(rng, stock)
    w, d, h = rng.uniform(2.4, 5.5), rng.uniform(2.4, 5.5), rng.uniform(2.3, 2.9)
    shell = {"casts_shadow": False}
    wall = _calm(b, "plain", "plain", "plain", "mottled", "tiles", tile=(1.0, 4.0))
    wall["colour"] = tuple(rng.uniform(0.6, 1.0) * rng.uniform(0.9, 1.0, 3))
    b.begin()
    b.part(stock.sheet, (0, 0, 0), (w, d, 1), _calm(b, "wood", "tiles", "fabric", "plain", tile=(0.6, 2.5)), **shell)
    b.begin()
    b.part(stock.sheet, (0, 0, h), (w, d, 1), {**_calm(b, "plain"), "colour": (0.9, 0.9, 0.88)}, **shell)
    lamps = []
    walls = (((0, d / 2), 0.0, w), ((w / 2, 0), -np.pi / 2, d), ((0, -d / 2), np.pi, w), ((-w / 2, 0), np.pi / 2, d))
    bright = int(rng.integers(5))  # the wall with the window; 4: none
    views: list[tuple[np.ndarray, np.ndarray]] = []
    for k, ((x, y), yaw, length) in enumerate(walls):
        corner, turn = np.array([x, y, 0.0]), yaw_matrix(yaw)
        b.begin(corner, yaw)
        b.part(stock.sheet, (0, 0, h / 2), (length, h, 1), wall, axis_matrix([1, 0, 0], np.pi / 2), **shell)
        b.part(stock.box, (0, -0.01, 0.04), (length, 0.03, 0.08), _calm(b, "plain", "wood"), **shell)
        if k == bright:
            light = _window(b, corner + turn @ [rng.uniform(-0.2, 0.2) * length, 0, 0], yaw, h, rng.uniform(0.8, 0.6 * length))
            lamps.append(
                (light, tuple(rng.uniform(1.0, 3.0) * np.array([0.95, 1.0, rng.uniform(0.95, 1.1)])), rng.uniform(1.0, 2.5))
            )
        else:
            for _ in range(int(rng.integers(0, 4))):
                pw, ph, z = rng.uniform(0.2, 0.9), rng.uniform(0.2, 0.8), rng.uniform(1.35, 1.8)
                at = rng.uniform(-0.4, 0.4) * length
                b.part(stock.box, (at, -0.015, z), (pw + 0.04, 0.03, ph + 0.04), _calm(b, "wood", "plain"))
                b.part(stock.box, (at, -0.02, z), (pw, 0.03, ph), b.look("poster", "photo", "label", "page", odd=0), tile_m=None)
        kind, before = rng.random(), len(b.focus)
        if kind < 0.3:
            kitchen(b, corner + turn @ [0, -0.32, 0], yaw, length * rng.uniform(0.5, 0.98))
        elif kind < 0.6:
            desk(b, corner + turn @ [rng.uniform(-0.2, 0.2) * length, -0.45, 0], yaw, rng.uniform(1.0, min(2.2, length * 0.9)))
            if rng.random() < 0.6:
                seat = corner + turn @ [rng.uniform(-0.4, 0.4), -rng.uniform(0.8, 1.3), 0]
                furniture.chair(b, seat, yaw + np.pi + rng.normal(0, 0.7))
        elif kind < 0.75:
            furniture.sofa(b, corner + turn @ [rng.uniform(-0.2, 0.2) * length, -0.5, 0], yaw + np.pi)
        elif kind < 0.95:
            at = -length / 2 + 0.4
            while at < length / 2 - 0.8:
                width = rng.uniform(0.5, 1.2)
                furniture.cupboard(b, corner + turn @ [at + width / 2, -0.34, 0], yaw + np.pi, width)
                at += width + (rng.uniform(0, 0.8) if rng.random() < 0.5 else 0.02)
        for focus in b.focus[before:]:  # somebody in front of it, standing, or sitting close by
            for _ in range(3):
                away, aside = float(np.exp(rng.uniform(np.log(0.5), np.log(2.8)))), rng.normal(0, 0.5)
                height = rng.uniform(1.25, 1.75) if rng.random() < 0.65 else rng.uniform(0.85, 1.25)
                eye = focus + turn @ [aside * away, -away, 0]
                eye[2] = height
                views.append((eye, focus + rng.normal(0, 0.25, 3)))
    if rng.random() < 0.55:
        spot, yaw = np.array([rng.normal(0, w * 0.08), rng.normal(0, d * 0.08), 0]), rng.uniform(0, 6.28)
        middle = furniture.table(b, spot, yaw, things=int(rng.integers(3, 16)))
        papers(b, middle, (0.6, 0.4), int(rng.integers(0, 5)), yaw)
        for _ in range(int(rng.integers(0, 5))):
            turn_z = rng.uniform(0, 6.28)
            furniture.chair(
                b, spot + np.array([np.sin(turn_z), -np.cos(turn_z), 0]) * rng.uniform(0.6, 1.0), turn_z + rng.normal(0, 0.5)
            )
        for _ in range(8):
            around, down = rng.uniform(0, 6.28), np.radians(rng.uniform(8, 60))
            away = float(np.exp(rng.uniform(np.log(0.4), np.log(1.8))))
            eye = middle + away * np.array([np.cos(around) * np.cos(down), np.sin(around) * np.cos(down), np.sin(down)])
            views.append((eye, middle + rng.normal(0, 0.12, 3)))
    furniture.clutter(b, (0, 0, 0), (w * 0.8, d * 0.8), int(rng.integers(0, 8)), (0.1, 0.5))
    for _ in range(int(rng.integers(1, 3)) if rng.random() < 0.25 else 0):
        at = (rng.uniform(-0.35, 0.35) * w, rng.uniform(-0.35, 0.35) * d, 0)
        objects.person(b, at, rng.uniform(0, 6.28), seated=rng.random() < 0.4)
    while len(views) < 10:
        eye = np.array([rng.uniform(-0.45, 0.45) * w, rng.uniform(-0.45, 0.45) * d, rng.uniform(1.1, 1.7)])
        away = rng.uniform(0, 6.28)
        views.append((eye, eye + [np.cos(away), np.sin(away), rng.uniform(-0.8, 0.05)]))
    inside = ([-w / 2 + 0.12, -d / 2 + 0.12, 0.2], [w / 2 - 0.12, d / 2 - 0.12, h - 0.15])
    views = [(np.clip(eye, *inside), target) for eye, target in views]
    for _ in range(int(rng.integers(0 if lamps else 1, 4))):
        at = (rng.uniform(-0.35, 0.35) * w, rng.uniform(-0.35, 0.35) * d, h - rng.uniform(0.05, 0.7))
        warm = np.array([1, rng.uniform(0.75, 1), rng.uniform(0.5, 1)])
        lamps.append((at, tuple(rng.uniform(0.4, 2.0) * warm), rng.uniform(0.8, 2.5)))
    level = rng.uniform(0.1, 0.6)
    light = sun(rng, 30)
    scene = Scene(
        b.items,
        sun_direction=light,
        # Soft light from one side is beyond the rasteriser; its shadow map at least grounds things on what they stand on.
        sun_colour=tinted(rng, rng.uniform(0.1, 0.9) if rng.random() < 0.8 else rng.uniform(0.9, 2.0)),
        ambient_up=tinted(rng, level, 0.1),
        ambient_down=tinted(rng, level * rng.uniform(0.4, 0.9), 0.1),
        lamps=lamps,
        exposure=rng.uniform(0.8, 1.3),
        shadow_radius=0.5 * float(np.hypot(w, d)) + 0.5,
        shadow_centre=np.array([0, 0, 1.0]),
    )
    return World("lived_in", scene, [], [], (22, 60), views)
