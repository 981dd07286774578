"""The solver's cameras and Blender's put every point onto the same pixel."""

from __future__ import annotations

import numpy as np
import pytest
from mathutils import Quaternion, Vector

from . import synthetic

CASES = {
    "hd": {},
    "portrait": {"width": 180, "height": 320},
    "odd": {"width": 251, "height": 333},
    "scope": {"width": 512, "height": 214},
    "anamorphic": {"pixel_aspect": 2.0},
    "narrow pixels": {"pixel_aspect": 0.5, "width": 200, "height": 200},
    "pal": {"width": 360, "height": 288, "pixel_aspect": 16 / 15},
    "off centre": {"centre": (150.0, 101.5)},
    "portrait off centre": {"width": 180, "height": 320, "centre": (99.0, 130.0), "pixel_aspect": 1.2},
    "zoom": {"zoom": True},
    "far gauge": {
        "gauge": np.diag([0.01, 0.01, 0.01, 1.0])
        @ np.block(
            [
                [synthetic.rotation("x", 2.0) @ synthetic.rotation("z", 0.7), np.array([[3.0], [-2.0], [5.0]])],
                [np.zeros((1, 3)), np.ones((1, 1))],
            ]
        )
    },
}


def blender_pixels(bpy, scene, camera, points_world):
    """Pixels (N, 2), y down, from Blender's own projection matrix."""
    depsgraph = bpy.context.evaluated_depsgraph_get()
    render = scene.render
    matrix = camera.calc_matrix_camera(
        depsgraph, x=render.resolution_x, y=render.resolution_y, scale_x=render.pixel_aspect_x, scale_y=render.pixel_aspect_y
    )
    view = camera.matrix_world.normalized().inverted()
    clip = np.array([list(matrix @ view @ Vector((*p, 1.0))) for p in points_world])
    ndc = clip[:, :2] / clip[:, 3:]
    return np.stack([(ndc[:, 0] + 1) / 2 * render.resolution_x, (1 - ndc[:, 1]) / 2 * render.resolution_y], 1)


@pytest.mark.parametrize("fit", ["HORIZONTAL", "VERTICAL", "AUTO"])
@pytest.mark.parametrize("case", CASES)
def test_points_land_where_the_solver_puts_them(blender, tmp_path, case, fit):
    from addon import headless, importer, scene_camera, scene_objects
    from addon.jobfolder import read_shot

    truth = synthetic.write_job(tmp_path, depth=False, frames=4, tracks_per_point=3, **CASES[case])
    scene = blender.context.scene
    clip = headless.load_clip(truth.footage)
    made = importer.import_shot(scene, clip, truth.folder, "SET", with_surfaces=False)
    made.camera.data.sensor_fit = fit
    scene_camera.set_lens(made.camera.data, read_shot(truth.folder), scene_camera.scene_frames(clip, made.shot), 36.0)
    assert (scene.render.resolution_x, scene.render.resolution_y) == (truth.width, truth.height)
    world = np.array([made.parent.matrix_world @ Vector(p) for p in truth.points])
    for i, frame in enumerate(range(scene.frame_start, scene.frame_end + 1)):
        scene.frame_set(frame)
        want, depth = synthetic.project(truth.points, truth.c2w[i], *truth.intrinsics[i])
        inside = (depth > 0) & (want > -50).all(1) & (want < (truth.width + 50, truth.height + 50)).all(1)
        assert inside.sum() > 50
        got = blender_pixels(blender, scene, made.camera, world)
        assert np.abs(got - want)[inside].max() < 0.05
    cloud = scene_objects.find(scene, clip.holdfast.uid, scene_objects.POINTS)
    assert np.abs(np.array([cloud.matrix_world @ v.co for v in cloud.data.vertices]) - world).max() < 1e-3


@pytest.mark.parametrize("fit", ["HORIZONTAL", "VERTICAL", "AUTO"])
def test_lens_inverse(fit):
    from addon import coordinates

    rng = np.random.default_rng(1)
    for _ in range(50):
        width, height = (int(v) for v in rng.integers(100, 4000, 2))
        fx = rng.uniform(0.3, 4) * width
        want = (fx, fx * rng.uniform(0.5, 2), width * rng.uniform(0.4, 0.6), height * rng.uniform(0.4, 0.6))
        lens = coordinates.lens_from_pixels(*want, width, height, rng.uniform(5, 50), fit)
        assert np.allclose(coordinates.pixels_from_lens(lens, width, height), want, rtol=1e-9)


def test_keys_turn_the_short_way():
    from addon import coordinates

    angles = np.linspace(0, 4 * np.pi, 90)
    q = coordinates.quaternions(np.array([synthetic.rotation("y", a) @ synthetic.rotation("x", 0.3) for a in angles]))
    assert (np.einsum("ij,ij->i", q[1:], q[:-1]) > 0.99).all()
    for angle, row in zip(angles, q):
        assert np.allclose(
            synthetic.rotation("y", angle) @ synthetic.rotation("x", 0.3), np.array(Quaternion(row).to_matrix()), atol=1e-6
        )


@pytest.mark.parametrize(("k1", "k2"), [(-0.2, 0.05), (0.1, 0.0), (-0.1, 0.0), (0.05, -0.02)])
def test_undistort_undoes_distort(k1, k2):
    from addon import coordinates

    x, y = np.meshgrid(np.linspace(-0.7, 0.7, 15), np.linspace(-0.4, 0.4, 9))
    grid = np.stack([x.ravel(), y.ravel()], 1)
    assert np.abs(coordinates.undistort(coordinates.distort(grid, k1, k2), k1, k2) - grid).max() < 1e-9
