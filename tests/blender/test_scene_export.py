"""USD, Alembic and FBX of a solved shot, read back by code that did not write them: points land on the same pixels."""

from __future__ import annotations

import numpy as np
import pytest

from tests.readers import alembic, fbx, usd
from tests.readers.scene import Scene

from . import synthetic

SIMILARITY = np.eye(4)
SIMILARITY[:3, :3] = 2.5 * synthetic.rotation("x", 0.4) @ synthetic.rotation("z", 1.0)
SIMILARITY[:3, 3] = (3, -2, 1)
KINDS = {
    "plain": {},
    "zoom, wide pixels, off centre": {"zoom": True, "pixel_aspect": 1.5, "centre": (170.0, 80.0)},
    "tall pixels, bent lens": {"pixel_aspect": 0.8, "k1": -0.12, "k2": 0.02},
}
FORMATS = ("usd", "alembic", "fbx")


@pytest.fixture(scope="module", params=KINDS)
def shot(request, addon, tmp_path_factory):
    """(truth, format -> path, what Blender held before and after)."""
    import bpy

    from addon import headless, jobfolder, scene_export

    bpy.ops.wm.read_homefile(use_factory_startup=True)
    root = tmp_path_factory.mktemp("shot")
    truth = synthetic.write_job(root, frames=6, gauge=SIMILARITY, metric=True, **KINDS[request.param])
    scene = headless.new_scene("shot")
    headless.import_job(truth.folder, truth.footage, scene)
    kinds = ("scenes", "objects", "meshes", "cameras", "actions", "pointclouds")
    before = {kind: len(getattr(bpy.data, kind)) for kind in kinds}
    stand = np.array(next(ob for ob in scene.objects if ob.get("holdfast_role") == "parent").matrix_world)
    made = scene_export.export_shot(scene, scene.holdfast.clip, jobfolder.read_shot(truth.folder), root / "shot", FORMATS)
    after = {kind: len(getattr(bpy.data, kind)) for kind in kinds}
    return truth, made, (before, after, bpy.context.scene.name, sorted(path.name for path in root.glob("*shot.*[!g]")), stand)


def read(made: dict, name: str) -> Scene:
    if name == "usd":
        scene = usd.read_elsewhere(made["usd"])
        return scene or pytest.skip("no pxr in reach: HOLDFAST_PYTHON names a Python with bpy 4.5 or newer")
    return alembic.read(made["alembic"], 25.0) if name == "alembic" else fbx.read(made["fbx"])


@pytest.mark.parametrize("name", FORMATS)
def test_read_back(shot, name):
    truth, made, _ = shot
    scene = read(made, name)
    assert scene.fps == 25.0 and scene.frames == [float(n) for n in truth.numbers]
    assert len(scene.points) == len(truth.points) and {"ground", "proxy_1004"} <= set(scene.meshes)
    worst = 0.0
    for i in range(len(truth.numbers)):
        expected, depth = synthetic.project(truth.points, truth.c2w[i], *truth.intrinsics[i])  # the undistorted plate
        seen = (depth > 0) & (np.abs(expected - (160, 90)) < 400).all(1)
        got = scene.project(scene.points[seen], i, truth.width, truth.height)
        worst = max(worst, float(np.abs(got - expected[seen]).max()))
        # The proxies lie where the points do: the ground under them, their corners in front of the camera.
        corners = scene.meshes["proxy_1004"]
        on_ground = scene.points[truth.points @ np.linalg.inv(SIMILARITY)[2, :3] + np.linalg.inv(SIMILARITY)[2, 3] < 1e-6]
        assert np.abs(on_ground[:, 1]).max() < 0.05 and np.abs(scene.meshes["ground"][:, 1]).max() < 1e-3
        assert np.isfinite(scene.project(corners, i, truth.width, truth.height)).all()
    assert worst < 0.01, worst


@pytest.mark.parametrize("name", FORMATS)
def test_units_and_lens(shot, name):
    """Blender's units as metres, film and focal length in one unit, and what the formats have no place for as properties."""
    truth, made, (*_, scene_from_world) = shot
    scene = read(made, name)
    world = truth.points @ scene_from_world[:3, :3].T + scene_from_world[:3, 3]
    assert np.abs(scene.points - world[:, [0, 2, 1]] * [1, 1, -1]).max() < 1e-4  # z up in Blender, y up in the files
    fx, fy, cx, cy = truth.intrinsics[-1]
    assert scene.focal[-1] / scene.film[-1, 0] * truth.width == pytest.approx(fx, rel=1e-5)
    assert scene.focal[-1] / scene.film[-1, 1] * truth.height == pytest.approx(fy, rel=1e-5)
    own = scene.properties
    assert own["holdfast_k1"] == pytest.approx(truth.k1) and own["holdfast_k2"] == pytest.approx(truth.k2)
    assert (own["holdfast_cx_px"], own["holdfast_width_px"]) == (cx, truth.width)


def test_nothing_is_left_behind(shot):
    _, made, (before, after, scene, files, _) = shot
    assert before == after and scene == "shot"
    assert [path.name for path in made.values()] == ["shot.usd", "shot.abc", "shot.fbx"] and not [f for f in files if f[0] == "."]


@pytest.mark.parametrize("name", FORMATS)
def test_blender_itself_reads_it_the_same(shot, name):
    import bpy
    from bpy_extras.object_utils import world_to_camera_view
    from mathutils import Vector

    truth, made, _ = shot
    bpy.ops.wm.read_homefile(use_factory_startup=True, use_empty=True)
    options = {"anim_offset": 0.0} if name == "fbx" else {"set_frame_range": True}  # FBX times count from 0
    operator = {"usd": bpy.ops.wm.usd_import, "alembic": bpy.ops.wm.alembic_import, "fbx": bpy.ops.import_scene.fbx}[name]
    operator(filepath=str(made[name]), **options)
    scene = bpy.context.scene
    aspect = truth.intrinsics[0, 1] / truth.intrinsics[0, 0]
    scene.render.resolution_x, scene.render.resolution_y = truth.width, truth.height
    scene.render.pixel_aspect_x, scene.render.pixel_aspect_y = max(1.0, aspect), max(1.0, 1 / aspect)
    scene.render.fps = 25
    cameras = [ob for ob in scene.objects if ob.type == "CAMERA"]
    assert len(cameras) == 1
    # Blender itself takes one focal length from Alembic, before 4.5 from USD too; that the files have all, the readers show.
    one_focal = np.ptp(truth.intrinsics[:, 0]) > 0 and (name == "alembic" or (name == "usd" and bpy.app.version < (4, 5, 0)))
    for i, frame in enumerate(truth.numbers[:1] if one_focal else truth.numbers):
        scene.frame_set(int(frame))
        bpy.context.view_layer.update()
        shown = bpy.context.evaluated_depsgraph_get().objects
        points = [ob for ob in shown if ob.name.startswith("points") and ob.type != "EMPTY"]
        data = points[0].data
        if points[0].type == "POINTCLOUD":
            local = np.array([point.co[:] for point in data.points])
        else:
            local = np.array([vertex.co[:] for vertex in data.vertices]).reshape(-1, 6, 3).mean(1)
        assert len(local) == len(truth.points)
        expected, depth = synthetic.project(truth.points, truth.c2w[i], *truth.intrinsics[i])
        for j in np.flatnonzero((depth > 0) & (np.abs(expected - (160, 90)) < 400).all(1))[::29]:
            u, v, _ = world_to_camera_view(scene, cameras[0], points[0].matrix_world @ Vector(local[j]))
            got = np.array([u * truth.width, (1 - v) * truth.height])
            assert np.abs(got - expected[j]).max() < 0.05, (name, frame, got, expected[j])
