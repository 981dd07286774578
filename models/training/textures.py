"""Procedural textures of many kinds, all made from random numbers."""

from __future__ import annotations

import colorsys

import cv2
import numpy as np

SIZE = 256


def cloud(
    rng: np.random.Generator,
    base: int = 4,
    octaves: int = 6,
    persistence: float = 0.5,
    stretch: tuple[int, int] = (1, 1),
    size: int = SIZE,
) -> np.ndarray:
    """(size, size) float32 tileable noise in 0..1; base: cells across in the coarsest octave; stretch: factors in y, x."""
    total = np.zeros((size, size), np.float32)
    weight = 1.0
    for octave in range(octaves):
        cells = [min(base * 2**octave * s, size) for s in stretch]
        coarse = rng.random((cells[0], cells[1]), dtype=np.float32)
        padded = np.pad(coarse, 2, mode="wrap")
        scale = [size / c for c in cells]
        large = cv2.resize(
            padded, (round(padded.shape[1] * scale[1]), round(padded.shape[0] * scale[0])), interpolation=cv2.INTER_CUBIC
        )
        y, x = round(2 * scale[0]), round(2 * scale[1])
        total += weight * large[y : y + size, x : x + size]
        weight *= persistence
    low, high = np.percentile(total, [1, 99])
    return np.clip((total - low) / (high - low + 1e-6), 0, 1)


def colour(
    rng: np.random.Generator,
    saturation: tuple[float, float] = (0.0, 0.6),
    value: tuple[float, float] = (0.15, 0.95),
    hue: tuple[float, float] | None = None,
) -> np.ndarray:
    """A random sRGB colour, (3,) in 0..1; hue in turns."""
    h = rng.uniform(*(hue or (0, 1))) % 1
    return np.array(colorsys.hsv_to_rgb(h, rng.uniform(*saturation) ** 1.9, rng.uniform(*value)), np.float32)


def ramp(values: np.ndarray, colours: list[np.ndarray]) -> np.ndarray:
    """(h, w) in 0..1 through a colour ramp -> (h, w, 3)."""
    stops = np.linspace(0, 1, len(colours))
    return np.stack([np.interp(values, stops, [c[k] for c in colours]) for k in range(3)], -1).astype(np.float32)


def _like(rng: np.random.Generator, c: np.ndarray, spread: float) -> np.ndarray:
    return np.clip(c * (1 + rng.uniform(-spread, spread)) + rng.uniform(-spread, spread, 3) * 0.2, 0, 1).astype(np.float32)


def plain(rng):
    """Paint, plaster, plastic: almost one colour."""
    c = colour(rng, (0, 0.5), (0.25, 1.0))
    return ramp(
        cloud(rng, rng.integers(2, 6), 7, rng.uniform(0.4, 0.8)), [_like(rng, c, 0.02), c, _like(rng, c, rng.uniform(0.02, 0.12))]
    )


def mottled(rng):
    """Stone, soil, concrete, rust."""
    c = colour(rng, (0, 0.7))
    n = cloud(rng, rng.integers(2, 10), 7, rng.uniform(0.5, 0.85))
    return ramp(n, [_like(rng, c, 0.5), c, _like(rng, c, 0.4), _like(rng, c, 0.6)])


def wood(rng):
    """Grain along x, planks now and then."""
    c = colour(rng, (0.2, 0.75), (0.2, 0.85), (0.04, 0.12))
    n = cloud(rng, 2, 6, 0.6, (int(rng.integers(6, 20)), 1))
    if rng.random() < 0.5:
        n = 0.5 + 0.5 * np.sin(n * rng.uniform(8, 40))
    image = ramp(n, [_like(rng, c, 0.15), c, c * rng.uniform(0.55, 0.9)])
    if rng.random() < 0.6:
        count = int(rng.integers(2, 9))
        for k in range(count):
            y0, y1 = SIZE * k // count, SIZE * (k + 1) // count
            image[y0:y1] = np.roll(image[y0:y1], int(rng.integers(SIZE)), axis=1) * rng.uniform(0.8, 1.15)
            image[y0 : y0 + 2] *= rng.uniform(0.3, 0.8)
    return image


def tiles(rng):
    """Tiles, bricks, paving: joints in rows, shifted or not."""
    rows, columns = int(rng.integers(1, 10)), int(rng.integers(1, 8))
    c, joint = colour(rng, (0, 0.8)), colour(rng, (0, 0.2), (0.2, 0.95))
    y, x = np.mgrid[0:SIZE, 0:SIZE] / SIZE
    row = np.floor(y * rows)
    if rng.random() < 0.6:
        x = (x + 0.5 / columns * (row % 2)) % 1
    column = np.floor(x * columns)
    fy, fx = y * rows - row, x * columns - column
    width = rng.uniform(0.01, 0.1)
    is_joint = (fy < width) | (fx < width * columns / rows)
    shade = rng.uniform(1 - rng.uniform(0, 0.5), 1.1, (rows, columns))[row.astype(int), column.astype(int)]
    body = ramp(cloud(rng, 8, 6, 0.7), [_like(rng, c, 0.2), _like(rng, c, 0.2)]) * shade[..., None]
    return np.where(is_joint[..., None], joint * (0.85 + 0.3 * cloud(rng, 16, 4)[..., None]), body)


def pattern(rng):
    """Checks, stripes, tartan, dots."""
    c1, c2 = colour(rng, (0, 0.9)), colour(rng, (0, 0.9))
    y, x = np.mgrid[0:SIZE, 0:SIZE] / SIZE
    n = int(rng.integers(1, 12))
    kind = rng.integers(5)
    if kind == 0:
        m = (np.floor(x * 2 * n) + np.floor(y * 2 * n)) % 2
    elif kind == 1:
        m = (x * n % 1 < rng.uniform(0.1, 0.9)).astype(float)
    elif kind == 2:
        m = ((x * n % 1 < rng.uniform(0.1, 0.6)).astype(float) + (y * n % 1 < rng.uniform(0.1, 0.6))) / 2
    elif kind == 3:
        m = (((x * n % 1) - 0.5) ** 2 + ((y * n % 1) - 0.5) ** 2 < rng.uniform(0.02, 0.2)).astype(float)
    else:
        m = ((x + y) * n % 1 < rng.uniform(0.2, 0.8)).astype(float)
    return ramp(m, [c1, c2]) * (1 - rng.uniform(0, 0.3) * cloud(rng, 8, 6, 0.7)[..., None])


def cells(rng):
    """Gravel, cobbles, terrazzo, leaves on the ground: Voronoi cells."""
    seeds = np.ones((SIZE, SIZE), np.uint8)
    count = int(rng.integers(20, 1500))
    seeds[rng.integers(0, SIZE, count), rng.integers(0, SIZE, count)] = 0
    distance, labels = cv2.distanceTransformWithLabels(seeds, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    c = colour(rng, (0, 0.6))
    palette = np.stack([_like(rng, c, rng.uniform(0.1, 0.6)) for _ in range(16)])
    return palette[labels % 16] * (1 - rng.uniform(0, 0.8) * np.clip(distance / distance.max(), 0, 1)[..., None])


def fabric(rng):
    """Weave, carpet, wool."""
    c = colour(rng, (0, 0.8), (0.1, 0.9))
    noise = rng.random((SIZE, SIZE), dtype=np.float32)
    noise = cv2.GaussianBlur(noise, (0, 0), rng.uniform(0.4, 1.5), rng.uniform(0.4, 3.0))
    noise = (noise - noise.min()) / (np.ptp(noise) + 1e-6)
    return c * (1 - rng.uniform(0.1, 0.6) * noise[..., None]) * (0.85 + 0.3 * cloud(rng, 3, 3)[..., None])


def poster(rng):
    """Pictures, packages, covers: overlapping shapes."""
    image = np.empty((SIZE, SIZE, 3), np.float32)
    image[:] = ramp(cloud(rng, 2, 4), [colour(rng, (0, 0.9)), colour(rng, (0, 0.9)), colour(rng, (0, 0.9))])
    for _ in range(int(rng.integers(2, 25))):
        c = tuple(map(float, colour(rng, (0, 1.0))))
        p, q = rng.integers(0, SIZE, 2), rng.integers(8, SIZE // 2, 2)
        kind = rng.integers(4)
        if kind == 0:
            cv2.rectangle(image, tuple(map(int, p)), tuple(map(int, p + q)), c, -1)
        elif kind == 1:
            cv2.ellipse(image, tuple(map(int, p)), tuple(map(int, q)), float(rng.uniform(0, 180)), 0, 360, c, -1)
        elif kind == 2:
            cv2.fillPoly(image, [rng.integers(0, SIZE, (3, 2)).astype(np.int32)], c)
        else:
            cv2.line(image, tuple(map(int, p)), tuple(map(int, rng.integers(0, SIZE, 2))), c, int(rng.integers(1, 12)))
    return image


def page(rng):
    """Lines of print, labels, spines of books."""
    image = np.empty((SIZE, SIZE, 3), np.float32)
    image[:] = colour(rng, (0, 0.3), (0.7, 1.0))
    ink = tuple(map(float, colour(rng, (0, 0.6), (0.0, 0.4))))
    y, height = int(rng.integers(4, 30)), int(rng.integers(3, 14))
    while y < SIZE - height:
        x = int(rng.integers(6, 40))
        while x < SIZE - 20:
            length = int(rng.integers(3, 30))
            if rng.random() < 0.85:
                cv2.rectangle(image, (x, y), (min(x + length, SIZE - 6), y + height // 2), ink, -1)
            x += length + int(rng.integers(2, 8))
        y += height + int(rng.integers(1, 12))
    return image


def books(rng):
    """A row of spines, for the insides of shelves."""
    image = np.zeros((SIZE, SIZE, 3), np.float32)
    x = 0
    while x < SIZE:
        w = int(rng.integers(6, 30))
        top = int(rng.integers(0, 90))
        image[top:, x : x + w] = (
            colour(rng, (0, 0.9), (0.1, 0.95)) * np.linspace(0.7, 1.0, max(min(w, SIZE - x), 1))[None, :, None]
        )
        if rng.random() < 0.6:
            y = int(rng.integers(100, 230))
            image[y : y + int(rng.integers(4, 30)), x + 2 : x + w - 2] = colour(rng)
        x += w
    return image


def facade(rng):
    """One tile of a building's face: windows in rows, frames, sills, sometimes balconies and shops."""
    wall = (tiles if rng.random() < 0.3 else mottled if rng.random() < 0.5 else plain)(rng)
    image = np.clip(wall, 0, 1).astype(np.float32).copy()
    rows, columns = int(rng.integers(1, 4)), int(rng.integers(1, 4))
    h, w = SIZE // rows, SIZE // columns
    frame, glass = colour(rng, (0, 0.4)), colour(rng, (0, 0.5), (0.02, 0.5), (0.5, 0.65))
    width, height = rng.uniform(0.3, 0.85), rng.uniform(0.4, 0.85)
    for r in range(rows):
        for c in range(columns):
            x0, y0 = int(w * (c + (1 - width) / 2)), int(h * (r + (1 - height) / 2))
            x1, y1 = int(x0 + w * width), int(y0 + h * height)
            image[y0:y1, x0:x1] = frame
            border = max(int(w * 0.04), 2)
            pane = ramp(cloud(rng, 2, 3), [glass * rng.uniform(0.4, 1.0), np.clip(glass * rng.uniform(0.8, 2.2), 0, 1)])
            image[y0 + border : y1 - border, x0 + border : x1 - border] = pane[
                : max(y1 - y0 - 2 * border, 0), : max(x1 - x0 - 2 * border, 0)
            ]
            if rng.random() < 0.5:
                middle = (x0 + x1) // 2
                image[y0:y1, middle - border // 2 : middle + border // 2 + 1] = frame
            if rng.random() < 0.4:
                image[y1 : y1 + border, max(x0 - border, 0) : x1 + border] = frame * 0.8
    return image


def leaves(rng):
    """A spray of leaves with holes between them, (SIZE, SIZE, 4)."""
    image = np.zeros((SIZE, SIZE, 4), np.float32)
    c = colour(rng, (0.2, 0.9), (0.15, 0.7), (0.12, 0.42) if rng.random() < 0.85 else None)
    image[..., :3] = c * 0.6
    for _ in range(int(rng.integers(60, 260))):
        # Denser in the middle, so that the card's straight edges do not show.
        p = np.clip(rng.normal(SIZE / 2, SIZE / 5.5, 2), 8, SIZE - 9)
        axes = (int(rng.integers(4, 22)), int(rng.integers(2, 8)))
        cv2.ellipse(
            image, tuple(map(int, p)), axes, float(rng.uniform(0, 180)), 0, 360, (*map(float, _like(rng, c, 0.5)), 1.0), -1
        )
    return image


def _print(rng, image: np.ndarray, lines: int) -> None:
    """Writes words and figures over a picture, in place."""
    size = image.shape[0]
    for _ in range(lines):
        word = "".join(chr(int(c)) for c in rng.integers(48, 123, int(rng.integers(1, 12))))
        scale = float(np.exp(rng.uniform(np.log(0.3), np.log(4.0))))
        at = (int(rng.integers(-40, size - 20)), int(rng.integers(10, size)))
        font, thick = int(rng.choice([0, 1, 2, 3, 4, 5, 6, 7])), int(rng.integers(1, 2 + int(3 * scale)))
        cv2.putText(image, word, at, font, scale, tuple(map(int, 255 * colour(rng, (0, 1), (0, 1)))), thick, cv2.LINE_AA)


def label(rng):
    """Labels, packages, signs: bands of colour, frames, words of many sizes."""
    image = np.empty((SIZE, SIZE, 3), np.float32)
    image[:] = colour(rng, (0, 0.9), (0.1, 1.0))
    for _ in range(int(rng.integers(0, 5))):
        y, h = int(rng.integers(0, SIZE)), int(rng.integers(8, SIZE // 2))
        image[y : y + h] = colour(rng, (0, 1.0), (0.05, 1.0))
    for _ in range(int(rng.integers(0, 4))):
        p, q = rng.integers(0, SIZE, 2), rng.integers(8, SIZE // 2, 2)
        filled = -1 if rng.random() < 0.5 else int(rng.integers(1, 8))
        cv2.rectangle(image, tuple(map(int, p)), tuple(map(int, p + q)), tuple(map(float, colour(rng, (0, 1)))), filled)
    image = np.ascontiguousarray((np.clip(image, 0, 1) * 255).astype(np.uint8))
    _print(rng, image, int(rng.integers(1, 12)))
    return image.astype(np.float32) / 255


def interface(rng):
    """What screens show: windows, menus, text, plots, pictures; dark or light."""
    dark = rng.random() < 0.5
    image = np.empty((SIZE, SIZE, 3), np.float32)
    image[:] = colour(rng, (0, 0.8), (0.0, 0.3) if dark else (0.6, 1.0))
    if rng.random() < 0.5:
        image[:] = ramp(cloud(rng, 2, 3), [colour(rng, (0, 0.9)), colour(rng, (0, 0.9))])
    for _ in range(int(rng.integers(1, 6))):
        x, y = rng.integers(0, SIZE - 60, 2)
        w, h = rng.integers(40, SIZE, 2)
        ground = colour(rng, (0, 0.4), (0.02, 0.25) if rng.random() < 0.4 else (0.75, 1.0))
        image[y : y + h, x : x + w] = ground
        image[y : y + 10, x : x + w] = colour(rng, (0, 0.7))
        ink = 1.0 - ground
        for row in range(y + 16, min(y + h, SIZE) - 4, int(rng.integers(6, 14))):
            length = int(rng.uniform(0.1, 0.95) * w)
            if rng.random() < 0.8:
                image[row : row + 2, x + 6 : x + 6 + length] = 0.3 * ground + 0.7 * ink * rng.uniform(0.4, 1.0)
    return image


def card(rng):
    """Cardboard, packing paper: brown with fine ribs, tape, print."""
    c = colour(rng, (0.45, 0.75), (0.4, 0.85), (0.06, 0.1))
    ribs = np.sin(np.arange(SIZE) * rng.uniform(0.3, 2.0))[None, :, None] * rng.uniform(0, 0.04)
    image = c * (0.9 + 0.2 * cloud(rng, 3, 6, 0.7)[..., None] + ribs)
    image = np.ascontiguousarray((np.clip(image, 0, 1) * 255).astype(np.uint8))
    if rng.random() < 0.4:
        _print(rng, image, int(rng.integers(1, 4)))
    if rng.random() < 0.4:
        x = int(rng.integers(0, SIZE - 40))
        image[:, x : x + int(rng.integers(12, 40))] = (image[:, x : x + 1] * rng.uniform(0.6, 1.2)).clip(0, 255)
    return image.astype(np.float32) / 255


def metal(rng):
    """Brushed or creased metal, foil: greys with streaks and facets."""
    if rng.random() < 0.5:
        n = cloud(rng, 2, 5, 0.7, (int(rng.integers(10, 30)), 1))
    else:
        n = np.abs(2 * cloud(rng, int(rng.integers(3, 9)), 5, 0.6) - 1) ** rng.uniform(0.4, 1.0)
    tone = colour(rng, (0, 0.25), (0.5, 1.0))
    return ramp(n, [tone * rng.uniform(0.2, 0.7), tone, np.clip(tone * 1.3, 0, 1)])


def stripes(rng):
    """Bands of many widths and colours, straight or woven: carpets, blinds, boards, rugs."""
    edges = np.sort(rng.integers(0, SIZE, int(rng.integers(6, 90))))
    palette = np.stack([colour(rng, (0, 0.6)) for _ in range(int(rng.integers(2, 7)))])
    row = palette[rng.integers(0, len(palette), len(edges) + 1)][np.searchsorted(edges, np.arange(SIZE))]
    image = np.repeat(row[None], SIZE, axis=0) * (0.85 + 0.3 * cloud(rng, 8, 6, 0.8)[..., None])
    return image.transpose(1, 0, 2) if rng.random() < 0.5 else image


MAKERS = {
    "plain": plain,
    "mottled": mottled,
    "wood": wood,
    "tiles": tiles,
    "pattern": pattern,
    "cells": cells,
    "fabric": fabric,
    "poster": poster,
    "page": page,
    "books": books,
    "facade": facade,
    "leaves": leaves,
    "label": label,
    "interface": interface,
    "card": card,
    "metal": metal,
    "stripes": stripes,
}
COUNTS = {
    "plain": 26,
    "mottled": 26,
    "wood": 18,
    "tiles": 18,
    "pattern": 14,
    "cells": 12,
    "fabric": 16,
    "poster": 24,
    "page": 8,
    "books": 8,
    "facade": 22,
    "leaves": 10,
    "label": 26,
    "interface": 14,
    "card": 8,
    "metal": 8,
    "stripes": 12,
}
PHOTOS = 24  # parts of rendered pictures, printed on posters, boxes and screens: a picture of depth is flat


class TextureBank:
    """A stock of textures, shared by all scenes of a process so that each is uploaded once."""

    def __init__(self, rng: np.random.Generator, pictures: np.ndarray | None = None) -> None:
        """Takes about three seconds. pictures (N, H, W, 3) uint8: rendered before, to be shown in this stock's worlds."""
        self.by_kind = {
            kind: [np.ascontiguousarray((np.clip(maker(rng), 0, 1) * 255).astype(np.uint8)) for _ in range(COUNTS[kind])]
            for kind, maker in MAKERS.items()
        }
        self.by_kind["photo"] = self.by_kind["poster"]
        if pictures is not None and len(pictures):
            height, width = pictures.shape[1:3]
            parts = []
            for _ in range(PHOTOS):
                h, w = int(height * rng.uniform(0.35, 1.0)), int(width * rng.uniform(0.35, 1.0))
                y, x = int(rng.integers(height - h + 1)), int(rng.integers(width - w + 1))
                part = pictures[rng.integers(len(pictures)), y : y + h, x : x + w]
                parts.append(cv2.resize(np.ascontiguousarray(part), (SIZE, SIZE), interpolation=cv2.INTER_LINEAR))
            self.by_kind["photo"] = parts
        self.solid = [t for kind, ts in self.by_kind.items() if kind not in ("leaves", "books", "facade", "photo") for t in ts]

    def pick(self, rng: np.random.Generator, *kinds: str) -> np.ndarray:
        """A texture of one of the kinds, or of any kind when none is named."""
        stock = self.by_kind[kinds[rng.integers(len(kinds))]] if kinds else self.solid
        return stock[rng.integers(len(stock))]
