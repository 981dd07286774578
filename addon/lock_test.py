# SPDX-License-Identifier: GPL-3.0-or-later
"""The lock test: test objects rendered over the footage, so that slipping is seen at once; and a picture of the camera's path."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path

import bpy
import numpy as np
from mathutils import Matrix, Vector

from . import clip_frames, compat, pictures, props, rolling_shutter, scene_objects, scene_points


def render_lock_frames(
    scene: bpy.types.Scene, clip: bpy.types.MovieClip, frames: list[int], size: tuple[int, int], out_dir: Path, samples: int = 8
) -> list[Path]:
    """Render what is in the scene over the footage at some scene frames, as PNG files `lock_NNNNNN.png`. Returns their paths.

    The render is a pinhole's; the lens distortion of the clip is put on it by our own map, so that the plate stays untouched. A
    rolling shutter is rendered as it was solved.
    """
    out_dir = Path(out_dir)
    out_dir.mkdir(parents=True, exist_ok=True)
    camera = scene_objects.find(scene, clip.holdfast.uid, scene_objects.CAMERA)
    if camera is None:
        raise props.DropError("This clip has no solved camera in this scene: solve it first")
    lens = clip.tracking.camera
    to_size = np.array(size * 2) / (clip_frames.size_of(clip) * 2)
    with tempfile.TemporaryDirectory() as temporary, _render_state(scene, camera) as state:
        folder = Path(temporary)
        plates = pictures.render_plates(clip, frames, size, folder)
        compat.use_cycles_cpu(scene, samples)
        ensure_light(scene, clip)
        written = []
        for frame, plate in zip(frames, plates):
            scene.frame_set(frame)
            intrinsics = tuple(np.array(props.camera_view(scene, clip, frame)[1]) * to_size)
            places = pictures.undistorted_places(*size, intrinsics, lens.k1, lens.k2) if lens.k1 or lens.k2 else None
            scale = pictures.overscan(places, *size) if places is not None else 1.0
            render_size = (round(size[0] * scale), round(size[1] * scale))
            state.widen(render_size, size, clip)
            rolling_shutter.set_rows(scene, rolling_shutter.row_time_of(clip) * scale)
            file = folder / f"render_{frame:06d}.png"
            scene.render.filepath = str(file)
            bpy.ops.render.render(write_still=True, scene=scene.name)
            front = pictures.read_png(file)
            if places is not None:
                offset = (np.array(render_size) - size) / 2.0
                front = pictures.sample(front, places[..., 0] + offset[0], places[..., 1] + offset[1])
            target = out_dir / f"lock_{frame:06d}.png"
            pictures.write_png(target, pictures.over(front, pictures.read_png(plate)))
            written.append(target)
    return written


class _render_state(contextlib.AbstractContextManager):
    """Sets a scene up for test renders and gives everything back, whatever happens."""

    _RENDER = (
        "engine",
        "film_transparent",
        "resolution_x",
        "resolution_y",
        "resolution_percentage",
        "pixel_aspect_x",
        "pixel_aspect_y",
        "filepath",
        "use_compositing",
        "use_sequencer",
        "use_motion_blur",
        "motion_blur_shutter",
        "motion_blur_position",
        "use_persistent_data",
    )
    _VIEW = ("view_transform", "look", "exposure", "gamma")
    _CYCLES = (
        "device",
        "samples",
        "use_denoising",
        "use_adaptive_sampling",
        "max_bounces",
        "diffuse_bounces",
        "glossy_bounces",
        "transparent_max_bounces",
        "pixel_filter_type",
        "use_light_tree",
        "rolling_shutter_type",
        "rolling_shutter_duration",
    )

    def __init__(self, scene: bpy.types.Scene, camera: bpy.types.Object) -> None:
        self.scene, self.camera = scene, camera

    def __enter__(self):
        scene, render = self.scene, self.scene.render
        self.kept = [(render, n, getattr(render, n)) for n in self._RENDER] + [
            (scene.view_settings, n, getattr(scene.view_settings, n)) for n in self._VIEW
        ]
        self.kept += [(scene.cycles, n, getattr(scene.cycles, n)) for n in self._CYCLES if hasattr(scene, "cycles")]
        image = render.image_settings
        self.kept += [(image, n, getattr(image, n)) for n in ("file_format", "color_mode", "color_depth")]
        # With the shadow catcher as a pass of its own there would be no shadows in the picture.
        self.kept += [(v.cycles, "use_pass_shadow_catcher", v.cycles.use_pass_shadow_catcher) for v in scene.view_layers]
        for layer in scene.view_layers:
            layer.cycles.use_pass_shadow_catcher = False
        self.frame, self.active = scene.frame_current, scene.camera
        self.copy = self.camera.data.copy()  # the render may need a wider sensor: never the artist's camera
        self.original = self.camera.data
        self.camera.data = self.copy
        self.base = (self.copy.sensor_width, self.copy.sensor_height)
        scene.camera = self.camera
        render.film_transparent = True
        render.resolution_percentage = 100
        render.use_compositing = render.use_sequencer = False
        render.use_persistent_data = True  # the scene stands still: only the camera is new in every frame
        image.file_format, image.color_mode, image.color_depth = "PNG", "RGBA", "8"
        compat.plain_view(scene)
        self.copy.background_images.clear()
        return self

    def widen(self, render_size: tuple[int, int], size: tuple[int, int], clip: bpy.types.MovieClip) -> None:
        """Render at render_size, of which the middle `size` is the plate."""
        render = self.scene.render
        render.resolution_x, render.resolution_y = render_size
        # At another shape than the clip's, pixels are no longer as the clip's were.
        width, height = clip_frames.size_of(clip)
        stretch = clip.tracking.camera.pixel_aspect * (width / height) / (size[0] / size[1])
        render.pixel_aspect_x, render.pixel_aspect_y = (stretch, 1.0) if stretch >= 1.0 else (1.0, 1.0 / stretch)
        wider = render_size[0] / size[0]
        self.copy.sensor_width, self.copy.sensor_height = self.base[0] * wider, self.base[1] * wider
        self.copy.shift_x, self.copy.shift_y = self.original.shift_x / wider, self.original.shift_y / wider
        self.copy.lens = self.original.lens

    def __exit__(self, *_):
        self.camera.data = self.original
        bpy.data.cameras.remove(self.copy)
        for owner, name, value in self.kept:
            with contextlib.suppress(TypeError, AttributeError):
                setattr(owner, name, value)
        self.scene.camera = self.active
        self.scene.frame_set(self.frame)
        return False


def ensure_light(scene: bpy.types.Scene, clip: bpy.types.MovieClip) -> None:
    """A sun and a grey sky for scenes without any light of their own."""
    if not any(ob.type == "LIGHT" for ob in scene.objects):
        data = bpy.data.lights.new("Holdfast Sun", "SUN")
        data.energy, data.angle = 2.5, 0.05
        collection = scene_objects.ensure_collection(scene, clip.holdfast.uid, f"Holdfast {clip.name}")
        sun = scene_objects.ensure_object(scene, collection, clip.holdfast.uid, scene_objects.LIGHT, "Holdfast Sun", data)
        sun.rotation_euler = (0.7, 0.25, -0.6)
    if scene.world is None:
        scene.world = _plain_world("Holdfast Sky", (0.5, 0.5, 0.5))


def _plain_world(name: str, colour: tuple[float, float, float]) -> bpy.types.World:
    world = bpy.data.worlds.new(name)
    world.use_nodes = True
    node = next((n for n in world.node_tree.nodes if n.type == "BACKGROUND"), None)
    if node is not None:
        node.inputs["Color"].default_value = (*colour, 1.0)
    world.color = colour
    if hasattr(world, "cycles"):
        world.cycles.sampling_method = "NONE"  # one colour: nothing to look for in it
    return world


# ---- the picture of the path


def render_overview(
    scene: bpy.types.Scene, clip: bpy.types.MovieClip, path: Path, size: tuple[int, int] = (960, 540), samples: int = 4
) -> Path:
    """A picture of the camera's path with the point cloud, seen from behind and above. Everything made for it goes again."""
    uid = clip.holdfast.uid
    camera = scene_objects.find(scene, uid, scene_objects.CAMERA)
    cloud = scene_objects.find(scene, uid, scene_objects.POINTS)
    if camera is None or cloud is None:
        raise props.DropError("This clip has no solved camera in this scene: solve it first")
    frames = list(range(scene.frame_start, scene.frame_end + 1))
    before = scene.frame_current
    poses = []
    for frame in frames[:: max(1, len(frames) // 120)]:
        scene.frame_set(frame)
        poses.append(props.camera_view(scene, clip, frame))
    scene.frame_set(before)
    centres = np.array([c2w[:3, 3] for c2w, _ in poses])
    middle = poses[len(poses) // 2]
    seen = _cloud_points(cloud)
    depth = float(np.median((seen - middle[0][:3, 3]) @ middle[0][:3, 2])) if len(seen) else 5.0
    depth = max(depth, 1e-3)
    made: list[bpy.types.ID] = []
    view = bpy.data.scenes.new("Holdfast Overview")
    hidden = cloud.hide_render
    radius = scene_points.radius(cloud)
    try:
        view.collection.objects.link(cloud)
        cloud.hide_render = False
        scene_points.set_radius(cloud, 0.0065 * depth)
        scene_points.set_brightness(2.0)
        for ob in scene_objects.tagged(scene, uid, scene_objects.PROP):
            view.collection.objects.link(ob)
        made += _draw(view, "path", [centres], 0.006 * depth, (1.0, 0.45, 0.05))
        chosen = sorted({0, len(poses) // 2, len(poses) - 1})
        made += _draw(
            view,
            "frustums",
            [line for i in chosen for line in _frustum(*poses[i], clip_frames.size_of(clip), 0.16 * depth)],
            0.0035 * depth,
            (0.15, 0.7, 1.0),
        )
        made += _draw(view, "floor", _floor(seen, centres, depth), 0.0018 * depth, (0.16, 0.17, 0.19))
        data = bpy.data.cameras.new("Holdfast Overview")
        data.lens = 32.0
        eye = bpy.data.objects.new("Holdfast Overview", data)
        view.collection.objects.link(eye)
        made += [eye, data]
        _look(eye, middle[0], depth)
        view.camera = eye
        light = bpy.data.lights.new("Holdfast Overview", "SUN")
        light.energy = 3.0
        lamp = bpy.data.objects.new("Holdfast Overview Sun", light)
        lamp.rotation_euler = (0.6, 0.3, 0.0)
        view.collection.objects.link(lamp)
        made += [lamp, light]
        view.world = _plain_world("Holdfast Overview", (0.012, 0.013, 0.016))
        made.append(view.world)
        compat.use_cycles_cpu(view, samples)
        compat.plain_view(view)
        view.render.resolution_x, view.render.resolution_y = size
        view.render.resolution_percentage = 100
        view.render.image_settings.file_format = "PNG"
        view.render.image_settings.color_mode = "RGB"
        view.render.filepath = str(path)
        view.frame_set(before)
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        bpy.ops.render.render(write_still=True, scene=view.name)
    finally:
        cloud.hide_render = hidden
        scene_points.set_radius(cloud, radius)
        scene_points.set_brightness(1.0)
        bpy.data.scenes.remove(view)
        for item in made:
            with contextlib.suppress(ReferenceError):
                bpy.data.batch_remove([item])
    return Path(path)


def _cloud_points(cloud: bpy.types.Object) -> np.ndarray:
    """Points of the cloud in the scene, (P, 3)."""
    values = np.empty(3 * len(cloud.data.vertices), np.float32)
    cloud.data.vertices.foreach_get("co", values)
    matrix = np.array(cloud.matrix_world)
    return values.reshape(-1, 3) @ matrix[:3, :3].T + matrix[:3, 3]


def _draw(
    view: bpy.types.Scene, name: str, lines: list[np.ndarray], radius: float, colour: tuple[float, float, float]
) -> list[bpy.types.ID]:
    """Lines (each (N, 3)) as tubes that shine in a colour. Returns what was made."""
    material = bpy.data.materials.new(f"Holdfast {name}")
    material.use_nodes = True
    tree = material.node_tree
    tree.nodes.clear()
    emission, output = tree.nodes.new("ShaderNodeEmission"), tree.nodes.new("ShaderNodeOutputMaterial")
    emission.inputs["Color"].default_value = (*colour, 1.0)
    tree.links.new(emission.outputs[0], output.inputs["Surface"])
    curve = bpy.data.curves.new(f"Holdfast {name}", "CURVE")
    curve.dimensions = "3D"
    curve.bevel_depth, curve.bevel_resolution = radius, 1
    for line in lines:
        spline = curve.splines.new("POLY")
        spline.points.add(len(line) - 1)
        spline.points.foreach_set("co", np.concatenate([line, np.ones((len(line), 1))], 1).astype(np.float32).ravel())
    curve.materials.append(material)
    ob = bpy.data.objects.new(f"Holdfast {name}", curve)
    view.collection.objects.link(ob)
    return [ob, curve, material]


def _frustum(c2w: np.ndarray, intrinsics: tuple, size: tuple[int, int], length: float) -> list[np.ndarray]:
    """Lines of a camera's pyramid, `length` deep."""
    fx, fy, cx, cy = intrinsics
    corners = (
        np.array([[(x - cx) / fx, (y - cy) / fy, 1.0] for x, y in ((0, 0), (size[0], 0), (size[0], size[1]), (0, size[1]))])
        * length
    )
    world = corners @ c2w[:3, :3].T + c2w[:3, 3]
    return [np.stack([c2w[:3, 3], corner]) for corner in world] + [world[[0, 1, 2, 3, 0]]]


def _floor(seen: np.ndarray, centres: np.ndarray, depth: float) -> list[np.ndarray]:
    """Lines of a grid at z = 0 under the scene."""
    everything = np.concatenate([np.quantile(seen, (0.03, 0.97), axis=0) if len(seen) else centres[:1], centres])
    step = 10.0 ** np.floor(np.log10(depth / 3.0)) * 2.0
    low, high = np.floor(everything.min(0)[:2] / step) * step, np.ceil(everything.max(0)[:2] / step) * step
    count = np.minimum(((high - low) / step).astype(int) + 1, 60)
    xs, ys = low[0] + step * np.arange(count[0]), low[1] + step * np.arange(count[1])
    return [np.array([(x, ys[0], 0.0), (x, ys[-1], 0.0)]) for x in xs] + [
        np.array([(xs[0], y, 0.0), (xs[-1], y, 0.0)]) for y in ys
    ]


def _look(eye: bpy.types.Object, c2w: np.ndarray, depth: float) -> None:
    """Stand behind, above and a little beside a camera and look at the middle of what it sees."""
    forward = np.array([c2w[0, 2], c2w[1, 2], 0.0])
    forward /= max(1e-9, np.linalg.norm(forward))
    side = np.array([forward[1], -forward[0], 0.0])
    place = c2w[:3, 3] - 0.55 * depth * forward + 0.5 * depth * side + np.array([0.0, 0.0, 0.6 * depth])
    target = c2w[:3, 3] + 0.55 * depth * c2w[:3, 2]
    eye.matrix_world = Matrix.Translation(Vector(place)) @ Vector(target - place).to_track_quat("-Z", "Y").to_matrix().to_4x4()
