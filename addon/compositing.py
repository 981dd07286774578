# SPDX-License-Identifier: GPL-3.0-or-later
"""Compositing in one click: the pinhole render, bent by the lens as the footage is, over the untouched plate.

Blender's Movie Distortion node shifts the plate by about a pixel in some versions; a map of our own, looked up by the Map UV
node, does not. The plate is never resampled. The render has no more than the camera sees: under barrel distortion the corners
of the plate lie outside of it, and things there are cut off.
"""

from __future__ import annotations

from pathlib import Path

import bpy
import numpy as np

from . import compat, pictures, props

GROUP_NAME = "Holdfast Composite"
_MARK = "holdfast"  # on nodes: made by us


def distortion_map(clip: bpy.types.MovieClip, intrinsics: tuple[float, float, float, float]) -> np.ndarray:
    """(H, W, 4) float32, bottom row first: where each pixel of the plate lies in the pinhole render, as fractions of its sides
    from the bottom left; blue and alpha are 1 inside the render and 0 outside."""
    width, height = clip.size
    lens = clip.tracking.camera
    places = pictures.undistorted_places(width, height, intrinsics, lens.k1, lens.k2)
    out = np.ones((height, width, 4), np.float32)
    out[..., 0] = places[..., 0] / width
    out[..., 1] = 1.0 - places[..., 1] / height
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
    return image


def set_up(scene: bpy.types.Scene, clip: bpy.types.MovieClip, folder: Path) -> bpy.types.NodeTree:
    """Wire the scene's compositor: what was in it before stays beside, unconnected. Returns the node tree.

    folder: where the map of the lens goes. The film becomes transparent and the view plain, so that the plate comes out as it is.
    Raises DropError where the clip has no camera in this scene.
    """
    intrinsics = props.camera_view(scene, clip, scene.frame_current)[1]
    tree = compat.compositor_tree(scene, GROUP_NAME)
    for node in [node for node in tree.nodes if node.get(_MARK)]:
        tree.nodes.remove(node)
    scene.render.film_transparent = True
    scene.render.use_compositing = True
    compat.plain_view(scene)
    render = _node(tree, "CompositorNodeRLayers", (-600, 200))
    render.scene = scene
    front = render.outputs["Image"]
    plate = _node(tree, "CompositorNodeMovieClip", (-600, -200))
    plate.clip = clip
    lens = clip.tracking.camera
    if lens.k1 or lens.k2:
        image = _node(tree, "CompositorNodeImage", (-600, 0))
        image.image = save_map(distortion_map(clip, intrinsics), folder / "redistort.exr", f"{clip.name} Redistort")
        bend = _node(tree, "CompositorNodeMapUV", (-300, 150))
        tree.links.new(front, bend.inputs["Image"])
        tree.links.new(image.outputs["Image"], bend.inputs["UV"])
        front = bend.outputs["Image"]
    over = _node(tree, "CompositorNodeAlphaOver", (-50, 0))
    back_socket, front_socket = compat.alpha_over_inputs(over)
    tree.links.new(plate.outputs["Image"], back_socket)
    tree.links.new(front, front_socket)
    end = compat.compositor_output(tree)
    end.location = (200, 0)
    tree.links.new(over.outputs["Image"], end.inputs[0])
    return tree


def _node(tree: bpy.types.NodeTree, kind: str, place: tuple[float, float]) -> bpy.types.Node:
    """A node of ours."""
    node = tree.nodes.new(kind)
    node.location = place
    node[_MARK] = True
    return node
