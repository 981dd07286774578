"""What an import makes, what it replaces, and what it leaves alone."""

from __future__ import annotations

import json

import numpy as np
import pytest
from mathutils import Matrix

from . import synthetic


def objects_of(bpy, role):
    from addon import scene_objects

    return [ob for ob in bpy.data.objects if ob.get(scene_objects.ROLE_KEY) == role]


@pytest.fixture
def shot(tmp_path):
    return synthetic.write_job(tmp_path, gauge=np.diag([0.2, 0.2, 0.2, 1.0]))


@pytest.fixture
def imported(blender, shot):
    from addon import headless, importer

    clip = headless.load_clip(shot.footage)
    return importer.import_shot(blender.context.scene, clip, shot.folder, "SET")


def test_scene_is_set_and_stands_up(blender, shot, imported):
    scene, clip = blender.context.scene, blender.data.movieclips[0]
    assert (scene.frame_start, scene.frame_end, scene.render.fps, scene.render.fps_base) == (1, 8, 25, 1.0)
    assert scene.camera == imported.camera
    assert imported.parent["holdfast_ground"]
    # The ground is at z = 0 with z up: the truth's floor lies there, and the camera 1.5 m (times the scale) above it.
    matrix = np.array(imported.parent.matrix_world)
    floor = shot.points[:300] @ matrix[:3, :3].T + matrix[:3, 3]
    depth = np.median((shot.points - shot.c2w[4, :3, 3]) @ shot.c2w[4, :3, 2])
    assert np.abs(floor[:, 2]).max() < 0.02
    assert matrix[:3, :3] @ np.array([0, 0, 1.0]) / np.cbrt(np.linalg.det(matrix[:3, :3])) == pytest.approx([0, 0, 1], abs=5e-3)
    assert np.cbrt(np.linalg.det(matrix[:3, :3])) == pytest.approx(5.0 / depth, rel=1e-5)
    background = imported.camera.data.background_images[0]
    assert background.clip == clip
    assert imported.camera.data.show_background_images
    own = clip.holdfast
    assert own.summary.startswith("A good solve")
    assert own.frames_solved == 8
    assert own.error_px == pytest.approx(0.12)
    assert own.focal_result_mm == pytest.approx(300 * 35 / 320, rel=1e-5)


def test_every_scene_frame_shows_the_frame_it_was_solved_from(blender, shot):
    """The number of white squares in the plate is the frame's index; the camera at that scene frame must be that index's."""
    from addon import headless, importer, pictures

    scene = blender.context.scene
    clip = headless.load_clip(shot.footage)
    clip.frame_start, clip.frame_offset = 11, 2
    made = importer.import_shot(scene, clip, shot.folder, "SET")
    assert (scene.frame_start, scene.frame_end) == (9, 16)
    frames = [11, 14]  # from frame_start on
    plates = pictures.render_plates(clip, frames, (shot.width, shot.height), shot.folder)
    for frame, plate in zip(frames, plates):
        index = int((pictures.read_png(plate)[4, 5:80:8, 0] > 0.9).sum()) - 1
        assert index == frame - 9
        scene.frame_set(frame)
        centre = made.parent.matrix_world.inverted() @ made.camera.matrix_world.translation
        assert np.abs(np.array(centre) - shot.c2w[index, :3, 3]).max() < 1e-5


def test_tracks_become_markers(blender, shot, imported):
    clip = blender.data.movieclips[0]
    with np.load(shot.folder / "tracks.npz") as file:
        number, frame_index, xy = file["track"], file["frame_index"], file["xy"]
    assert imported.track_count == (np.bincount(number) >= 2).sum() > 100
    assert len(clip.tracking.tracks) == imported.track_count
    for track in list(clip.tracking.tracks)[::7] + [clip.tracking.tracks[0]]:
        mine = number == int(track.name.split(".")[1])
        live = {m.frame: m.co[:] for m in track.markers if not m.mute}
        assert sorted(live) == sorted((frame_index[mine] + 1).tolist())
        for frame, place in zip(frame_index[mine] + 1, xy[mine]):
            assert np.abs(np.array(live[frame]) * (shot.width, shot.height) - (place[0], shot.height - place[1])).max() < 1e-3
    first = next(t for t in clip.tracking.tracks if int(t.name.split(".")[1]) == number[0])
    assert first.markers.find_frame(3).mute  # lost for a frame, not guessed across it


def test_lens_goes_onto_the_clip(blender, tmp_path):
    from addon import headless, importer

    truth = synthetic.write_job(tmp_path, k1=-0.11, k2=0.02, centre=(150.0, 101.0), depth=False)
    clip = headless.load_clip(truth.footage)
    made = importer.import_shot(blender.context.scene, clip, truth.folder, "SET")
    lens = clip.tracking.camera
    assert (lens.k1, lens.k2, lens.k3) == pytest.approx((-0.11, 0.02, 0.0))
    assert lens.focal_length_pixels == pytest.approx(300.0, rel=1e-5)
    assert tuple(lens.principal_point_pixels) == pytest.approx((150.0, 180 - 101.0), abs=1e-3)
    assert made.camera.data.background_images[0].clip_user.use_render_undistorted


def test_solving_again_replaces_only_our_own(blender, shot, imported, tmp_path):
    from addon import importer, scene_objects

    scene, clip = blender.context.scene, blender.data.movieclips[0]
    mine = blender.data.objects.new("Mine", None)
    imported.collection.objects.link(mine)
    mine.parent = imported.camera
    clip.tracking.tracks.new(name="By Hand", frame=1)
    before = {
        name: len(getattr(blender.data, name))
        for name in ("objects", "meshes", "cameras", "actions", "materials", "node_groups", "collections")
    }
    camera, default_cube = imported.camera, blender.data.objects["Cube"]
    other = synthetic.write_job(tmp_path / "again", focal=310.0, seed=9, tracks_per_point=60)
    importer.import_shot(scene, clip, other.folder, "KEEP")
    assert {name: len(getattr(blender.data, name)) for name in before} == before
    assert scene_objects.find(scene, clip.holdfast.uid, "camera") == camera
    assert mine.parent == camera
    assert default_cube.name in scene.objects
    assert camera.data.lens == pytest.approx(310 * 35 / 320, rel=1e-5)
    names = [t.name for t in clip.tracking.tracks]
    assert "By Hand" in names
    with np.load(other.folder / "tracks.npz") as file:
        wanted = set(np.flatnonzero(np.bincount(file["track"]) >= 2).tolist())
    assert {int(n.split(".")[1]) for n in names if n.startswith("HF.")} == wanted


def test_a_fixed_scene_keeps_its_place(blender, shot, imported, tmp_path):
    """A new solve in another gauge lands where the artist had put the old one."""
    from addon import importer

    scene, clip = blender.context.scene, blender.data.movieclips[0]
    imported.parent.matrix_basis = Matrix.Translation((4, -3, 1)) @ Matrix.Rotation(0.4, 4, "Z") @ imported.parent.matrix_basis
    scene.frame_set(5)
    before = imported.camera.matrix_world.copy()
    gauge = np.eye(4)
    gauge[:3, :3], gauge[:3, 3] = 7.0 * synthetic.rotation("x", 1.1) @ synthetic.rotation("y", 0.3), (5, 6, 7)
    other = synthetic.write_job(tmp_path / "again", gauge=gauge)
    importer.import_shot(scene, clip, other.folder, "KEEP")
    scene.frame_set(5)
    after = imported.camera.matrix_world
    assert np.abs(np.array(before.translation) - np.array(after.translation)).max() < 1e-3
    assert before.to_quaternion().rotation_difference(after.to_quaternion()).angle < 1e-3
    scene.frame_set(1)
    assert after != before


def test_a_scene_in_use_is_left_alone_unless_asked(blender, shot):
    from addon import headless, importer

    scene = blender.context.scene
    scene.collection.objects.link(blender.data.objects.new("Work", None))
    camera = scene.camera
    clip = headless.load_clip(shot.footage)
    made = importer.import_shot(scene, clip, shot.folder, "AUTO")
    assert (scene.frame_end, scene.render.resolution_x, scene.camera) == (250, 1920, camera)
    assert not made.scene_set
    assert not made.scene_matches
    made = importer.import_shot(scene, clip, shot.folder, "SET")
    assert made.scene_matches
    assert scene.camera == made.camera


def test_two_clips_share_nothing(blender, shot, tmp_path):
    from addon import headless, importer, properties

    scene = blender.context.scene
    other = synthetic.write_job(tmp_path / "b", name="other", frames=5)
    first = importer.import_shot(scene, headless.load_clip(shot.footage), shot.folder, "SET")
    second = importer.import_shot(scene, headless.load_clip(other.footage), other.folder, "SET")
    assert first.camera != second.camera
    assert first.collection != second.collection
    copy = blender.data.movieclips["shot.1001.png"].copy()
    assert properties.ensure_uid(copy) != blender.data.movieclips["shot.1001.png"].holdfast.uid


def test_broken_folders_say_so_and_change_nothing(blender, shot):
    from addon import headless, importer, jobfolder

    clip = headless.load_clip(shot.footage)
    path = shot.folder / "solve.json"
    data = json.loads(path.read_text())
    broken = {
        "missing": None,
        "not json": "{",
        "schema": json.dumps({**data, "schema": 99}),
        "no cameras": json.dumps({**data, "frames": []}),
        "nan": json.dumps({**data, "frames": [{**data["frames"][0], "c2w": [[float("nan")] * 4] * 4}]}),
        "no focal": json.dumps({**data, "frames": [{"frame": 1, "c2w": np.eye(4).tolist()}]}),
    }
    before = sorted(ob.name for ob in blender.data.objects)
    for text in broken.values():
        path.unlink(missing_ok=True)
        if text is not None:
            path.write_text(text)
        with pytest.raises(jobfolder.JobFolderError) as error:
            importer.import_shot(blender.context.scene, clip, shot.folder)
        assert "\n" not in str(error.value)
        assert sorted(ob.name for ob in blender.data.objects) == before


def test_saved_file_survives_moving(blender, shot, imported, tmp_path):
    """Save, move the folder, open: the job folder and the footage are found, the camera is as it was."""
    from addon import headless, importer

    camera = [list(row) for row in imported.camera.matrix_world]
    headless.save_blend(tmp_path / "scene.blend")
    moved = tmp_path.with_name(tmp_path.name + "_moved")
    tmp_path.rename(moved)
    blender.ops.wm.open_mainfile(filepath=str(moved / "scene.blend"))
    clip = blender.context.scene.holdfast.clip
    assert importer.job_folder_of(clip) == moved / "job"
    assert importer.job_folder_of(clip).is_dir()
    assert blender.path.abspath(clip.filepath) == str(moved / "shot.1001.png")
    assert np.abs(np.array(blender.context.scene.camera.matrix_world) - np.array(camera)).max() < 1e-6


def test_import_is_quick(blender, tmp_path):
    """5,000 points and 200 frames; the bound is generous, as other work may share the machine."""
    import time

    from addon import headless, importer

    truth = synthetic.write_job(tmp_path, frames=200, pictures=False)
    synthetic.write_png(truth.footage, np.zeros((truth.height, truth.width, 3), np.uint8))
    rng = np.random.default_rng(0)
    np.savez(
        truth.folder / "points.npz",
        xyz=rng.normal(size=(5000, 3)).astype(np.float32) + (0, 6, 1),
        rgb=rng.integers(0, 255, (5000, 3)).astype(np.uint8),
    )
    clip = headless.load_clip(truth.footage)
    begun = time.process_time()
    importer.import_shot(blender.context.scene, clip, truth.folder, "SET")
    assert time.process_time() - begun < 1.5
