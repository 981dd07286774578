# SPDX-License-Identifier: GPL-3.0-or-later
"""Masks drawn in Blender, as pictures for the solver: white is ignored.

Blender's own compositor draws them, so that animation, parents, feather, falloff, holes and the layers' blending are what the
artist sees. Only where the mask covers half or more counts.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import bpy

from . import clip_frames, compat

LONGER_SIDE_PX = 960  # of the pictures: edges are placed to about a pixel of a 2K plate


class MaskError(Exception):
    """The mask cannot be used; the message says why in one line."""


def write(
    clip: bpy.types.MovieClip, mask: bpy.types.Mask, numbers: list[int], folder: Path, covers: str = "IGNORE"
) -> list[Path]:
    """Write a picture for each of the clip's images `numbers`, named by them. covers: IGNORE, or TRACK for the opposite.

    Raises MaskError.
    """
    if not any(layer.splines and not layer.hide_render for layer in mask.layers):
        raise MaskError(f'The mask "{mask.name}" is empty: draw a shape, or choose no mask')
    numbering = clip_frames.numbering_of(clip)
    frames = [numbering.scene_frame(number) for number in numbers]
    if min(frames) < 0:
        raise MaskError("Masks cannot be drawn for scene frames below 0: move the clip's start frame")
    if folder.is_dir():
        shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    scene = bpy.data.scenes.new("Holdfast Mask")
    tree = None
    try:
        width, height = _size(clip)
        tree = _wire(scene, mask, width, height, covers)
        _settings(scene, width, height)
        out = []
        for first, last in _runs(frames):
            scene.frame_start, scene.frame_end = first, last
            scene.render.filepath = str(folder / "drawn_")
            bpy.ops.render.render(animation=True, scene=scene.name)
            for frame in range(first, last + 1):
                drawn = Path(scene.render.frame_path(frame=frame))
                if not drawn.is_file():
                    raise MaskError(f'The mask "{mask.name}" could not be drawn at frame {frame}')
                out.append(drawn.replace(folder / f"mask.{numbering.number_at(frame):06d}.png"))
        return out
    except (RuntimeError, OSError) as error:
        raise MaskError(f'The mask "{mask.name}" could not be drawn: {" ".join(str(error).split())}') from None
    finally:
        bpy.data.scenes.remove(scene)
        if tree is not None and tree.name in bpy.data.node_groups and not tree.users:
            bpy.data.node_groups.remove(tree)


def _size(clip: bpy.types.MovieClip) -> tuple[int, int]:
    """Size of the pictures: the clip's shape as displayed. Masks count in squares of the longer displayed side."""
    width, height = clip.size
    aspect = clip.tracking.camera.pixel_aspect
    tall = height / aspect if aspect > 0 else height
    scale = min(1.0, LONGER_SIDE_PX / max(width, tall))
    return max(2, round(width * scale)), max(2, round(tall * scale))


def _wire(scene: bpy.types.Scene, mask: bpy.types.Mask, width: int, height: int, covers: str) -> bpy.types.NodeTree | None:
    """Mask, threshold, output. Returns a node tree of its own, which must be removed afterwards (from 5.0)."""
    tree = compat.compositor_tree(scene, "Holdfast Mask")
    for node in list(tree.nodes):
        tree.nodes.remove(node)
    source = tree.nodes.new("CompositorNodeMask")
    source.mask = mask
    if hasattr(source, "size_source"):
        source.use_feather, source.size_source, source.size_x, source.size_y = True, "FIXED", width, height
    else:
        for name, value in (("Size Source", "Fixed"), ("Size X", width), ("Size Y", height), ("Feather", True)):
            source.inputs[name].default_value = value
    threshold = tree.nodes.new("ShaderNodeMath" if bpy.app.version >= (5, 0, 0) else "CompositorNodeMath")
    threshold.operation = "GREATER_THAN" if covers == "IGNORE" else "LESS_THAN"
    threshold.inputs[1].default_value = 0.5
    tree.links.new(source.outputs[0], threshold.inputs[0])
    tree.links.new(threshold.outputs[0], compat.compositor_output(tree).inputs[0])
    return tree if hasattr(scene, "compositing_node_group") else None


def _settings(scene: bpy.types.Scene, width: int, height: int) -> None:
    render = scene.render
    render.resolution_x, render.resolution_y, render.resolution_percentage = width, height, 100
    render.use_compositing, render.use_sequencer, render.use_file_extension = True, False, True
    render.dither_intensity = 0.0
    image = render.image_settings
    image.file_format, image.color_mode, image.color_depth, image.compression = "PNG", "BW", "8", 5
    compat.plain_view(scene)


def _runs(frames: list[int]) -> list[tuple[int, int]]:
    """Neighbouring frames as (first, last)."""
    runs: list[list[int]] = []
    for frame in sorted(set(frames)):
        if runs and frame == runs[-1][1] + 1:
            runs[-1][1] = frame
        else:
            runs.append([frame, frame])
    return [(a, b) for a, b in runs]
