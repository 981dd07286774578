# SPDX-License-Identifier: GPL-3.0-or-later
"""Putting things into the shot: test objects or the artist's own, on the surface seen at a pixel, upright, at the scene's
scale.
"""

from __future__ import annotations

import bmesh
import bpy
import numpy as np
from mathutils import Vector

from . import clip_frames, coordinates, scene_objects, surfaces

SIZE_OF_DEPTH = 0.10  # a test object's height, as a share of its distance: a hand's width in the picture
_WALL = 0.35  # a surface whose normal rises less than this is a wall


class DropError(Exception):
    """Nothing can be dropped there; the message says why in one line."""


def place_prop(
    scene: bpy.types.Scene,
    clip: bpy.types.MovieClip,
    kind: str | bpy.types.Object,
    xy_px: tuple[float, float],
    frame: int,
    size: float | None = None,
) -> bpy.types.Object:
    """Put a prop on the surface seen at a pixel of the footage.

    kind: "CONE", "CUBE", "CHROME", "GREY" or an object of the scene, which is moved. xy_px: px of the clip's full
    resolution, y down,
    first pixel's centre at 0.5. frame: scene frame. size: height of a test object in scene units; by default a share of
    its distance.
    Raises DropError.
    """
    point, normal = surface_at(scene, clip, xy_px, frame)
    camera = scene_objects.find(scene, clip.holdfast.uid, scene_objects.CAMERA)
    distance = float(np.linalg.norm(point - np.array(camera.matrix_world.translation)))
    if isinstance(kind, bpy.types.Object):
        ob = kind
        if ob.get(scene_objects.ROLE_KEY) is None:
            ob[scene_objects.RIDES_KEY] = clip.holdfast.uid
    else:
        ob = make_test_object(kind, size or SIZE_OF_DEPTH * distance)
        collection = scene_objects.ensure_collection(scene, clip.holdfast.uid, f"Holdfast {clip.name}")
        collection.objects.link(ob)
        scene_objects.tag(ob, clip.holdfast.uid, scene_objects.PROP)
    bpy.context.view_layer.update()
    stand_on(ob, point, normal)
    ob["holdfast_frame"], ob["holdfast_xy"] = int(frame), [float(v) for v in xy_px]
    bpy.context.view_layer.update()
    return ob


def stand_on(ob: bpy.types.Object, point: np.ndarray, normal: np.ndarray) -> None:
    """Move an object so that its lowest point rests on a surface point; beside a wall it keeps clear of it. Its turn is kept."""
    low, high = bounds([ob])
    matrix = ob.matrix_world.copy()
    matrix.translation += Vector(standing_move(low, high, point, normal))
    ob.matrix_world = matrix


def bounds(roots: list[bpy.types.Object]) -> tuple[np.ndarray, np.ndarray]:
    """Lowest and highest corner (3,) in the scene of objects with all their children; collection instances are looked into."""
    corners = []
    for root in roots:
        for ob in (root, *root.children_recursive):
            if ob.instance_type == "COLLECTION" and ob.instance_collection is not None:
                offset = ob.instance_collection.instance_offset
                for part in ob.instance_collection.all_objects:
                    if part.type not in {"EMPTY", "CAMERA", "LIGHT"}:
                        corners += [ob.matrix_world @ (part.matrix_world @ Vector(c) - offset) for c in part.bound_box]
            elif ob.type not in {"EMPTY", "CAMERA", "LIGHT"}:
                corners += [ob.matrix_world @ Vector(c) for c in ob.bound_box]
    if not corners:
        corners = [root.matrix_world.translation for root in roots]
    values = np.array(corners)
    return values.min(0), values.max(0)


def standing_move(low: np.ndarray, high: np.ndarray, point: np.ndarray, normal: np.ndarray) -> np.ndarray:
    """The move (3,) that brings the middle of a box's underside to a surface point, or beside it where that is a wall."""
    move = point - np.array([(low[0] + high[0]) / 2, (low[1] + high[1]) / 2, low[2]])
    if abs(normal[2]) < _WALL:
        level = np.array([normal[0], normal[1], 0.0])
        level /= max(1e-9, np.linalg.norm(level))
        move = move + level * float((high - low)[:2].max()) / 2
    return move


def camera_view(
    scene: bpy.types.Scene, clip: bpy.types.MovieClip, frame: int
) -> tuple[np.ndarray, tuple[float, float, float, float]]:
    """The clip's camera at a scene frame, as it stands in the scene: OpenCV world-from-camera without scale, (fx, fy, cx,
    cy) in px.
    """
    camera = scene_objects.find(scene, clip.holdfast.uid, scene_objects.CAMERA)
    if camera is None:
        raise DropError("This clip has no solved camera in this scene: solve it first")
    if scene.frame_current != frame:
        scene.frame_set(frame)
    data = camera.data
    c2w = coordinates.opencv_from_blender(np.array(camera.matrix_world.normalized()))
    # The pixel aspect of the footage, which the scene may have been kept from.
    aspect = clip.tracking.camera.pixel_aspect
    ax, ay = coordinates.pixel_aspect(1.0, aspect)
    lens = coordinates.BlenderLens(
        data.lens, data.sensor_width, data.sensor_height, data.sensor_fit, data.shift_x, data.shift_y, ax, ay
    )
    return c2w, coordinates.pixels_from_lens(lens, *clip_frames.size_of(clip))


def surface_at(
    scene: bpy.types.Scene, clip: bpy.types.MovieClip, xy_px: tuple[float, float], frame: int
) -> tuple[np.ndarray, np.ndarray]:
    """Point and normal of the surface seen at a pixel: a proxy where there is one, else the plane of the points around.
    Raises DropError.
    """
    c2w, intrinsics = camera_view(scene, clip, frame)
    lens = clip.tracking.camera
    local = coordinates.rays(np.array([xy_px], float), *intrinsics, lens.k1, lens.k2)[0]
    direction = c2w[:3, :3] @ local
    origin = c2w[:3, 3]
    found = surfaces.hit(scene, clip.holdfast.uid, origin, direction / np.linalg.norm(direction))
    if found is not None:
        return found[0], found[1]
    plane = local_plane(scene, clip, xy_px, c2w, intrinsics)
    if plane is None:
        raise DropError("Nothing was solved around this pixel: drop the prop nearer to the points")
    point, normal = plane
    along = float(normal @ direction)
    depth = float(normal @ (point - origin)) / along if abs(along) > 1e-6 else -1.0
    reference = float((point - origin) @ c2w[:3, 2])
    if not 0.5 * reference < depth < 2.0 * reference:  # seen edge-on: stay at the points' depth
        depth = reference
    return origin + depth * direction, normal


def local_plane(
    scene: bpy.types.Scene,
    clip: bpy.types.MovieClip,
    xy_px: tuple[float, float],
    c2w: np.ndarray,
    intrinsics: tuple[float, float, float, float],
) -> tuple[np.ndarray, np.ndarray] | None:
    """The plane of the solved points around a pixel: a point (3,) and its normal (3,), towards the camera. None with too
    few points.
    """
    cloud = scene_objects.find(scene, clip.holdfast.uid, scene_objects.POINTS)
    if cloud is None or not len(cloud.data.vertices):
        return None
    xyz = np.empty(3 * len(cloud.data.vertices), np.float32)
    cloud.data.vertices.foreach_get("co", xyz)
    matrix = np.array(cloud.matrix_world)
    xyz = xyz.reshape(-1, 3).astype(float) @ matrix[:3, :3].T + matrix[:3, 3]
    lens = clip.tracking.camera
    pixels, depth = coordinates.project(xyz, c2w, *intrinsics, lens.k1, lens.k2)
    distance = np.where(depth > 0, np.linalg.norm(pixels - np.asarray(xy_px), axis=1), np.inf)
    near = np.argsort(distance)[:24]
    width = clip_frames.size_of(clip)[0]
    near = near[distance[near] < 0.15 * width]
    if len(near) < 3:
        return None
    middle = float(np.median(depth[near[:7]]))
    near = near[np.abs(depth[near] / middle - 1.0) < 0.12]
    weight = np.exp(-0.5 * (distance[near] / (0.04 * width)) ** 2) + 1e-3
    centre = (xyz[near] * weight[:, None]).sum(0) / weight.sum()
    towards = c2w[:3, 3] - centre
    towards /= np.linalg.norm(towards)
    normal = towards
    if len(near) >= 6:
        spread, axes = np.linalg.svd((xyz[near] - centre) * np.sqrt(weight / weight.sum())[:, None], full_matrices=False)[1:]
        if spread[1] > 0.01 * middle and spread[2] < 0.35 * spread[1]:
            normal = axes[2] if axes[2] @ towards > 0 else -axes[2]
    return centre, normal


# ---- test objects


def make_test_object(kind: str, size: float) -> bpy.types.Object:
    """A test object of a height, its origin at the foot. kind: CONE, CUBE, CHROME or GREY."""
    names = {"CONE": "Cone", "CUBE": "Checker Cube", "CHROME": "Chrome Ball", "GREY": "Grey Ball"}
    if kind not in names:
        raise DropError(f"There is no test object called {kind}")
    shape = bmesh.new()
    if kind == "CONE":
        bmesh.ops.create_cone(shape, cap_ends=True, segments=48, radius1=0.32 * size, radius2=0.0, depth=size)
    elif kind == "CUBE":
        bmesh.ops.create_cube(shape, size=size, calc_uvs=False)
    else:
        bmesh.ops.create_uvsphere(shape, u_segments=48, v_segments=24, radius=0.5 * size)
    bmesh.ops.translate(shape, verts=shape.verts, vec=(0.0, 0.0, 0.5 * size))
    mesh = bpy.data.meshes.new(f"Holdfast {names[kind]}")
    shape.to_mesh(mesh)
    shape.free()
    if kind in {"CHROME", "GREY"}:
        mesh.polygons.foreach_set("use_smooth", np.ones(len(mesh.polygons), bool))
    mesh.materials.append(_material(kind, names[kind]))
    return bpy.data.objects.new(names[kind], mesh)


def _material(kind: str, name: str) -> bpy.types.Material:
    """The material of a test object; patterns follow the object's own box, so that they scale with it."""
    material = bpy.data.materials.get(f"Holdfast {name}")
    if material is not None and not material.library:
        return material
    material = bpy.data.materials.new(f"Holdfast {name}")
    material.use_nodes = True
    nodes, links = material.node_tree.nodes, material.node_tree.links
    shader = next(node for node in nodes if node.type == "BSDF_PRINCIPLED")
    shader.inputs["Roughness"].default_value = 0.6
    if kind == "CHROME":
        shader.inputs["Base Color"].default_value = (0.9, 0.9, 0.9, 1.0)
        shader.inputs["Metallic"].default_value = 1.0
        shader.inputs["Roughness"].default_value = 0.03
    elif kind == "GREY":
        shader.inputs["Base Color"].default_value = (0.18, 0.18, 0.18, 1.0)
    else:
        place = nodes.new("ShaderNodeTexCoord")
        if kind == "CUBE":
            pattern = nodes.new("ShaderNodeTexChecker")
            pattern.inputs["Scale"].default_value = 4.0
            colours = ((0.85, 0.85, 0.82, 1.0), (0.03, 0.12, 0.35, 1.0))
        else:
            pattern = nodes.new("ShaderNodeTexChecker")
            # One square across, five up: rings.
            squash = nodes.new("ShaderNodeMapping")
            squash.inputs["Scale"].default_value = (0.0, 0.0, 1.0)
            squash.inputs["Location"].default_value = (0.1, 0.1, 0.001)
            links.new(place.outputs["Generated"], squash.inputs["Vector"])
            pattern.inputs["Scale"].default_value = 5.0
            colours = ((0.9, 0.9, 0.9, 1.0), (0.85, 0.16, 0.01, 1.0))
        links.new((squash.outputs["Vector"] if kind == "CONE" else place.outputs["Generated"]), pattern.inputs["Vector"])
        pattern.inputs["Color1"].default_value, pattern.inputs["Color2"].default_value = colours
        links.new(pattern.outputs["Color"], shader.inputs["Base Color"])
    return material
