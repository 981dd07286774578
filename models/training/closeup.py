"""What a camera sees at arm's length: things on a surface, people from the chest up, and something in the way of a wider view."""

from __future__ import annotations

import numpy as np

from . import furniture, objects
from .figures import animal, figure
from .filmed import CalmBuilder
from .light import indoor_light
from .objects import Builder, Stock, axis_matrix, yaw_matrix
from .raster import Scene
from .things import cable, thing
from .world import World, outdoor_light

UPRIGHT = axis_matrix([1, 0, 0], np.pi / 2)


def _backdrop(rng: np.random.Generator, b: Builder, reach: float) -> bool:
    """What is behind: walls near or far with furniture and things before them, or the open air. Returns whether it is indoors."""
    stock = b.stock
    shell = {"casts_shadow": False}
    outdoors = rng.random() < 0.15
    b.begin()
    size = 60.0 if outdoors else 14.0
    b.part(
        stock.sheet,
        (0, 0, 0),
        (size, size, 1),
        b.look("wood", "tiles", "fabric", "stripes", "plain", "mottled", "cells", tile=(0.4, 2.5)),
        **shell,
    )
    if outdoors:
        for _ in range(int(rng.integers(0, 9))):
            around, away = rng.uniform(0, 6.28), rng.uniform(2, 25)
            place = (away * np.cos(around), away * np.sin(around), 0)
            kind = rng.random()
            if kind < 0.5:
                objects.plant(b, place, rng.uniform(0.8, 6))
            elif kind < 0.7:
                objects.building(b, place, around + np.pi / 2, rng.uniform(4, 12), 8, rng.uniform(3, 9))
            elif kind < 0.85:
                objects.car(b, place, rng.uniform(0, 6.28))
            else:
                figure(b, place, rng.uniform(0, 6.28))
        return False
    high = rng.uniform(2.2, 3.2)
    tone = b.look("plain", "plain", "plain", "mottled", "tiles", "pattern", tile=(0.8, 4.0))
    facing = rng.uniform(0, 6.28)
    for k in range(4):
        away = reach * rng.uniform(0.35, 1.0) if k == 0 else reach * rng.uniform(0.6, 2.5)
        yaw = facing + k * np.pi / 2
        turn, middle = yaw_matrix(yaw), yaw_matrix(yaw) @ [0, away, 0]
        b.begin(middle, yaw)
        b.part(
            stock.sheet,
            (0, 0, high / 2),
            (14, high, 1),
            tone if rng.random() < 0.8 else b.look("plain", "tiles", "wood", "pattern", tile=(0.8, 4)),
            UPRIGHT,
            **shell,
        )
        for _ in range(int(rng.integers(0, 6))):
            w, h, x = rng.uniform(0.1, 1.0), rng.uniform(0.1, 0.9), rng.uniform(-1, 1) * min(away, 2.5)
            look = b.look("poster", "photo", "label", "page", "plain", "interface", odd=0)
            b.part(
                stock.box, (x, -0.012, rng.uniform(0.5, 2.0)), (w, 0.03, h), look, tile_m=None, emission=float(rng.random() < 0.1)
            )
        for _ in range(int(rng.integers(0, 3))):
            x = rng.uniform(-1.2, 1.2) * min(away, 2.5)
            place, kind = middle + turn @ [x, -0.35, 0], rng.random()
            if kind < 0.45:
                furniture.cupboard(b, place, yaw + np.pi, rng.uniform(0.5, 1.8))
            elif kind < 0.6:
                furniture.sofa(b, place, yaw + np.pi)
            elif kind < 0.75:
                furniture.chair(b, place + turn @ [0, -0.4, 0], rng.uniform(0, 6.28))
            elif kind < 0.85:
                furniture.lamp(b, place)
            elif kind < 0.92:
                b.begin(place, yaw)  # a bright window
                w, h = rng.uniform(0.6, 1.8), rng.uniform(0.8, 1.4)
                b.part(stock.box, (0, 0.33, 1.5), (w + 0.12, 0.06, h + 0.12), b.look("plain", "wood", odd=0), **shell)
                outside = b.look("plain", "facade", "mottled", odd=0, tile=(1, 3))
                b.part(stock.box, (0, 0.31, 1.5), (w, 0.06, h), outside, colour=(1.7, 1.7, 1.7), emission=1.0, **shell)
            else:
                figure(b, place + turn @ [0, -0.3, 0], yaw + np.pi + rng.normal(0, 0.8))
    if rng.random() < 0.5:
        b.begin()
        b.part(stock.sheet, (0, 0, high), (14, 14, 1), b.look("plain", odd=0), **shell)
    return True


def _surface(rng: np.random.Generator, b: Builder) -> tuple[np.ndarray, tuple[float, float], float]:
    """(middle of its top, its size, yaw) of a table, counter, shelf, bed, stool, ledge or the floor itself."""
    yaw = rng.uniform(0, 6.28)
    w, d = rng.uniform(0.5, 2.2), rng.uniform(0.4, 1.1)
    kind = rng.random()
    if kind < 0.5:
        middle = furniture.table(
            b, (0, 0, 0), yaw, (w, d, rng.choice([rng.uniform(0.35, 0.55), rng.uniform(0.68, 0.95)])), things=0
        )
    elif kind < 0.65:  # a counter or chest against a wall of its own, or free
        h = rng.uniform(0.6, 1.1)
        b.begin((0, 0, 0), yaw)
        b.part(b.stock.box, (0, 0, h / 2), (w * 1.5, d * 0.7, h), b.look("plain", "wood"))
        b.part(b.stock.box, (0, 0, h), (w * 1.5 + 0.03, d * 0.7 + 0.03, 0.03), b.look("mottled", "wood", "plain", "metal"))
        if rng.random() < 0.6:
            b.part(
                b.stock.box,
                (0, d * 0.37, h + 0.5),
                (w * 2.5, 0.04, 1.6),
                b.look("tiles", "plain", "mottled", tile=(0.2, 2)),
                casts_shadow=False,
            )
        middle = np.array([0, 0, h + 0.015])
    elif kind < 0.75:  # a shelf with sides, back and another board above
        h, gap = rng.uniform(0.4, 1.5), rng.uniform(0.3, 0.6)
        d = min(d, 0.5)
        look = b.look("wood", "plain", "metal")
        b.begin((0, 0, 0), yaw)
        b.part(b.stock.box, (0, d / 2, h + gap / 2), (w, 0.02, gap * 3), look, colour=(0.7, 0.7, 0.7))
        for k in range(-1, 3):
            b.part(b.stock.box, (0, 0, h + k * gap), (w, d, 0.025), look)
        for x in np.linspace(-0.5, 0.5, int(rng.integers(2, 5))) * w:
            b.part(b.stock.box, (x, 0, h + gap / 2), (0.025, d, gap * 3), look)
        for k in (-1, 1):
            furniture.clutter(
                b, np.array([0, 0, h + k * gap + 0.013]), (w * 0.9, d * 0.6), int(rng.integers(2, 9)), (0.06, gap * 0.6), yaw
            )
        middle = np.array([0, 0, h + 0.013])
    elif kind < 0.82:
        h = rng.uniform(0.35, 0.6)
        b.begin((0, 0, 0), yaw)
        b.part(b.stock.rounded[0], (0, 0, h / 2), (w * 1.3, d * 1.5, h), b.look("fabric", "pattern", "stripes", tile=(0.1, 0.8)))
        middle = np.array([0, 0, h * 0.98])
    else:
        middle, w, d = np.array([0, 0, 0.004]), w * 1.5, d * 1.5
        if rng.random() < 0.5:
            b.begin((0, 0, 0.004), yaw)
            b.part(b.stock.box, (0, 0, 0), (w, d, 0.01), b.look("fabric", "stripes", "pattern", "photo"), tile_m=None)
    return middle, (w, d), yaw


def close(rng: np.random.Generator, stock: Stock) -> World:
    """Things on a table, counter, shelf or the floor, filling the picture from a quarter of a metre to two metres away."""
    b = (CalmBuilder if rng.random() < 0.6 else Builder)(rng, stock)
    reach = float(np.exp(rng.uniform(np.log(0.8), np.log(5.0))))
    indoors = _backdrop(rng, b, reach)
    middle, (w, d), yaw = _surface(rng, b)
    turn = yaw_matrix(yaw)

    def spot(share: float) -> np.ndarray:
        return middle + turn @ [rng.uniform(-0.5, 0.5) * w * share, rng.uniform(-0.5, 0.5) * d * share, 0]

    heroes = []
    for _ in range(int(rng.integers(1, 5))):
        place = spot(0.6)
        size = thing(b, place)
        heroes.append((place + [0, 0, size * rng.uniform(0.2, 0.6)], size))
    packed = rng.random()
    count = int(rng.integers(0, 6) if packed < 0.4 else rng.integers(5, 25) if packed < 0.85 else rng.integers(20, 50))
    for _ in range(count):
        thing(b, spot(0.95), float(np.exp(rng.uniform(np.log(0.03), np.log(0.2)))), small=True)
    for _ in range(int(rng.integers(0, 5)) if rng.random() < 0.5 else 0):
        cable(b, spot(0.8), rng.uniform(0.2, 1.0))
    if rng.random() < 0.3:  # a pile
        at, z = spot(0.5), 0.0
        for _ in range(int(rng.integers(3, 10))):
            size = rng.uniform(0.05, 0.25)
            b.begin(at + [*rng.normal(0, 0.04, 2), z], rng.uniform(0, 6.28))
            box = size * rng.uniform(0.4, 1.3, 3) * [1, 1, 0.5]
            b.part(stock.box, (0, 0, box[2] / 2), box, b.look("label", "poster", "card", "plain", "photo", "page"), tile_m=None)
            z += box[2]
        heroes.append((at + [0, 0, z / 2], max(z, 0.15)))
    for _ in range(int(rng.integers(0, 5))):  # on the floor around
        around = rng.uniform(0, 6.28)
        thing(b, (1.3 * np.cos(around) * rng.uniform(0.8, 2), 1.3 * np.sin(around) * rng.uniform(0.8, 2), 0))
    if rng.random() < 0.25:  # somebody at the table
        around = rng.uniform(0, 6.28)
        place = np.array([np.cos(around), np.sin(around), 0]) * (0.35 + 0.5 * max(w, d))
        figure(b, place, around + np.pi / 2, pose="seated" if middle[2] > 0.6 else "standing")
    views = []
    for _ in range(14):
        target, size = heroes[rng.integers(len(heroes))]
        target = target + rng.normal(0, 0.25 * size, 3)
        down = np.radians(
            rng.uniform(-3, 20) if rng.random() < 0.35 else rng.uniform(12, 50) if rng.random() < 0.8 else rng.uniform(45, 85)
        )
        around = rng.uniform(0, 6.28)
        away = np.clip(size * np.exp(rng.uniform(np.log(0.9), np.log(5.0))), 0.25, 2.5)
        eye = target + away * np.array([np.cos(around) * np.cos(down), np.sin(around) * np.cos(down), np.sin(down)])
        eye[2] = max(eye[2], middle[2] + 0.05 if middle[2] > 0.1 else 0.12)
        views.append((eye, target))
    light = indoor_light(rng, middle, reach + 0.5) if indoors else outdoor_light(rng, middle, 4.0)
    return World("close", Scene(b.items, **light), [], [], (24, 75), views)


def people(rng: np.random.Generator, stock: Stock) -> World:
    """One to five people before a wall, a room or the open air, from a face to whole figures; over shoulders too."""
    b = (CalmBuilder if rng.random() < 0.6 else Builder)(rng, stock)
    reach = float(np.exp(rng.uniform(np.log(1.2), np.log(7.0))))
    indoors = _backdrop(rng, b, reach)
    heads = []
    seated = rng.random() < 0.35
    for _ in range(int(rng.choice([1, 1, 2, 2, 3, 4, 6]))):
        place = np.array([*rng.normal(0, 0.6 + 0.1 * len(heads), 2), 0.0])
        if all(np.linalg.norm(place - h * [1, 1, 0]) > 0.45 for h in heads):
            heads.append(figure(b, place, rng.uniform(0, 6.28), pose="seated" if seated else "standing"))
    if rng.random() < 0.15:
        animal(b, (*rng.normal(0, 0.8, 2), 0), rng.uniform(0, 6.28))
    if seated and rng.random() < 0.7:
        furniture.table(b, (*rng.normal(0, 0.5, 2), 0), rng.uniform(0, 6.28))
    for _ in range(int(rng.integers(0, 5))):
        around, away = rng.uniform(0, 6.28), rng.uniform(0.6, 1.8)
        place = (away * np.cos(around), away * np.sin(around), 0)
        if rng.random() < 0.5:
            thing(b, place, rng.uniform(0.3, 1.0))
        else:
            furniture.chair(b, place, rng.uniform(0, 6.28))
    views = []
    for _ in range(14):
        head = heads[rng.integers(len(heads))]
        target = head + [
            *rng.normal(0, 0.15, 2),
            -rng.choice([rng.uniform(0, 0.15), rng.uniform(0.1, 0.5), rng.uniform(0.3, 1.0)]),
        ]
        around, away = rng.uniform(0, 6.28), float(np.exp(rng.uniform(np.log(0.5), np.log(4.0))))
        rise = rng.normal(0, 0.12) if rng.random() < 0.75 else rng.normal(0, 0.45)
        eye = target + away * np.array([np.cos(around), np.sin(around), rise])
        if len(heads) > 1 and rng.random() < 0.3:  # over another's shoulder
            other = heads[rng.integers(len(heads))]
            back = other - head
            length = np.linalg.norm(back)
            if length > 0.3:
                side = np.cross(back / length, [0, 0, 1.0]) * rng.choice([-1, 1]) * rng.uniform(0.1, 0.4)
                eye, target = other + back / length * rng.uniform(0.3, 0.8) + side + [0, 0, rng.uniform(-0.1, 0.15)], head
        eye[2] = np.clip(eye[2], 0.2, 2.6)
        views.append((eye, target))
    middle = np.array([0, 0, 1.0])
    light = indoor_light(rng, middle, min(reach, 4.0) + 0.5) if indoors else outdoor_light(rng, middle, 8.0)
    return World("people", Scene(b.items, **light), [], [], (24, 105), views)


def in_the_way(rng: np.random.Generator, stock: Stock, world: World, view_pairs: list) -> list:
    """Puts a person or a thing close to the camera into some of a world's views (eye, target); returns views that see them."""
    b = Builder(rng, stock)
    b.items = world.scene.items
    b._last_id = max((item.object_id for item in b.items), default=0)
    seen = []
    for eye, target in view_pairs[: int(rng.integers(1, 4))]:
        forward = np.asarray(target, float) - eye
        span = np.linalg.norm(forward)
        if span < 0.5:
            continue
        forward /= span
        side = np.cross(forward, [0, 0, 1.0])
        side /= max(np.linalg.norm(side), 1e-6)
        away = float(np.exp(rng.uniform(np.log(0.45), np.log(3.0))))
        place = eye + forward * away + side * rng.normal(0, 0.3) * away
        if rng.random() < 0.65:
            height = rng.uniform(1.5, 1.95)
            foot = place - [0, 0, height * rng.uniform(0.55, 0.95)]
            figure(b, foot, rng.uniform(0, 6.28), height, pose="standing")
        else:
            size = away * rng.uniform(0.15, 0.7)
            thing(b, place - [0, 0, size * rng.uniform(0.3, 1.0)], size)
        seen += [(eye, target)] * 2 + [(eye + rng.normal(0, 0.1, 3), target + rng.normal(0, 0.2, 3))]
    return seen
