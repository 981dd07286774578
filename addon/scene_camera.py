# SPDX-License-Identifier: GPL-3.0-or-later
"""The solved camera as a Blender camera with baked animation and the footage behind it; the scene settings that go with it."""

from __future__ import annotations

import bpy
import numpy as np
from mathutils import Matrix

from . import clip_frames, compat, coordinates, jobfolder, scene_objects


def build_camera(
    scene: bpy.types.Scene,
    collection: bpy.types.Collection,
    clip: bpy.types.MovieClip,
    shot: jobfolder.Shot,
    parent: bpy.types.Object,
    uid: str,
    scale: float,
    sensor_mm: float,
) -> bpy.types.Object:
    """Make or renew the clip's camera. Its keys are in the solver's frame; the parent stands the scene up.

    scale: of the parent, for the size the camera is drawn at. An existing camera keeps its sensor fit.
    """
    ob = scene_objects.find(scene, uid, scene_objects.CAMERA)
    if ob is None:
        data = bpy.data.cameras.new(f"{clip.name} Camera")
        data.sensor_fit = "HORIZONTAL"
        ob = scene_objects.ensure_object(scene, collection, uid, scene_objects.CAMERA, f"{clip.name} Camera", data)
    ob.parent = parent
    ob.matrix_parent_inverse = Matrix()
    ob.rotation_mode = "QUATERNION"
    ob.scale = (1.0, 1.0, 1.0)
    ob.lock_location = ob.lock_rotation = (True, True, True)
    frames = scene_frames(clip, shot)
    matrices = coordinates.blender_from_opencv(shot.c2w)
    compat.set_keys(ob, "location", frames, matrices[:, :3, 3])
    compat.set_keys(ob, "rotation_quaternion", frames, coordinates.quaternions(matrices[:, :3, :3]))
    set_lens(ob.data, shot, frames, sensor_mm)
    ob.data.display_size = 0.25 / max(scale, 1e-9)
    ob.data.clip_start, ob.data.clip_end = 0.01, 10000.0
    ob.data.passepartout_alpha = 0.9
    set_background(ob.data, clip, bool(shot.k1 or shot.k2))
    return ob


def set_lens(data: bpy.types.Camera, shot: jobfolder.Shot, frames: np.ndarray, sensor_mm: float) -> None:
    """Focal length, sensor and shift of a camera, keyed where they change over the shot."""
    fit = data.sensor_fit
    lenses = [coordinates.lens_from_pixels(*row, shot.width, shot.height, sensor_mm, fit) for row in shot.intrinsics]
    middle = lenses[shot.middle]
    data.lens_unit = "MILLIMETERS"
    data.sensor_width, data.sensor_height = middle.sensor_width_mm, middle.sensor_height_mm
    for path, values in (
        ("lens", [x.lens_mm for x in lenses]),
        ("shift_x", [x.shift_x for x in lenses]),
        ("shift_y", [x.shift_y for x in lenses]),
    ):
        compat.clear_animation(data, path)
        setattr(data, path, getattr(middle, "lens_mm" if path == "lens" else path))
        if np.ptp(values) > 1e-7 * max(1.0, abs(values[0])):
            compat.set_keys(data, path, frames, np.array(values))


def set_background(data: bpy.types.Camera, clip: bpy.types.MovieClip, distorted: bool) -> None:
    """The clip behind the camera, undistorted where the lens bends lines (the camera itself is a pinhole)."""
    background = next((b for b in data.background_images if b.clip == clip), None) or data.background_images.new()
    background.source = "MOVIE_CLIP"
    background.clip = clip
    background.alpha = 1.0
    background.display_depth = "BACK"
    background.frame_method = "STRETCH"
    background.clip_user.use_render_undistorted = distorted
    data.show_background_images = True


def scene_frames(clip: bpy.types.MovieClip, shot: jobfolder.Shot) -> np.ndarray:
    """Scene frames (F,) of the solved frames."""
    numbering = clip_frames.numbering_of(clip)
    return np.array([numbering.scene_frame(int(n)) for n in shot.numbers], float)


# ---- scene settings


def wanted_settings(clip: bpy.types.MovieClip, shot: jobfolder.Shot) -> dict:
    """Frame range, rate, resolution and pixel aspect the scene should have for a shot."""
    frames = scene_frames(clip, shot)
    aspect = coordinates.pixel_aspect(*shot.intrinsics[shot.middle][:2])
    fps = float(shot.clip.get("fps") or clip.fps or 24.0)
    rate, base = frame_rate(fps)
    return {
        "frame_start": int(frames[0]),
        "frame_end": int(frames[-1]),
        "fps": rate,
        "fps_base": base,
        "resolution_x": shot.width,
        "resolution_y": shot.height,
        "pixel_aspect_x": aspect[0],
        "pixel_aspect_y": aspect[1],
    }


def frame_rate(fps: float) -> tuple[int, float]:
    """Blender's (fps, fps_base) of a rate: 23.976 is 24 over 1.001."""
    rate = max(1, round(fps))
    if abs(rate - fps) < 1e-4:
        return rate, 1.0
    if abs(rate / 1.001 - fps) < 2e-3:
        return rate, 1.001
    return rate, rate / fps


def scene_matches(scene: bpy.types.Scene, wanted: dict) -> bool:
    """True where the scene has the settings already."""
    return all(abs(_get(scene, name) - value) < 1e-4 for name, value in wanted.items())


def scene_in_use(scene: bpy.types.Scene) -> bool:
    """True where somebody has worked in the scene: objects beyond Blender's first three, keys, or changed settings."""
    others = [ob for ob in scene.objects if not scene_objects.uid_of(ob)]
    if any(ob.animation_data and ob.animation_data.action for ob in others):
        return True
    if {ob.name for ob in others} - {"Camera", "Cube", "Light"}:
        return True
    if scene.get("holdfast_set"):  # what it is set to, we set
        return False
    return (scene.frame_start, scene.frame_end, scene.render.resolution_x, scene.render.resolution_y) != (1, 250, 1920, 1080)


def hide_startup_cube(scene: bpy.types.Scene) -> bool:
    """Hide the cube Blender starts with: it would stand in the middle of the shot. True where there was one."""
    cube = scene.objects.get("Cube")
    untouched = (
        cube is not None
        and cube.type == "MESH"
        and len(cube.data.vertices) == 8
        and not cube.modifiers
        and np.allclose(np.array(cube.matrix_world), np.eye(4))
    )
    if untouched:
        cube.hide_set(True, view_layer=scene.view_layers[0])
        cube.hide_render = True
    return untouched


def apply_settings(scene: bpy.types.Scene, wanted: dict) -> None:
    """Set the scene to the shot's range, rate, resolution and pixel aspect."""
    scene.frame_end = max(scene.frame_end, wanted["frame_start"])  # the start may not pass the end
    for name, value in wanted.items():
        setattr(scene if name.startswith("frame_") else scene.render, name, value)
    scene.render.resolution_percentage = 100
    scene["holdfast_set"] = True


def _get(scene: bpy.types.Scene, name: str) -> float:
    return getattr(scene if name.startswith("frame_") else scene.render, name)
