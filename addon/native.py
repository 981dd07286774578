# SPDX-License-Identifier: GPL-3.0-or-later
"""The solve as the clip's own reconstruction, so that Blender's tools (Camera Solver constraint, set floor, origin, scale,
bundles,
track-linked empties) work on it.

Blender gives no way to write cameras and bundles, but its solver finds ours when nothing is left to decide: tracks that
are the exact
projections of solved points, the intrinsics set, nothing refined, two keyframes fixed.
"""

from __future__ import annotations

import contextlib

import bpy
import numpy as np
from mathutils import Matrix

from . import clip_frames, coordinates, jobfolder, scene_clip

TRACKS = 60  # exact tracks written; Blender's solver takes 0.2 s for 100 and 3.4 s for 1000
OBJECT_PREFIX = "HF.exact."


class NativeError(Exception):
    """Blender's solver could not be used; the message says why in one line."""


def reconstruct(scene: bpy.types.Scene, clip: bpy.types.MovieClip, shot: jobfolder.Shot, count: int = TRACKS) -> float:
    """Make the solve the clip's native reconstruction. Returns Blender's average error in px. Raises NativeError.

    The exact tracks are added to the clip's camera object under names of ours, hidden; earlier ones of ours are used again.
    """
    if shot.focal_varies:
        raise NativeError("Blender's own solver knows no zoom: this shot keeps Holdfast's camera only")
    if shot.verdict.get("motion") == "rotation":
        raise NativeError("Blender's own solver cannot rebuild a camera that only turns")
    chosen = _spread_points(shot, count)
    if len(chosen) < 12:
        raise NativeError("Too few points for Blender's own solver")
    frames = _write_exact(clip, shot, chosen)
    keyframes = _keyframe_pair(shot, chosen)
    numbering = clip_frames.numbering_of(clip)
    tracking = clip.tracking
    settings = tracking.settings
    keep = {name: getattr(settings, name) for name in _SETTINGS}
    camera_object = tracking.objects[0]
    kept_weights = [(track.name, track.weight) for track in tracking.tracks if not track.name.startswith(OBJECT_PREFIX)]
    try:
        for name, value in _SETTINGS.items():
            setattr(settings, name, value)
        camera_object.keyframe_a = numbering.marker_frame(int(shot.numbers[keyframes[0]]))
        camera_object.keyframe_b = numbering.marker_frame(int(shot.numbers[keyframes[1]]))
        # Weights are set to nought while solving, so that measured and hand-made tracks change nothing.
        for track in tracking.tracks:
            if not track.name.startswith(OBJECT_PREFIX):
                track.weight = 0.0
        with scene_clip.clip_editor(clip) as override:
            if override is None:
                raise NativeError("Blender's own solver needs a window or area to run in")
            with bpy.context.temp_override(**override):
                # In this way the operator waits for the solver: invoked, it would go on in the background.
                outcome = bpy.ops.clip.solve_camera("EXEC_DEFAULT")
    except RuntimeError as error:
        raise NativeError(f"Blender's own solver failed: {' '.join(str(error).split())}") from None
    finally:
        for name, value in keep.items():
            setattr(settings, name, value)
        for name, weight in kept_weights:
            track = tracking.tracks.get(name)
            if track is not None:
                track.weight = weight
    reconstruction = tracking.reconstruction
    if outcome != {"FINISHED"} or not reconstruction.is_valid or len(reconstruction.cameras) < 0.9 * len(frames):
        raise NativeError("Blender's own solver found no reconstruction")
    return float(reconstruction.average_error)


_SETTINGS = {
    "use_keyframe_selection": False,
    "use_tripod_solver": False,
    "refine_intrinsics_focal_length": False,
    "refine_intrinsics_principal_point": False,
    "refine_intrinsics_radial_distortion": False,
    "refine_intrinsics_tangential_distortion": False,
}


def align(clip: bpy.types.MovieClip, shot: jobfolder.Shot) -> np.ndarray:
    """4x4 similarity from the native reconstruction's frame to the solver's world: what a camera with Blender's Camera Solver
    constraint needs as its own matrix, under the scene's parent, to move as ours does."""
    numbering = clip_frames.numbering_of(clip)
    index_of = {numbering.marker_frame(int(n)): i for i, n in enumerate(shot.numbers)}
    ours, theirs = [], []
    for camera in clip.tracking.reconstruction.cameras:
        if camera.frame in index_of:
            ours.append(coordinates.blender_from_opencv(shot.c2w[index_of[camera.frame]]))
            theirs.append(np.array(camera.matrix))
    if len(ours) < 2:
        raise NativeError("The native reconstruction has too few cameras")
    ours, theirs = np.array(ours), np.array(theirs)
    product = np.einsum("nij,nkj->ik", ours[:, :3, :3], theirs[:, :3, :3])
    u, _, vt = np.linalg.svd(product)
    rotation = u @ np.diag([1.0, 1.0, np.linalg.det(u @ vt)]) @ vt
    a, b = theirs[:, :3, 3] - theirs[:, :3, 3].mean(0), ours[:, :3, 3] - ours[:, :3, 3].mean(0)
    scale = float(((a @ rotation.T) * b).sum() / max((a**2).sum(), 1e-30))
    out = np.eye(4)
    out[:3, :3] = scale * rotation
    out[:3, 3] = ours[:, :3, 3].mean(0) - out[:3, :3] @ theirs[:, :3, 3].mean(0)
    return out


def solver_camera_matrix(clip: bpy.types.MovieClip, shot: jobfolder.Shot) -> Matrix:
    """`align` as Blender's matrix."""
    return Matrix(align(clip, shot).tolist())


def _spread_points(shot: jobfolder.Shot, count: int) -> np.ndarray:
    """Indices of points seen in most frames, spread over the middle frame's picture."""
    points = shot.points.xyz
    if len(points) < 12:
        return np.zeros(0, int)
    seen = np.zeros(len(points), int)
    for index in np.unique(np.linspace(0, len(shot.numbers) - 1, 9).astype(int)):
        seen += _inside(shot, index, points)[1]
    pixels, inside = _inside(shot, shot.middle, points)
    candidates = np.flatnonzero(inside & (seen >= max(5, seen.max() - 2)))
    if len(candidates) <= count:
        return candidates
    chosen = [int(candidates[np.argmin(shot.points.error_px[candidates])])]
    distance = np.full(len(candidates), np.inf)
    while len(chosen) < count:  # always the one farthest from all chosen
        distance = np.minimum(distance, ((pixels[candidates] - pixels[chosen[-1]]) ** 2).sum(1))
        chosen.append(int(candidates[np.argmax(distance)]))
    return np.array(sorted(set(chosen)))


def _inside(shot: jobfolder.Shot, index: int, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distorted pixels (N, 2) of points in a solved frame, and which of them lie in the picture."""
    pixels, depth = coordinates.project(points, shot.c2w[index], *shot.intrinsics[index], shot.k1, shot.k2)
    with np.errstate(invalid="ignore"):
        return pixels, (depth > 0) & (pixels > 0).all(1) & (pixels < (shot.width, shot.height)).all(1)


def _write_exact(clip: bpy.types.MovieClip, shot: jobfolder.Shot, chosen: np.ndarray) -> list[int]:
    """Write the exact tracks; surplus ones of an earlier time are emptied. Returns the marker frames written."""
    numbering = clip_frames.numbering_of(clip)
    frames = [numbering.marker_frame(int(n)) for n in shot.numbers]
    places, inside = zip(*(_inside(shot, i, shot.points.xyz[chosen]) for i in range(len(frames))))
    places, inside = np.array(places) / (shot.width, shot.height), np.array(inside)
    have = {track.name: track for track in clip.tracking.tracks if track.name.startswith(OBJECT_PREFIX)}
    for row in range(len(chosen)):
        live = [i for i in range(len(frames)) if inside[i, row] and frames[i] >= 1]
        name = f"{OBJECT_PREFIX}{row:03d}"
        track = have.pop(name, None) or clip.tracking.tracks.new(name=name, frame=frames[live[0]] if live else 1)
        track.name = name
        scene_clip.write_markers(track, [frames[i] for i in live], [[places[i, row, 0], 1.0 - places[i, row, 1]] for i in live])
        track.weight, track.hide, track.lock = 1.0, True, True
    for track in have.values():
        track.weight, track.hide = 0.0, True
    return [frame for frame in frames if frame >= 1]


def _keyframe_pair(shot: jobfolder.Shot, chosen: np.ndarray) -> tuple[int, int]:
    """Two solved frames with the most parallax between them that still see most of the points."""
    points = shot.points.xyz[chosen]
    step = max(1, len(shot.numbers) // 24)
    best, pair = -1.0, (0, len(shot.numbers) - 1)
    indices = list(range(0, len(shot.numbers), step))
    visible = {i: _inside(shot, i, points)[1] for i in indices}
    for i in indices:
        for j in indices:
            if j <= i:
                continue
            both = visible[i] & visible[j]
            if both.sum() < max(10, 0.6 * len(chosen)):
                continue
            a, b = points[both] - shot.c2w[i, :3, 3], points[both] - shot.c2w[j, :3, 3]
            cosine = (a * b).sum(1) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1))
            angle = float(np.median(np.arccos(np.clip(cosine, -1, 1))))
            if angle > best:
                best, pair = angle, (i, j)
    return pair


def add_solver_camera(
    scene: bpy.types.Scene,
    clip: bpy.types.MovieClip,
    shot: jobfolder.Shot,
    parent: bpy.types.Object,
    collection: bpy.types.Collection,
) -> bpy.types.Object:
    """A camera driven by Blender's Camera Solver constraint, where ours is: for tools that ask for one."""
    data = bpy.data.cameras.new(f"{clip.name} Solver Camera")
    ob = bpy.data.objects.new(data.name, data)
    collection.objects.link(ob)
    ob.parent = parent
    ob.matrix_basis = solver_camera_matrix(clip, shot)
    constraint = ob.constraints.new("CAMERA_SOLVER")
    constraint.use_active_clip = False
    constraint.clip = clip
    with contextlib.suppress(AttributeError):
        data.sensor_width = clip.tracking.camera.sensor_width
    data.lens = clip.tracking.camera.focal_length
    return ob
