# SPDX-License-Identifier: GPL-3.0-or-later
"""Proxy surfaces: light meshes where the shot's surfaces are, made from the keyframes' depth, to drop props on and catch shadows.

A single-image depth map is a few percent wrong over whole regions, the solved points are not: each map is first bent smoothly so
that it goes through the points around, which is what makes a prop on the surface hold fast.
"""

from __future__ import annotations

import bpy
import numpy as np
from mathutils import Matrix, Vector
from mathutils.bvhtree import BVHTree

from . import coordinates, jobfolder, proxy_material, scene_objects

GRID_COLUMNS = 96  # vertices across one proxy
MAX_PROXIES = 3
_EDGE_RATIO = 1.10  # neighbours further apart in depth than this belong to different surfaces
_SAME_SURFACE = 0.25  # in log: two keyframes' depths of one surface differ by less
_PROXY_ROLES = (scene_objects.GROUND, scene_objects.PROXY)


def build_surfaces(
    scene: bpy.types.Scene,
    collection: bpy.types.Collection,
    clip: bpy.types.MovieClip,
    shot: jobfolder.Shot,
    parent: bpy.types.Object,
    uid: str,
    has_ground: bool,
    meshes: dict[int, tuple[np.ndarray, np.ndarray]] | None = None,
) -> list[bpy.types.Object]:
    """Make or renew the ground plane and the proxies of a clip, in the solver's frame under the parent.

    meshes: `depth_meshes` under the parent's matrix, where they are known already.
    """
    scene_objects.remove(scene, uid, *_PROXY_ROLES)
    made = []
    world_from_scene = np.linalg.inv(np.array(parent.matrix_world))
    if has_ground:
        corners = _ground_corners(shot, np.array(parent.matrix_world))
        mesh = bpy.data.meshes.new(f"{clip.name} Ground")
        local = corners @ world_from_scene[:3, :3].T + world_from_scene[:3, 3]
        mesh.from_pydata(local.tolist(), [], [(0, 1, 2, 3)])
        made.append(_proxy(scene, collection, uid, scene_objects.GROUND, f"{clip.name} Ground", mesh, parent))
    if meshes is None:
        meshes = depth_meshes(shot, np.array(parent.matrix_world), has_ground)
    for number, (vertices, faces) in meshes.items():
        mesh = bpy.data.meshes.new(f"{clip.name} Proxy")
        _fill(mesh, vertices, faces)
        made.append(_proxy(scene, collection, uid, scene_objects.PROXY, f"{clip.name} Proxy {number}", mesh, parent))
    bpy.context.view_layer.update()
    return made


def _proxy(
    scene: bpy.types.Scene,
    collection: bpy.types.Collection,
    uid: str,
    role: str,
    name: str,
    mesh: bpy.types.Mesh,
    parent: bpy.types.Object,
) -> bpy.types.Object:
    """An object that catches shadows and stays out of the artist's way."""
    ob = bpy.data.objects.new(name, mesh)
    scene_objects.tag(ob, uid, role)
    collection.objects.link(ob)
    ob.parent = parent
    ob.matrix_parent_inverse = Matrix()
    ob.is_shadow_catcher = True
    ob.visible_shadow = role == scene_objects.GROUND  # the footage has the shadows of what the proxies stand for already
    # Seen through in Solid shading: faces that are there for snapping (which skips bounds and wires) and not for the eye.
    ob.display_type, ob.color = "TEXTURED", (1.0, 1.0, 1.0, 0.0)
    ob.hide_select = True  # still hit by snapping and by ray casts
    mesh.materials.append(proxy_material.ensure(scene, uid))
    return ob


def _fill(mesh: bpy.types.Mesh, vertices: np.ndarray, faces: np.ndarray) -> None:
    """Vertices (V, 3) and quads (Q, 4) into an empty mesh, without Python loops."""
    mesh.vertices.add(len(vertices))
    mesh.vertices.foreach_set("co", vertices.astype(np.float32).ravel())
    mesh.loops.add(faces.size)
    mesh.loops.foreach_set("vertex_index", faces.astype(np.int32).ravel())
    mesh.polygons.add(len(faces))
    mesh.polygons.foreach_set("loop_start", np.arange(0, faces.size, 4, dtype=np.int32))
    mesh.update(calc_edges=True)
    mesh.validate()


def _ground_corners(shot: jobfolder.Shot, scene_from_world: np.ndarray) -> np.ndarray:
    """Corners (4, 3) in the scene of a ground at z = 0 that covers what the shot sees, with a margin."""
    seen = shot.points.xyz @ scene_from_world[:3, :3].T + scene_from_world[:3, 3]
    centres = shot.c2w[:, :3, 3] @ scene_from_world[:3, :3].T + scene_from_world[:3, 3]
    low = np.minimum(np.quantile(seen[:, :2], 0.02, 0) if len(seen) else centres[:, :2].min(0), centres[:, :2].min(0))
    high = np.maximum(np.quantile(seen[:, :2], 0.98, 0) if len(seen) else centres[:, :2].max(0), centres[:, :2].max(0))
    margin = 0.5 * max(1e-3, float((high - low).max()))
    (x0, y0), (x1, y1) = low - margin, high + margin
    return np.array([(x0, y0, 0.0), (x1, y0, 0.0), (x1, y1, 0.0), (x0, y1, 0.0)])


# ---- from depth maps to meshes


def depth_meshes(
    shot: jobfolder.Shot, scene_from_world: np.ndarray, has_ground: bool
) -> dict[int, tuple[np.ndarray, np.ndarray]]:
    """Keyframe number -> vertices and quads of its depth (see `depth_mesh`), for the keyframes that cover the shot.

    What a keyframe before shows already is left out: two layers of one surface, each wrong in its own way, would cut what stands
    on either.
    """
    out, before = {}, []
    for number in covering_keyframes(shot):
        vertices, faces = depth_mesh(shot, number, scene_from_world if has_ground else None)
        there = np.zeros(len(vertices), bool)
        for earlier in before:
            there |= _shown_in(shot, earlier, vertices)
        before.append(number)
        vertices, faces = _used(vertices, faces[~there[faces].all(1)])
        if len(faces):
            out[number] = (vertices, faces)
    return out


def _shown_in(shot: jobfolder.Shot, number: int, vertices: np.ndarray) -> np.ndarray:
    """Which vertices (V, 3) lie on (or near to) the surface that a keyframe's depth shows in their place."""
    index = shot.index_of(number)
    depth, _ = jobfolder.read_depth(shot.depth_files[number])
    where, z = coordinates.project(vertices, shot.c2w[index], *shot.intrinsics[index])
    h, w = depth.shape
    column, row = (np.nan_to_num(where) / (shot.width, shot.height) * (w, h)).astype(int).T
    inside = (z > 0) & (where > 0).all(1) & (where < (shot.width, shot.height)).all(1)
    shown = depth[np.clip(row, 0, h - 1), np.clip(column, 0, w - 1)]
    with np.errstate(invalid="ignore", divide="ignore"):
        return inside & (np.abs(np.log(z / shown)) < _SAME_SURFACE)


def _used(vertices: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The vertices that faces (Q, 4) use, and the faces by their new numbers."""
    used, inverse = np.unique(faces, return_inverse=True)
    return vertices[used], inverse.reshape(-1, 4)


def covering_keyframes(shot: jobfolder.Shot, most: int = MAX_PROXIES) -> list[int]:
    """Numbers of a few keyframes that together see what the shot sees: the middle one, then those that add most."""
    numbers = [n for n in shot.depth_files if n in shot.numbers]
    if not numbers:
        return []
    chosen = [min(numbers, key=lambda n: abs(n - shot.numbers[shot.middle]))]
    points = shot.points.xyz
    if len(points) < 20:
        return chosen
    seen = {n: _visible(shot, n, points) for n in numbers}
    covered = seen[chosen[0]].copy()
    while len(chosen) < most:
        best = max(numbers, key=lambda n: int((seen[n] & ~covered).sum()))
        if (seen[best] & ~covered).sum() < 0.1 * len(points):
            break
        chosen.append(best)
        covered |= seen[best]
    return chosen


def _visible(shot: jobfolder.Shot, number: int, points: np.ndarray) -> np.ndarray:
    """Which points (P,) fall into a frame's picture."""
    index = shot.index_of(number)
    pixels, depth = coordinates.project(points, shot.c2w[index], *shot.intrinsics[index])
    return (depth > 0) & (pixels[:, 0] > 0) & (pixels[:, 1] > 0) & (pixels[:, 0] < shot.width) & (pixels[:, 1] < shot.height)


def depth_mesh(shot: jobfolder.Shot, number: int, scene_from_world: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """A keyframe's depth as a mesh: vertices (V, 3) in world, quads (Q, 4). It is cut where depth jumps.

    scene_from_world: if given, parts that lie on the ground (z near 0 in the scene) are left out: the ground plane is there.
    """
    index = shot.index_of(number)
    depth, _ = jobfolder.read_depth(shot.depth_files[number])
    pixels, depth = _sample_grid(shot, depth)
    depth = bend_to_points(shot, index, pixels, depth)
    directions = coordinates.rays(pixels.reshape(-1, 2), *shot.intrinsics[index])
    world = (directions * depth.reshape(-1, 1)) @ shot.c2w[index][:3, :3].T + shot.c2w[index][:3, 3]
    rows, cols = depth.shape
    ids = np.arange(rows * cols).reshape(rows, cols)
    quads = np.stack([ids[:-1, :-1], ids[1:, :-1], ids[1:, 1:], ids[:-1, 1:]], -1).reshape(-1, 4)
    corner = depth.ravel()[quads]
    with np.errstate(invalid="ignore"):
        keep = np.isfinite(corner).all(1) & (
            np.nanmax(np.where(np.isfinite(corner), corner, 0), 1)
            < _EDGE_RATIO * np.nanmin(np.where(np.isfinite(corner), corner, np.inf), 1)
        )
    if scene_from_world is not None:
        scale = np.cbrt(np.linalg.det(scene_from_world[:3, :3]))
        height = (world @ scene_from_world[:3, :3].T + scene_from_world[:3, 3])[:, 2]
        on_ground = np.abs(height) < 0.03 * scale * depth.ravel()
        keep &= ~on_ground[quads].all(1) & ~(height[quads] < 0).all(1)
    return _used(world, quads[keep])


def _sample_grid(shot: jobfolder.Shot, depth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Image points (r, c, 2) px of a coarse grid that reaches the image's border, and the depth (r, c) there."""
    cols = GRID_COLUMNS
    rows = max(2, round(cols * shot.height / shot.width))
    x, y = np.meshgrid(np.linspace(0, shot.width, cols), np.linspace(0, shot.height, rows))
    pixels = np.stack([x, y], -1)
    h, w = depth.shape
    # Nearest texel: interpolating across an edge would make surfaces that are not there.
    column = np.clip((x / shot.width * w).astype(int), 0, w - 1)
    row = np.clip((y / shot.height * h).astype(int), 0, h - 1)
    return pixels, depth[row, column]


def bend_to_points(shot: jobfolder.Shot, index: int, pixels: np.ndarray, depth: np.ndarray) -> np.ndarray:
    """Correct a depth grid (r, c) at image points (r, c, 2) so that it passes through the solved points near by.

    The log ratio of point depth to map depth is averaged with weights that fall with distance in the picture (a twelfth of its
    width) and with disagreement; where there are no points the map stays as it is.
    """
    points = shot.points.xyz
    where, z = coordinates.project(points, shot.c2w[index], *shot.intrinsics[index])
    inside = _visible(shot, int(shot.numbers[index]), points)
    if inside.sum() < 5:
        return depth
    where, z = where[inside], z[inside]
    rows, cols = depth.shape
    row = np.clip(np.rint(where[:, 1] / shot.height * (rows - 1)).astype(int), 0, rows - 1)
    col = np.clip(np.rint(where[:, 0] / shot.width * (cols - 1)).astype(int), 0, cols - 1)
    ratio = np.log(z / depth[row, col])
    good = np.isfinite(ratio)
    where, ratio = where[good], ratio[good]
    if len(ratio) < 5:
        return depth
    centre = np.median(ratio)
    spread = max(0.02, 1.4826 * float(np.median(np.abs(ratio - centre))))
    trust = 1.0 / (1.0 + ((ratio - centre) / (2.0 * spread)) ** 2)  # points on another surface than the map's texel
    if len(ratio) > 1500:
        pick = np.random.default_rng(0).choice(len(ratio), 1500, replace=False)
        where, ratio, trust = where[pick], ratio[pick], trust[pick]
    reach = shot.width / 12.0
    step = 4  # the correction is smooth: found on a coarser grid, then interpolated
    coarse = pixels[::step, ::step]
    distance2 = ((coarse[:, :, None] - where) ** 2).sum(-1)
    weight = np.exp(-0.5 * distance2 / reach**2) * trust
    correction = (weight * ratio).sum(-1) / (weight.sum(-1) + 0.3)
    r = np.linspace(0, (rows - 1) / step, rows).clip(0, coarse.shape[0] - 1)
    c = np.linspace(0, (cols - 1) / step, cols).clip(0, coarse.shape[1] - 1)
    return depth * np.exp(_bilinear(correction, r, c))


def _bilinear(grid: np.ndarray, rows: np.ndarray, cols: np.ndarray) -> np.ndarray:
    """Values of a grid at the outer product of fractional rows and columns."""
    r0 = np.minimum(rows.astype(int), max(0, grid.shape[0] - 2))
    c0 = np.minimum(cols.astype(int), max(0, grid.shape[1] - 2))
    r1, c1 = np.minimum(r0 + 1, grid.shape[0] - 1), np.minimum(c0 + 1, grid.shape[1] - 1)
    fr, fc = (rows - r0)[:, None], (cols - c0)[None]
    return (1 - fr) * ((1 - fc) * grid[np.ix_(r0, c0)] + fc * grid[np.ix_(r0, c1)]) + fr * (
        (1 - fc) * grid[np.ix_(r1, c0)] + fc * grid[np.ix_(r1, c1)]
    )


# ---- rays


def hit(
    scene: bpy.types.Scene, uid: str, origin: np.ndarray, direction: np.ndarray
) -> tuple[np.ndarray, np.ndarray, bpy.types.Object] | None:
    """First surface of a clip along a ray of the scene: point (3,), normal (3,) towards the ray's origin, and the object."""
    best = None
    for role in _PROXY_ROLES:
        for ob in scene_objects.tagged(scene, uid, role):
            inverse = ob.matrix_world.inverted()
            start = inverse @ Vector(origin)
            along = (inverse.to_3x3() @ Vector(direction)).normalized()
            place, normal = _ray_cast(ob, start, along)
            if place is None:
                continue
            point = np.array(ob.matrix_world @ place)
            distance = float(np.linalg.norm(point - origin))
            if best is None or distance < best[0]:
                out = np.array((ob.matrix_world.inverted().transposed().to_3x3() @ normal).normalized())
                best = (distance, point, out if out @ direction < 0 else -out, ob)
    return None if best is None else best[1:]


def _ray_cast(ob: bpy.types.Object, start: Vector, along: Vector) -> tuple[Vector | None, Vector | None]:
    """First point and its normal of an object along a ray of its own frame."""
    try:
        found, place, normal, _ = ob.ray_cast(start, along)
    except RuntimeError:  # in a scene no window shows, nothing is evaluated
        mesh = ob.data
        tree = BVHTree.FromPolygons([v.co for v in mesh.vertices], [tuple(p.vertices) for p in mesh.polygons])
        place, normal, _, _ = tree.ray_cast(start, along)
        return place, normal
    return (place, normal) if found else (None, None)
