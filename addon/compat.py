# SPDX-License-Identifier: GPL-3.0-or-later
"""What differs between Blender versions, in one place."""

from __future__ import annotations

import bpy
import numpy as np

# Paths that begin with "//" must be announced as such from 4.5 on, and must not before.
PATH_OPTIONS = {"PATH_SUPPORTS_BLEND_RELATIVE"} if bpy.app.version >= (4, 5, 0) else set()

_LINEAR = 1  # number of the interpolation "LINEAR" in Blender's own enumeration


def _channels(owner: bpy.types.ID, name: str):
    """The F-curves of an ID's action, made anew (an older action of ours is emptied first)."""
    animation = owner.animation_data or owner.animation_data_create()
    action = animation.action
    if action is None:
        action = bpy.data.actions.new(name)
        animation.action = action
    elif action.users > 1:  # of a copied scene: each has its own from now on
        before = getattr(animation, "action_slot", None)
        action = animation.action = action.copy()
        if before is not None:
            animation.action_slot = action.slots.get(before.identifier)
    if not hasattr(action, "slots"):  # before 4.4
        return action.fcurves
    slot = animation.action_slot
    if slot is None:
        slot = action.slots[0] if len(action.slots) else action.slots.new(id_type=owner.id_type, name=owner.name)
        animation.action_slot = slot
    layer = action.layers[0] if len(action.layers) else action.layers.new("Layer")
    strip = layer.strips[0] if len(layer.strips) else layer.strips.new(type="KEYFRAME")
    bag = strip.channelbag(slot)
    return (bag or strip.channelbags.new(slot)).fcurves


def clear_animation(owner: bpy.types.ID, data_path: str) -> None:
    """Take away the keys of a property, if it has any."""
    if owner.animation_data is None or owner.animation_data.action is None:
        return
    curves = _channels(owner, owner.name)
    for curve in [c for c in curves if c.data_path == data_path]:
        curves.remove(curve)


def set_keys(owner: bpy.types.ID, data_path: str, frames: np.ndarray, values: np.ndarray) -> None:
    """Key a property at every frame, linear in between.

    frames: (F,) scene frames. values: (F,) for a number, (F, C) for a property of C channels. Keys it had before go.
    """
    frames = np.asarray(frames, float)
    values = np.asarray(values, float)
    columns = values[:, None] if values.ndim == 1 else values
    clear_animation(owner, data_path)
    curves = _channels(owner, owner.name)
    for index in range(columns.shape[1]):
        curve = curves.new(data_path, index=index)
        points = curve.keyframe_points
        points.add(len(frames))
        points.foreach_set("co", np.stack([frames, columns[:, index]], 1).astype(np.float32).ravel())
        points.foreach_set("interpolation", np.full(len(frames), _LINEAR, np.int32))
        curve.update()


def keyed_frames(owner: bpy.types.ID, data_path: str) -> list[float]:
    """The frames at which a property has keys."""
    if owner.animation_data is None or owner.animation_data.action is None:
        return []
    for curve in _channels(owner, owner.name):
        if curve.data_path == data_path:
            return [point.co[0] for point in curve.keyframe_points]
    return []


def strips_of(scene: bpy.types.Scene):
    """The strips of a scene's sequencer, which is made if there is none."""
    editor = scene.sequence_editor or scene.sequence_editor_create()
    return editor.strips if hasattr(editor, "strips") else editor.sequences


def use_cycles_cpu(scene: bpy.types.Scene, samples: int, bounces: int = 1) -> None:
    """Cycles on the processor, set for speed. Nothing that a build may lack (denoising) is used."""
    scene.render.engine = "CYCLES"
    cycles = scene.cycles
    cycles.device = "CPU"
    cycles.samples = samples
    cycles.use_denoising = False
    cycles.use_adaptive_sampling = False
    cycles.use_light_tree = False
    cycles.max_bounces = bounces
    cycles.diffuse_bounces = min(bounces, 1)
    cycles.glossy_bounces = bounces
    cycles.transparent_max_bounces = 4
    cycles.pixel_filter_type = "BLACKMAN_HARRIS"


def has_cycles() -> bool:
    """True where the Cycles engine can be used."""
    return "cycles" in bpy.context.preferences.addons or hasattr(bpy.types.Scene, "cycles")


def plain_view(scene: bpy.types.Scene) -> None:
    """Show values as they are: the plate must not go through a film look a second time."""
    scene.display_settings.display_device = "sRGB"
    scene.view_settings.view_transform = "Standard"
    scene.view_settings.look = "None"
    scene.view_settings.exposure = 0.0
    scene.view_settings.gamma = 1.0


def can_progress_bar(layout: bpy.types.UILayout) -> bool:
    """True where panels can show a bar."""
    return hasattr(layout, "progress")


def compositor_tree(scene: bpy.types.Scene, name: str) -> bpy.types.NodeTree:
    """The scene's compositor tree, made if there is none. From 5.0 it is a node group of its own."""
    if hasattr(scene, "compositing_node_group"):
        if scene.compositing_node_group is None:
            scene.compositing_node_group = bpy.data.node_groups.new(name, "CompositorNodeTree")
        return scene.compositing_node_group
    scene.use_nodes = True
    return scene.node_tree


def compositor_output(tree: bpy.types.NodeTree) -> bpy.types.Node:
    """The node whose first input is the composite."""
    kind = "CompositorNodeComposite" if bpy.app.version < (5, 0, 0) else "NodeGroupOutput"
    if kind == "NodeGroupOutput" and not any(
        item.item_type == "SOCKET" and item.in_out == "OUTPUT" for item in tree.interface.items_tree
    ):
        tree.interface.new_socket("Image", in_out="OUTPUT", socket_type="NodeSocketColor")
    return next((node for node in tree.nodes if node.bl_idname == kind), None) or tree.nodes.new(kind)


def alpha_over_inputs(node: bpy.types.Node) -> tuple[bpy.types.NodeSocket, bpy.types.NodeSocket]:
    """Background and foreground of an Alpha Over node."""
    if "Background" in node.inputs:
        return node.inputs["Background"], node.inputs["Foreground"]
    return node.inputs[1], node.inputs[2]


def existing_compositor_tree(scene: bpy.types.Scene) -> bpy.types.NodeTree | None:
    """The scene's compositor tree, if it has one."""
    return scene.compositing_node_group if hasattr(scene, "compositing_node_group") else scene.node_tree


def output_socket(node: bpy.types.Node, name: str) -> bpy.types.NodeSocket | None:
    """An output of a node by name, if it is there and in use."""
    socket = node.outputs.get(name)
    return socket if socket is not None and socket.enabled else None


def multiply_node(tree: bpy.types.NodeTree):
    """A node that multiplies colours: (node, factor, first, second, result). From 5.0 it is the shaders' mix node."""
    if bpy.app.version >= (5, 0, 0):
        node = tree.nodes.new("ShaderNodeMix")
        node.data_type, node.blend_type = "RGBA", "MULTIPLY"
        colours = [socket for socket in node.inputs if socket.type == "RGBA" and socket.enabled]
        result = next(socket for socket in node.outputs if socket.type == "RGBA" and socket.enabled)
        return node, multiply_factor(node), colours[0], colours[1], result
    node = tree.nodes.new("CompositorNodeMixRGB")
    node.blend_type = "MULTIPLY"
    return node, node.inputs[0], node.inputs[1], node.inputs[2], node.outputs[0]


def multiply_factor(node: bpy.types.Node) -> bpy.types.NodeSocket:
    """The factor of a `multiply_node`."""
    return next(socket for socket in node.inputs if socket.type == "VALUE" and socket.enabled)


def enable_shadows(scene: bpy.types.Scene) -> None:
    """Have EEVEE compute shadows: scenes made by scripts start without them in 4.x."""
    if hasattr(scene.eevee, "use_shadows"):
        scene.eevee.use_shadows = True
