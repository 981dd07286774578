"""Rooms seen the way people film them: whole corners of furnished rooms from one to four metres, wide lenses, looking down.

`lived_in.py` has the furniture; here the materials are calmer still, tables stand free with chairs at them, boxes and things
stand on what carries them, and the camera is somebody's at 1 to 1.8 m, so that a picture shows how a room is laid out: the
floor and the nearest thing at its lower edge or at a side, something to look at in the middle, the far wall behind.
"""

from __future__ import annotations

import numpy as np

from . import furniture, objects
from .lived_in import _window, desk, kitchen, papers, screen
from .objects import Builder, Stock, axis_matrix, yaw_matrix
from .raster import Scene
from .world import World, sun, tinted


class CalmBuilder(Builder):
    """Builds with materials of sensible kinds, and of several that fit takes the one with the least colour, mostly."""

    def look(self, *kinds: str, odd: float = 0.12, tile: tuple[float, float] = (0.3, 2.5), tint: float = 0.25) -> dict:
        """As in the base class."""
        choices = [super(CalmBuilder, self).look(*kinds, odd=min(odd, 0.02), tile=tile, tint=tint) for _ in range(3)]
        if self.rng.random() < 0.4 or (kinds and kinds[0] in ("poster", "books", "page")):
            return choices[0]
        return min(choices, key=lambda c: float(np.ptp(c["texture"][::32, ::32, :3].reshape(-1, 3).mean(0) * c["colour"])))


def carton(b: Builder, at, yaw: float, size: np.ndarray, lying: bool) -> None:
    """A box without a lid and what is in it; lying: its open side is towards -y instead of up."""
    rng, stock = b.rng, b.stock
    b.begin(at, yaw)
    w, d, h = size
    look, t = b.look("plain", "wood", "fabric", tile=(0.3, 1.0)), 0.006 + 0.01 * rng.random()
    sides = [
        ((-w / 2, 0, h / 2), (t, d, h)),
        ((w / 2, 0, h / 2), (t, d, h)),
        ((0, d / 2, h / 2), (w, t, h)),
        ((0, 0, t), (w, d, t)),
    ]
    sides.append(((0, 0, h), (w, d, t)) if lying else ((0, -d / 2, h / 2), (w, t, h)))
    if lying and rng.random() < 0.5:
        sides.append(((0, -d / 2, h * 0.12), (w, t, h * 0.24)))
    for place, extent in sides:
        b.part(stock.box, place, extent, look)
    furniture.clutter(b, np.asarray(at, float) + [0, 0, t], (w * 0.7, d * 0.6), int(rng.integers(1, 7)), (0.3 * h, 0.9 * h), yaw)


def things(b: Builder, middle, spread: tuple[float, float], yaw: float) -> None:
    """What stands and lies on a table or counter: mugs, papers, boxes, a screen."""
    rng, turn = b.rng, yaw_matrix(yaw)
    furniture.clutter(b, middle, spread, int(rng.integers(1, 10)), (0.06, 0.25), yaw)
    papers(b, middle, spread, int(rng.integers(0, 6)), yaw)
    if rng.random() < 0.35:
        place = np.asarray(middle, float) + turn @ [rng.uniform(-0.3, 0.3) * spread[0], rng.uniform(-0.2, 0.3) * spread[1], 0]
        carton(b, place, rng.uniform(0, 6.28), rng.uniform(0.15, 0.5, 3), rng.random() < 0.6)
    if rng.random() < 0.2:
        screen(b, np.asarray(middle, float), yaw + rng.normal(0, 0.8), rng.uniform(0.4, 0.7))


def dining(b: Builder, spot: np.ndarray, yaw: float) -> None:
    """A table with chairs at its sides."""
    rng, turn = b.rng, yaw_matrix(yaw)
    w, d, h = rng.uniform(0.8, 2.2), rng.uniform(0.6, 1.1), rng.uniform(0.68, 0.8)
    middle = furniture.table(b, spot, yaw, (w, d, h), things=0)
    things(b, middle, (w * 0.85, d * 0.8), yaw)
    state = b.rng.bit_generator.state if rng.random() < 0.6 else None  # mostly chairs of one kind
    for side in (-1, 1):
        for x in np.linspace(-0.5, 0.5, max(int(w / 0.6), 1) + 2)[1:-1] * w:
            if rng.random() < 0.75:
                away = rng.normal(0.12, 0.12)
                place = np.asarray(spot, float) + turn @ [x + rng.normal(0, 0.05), side * (d / 2 + away), 0]
                if state is not None:
                    keep, b.rng.bit_generator.state = b.rng.bit_generator.state, state
                furniture.chair(b, place, yaw + (np.pi if side > 0 else 0.0))
                if state is not None:
                    b.rng.bit_generator.state = keep


def filmed(rng: np.random.Generator, stock: Stock) -> World:
    """A furnished room and somebody with a camera in it."""
    b = CalmBuilder(rng, stock)
    w, d, h = rng.uniform(3.0, 7.0), rng.uniform(3.0, 6.0), rng.uniform(2.3, 3.0)
    shell = {"casts_shadow": False}
    wall = b.look("plain", "plain", "plain", "mottled", "tiles", tile=(1.0, 4.0), tint=0.3)
    b.begin()
    floor = b.look("wood", "tiles", "fabric", "stripes", "plain", "mottled", tile=(0.4, 2.0))
    b.part(stock.sheet, (0, 0, 0), (w, d, 1), floor, **shell)
    b.begin()
    b.part(stock.sheet, (0, 0, h), (w, d, 1), {**b.look("plain", odd=0), "colour": (0.9, 0.9, 0.88)}, **shell)
    lamps = []
    walls = (((0, d / 2), 0.0, w), ((w / 2, 0), -np.pi / 2, d), ((0, -d / 2), np.pi, w), ((-w / 2, 0), np.pi / 2, d))
    bright = int(rng.integers(5))
    for k, ((x, y), yaw, length) in enumerate(walls):
        corner, turn = np.array([x, y, 0.0]), yaw_matrix(yaw)
        b.begin(corner, yaw)
        b.part(stock.sheet, (0, 0, h / 2), (length, h, 1), wall, axis_matrix([1, 0, 0], np.pi / 2), **shell)
        b.part(stock.box, (0, -0.01, 0.04), (length, 0.03, 0.08), b.look("plain", "wood"), **shell)
        if k == bright:
            light = _window(b, corner + turn @ [rng.uniform(-0.2, 0.2) * length, 0, 0], yaw, h, rng.uniform(0.8, 0.6 * length))
            strength = rng.uniform(1.0, 3.0) * np.array([0.95, 1.0, rng.uniform(0.95, 1.1)])
            lamps.append((light, tuple(strength), rng.uniform(1.0, 3.0)))
        else:
            for _ in range(int(rng.integers(0, 6))):  # notices, pictures, screens, clocks
                pw, ph, z = rng.uniform(0.15, 0.8), rng.uniform(0.15, 0.7), rng.uniform(1.25, 1.9)
                at = rng.uniform(-0.45, 0.45) * length
                b.part(stock.box, (at, -0.015, z), (pw + 0.04, 0.03, ph + 0.04), b.look("wood", "plain"))
                b.part(stock.box, (at, -0.02, z), (pw, 0.03, ph), b.look("poster", "photo", "label", "page", odd=0), tile_m=None)
        at = -length / 2 + rng.uniform(0.0, 0.8)
        while at < length / 2 - 0.7:
            width = min(rng.uniform(0.7, 3.2), length / 2 - at - 0.05)
            kind, place = rng.random(), corner + turn @ [at + width / 2, 0, 0]
            if kind < 0.3 and width > 1.2:
                kitchen(b, place + turn @ [0, -0.32, 0], yaw, width)
            elif kind < 0.55:
                width = min(width, 2.0)
                place = corner + turn @ [at + width / 2, -0.45, 0]
                desk(b, place, yaw, width)
                if rng.random() < 0.6:
                    furniture.chair(
                        b, place + turn @ [rng.normal(0, 0.2), -rng.uniform(0.45, 0.9), 0], yaw + np.pi + rng.normal(0, 0.6)
                    )
            elif kind < 0.65:
                width = max(width, 1.8)
                furniture.sofa(b, corner + turn @ [at + width / 2, -0.5, 0], yaw + np.pi)
            elif kind < 0.9:
                width = min(width, 1.4)
                furniture.cupboard(b, corner + turn @ [at + width / 2, -0.34, 0], yaw + np.pi, width)
            at += width + (rng.uniform(0.1, 1.0) if rng.random() < 0.4 else 0.02)
    for _ in range(int(rng.integers(1, 4))):
        spot = np.array([rng.uniform(-0.3, 0.3) * w, rng.uniform(-0.3, 0.3) * d, 0])
        yaw = rng.choice([0, np.pi / 2]) + rng.normal(0, 0.15) if rng.random() < 0.7 else rng.uniform(0, 6.28)
        kind = rng.random()
        if kind < 0.65:
            dining(b, spot, yaw)
        elif kind < 0.8:
            desk(b, spot, yaw, rng.uniform(1.0, 2.0))
        else:
            carton(b, spot, yaw, rng.uniform(0.3, 0.8, 3), rng.random() < 0.3)
    furniture.clutter(b, (0, 0, 0), (w * 0.8, d * 0.8), int(rng.integers(0, 6)), (0.1, 0.5))
    for _ in range(int(rng.integers(1, 3)) if rng.random() < 0.4 else 0):
        place = (rng.uniform(-0.35, 0.35) * w, rng.uniform(-0.35, 0.35) * d, 0)
        objects.person(b, place, rng.uniform(0, 6.28), seated=rng.random() < 0.4)
    views = _views(rng, b, np.array([w, d, h]))
    for _ in range(int(rng.integers(1, 5))):
        at = (rng.uniform(-0.4, 0.4) * w, rng.uniform(-0.4, 0.4) * d, h - rng.uniform(0.05, 0.5))
        warm = np.array([1, rng.uniform(0.8, 1), rng.uniform(0.6, 1)])
        lamps.append((at, tuple(rng.uniform(0.3, 1.5) * warm), rng.uniform(1.0, 3.0)))
    level = rng.uniform(0.25, 0.8)
    scene = Scene(
        b.items,
        sun_direction=sun(rng, 40),  # stands for the light that comes from above; its shadows ground things
        sun_colour=tinted(rng, rng.uniform(0.1, 0.7) if rng.random() < 0.8 else rng.uniform(0.7, 1.5)),
        ambient_up=tinted(rng, level, 0.08),
        ambient_down=tinted(rng, level * rng.uniform(0.3, 0.8), 0.08),
        lamps=lamps[:4],
        exposure=rng.uniform(0.8, 1.3),
        shadow_radius=0.5 * float(np.hypot(w, d)) + 0.5,
        shadow_centre=np.array([0, 0, 1.0]),
    )
    return World("filmed", scene, [], [], (20, 40), views)


def _views(rng: np.random.Generator, b: Builder, room: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """(eye, target): mostly at somebody's eye or hand, 1 to 4.5 m from what is looked at; now and then close to a table top."""
    views = []
    focus = b.focus or [np.array([0, 0, 0.8])]
    low, high = -room[:2] / 2 + 0.15, room[:2] / 2 - 0.15
    for _ in range(60):
        if len(views) == 12:
            break
        target = focus[rng.integers(len(focus))] + rng.normal(0, [0.3, 0.3, 0.15])
        around = rng.uniform(0, 6.28)
        if rng.random() < 0.3:
            away, down = rng.uniform(0.5, 1.2), np.radians(rng.uniform(10, 55))
            eye = target + away * np.array([np.cos(around) * np.cos(down), np.sin(around) * np.cos(down), np.sin(down)])
        else:
            away = rng.uniform(1.0, 4.5)
            eye = np.array([target[0] + away * np.cos(around), target[1] + away * np.sin(around), rng.uniform(1.1, 1.8)])
        if np.all(eye[:2] > low) and np.all(eye[:2] < high) and 0.2 < eye[2] < room[2] - 0.15:
            views.append((eye, target))
    while len(views) < 4:
        eye = np.array([rng.uniform(low[0], high[0]), rng.uniform(low[1], high[1]), rng.uniform(1.2, 1.7)])
        views.append((eye, np.array([0, 0, 0.7]) + rng.normal(0, 0.5, 3)))
    return views
