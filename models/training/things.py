"""Things that stand in front of a camera at arm's length: bottles, mugs, cartons, books, plants, devices, bags, tools, toys.

Each is built around a place with its foot on z = 0 and is about `size` metres large.
"""

from __future__ import annotations

import numpy as np

from . import furniture
from .figures import animal, figure
from .objects import Builder, axis_matrix, yaw_matrix

LYING = axis_matrix([1, 0, 0], np.pi / 2)


def cable(b: Builder, at, reach: float, look: dict | None = None, stiff: float = 0.5) -> None:
    """A cable or string that wanders over a surface, now and then through the air."""
    rng = b.rng
    b.begin(at, rng.uniform(0, 6.28))
    grey = float(rng.uniform(0.01, 0.8))
    look = look or {"colour": (grey, grey, grey) if rng.random() < 0.7 else tuple(rng.uniform(0.05, 0.9, 3))}
    heading, place = 0.0, np.array([0, 0, 0.004])
    width = rng.uniform(0.003, 0.009)
    rise = rng.normal(0, 0.25) if rng.random() < 0.3 else 0.0
    for _ in range(int(rng.integers(6, 16))):
        heading += rng.normal(0, stiff)
        step = reach / 8 * np.array([np.cos(heading), np.sin(heading), rise])
        following = place + step
        following[2] = max(following[2], 0.004)
        b.rod(place, following, width, look)
        place = following


def bottle(b: Builder, at, size: float) -> None:
    """A bottle, jar or tube with a label and a cap."""
    rng, stock = b.rng, b.stock
    b.begin(at, rng.uniform(0, 6.28))
    h, w = size, size * rng.uniform(0.22, 0.5)
    glossy = {"specular": rng.uniform(0.1, 0.9), "shininess": 50.0} if rng.random() < 0.5 else {}
    body = {**b.look("plain", "plain", "poster", tile=(0.2, 1)), **glossy}
    turn = np.eye(3)
    place = np.array([0, 0, h / 2])
    if rng.random() < 0.12:
        turn, place = LYING, np.array([0, 0, w / 2])
    flat = rng.uniform(0.6, 1.0)
    b.part(stock.bottles[rng.integers(16)], place, (w, w * flat, h), body, turn)
    if rng.random() < 0.75:
        low, high = sorted(rng.uniform(-0.42, 0.15, 2))
        label = b.look("label", "poster", "page", odd=0)
        middle = place + turn @ [0, 0, (low + high) / 2 * h]
        b.part(stock.cylinder, middle, (w * 1.02, w * flat * 1.02, max(high - low, 0.1) * h), label, turn, tile_m=None)
    cap = b.look("plain", odd=0)
    b.part(stock.tapered, place + turn @ [0, 0, h * 0.49], (w * 0.45, w * 0.45 * flat, h * rng.uniform(0.06, 0.18)), cap, turn)


def mug(b: Builder, at, size: float) -> None:
    """A mug or cup, hollow, with a handle."""
    rng, stock = b.rng, b.stock
    b.begin(at, rng.uniform(0, 6.28))
    h, w = size * 0.9, size * rng.uniform(0.7, 1.0)
    look = b.look("plain", "plain", "pattern", "poster", "label", tile=(0.1, 0.6))
    mesh = stock.cylinder if rng.random() < 0.6 else stock.tapered
    flip = np.eye(3) if mesh is stock.cylinder else axis_matrix([1, 0, 0], np.pi)
    b.part(mesh, (0, 0, h / 2), (w, w, h), look, flip, tile_m=None)
    b.part(stock.cylinder, (0, 0, h * 0.985), (w * 0.88, w * 0.88, h * 0.04), {"colour": tuple(rng.uniform(0.02, 0.25, 3))})
    b.part(stock.handle, (w * 0.48, 0, h * 0.5), (w * 0.6, w * 0.6, h * 0.7), look, axis_matrix([0, 1, 0], np.pi / 2 + 0.2))


def books(b: Builder, at, size: float) -> None:
    """A pile or a leaning row of books, magazines, folders."""
    rng, stock = b.rng, b.stock
    yaw = rng.uniform(0, 6.28)
    paper = {"colour": (0.85, 0.82, 0.75), "texture": stock.textures.pick(rng, "wood"), "tile_m": 0.05}
    if rng.random() < 0.5:
        z = 0.0
        for _ in range(int(rng.integers(1, 8))):
            w, d, t = size * rng.uniform(0.7, 1.1), size * rng.uniform(0.5, 0.8), rng.uniform(0.006, 0.05)
            b.begin(np.asarray(at, float) + [rng.normal(0, 0.01), rng.normal(0, 0.01), z], yaw + rng.normal(0, 0.15))
            b.part(stock.box, (0.004, 0, t / 2), (w - 0.012, d - 0.012, t * 0.8), paper)
            cover = b.look("poster", "label", "plain", "page", "photo", odd=0.02)
            b.part(stock.box, (0, 0, t - 0.001), (w, d, 0.002), cover, tile_m=None)
            b.part(stock.box, (0, 0, 0.001), (w, d, 0.002), cover, tile_m=None)
            b.part(stock.box, (-w / 2, 0, t / 2), (0.003, d, t), cover, tile_m=None)
            z += t
        return
    lean = rng.uniform(0, 0.35) if rng.random() < 0.7 else 0.0
    x = -0.5 * size
    for _ in range(int(rng.integers(2, 12))):
        t, d, h = rng.uniform(0.008, 0.05), size * rng.uniform(0.5, 0.8), size * rng.uniform(0.7, 1.1)
        b.begin(np.asarray(at, float) + yaw_matrix(yaw) @ [x, 0, 0], yaw)
        tip = axis_matrix([0, 1, 0], lean)
        cover = b.look("poster", "label", "plain", "photo", odd=0.02)
        b.part(stock.box, tip @ [0, 0, h / 2], (t, d, h), cover, tip, tile_m=None)
        x += t / np.cos(lean) + 0.002


def carton(b: Builder, at, size: float) -> None:
    """A cardboard box: shut, open above with flaps, or lying with its opening to one side, dark inside and filled."""
    rng, stock = b.rng, b.stock
    yaw = rng.uniform(0, 6.28)
    w, d, h = size * rng.uniform(0.6, 1.4), size * rng.uniform(0.5, 1.0), size * rng.uniform(0.4, 1.1)
    b.begin(at, yaw)
    look = b.look("card", "card", "plain", "wood", "metal", odd=0.05, tile=(0.2, 0.8))
    t = rng.uniform(0.003, 0.012)
    side = rng.random() < 0.5
    if rng.random() < 0.3:
        b.part(stock.box, (0, 0, h / 2), (w, d, h), b.look("poster", "label", "card", "photo", "plain", odd=0), tile_m=None)
        return
    walls = [
        ((-w / 2, 0, h / 2), (t, d, h)),
        ((w / 2, 0, h / 2), (t, d, h)),
        ((0, d / 2, h / 2), (w, t, h)),
        ((0, 0, t), (w, d, t)),
    ]
    walls.append(((0, 0, h), (w, d, t)) if side else ((0, -d / 2, h / 2), (w, t, h)))
    inner = float(rng.uniform(0.3, 1.0))
    for place, extent in walls:
        shade = 1.0 if rng.random() < 0.5 else inner
        b.part(stock.box, place, extent, look, colour=tuple(np.array(look["colour"]) * shade))
    if rng.random() < 0.5:
        b.part(stock.box, (w * 0.1, d / 2 + 0.002, h / 2), (w * 0.6, t, h * 0.6), b.look("label", "poster", odd=0), tile_m=None)
    if side:  # a rim below, flaps to the sides
        if rng.random() < 0.6:
            rim = b.look("card", "metal", "plain", odd=0)
            b.part(stock.box, (0, -d / 2, h * 0.1), (w, t, h * rng.uniform(0.12, 0.3)), rim)
        for s in (-1, 1):
            if rng.random() < 0.5:
                turn = yaw_matrix(s * rng.uniform(0.2, 1.8))
                b.part(stock.box, np.array([s * w / 2, -d / 2, h / 2]) + turn @ [0, -d * 0.2, 0], (t, d * 0.4, h), look, turn)
    else:
        for axis, sign, reach, long in ((0, 1, d, w), (0, -1, d, w), (1, 1, w, d), (1, -1, w, d)):
            if rng.random() < 0.7:
                bend = rng.uniform(-0.3, 2.4)
                if axis == 0:
                    turn = axis_matrix([1, 0, 0], sign * bend)
                    edge, span, off = [0, -sign * d / 2, h], (long, t, reach * 0.45), [0, 0, reach * 0.22]
                else:
                    turn = axis_matrix([0, 1, 0], sign * bend)
                    edge, span, off = [sign * w / 2, 0, h], (t, long, reach * 0.45), [0, 0, reach * 0.22]
                b.part(stock.box, np.array(edge) + turn @ off, span, look, turn)
    room = (w * 0.75, d * 0.7)
    for _ in range(int(rng.integers(0, 8))):
        offset = yaw_matrix(yaw) @ [rng.uniform(-0.5, 0.5) * room[0], rng.uniform(-0.5, 0.5) * room[1], t]
        thing(b, np.asarray(at, float) + offset, h * rng.uniform(0.2, 0.95), small=True)


def screen(b: Builder, at, size: float) -> None:
    """A monitor, television, tablet or laptop with something or nothing on it."""
    from .lived_in import screen as monitor

    monitor(b, at, b.rng.uniform(0, 6.28), size * 1.4)


def keyboard(b: Builder, at, size: float) -> None:
    """Keys in rows on a base; now and then a piano, a remote or a phone."""
    rng, stock = b.rng, b.stock
    b.begin(at, rng.uniform(0, 6.28))
    rows, columns = (5, int(rng.integers(10, 16))) if rng.random() < 0.75 else (int(rng.integers(3, 9)), int(rng.integers(3, 5)))
    pitch = size * 1.2 / 14
    base, keys = b.look("plain", odd=0), b.look("plain", odd=0)
    grey = float(rng.uniform(0.01, 0.85))
    base["colour"] = (grey,) * 3
    keys["colour"] = (float(np.clip(grey * rng.uniform(0.5, 1.6), 0.01, 0.9)),) * 3
    slope = axis_matrix([1, 0, 0], rng.uniform(0, 0.12))
    b.part(stock.box, (0, 0, 0.012), (columns * pitch + 0.02, rows * pitch + 0.02, 0.016), base, slope)
    for r in range(rows):
        for c in range(columns):
            place = slope @ [(c - (columns - 1) / 2) * pitch, (r - (rows - 1) / 2) * pitch, 0]
            b.part(stock.box, place + [0, 0, 0.023], (pitch * 0.84, pitch * 0.84, 0.008), keys, slope)


def pot_plant(b: Builder, at, size: float) -> None:
    """A plant in a pot: leaves on stalks, or a bunch of flowers in a vase."""
    rng, stock = b.rng, b.stock
    b.begin(at, rng.uniform(0, 6.28))
    pot = size * rng.uniform(0.25, 0.4)
    flip = axis_matrix([1, 0, 0], np.pi)
    b.part(stock.tapered, (0, 0, pot / 2), (pot, pot, pot), b.look("plain", "mottled", "pattern", tile=(0.1, 0.5)), flip)
    green = b.look("plain", "mottled", "fabric", odd=0, tile=(0.05, 0.3))
    green["colour"] = tuple(np.array([rng.uniform(0.1, 0.6), rng.uniform(0.3, 0.8), rng.uniform(0.05, 0.4)]))
    petals = {"colour": tuple(rng.uniform(0.1, 1.0, 3))} if rng.random() < 0.4 else None
    for _ in range(int(rng.integers(8, 40))):
        around, out = rng.uniform(0, 6.28), rng.uniform(0.05, 0.5) * size
        tip = np.array([out * np.cos(around), out * np.sin(around), pot + (size - pot) * rng.uniform(0.1, 1.0)])
        b.rod((0, 0, pot * 0.9), tip, 0.006 + 0.01 * size, green)
        if petals:
            b.part(stock.stones[rng.integers(24)], tip, np.full(3, size * rng.uniform(0.08, 0.18)), petals)
        else:
            wide = size * rng.uniform(0.08, 0.25)
            turn = yaw_matrix(around) @ axis_matrix([0, 1, 0], rng.uniform(-0.3, 1.2))
            b.part(stock.ball, tip, (wide * rng.uniform(1, 2.2), wide, wide * 0.06), green, turn)


def bag(b: Builder, at, size: float) -> None:
    """A bag, a cushion, a heap of cloth, a stuffed toy."""
    rng, stock = b.rng, b.stock
    b.begin(at, rng.uniform(0, 6.28))
    d = size * np.array([rng.uniform(0.6, 1.2), rng.uniform(0.3, 0.9), rng.uniform(0.4, 1.0)])
    look = b.look("fabric", "plain", "pattern", "metal", tile=(0.05, 0.5))
    b.part(stock.bags[rng.integers(len(stock.bags))], (0, 0, d[2] * 0.45), d, look)
    if rng.random() < 0.4:
        b.part(stock.rings[0], (0, 0, d[2] * 0.9), (d[0] * 0.6, 0.05 * size + 0.02, d[2] * 0.6), look)


def dishes(b: Builder, at, size: float) -> None:
    """Plates, bowls, fruit, glasses, cutlery."""
    rng, stock = b.rng, b.stock
    b.begin(at, rng.uniform(0, 6.28))
    china = b.look("plain", "pattern", "wood", odd=0.02, tile=(0.1, 0.5))
    flip = axis_matrix([1, 0, 0], np.pi)
    for k in range(int(rng.integers(1, 5))):
        b.part(stock.tapered, (0, 0, 0.012 + k * 0.015), (size, size, 0.02), china, flip)
    if rng.random() < 0.6:
        b.part(stock.tapered, (0, 0, 0.02 + size * 0.15), (size * 0.7, size * 0.7, size * 0.3), china, flip)
        for _ in range(int(rng.integers(0, 8))):
            fruit = b.look("plain", "mottled", odd=0, tile=(0.1, 0.5))
            place = (*rng.normal(0, size * 0.13, 2), size * rng.uniform(0.25, 0.45))
            b.part(
                stock.ball if rng.random() < 0.6 else stock.stones[rng.integers(24)],
                place,
                size * rng.uniform(0.18, 0.35, 3),
                fruit,
            )
    steel = {"colour": (0.5, 0.5, 0.5), "specular": 0.8}
    for _ in range(int(rng.integers(0, 4))):
        x = rng.choice([-1, 1]) * size * rng.uniform(0.6, 0.8)
        b.rod((x, -size * 0.4, 0.004), (x, size * 0.4, 0.006), 0.008, steel)


def desk_lamp(b: Builder, at, size: float) -> None:
    """An arm lamp, a microphone, a stand, a tripod: thin rods with something at their end."""
    rng, stock = b.rng, b.stock
    b.begin(at, rng.uniform(0, 6.28))
    look = b.look("plain", "metal", odd=0)
    joint, width = np.array([0, 0, 0.02]), size * rng.uniform(0.02, 0.05)
    b.part(stock.cylinder, (0, 0, 0.015), (size * 0.35, size * 0.35, 0.03), look)
    if rng.random() < 0.3:
        for k in range(3):
            b.rod((0, 0, size * 0.5), (0.3 * size * np.cos(k * 2.1), 0.3 * size * np.sin(k * 2.1), 0), width, look)
    for k in range(int(rng.integers(1, 4))):
        lean = rng.uniform(-0.9, 0.9)
        following = joint + size * rng.uniform(0.3, 0.7) * np.array(
            [np.sin(lean), 0.1 * rng.normal(), np.cos(lean) if k < 2 else rng.uniform(-0.5, 0.5)]
        )
        following[2] = max(following[2], 0.05)
        b.rod(joint, following, width, look)
        joint = following
    head = rng.uniform(0.12, 0.35) * size
    turn = axis_matrix([0, 1, 0], rng.uniform(-1.2, 1.2))
    b.part(
        [stock.tapered, stock.cylinder, stock.box, stock.ball][rng.integers(4)],
        joint,
        (head, head, head * rng.uniform(0.5, 1.3)),
        look,
        turn,
        emission=float(rng.random() < 0.3),
    )


def toy(b: Builder, at, size: float) -> None:
    """Primitives stuck together: a toy, a machine, a sculpture, a tool."""
    rng, stock = b.rng, b.stock
    b.begin(at, rng.uniform(0, 6.28))
    meshes = [stock.box, stock.ball, stock.cylinder, stock.cone, *stock.rounded, *stock.rings, *stock.bags[:4], stock.limb]
    looks = [b.look("plain", "plain", "wood", "metal", "pattern", "mottled", tile=(0.05, 0.5)) for _ in range(3)]
    z = 0.0
    for _ in range(int(rng.integers(2, 9))):
        d = size * rng.uniform(0.12, 0.55, 3)
        turn = (
            yaw_matrix(rng.integers(4) * np.pi / 2) if rng.random() < 0.5 else axis_matrix(rng.normal(size=3), rng.uniform(0, 3))
        )
        b.part(meshes[rng.integers(len(meshes))], (*rng.normal(0, size * 0.15, 2), z + d[2] / 2), d, looks[rng.integers(3)], turn)
        z = min(z + d[2] * rng.uniform(0, 0.9), size * 0.7)


def sheets(b: Builder, at, size: float) -> None:
    """Papers, cloth, foil, leaflets lying loosely on each other."""
    rng, stock = b.rng, b.stock
    for k in range(int(rng.integers(1, 9))):
        b.begin(np.asarray(at, float) + [*rng.normal(0, size * 0.25, 2), 0.002 + 0.003 * k], rng.uniform(0, 6.28))
        look = b.look("page", "page", "label", "poster", "photo", "fabric", "metal", odd=0.02)
        wide = size * rng.uniform(0.5, 1.0)
        mesh = stock.cloths[rng.integers(len(stock.cloths))] if rng.random() < 0.6 else stock.box
        thick = rng.uniform(0.1, 0.7) if mesh is not stock.box else 0.002
        b.part(mesh, (0, 0, 0), (wide, wide * rng.uniform(0.6, 1.0), thick), look, tile_m=None)


def bin_or_stool(b: Builder, at, size: float) -> None:
    """A basket, bin, bucket, stool, speaker, fan or other furniture-like thing."""
    rng, stock = b.rng, b.stock
    b.begin(at, rng.uniform(0, 6.28))
    look = b.look("plain", "wood", "metal", "fabric", "pattern", tile=(0.1, 0.6))
    kind, w = rng.integers(4), size * rng.uniform(0.5, 0.9)
    if kind == 0:
        b.part(stock.tapered, (0, 0, size / 2), (w, w, size), look, axis_matrix([1, 0, 0], np.pi))
        b.part(stock.cylinder, (0, 0, size * 0.98), (w * 0.92, w * 0.92, size * 0.02), {"colour": (0.03, 0.03, 0.03)})
    elif kind == 1:
        b.part(stock.cylinder, (0, 0, size * 0.95), (w, w, size * 0.08), look)
        for k in range(4):
            a = np.pi / 4 + k * np.pi / 2
            b.rod(
                (0.3 * w * np.cos(a), 0.3 * w * np.sin(a), size * 0.92),
                (0.48 * w * np.cos(a), 0.48 * w * np.sin(a), 0),
                0.07 * w,
                look,
            )
    elif kind == 2:
        b.part(stock.rounded[rng.integers(2)], (0, 0, size / 2), (w, w * rng.uniform(0.5, 1), size), look)
        for z in (0.3, 0.7):
            b.part(stock.cylinder, (0, -w * 0.4, size * z), (w * 0.5, w * 0.5, w * 0.12), {"colour": (0.05, 0.05, 0.05)}, LYING)
    else:
        furniture.chair(b, at, rng.uniform(0, 6.28))


SMALL = ((bottle, 0.2), (mug, 0.1), (books, 0.2), (toy, 0.15), (sheets, 0.2), (bag, 0.15), (dishes, 0.15), (pot_plant, 0.15))
LARGE = (
    (bottle, 0.3), (mug, 0.12), (books, 0.28), (carton, 0.4), (carton, 0.3), (screen, 0.4), (keyboard, 0.4), (pot_plant, 0.5),
    (bag, 0.4), (dishes, 0.28), (desk_lamp, 0.5), (toy, 0.35), (sheets, 0.3), (bin_or_stool, 0.45),
)  # fmt: skip


def thing(b: Builder, at, size: float | None = None, small: bool = False) -> float:
    """Any of them at its usual size (times 0.6 to 1.6) or at the given one; returns the size."""
    rng = b.rng
    choices = SMALL if small else LARGE
    make, usual = choices[rng.integers(len(choices))]
    size = size or usual * float(np.exp(rng.uniform(np.log(0.6), np.log(1.6))))
    keep = b._origin, b._rotation, b.object_id
    if not small and rng.random() < 0.04:
        if rng.random() < 0.5:
            figure(b, at, rng.uniform(0, 6.28), size)
        else:
            animal(b, at, rng.uniform(0, 6.28), size * 0.8)
    else:
        make(b, np.asarray(at, float), size)
    b._origin, b._rotation, b.object_id = keep
    return size
