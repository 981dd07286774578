"""Surfaces made from numbers: (h, w, 3|4) uint8 sRGB arrays that tile or fill a sheet. Same generator state, same pixels."""

from __future__ import annotations

import cv2
import numpy as np

LETTERS = "ABCDEFGHKLMNOPRSTUVWZ"


def noise(rng: np.random.Generator, size: int, octaves: int = 6, first: int = 4, falloff: float = 0.55) -> np.ndarray:
    """(size, size) float32 tiling value noise, zero mean, about unit spread."""
    total = np.zeros((size, size), np.float32)
    weight, cells = 1.0, first
    for _ in range(octaves):
        if cells > size:
            break
        base = rng.normal(size=(cells, cells)).astype(np.float32)
        wrapped = np.pad(base, 2, mode="wrap")
        scale = size / cells
        grown = cv2.resize(wrapped, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
        start = int(round(2 * scale))
        total += weight * grown[start : start + size, start : start + size]
        weight *= falloff
        cells *= 2
    return (total - total.mean()) / max(float(total.std()), 1e-6)


def muted(rng: np.random.Generator, low: float, high: float, saturation: float = 0.45) -> tuple[float, float, float]:
    """A colour as a set designer picks them: any hue, seldom strong; the brightest channel between low and high."""
    hue, strong = rng.uniform(0, 6), saturation * rng.beta(1.3, 2.2)
    wheel = np.clip(np.abs((hue + np.array([0.0, 4.0, 2.0])) % 6 - 3) - 1, 0, 1)
    return tuple(rng.uniform(low, high) * (1 - strong * (1 - wheel)))


def tinted(colour: tuple[float, float, float], brightness: np.ndarray) -> np.ndarray:
    """uint8 RGB of a colour (0..1) times a brightness map around 1."""
    return np.clip(np.asarray(colour, np.float32) * brightness[..., None] * 255, 0, 255).astype(np.uint8)


def _from_bottom(picture: np.ndarray) -> np.ndarray:
    """Rows from the bottom up, as meshes read them."""
    return np.ascontiguousarray(picture[::-1])


def plaster(rng: np.random.Generator, colour: tuple[float, float, float], strength: float = 0.05, size: int = 1024) -> np.ndarray:
    """A painted wall: broad stains, fine grain, a few scratches and chips."""
    brightness = 1 + strength * noise(rng, size, 4, 3) + 0.6 * strength * noise(rng, size, 4, size // 16)
    picture = tinted(colour, brightness)
    for _ in range(int(600 * strength)):
        x, y = rng.integers(0, size, 2)
        dx, dy = rng.integers(-40, 40, 2)
        shade = tuple(int(c * 255 * rng.uniform(0.7, 1.15)) for c in colour)
        cv2.line(picture, (int(x), int(y)), (int(x + dx), int(y + dy)), shade, 1, cv2.LINE_AA)
        if rng.random() < 0.3:
            cv2.circle(picture, (int(x), int(y)), int(rng.integers(1, 4)), shade, -1, cv2.LINE_AA)
    return picture


def planks(
    rng: np.random.Generator, colour: tuple[float, float, float] = (0.45, 0.3, 0.18), rows: int = 8, size: int = 1024
) -> np.ndarray:
    """Floor boards: rows of planks with grain, knots and dark joints."""
    fibres = cv2.resize(noise(rng, 512, 6, 8), (size * 4, size))[:, :size]
    brightness = np.ones((size, size), np.float32)
    height = size // rows
    for row in range(rows):
        cut = int(rng.integers(0, size))
        for x0, x1 in ((cut, cut + size // 2), (cut + size // 2, cut + size)):
            shade, phase = rng.uniform(0.75, 1.2), int(rng.integers(0, size))
            columns = np.arange(x0, x1) % size
            strip = np.roll(fibres, phase, 0)[row * height : (row + 1) * height]
            brightness[row * height : (row + 1) * height, columns] = shade * (1 + 0.13 * np.roll(strip, phase, 1)[:, columns])
            brightness[row * height : (row + 1) * height, columns[:3]] *= 0.35
        brightness[row * height : row * height + 3] *= 0.35
    picture = tinted(colour, brightness)
    for _ in range(rows * 3):
        centre = tuple(int(v) for v in rng.integers(0, size, 2))
        cv2.ellipse(
            picture,
            centre,
            (int(rng.integers(4, 12)), int(rng.integers(2, 5))),
            0,
            0,
            360,
            tuple(int(60 * c) for c in colour),
            -1,
            cv2.LINE_AA,
        )
    return picture


def bricks(
    rng: np.random.Generator, colour: tuple[float, float, float] = (0.55, 0.25, 0.18), rows: int = 16, size: int = 1024
) -> np.ndarray:
    """A brick wall with mortar; every brick has its own shade."""
    picture = plaster(rng, (0.6, 0.58, 0.54), 0.06, size)
    height, width = size // rows, size // (rows // 2)
    grain = 1 + 0.12 * noise(rng, size, 5, 32)
    for row in range(rows):
        for column in range(-1, rows // 2 + 1):
            x = column * width + (width // 2) * (row % 2)
            shade = rng.uniform(0.6, 1.25) * np.asarray(colour) * rng.uniform(0.92, 1.08, 3)
            y0, y1, x0, x1 = row * height + 3, (row + 1) * height - 3, max(x + 3, 0), min(x + width - 3, size)
            if x1 > x0:
                picture[y0:y1, x0:x1] = tinted(tuple(shade), grain[y0:y1, x0:x1])
    return picture


def tiles(rng: np.random.Generator, colours: list[tuple[float, float, float]], count: int = 8, size: int = 512) -> np.ndarray:
    """Stone tiles or a checked cloth: a grid of shades with joints."""
    picture = np.zeros((size, size, 3), np.uint8)
    grain = 1 + 0.08 * noise(rng, size, 5, 16)
    step = size // count
    for row in range(count):
        for column in range(count):
            shade = np.asarray(colours[(row + column) % len(colours)]) * rng.uniform(0.85, 1.12)
            region = np.s_[row * step : (row + 1) * step - 2, column * step : (column + 1) * step - 2]
            picture[region] = tinted(tuple(shade), grain[region])
    return picture


def cloth(rng: np.random.Generator, colour: tuple[float, float, float], kind: str = "weave", size: int = 512) -> np.ndarray:
    """Fabric: weave, stripes, check or print."""
    yy, xx = np.mgrid[:size, :size].astype(np.float32) / size
    brightness = 1 + 0.06 * noise(rng, size, 5, 4) + 0.08 * np.sin(xx * size * 0.9) * np.sin(yy * size * 0.9)
    if kind == "stripes":
        brightness *= 1 + 0.35 * np.sign(np.sin(yy * 2 * np.pi * rng.integers(6, 14)))
    elif kind == "check":
        n = rng.integers(5, 10)
        brightness *= 1 + 0.2 * np.sign(np.sin(yy * 2 * np.pi * n)) + 0.2 * np.sign(np.sin(xx * 2 * np.pi * n))
    picture = tinted(colour, brightness)
    if kind == "print":
        for _ in range(60):
            centre = tuple(int(v) for v in rng.integers(0, size, 2))
            tone = tuple(int(255 * v) for v in muted(rng, 0.1, 0.9, 0.8))
            cv2.circle(picture, centre, int(rng.integers(4, 22)), tone, -1 if rng.random() < 0.6 else 2, cv2.LINE_AA)
    return picture


def poster(rng: np.random.Generator, width: int = 384, height: int = 512) -> np.ndarray:
    """A poster, a painting or a sign: fields of colour, shapes and words."""
    top, bottom = np.array(muted(rng, 0.2, 0.9)), np.array(muted(rng, 0.2, 0.9))
    ramp = np.linspace(0, 1, height)[:, None, None]
    picture = np.clip((top * (1 - ramp) + bottom * ramp) * np.ones((1, width, 1)) * 255, 0, 255).astype(np.uint8)
    for _ in range(int(rng.integers(6, 16))):
        tone = tuple(int(255 * v) for v in muted(rng, 0.08, 0.95, 0.9))
        x, y = int(rng.integers(0, width)), int(rng.integers(0, height))
        kind = rng.integers(0, 4)
        if kind == 0:
            cv2.circle(picture, (x, y), int(rng.integers(10, 90)), tone, -1, cv2.LINE_AA)
        elif kind == 1:
            cv2.rectangle(picture, (x, y), (x + int(rng.integers(15, 150)), y + int(rng.integers(10, 120))), tone, -1)
        elif kind == 2:
            cv2.line(picture, (x, y), tuple(int(v) for v in rng.integers(0, 400, 2)), tone, int(rng.integers(2, 14)), cv2.LINE_AA)
        else:
            points = (np.array([x, y]) + rng.integers(-90, 90, (5, 2))).astype(np.int32)
            cv2.fillConvexPoly(picture, cv2.convexHull(points), tone, cv2.LINE_AA)
    for _ in range(int(rng.integers(2, 5))):
        word = "".join(rng.choice(list(LETTERS), int(rng.integers(3, 8))))
        where = (int(rng.integers(0, width // 2)), int(rng.integers(30, height)))
        cv2.putText(
            picture,
            word,
            where,
            cv2.FONT_HERSHEY_DUPLEX,
            rng.uniform(0.6, 2.2),
            tuple(int(v) for v in rng.integers(0, 255, 3)),
            int(rng.integers(1, 4)),
            cv2.LINE_AA,
        )
    grain = 1 + 0.05 * cv2.resize(noise(rng, 256, 5, 8), (width, height))
    return _from_bottom(np.clip(picture * grain[..., None], 0, 255).astype(np.uint8))


def bookshelf(rng: np.random.Generator, shelves: int = 5, width: int = 768, height: int = 1024) -> np.ndarray:
    """Rows of books in a dark case."""
    picture = np.full((height, width, 3), (38, 26, 18), np.uint8)
    step = height // shelves
    for shelf in range(shelves):
        base, x = (shelf + 1) * step - 10, 10
        while x < width - 12:
            thick, tall = int(rng.integers(8, 28)), int(step * rng.uniform(0.55, 0.88))
            shade = muted(rng, 0.15, 0.75, 0.8)
            if rng.random() > 0.06:
                stripe = np.linspace(0.75, 1.1, thick, dtype=np.float32)[None].repeat(tall, 0)
                x1 = min(x + thick, width - 8)
                picture[base - tall : base, x:x1] = tinted(shade, stripe)[:, : x1 - x]
                band = base - int(tall * rng.uniform(0.2, 0.9))
                picture[band : band + 5, x:x1] = rng.integers(90, 240, 3)
            x += thick + int(rng.integers(0, 3))
        picture[base : base + 10] = (70, 48, 30)
    return _from_bottom(picture)


def facade(
    rng: np.random.Generator, colour: tuple[float, float, float], columns: int = 4, rows: int = 4, size: int = 1024
) -> np.ndarray:
    """A stretch of house front: windows with frames, curtains and sills on stained plaster or brick."""
    picture = bricks(rng, colour, 32, size) if rng.random() < 0.35 else plaster(rng, colour, 0.07, size)
    step_x, step_y = size // columns, size // rows
    width, height = int(step_x * rng.uniform(0.42, 0.6)), int(step_y * rng.uniform(0.5, 0.68))
    frame = tuple(int(v) for v in (rng.uniform(0.2, 0.9) * np.array([255, 250, 240])))
    for row in range(rows):
        for column in range(columns):
            x, y = column * step_x + (step_x - width) // 2, row * step_y + (step_y - height) // 2
            glass = np.array([40, 50, 62]) * rng.uniform(0.5, 1.6)
            cv2.rectangle(picture, (x - 7, y - 7), (x + width + 7, y + height + 7), frame, -1)
            ramp = np.linspace(1.3, 0.7, height, dtype=np.float32)[:, None].repeat(width, 1)
            picture[y : y + height, x : x + width] = tinted(tuple(glass / 255), ramp)
            if rng.random() < 0.5:
                curtain = int(width * rng.uniform(0.15, 0.5))
                folds = 1 + 0.25 * np.sin(np.arange(curtain) * rng.uniform(0.4, 0.9))
                picture[y : y + height, x : x + curtain] = tinted(muted(rng, 0.35, 0.9), folds[None].repeat(height, 0))
            cv2.line(picture, (x + width // 2, y), (x + width // 2, y + height), frame, 6)
            cv2.line(picture, (x, y + height // 3), (x + width, y + height // 3), frame, 5)
            cv2.rectangle(
                picture, (x - 14, y + height + 8), (x + width + 14, y + height + 20), tuple(int(v * 0.8) for v in frame), -1
            )
    stains = 1 + 0.05 * noise(rng, size, 4, 4)
    return _from_bottom(np.clip(picture * stains[..., None], 0, 255).astype(np.uint8))


def asphalt(rng: np.random.Generator, colour: tuple[float, float, float] = (0.25, 0.25, 0.26), size: int = 1024) -> np.ndarray:
    """Road: fine grit, patches and cracks."""
    brightness = 1 + 0.16 * noise(rng, size, 3, size // 8) + 0.12 * noise(rng, size, 5, 3)
    picture = tinted(colour, brightness)
    for _ in range(14):
        point = rng.integers(0, size, 2).astype(float)
        angle = rng.uniform(0, 6.28)
        for _ in range(30):
            angle += rng.normal(0, 0.5)
            target = point + 14 * np.array([np.cos(angle), np.sin(angle)])
            cv2.line(picture, tuple(point.astype(int).tolist()), tuple(target.astype(int).tolist()), (30, 30, 32), 2, cv2.LINE_AA)
            point = target
    for _ in range(300):
        spot = tuple(int(v) for v in rng.integers(0, size, 2))
        cv2.circle(
            picture, spot, int(rng.integers(1, 3)), tuple(int(v) for v in rng.integers(60, 150, 1).repeat(3)), -1, cv2.LINE_AA
        )
    return picture


def ground(rng: np.random.Generator, colour: tuple[float, float, float] = (0.3, 0.34, 0.18), size: int = 1024) -> np.ndarray:
    """Grass or gravel: strong texture at every scale."""
    brightness = 1 + 0.25 * noise(rng, size, 7, 4, 0.8)
    hue = 0.1 * noise(rng, size, 4, 4)
    picture = tinted(colour, brightness).astype(np.float32)
    picture[..., 0] *= 1 + hue
    return np.clip(picture, 0, 255).astype(np.uint8)


def leaves(rng: np.random.Generator, colour: tuple[float, float, float] = (0.22, 0.38, 0.12), size: int = 512) -> np.ndarray:
    """(h, w, 4): a sheet of leaves with holes between them."""
    picture = np.zeros((size, size, 4), np.uint8)
    for _ in range(900):
        x, y = rng.integers(0, size, 2)
        length, angle = int(rng.integers(8, 20)), float(rng.uniform(0, 360))
        shade = np.clip(np.asarray(colour) * rng.uniform(0.5, 1.7) * 255 * rng.uniform(0.9, 1.1, 3), 0, 255)
        cv2.ellipse(
            picture, (int(x), int(y)), (length, max(length // 3, 2)), angle, 0, 360, (*map(int, shade), 255), -1, cv2.LINE_8
        )
    return picture


def skin(rng: np.random.Generator) -> np.ndarray:
    """A head's wrap: face with eyes and mouth in front, hair around and above (columns around, rows from chin to crown)."""
    size = 256
    tone = rng.choice([0.85, 0.7, 0.5]) * np.array([0.95, 0.76, 0.64])
    picture = tinted(tuple(tone), 1 + 0.03 * noise(rng, size, 5, 8))
    hair = tuple(int(v) for v in rng.uniform(0.05, 0.4) * np.array([230, 180, 130]))
    strands = 1 + 0.4 * cv2.resize(noise(rng, 128, 5, 16), (size * 4, size))[:, :size]
    covered = np.zeros((size, size), bool)
    covered[150:] = True
    covered[90:, :70] = covered[90:, 186:] = True
    picture[covered] = np.clip(np.array(hair) * strands[covered][:, None], 0, 255).astype(np.uint8)
    for x in (108, 148):
        cv2.ellipse(picture, (x, 125), (10, 6), 0, 0, 360, (240, 240, 235), -1, cv2.LINE_AA)
        cv2.circle(picture, (x, 125), 4, (40, 30, 20), -1, cv2.LINE_AA)
        cv2.line(picture, (x - 11, 139), (x + 11, 140), hair, 3, cv2.LINE_AA)
    cv2.ellipse(picture, (128, 78), (18, 5), 0, 0, 360, (150, 70, 70), -1, cv2.LINE_AA)
    cv2.line(picture, (128, 122), (124, 98), tuple(int(v * 200) for v in tone), 3, cv2.LINE_AA)
    return np.roll(picture, size // 2, axis=1)  # a head looks along its x axis, where the wrap begins
