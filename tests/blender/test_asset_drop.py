"""What was dropped stands upright on the surface under the cursor, faces the camera, and goes along when the scene is fixed."""

from __future__ import annotations

import numpy as np
import pytest
from mathutils import Euler, Matrix, Vector

from . import synthetic


@pytest.fixture
def scene(blender, tmp_path):
    from addon import headless

    truth = synthetic.write_job(tmp_path, width=640, height=360, focal=600.0)
    scene = headless.new_scene("shot")
    headless.import_job(truth.folder, truth.footage, scene)
    scene.frame_set(5)
    return scene


def ray(scene, pixel):
    """Origin and direction through a pixel of the pinhole picture, from Blender's own camera."""
    camera = scene.camera
    corners = [camera.matrix_world @ corner for corner in camera.data.view_frame(scene=scene)]
    right, left_bottom, left = corners[0], corners[2], corners[3]
    place = left + (right - left) * (pixel[0] / 640) + (left_bottom - left) * (pixel[1] / 360)
    origin = np.array(camera.matrix_world.translation)
    direction = np.array(place) - origin
    return origin, direction / np.linalg.norm(direction)


def dropped(blender, scene, name="Asset", tilt=(0.6, -0.4, 1.1)):
    """An object as Blender's drop leaves it: somewhere, tilted."""
    mesh = blender.data.meshes.new(name)
    mesh.from_pydata([(-0.2, -0.3, -0.5), (0.2, -0.3, -0.5), (0.2, 0.3, -0.5), (0.0, 0.0, 0.7)], [], [(0, 1, 2), (0, 1, 3)])
    ob = blender.data.objects.new(name, mesh)
    ob.matrix_world = Matrix.LocRotScale((1.0, 2.0, 3.0), Euler(tilt), (2.0, 2.0, 2.0))
    scene.collection.objects.link(ob)
    ob.select_set(True)
    blender.context.view_layer.objects.active = ob
    blender.context.view_layer.update()
    return ob


def test_upright_on_the_ground_under_the_cursor(blender, scene):
    from addon import props

    ob = dropped(blender, scene)
    origin, direction = ray(scene, (250.0, 300.0))
    assert blender.ops.holdfast.settle(origin=origin, direction=direction) == {"FINISHED"}
    low, high = props.bounds([ob])
    foot = np.array([(low[0] + high[0]) / 2, (low[1] + high[1]) / 2, low[2]])
    assert abs(foot[2]) < 0.02
    off = np.cross(foot - origin, direction)
    assert np.linalg.norm(off) / np.linalg.norm(foot - origin) * 600 < 0.1  # px from the cursor's line of sight
    assert ob.matrix_world.col[2].xyz.normalized().z == pytest.approx(1.0, abs=1e-6)
    assert ob.matrix_world.to_scale()[:] == pytest.approx((2.0, 2.0, 2.0), rel=1e-5)
    front = -ob.matrix_world.col[1].xyz
    towards = scene.camera.matrix_world.translation - ob.matrix_world.translation
    assert front.xy.normalized().dot(towards.xy.normalized()) > 0.999
    assert blender.ops.holdfast.settle(origin=origin, direction=-direction) == {"CANCELLED"}  # nothing in the sky


def test_heading_is_kept_when_asked(blender, scene):
    ob = dropped(blender, scene, tilt=(0.0, 0.0, 1.0))
    origin, direction = ray(scene, (250.0, 300.0))
    blender.ops.holdfast.settle(origin=origin, direction=direction, face_camera=False)
    assert ob.matrix_world.to_euler().z == pytest.approx(1.0, abs=1e-5)


def test_beside_a_wall_it_keeps_clear(blender, scene):
    from addon import props, surfaces

    ob = dropped(blender, scene)
    origin, direction = ray(scene, (320.0, 165.0))
    point, normal, _ = surfaces.hit(scene, scene.holdfast.clip.holdfast.uid, origin, direction)
    assert abs(normal[2]) < 0.3  # the box's front or the back wall
    blender.ops.holdfast.settle(origin=origin, direction=direction)
    low, high = props.bounds([ob])
    assert ((np.array([(low + high) / 2])[0] - point) @ normal) > 0.9 * min(high[0] - low[0], high[1] - low[1]) / 2


def test_parents_move_their_children_and_instances_count(blender, scene):
    from addon import props

    parent = dropped(blender, scene, "Parent")
    child = dropped(blender, scene, "Child")
    child.parent = parent
    child.matrix_parent_inverse = parent.matrix_world.inverted()
    blender.context.view_layer.update()
    relative = parent.matrix_world.inverted() @ child.matrix_world
    origin, direction = ray(scene, (250.0, 300.0))
    blender.ops.holdfast.settle(origin=origin, direction=direction)
    assert np.allclose(np.array(parent.matrix_world.inverted() @ child.matrix_world), np.array(relative), atol=1e-5)
    collection = blender.data.collections.new("Part")
    part = blender.data.objects.new("Part", parent.data)
    collection.objects.link(part)
    empty = blender.data.objects.new("Instance", None)
    empty.instance_type, empty.instance_collection = "COLLECTION", collection
    scene.collection.objects.link(empty)
    for other in blender.context.selected_objects:
        other.select_set(False)
    empty.select_set(True)
    blender.context.view_layer.update()
    assert blender.ops.holdfast.settle(origin=origin, direction=direction) == {"FINISHED"}
    assert abs(props.bounds([empty])[0][2]) < 0.02  # its lowest point, half a unit below its origin


def test_it_goes_along_when_the_scene_is_fixed(blender, scene):
    from addon import fixup, scene_objects

    ob = dropped(blender, scene)
    origin, direction = ray(scene, (250.0, 300.0))
    blender.ops.holdfast.settle(origin=origin, direction=direction)
    parent = scene_objects.find(scene, scene.holdfast.clip.holdfast.uid, scene_objects.PARENT)
    before = np.array(parent.matrix_world.inverted() @ ob.matrix_world)
    change = np.array(Matrix.Translation(Vector((1, 2, 3))) @ Matrix.Rotation(0.3, 4, "Z") @ Matrix.Scale(2.0, 4))
    fixup.apply(scene, scene.holdfast.clip.holdfast.uid, change)
    assert np.allclose(np.array(parent.matrix_world.inverted() @ ob.matrix_world), before, atol=1e-5)


def test_our_own_objects_are_never_settled(blender, scene):
    for ob in scene.objects:
        if ob.get("holdfast_role") in {"parent", "camera", "points"}:
            ob.select_set(True)
    origin, direction = ray(scene, (250.0, 300.0))
    assert blender.ops.holdfast.settle(origin=origin, direction=direction) == {"CANCELLED"}


def test_test_objects_become_assets_once(blender, scene):
    count = len(scene.objects)
    assert blender.ops.holdfast.prop_assets() == {"FINISHED"}
    assets = [ob for ob in blender.data.objects if ob.asset_data]
    assert len(assets) == 4
    assert all(ob.asset_data.description and min(v[2] for v in ob.bound_box) == pytest.approx(0.0, abs=1e-6) for ob in assets)
    assert blender.ops.holdfast.prop_assets() == {"FINISHED"}
    assert len([ob for ob in blender.data.objects if ob.asset_data]) == 4
    assert len(scene.objects) == count
