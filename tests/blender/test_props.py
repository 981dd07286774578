"""Props land on the surface under the pixel, stay there over the shot, and are rendered over the right plate."""

from __future__ import annotations

import numpy as np
import pytest
from mathutils import Vector

from . import synthetic
from .test_round_trip import blender_pixels


@pytest.fixture(params=[0.0, -0.1], ids=["pinhole", "distorted"])
def scene(request, blender, tmp_path):
    from addon import headless, importer

    truth = synthetic.write_job(
        tmp_path, width=640, height=360, focal=600.0, k1=request.param, gauge=np.diag([3.0, 3.0, 3.0, 1.0])
    )
    scene = headless.new_scene("shot")
    importer.import_shot(scene, headless.load_clip(truth.footage), truth.folder, "SET")
    scene["truth"] = request.param
    return scene, truth


def test_props_land_under_the_cursor_and_hold(blender, scene):
    from addon import props

    scene, truth = scene
    clip = scene.holdfast.clip
    for kind, pixel in (("CONE", (330.0, 300.0)), ("CUBE", (120.5, 250.0)), ("CHROME", (600.0, 330.0)), ("GREY", (40.0, 200.0))):
        ob = props.place_prop(scene, clip, kind, pixel, 5)
        assert abs(ob.location.z) < 0.02  # on the ground
        assert ob.matrix_world.col[2].xyz.normalized().z == pytest.approx(1.0)  # upright
        foot = np.array(ob.matrix_world.translation)
        # Back into the solver's world, through the true cameras: at the frame of the drop it is under the cursor; at every other
        # frame Blender's camera shows it where the true camera does.
        parent = next(o for o in scene.objects if o.type == "EMPTY")
        world = np.array(parent.matrix_world.inverted() @ Vector(foot))[None]
        seen, _ = synthetic.project(world, truth.c2w[4], *truth.intrinsics[4], truth.k1, truth.k2)
        assert np.abs(seen[0] - pixel).max() < 0.5
        for index in (0, 7):
            scene.frame_set(index + 1)
            want, _ = synthetic.project(world, truth.c2w[index], *truth.intrinsics[index])
            assert np.abs(blender_pixels(blender, scene, scene.camera, foot[None]) - want).max() < 0.05


def test_the_artists_own_object_is_moved_upright(blender, scene):
    from addon import props, scene_objects

    scene, _ = scene
    mesh = blender.data.meshes.new("Own")
    mesh.from_pydata([(0, 0, -1), (1, 0, -1), (0, 1, 2)], [], [(0, 1, 2)])
    own = blender.data.objects.new("Own", mesh)
    scene.collection.objects.link(own)
    assert props.place_prop(scene, scene.holdfast.clip, own, (320.0, 300.0), 3) == own
    low = min((own.matrix_world @ Vector(c)).z for c in own.bound_box)
    assert abs(low) < 0.02
    assert scene_objects.uid_of(own) == ""  # not ours: solving again must not touch it


def test_without_surfaces_the_points_around_carry_the_prop(blender, scene):
    from addon import props, scene_objects

    scene, _ = scene
    clip = scene.holdfast.clip
    scene_objects.remove(scene, clip.holdfast.uid, "ground", "proxy")
    point, normal = props.surface_at(scene, clip, (330.0, 300.0), 5)
    assert abs(point[2]) < 0.05
    assert normal[2] > 0.95
    scene_objects.remove(scene, clip.holdfast.uid, "points")
    with pytest.raises(props.DropError):
        props.surface_at(scene, clip, (330.0, 300.0), 5)


def test_box_proxy_is_hit_before_the_wall(blender, scene):
    from addon import props

    scene, truth = scene
    pixel, depth = synthetic.project(
        np.array([[0.0, 15.0, 1.5]]), truth.c2w[4], *truth.intrinsics[4], truth.k1, truth.k2
    )  # middle of the box's front
    point, _ = props.surface_at(scene, scene.holdfast.clip, tuple(pixel[0]), 5)
    camera = np.array(scene.camera.matrix_world.translation)
    parent = next(o for o in scene.objects if o.type == "EMPTY")
    true = np.array(parent.matrix_world @ Vector((0.0, 15.0, 1.5)))
    assert np.linalg.norm(point - camera) == pytest.approx(np.linalg.norm(true - camera), rel=0.03)


def test_bending_takes_a_wrong_map_to_the_points(tmp_path):
    """A depth map that is wrong by 20 % on one side and right on the other comes out right to 2 % on both."""
    from addon import jobfolder, surfaces

    truth = synthetic.write_job(tmp_path, width=640, height=360, focal=600.0, pictures=False)
    shot = jobfolder.read_shot(truth.folder)
    depth, _ = jobfolder.read_depth(shot.depth_files[1005])
    pixels, right = surfaces._sample_grid(shot, depth)
    wrong = right * np.where(pixels[..., 0] < 320, 1.2, 1.0)
    bent = surfaces.bend_to_points(shot, 4, pixels, wrong)
    inner = (pixels[..., 1] > 120) & (np.abs(pixels[..., 0] - 320) > 120)
    assert np.median(np.abs(bent / right - 1)[inner]) < 0.02
    assert np.median(np.abs(wrong / right - 1)[inner & (pixels[..., 0] < 320)]) > 0.19


def test_a_surface_that_two_keyframes_show_has_one_layer(blender, tmp_path, monkeypatch):
    from addon import jobfolder, surfaces

    truth = synthetic.write_job(tmp_path)
    wrong = 1.1 * synthetic._true_depth(truth.c2w[0], truth.intrinsics[0], truth.width, truth.height, np.eye(4))
    np.savez(truth.folder / "depth" / "001001.npz", depth=wrong.astype(np.float32), scale=1.0, shift=0.0, spread=0.1)
    shot = jobfolder.read_shot(truth.folder)
    monkeypatch.setattr(surfaces, "covering_keyframes", lambda shot: [1005, 1001])
    meshes = surfaces.depth_meshes(shot, np.eye(4), False)
    alone = surfaces.depth_mesh(shot, 1001)
    assert len(meshes[1005][1]) == len(surfaces.depth_mesh(shot, 1005)[1])
    assert 0 < len(meshes[1001][1]) < 0.3 * len(alone[1])  # what only it sees, at the picture's side and behind the box
    vertices, faces = meshes[1001]
    assert faces.max() == len(vertices) - 1


@pytest.mark.slow
def test_lock_frames_show_plate_and_prop(blender, scene, tmp_path):
    """The render lies over the plate of its own frame, where the distorted true camera sees the prop, and hides behind the
    box.
    """
    from addon import headless, pictures, props

    scene, truth = scene
    ball = props.place_prop(scene, scene.holdfast.clip, "GREY", (500.0, 290.0), 5, size=0.5)
    ball.data.materials[0] = synthetic.glowing(blender)
    hidden = ball.copy()
    scene.collection.objects.link(hidden)
    parent = next(o for o in scene.objects if o.type == "EMPTY")
    hidden.matrix_world.translation = parent.matrix_world @ Vector((0.0, 20.0, 0.3))  # behind the box
    before = (scene.render.engine, scene.render.resolution_x, scene.camera.data.sensor_width, scene.frame_current)
    files = headless.render_lock_frames(tmp_path / "out", [2, 8], (640, 360), samples=4, scene=scene)
    for frame, file in zip((2, 8), files):
        image = pictures.read_png(file)
        assert int((image[4, 6:80:8, 0] > 0.9).sum()) == frame
        red = (image[..., 0] > 0.5) & (image[..., 1] < 0.3)
        rows, cols = np.nonzero(red)
        centre = np.array(parent.matrix_world.inverted() @ (ball.matrix_world @ Vector((0, 0, 0.25))))
        want, _ = synthetic.project(centre[None], truth.c2w[frame - 1], *truth.intrinsics[frame - 1], truth.k1, truth.k2)
        assert red.sum() > 200
        assert (
            np.abs(np.array([cols.mean() + 0.5, rows.mean() + 0.5]) - want[0]).max() < 2.0
        )  # a ball off the axis is seen as an egg
        assert not red[:, 280:360].any()  # the one behind the box
    assert (scene.render.engine, scene.render.resolution_x, scene.camera.data.sensor_width, scene.frame_current) == before
    overview = headless.render_overview(tmp_path / "overview.png", (320, 180), scene)
    image = pictures.read_png(overview)
    assert ((image[..., 0] > 0.5) & (image[..., 2] < 0.2)).sum() > 20  # the path is drawn
    assert [s.name for s in blender.data.scenes] == [scene.name]
