# SPDX-License-Identifier: GPL-3.0-or-later
"""A solved job folder becomes a scene: camera, footage, points, tracks, proxies, all under one parent in one collection.

Solving a clip again renews what the last solve of that clip made and touches nothing else. If the artist moved the parent or put
props into the shot, the new solve is laid over the old one, so that both keep their place.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import bpy
import numpy as np
from mathutils import Matrix

from . import (
    clip_frames,
    error_graph,
    jobfolder,
    orientation,
    properties,
    quality,
    scene_camera,
    scene_clip,
    scene_objects,
    scene_points,
    surfaces,
    track_edits,
    track_table,
)

_ANCHOR_KEY = "holdfast_anchor"  # on the parent: {"number", "c2w", "depth"} of the solve it belongs to
_WORLD_KEY = "holdfast_world"  # on the parent: id of the solves' world it stands up; refined solves share their solve's
_AUTO_KEY = "holdfast_stand"  # on the parent: the matrix that was chosen automatically


@dataclass(frozen=True)
class Imported:
    """What an import made."""

    shot: jobfolder.Shot
    collection: bpy.types.Collection
    parent: bpy.types.Object
    camera: bpy.types.Object
    points: bpy.types.Object
    track_count: int
    scene_set: bool  # the scene's range, rate and resolution are the clip's now
    scene_matches: bool


@dataclass(frozen=True)
class Prepared:
    """What can be read and computed of a job folder without Blender, in another thread."""

    shot: jobfolder.Shot
    stand: orientation.Stand
    meshes: dict[int, tuple[np.ndarray, np.ndarray]]  # depth meshes of the covering keyframes, under the stand's own matrix
    choice: scene_clip.TrackChoice
    errors: list[quality.TrackError]


def prepare(folder: str | Path, marker_limit: int) -> Prepared:
    """Read a job folder and compute what its import needs. Touches nothing of Blender. Raises JobFolderError."""
    shot = jobfolder.read_shot(folder)
    stand = orientation.stand_up(shot)
    return Prepared(
        shot,
        stand,
        surfaces.depth_meshes(shot, stand.scene_from_world, stand.ground),
        scene_clip.choose(shot, marker_limit),
        quality.track_errors(shot),
    )


def import_shot(
    scene: bpy.types.Scene,
    clip: bpy.types.MovieClip,
    folder: str | Path,
    scene_setup: str = "AUTO",
    with_surfaces: bool = True,
    prepared: Prepared | None = None,
) -> Imported:
    """Read a job folder and build or renew the clip's part of a scene.

    scene_setup: "SET" gives the scene the clip's range, rate, resolution and pixel aspect and makes our camera the active one;
    "KEEP" leaves the scene as it is; "AUTO" sets it only where nobody has worked in it. prepared: of the same folder, where
    it was read in advance. Raises JobFolderError.
    """
    prepared = prepared or prepare(folder, clip.holdfast.marker_limit)  # everything is read before anything is changed
    shot = prepared.shot
    uid = properties.ensure_uid(clip)
    sensor_mm = properties.sensor_width_mm(clip)
    stem = Path(clip.name).stem
    collection = scene_objects.ensure_collection(scene, uid, f"Holdfast {stem}")
    parent, scale, words = _stand(scene, collection, uid, shot, prepared.stand, stem)
    camera = scene_camera.build_camera(scene, collection, clip, shot, parent, uid, scale, sensor_mm)
    points = scene_points.build_points(scene, collection, clip, shot, parent, uid)
    scene_clip.set_clip_lens(clip, shot, sensor_mm)
    track_count = scene_clip.write_tracks(clip, shot, prepared.choice)
    track_edits.note_written(clip, shot)
    track_table.fill(clip, shot, prepared.errors)
    error_graph.draw(uid, shot.numbers, shot.error_px)

    wanted = scene_camera.wanted_settings(clip, shot)
    in_use = scene_camera.scene_in_use(scene)
    scene_set = scene_setup == "SET" or (scene_setup == "AUTO" and not in_use)
    if scene_set:
        if not in_use:
            scene_camera.hide_startup_cube(scene)
        scene_camera.apply_settings(scene, wanted)
        scene.frame_set(int(np.clip(scene.frame_current, wanted["frame_start"], wanted["frame_end"])))
    if scene.camera is None or scene_set:
        scene.camera = camera
    scene.holdfast.clip = clip
    scene.active_clip = clip
    bpy.context.view_layer.update()
    if with_surfaces:
        has_ground = bool(parent.get("holdfast_ground"))
        as_prepared = np.abs(np.array(parent.matrix_basis) - prepared.stand.scene_from_world).max() < 1e-4 * scale
        meshes = prepared.meshes if as_prepared else None
        surfaces.build_surfaces(scene, collection, clip, shot, parent, uid, has_ground, meshes)
    _note_result(clip, shot, words, sensor_mm)
    return Imported(shot, collection, parent, camera, points, track_count, scene_set, scene_camera.scene_matches(scene, wanted))


def _stand(
    scene: bpy.types.Scene,
    collection: bpy.types.Collection,
    uid: str,
    shot: jobfolder.Shot,
    stand: orientation.Stand,
    stem: str,
) -> tuple[bpy.types.Object, float, str]:
    """The parent empty, standing the scene up. Returns it, its scale, and words about it."""
    parent = scene_objects.find(scene, uid, scene_objects.PARENT)
    matrix, words, chosen = stand.scene_from_world, stand.words, True
    if parent is None:
        parent = scene_objects.ensure_object(scene, collection, uid, scene_objects.PARENT, f"{stem} Scene", None)
        parent.empty_display_type = "PLAIN_AXES"
    elif parent.get(_WORLD_KEY) == shot.world_id:
        matrix, words, chosen = np.array(parent.matrix_basis), "Kept in its place", False
    elif _worth_keeping(scene, uid, parent):
        anchor = json.loads(parent[_ANCHOR_KEY])
        index = shot.index_of(anchor["number"])
        depths = orientation.point_depths(shot, index)
        if shot.numbers[index] == anchor["number"] and len(depths):
            old_from_new = orientation.carry_over(
                np.array(anchor["c2w"]), anchor["depth"], shot.c2w[index], float(np.median(depths))
            )
            matrix = np.array(parent.matrix_basis) @ old_from_new
            words, chosen = "Kept in the place of the last solve", False
    scale = float(np.cbrt(max(1e-30, np.linalg.det(matrix[:3, :3]))))
    parent.empty_display_size = 0.5 / scale
    parent.matrix_basis = Matrix(matrix.tolist())
    depths = orientation.point_depths(shot)
    parent[_ANCHOR_KEY] = json.dumps(
        {
            "number": int(shot.numbers[shot.middle]),
            "c2w": shot.c2w[shot.middle].tolist(),
            "depth": float(np.median(depths)) if len(depths) else 1.0,
        }
    )
    if chosen:  # what the artist fixed once is kept by all solves that follow
        parent[_AUTO_KEY] = [float(x) for row in parent.matrix_basis for x in row]
    if chosen or parent.get(_WORLD_KEY) != shot.world_id:
        parent["holdfast_ground"] = stand.ground
    parent[_WORLD_KEY] = shot.world_id
    return parent, scale, words


def _worth_keeping(scene: bpy.types.Scene, uid: str, parent: bpy.types.Object) -> bool:
    """True where the artist fixed the scene or put props in, so that a new solve must land on the old one."""
    if _ANCHOR_KEY not in parent or _AUTO_KEY not in parent:
        return False
    moved = np.abs(np.array(parent.matrix_basis).ravel() - np.array(parent[_AUTO_KEY][:])).max() > 1e-5
    return bool(moved or scene_objects.riders(scene, uid))


def _note_result(clip: bpy.types.MovieClip, shot: jobfolder.Shot, words: str, sensor_mm: float) -> None:
    """Keep the result in words with the clip."""
    note, verdict = clip.holdfast, shot.verdict
    note.solved = True
    note_folder(clip, shot.folder)
    note.status = str(verdict.get("status", ""))
    note.summary = str(verdict.get("summary", ""))
    note.statements = "\n".join(str(s) for s in verdict.get("statements") or ())
    note.warnings = "\n".join(w if isinstance(w, str) else str(w.get("message", w)) for w in shot.data.get("warnings") or ())
    error = verdict.get("error_px")
    note.width, note.height, note.row_time = shot.width, shot.height, shot.row_time
    note.error_px = float(error) if isinstance(error, (int, float)) else float(np.sqrt((shot.error_px**2).mean()))
    note.focal_result_mm = shot.intrinsics[shot.middle, 0] * sensor_mm / shot.width
    note.focal_words = _focal_words(shot, sensor_mm)
    note.frames_solved = len(shot.numbers)
    note.frames_total = len(shot.data["frames"])
    note.scene_words = words
    numbering = clip_frames.numbering_of(clip)
    note.error_graph = quality.graph(shot)
    note.worst_frames = "\n".join(
        f"Frame {numbering.scene_frame(number)}: {error:.2f} px" for number, error in quality.worst_frames(shot)
    )


def _focal_words(shot: jobfolder.Shot, sensor_mm: float) -> str:
    """Focal length in mm, how it was got, and its range where that is wide."""
    to_mm = sensor_mm / shot.width
    fx = shot.intrinsics[:, 0] * to_mm
    text = f"{fx.min():.1f} to {fx.max():.1f} mm" if np.ptp(fx) > 0.005 * fx.mean() else f"{fx[shot.middle]:.1f} mm"
    how = {"given": "as given", "measured": "measured", "weak": "weakly measured", "prior": "assumed, the shot does not tell"}
    text += f", {how.get(shot.verdict.get('focal'), shot.verdict.get('focal'))}" if shot.verdict.get("focal") else ""
    span = shot.verdict.get("focal_range_px")
    if (
        isinstance(span, (list, tuple))
        and len(span) == 2
        and all(isinstance(v, (int, float)) for v in span)
        and span[1] > 1.1 * span[0] > 0
    ):
        text += f" ({span[0] * to_mm:.0f} to {span[1] * to_mm:.0f} mm fit as well)"
    return text


def relative_path(path: Path, start: Path | None = None) -> str:
    """A path relative to a folder (that of the saved .blend file by default), so that the project can be moved."""
    if start is None and not bpy.data.filepath:
        return str(path)
    try:
        return bpy.path.relpath(str(path), start=str(start) if start else None)
    except ValueError:  # another drive
        return str(path)


def job_folder_of(clip: bpy.types.MovieClip) -> Path:
    """Folder of the clip's last solve. Where it is not found relative to the file (an appended clip), its last known place."""
    own = clip.holdfast
    folder = Path(bpy.path.abspath(own.job_folder, library=clip.library))
    if own.job_folder_known and not (folder / "solve.json").is_file() and (Path(own.job_folder_known) / "solve.json").is_file():
        return Path(own.job_folder_known)
    return folder


def note_folder(clip: bpy.types.MovieClip, folder: Path, start: Path | None = None) -> None:
    """Keep the place of a clip's solve: relative to a folder (that of the saved .blend by default), and as it is."""
    clip.holdfast.job_folder = relative_path(folder, start)
    clip.holdfast.job_folder_known = str(Path(folder).resolve())
