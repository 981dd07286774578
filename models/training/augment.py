"""What cameras, lenses and codecs do to a picture: colour, exposure, blur, grain, compression; and crops and mirroring."""

from __future__ import annotations

import cv2
import numpy as np


def crop(
    rng: np.random.Generator, rgb: np.ndarray, disparity: np.ndarray, size: tuple[int, int], smallest: float = 0.7
) -> tuple[np.ndarray, np.ndarray]:
    """A random part of the picture, at least `smallest` of what fits, resized to size (w, h), mirrored half of the time.

    rgb (H, W, 3) uint8, disparity (H, W); the disparity comes back at half the size, as the network gives it.
    """
    height, width = rgb.shape[:2]
    fit = min(width / size[0], height / size[1]) * rng.uniform(smallest, 1.0)
    w, h = min(int(size[0] * fit), width), min(int(size[1] * fit), height)
    x, y = int(rng.integers(width - w + 1)), int(rng.integers(height - h + 1))
    part = cv2.resize(rgb[y : y + h, x : x + w], size, interpolation=cv2.INTER_AREA if fit > 1 else cv2.INTER_LINEAR)
    target = cv2.resize(
        disparity[y : y + h, x : x + w].astype(np.float32), (size[0] // 2, size[1] // 2), interpolation=cv2.INTER_NEAREST
    )
    if rng.random() < 0.5:
        part, target = part[:, ::-1], target[:, ::-1]
    return part, target


def _motion_blur(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    length, angle = rng.uniform(2, 9), rng.uniform(0, np.pi)
    kernel = np.zeros((11, 11), np.float32)
    dx, dy = length / 2 * np.cos(angle), length / 2 * np.sin(angle)
    cv2.line(kernel, (round(5 - dx), round(5 - dy)), (round(5 + dx), round(5 + dy)), 1.0, 1, cv2.LINE_AA)
    return cv2.filter2D(image, -1, kernel / kernel.sum())


def defocus(rng: np.random.Generator, rgb: np.ndarray, disparity: np.ndarray, chance: float = 0.12) -> np.ndarray:
    """Now and then a lens that is sharp at one distance only: blur grows with the difference in disparity from it.

    rgb (H, W, 3) uint8, disparity (h, w) of any size; thin-lens blur circles are linear in disparity.
    """
    if rng.random() >= chance:
        return rgb
    h, w = rgb.shape[:2]
    disparity = cv2.resize(np.ascontiguousarray(disparity, np.float32), (w, h), interpolation=cv2.INTER_NEAREST)
    low, high = np.percentile(disparity, [2, 98])
    sharp_at = disparity[int(rng.uniform(0.25, 0.9) * h), int(rng.uniform(0.2, 0.8) * w)]
    radius = np.abs(disparity - sharp_at) / max(float(high - low), 1e-6) * rng.uniform(1.0, 5.0) * h / 192
    plain = np.ascontiguousarray(rgb, np.float32)
    result = plain
    for sigma in (0.5, 1.0, 2.0, 4.0):  # softly from one amount of blur to the next
        weight = np.clip(cv2.GaussianBlur(radius, (0, 0), sigma) / sigma - 0.5, 0, 1)[..., None]
        result = result * (1 - weight) + cv2.GaussianBlur(plain, (0, 0), sigma) * weight
    return (result + 0.5).astype(np.uint8)


def degrade(rng: np.random.Generator, rgb: np.ndarray, chance_of_none: float = 0.2) -> np.ndarray:
    """(H, W, 3) uint8 -> uint8: a random camera's, lens's and codec's idea of the same picture, now and then itself."""
    if rng.random() < chance_of_none:
        return rgb
    image = rgb.astype(np.float32) / 255.0
    # Blur and grain belong to the pixels of a picture of full size; a smaller picture shows less of them.
    fineness = min(rgb.shape[0] / 192, 1.0)
    chance = rng.random(12)
    if chance[0] < 0.8:  # exposure, white balance, contrast curve
        gains = np.exp(rng.normal(0, 0.3)) * np.exp(rng.normal(0, 0.12, 3)).astype(np.float32)
        image = np.clip(image * gains, 0, 1) ** float(np.exp(rng.normal(0, 0.25)))
    if chance[1] < 0.6:  # saturation
        grey = image.mean(axis=2, keepdims=True)
        image = grey + (image - grey) * rng.uniform(0.0 if chance[2] < 0.15 else 0.4, 1.5)
    if chance[3] < 0.25:  # lifted blacks, haze, flare
        lift = rng.uniform(0, 0.25)
        image = lift + (1 - lift) * image
    if chance[4] < 0.3:  # vignette
        h, w = image.shape[:2]
        y, x = np.ogrid[-1 : 1 : h * 1j, -1 : 1 : w * 1j]
        image = image * (1 - rng.uniform(0.1, 0.5) * (x * x + y * y) / 2)[..., None]
    if chance[5] < 0.4:
        image = cv2.GaussianBlur(image, (0, 0), float(np.exp(rng.uniform(np.log(0.3), np.log(1.8)))) * fineness)
    if chance[6] < 0.12 * fineness:
        image = _motion_blur(rng, image)
    if chance[7] < 0.15:  # enlarged from a smaller picture
        h, w = image.shape[:2]
        s = rng.uniform(1 - 0.6 * fineness, 0.9)
        image = cv2.resize(
            cv2.resize(image, (int(w * s), int(h * s)), interpolation=cv2.INTER_AREA), (w, h), interpolation=cv2.INTER_LINEAR
        )
    if chance[8] < 0.25:  # sharpened in the camera
        image = image + rng.uniform(0.3, 1.5) * (image - cv2.GaussianBlur(image, (0, 0), 1.0))
    if chance[9] < 0.65:  # grain, stronger where there is light, as shot noise is
        sigma = float(np.exp(rng.uniform(np.log(0.005), np.log(0.07)))) * fineness
        noise = rng.standard_normal(image.shape, dtype=np.float32)
        if rng.random() < 0.4:
            noise = cv2.GaussianBlur(noise, (0, 0), rng.uniform(0.5, 1.0)) * 1.8
        image = image + sigma * noise * (0.4 + np.sqrt(np.clip(image, 0, 1)))
    result = (np.clip(image, 0, 1) * 255 + 0.5).astype(np.uint8)
    if chance[10] < 0.45:
        quality = int(rng.uniform(15, 95))
        result = cv2.imdecode(cv2.imencode(".jpg", result, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_COLOR)
    return result
