"""Fixing the scene by points, quality, and Blender's own reconstruction."""

from __future__ import annotations

import json

import numpy as np
import pytest
from mathutils import Vector

from . import synthetic


@pytest.fixture
def imported(blender, tmp_path):
    from addon import headless, importer

    truth = synthetic.write_job(tmp_path, gauge=np.diag([2.0, 2.0, 2.0, 1.0]), depth=False, frames=10, k1=-0.05)
    made = importer.import_shot(blender.context.scene, headless.load_clip(truth.footage), truth.folder, "SET")
    return truth, made, blender.data.movieclips[0]


def choose(made, indices):
    flags = np.zeros(len(made.points.data.vertices), bool)
    flags[list(indices)] = True
    made.points.data.vertices.foreach_set("select", flags)
    return [np.array(made.points.matrix_world @ made.points.data.vertices[i].co) for i in indices]


def seen(blender, made, clip, index):
    """Where Blender's camera sees all points."""
    from .test_round_trip import blender_pixels

    scene = blender.context.scene
    scene.frame_set(index + 1)
    return blender_pixels(blender, scene, made.camera, [made.points.matrix_world @ v.co for v in made.points.data.vertices])


def test_fixing_moves_the_parent_and_never_the_picture(blender, imported):
    truth, made, clip = imported
    keys = [list(c) for c in (k.co for curve in _curves(made.camera) for k in curve.keyframe_points)]
    before = seen(blender, made, clip, 3)
    points = made.points
    choose(made, [300, 310])  # on the box's front, x apart
    assert blender.ops.holdfast.fix("EXEC_DEFAULT", what="SCALE", distance=0.7) == {"FINISHED"}
    a, b = (np.array(points.matrix_world @ points.data.vertices[i].co) for i in (300, 310))
    assert np.linalg.norm(a - b) == pytest.approx(0.7, rel=1e-4)
    choose(made, range(40))
    assert blender.ops.holdfast.fix("EXEC_DEFAULT", what="GROUND") == {"FINISHED"}
    heights = [(points.matrix_world @ points.data.vertices[i].co).z for i in range(300)]
    assert np.abs(heights).max() < 1e-3
    assert made.camera.matrix_world.translation.z > 0
    choose(made, [300, 310])
    assert blender.ops.holdfast.fix("EXEC_DEFAULT", what="Y") == {"FINISHED"}
    a, b = (np.array(points.matrix_world @ points.data.vertices[i].co) for i in (300, 310))
    assert abs((a - b)[0]) < 1e-4 < abs((a - b)[1])
    choose(made, [5])
    assert blender.ops.holdfast.fix("EXEC_DEFAULT", what="ORIGIN") == {"FINISHED"}
    assert (points.matrix_world @ points.data.vertices[5].co).length < 1e-4
    after = seen(blender, made, clip, 3)
    good = np.isfinite(before).all(1) & (np.abs(before) < 2000).all(1)
    assert np.abs(after - before)[good].max() < 0.05
    assert keys == [list(c) for c in (k.co for curve in _curves(made.camera) for k in curve.keyframe_points)]


def _curves(owner):
    from addon import compat

    return list(compat._channels(owner, owner.name))


def test_props_go_along(blender, imported):
    from addon import fixup, props

    _, made, clip = imported
    scene = blender.context.scene
    prop = props.place_prop(scene, clip, "CONE", (170.0, 150.0), 5)
    local = made.parent.matrix_world.inverted() @ prop.matrix_world.translation
    change = np.diag([2.0, 2.0, 2.0, 1.0])
    change[:3, 3] = (1, 2, 3)
    fixup.apply(scene, clip.holdfast.uid, change)
    assert (made.parent.matrix_world.inverted() @ prop.matrix_world.translation - local).length < 1e-4


@pytest.mark.parametrize(("what", "indices"), [("ORIGIN", []), ("GROUND", [1, 2]), ("SCALE", [1]), ("X", [1, 2, 3])])
def test_too_few_points_say_so(blender, imported, what, indices):
    _, made, _ = imported
    before = made.parent.matrix_world.copy()
    choose(made, indices)
    assert blender.ops.holdfast.fix("EXEC_DEFAULT", what=what) == {"CANCELLED"}
    assert made.parent.matrix_world == before


def test_worst_frame_and_track(blender, imported):
    """One track is pushed off by 5 px in one frame: it must be found, with the frame."""
    from addon import importer, jobfolder, quality

    truth, _, clip = imported
    scene = blender.context.scene
    with np.load(truth.folder / "tracks.npz") as file:
        data = dict(file)
    data["xy"] = data["xy"].copy()
    bad = int(data["track"][(data["frame_index"] == 6) & (data["label"][data["track"]] == 0)][10])
    row = int(np.flatnonzero((data["track"] == bad) & (data["frame_index"] == 6))[0])
    data["xy"][row] += (3.0, 4.0)
    np.savez(truth.folder / "tracks.npz", **data)
    errors = quality.track_errors(jobfolder.read_shot(truth.folder))
    count = int((data["track"] == bad).sum())
    assert (errors[0].number, errors[0].worst) == (bad, 1007)
    assert errors[0].error_px == pytest.approx(5.0 / np.sqrt(count), rel=1e-3)
    assert errors[1].error_px < 0.01
    importer.import_shot(scene, clip, truth.folder, "SET")
    assert blender.ops.holdfast.worst_track("EXEC_DEFAULT", rank=0) == {"FINISHED"}
    assert scene.frame_current == 7
    assert [t.name for t in clip.tracking.tracks if t.select] == [f"HF.{bad:05d}"]
    solve = json.loads((truth.folder / "solve.json").read_text())
    solve["frames"][2]["error_px"] = 0.9
    (truth.folder / "solve.json").write_text(json.dumps(solve))
    assert blender.ops.holdfast.worst_frame("EXEC_DEFAULT", rank=0) == {"FINISHED"}
    assert scene.frame_current == 3


def test_native_reconstruction_is_ours(blender, imported):
    """Blender's own solver, given our projections, moves a constrained camera as ours, to a hair."""
    from addon import native

    truth, made, clip = imported
    scene = blender.context.scene
    by_hand = clip.tracking.tracks.new(name="By Hand", frame=1)
    by_hand.weight = 0.6
    error = native.reconstruct(scene, clip, made.shot)
    assert error < 0.01
    assert clip.tracking.reconstruction.is_valid
    assert clip.tracking.tracks["By Hand"].weight == pytest.approx(0.6)
    camera = native.add_solver_camera(scene, clip, made.shot, made.parent, made.collection)
    size = np.ptp(truth.c2w[:, :3, 3], axis=0).max()
    for frame in range(scene.frame_start, scene.frame_end + 1, 3):
        scene.frame_set(frame)
        ours, theirs = made.camera.matrix_world, camera.matrix_world
        assert (ours.translation - theirs.translation).length < 2e-3 * size
        assert ours.normalized().to_quaternion().rotation_difference(theirs.normalized().to_quaternion()).angle < 1e-4
    count = len(clip.tracking.tracks)
    native.reconstruct(scene, clip, made.shot)  # again: no second set of tracks
    assert len(clip.tracking.tracks) == count
    bundle = next(t for t in clip.tracking.tracks if t.name.startswith("HF.exact.") and t.has_bundle)
    world = made.parent.matrix_world @ native.solver_camera_matrix(clip, made.shot) @ Vector(bundle.bundle)
    nearest = min((world - made.points.matrix_world @ v.co).length for v in made.points.data.vertices)
    assert nearest < 0.01
