"""Meshes made from numbers: boxes, cylinders, balls, sheets, height fields, surfaces of revolution."""

from __future__ import annotations

import numpy as np

from .raster import Mesh


def grid(columns: int, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """((rows+1)*(columns+1), 2) positions in 0..1 and (T, 3) faces of a rectangular grid."""
    u, v = np.meshgrid(np.linspace(0, 1, columns + 1), np.linspace(0, 1, rows + 1))
    index = np.arange((columns + 1) * (rows + 1)).reshape(rows + 1, columns + 1)
    a, b, c, d = index[:-1, :-1].ravel(), index[:-1, 1:].ravel(), index[1:, 1:].ravel(), index[1:, :-1].ravel()
    return np.stack([u.ravel(), v.ravel()], 1), np.concatenate([np.stack([a, b, c], 1), np.stack([a, c, d], 1)]).astype(np.int32)


def with_normals(vertices: np.ndarray, uv: np.ndarray, faces: np.ndarray) -> Mesh:
    """Smooth normals, the mean of the faces around each vertex weighted by area."""
    corners = vertices[faces]
    face_normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals = np.zeros_like(vertices, dtype=np.float64)
    for k in range(3):
        np.add.at(normals, faces[:, k], face_normal)
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
    return Mesh(vertices.astype(np.float32), normals.astype(np.float32), uv.astype(np.float32), faces.astype(np.int32))


def flat(vertices: np.ndarray, uv: np.ndarray, faces: np.ndarray) -> Mesh:
    """Every triangle with its own normal: sharp edges."""
    corners = vertices[faces].reshape(-1, 3)
    return with_normals(corners, uv[faces].reshape(-1, 2), np.arange(len(corners), dtype=np.int32).reshape(-1, 3))


def sheet() -> Mesh:
    """A unit square in x, y around the origin, facing +z."""
    uv, faces = grid(1, 1)
    return with_normals(np.c_[uv - 0.5, np.zeros(len(uv))], uv, faces)


def box() -> Mesh:
    """A unit cube around the origin."""
    base, faces = grid(1, 1)
    vertices, uvs, all_faces = [], [], []
    for axis in range(3):
        for side in (-0.5, 0.5):
            square = np.insert(base - 0.5, axis, side, axis=1)
            vertices.append(square)
            uvs.append(base)
            # The order of corners decides which way the face looks.
            turned = faces if (side > 0) == (axis != 1) else faces[:, ::-1]
            all_faces.append(turned + 4 * (2 * axis + (side > 0)))
    return with_normals(np.concatenate(vertices), np.concatenate(uvs), np.concatenate(all_faces))


def revolution(profile: np.ndarray, sides: int = 20) -> Mesh:
    """A surface of revolution around z; profile (P, 2): radius and height, from the bottom to the top."""
    rows = len(profile) - 1
    uv, faces = grid(sides, rows)
    angle = uv[:, 0] * 2 * np.pi
    at = np.rint(uv[:, 1] * rows).astype(int)
    radius, height = profile[at, 0], profile[at, 1]
    mesh = with_normals(np.stack([radius * np.cos(angle), radius * np.sin(angle), height], 1), uv, faces)
    # First and last column are the same line in space: give them the same normal.
    normals = mesh.normals.reshape(rows + 1, sides + 1, 3)
    seam = normals[:, 0] + normals[:, -1]
    normals[:, 0] = normals[:, -1] = seam / np.maximum(np.linalg.norm(seam, axis=1, keepdims=True), 1e-9)
    return mesh


def cylinder(sides: int = 20, top: float = 1.0) -> Mesh:
    """Radius 0.5 at the bottom and 0.5 * top above, height 1 around the origin, closed; top=0 is a cone."""
    r = 0.5
    profile = [(0, -0.5), (r, -0.5), (r, -0.5), (r * top, 0.5), (r * top, 0.5), (0, 0.5)]
    return revolution(np.array(profile, float), sides)


def ball(sides: int = 20) -> Mesh:
    """A sphere of diameter 1."""
    angle = np.linspace(-np.pi / 2, np.pi / 2, max(sides // 2, 4) + 1)
    return revolution(np.stack([0.5 * np.cos(angle), 0.5 * np.sin(angle)], 1), sides)


def height_field(heights: np.ndarray) -> Mesh:
    """(R, C) heights over the unit square in x, y around the origin."""
    rows, columns = heights.shape[0] - 1, heights.shape[1] - 1
    uv, faces = grid(columns, rows)
    return with_normals(np.c_[uv - 0.5, heights.ravel()], uv, faces)


def lumpy_ball(rng: np.random.Generator, roughness: float = 0.3, sides: int = 16) -> Mesh:
    """A stone: a ball pushed in and out by a few random waves."""
    mesh = ball(sides)
    direction = mesh.vertices / np.maximum(np.linalg.norm(mesh.vertices, axis=1, keepdims=True), 1e-9)
    radius = np.ones(len(direction))
    for _ in range(6):
        wave = rng.normal(size=3) * rng.uniform(1, 5)
        radius += roughness * rng.uniform(0.2, 0.5) * np.sin(direction @ wave + rng.uniform(0, 6.28))
    return with_normals((direction * radius[:, None] * 0.5), mesh.uv, mesh.faces)


def superball(squareness: float, sides: int = 20) -> Mesh:
    """Between a ball (1) and a box with rounded edges (towards 0), diameter 1."""
    mesh = ball(sides)
    direction = mesh.vertices / np.maximum(np.linalg.norm(mesh.vertices, axis=1, keepdims=True), 1e-9)
    vertices = np.sign(direction) * np.abs(direction) ** squareness
    return with_normals(0.5 * vertices / np.abs(vertices).max(), mesh.uv, mesh.faces)


def extrusion(outline: np.ndarray) -> Mesh:
    """A star-shaped outline (N, 2) in x, z, drawn out over y from -0.5 to 0.5, with both ends closed."""
    n = len(outline)
    centre = outline.mean(axis=0)
    ring = np.arange(n)
    following = (ring + 1) % n
    front = np.c_[outline[:, 0], np.full(n, -0.5), outline[:, 1]]
    back = front + [0, 1, 0]
    hubs = np.array([[centre[0], -0.5, centre[1]], [centre[0], 0.5, centre[1]]])
    vertices = np.concatenate([front, back, hubs])
    faces = np.concatenate(
        [
            np.stack([ring, following, following + n], 1),
            np.stack([ring, following + n, ring + n], 1),
            np.stack([following, ring, np.full(n, 2 * n)], 1),
            np.stack([ring + n, following + n, np.full(n, 2 * n + 1)], 1),
        ]
    )
    return flat(vertices, vertices[:, [0, 2]], faces)


def loft(sections: np.ndarray, sides: int = 20, squareness: float = 1.0) -> Mesh:
    """Rings on top of each other, closed at both ends: sections (R, 4) height, half width along x, half depth along y, shift
    along y, from the bottom to the top; squareness 1: ellipses, towards 0: rectangles."""
    angle = np.linspace(0, 2 * np.pi, sides + 1)
    c, s = (np.sign(f(angle)) * np.abs(f(angle)) ** squareness for f in (np.cos, np.sin))
    rings = np.concatenate([[[sections[0, 0], 0, 0, sections[0, 3]]], sections, [[sections[-1, 0], 0, 0, sections[-1, 3]]]])
    rows = len(rings) - 1
    uv, faces = grid(sides, rows)
    vertices = np.stack(
        [rings[:, 1:2] * c, rings[:, 2:3] * s + rings[:, 3:4], np.repeat(rings[:, :1], sides + 1, axis=1)], axis=-1
    )
    mesh = with_normals(vertices.reshape(-1, 3), uv, faces)
    normals = mesh.normals.reshape(rows + 1, sides + 1, 3)
    seam = normals[:, 0] + normals[:, -1]
    normals[:, 0] = normals[:, -1] = seam / np.maximum(np.linalg.norm(seam, axis=1, keepdims=True), 1e-9)
    return mesh


def capsule(top: float = 1.0, sides: int = 14) -> Mesh:
    """A limb: radius 0.5 below and 0.5 * top above, rounded ends, height 1 around the origin."""
    round_off = np.linspace(0, np.pi / 2, 5)
    low = np.stack([0.5 * np.sin(round_off), -0.5 + 0.12 * (1 - np.cos(round_off))], 1)
    high = np.stack([0.5 * top * np.cos(round_off), 0.5 - 0.12 * (1 - np.sin(round_off))], 1)
    return revolution(np.concatenate([low, high]), sides)


def ring(thickness: float = 0.25, share: float = 1.0, sides: int = 20) -> Mesh:
    """A torus, or a share of one, around y: outer diameter 1, as a handle or a wheel."""
    rows = max(int(24 * share), 6)
    uv, faces = grid(10, rows)
    around, along = uv[:, 0] * 2 * np.pi, uv[:, 1] * 2 * np.pi * share
    r = 0.5 * thickness
    radius = 0.5 - r + r * np.cos(around)
    return with_normals(np.stack([radius * np.cos(along), r * np.sin(around), radius * np.sin(along)], 1), uv, faces)


def crumpled(rng: np.random.Generator, squareness: float, depth: float = 0.12) -> Mesh:
    """Bags, cloth, foil: a rounded box with creases, each facet by itself now and then."""
    mesh = superball(squareness, 28)
    direction = mesh.vertices / np.maximum(np.linalg.norm(mesh.vertices, axis=1, keepdims=True), 1e-9)
    push = np.zeros(len(direction))
    for _ in range(10):
        wave = rng.normal(size=3) * rng.uniform(2, 9)
        push += np.abs(np.sin(direction @ wave + rng.uniform(0, 6.28))) - 0.6
    vertices = mesh.vertices * (1 + depth * push[:, None] / 2)
    return flat(vertices, mesh.uv, mesh.faces) if rng.random() < 0.4 else with_normals(vertices, mesh.uv, mesh.faces)


def draped(rng: np.random.Generator) -> Mesh:
    """A sheet of cloth or paper that is not flat: unit square in x, y, heights of a few per cent."""
    u, v = np.meshgrid(np.linspace(-0.5, 0.5, 18), np.linspace(-0.5, 0.5, 18))
    height = np.zeros_like(u)
    for _ in range(4):
        a, f = rng.uniform(0, 6.28), rng.uniform(2, 14)
        height += rng.uniform(0.01, 0.12) / f * 3 * np.sin(f * (np.cos(a) * u + np.sin(a) * v) + rng.uniform(0, 6.28))
    return height_field(height - height.min())
