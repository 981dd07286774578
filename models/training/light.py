"""Light as on a set: soft daylight from one side, hard sun, a single lamp in the dark, coloured light, light from behind."""

from __future__ import annotations

import numpy as np

from .raster import Scene
from .world import sun, tinted


def indoor_light(rng: np.random.Generator, centre: np.ndarray, radius: float) -> dict:
    """Arguments of a Scene for a place indoors around `centre` (metres) whose things lie within `radius`."""
    warm = np.array([1.0, rng.uniform(0.75, 1.0), rng.uniform(0.5, 1.0)])
    level = rng.uniform(0.25, 0.9)
    lamps = []
    for _ in range(int(rng.integers(1, 4))):
        around, high = rng.uniform(0, 6.28), rng.uniform(0.2, 2.0)
        place = centre + [radius * rng.uniform(0.5, 2.5) * np.cos(around), radius * rng.uniform(0.5, 2.5) * np.sin(around), high]
        lamps.append((place, tuple(rng.uniform(0.2, 1.8) * (warm if rng.random() < 0.6 else np.ones(3))), rng.uniform(0.6, 3.0)))
    return {
        "sun_direction": sun(rng, 15 if rng.random() < 0.4 else 40),
        "sun_colour": tinted(rng, rng.uniform(0.05, 0.8) if rng.random() < 0.7 else rng.uniform(0.8, 2.5), 0.1),
        "softness": float(np.exp(rng.uniform(np.log(1.5), np.log(25.0)))),
        "ambient_up": tinted(rng, level, 0.1),
        "ambient_down": tinted(rng, level * rng.uniform(0.3, 0.9), 0.1),
        "lamps": lamps,
        "exposure": rng.uniform(0.7, 1.4),
        "shadow_centre": np.asarray(centre, float),
        "shadow_radius": radius,
    }


def relight(rng: np.random.Generator, scene: Scene) -> None:
    """Changes the light of a scene into one of film's: kept, dark with a lamp, hard side light, coloured, from behind."""
    scene.softness = max(scene.softness, float(np.exp(rng.uniform(np.log(1.5), np.log(20.0)))))
    kind = rng.random()
    if kind < 0.25:  # dark, and one lamp that matters
        dim = rng.uniform(0.03, 0.3)
        scene.ambient_up = tuple(dim * np.array(scene.ambient_up))
        scene.ambient_down = tuple(dim * np.array(scene.ambient_down))
        scene.sun_colour = tuple(rng.uniform(0.0, 1.0) * np.array(scene.sun_colour))
        if scene.lamps:
            place, tone, reach = scene.lamps[0]
            scene.lamps[0] = (place, tuple(rng.uniform(1.0, 3.0) * np.array(tone)), reach * rng.uniform(0.5, 1.0))
    elif kind < 0.5:  # hard light low from one side, little else
        height, turn = np.radians(rng.uniform(5, 45)), rng.uniform(0, 6.28)
        scene.sun_direction = np.array([np.cos(height) * np.cos(turn), np.cos(height) * np.sin(turn), np.sin(height)])
        scene.sun_colour = tuple(rng.uniform(1.5, 4.0) * np.array([1.0, rng.uniform(0.7, 1.0), rng.uniform(0.45, 1.0)]))
        dim = rng.uniform(0.15, 0.6)
        scene.ambient_up, scene.ambient_down = (tuple(dim * np.array(c)) for c in (scene.ambient_up, scene.ambient_down))
    elif kind < 0.7:  # coloured, as on stages and at night
        tones = rng.uniform(0.1, 1.5, (3, 3))
        scene.ambient_up, scene.ambient_down = (
            tuple(np.array(c) * t) for c, t in zip((scene.ambient_up, scene.ambient_down), tones[:2], strict=True)
        )
        scene.lamps = [(place, tuple(np.array(c) * rng.uniform(0.1, 1.6, 3)), reach) for place, c, reach in scene.lamps]
    else:  # soft and bright from everywhere
        lift = rng.uniform(1.1, 2.5)
        scene.ambient_up, scene.ambient_down = (tuple(lift * np.array(c)) for c in (scene.ambient_up, scene.ambient_down))
        scene.sun_colour = tuple(0.5 * np.array(scene.sun_colour))
