# SPDX-License-Identifier: GPL-3.0-or-later
"""The proxies' material. In Cycles it is a plain grey, the object's shadow catcher does the rest. EEVEE has no shadow catcher:
there the material is a holdout that turns black where light is missing.

Missing is what the scene's lamps would give a white surface without anything in the way, less what EEVEE finds to arrive there.
Suns, points, spots (as points) and areas (as small ones) are reckoned with, and a world of one colour.
"""

from __future__ import annotations

import json

import bpy
import numpy as np

from . import scene_objects

_LIGHTS_KEY = "holdfast_lights"  # on the material: the lamps it was made for
_NAME = "Holdfast Proxy"
STRENGTH_NODE = "Holdfast Shadow Strength"
_DEAD = 0.06  # shadow below this is EEVEE's own noise
_PI = float(np.pi)


def ensure(scene: bpy.types.Scene, uid: str) -> bpy.types.Material:
    """The material of a clip's proxies, for the lamps of a scene."""
    material = next((m for m in bpy.data.materials if m.get(scene_objects.CLIP_KEY) == uid and not m.library), None)
    if material is None:
        material = bpy.data.materials.new(_NAME)
        material[scene_objects.CLIP_KEY] = uid
        material.use_nodes = True
        material.diffuse_color = (0.3, 0.3, 0.3, 0.0)  # not seen in Solid shading
    refresh(scene, material)
    return material


def refresh_scene(scene: bpy.types.Scene) -> None:
    """Make the proxies of a scene fit its lamps again."""
    for material in _materials_of(scene):
        refresh(scene, material)


def _materials_of(scene: bpy.types.Scene) -> set[bpy.types.Material]:
    roles = {scene_objects.GROUND, scene_objects.PROXY}
    return {
        slot.material
        for ob in scene.objects
        if ob.get(scene_objects.ROLE_KEY) in roles
        for slot in ob.material_slots
        if slot.material is not None and scene_objects.CLIP_KEY in slot.material and not slot.material.library
    }


def set_strength(scene: bpy.types.Scene, strength: float) -> None:
    """How dark shadows on the proxies are in EEVEE, 0 to 1."""
    for material in _materials_of(scene):
        node = material.node_tree.nodes.get(STRENGTH_NODE)
        if node is not None:
            node.outputs[0].default_value = strength


def lamps(scene: bpy.types.Scene) -> list[dict]:
    """What lights a scene: kind, place or direction to the lamp, and the radiance it gives a white surface (at 1 m, face on)."""
    out = []
    for ob in scene.objects:
        if ob.type != "LIGHT" or ob.hide_render:
            continue
        lamp = ob.data
        energy = lamp.energy * float(np.mean(lamp.color)) * 2.0 ** getattr(lamp, "exposure", 0.0)
        matrix = ob.matrix_world
        back = matrix.to_3x3().col[2].normalized()  # lamps shine along -z
        if lamp.type == "SUN":
            out.append({"kind": "SUN", "vector": _rounded(back), "gain": round(energy / _PI, 5)})
        else:
            gain = energy / (_PI * _PI * (1.0 if lamp.type == "AREA" else 4.0))
            out.append(
                {"kind": lamp.type, "vector": _rounded(matrix.translation), "axis": _rounded(back), "gain": round(gain, 5)}
            )
    return out


def _rounded(vector) -> list[float]:
    return [round(float(v), 4) for v in vector]


def world_radiance(scene: bpy.types.Scene) -> float:
    """Radiance of a world of one colour; 0 for any other, whose light then only hides shadows."""
    world = scene.world
    if world is None:
        return 0.0
    tree = world.node_tree
    background = next((n for n in tree.nodes if n.type == "BACKGROUND"), None) if tree is not None else None
    if background is None:
        return float(np.mean(world.color))
    if background.inputs["Color"].is_linked:
        return 0.0
    return float(np.mean(background.inputs["Color"].default_value[:3])) * float(background.inputs["Strength"].default_value)


def refresh(scene: bpy.types.Scene, material: bpy.types.Material) -> None:
    """Build the nodes for a scene's lamps, if they are not those it was built for."""
    found = {"lamps": lamps(scene), "world": round(world_radiance(scene), 5)}
    text = json.dumps(found)
    if material.get(_LIGHTS_KEY) == text:
        return
    material[_LIGHTS_KEY] = text
    tree = material.node_tree
    tree.nodes.clear()
    build = _Builder(tree)
    diffuse = build.add("ShaderNodeBsdfDiffuse")
    diffuse.inputs["Color"].default_value = (0.3, 0.3, 0.3, 1.0)
    build.output("CYCLES", diffuse.outputs[0], 300)

    white = build.add("ShaderNodeBsdfDiffuse")
    white.inputs["Color"].default_value = (1.0, 1.0, 1.0, 1.0)
    seen = build.add("ShaderNodeShaderToRGB")
    grey = build.add("ShaderNodeRGBToBW")
    build.link(white.outputs[0], seen.inputs[0])
    build.link(seen.outputs[0], grey.inputs[0])
    geometry = build.add("ShaderNodeNewGeometry")
    full = build.value(max(found["world"], 1e-6))
    for lamp in found["lamps"]:
        full = build.math("ADD", full, build.lamp(lamp, geometry))
    missing = build.math("DIVIDE", build.math("SUBTRACT", full, grey.outputs[0]), full)
    missing = build.math("DIVIDE", build.math("SUBTRACT", missing, _DEAD), 1.0 - _DEAD, clamp=True)
    strength = build.add("ShaderNodeValue")
    strength.name = strength.label = STRENGTH_NODE
    strength.outputs[0].default_value = scene.holdfast.shadow_strength
    shadow = build.math("MULTIPLY", missing, strength.outputs[0], clamp=True)
    hole, black, mix = build.add("ShaderNodeHoldout"), build.add("ShaderNodeEmission"), build.add("ShaderNodeMixShader")
    black.inputs["Color"].default_value = (0.0, 0.0, 0.0, 1.0)
    black.inputs["Strength"].default_value = 0.0
    build.link(shadow, mix.inputs[0])
    build.link(hole.outputs[0], mix.inputs[1])
    build.link(black.outputs[0], mix.inputs[2])
    build.output("EEVEE", mix.outputs[0], 0)


class _Builder:
    """Adds nodes to a tree from left to right."""

    def __init__(self, tree: bpy.types.NodeTree) -> None:
        self.tree, self.x = tree, -2400.0

    def add(self, kind: str) -> bpy.types.Node:
        node = self.tree.nodes.new(kind)
        node.location = (self.x, -200.0 * (len(self.tree.nodes) % 4))
        self.x += 60.0
        return node

    def link(self, source: bpy.types.NodeSocket, target: bpy.types.NodeSocket) -> None:
        self.tree.links.new(source, target)

    def value(self, number: float) -> bpy.types.NodeSocket:
        node = self.add("ShaderNodeValue")
        node.outputs[0].default_value = number
        return node.outputs[0]

    def output(self, target: str, surface: bpy.types.NodeSocket, y: float) -> None:
        node = self.add("ShaderNodeOutputMaterial")
        node.target, node.location = target, (400, y)
        self.link(surface, node.inputs["Surface"])

    def math(self, operation: str, a, b=None, clamp: bool = False) -> bpy.types.NodeSocket:
        node = self.add("ShaderNodeMath")
        node.operation, node.use_clamp = operation, clamp
        for socket, value in zip(node.inputs, (a, b)):
            if isinstance(value, bpy.types.NodeSocket):
                self.link(value, socket)
            elif value is not None:
                socket.default_value = value
        return node.outputs[0]

    def vector(self, operation: str, a, b=None) -> bpy.types.Node:
        node = self.add("ShaderNodeVectorMath")
        node.operation = operation
        for socket, value in zip(node.inputs, (a, b)):
            if isinstance(value, bpy.types.NodeSocket):
                self.link(value, socket)
            elif value is not None:
                socket.default_value = value
        return node

    def lamp(self, lamp: dict, geometry: bpy.types.Node) -> bpy.types.NodeSocket:
        """Radiance of a white surface under one lamp, nothing in the way."""
        normal, place = geometry.outputs["Normal"], geometry.outputs["Position"]
        if lamp["kind"] == "SUN":
            facing = self.vector("DOT_PRODUCT", normal, lamp["vector"]).outputs["Value"]
            return self.math("MULTIPLY", self.math("MAXIMUM", facing, 0.0), lamp["gain"])
        towards = self.vector("SUBTRACT", None, place)
        towards.inputs[0].default_value = lamp["vector"]
        level = self.vector("NORMALIZE", towards.outputs[0]).outputs[0]
        facing = self.math("MAXIMUM", self.vector("DOT_PRODUCT", normal, level).outputs["Value"], 0.0)
        if lamp["kind"] == "AREA":  # an area shines most straight ahead
            ahead = self.math("MAXIMUM", self.vector("DOT_PRODUCT", level, lamp["axis"]).outputs["Value"], 0.0)
            facing = self.math("MULTIPLY", facing, ahead)
        distance = self.vector("LENGTH", towards.outputs[0]).outputs["Value"]
        falloff = self.math("DIVIDE", lamp["gain"], self.math("MULTIPLY", distance, distance))
        return self.math("MULTIPLY", facing, falloff)


# ---- keeping up with the lamps


@bpy.app.handlers.persistent
def _on_update(scene: bpy.types.Scene, depsgraph=None) -> None:
    """A lamp or the world changed: make the proxies fit, once Blender has finished with it. Must be cheap."""
    if depsgraph is None or scene.holdfast.clip is None or bpy.app.background:
        return
    for update in depsgraph.updates:
        changed = update.id
        if isinstance(changed, (bpy.types.Light, bpy.types.World)) or (
            isinstance(changed, bpy.types.Object) and changed.type == "LIGHT"
        ):
            if not bpy.app.timers.is_registered(_refresh_all):
                bpy.app.timers.register(_refresh_all, first_interval=0.2)
            return


def _refresh_all() -> None:
    for scene in bpy.data.scenes:
        if scene.holdfast.clip is not None and not scene.library:
            refresh_scene(scene)


def register() -> None:
    bpy.app.handlers.depsgraph_update_post.append(_on_update)


def unregister() -> None:
    if _on_update in bpy.app.handlers.depsgraph_update_post:
        bpy.app.handlers.depsgraph_update_post.remove(_on_update)
    if bpy.app.timers.is_registered(_refresh_all):
        bpy.app.timers.unregister(_refresh_all)
