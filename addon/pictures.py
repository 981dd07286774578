# SPDX-License-Identifier: GPL-3.0-or-later
"""Pictures as arrays: reading and writing through Blender, frames of the footage, and laying a render over a distorted plate.

Arrays are (H, W, 4) float32, top row first, scene-linear, alpha premultiplied unless said otherwise.
"""

from __future__ import annotations

from pathlib import Path

import bpy
import numpy as np

from . import clip_frames, compat, coordinates


def to_linear(value: np.ndarray) -> np.ndarray:
    """Scene-linear of sRGB-coded values."""
    return np.where(value <= 0.04045, value / 12.92, ((np.maximum(value, 0.0) + 0.055) / 1.055) ** 2.4)


def to_srgb(value: np.ndarray) -> np.ndarray:
    """sRGB-coded of scene-linear values, clipped to 0..1."""
    value = np.clip(value, 0.0, 1.0)
    return np.where(value <= 0.0031308, value * 12.92, 1.055 * value ** (1 / 2.4) - 0.055)


def read_png(path: Path) -> np.ndarray:
    """An 8-bit picture file as linear premultiplied (H, W, 4)."""
    image = bpy.data.images.load(str(path), check_existing=False)
    try:
        width, height = image.size
        values = np.empty(width * height * 4, np.float32)
        image.pixels.foreach_get(values)  # 8-bit pictures come as they are coded
    finally:
        bpy.data.images.remove(image)
    pixels = values.reshape(height, width, 4)[::-1]
    colour = to_linear(pixels[..., :3]) * pixels[..., 3:]
    return np.concatenate([colour, pixels[..., 3:]], -1).astype(np.float32)


def write_png(path: Path, pixels: np.ndarray) -> None:
    """Write a linear picture (H, W, 3 or 4), opaque, as an 8-bit PNG."""
    height, width = pixels.shape[:2]
    coded = np.ones((height, width, 4), np.float32)
    coded[..., :3] = to_srgb(pixels[..., :3])
    image = bpy.data.images.new("holdfast", width, height, alpha=False)
    try:
        image.pixels.foreach_set(coded[::-1].ravel())
        image.file_format = "PNG"
        image.filepath_raw = str(path)
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        image.save()
    finally:
        bpy.data.images.remove(image)


def over(front: np.ndarray, back: np.ndarray) -> np.ndarray:
    """A premultiplied picture laid over an opaque one."""
    return front[..., :3] + back[..., :3] * (1.0 - front[..., 3:])


def sample(pixels: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Bilinear values at image points (first pixel's centre at 0.5), nothing outside. pixels (H, W, C), x and y (h, w)."""
    height, width = pixels.shape[:2]
    x, y = x - 0.5, y - 0.5
    x0, y0 = np.floor(x).astype(int), np.floor(y).astype(int)
    fx, fy = (x - x0)[..., None], (y - y0)[..., None]
    out = np.zeros(x.shape + (pixels.shape[2],), np.float32)
    for dx, wx in ((0, 1 - fx), (1, fx)):
        for dy, wy in ((0, 1 - fy), (1, fy)):
            column, row = x0 + dx, y0 + dy
            inside = (column >= 0) & (row >= 0) & (column < width) & (row < height)
            value = pixels[row.clip(0, height - 1), column.clip(0, width - 1)]
            out += (wx * wy * inside[..., None] * value).astype(np.float32)
    return out


def undistorted_places(
    width: int, height: int, intrinsics: tuple[float, float, float, float], k1: float, k2: float
) -> np.ndarray:
    """Where each pixel of the distorted picture lies in the pinhole picture, (H, W, 2) px: the map that puts distortion on
    a render.
    """
    x, y = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    rays = coordinates.rays(np.stack([x.ravel(), y.ravel()], 1), *intrinsics, k1, k2)
    return (rays[:, :2] * intrinsics[:2] + intrinsics[2:]).reshape(height, width, 2)


def overscan(places: np.ndarray, width: int, height: int, most: float = 1.6) -> float:
    """How much larger than the plate a pinhole render must be to cover all of it, at least 1."""
    middle = np.array([width, height]) / 2.0
    edge = np.concatenate([places[0], places[-1], places[:, 0], places[:, -1]])
    need = float((np.abs(edge - middle) / middle).max())
    return min(most, need + 4.0 / min(width, height)) if need > 1.0 + 1e-6 else 1.0


def render_plates(clip: bpy.types.MovieClip, frames: list[int], size: tuple[int, int], folder: Path) -> list[Path]:
    """Frames of the footage as PNG files at a size. frames: scene frames. The sequencer decodes, which needs no graphics card."""
    scene = bpy.data.scenes.new("Holdfast Plates")
    try:
        scene.render.resolution_x, scene.render.resolution_y = size
        scene.render.resolution_percentage = 100
        scene.render.image_settings.file_format = "PNG"
        scene.render.image_settings.color_mode = "RGB"
        compat.plain_view(scene)
        from .scene_camera import frame_rate

        scene.render.fps, scene.render.fps_base = frame_rate(clip.fps if clip.fps > 0 else 24.0)
        scene.render.use_sequencer, scene.render.use_compositing = True, False
        strips = compat.strips_of(scene)
        path = bpy.path.abspath(clip.filepath)
        start = clip.frame_start - clip.frame_offset
        if clip.source == "SEQUENCE":
            numbering = clip_frames.numbering_of(clip)
            files = [Path(path).with_name(_numbered(Path(path).name, numbering.number_at(frame))) for frame in frames]
            strip = strips.new_image("plate", str(files[0]), channel=1, frame_start=frames[0])
            for file in files[1:]:
                strip.elements.append(file.name)
            show = {frame: frames[0] + i for i, frame in enumerate(frames)}
            scene.frame_start, scene.frame_end = frames[0], frames[0] + len(frames)
        else:
            strip = strips.new_movie("plate", path, channel=1, frame_start=start)
            show = {frame: frame for frame in frames}
            scene.frame_start, scene.frame_end = min(frames), max(frames)
        width, height = clip_frames.size_of(clip)
        strip.transform.scale_x, strip.transform.scale_y = size[0] / width, size[1] / height
        out = []
        for frame in frames:
            # As an animation of one frame: a still of a scene that is in no window would always be its first frame.
            scene.frame_start = scene.frame_end = show[frame]
            stem = folder / f"plate_{frame:06d}_"
            scene.render.filepath = str(stem)
            bpy.ops.render.render(animation=True, scene=scene.name)
            out.append(Path(scene.render.frame_path(frame=show[frame])))
        return out
    finally:
        bpy.data.scenes.remove(scene)


def _numbered(name: str, number: int) -> str:
    """A sequence's file name with another number, as many digits as before."""
    stem, dot, suffix = name.rpartition(".")
    end = max(i for i, c in enumerate(stem) if c.isdigit()) + 1
    begin = end
    while begin and stem[begin - 1].isdigit():
        begin -= 1
    return f"{stem[:begin]}{number:0{end - begin}d}{stem[end:]}{dot}{suffix}"
