"""The places shots are made in: a furnished set, a street, a courtyard with hills behind, a bare stage.

Every place is made from a seed. World: metres, z up, the camera looks roughly along +y.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from models.training import primitives
from models.training.raster import Item, Mesh, Scene
from tests.bench import textures
from tests.bench.movers import FIRST_MOVER_ID, Car, Person, parked, rotation_z

UPRIGHT = np.array([[1, 0, 0], [0, 0, -1], [0, 1, 0.0]])  # a sheet's x, y to the world's x, z: it faces −y


@dataclass
class Place:
    """Still things, light, and what moves. `at` gives the scene of a time in frames."""

    scene: Scene
    movers: list[Person | Car] = field(default_factory=list)
    focus: np.ndarray = field(default_factory=lambda: np.array([0.0, 4.0, 1.0]))  # what the camera looks at
    _ids: int = 0

    def at(self, t: float) -> Scene:
        """The scene at a time in frames; still things are shared between calls."""
        moving = [item for mover in self.movers for item in mover.items(t)]
        return Scene(**{**self.scene.__dict__, "items": self.scene.items + moving})

    def add(
        self,
        mesh: Mesh,
        size: tuple,
        centre: tuple,
        texture: np.ndarray,
        tile_m: float | None = None,
        rotation: np.ndarray | None = None,
        **material: float,
    ) -> None:
        """Put a still thing somewhere."""
        self._ids += 1
        turn = np.eye(3) if rotation is None else rotation
        item = Item(mesh, self._ids, turn, np.array(centre, float), np.array(size, float), texture, tile_m=tile_m, **material)
        self.scene.items.append(item)

    def next_mover_id(self) -> int:
        """An id that marks what moves."""
        return FIRST_MOVER_ID + len(self.movers)


BOX, BALL, TUBE, CONE, SHEET = (
    primitives.box(),
    primitives.ball(28),
    primitives.cylinder(28),
    primitives.cylinder(24, 0.05),
    primitives.sheet(),
)
VASE = primitives.revolution(
    np.array([[0, 0], [0.28, 0], [0.42, 0.18], [0.5, 0.42], [0.36, 0.68], [0.16, 0.82], [0.2, 0.96], [0.26, 1.0], [0.24, 1.0]]),
    28,
)


def _clutter(place: Place, rng: np.random.Generator, count: int, x: tuple, y: tuple, z: float, size: tuple) -> None:
    """Small things standing on a surface: boxes, vases, balls, books, bottles."""
    for _ in range(count):
        s = rng.uniform(*size)
        where = (rng.uniform(*x), rng.uniform(*y))
        kind, turn = rng.integers(0, 5), rotation_z(rng.uniform(0, 3.14))
        if kind == 0:
            place.add(BOX, (s, 0.7 * s, 0.8 * s), (*where, z + 0.4 * s), textures.poster(rng, 256, 256), None, turn)
        elif kind == 1:
            place.add(
                VASE,
                (0.7 * s, 0.7 * s, 1.3 * s),
                (*where, z),
                textures.cloth(rng, textures.muted(rng, 0.2, 0.8), "print"),
                None,
                turn,
                specular=0.1,
            )
        elif kind == 2:
            place.add(
                BALL, (s, s, s), (*where, z + s / 2), textures.plaster(rng, textures.muted(rng, 0.2, 0.8), 0.18, 256), 0.4, turn
            )
        elif kind == 3:
            for level in range(int(rng.integers(2, 5))):
                place.add(
                    BOX,
                    (s, 0.7 * s, 0.14 * s),
                    (*where, z + (0.07 + 0.14 * level) * s),
                    textures.poster(rng, 128, 96),
                    None,
                    rotation_z(rng.uniform(-0.4, 0.4)),
                )
        else:
            place.add(
                TUBE,
                (0.35 * s, 0.35 * s, 1.2 * s),
                (*where, z + 0.6 * s),
                textures.poster(rng, 256, 128),
                None,
                turn,
                specular=0.12,
            )


def _table(place: Place, rng: np.random.Generator, centre: tuple, size: tuple, height: float, colour: tuple) -> None:
    wood = textures.planks(rng, colour, 4, 512)
    place.add(BOX, (size[0], size[1], 0.05), (*centre, height - 0.025), wood, 1.2)
    for sx in (-1, 1):
        for sy in (-1, 1):
            leg = (centre[0] + sx * (size[0] / 2 - 0.07), centre[1] + sy * (size[1] / 2 - 0.07), (height - 0.05) / 2)
            place.add(BOX, (0.07, 0.07, height - 0.05), leg, wood, 1.0)


def _plant(place: Place, rng: np.random.Generator, where: tuple, height: float) -> None:
    """Crossed sheets of leaves in a pot."""
    leaf = textures.leaves(rng, tuple(np.array([0.22, 0.38, 0.14]) * rng.uniform(0.7, 1.3)))
    pot = 0.3 * height
    place.add(VASE, (0.35 * height, 0.35 * height, pot), (*where, 0), textures.plaster(rng, (0.5, 0.3, 0.2), 0.12, 256), 0.5)
    for k in range(5):
        turn = rotation_z(k * 0.7 + rng.uniform(-0.2, 0.2)) @ UPRIGHT
        place.add(SHEET, (0.75 * height, 0.8 * height, 1), (*where, pot + 0.35 * height), leaf, None, turn)


def _tree(place: Place, rng: np.random.Generator, where: tuple, height: float) -> None:
    bark = textures.planks(rng, (0.28, 0.2, 0.14), 16, 256)
    place.add(primitives.cylinder(14, 0.6), (0.07 * height, 0.07 * height, 0.5 * height), (*where, 0.25 * height), bark, 0.6)
    leaf = textures.leaves(rng, tuple(np.array([0.2, 0.34, 0.1]) * rng.uniform(0.7, 1.4)))
    for _ in range(14):
        offset = rng.normal(0, 0.16, 3) * height
        size = rng.uniform(0.28, 0.45) * height
        place.add(
            BALL,
            (size, size, size * 0.85),
            (where[0] + offset[0], where[1] + offset[1], 0.66 * height + 0.7 * offset[2]),
            leaf,
            1.2,
            rotation_z(rng.uniform(0, 6)),
        )


def room(seed: int) -> Place:
    """A living room built as a film set: three walls, no ceiling, a key light from the front."""
    rng = np.random.default_rng([seed, 1])
    place = Place(
        Scene(
            [],
            sun_direction=np.array([-0.5, -0.75, 0.9]),
            sun_colour=(1.25, 1.15, 1.0),
            ambient_up=(0.42, 0.42, 0.44),
            ambient_down=(0.3, 0.28, 0.25),
            shadow_radius=7.0,
            shadow_centre=np.array([0, 3.5, 0.5]),
            lamps=[((-2.2, 5.6, 1.6), (0.9, 0.6, 0.3), 1.2)],
        )
    )
    wall = textures.muted(rng, 0.5, 0.75, 0.3)
    place.add(BOX, (9, 10, 0.1), (0, 2.5, -0.05), textures.planks(rng), 2.0)
    back = textures.bricks(rng) if rng.random() < 0.5 else textures.plaster(rng, wall, 0.07)
    place.add(BOX, (9, 0.1, 3.6), (0, 7.05, 1.8), back, 2.2)
    side = textures.plaster(rng, wall, 0.06)
    for x in (-4.05, 4.05):
        place.add(BOX, (0.1, 9, 3.6), (x, 2.6, 1.8), side, 2.4)
    place.add(BOX, (9, 0.06, 0.14), (0, 6.98, 0.07), textures.planks(rng, (0.7, 0.68, 0.62), 2, 256), 1.0)
    place.add(BOX, (3.4, 2.6, 0.015), (0, 4.1, 0.0075), textures.cloth(rng, textures.muted(rng, 0.25, 0.6), "print", 1024), None)
    for x, width in ((-2.9, 1.5), (2.6, 1.9)):
        place.add(BOX, (width, 0.34, 2.2), (x, 6.8, 1.1), textures.bookshelf(rng), None)
    for column, row in ((c, r) for c in range(4) for r in range(2) if rng.random() < 0.8):
        w, h = rng.uniform(0.32, 0.66, 2)
        x, z = -1.7 + 0.85 * column + rng.uniform(-0.07, 0.07), 1.45 + 0.85 * row + rng.uniform(-0.07, 0.07)
        place.add(BOX, (w + 0.08, 0.03, h + 0.08), (x, 6.98, z), textures.planks(rng, (0.2, 0.14, 0.1), 2, 128), 0.5)
        place.add(SHEET, (w, h, 1), (x, 6.955, z), textures.poster(rng), None, UPRIGHT)
    for x in (-3.99, 3.99):
        for y in (2.6, 4.6):
            turn = rotation_z(-np.sign(x) * np.pi / 2) @ UPRIGHT
            place.add(
                SHEET, (0.9, 1.1, 1), (x, y + rng.uniform(-0.5, 0.5), rng.uniform(1.3, 2.0)), textures.poster(rng), None, turn
            )
    _table(place, rng, (0.0, 4.1), (1.7, 0.95), 0.74, (0.36, 0.22, 0.13))
    _clutter(place, rng, 8, (-0.7, 0.7), (3.75, 4.45), 0.74, (0.12, 0.26))
    _table(place, rng, (-2.4, 5.3), (0.7, 0.7), 0.55, (0.5, 0.4, 0.28))
    _clutter(place, rng, 3, (-2.6, -2.2), (5.1, 5.5), 0.55, (0.14, 0.26))
    sofa = textures.cloth(rng, textures.muted(rng, 0.2, 0.6), "check")
    for size, centre in (
        ((2.1, 0.9, 0.42), (1.9, 5.7, 0.21)),
        ((2.1, 0.25, 0.6), (1.9, 6.1, 0.6)),
        ((0.22, 0.9, 0.6), (0.85, 5.7, 0.3)),
        ((0.22, 0.9, 0.6), (2.95, 5.7, 0.3)),
    ):
        place.add(BOX, size, centre, sofa, 0.8)
    for x in (1.4, 2.3):
        place.add(BOX, (0.5, 0.16, 0.4), (x, 5.9, 0.62), textures.cloth(rng, textures.muted(rng, 0.2, 0.8), "print"), 0.5)
    for x, y in ((-1.2, 3.6), (1.3, 4.5)):
        chair = textures.planks(rng, (0.42, 0.26, 0.16), 4, 256)
        place.add(BOX, (0.45, 0.45, 0.05), (x, y, 0.46), chair, 0.6)
        place.add(BOX, (0.45, 0.05, 0.5), (x, y + 0.2, 0.75), chair, 0.6)
        for dx in (-0.2, 0.2):
            for dy in (-0.2, 0.2):
                place.add(BOX, (0.04, 0.04, 0.44), (x + dx, y + dy, 0.22), chair, 0.5)
    _plant(place, rng, (-3.4, 4.2), 1.5)
    _plant(place, rng, (3.4, 3.4), 1.1)
    _clutter(place, rng, 7, (-3.6, 3.6), (2.2, 5.0), 0.0, (0.2, 0.45))
    place.add(TUBE, (0.04, 0.04, 1.5), (-2.2, 5.9, 0.75), textures.plaster(rng, (0.2, 0.2, 0.2), 0.1, 128), 0.3)
    place.add(
        primitives.cylinder(24, 0.6),
        (0.42, 0.42, 0.32),
        (-2.2, 5.9, 1.6),
        textures.cloth(rng, (0.85, 0.75, 0.55), "stripes"),
        0.6,
        emission=0.5,
    )
    place.focus = np.array([0.0, 4.2, 0.95])
    return place


def street(seed: int) -> Place:
    """A street between house fronts, with parked cars, trees, lamps and signs, closed by a building at its end."""
    rng = np.random.default_rng([seed, 2])
    place = Place(
        Scene(
            [],
            sun_direction=np.array([0.45, -0.5, 0.75]),
            sun_colour=(1.9, 1.8, 1.6),
            ambient_up=(0.5, 0.55, 0.62),
            ambient_down=(0.25, 0.24, 0.22),
            shadow_radius=26.0,
            shadow_centre=np.array([0, 18, 2]),
            clouds=0.6,
            sky_seed=seed % 7,
            fog_density=0.002,
        )
    )
    place.add(BOX, (9, 120, 0.1), (0, 50, -0.05), textures.asphalt(rng), 5.0)
    pavement = textures.tiles(rng, [(0.5, 0.49, 0.47), (0.44, 0.43, 0.42)], 8)
    for side in (-1, 1):
        place.add(BOX, (4, 120, 0.14), (side * 6.5, 50, 0.07), pavement, 3.2)
        y = -10.0
        while y < 75:
            width, depth_in, height = rng.uniform(7, 12), rng.uniform(0, 1.4), rng.uniform(9, 18)
            x = side * (8.5 + depth_in)
            front = textures.facade(rng, textures.muted(rng, 0.35, 0.75))
            place.add(
                BOX, (6, width - 0.05, height), (x + side * 3, y + width / 2, height / 2), front, float(rng.uniform(7.5, 10))
            )
            for level in range(1, int(height // 3.2)):
                place.add(BOX, (0.25, width, 0.2), (x - side * 0.1, y + width / 2, level * 3.2), pavement, 2.0)
            if rng.random() < 0.7:
                place.add(
                    BOX,
                    (1.0, width * 0.6, 0.12),
                    (x - side * 0.5, y + width / 2, 2.9),
                    textures.cloth(rng, textures.muted(rng, 0.2, 0.8), "stripes"),
                    1.5,
                )
            place.add(
                BOX,
                (0.1, 1.8, 0.8),
                (x - side * 0.4, y + rng.uniform(1.5, width - 1.5), rng.uniform(3.4, 4.2)),
                textures.poster(rng, 512, 256),
                None,
            )
            y += width
    place.add(BOX, (30, 4, 22), (0, 78, 11), textures.facade(rng, (0.6, 0.55, 0.48), 6, 4), 11.0)
    dark = textures.plaster(rng, (0.15, 0.16, 0.15), 0.15, 256)
    for side in (-1, 1):
        for y in np.arange(3, 60, 9.0):
            place.add(TUBE, (0.14, 0.14, 4.6), (side * 4.75, y + side, 2.3), dark, 0.5)
            place.add(
                BALL, (0.4, 0.4, 0.45), (side * 4.75, y + side, 4.7), textures.plaster(rng, (0.8, 0.78, 0.7), 0.05, 128), 0.4
            )
            if rng.random() < 0.8:
                _tree(place, rng, (side * 5.6, y + 4.2), rng.uniform(4, 6.5))
            place.add(TUBE, (0.5, 0.5, 0.95), (side * rng.uniform(5.0, 7.4), y + 2, 0.6), textures.poster(rng, 256, 128), None)
            if rng.random() < 0.75:
                car = Car(rng, parked((side * 3.5, y + rng.uniform(0, 3)), np.pi / 2), 0)
                for item in car.items(0.0):
                    place.add(
                        item.mesh,
                        tuple(item.scale),
                        tuple(item.position),
                        item.texture,
                        item.tile_m,
                        item.rotation,
                        specular=item.specular,
                        shininess=item.shininess,
                    )
    for y in np.arange(-4, 70, 4.0):
        place.add(BOX, (0.14, 1.8, 0.01), (0, y, 0.006), textures.plaster(rng, (0.75, 0.74, 0.7), 0.15, 256), 1.0)
    _clutter(place, rng, 10, (-7.5, -5.2), (4, 25), 0.14, (0.3, 0.7))
    _clutter(place, rng, 10, (5.2, 7.5), (4, 25), 0.14, (0.3, 0.7))
    place.focus = np.array([0.0, 20.0, 1.8])
    return place


def courtyard(seed: int) -> Place:
    """Open ground with stones, trees, benches, a statue and houses, hills behind."""
    rng = np.random.default_rng([seed, 3])
    place = Place(
        Scene(
            [],
            sun_direction=np.array([-0.6, -0.35, 0.7]),
            sun_colour=(1.9, 1.75, 1.5),
            ambient_up=(0.5, 0.56, 0.66),
            ambient_down=(0.24, 0.24, 0.18),
            shadow_radius=22.0,
            shadow_centre=np.array([0, 14, 1]),
            clouds=0.75,
            sky_seed=seed % 5,
            fog_density=0.003,
        )
    )
    relief = 0.12 * textures.noise(rng, 128, 5, 4)
    place.add(primitives.height_field(relief), (120, 120, 1), (0, 45, -0.12), textures.ground(rng, (0.36, 0.35, 0.2)), 6.0)
    place.add(BOX, (12, 14, 0.1), (0, 13, 0.1), textures.tiles(rng, [(0.55, 0.52, 0.46), (0.48, 0.45, 0.4)], 8), 3.0)
    for _ in range(3):
        hills = 5 + 4 * textures.noise(rng, 64, 4, 2)
        hills *= np.sin(np.linspace(0, np.pi, 64))[:, None]
        place.add(
            primitives.height_field(hills),
            (160, 60, rng.uniform(0.8, 1.6)),
            (rng.uniform(-30, 30), rng.uniform(110, 170), -3),
            textures.ground(rng, (0.22, 0.28, 0.16)),
            16.0,
        )
    for x in (-17, -7, 4, 15):
        height, width = rng.uniform(5, 9), rng.uniform(7, 9)
        y = 30 + rng.uniform(-4, 5)
        place.add(
            BOX,
            (width, 7, height),
            (x, y, height / 2),
            textures.facade(rng, textures.muted(rng, 0.4, 0.8), 4, 3),
            float(height),
        )
        place.add(
            primitives.cylinder(4, 0.05),
            (width * 1.5, 10, 3),
            (x, y, height + 1.5),
            textures.bricks(rng, (0.5, 0.25, 0.16), 32),
            3.0,
            rotation_z(np.pi / 4),
        )
    stone = textures.plaster(rng, (0.6, 0.58, 0.52), 0.14, 512)
    place.add(BOX, (1.6, 1.6, 1.1), (0, 13, 0.7), textures.bricks(rng, (0.55, 0.52, 0.46), 8, 512), 1.4)
    place.add(VASE, (1.0, 1.0, 1.4), (0, 13, 1.25), stone, 0.8)
    place.add(BALL, (0.8, 0.8, 0.9), (0, 13, 2.9), stone, 0.7)
    for angle in np.linspace(0, 2 * np.pi, 7)[:-1]:
        where = np.array([4.4 * np.cos(angle), 13 + 4.4 * np.sin(angle)])
        wood = textures.planks(rng, (0.4, 0.28, 0.18), 4, 256)
        turn = rotation_z(angle + np.pi / 2)
        place.add(BOX, (1.6, 0.45, 0.07), (*where, 0.6), wood, 0.8, turn)
        for end in (-0.6, 0.6):
            leg = where + (turn @ np.array([end, 0, 0]))[:2]
            place.add(BOX, (0.1, 0.4, 0.5), (*leg, 0.32), stone, 0.5, turn)
    for _ in range(22):
        _tree(place, rng, (rng.choice([-1, 1]) * rng.uniform(7, 22), rng.uniform(9, 34)), rng.uniform(3.5, 7))
    for _ in range(45):
        size = rng.uniform(0.25, 1.0)
        mesh = primitives.lumpy_ball(rng)
        where = (rng.uniform(-12, 12), rng.uniform(4, 26))
        place.add(mesh, (size, size, 0.8 * size), (*where, 0.2 * size), textures.plaster(rng, (0.5, 0.47, 0.43), 0.22, 256), 0.8)
    place.focus = np.array([0.0, 13.0, 1.6])
    return place


def stage(seed: int) -> Place:
    """A plain stage: one smooth grey sweep of floor and wall, tape marks, a few boxes and stands."""
    rng = np.random.default_rng([seed, 4])
    place = Place(
        Scene(
            [],
            sun_direction=np.array([0.5, -0.7, 0.8]),
            sun_colour=(0.95, 0.93, 0.9),
            ambient_up=(0.5, 0.5, 0.52),
            ambient_down=(0.4, 0.4, 0.4),
            shadow_radius=7.0,
            shadow_centre=np.array([0, 4, 0.5]),
        )
    )
    sweep = textures.plaster(rng, (0.55, 0.56, 0.57), 0.012)
    place.add(BOX, (14, 14, 0.1), (0, 3, -0.05), sweep, 5.0)
    place.add(BOX, (14, 0.1, 6), (0, 7.5, 3), sweep, 5.0)
    for x in (-5.5, 5.5):
        place.add(BOX, (0.1, 12, 6), (x, 3, 3), sweep, 5.0)
    tape = textures.plaster(rng, (0.75, 0.25, 0.15), 0.1, 128)
    for _ in range(7):
        place.add(
            BOX,
            (0.4, 0.05, 0.004),
            (rng.uniform(-2.5, 2.5), rng.uniform(2.5, 6.2), 0.002),
            tape,
            0.3,
            rotation_z(rng.uniform(0, 3)),
        )
    for x, y, s in ((-1.2, 4.6, 0.6), (-0.9, 4.3, 0.35), (1.5, 5.4, 0.8), (0.4, 3.6, 0.3)):
        place.add(
            BOX, (s, s, s), (x, y, s / 2), textures.planks(rng, (0.5, 0.38, 0.24), 4, 512), 0.9, rotation_z(rng.uniform(0, 1.5))
        )
    dark = textures.plaster(rng, (0.12, 0.12, 0.12), 0.08, 128)
    for x, y in ((-2.3, 6.2), (2.7, 6.6)):
        place.add(TUBE, (0.05, 0.05, 2.2), (x, y, 1.1), dark, 0.3)
        place.add(BOX, (0.5, 0.12, 0.35), (x, y, 2.3), dark, 0.4)
    place.add(BALL, (0.45, 0.45, 0.45), (1.45, 5.4, 1.02), textures.plaster(rng, (0.35, 0.45, 0.6), 0.1, 256), 0.5)
    place.focus = np.array([0.0, 4.8, 0.8])
    return place
