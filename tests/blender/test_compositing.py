"""The compositor gives what the lock test gives: render bent by the lens, plate untouched."""

from __future__ import annotations

import numpy as np
import pytest

from . import synthetic


def test_map_says_where_a_pixel_was(blender, tmp_path):
    """The map, read back from its file, puts a point's distorted pixel onto its pinhole pixel to a hundredth of one."""
    from addon import compositing, headless, importer, pictures, props

    truth = synthetic.write_job(
        tmp_path, width=640, height=360, focal=500.0, k1=-0.12, k2=0.02, centre=(330.0, 171.0), depth=False
    )
    scene = blender.context.scene
    clip = headless.load_clip(truth.footage)
    importer.import_shot(scene, clip, truth.folder, "SET")
    intrinsics = props.camera_view(scene, clip, 5)[1]
    places = pictures.undistorted_places(640, 360, intrinsics, truth.k1, truth.k2)
    margin = compositing.margins(places, 640, 360)
    assert min(margin) > 0  # a barrel lens sees beyond the pinhole's frame
    image = compositing.save_map(compositing.distortion_map(places, margin), tmp_path / "map.exr", "map")
    image.reload()
    values = np.empty(640 * 360 * 4, np.float32)
    image.pixels.foreach_get(values)
    table = values.reshape(360, 640, 4)[::-1]
    straight, depth = synthetic.project(truth.points, truth.c2w[4], *truth.intrinsics[4])
    bent, _ = synthetic.project(truth.points, truth.c2w[4], *truth.intrinsics[4], truth.k1, truth.k2)
    good = (depth > 0) & (bent > 2).all(1) & (bent < (638, 358)).all(1) & (straight > 0).all(1) & (straight < (640, 360)).all(1)
    found = pictures.sample(table, bent[good, 0], bent[good, 1])
    assert good.sum() > 100
    assert np.abs(found[:, 0] * (640 + 2 * margin[0]) - margin[0] - straight[good, 0]).max() < 0.01
    assert np.abs((1 - found[:, 1]) * (360 + 2 * margin[1]) - margin[1] - straight[good, 1]).max() < 0.01


@pytest.mark.parametrize("k1", [0.0, -0.15])
def test_composite_is_plate_plus_bent_render(blender, tmp_path, k1):
    from addon import compat, headless, importer, pictures, props

    truth = synthetic.write_job(tmp_path, width=320, height=180, focal=260.0, k1=k1)
    scene = headless.new_scene("shot")
    clip = headless.load_clip(truth.footage)
    importer.import_shot(scene, clip, truth.folder, "SET", with_surfaces=False)
    ball = props.place_prop(scene, clip, "GREY", (270.0, 120.0), 5, size=0.7)
    glow = blender.data.materials.new("glow")
    glow.use_nodes = True
    glow.node_tree.nodes.clear()
    light, out = glow.node_tree.nodes.new("ShaderNodeEmission"), glow.node_tree.nodes.new("ShaderNodeOutputMaterial")
    light.inputs[0].default_value = (1.0, 0.0, 0.0, 1.0)
    glow.node_tree.links.new(light.outputs[0], out.inputs[0])
    ball.data.materials[0] = glow
    assert blender.ops.holdfast.compositing() == {"FINISHED"}
    nodes = len(compat.compositor_tree(scene, "").nodes)
    assert blender.ops.holdfast.compositing() == {"FINISHED"}  # again: no second set
    assert len(compat.compositor_tree(scene, "").nodes) == nodes
    compat.use_cycles_cpu(scene, 4)
    scene.frame_set(5)
    scene.render.image_settings.file_format = "PNG"
    scene.render.image_settings.color_mode = "RGB"
    scene.render.filepath = str(tmp_path / "composite.png")
    blender.ops.render.render(write_still=True)
    got = pictures.read_png(tmp_path / "composite.png")
    want = pictures.read_png(headless.render_lock_frames(tmp_path / "lock", [5], (320, 180), 4, scene)[0])
    red = want[..., 0] > 0.5
    assert red.sum() > 300
    rows, cols = np.nonzero((got[..., 0] > 0.5) & (got[..., 1] < 0.2))
    wanted_rows, wanted_cols = np.nonzero(red & (want[..., 1] < 0.2))
    assert abs(rows.mean() - wanted_rows.mean()) < 0.3
    assert abs(cols.mean() - wanted_cols.mean()) < 0.3
    away = np.ones(red.shape, bool)
    away[max(0, wanted_rows.min() - 4) : wanted_rows.max() + 5, max(0, wanted_cols.min() - 4) : wanted_cols.max() + 5] = False
    assert np.abs(got - want)[away].max() < 0.01  # the plate itself, pixel for pixel
