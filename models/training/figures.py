"""People seen from close by, and animals: heads with faces and hair, shoulders, clothes, limbs that end in hands."""

from __future__ import annotations

import numpy as np

from .objects import Builder, axis_matrix, yaw_matrix


def _skin(b: Builder) -> dict:
    tone = np.array([0.85, 0.58, 0.44]) * b.rng.uniform(0.18, 1.05) * b.rng.uniform(0.93, 1.07, 3)
    return {
        "texture": b.stock.textures.pick(b.rng, "plain"),
        "colour": tuple(np.clip(tone, 0, 1)),
        "tile_m": 0.6,
        "specular": b.rng.uniform(0, 0.15),
        "shininess": 12.0,
    }


def head(b: Builder, at: np.ndarray, turn: np.ndarray, skin: dict, scale: float = 1.0) -> None:
    """A head around `at` in the object's frame; turn (3, 3): where it looks (+y of it)."""
    rng, stock = b.rng, b.stock

    def put(mesh, place, size, look, extra=None, **changes):
        b.part(
            mesh,
            at + turn @ (np.asarray(place, float) * scale),
            np.asarray(size, float) * scale,
            look,
            turn @ (np.eye(3) if extra is None else extra),
            **changes,
        )

    put(stock.heads[rng.integers(len(stock.heads))], (0, 0, 0), (1, 1, 1), skin)
    put(stock.cone, (0, 0.105, -0.02), (0.03, 0.045, 0.06), skin, axis_matrix([1, 0, 0], 0.25))
    dark = {"colour": (0.05, 0.035, 0.03)}
    white = {"colour": (0.75, 0.72, 0.7)}
    for side in (-1, 1):
        put(stock.ball, (side * 0.033, 0.082, 0.012), (0.03, 0.022, 0.016), white)
        put(stock.ball, (side * 0.033, 0.09, 0.012), (0.013, 0.014, 0.014), dark)
        put(stock.box, (side * 0.034, 0.094, 0.034), (0.04, 0.012, 0.008), dark)
        put(stock.ball, (side * 0.076, -0.005, 0), (0.02, 0.04, 0.062), skin)
    lips = tuple(np.clip(np.array(skin["colour"]) * [0.85, 0.5, 0.5], 0, 1))
    put(stock.ball, (0, 0.088, -0.062), (0.05, 0.02, 0.016), skin, colour=lips)
    hair = b.look("fabric", "wood", "plain", tile=(0.05, 0.3))
    hair["colour"] = tuple(np.array([0.42, 0.3, 0.2]) * rng.uniform(0.05, 1.8) * rng.uniform(0.8, 1.2, 3))
    kind = rng.random()
    if kind < 0.85:
        high = rng.uniform(1.0, 1.25)
        put(stock.ball, (0, -0.022, 0.03), (0.168, 0.195, 0.2 * high), hair)
        if rng.random() < 0.5:  # to the neck or the shoulders
            long = rng.uniform(0.15, 0.42)
            put(stock.rounded[3], (0, -0.055, 0.07 - long / 2), (0.19, 0.12, long), hair)
            for side in (-1, 1):
                put(stock.rounded[3], (side * 0.075, -0.01, 0.06 - long * 0.4), (0.05, 0.12, long * 0.8), hair)
    if kind > 0.8:  # hat or cap
        cloth = b.look("fabric", "plain", "pattern", tile=(0.1, 0.5))
        put(stock.cylinder, (0, -0.005, 0.1), (0.18, 0.21, rng.uniform(0.07, 0.14)), cloth)
        put(stock.cylinder, (0, rng.uniform(0, 0.05), 0.07), (rng.uniform(0.2, 0.36), rng.uniform(0.24, 0.36), 0.012), cloth)
    if rng.random() < 0.15:  # glasses
        for side in (-1, 1):
            put(stock.rings[0], (side * 0.034, 0.104, 0.012), (0.055, 0.05, 0.045), dark)
    if rng.random() < 0.15:  # beard
        put(stock.ball, (0, 0.045, -0.085), (0.11, 0.11, 0.08), hair)


def figure(b: Builder, origin, yaw: float, height: float | None = None, pose: str | None = None) -> np.ndarray:
    """A clothed figure facing +y, standing, walking, sitting or only its upper half; returns where its head is (world)."""
    rng, stock = b.rng, b.stock
    b.begin(origin, yaw)
    s = (height or rng.uniform(1.5, 1.95)) / 1.78
    pose = pose or ("seated" if rng.random() < 0.3 else "standing")
    skin = _skin(b)
    coat, trousers = b.look("fabric", "pattern", "plain", tile=(0.08, 0.6)), b.look("fabric", "plain", tile=(0.1, 0.6))
    shoes = {"colour": tuple(rng.uniform(0.02, 0.5, 3))}
    hip = 0.48 if pose == "seated" else 0.93
    lean = axis_matrix([1, 0, 0], rng.normal(0, 0.12)) @ axis_matrix([0, 1, 0], rng.normal(0, 0.06))

    def up(x, y, z):
        """A place on the upper body, z above the hips."""
        return (np.array([0, 0, hip]) + lean @ np.array([x, y, z])) * s

    torso = stock.torsos[rng.integers(len(stock.torsos))]
    b.part(torso, up(0, 0, 0.28), np.array([1, 1, 0.6]) * s, coat, lean)
    if rng.random() < 0.3:  # collar, scarf, hood
        b.part(
            stock.rings[2],
            up(0, -0.01, 0.55),
            np.array([0.2, 0.3, 0.19]) * s,
            b.look("fabric", "pattern"),
            lean @ axis_matrix([1, 0, 0], np.pi / 2),
        )
    if rng.random() < 0.25:  # an open jacket over it
        b.part(stock.box, up(0, 0.125, 0.3), np.array([0.07, 0.012, 0.42]) * s, b.look("plain", "fabric", "pattern"), lean)
    b.rod(up(0, 0.0, 0.54), up(0, 0.015, 0.66), 0.115 * s, skin, stock.limb)
    look = lean @ yaw_matrix(rng.normal(0, 0.45)) @ axis_matrix([1, 0, 0], rng.normal(0, 0.2))
    head(b, up(0, 0.03, 0.76), look, skin, s)
    for side in (-1, 1):
        shoulder = up(side * 0.185, -0.01, 0.5)
        spread, forward = rng.uniform(0.02, 0.22), rng.uniform(-0.15, 0.25)
        elbow = up(side * (0.21 + spread), forward, rng.uniform(0.2, 0.3) + 0.6 * max(spread - 0.1, 0))
        kind = rng.random()
        if kind < 0.45:  # hanging
            hand = elbow / s + np.array([-side * rng.uniform(0, 0.08), rng.uniform(-0.02, 0.18), -0.24])
        elif kind < 0.9:  # in front, gesturing or holding
            hand = elbow / s + np.array([-side * rng.uniform(0.0, 0.25), rng.uniform(0.1, 0.26), rng.uniform(-0.12, 0.22)])
        else:  # raised
            hand = elbow / s + np.array([side * rng.uniform(-0.1, 0.15), rng.uniform(0, 0.15), rng.uniform(0.15, 0.26)])
        hand = hand * s
        sleeve = coat if rng.random() < 0.65 else skin
        b.rod(shoulder, elbow, rng.uniform(0.1, 0.13) * s, coat, stock.limb)
        b.rod(elbow, hand, 0.085 * s, sleeve, stock.tapered_limb)
        along = (hand - elbow) / max(np.linalg.norm(hand - elbow), 1e-6)
        b.rod(hand, hand + along * 0.1 * s, 0.075 * s, skin, stock.limb)
        for k in range(4):  # fingers
            off = np.cross(along, [0, 0, 1.0]) * (k - 1.5) * 0.018 * s
            b.rod(hand + along * 0.08 * s + off, hand + along * rng.uniform(0.13, 0.17) * s + off, 0.018 * s, skin, stock.limb)
        if rng.random() < 0.12:
            size = rng.uniform(0.04, 0.16, 3)
            b.part(stock.box, hand + along * 0.12 * s, size, b.look("plain", "poster", "page"), tile_m=None)
    if pose != "half":
        for side in (-1, 1):
            swing = rng.normal(0, 0.25)
            joint = np.array([side * 0.1, 0, hip + 0.02])
            knee = np.array([side * 0.12, 0.43 if pose == "seated" else 0.2 * np.sin(swing), hip if pose == "seated" else 0.5])
            foot = np.array([side * 0.12, 0.43 if pose == "seated" else 0.42 * np.sin(swing * 0.7), 0.07])
            b.rod(joint * s, knee * s, 0.17 * s, trousers, stock.limb)
            b.rod(knee * s, foot * s, 0.125 * s, trousers, stock.tapered_limb)
            b.part(stock.rounded[2], (foot + [0, 0.07, -0.03]) * s, np.array([0.1, 0.27, 0.1]) * s, shoes)
        if rng.random() < 0.2:  # skirt or long coat
            b.part(stock.tapered, np.array([0, 0, hip - 0.2]) * s, np.array([0.48, 0.4, 0.5]) * s, coat)
    top = np.asarray(origin, float) + yaw_matrix(yaw) @ up(0, 0.03, 0.76)
    b.focus.append(top - [0, 0, rng.uniform(0, 0.45) * s])
    return top


def animal(b: Builder, origin, yaw: float, length: float | None = None) -> None:
    """A dog, cat, sheep, horse or the like along +y."""
    rng, stock = b.rng, b.stock
    b.begin(origin, yaw)
    s = length or float(np.exp(rng.uniform(np.log(0.35), np.log(1.2))))
    fur = b.look("fabric", "mottled", "plain", tile=(0.1, 0.8))
    fur["colour"] = tuple(np.array([0.8, 0.7, 0.6]) * rng.uniform(0.05, 1.1))
    legs, thick = rng.uniform(0.35, 0.7), rng.uniform(0.3, 0.5)
    other = {**fur, "colour": tuple(rng.uniform(0.02, 0.9, 3))} if rng.random() < 0.4 else fur
    b.part(stock.rounded[3], np.array([0, 0, legs + thick * 0.4]) * s, np.array([thick * 0.8, 1.0, thick]) * s, fur)
    for x in (-1, 1):
        for y in (-0.36, 0.36):
            step = rng.normal(0, 0.08)
            b.rod(
                np.array([x * thick * 0.26, y, legs + 0.1]) * s,
                np.array([x * thick * 0.26, y + step, 0]) * s,
                0.12 * s,
                other,
                stock.tapered_limb,
            )
    high = rng.uniform(0.0, 0.5)
    skull = np.array([rng.normal(0, 0.08), 0.62, legs + thick * 0.5 + high])
    b.rod(np.array([0, 0.4, legs + thick * 0.5]) * s, skull * s, 0.2 * s, fur, stock.limb)
    b.part(stock.ball, skull * s, np.array([0.24, 0.28, 0.24]) * s, fur)
    b.rod(skull * s, (skull + [0, rng.uniform(0.16, 0.3), -0.08]) * s, 0.13 * s, other, stock.tapered_limb)
    for x in (-1, 1):
        b.part(stock.cone, (skull + [x * 0.09, -0.02, 0.14]) * s, np.array([0.09, 0.05, 0.16]) * s, other)
        b.part(stock.ball, (skull + [x * 0.07, 0.11, 0.05]) * s, np.array([0.03, 0.03, 0.03]) * s, {"colour": (0.02, 0.02, 0.02)})
    tail = np.array([rng.normal(0, 0.15), -0.5 - rng.uniform(0, 0.35), legs + thick * 0.5 + rng.uniform(-0.25, 0.4)])
    b.rod(np.array([0, -0.46, legs + thick * 0.6]) * s, tail * s, 0.07 * s, fur, stock.limb)
    b.focus.append(np.asarray(origin, float) + [0, 0, (legs + 0.2) * s])
