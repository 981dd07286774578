"""What a random world consists of, and its light."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .raster import Scene


@dataclass
class View:
    """A camera: cam_from_world (4, 4), focal length in px."""

    cam_from_world: np.ndarray
    focal_px: float


@dataclass
class World:
    """A scene and how to look at it."""

    name: str
    scene: Scene
    eyes: list[np.ndarray]  # places a camera may stand, (3,)
    targets: list[np.ndarray]  # places it may look at, (3,)
    lens_mm: tuple[float, float]  # range of lenses on a 36 mm wide sensor that make sense here
    views: list[tuple[np.ndarray, np.ndarray]] | None = None  # (eye, target) that belong together, instead of eyes and targets


def sun(rng: np.random.Generator, low_deg: float = 8.0) -> np.ndarray:
    """A direction towards the sun, (3,), at least low_deg above the horizon."""
    height, turn = np.radians(rng.uniform(low_deg, 85)), rng.uniform(0, 2 * np.pi)
    return np.array([np.cos(height) * np.cos(turn), np.cos(height) * np.sin(turn), np.sin(height)])


def tinted(rng: np.random.Generator, level: float, spread: float = 0.2) -> tuple[float, float, float]:
    """A linear colour of about this level."""
    return tuple(level * rng.uniform(1 - spread, 1 + spread, 3))


def outdoor_light(rng: np.random.Generator, centre: np.ndarray, radius: float) -> dict:
    """Sun, cloud or dusk."""
    overcast = rng.random() < 0.3
    strength = 0.15 if overcast else float(np.exp(rng.uniform(np.log(0.5), np.log(3.0))))
    ambient = rng.uniform(0.6, 1.3) if overcast else rng.uniform(0.15, 0.7)
    grey = rng.uniform(0.4, 1.0)
    blue = np.array([0.25, 0.45, 0.9]) * (1 - overcast) + overcast * grey
    haze = rng.random() < 0.35
    return {
        "sun_direction": sun(rng),
        "sun_colour": tuple(strength * np.array([1.0, rng.uniform(0.75, 1.0), rng.uniform(0.5, 1.0)])),
        "ambient_up": tuple(ambient * (0.5 + 0.5 * blue)),
        "ambient_down": tinted(rng, ambient * 0.4),
        "sky_zenith": tuple(blue * rng.uniform(0.5, 1.1)),
        "sky_horizon": tinted(rng, rng.uniform(0.5, 1.0), 0.15),
        "clouds": rng.uniform(0, 0.9) if rng.random() < 0.7 else 0.0,
        "sky_seed": rng.uniform(0, 50),
        "fog_colour": tinted(rng, rng.uniform(0.5, 0.95), 0.1),
        "fog_density": float(np.exp(rng.uniform(-7.5, -4.0))) if haze else 0.0,
        "exposure": rng.uniform(0.7, 1.3),
        "shadow_centre": centre,
        "shadow_radius": radius,
    }
