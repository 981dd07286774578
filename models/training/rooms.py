"""Furnished rooms, seen as a whole or from close to a table."""

from __future__ import annotations

import numpy as np

from . import furniture, objects
from .objects import Builder, Stock, axis_matrix
from .raster import Scene
from .world import World, sun, tinted


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
    walls = [
        ((0, d / 2), 0.0, w),
        ((w / 2, 0), -np.pi / 2, d),
        ((0, -d / 2), np.pi, w),
        ((-w / 2, 0), np.pi / 2, d),
    ]  # yaw: front looks inwards
    for (x, y), yaw, length in walls:
        b.begin((x, y, 0), yaw)
        look = wall_look if rng.random() < 0.75 else b.look("plain", "tiles", "pattern", "poster", tile=(1.0, 4.0))
        b.part(stock.sheet, (0, 0, h / 2), (length, h, 1), look, axis_matrix([1, 0, 0], np.pi / 2), **shell)
        if rng.random() < 0.7:
            b.part(stock.box, (0, -0.01, 0.05), (length, 0.03, 0.1), b.look("plain", "wood"), **shell)
        if rng.random() < 0.45:  # window
            ww, wh, at = rng.uniform(0.7, min(2.5, length * 0.6)), rng.uniform(0.7, 1.5), rng.uniform(-0.25, 0.25) * length
            b.part(stock.box, (at, -0.02, 1.5), (ww + 0.16, 0.08, wh + 0.16), b.look("plain", "wood"), **shell)
            b.part(
                stock.box,
                (at, -0.04, 1.5),
                (ww, 0.06, wh),
                b.look("poster", "facade", "plain", "mottled", tile=(1, 3)),
                emission=rng.uniform(0.2, 1.0),
                **shell,
            )
            for k in range(int(rng.integers(1, 4))):
                b.part(stock.box, (at + ww * ((k + 1) / 4 - 0.5), -0.06, 1.5), (0.05, 0.06, wh), b.look("plain"), **shell)
            if rng.random() < 0.5:
                for side in (-1, 1):
                    b.part(
                        stock.rounded[1],
                        (at + side * (ww / 2 + 0.1), -0.12, 1.4),
                        (0.35, 0.12, min(wh + 0.8, h - 0.1)),
                        b.look("fabric", "pattern"),
                    )
        elif rng.random() < 0.4:  # door
            at = rng.uniform(-0.3, 0.3) * length
            b.part(stock.box, (at, -0.02, 1.05), (1.05, 0.1, 2.15), b.look("wood", "plain"), **shell)
            b.part(stock.box, (at, -0.04, 1.02), (0.9, 0.09, 2.05), b.look("wood", "plain"), **shell)
        for _ in range(int(rng.integers(0, 4))):  # pictures
            pw, ph = rng.uniform(0.2, 1.2), rng.uniform(0.2, 0.9)
            at, z = rng.uniform(-0.45, 0.45) * length, rng.uniform(1.2, 2.0)
            b.part(stock.box, (at, -0.015, z), (pw + 0.06, 0.03, ph + 0.06), b.look("wood", "plain"))
            b.part(stock.box, (at, -0.022, z), (pw, 0.03, ph), b.look("poster", "photo", "label", "page", odd=0), tile_m=None)
        # Furniture along the wall; its front (+y) looks away from the wall.
        at = -length / 2 + 0.4
        while at < length / 2 - 0.4:
            width = rng.uniform(0.5, 1.8)
            spot = np.array([x, y, 0.0]) + objects.yaw_matrix(yaw) @ np.array([at + width / 2, -0.36, 0])
            kind = rng.random()
            if at + width > length / 2 - 0.3:
                break
            if kind < 0.45:
                furniture.cupboard(b, spot, yaw + np.pi, width)
            elif kind < 0.58:
                furniture.table(b, spot, yaw, (width, rng.uniform(0.5, 0.7), rng.uniform(0.65, 0.95)))
            elif kind < 0.68:
                furniture.sofa(b, spot, yaw + np.pi)
                at += 0.5
            elif kind < 0.75:
                objects.plant(b, spot, rng.uniform(0.4, 1.9))
            elif kind < 0.82:
                furniture.chair(b, spot, yaw + np.pi + rng.normal(0, 0.4))
            elif kind < 0.87:
                furniture.lamp(b, spot)
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
        furniture.table(b, spot, yaw, things=int(rng.integers(3, 14)) if table_top else None)
        for _ in range(int(rng.integers(0, 6))):
            turn = rng.uniform(0, 6.28)
            furniture.chair(
                b, spot + np.array([np.sin(turn), -np.cos(turn), 0]) * rng.uniform(0.6, 1.1), turn + rng.normal(0, 0.5)
            )
    elif rng.random() < 0.3:
        furniture.bed(b, (rng.normal(0, w * 0.1), rng.normal(0, d * 0.1), 0), rng.integers(4) * np.pi / 2)
    furniture.clutter(b, (0, 0, 0), (w * 0.8, d * 0.8), int(rng.integers(0, 7)), (0.1, 0.6))
    for _ in range(int(rng.integers(0, 3)) if rng.random() < 0.35 else 0):
        objects.person(
            b, (rng.uniform(-0.35, 0.35) * w, rng.uniform(-0.35, 0.35) * d, 0), rng.uniform(0, 6.28), seated=rng.random() < 0.3
        )
    night = rng.random() < 0.2
    level = rng.uniform(0.15, 0.4) if night else rng.uniform(0.35, 0.95)
    lamps = [
        (
            (rng.uniform(-0.4, 0.4) * w, rng.uniform(-0.4, 0.4) * d, rng.uniform(1.0, h - 0.1)),
            tuple(rng.uniform(0.3, 2.2) * np.array([1, rng.uniform(0.7, 1), rng.uniform(0.4, 1)])),
            rng.uniform(0.7, 2.5),
        )
        for _ in range(int(rng.integers(1, 4)))
    ]
    scene = Scene(
        b.items,
        sun_direction=sun(rng, 35),
        sun_colour=tinted(rng, rng.uniform(0, 1.2) if rng.random() < 0.7 else 0.0),
        ambient_up=tinted(rng, level, 0.15),
        ambient_down=tinted(rng, level * rng.uniform(0.4, 0.9), 0.15),
        lamps=lamps,
        exposure=rng.uniform(0.7, 1.3),
        shadow_radius=0.5 * float(np.hypot(w, d)) + 0.5,
        shadow_centre=np.array([0, 0, 1.0]),
    )
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
    eyes = [
        np.array([rng.uniform(-0.46, 0.46) * w, rng.uniform(-0.46, 0.46) * d, np.clip(rng.normal(1.4, 0.35), 0.3, h - 0.2)])
        for _ in range(12)
    ]
    return World("room", scene, eyes, targets, (18, 70))
