# SPDX-License-Identifier: GPL-3.0-or-later
"""A solved shot for other programs: USD, Alembic, FBX, with the animated camera, the point cloud and the proxies.

What is written is a scene of its own, flattened: every object stands in the world without parents, the camera without scale (a
scaled camera is read differently by every program). All three files are y up, at the plate's frame numbers and rate. A unit of
Blender's scene (a metre, as far as the solve knows) is a metre in the files: 1 in USD and Alembic, 100 in FBX, which counts in
centimetres.

None of the formats knows radial distortion: the camera fits the undistorted plate, and the coefficients go along as custom
properties (`holdfast_k1`, `holdfast_k2`, ...) of the camera.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import bpy
import numpy as np
from mathutils import Matrix

from . import compat, coordinates, jobfolder, properties, scene_camera, scene_objects, scene_points

# Format -> (suffix, Blender's operator, the build option it needs).
FORMATS = {
    "usd": (".usd", "wm.usd_export", "usd"),
    "alembic": (".abc", "wm.alembic_export", "alembic"),
    "fbx": (".fbx", "export_scene.fbx", None),
}
_MARK_SIZE = 0.004  # of an octahedron that stands for a point, in units of the points' median distance


class ExportError(Exception):
    """A format cannot be written here; the message says why and what to do."""


def export_shot(
    scene: bpy.types.Scene, clip: bpy.types.MovieClip, shot: jobfolder.Shot, stem: Path, formats: list[str]
) -> dict[str, Path]:
    """Write `stem` + suffix for every format; returns format -> path. Raises ExportError (nothing half-written stays).

    scene: where the shot was imported; it is left as it was.
    """
    made = {}
    for name in formats:
        check_available(name)
        suffix = FORMATS[name][0]
        path = stem.with_name(stem.name + suffix)
        partial = path.with_name(f".{stem.name}.{os.getpid()}{suffix}")
        with _staged(scene, clip, shot, name) as stage:
            try:
                _WRITERS[name](stage, partial)
            except (RuntimeError, OSError) as error:
                partial.unlink(missing_ok=True)
                raise ExportError(f"{path.name} could not be written: {' '.join(str(error).split())}") from error
        if not partial.is_file():
            raise ExportError(f"{path.name} could not be written: Blender's exporter made no file (is the disk full?)")
        os.replace(partial, path)
        made[name] = path
    return made


def available() -> list[str]:
    """The formats that this Blender can write: distributions build it without some."""
    return [
        name
        for name, (_, operator, option) in FORMATS.items()
        if (not option or getattr(bpy.app.build_options, option)) and _ensure_operator(operator)
    ]


def check_available(name: str) -> None:
    """Raise ExportError where this Blender cannot write a format."""
    if name not in available():
        what = f"This Blender ({bpy.app.version_string}) was built without {name}"
        raise ExportError(f"{what}: use one from blender.org, or leave that export out")


def _ensure_operator(name: str) -> bool:
    """True where the exporter is there; the FBX add-on is switched on for this session if need be."""
    module, operator = name.split(".")
    if operator in dir(getattr(bpy.ops, module)):
        return True
    if name == "export_scene.fbx":
        import addon_utils

        addon_utils.enable("io_scene_fbx", default_set=False)
    return operator in dir(getattr(bpy.ops, module))


def _usd_has_points() -> bool:
    """True where Blender writes point clouds as points (from 4.3 or so on)."""
    return "export_points" in set(bpy.ops.wm.usd_export.get_rna_type().properties.keys())


# ---- the flattened scene


@contextlib.contextmanager
def _staged(source: bpy.types.Scene, clip: bpy.types.MovieClip, shot: jobfolder.Shot, to: str) -> Iterator[bpy.types.Scene]:
    """A scene with the camera, the points and the proxies of a clip, flat in the world, as a format wants it; gone afterwards."""
    uid = clip.holdfast.uid
    window = bpy.context.window or (bpy.context.window_manager.windows[0] if bpy.context.window_manager.windows else None)
    before = window.scene if window else None
    stage = bpy.data.scenes.new("Holdfast Export")
    made: list[bpy.types.ID] = []
    try:
        frames = export_frames(shot)
        wanted = scene_camera.wanted_settings(clip, shot) | {"frame_start": int(frames[0]), "frame_end": int(frames[-1])}
        scene_camera.apply_settings(stage, wanted)
        unit = 100.0 if to == "fbx" else 1.0
        stage.unit_settings.system, stage.unit_settings.scale_length = "METRIC", 1.0 / unit
        if to == "alembic":  # else Blender notes wide pixels twice: in the shape of the film and as a squeeze
            stage.render.pixel_aspect_x = stage.render.pixel_aspect_y = 1.0
        if window:
            window.scene = stage
        parent = scene_objects.find(source, uid, scene_objects.PARENT)
        in_units = Matrix.Diagonal((unit, unit, unit, 1.0))
        scene_from_world = np.array(in_units @ parent.matrix_world if parent else in_units)
        stage.camera = _add(stage, made, "camera", bpy.data.cameras.new("camera"))
        _fill_camera(stage, shot, scene_from_world, properties.sensor_width_mm(clip))
        stage.camera.data.clip_start, stage.camera.data.clip_end = 0.01 * unit, 10000.0 * unit
        points = shot.points.xyz @ scene_from_world[:3, :3].T + scene_from_world[:3, 3]
        _points(stage, made, points, shot, as_cloud=to == "usd" and _usd_has_points())
        for role, name in ((scene_objects.GROUND, "ground"), (scene_objects.PROXY, "proxy")):
            for ob in scene_objects.tagged(source, uid, role):
                mesh = ob.data.copy()
                mesh.materials.clear()
                mesh.transform(in_units @ ob.matrix_world)
                _add(stage, made, name if role == scene_objects.GROUND else f"{name}_{ob.name.rsplit(' ', 1)[-1]}", mesh)
        stage.frame_set(stage.frame_start)
        bpy.context.view_layer.update()
        yield stage
    finally:
        if window and before:
            window.scene = before
        actions = []
        for ob in list(stage.objects):
            actions += [owner.animation_data.action for owner in (ob, ob.data) if owner.animation_data]
            bpy.data.objects.remove(ob)
        bpy.data.scenes.remove(stage)
        for blocks in (made, actions):  # what is animated first, it holds on to its actions
            bpy.data.batch_remove([block for block in blocks if _unused(block)])


def _unused(block: bpy.types.ID | None) -> bool:
    """True for data that nobody uses any more and that has not gone with its object."""
    try:
        return block is not None and not block.users
    except ReferenceError:
        return False


def _add(stage: bpy.types.Scene, made: list[bpy.types.ID], name: str, data: bpy.types.ID) -> bpy.types.Object:
    """An object of this name, the data named the same (the files show both)."""
    data.name = name
    ob = bpy.data.objects.new(name, data)
    stage.collection.objects.link(ob)
    if data not in made:
        made.append(data)
    return ob


def export_frames(shot: jobfolder.Shot) -> np.ndarray:
    """Frame numbers (F,) of the solved frames in exported files: a sequence's own, a movie's counted from 1 as editors do."""
    return shot.numbers + (0 if shot.clip.get("is_sequence") else 1)


def _fill_camera(stage: bpy.types.Scene, shot: jobfolder.Shot, scene_from_world: np.ndarray, sensor_mm: float) -> None:
    """Keys in the world, without scale; the lens on its sensor; what no format holds, as custom properties."""
    ob, frames = stage.camera, export_frames(shot).astype(float)
    matrices = scene_from_world @ coordinates.blender_from_opencv(shot.c2w)
    scale = np.cbrt(np.linalg.det(scene_from_world[:3, :3]))
    ob.rotation_mode = "QUATERNION"
    compat.set_keys(ob, "location", frames, matrices[:, :3, 3])
    compat.set_keys(ob, "rotation_quaternion", frames, coordinates.quaternions(matrices[:, :3, :3] / scale))
    ob.data.sensor_fit = "HORIZONTAL"
    scene_camera.set_lens(ob.data, shot, frames, sensor_mm)
    fx, fy, cx, cy = (float(value) for value in shot.intrinsics[shot.middle])
    values = {"width_px": shot.width, "height_px": shot.height, "cx_px": cx, "cy_px": cy, "k1": shot.k1, "k2": shot.k2}
    values["row_time"] = shot.row_time
    for key, value in values.items():
        ob[f"holdfast_{key}"] = value


def _points(stage: bpy.types.Scene, made: list[bpy.types.ID], xyz: np.ndarray, shot: jobfolder.Shot, as_cloud: bool) -> None:
    """The points: a point cloud where the format has them, else an octahedron each, whose middle is the point."""
    if not len(xyz):
        return
    away = np.linalg.norm(xyz - np.median(xyz, 0), axis=1)
    radius = _MARK_SIZE * max(float(np.median(away)), 1e-9)
    colours = scene_points.linear_colours(shot.points.rgb)
    mesh = bpy.data.meshes.new("points")
    ob = _add(stage, made, "points", mesh)
    if as_cloud:
        mesh.vertices.add(len(xyz))
        mesh.vertices.foreach_set("co", xyz.astype(np.float32).ravel())
        mesh.attributes.new("displayColor", "FLOAT_COLOR", "POINT").data.foreach_set("color", colours.ravel())
        mesh.attributes.new("radius", "FLOAT", "POINT").data.foreach_set("value", np.full(len(xyz), radius, np.float32))
        mesh.update()
        with bpy.context.temp_override(object=ob, active_object=ob, selected_objects=[ob], selected_editable_objects=[ob]):
            bpy.context.view_layer.objects.active = ob
            ob.select_set(True)
            bpy.ops.object.convert(target="POINTCLOUD")
        made.append(ob.data)
        return
    vertices, faces = octahedra(xyz, radius)
    mesh.vertices.add(len(vertices))
    mesh.vertices.foreach_set("co", vertices.astype(np.float32).ravel())
    mesh.loops.add(faces.size)
    mesh.loops.foreach_set("vertex_index", faces.astype(np.int32).ravel())
    mesh.polygons.add(len(faces))
    mesh.polygons.foreach_set("loop_start", np.arange(0, faces.size, 3, dtype=np.int32))
    mesh.update(calc_edges=True)
    colour = mesh.attributes.new("displayColor", "FLOAT_COLOR", "CORNER")
    colour.data.foreach_set("color", np.repeat(colours, faces.size // len(xyz), 0).ravel())
    mesh.color_attributes.active_color = mesh.color_attributes["displayColor"]


def octahedra(centres: np.ndarray, radius: float) -> tuple[np.ndarray, np.ndarray]:
    """Vertices (6 P, 3) and triangles (8 P, 3), facing outwards, of an octahedron around each of the centres (P, 3)."""
    corners = np.concatenate([np.eye(3), -np.eye(3)])
    faces = []
    for signs in np.ndindex(2, 2, 2):
        face = [axis + 3 * sign for axis, sign in enumerate(signs)]
        faces.append(face if sum(signs) % 2 == 0 else face[::-1])
    vertices = (centres[:, None] + radius * corners).reshape(-1, 3)
    return vertices, (np.array(faces)[None] + 6 * np.arange(len(centres))[:, None, None]).reshape(-1, 3)


# ---- Blender's exporters


def _call(operator, path: Path, **options) -> None:
    """Run an exporter with those of the options that this version of it knows."""
    known = operator.get_rna_type().properties.keys()
    operator(filepath=str(path), check_existing=False, **{key: value for key, value in options.items() if key in known})


def _write_usd(stage: bpy.types.Scene, path: Path) -> None:
    _call(
        bpy.ops.wm.usd_export, path, export_animation=True, evaluation_mode="RENDER", export_materials=False, export_uvmaps=False,
        export_normals=False, convert_orientation=True, export_global_forward_selection="NEGATIVE_Z",
        export_global_up_selection="Y", root_prim_path="/shot", convert_world_material=False, export_textures=False,
        export_textures_mode="KEEP", use_instancing=False, export_lights=False, author_blender_name=False,
    )  # fmt: skip


def _write_alembic(stage: bpy.types.Scene, path: Path) -> None:
    _call(
        bpy.ops.wm.alembic_export, path, start=stage.frame_start, end=stage.frame_end, xsamples=1, gsamples=1, uvs=False,
        normals=False, vcolors=True, orcos=False, export_hair=False, export_particles=False, use_instancing=False,
        as_background_job=False, evaluation_mode="RENDER", init_scene_frame_range=False,
    )  # fmt: skip


def _write_fbx(stage: bpy.types.Scene, path: Path) -> None:
    _call(
        bpy.ops.export_scene.fbx, path, object_types={"CAMERA", "MESH"}, apply_scale_options="FBX_SCALE_NONE",
        apply_unit_scale=True, axis_forward="-Z", axis_up="Y", use_custom_props=True, bake_anim=True,
        bake_anim_use_nla_strips=False, bake_anim_use_all_actions=False, bake_anim_force_startend_keying=True,
        bake_anim_step=1.0, bake_anim_simplify_factor=0.0, colors_type="LINEAR", mesh_smooth_type="OFF", path_mode="STRIP",
        embed_textures=False,
    )  # fmt: skip


_WRITERS = {"usd": _write_usd, "alembic": _write_alembic, "fbx": _write_fbx}
