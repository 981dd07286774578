# SPDX-License-Identifier: GPL-3.0-or-later
"""Compositing in one click: the pinhole render with its shadows, bent by the lens as the footage is, over the untouched plate.

Blender's Movie Distortion node shifts the plate by about a pixel in some versions; a map of our own, looked up by the Map UV
node, does not. The plate is never resampled. Under barrel distortion the corners of the plate lie outside of what the camera
sees: then a second scene renders more than the frame (its camera follows the shot's, its set is the shot's scene), so that
nothing is cut off. Cycles' shadow catcher comes as a pass of its own and is multiplied onto the plate; in EEVEE the shadows are
in the render's alpha (see `proxy_material`).
"""

from __future__ import annotations

import contextlib
from pathlib import Path

import bpy
import numpy as np
from mathutils import Matrix

from . import clip_frames, compat, importer, pictures, props, proxy_material, rolling_shutter, scene_objects

GROUP_NAME = "Holdfast Composite"
SHADOW_NODE = "Holdfast Shadows"
_MARK = "holdfast"  # on nodes: made by us
_OVERSCAN_OF = "holdfast_overscan_of"  # on the wider scene: the shot's scene
_OVERSCAN = "holdfast_overscan"  # and how many times as much it sees in each direction


def distortion_map(places: np.ndarray, scale: float) -> np.ndarray:
    """(H, W, 4) float32, bottom row first: where each pixel of the plate lies in a render that sees `scale` times as much in each
    direction, as fractions of its sides from the bottom left; blue and alpha are 1 inside the render and 0 outside.

    places (H, W, 2) px: see `pictures.undistorted_places`.
    """
    height, width = places.shape[:2]
    out = np.ones((height, width, 4), np.float32)
    out[..., 0] = 0.5 + (places[..., 0] / width - 0.5) / scale
    out[..., 1] = 0.5 - (places[..., 1] / height - 0.5) / scale
    out[..., 2] = ((out[..., :2] >= 0.0) & (out[..., :2] <= 1.0)).all(-1)
    return np.ascontiguousarray(out[::-1])


def save_map(pixels: np.ndarray, path: Path, name: str) -> bpy.types.Image:
    """Write a map (bottom row first) as a 32-bit EXR and give it back as an image of this file."""
    old = bpy.data.images.get(name)
    if old is not None:
        bpy.data.images.remove(old)
    height, width = pixels.shape[:2]
    image = bpy.data.images.new(name, width, height, alpha=True, float_buffer=True, is_data=True)
    image.pixels.foreach_set(pixels.ravel())
    image.use_half_precision = False  # halves place a pixel no better than one in a thousand
    image.file_format = "OPEN_EXR"
    path.parent.mkdir(parents=True, exist_ok=True)
    image.filepath_raw = str(path)
    image.save()
    image.source = "FILE"
    image.filepath_raw = importer.relative_path(path)
    return image


def set_up(scene: bpy.types.Scene, clip: bpy.types.MovieClip, folder: Path) -> bpy.types.NodeTree:
    """Wire the scene's compositor: what was in it before stays beside, unconnected. Returns the node tree.

    folder: where the map of the lens goes. The film becomes transparent and the view plain, so that the plate comes out as it is.
    Raises DropError where the clip has no camera in this scene.
    """
    intrinsics = props.camera_view(scene, clip, scene.frame_current)[1]
    tree = compat.compositor_tree(scene, GROUP_NAME)
    ours = [node for node in tree.nodes if node.get(_MARK)]
    if not ours and rolling_shutter.row_time_of(clip):
        scene.holdfast.rolling_shutter = True  # the first time: what the artist sets afterwards stays
    for node in ours:
        tree.nodes.remove(node)
    scene.render.film_transparent = True
    scene.render.use_compositing = True
    compat.enable_shadows(scene)
    compat.plain_view(scene)
    proxy_material.refresh_scene(scene)
    lens = clip.tracking.camera
    source, places, scale = scene, None, 1.0
    if lens.k1 or lens.k2:
        size = clip_frames.size_of(clip)
        places = pictures.undistorted_places(*size, intrinsics, lens.k1, lens.k2)
        scale = pictures.overscan(places, *size)
    if scale > 1.0:
        source = wider_scene(scene, clip, scale)
    else:
        remove_wider_scene(scene)
    for layer in source.view_layers:
        if hasattr(layer, "cycles"):
            layer.cycles.use_pass_shadow_catcher = True
    render = _node(tree, "CompositorNodeRLayers", (-900, 200))
    render.scene = source
    front, shadow = render.outputs["Image"], compat.output_socket(render, "Shadow Catcher")
    plate = _node(tree, "CompositorNodeMovieClip", (-900, -300))
    plate.clip = clip
    back = plate.outputs["Image"]
    if places is not None:
        image = _node(tree, "CompositorNodeImage", (-900, -50))
        image.image = save_map(distortion_map(places, scale), folder / "redistort.exr", f"{clip.name} Redistort")
        front = _bend(tree, front, image.outputs["Image"], (-600, 200))
        shadow = _bend(tree, shadow, image.outputs["Image"], (-600, 0)) if shadow is not None else None
    if shadow is not None:
        darken, factor, first, second, result = compat.multiply_node(tree)
        darken[_MARK], darken.name, darken.label, darken.location = True, SHADOW_NODE, "Shadows", (-300, -150)
        tree.links.new(back, first)
        tree.links.new(shadow, second)
        back = result
    over = _node(tree, "CompositorNodeAlphaOver", (-50, 0))
    back_socket, front_socket = compat.alpha_over_inputs(over)
    tree.links.new(back, back_socket)
    tree.links.new(front, front_socket)
    end = compat.compositor_output(tree)
    end.location = (200, 0)
    tree.links.new(over.outputs["Image"], end.inputs[0])
    set_strength(scene, scene.holdfast.shadow_strength)
    follow_settings(scene)
    return tree


def set_strength(scene: bpy.types.Scene, strength: float) -> None:
    """How much of the shadow pass is multiplied onto the plate: none of it in EEVEE, which has no such pass."""
    tree = compat.existing_compositor_tree(scene)
    node = tree.nodes.get(SHADOW_NODE) if tree is not None else None
    if node is not None:
        compat.multiply_factor(node).default_value = strength if scene.render.engine == "CYCLES" else 0.0


def _bend(tree, socket, uv, place: tuple[float, float]) -> bpy.types.NodeSocket:
    """A picture looked up through the map of the lens."""
    bend = _node(tree, "CompositorNodeMapUV", place)
    tree.links.new(socket, bend.inputs["Image"])
    tree.links.new(uv, bend.inputs["UV"])
    return bend.outputs["Image"]


def _node(tree: bpy.types.NodeTree, kind: str, place: tuple[float, float]) -> bpy.types.Node:
    """A node of ours."""
    node = tree.nodes.new(kind)
    node.location = place
    node[_MARK] = True
    return node


# ---- the wider scene


def find_wider_scene(scene: bpy.types.Scene) -> bpy.types.Scene | None:
    """The scene that renders more than the frame of a shot's scene."""
    return next((s for s in bpy.data.scenes if s.get(_OVERSCAN_OF) == scene), None)


def remove_wider_scene(scene: bpy.types.Scene) -> None:
    """Remove it with its camera."""
    wider = find_wider_scene(scene)
    if wider is None:
        return
    camera = wider.camera
    bpy.data.scenes.remove(wider)
    if camera is not None and not camera.users_scene:
        data = camera.data
        bpy.data.objects.remove(camera)
        scene_objects.drop_data(data)


def wider_scene(scene: bpy.types.Scene, clip: bpy.types.MovieClip, scale: float) -> bpy.types.Scene:
    """Make or renew the scene that renders a shot's scene through a camera that sees `scale` times as much in each direction.

    Blender renders it at the size of the shot's scene, whatever its own: a pixel of it is `scale` pixels of the plate.
    """
    camera = scene_objects.find(scene, clip.holdfast.uid, scene_objects.CAMERA)
    wider = find_wider_scene(scene)
    if wider is None:
        wider = bpy.data.scenes.new(f"{scene.name} Overscan")
        wider[_OVERSCAN_OF] = scene
        wider.background_set = scene  # whatever is put into the shot's scene is in this one
        eye = bpy.data.objects.new(f"{camera.name} Overscan", camera.data.copy())
        wider.collection.objects.link(eye)
        wider.camera = eye
    eye = wider.camera
    eye.parent, eye.matrix_parent_inverse, eye.matrix_basis = camera, Matrix(), Matrix()
    eye.data.animation_data_clear()
    eye.data.background_images.clear()
    fit = camera.data.sensor_fit
    eye.data.sensor_fit = fit
    for path, factor in (
        ("lens", 1.0),
        ("sensor_width", scale),
        ("sensor_height", scale),
        ("shift_x", 1.0 / scale),
        ("shift_y", 1.0 / scale),
        ("clip_start", 1.0),
        ("clip_end", 1.0),
    ):
        _drive(eye.data, path, camera.data, factor)
    copy_render_settings(scene, wider)
    wider[_OVERSCAN] = scale
    return wider


def _drive(owner: bpy.types.ID, path: str, source: bpy.types.ID, factor: float) -> None:
    """A property as a multiple of the same property of another ID: zooms come along."""
    driver = owner.driver_add(path).driver
    variable = driver.variables.new()
    variable.name = "v"
    variable.targets[0].id_type = "CAMERA"
    variable.targets[0].id = source
    variable.targets[0].data_path = path
    driver.type = "SCRIPTED"
    driver.expression = f"v * {factor!r}"  # a simple expression: runs where scripts are not trusted


_RENDER_SETTINGS = (
    "engine",
    "resolution_x",
    "resolution_y",
    "pixel_aspect_x",
    "pixel_aspect_y",
    "resolution_percentage",
    "film_transparent",
    "filter_size",
    "use_motion_blur",
    "motion_blur_shutter",
    "motion_blur_position",
    "fps",
    "fps_base",
    "use_persistent_data",
    "use_simplify",
)


def copy_render_settings(scene: bpy.types.Scene, wider: bpy.types.Scene) -> None:
    """Render the wider scene as the shot's scene is set to be rendered."""
    for name in _RENDER_SETTINGS:
        setattr(wider.render, name, getattr(scene.render, name))
    wider.frame_start, wider.frame_end = scene.frame_start, scene.frame_end
    if wider.world != scene.world:
        wider.world = scene.world
    for engine in ("cycles", "eevee"):
        own, other = getattr(scene, engine, None), getattr(wider, engine, None)
        if own is None or other is None:
            continue
        for prop in own.bl_rna.properties:
            if not prop.is_readonly and prop.type in {"BOOLEAN", "INT", "FLOAT", "ENUM"} and not getattr(prop, "is_array", False):
                with contextlib.suppress(TypeError, AttributeError):
                    if getattr(other, prop.identifier) != getattr(own, prop.identifier):
                        setattr(other, prop.identifier, getattr(own, prop.identifier))


def follow_settings(scene: bpy.types.Scene) -> None:
    """The scene takes the shot's rolling shutter where its engine has one, the wider scene all settings as they are now."""
    rolls = rolling_shutter.follow_settings(scene)
    wider = find_wider_scene(scene)
    if wider is None:
        return
    copy_render_settings(scene, wider)
    if rolls:  # it has more rows
        row_time = rolling_shutter.row_time_of(scene.holdfast.clip) * wider.get(_OVERSCAN, 1.0)
        rolling_shutter.set_rows(wider, row_time, scene.holdfast.exposure)


@bpy.app.handlers.persistent
def _on_render(scene: bpy.types.Scene, *_) -> None:
    """A render begins."""
    follow_settings(scene)
    set_strength(scene, scene.holdfast.shadow_strength)


def register() -> None:
    bpy.app.handlers.render_init.append(_on_render)


def unregister() -> None:
    if _on_render in bpy.app.handlers.render_init:
        bpy.app.handlers.render_init.remove(_on_render)
