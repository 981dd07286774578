"""Saved, loaded, appended, linked, moved, copied: a solve stays with its scene, and scenes do not share state by accident."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest

from . import synthetic


@pytest.fixture
def solved(blender, tmp_path):
    """A file with a solved shot and a prop in it, saved in tmp_path/project, footage and job folder beside it."""
    from addon import headless, props

    truth = synthetic.write_job(tmp_path / "project", frames=6)
    scene = headless.new_scene("shot")
    headless.import_job(truth.folder, truth.footage, scene)
    props.place_prop(scene, scene.holdfast.clip, "CONE", (160.0, 150.0), 3)
    return headless.save_blend(tmp_path / "project" / "shot.blend"), truth


def camera_of(scene):
    from addon import scene_objects

    return scene_objects.find(scene, scene.holdfast.clip.holdfast.uid, scene_objects.CAMERA)


def poses(scene):
    import bpy

    bpy.context.window.scene = scene  # only scenes in a window are evaluated
    scene.view_layers[0].update()
    graph = bpy.context.evaluated_depsgraph_get()
    out = []
    for frame in range(scene.frame_start, scene.frame_end + 1):
        scene.frame_set(frame)
        graph.update()
        out.append(np.array(camera_of(scene).evaluated_get(graph).matrix_world))
    return np.array(out)


def test_reload_keeps_everything(blender, solved):
    from addon import importer, overlay

    path, truth = solved
    scene = blender.context.scene
    before, count = poses(scene), len(scene.objects)
    blender.ops.wm.open_mainfile(filepath=str(path))
    scene = blender.data.scenes["shot"]
    assert np.allclose(poses(scene), before, atol=1e-6)
    assert len(scene.objects) == count
    clip = scene.holdfast.clip
    assert clip.holdfast.job_folder.startswith("//")
    assert importer.job_folder_of(clip) == truth.folder
    assert overlay.load(clip).keypoints(1003, "ERROR")[0].shape[1] == 2


def test_a_lock_test_of_an_opened_file_shows_the_same(blender, solved, tmp_path):
    """Before anything has drawn the footage, Blender's own word on its size is 256 by 256."""
    from addon import headless, pictures

    path, _ = solved
    before = headless.render_lock_frames(tmp_path / "before", [3], (240, 135), 4, blender.data.scenes["shot"])
    blender.ops.wm.open_mainfile(filepath=str(path))
    after = headless.render_lock_frames(tmp_path / "after", [3], (240, 135), 4, blender.data.scenes["shot"])
    assert np.abs(pictures.read_png(after[0]) - pictures.read_png(before[0])).max() < 0.02


def test_the_project_can_be_moved(blender, solved, tmp_path):
    from addon import importer, jobfolder

    shutil.move(tmp_path / "project", tmp_path / "elsewhere")
    blender.ops.wm.open_mainfile(filepath=str(tmp_path / "elsewhere" / "shot.blend"))
    clip = blender.data.scenes["shot"].holdfast.clip
    assert importer.job_folder_of(clip) == tmp_path / "elsewhere" / "job"
    assert Path(blender.path.abspath(clip.filepath)).is_file()
    importer.import_shot(blender.data.scenes["shot"], clip, importer.job_folder_of(clip))
    assert len(jobfolder.read_shot(importer.job_folder_of(clip)).numbers) == 6


def test_saved_elsewhere_it_still_finds_the_solve(blender, solved, tmp_path):
    from addon import importer

    _, truth = solved
    clip = blender.context.scene.holdfast.clip
    blender.ops.wm.save_as_mainfile(filepath=str(tmp_path / "copy.blend"), copy=True)
    assert importer.job_folder_of(clip) == truth.folder  # this file's paths are still this file's
    (tmp_path / "deep" / "er").mkdir(parents=True)
    blender.ops.wm.save_as_mainfile(filepath=str(tmp_path / "deep" / "er" / "new.blend"))
    assert importer.job_folder_of(clip).resolve() == truth.folder
    assert clip.holdfast.job_folder == "//../../project/job"
    blender.ops.wm.open_mainfile(filepath=str(tmp_path / "copy.blend"))
    assert blender.data.scenes["shot"].holdfast.clip.holdfast.job_folder == "//project/job"


def test_first_save_takes_the_solve_out_of_the_temporary_folder(blender, tmp_path, monkeypatch):
    from addon import headless, importer

    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(tmp_path / "tmp"))
    truth = synthetic.write_job(tmp_path / "tmp" / "holdfast" / "x", frames=4)
    scene = headless.new_scene("shot")
    headless.import_job(truth.folder, truth.footage, scene)
    (tmp_path / "mine").mkdir()
    blender.ops.wm.save_as_mainfile(filepath=str(tmp_path / "mine" / "a.blend"))
    clip = scene.holdfast.clip
    assert clip.holdfast.job_folder == "//holdfast/job"
    shutil.rmtree(truth.folder)
    assert (importer.job_folder_of(clip) / "solve.json").is_file()


def test_append(blender, solved, tmp_path):
    from addon import importer, properties, props, scene_objects

    path, truth = solved
    before = poses(blender.context.scene)
    blender.ops.wm.read_homefile(use_factory_startup=True)
    for _ in range(2):
        with blender.data.libraries.load(str(path)) as (_, wanted):
            wanted.scenes = ["shot"]
    first, second = (s for s in blender.data.scenes if s.name.startswith("shot"))
    for scene in (first, second):
        assert np.allclose(poses(scene), before, atol=1e-6)
        assert importer.job_folder_of(scene.holdfast.clip).resolve() == truth.folder  # paths were relative to the other file
        properties.ensure_uid(scene.holdfast.clip)
    one, other = first.holdfast.clip, second.holdfast.clip
    if one != other:  # two copies of the clip: each with its own scene
        assert one.holdfast.uid != other.holdfast.uid
    for scene in (first, second):
        uid = scene.holdfast.clip.holdfast.uid
        assert scene_objects.find(scene, uid, scene_objects.CAMERA)
        assert len(scene_objects.riders(scene, uid)) == 1
        props.place_prop(scene, scene.holdfast.clip, "GREY", (160.0, 150.0), 3)


def test_linked(blender, solved):
    from addon import importer, overlay, session

    path, truth = solved
    before = poses(blender.context.scene)
    blender.ops.wm.read_homefile(use_factory_startup=True)
    blender.ops.wm.save_as_mainfile(filepath=str(path.parent.parent / "other.blend"))
    with blender.data.libraries.load(str(path), link=True) as (_, wanted):
        wanted.scenes = ["shot"]
    scene = blender.data.scenes["shot"]
    assert np.allclose(poses(scene), before, atol=1e-6)
    clip = scene.holdfast.clip
    assert importer.job_folder_of(clip).resolve() == truth.folder
    assert overlay.load(clip) is not None
    with pytest.raises(ValueError, match="linked"):
        session.start(blender.context.scene, clip)


def test_two_clips_in_one_file(blender, tmp_path):
    from addon import headless, importer, scene_objects

    made = []
    for name, first in (("a", 1001), ("b", 1)):
        truth = synthetic.write_job(tmp_path / name, frames=5, first=first, name=name, seed=first)
        scene = headless.new_scene(name)
        headless.import_job(truth.folder, truth.footage, scene)
        made.append((scene, truth))
    (one, truth_one), (two, _) = made
    before = poses(two)
    assert one.holdfast.clip.holdfast.uid != two.holdfast.clip.holdfast.uid
    importer.import_shot(one, one.holdfast.clip, truth_one.folder)  # again: nothing of the other
    assert np.allclose(poses(two), before)
    # both in one scene: two cameras, two parents
    importer.import_shot(two, one.holdfast.clip, truth_one.folder, "KEEP")
    for clip in (one.holdfast.clip, two.holdfast.clip):
        for role in (scene_objects.CAMERA, scene_objects.PARENT, scene_objects.POINTS):
            assert len(scene_objects.tagged(two, clip.holdfast.uid, role)) == 1


@pytest.mark.parametrize("kind", ["FULL_COPY", "LINK_COPY"])
def test_copied_scene(blender, solved, kind):
    from addon import fixup, importer, scene_objects

    _, truth = solved
    scene = blender.context.scene
    uid = scene.holdfast.clip.holdfast.uid
    before, objects = poses(scene), {ob.name for ob in scene.objects}
    blender.ops.scene.new(type=kind)
    other = blender.context.scene
    assert other != scene
    if kind == "LINK_COPY":  # the same objects by the artist's wish
        assert {ob.name for ob in other.objects} == objects
        return
    fixup.apply(other, uid, np.diag([2.0, 2.0, 2.0, 1.0]))
    synthetic.write_job(truth.folder.parent, frames=6, focal=250.0, seed=9)
    importer.import_shot(other, other.holdfast.clip, truth.folder)
    assert {ob.name for ob in scene.objects} == objects
    assert np.allclose(poses(scene), before, atol=1e-6)
    assert not np.allclose(poses(other), before, atol=1e-2)
    assert camera_of(other) != camera_of(scene)
    assert camera_of(other).animation_data.action != camera_of(scene).animation_data.action
    assert len(scene_objects.riders(scene, uid)) == len(scene_objects.riders(other, uid)) == 1
