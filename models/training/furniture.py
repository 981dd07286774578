"""Furniture and the things that lie on it. Metres, z up, standing on z = 0 around x = y = 0."""

from __future__ import annotations

import numpy as np

from .objects import Builder, axis_matrix, yaw_matrix


def clutter(
    b: Builder, centre, spread: tuple[float, float], count: int, size: tuple[float, float] = (0.05, 0.3), yaw: float = 0.0
) -> None:
    """Small things lying and standing on a surface at `centre`."""
    rng, turn = b.rng, yaw_matrix(yaw)
    for _ in range(count):
        offset = turn @ np.array([rng.uniform(-0.5, 0.5) * spread[0], rng.uniform(-0.5, 0.5) * spread[1], 0])
        b.begin(np.asarray(centre, float) + offset, rng.uniform(0, 6.28))
        s = float(np.exp(rng.uniform(*np.log(size))))
        kind = rng.integers(8)
        if kind == 0:  # box, package
            d = s * rng.uniform(0.3, 1.2, 3)
            b.part(b.stock.box, (0, 0, d[2] / 2), d, b.look("poster", "plain", "page", tile=(0.1, 0.6)))
        elif kind == 1:  # book lying, or several
            z = 0.0
            for _ in range(int(rng.integers(1, 5))):
                d = np.array([s * rng.uniform(0.7, 1.1), s * rng.uniform(0.5, 0.8), s * rng.uniform(0.05, 0.25)])
                b.part(
                    b.stock.box,
                    (0, 0, z + d[2] / 2),
                    d,
                    b.look("poster", "plain", tile=(0.1, 0.5)),
                    yaw_matrix(rng.normal(0, 0.2)),
                )
                z += d[2]
        elif kind in (2, 3):  # cup, bottle, vase
            w, h = s * rng.uniform(0.3, 0.9), s * rng.uniform(0.5, 1.6)
            b.part(
                b.stock.vessels[rng.integers(30)],
                (0, 0, h / 2),
                (w, w, h),
                b.look("plain", "poster", "pattern", "mottled", tile=(0.1, 1)),
                tile_m=None,
            )
        elif kind == 4:  # tin, jar
            w, h = s * rng.uniform(0.3, 0.7), s * rng.uniform(0.4, 1.3)
            b.part(b.stock.cylinder, (0, 0, h / 2), (w, w, h), b.look("poster", "plain", "page"), tile_m=None)
        elif kind == 5:  # fruit, ball, toy
            b.part(
                b.stock.ball if rng.random() < 0.5 else b.stock.stones[rng.integers(24)],
                (0, 0, s * 0.3),
                s * rng.uniform(0.5, 0.8, 3),
                b.look("plain", "mottled", tile=(0.1, 1)),
            )
        elif kind == 6:  # screen or framed picture, standing
            w, h = s * rng.uniform(1, 2), s * rng.uniform(0.8, 1.4)
            lean = axis_matrix([1, 0, 0], rng.uniform(-0.2, 0.0))
            b.part(b.stock.box, (0, 0, h / 2 + 0.02), (w, 0.02, h), b.look("plain", odd=0), lean, colour=(0.1, 0.1, 0.1))
            b.part(
                b.stock.box,
                (0, -0.012, h / 2 + 0.02),
                (w * 0.9, 0.01, h * 0.88),
                b.look("poster", "page"),
                lean,
                tile_m=None,
                emission=float(rng.random() < 0.3),
            )
            b.part(b.stock.box, (0, 0, 0.01), (w * 0.4, s * 0.5, 0.02), b.look("plain"))
        else:  # cushion, bag
            b.part(
                b.stock.rounded[rng.integers(4)],
                (0, 0, s * 0.35),
                s * rng.uniform(0.5, 1.2, 3) * [1, 1, 0.7],
                b.look("fabric", "pattern", tile=(0.1, 0.6)),
            )


def table(b: Builder, origin, yaw: float, size=None, things: int | None = None) -> np.ndarray:
    """A table with things on it; returns the middle of its top."""
    rng = b.rng
    w, d, h = (
        size
        if size is not None
        else (rng.uniform(0.6, 2.2), rng.uniform(0.5, 1.1), rng.choice([rng.uniform(0.35, 0.5), rng.uniform(0.68, 0.95)]))
    )
    b.begin(origin, yaw)
    top, legs = b.look("wood", "plain", "mottled", "fabric"), b.look("wood", "plain")
    thick = rng.uniform(0.02, 0.07)
    round_top = rng.random() < 0.2
    b.part(b.stock.cylinder if round_top else b.stock.box, (0, 0, h - thick / 2), (w, d, thick), top)
    if rng.random() < 0.25:
        b.part(b.stock.box, (0, 0, (h - thick) / 2), (w * 0.9, d * 0.85, h - thick), legs)
    elif round_top:
        b.part(b.stock.cylinder, (0, 0, h / 2), (0.1, 0.1, h - thick), legs)
    else:
        leg = rng.uniform(0.03, 0.09)
        for x in (-1, 1):
            for y in (-1, 1):
                b.part(b.stock.box, (x * (w / 2 - leg), y * (d / 2 - leg), (h - thick) / 2), (leg, leg, h - thick), legs)
    centre = np.asarray(origin, float) + [0, 0, h]
    b.focus.append(centre)
    clutter(b, centre, (w * 0.85, d * 0.85), int(rng.integers(0, 10)) if things is None else things, (0.06, 0.35), yaw)
    return centre


def chair(b: Builder, origin, yaw: float) -> None:
    """A chair or an office chair; its back is at -y."""
    rng = b.rng
    b.begin(origin, yaw)
    seat, frame = b.look("fabric", "wood", "plain", tile=(0.1, 0.8)), b.look("wood", "plain")
    w, h, back = rng.uniform(0.38, 0.6), rng.uniform(0.4, 0.52), rng.uniform(0.35, 0.75)
    shape = b.stock.box if rng.random() < 0.5 else b.stock.rounded[rng.integers(2)]
    b.part(shape, (0, 0, h), (w, w, rng.uniform(0.03, 0.12)), seat)
    lean = axis_matrix([1, 0, 0], rng.uniform(0, 0.25))
    if rng.random() < 0.7:
        b.part(shape, (0, -w / 2, h + back / 2), (w, rng.uniform(0.02, 0.09), back), seat, lean)
    else:
        for x in np.linspace(-w / 2 + 0.03, w / 2 - 0.03, int(rng.integers(3, 6))):
            b.part(b.stock.box, (x, -w / 2, h + back / 2), (0.03, 0.03, back), frame, lean)
        b.part(b.stock.box, (0, -w / 2 - 0.05, h + back), (w, 0.03, 0.08), frame)
    if rng.random() < 0.3:
        b.part(b.stock.cylinder, (0, 0, h / 2), (0.06, 0.06, h), frame)
        for a in np.arange(5) * 1.2566:
            b.rod((0, 0, 0.08), (0.3 * np.cos(a), 0.3 * np.sin(a), 0.04), 0.04, frame)
    else:
        for x in (-1, 1):
            for y in (-1, 1):
                b.rod((x * (w / 2 - 0.03), y * (w / 2 - 0.03), h), (x * (w / 2 - 0.02), y * (w / 2 - 0.02), 0), 0.04, frame)


def sofa(b: Builder, origin, yaw: float) -> None:
    """A sofa or an armchair; its back is at -y."""
    rng = b.rng
    b.begin(origin, yaw)
    look = b.look("fabric", "plain", "pattern", tile=(0.2, 1.0))
    w, d, h = rng.choice([0.9, 1.6, 2.2]) * rng.uniform(0.9, 1.1), rng.uniform(0.75, 1.0), rng.uniform(0.38, 0.48)
    shape = b.stock.rounded[rng.integers(3)]
    b.part(shape, (0, 0, h / 2), (w, d, h), look)
    b.part(shape, (0, -d * 0.42, h * 0.9), (w, d * 0.28, rng.uniform(0.7, 1.1)), look)
    for x in (-1, 1):
        b.part(shape, (x * w * 0.48, 0, h * 0.7), (0.2, d, h * 1.4), look)
    b.focus.append(np.asarray(origin, float) + [0, 0, h])
    clutter(b, np.asarray(origin, float) + [0, 0, h], (w * 0.8, d * 0.3), int(rng.integers(0, 4)), (0.2, 0.5), yaw)


def bed(b: Builder, origin, yaw: float) -> None:
    """A bed with its head at -y."""
    rng = b.rng
    b.begin(origin, yaw)
    w, d, h = rng.uniform(0.9, 1.9), rng.uniform(1.9, 2.1), rng.uniform(0.3, 0.6)
    b.part(b.stock.box, (0, 0, h / 4), (w, d, h / 2), b.look("wood", "plain"))
    b.part(b.stock.rounded[0], (0, 0, h * 0.75), (w, d, h * 0.6), b.look("fabric", "pattern", "plain"))
    b.part(b.stock.rounded[1], (0, 0.25, h), (w * 1.02, d * 0.7, 0.18), b.look("fabric", "pattern"))
    b.part(b.stock.box, (0, -d / 2, h), (w, 0.06, rng.uniform(0.6, 1.4)), b.look("wood", "fabric"))
    for x in (-w / 4, w / 4):
        b.part(b.stock.rounded[2], (x, -d * 0.38, h * 1.15), (w * 0.4, 0.4, 0.18), b.look("fabric", "plain"))
    b.focus.append(np.asarray(origin, float) + [0, 0, h])


def cupboard(b: Builder, origin, yaw: float, width: float | None = None) -> None:
    """A cupboard, a chest of drawers, a kitchen counter or open shelves; its back is at -y."""
    rng = b.rng
    b.begin(origin, yaw)
    w = width or rng.uniform(0.4, 2.0)
    d, h = rng.uniform(0.25, 0.65), rng.choice([rng.uniform(0.5, 0.95), rng.uniform(1.2, 2.3)])
    look = b.look("wood", "plain")
    base = np.asarray(origin, float)
    if rng.random() < 0.45:  # open shelves
        t = 0.025
        for x in (-w / 2, w / 2):
            b.part(b.stock.box, (x, 0, h / 2), (t, d, h), look)
        b.part(b.stock.box, (0, -d / 2, h / 2), (w, t, h), look, colour=(0.6, 0.6, 0.6))
        levels = max(int(h / rng.uniform(0.28, 0.45)), 1)
        for z in np.linspace(0.05, h, levels + 1):
            b.part(b.stock.box, (0, 0, z), (w, d, t), look)
        step = (h - 0.05) / levels
        for k in range(levels):
            z = 0.05 + k * step
            if rng.random() < 0.5:
                height, length = step * rng.uniform(0.6, 0.9), w * rng.uniform(0.3, 0.95)
                b.part(
                    b.stock.box,
                    (rng.uniform(-1, 1) * (w - length) / 2, -d * 0.1, z + height / 2 + t / 2),
                    (length, d * 0.6, height),
                    b.look("books", odd=0),
                    tile_m=None,
                )
            elif rng.random() < 0.8:
                keep = b._origin, b._rotation, b.object_id
                clutter(
                    b,
                    base + yaw_matrix(yaw) @ [0, 0, z + t / 2],
                    (w * 0.8, d * 0.5),
                    int(rng.integers(1, 5)),
                    (0.06, max(min(step * 0.6, 0.3), 0.08)),
                    yaw,
                )
                b._origin, b._rotation, b.object_id = keep
    else:
        b.part(b.stock.box, (0, 0, h / 2), (w, d, h), look)
        columns, rows = max(int(w / rng.uniform(0.35, 0.7)), 1), max(int(h / rng.uniform(0.2, 0.9)), 1)
        front = b.look("wood", "plain") if rng.random() < 0.5 else look
        for i in range(columns):
            for j in range(rows):
                x, z = (i + 0.5) / columns * w - w / 2, (j + 0.5) / rows * h
                b.part(b.stock.box, (x, d / 2, z), (w / columns - 0.015, 0.03, h / rows - 0.015), front)
                b.part(
                    b.stock.box,
                    (x, d / 2 + 0.03, z + 0.3 * h / rows),
                    (0.1, 0.02, 0.015),
                    look,
                    specular=0.6,
                    colour=(0.5, 0.5, 0.5),
                )
        if h < 1.0:
            b.part(b.stock.box, (0, 0.01, h + 0.02), (w + 0.02, d + 0.04, 0.04), b.look("mottled", "wood", "plain"))
    if h < 1.3:
        clutter(b, base + [0, 0, h + 0.04], (w * 0.85, d * 0.6), int(rng.integers(0, 8)), (0.06, 0.4), yaw)
    b.focus.append(base + [0, 0, min(h, 1.2)])


def lamp(b: Builder, origin) -> None:
    """A standing lamp or a hanging plant-like post."""
    rng = b.rng
    b.begin(origin)
    h = rng.uniform(0.4, 1.9)
    b.part(b.stock.cylinder, (0, 0, 0.02), (0.3, 0.3, 0.04), b.look("plain"))
    b.part(b.stock.cylinder, (0, 0, h / 2), (0.03, 0.03, h), b.look("plain"))
    b.part(b.stock.tapered, (0, 0, h), (0.4, 0.4, 0.3), b.look("plain", "fabric"), emission=rng.uniform(0, 1))
