# SPDX-License-Identifier: GPL-3.0-or-later
"""The point cloud: a mesh of vertices with colours and errors, turned into points by Geometry Nodes."""

from __future__ import annotations

import bpy
import numpy as np
from mathutils import Matrix

from . import jobfolder, scene_objects

COLOUR_ATTRIBUTE, ERROR_ATTRIBUTE = "colour", "error_px"
_MATERIAL = "Holdfast Points"
_NODES = "Holdfast Points"


def build_points(
    scene: bpy.types.Scene,
    collection: bpy.types.Collection,
    clip: bpy.types.MovieClip,
    shot: jobfolder.Shot,
    parent: bpy.types.Object,
    uid: str,
) -> bpy.types.Object:
    """Make or renew the clip's point cloud, in the solver's frame under the parent."""
    points = shot.points
    mesh = bpy.data.meshes.new(f"{clip.name} Points")
    mesh.vertices.add(len(points.xyz))
    mesh.vertices.foreach_set("co", points.xyz.astype(np.float32).ravel())
    colour = mesh.attributes.new(COLOUR_ATTRIBUTE, "FLOAT_COLOR", "POINT")
    colour.data.foreach_set("color", linear_colours(points.rgb).ravel())
    for name, kind, values in (
        (ERROR_ATTRIBUTE, "FLOAT", points.error_px),
        ("depth_sigma", "FLOAT", points.depth_sigma),
        ("length", "INT", points.length),
        ("track", "INT", points.track),
    ):
        attribute = mesh.attributes.new(name, kind, "POINT")
        attribute.data.foreach_set("value", np.ascontiguousarray(values, np.float32 if kind == "FLOAT" else np.int32))
    mesh.color_attributes.active_color = mesh.color_attributes[COLOUR_ATTRIBUTE]
    mesh.materials.append(points_material())
    mesh.update()
    ob = scene_objects.ensure_object(scene, collection, uid, scene_objects.POINTS, f"{clip.name} Points", mesh)
    ob.parent = parent
    ob.matrix_parent_inverse = Matrix()
    ob.matrix_basis = Matrix()
    ob.hide_render = True
    modifier = ob.modifiers.get("Points") or ob.modifiers.new("Points", "NODES")
    modifier.node_group = points_nodes()
    set_radius(ob, 0.012)
    return ob


def _radius_socket(ob: bpy.types.Object) -> tuple[bpy.types.Modifier, str] | None:
    """The modifier of a point cloud and the identifier of its radius."""
    modifier = ob.modifiers.get("Points")
    if modifier is None or modifier.node_group is None:
        return None
    for item in modifier.node_group.interface.items_tree:
        if item.item_type == "SOCKET" and item.name == "Radius":
            return modifier, item.identifier
    return None


def set_radius(ob: bpy.types.Object, radius: float) -> None:
    """Size of the points in scene units."""
    found = _radius_socket(ob)
    if found:
        # Modifiers work in the object's own frame, which the parent scales.
        found[0][found[1]] = float(radius / _scale(ob))
        ob.update_tag()


def radius(ob: bpy.types.Object) -> float:
    """Size of the points in scene units."""
    found = _radius_socket(ob)
    return float(found[0][found[1]]) * _scale(ob) if found else 0.012


def _scale(ob: bpy.types.Object) -> float:
    return max(1e-9, ob.parent.matrix_basis.median_scale if ob.parent else 1.0)


def set_brightness(strength: float) -> None:
    """How bright the points shine."""
    for node in points_material().node_tree.nodes:
        if node.type == "EMISSION":
            node.inputs["Strength"].default_value = strength


def linear_colours(rgb: np.ndarray) -> np.ndarray:
    """(P, 4) scene-linear float32 of (P, 3) 8-bit sRGB."""
    value = rgb.astype(np.float32) / 255.0
    linear = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    return np.concatenate([linear, np.ones((len(rgb), 1))], 1).astype(np.float32)


def points_material() -> bpy.types.Material:
    """The material that shows the points in their own colours without needing light."""
    material = bpy.data.materials.get(_MATERIAL)
    if material is not None and not material.library:
        return material
    material = bpy.data.materials.new(_MATERIAL)
    material.use_nodes = True
    nodes, links = material.node_tree.nodes, material.node_tree.links
    nodes.clear()
    attribute = nodes.new("ShaderNodeAttribute")
    attribute.attribute_name = COLOUR_ATTRIBUTE
    emission = nodes.new("ShaderNodeEmission")
    output = nodes.new("ShaderNodeOutputMaterial")
    attribute.location, emission.location, output.location = (-400, 0), (-200, 0), (0, 0)
    links.new(attribute.outputs["Color"], emission.inputs["Color"])
    links.new(emission.outputs["Emission"], output.inputs["Surface"])
    return material


def points_nodes() -> bpy.types.GeometryNodeTree:
    """The node group: vertices to points of a radius, with the material."""
    group = bpy.data.node_groups.get(_NODES)
    if group is not None and not group.library:
        return group
    group = bpy.data.node_groups.new(_NODES, "GeometryNodeTree")
    group.is_modifier = True
    group.interface.new_socket("Geometry", in_out="INPUT", socket_type="NodeSocketGeometry")
    radius = group.interface.new_socket("Radius", in_out="INPUT", socket_type="NodeSocketFloat")
    radius.default_value, radius.min_value = 0.01, 0.0
    group.interface.new_socket("Geometry", in_out="OUTPUT", socket_type="NodeSocketGeometry")
    nodes, links = group.nodes, group.links
    start, end = nodes.new("NodeGroupInput"), nodes.new("NodeGroupOutput")
    to_points = nodes.new("GeometryNodeMeshToPoints")
    material = nodes.new("GeometryNodeSetMaterial")
    material.inputs["Material"].default_value = points_material()
    start.location, to_points.location, material.location, end.location = (-400, 0), (-200, 0), (0, 0), (200, 0)
    links.new(start.outputs["Geometry"], to_points.inputs["Mesh"])
    links.new(start.outputs["Radius"], to_points.inputs["Radius"])
    links.new(to_points.outputs["Points"], material.inputs["Geometry"])
    links.new(material.outputs["Geometry"], end.inputs["Geometry"])
    return group
