"""The compositor gives what the lock test gives: render bent by the lens, plate untouched."""

from __future__ import annotations

import numpy as np
import pytest
from mathutils import Vector

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
    scale = pictures.overscan(places, 640, 360)
    assert scale > 1.05  # a barrel lens sees beyond the pinhole's frame
    image = compositing.save_map(compositing.distortion_map(places, scale), tmp_path / "map.exr", "map")
    image.reload()
    values = np.empty(640 * 360 * 4, np.float32)
    image.pixels.foreach_get(values)
    table = values.reshape(360, 640, 4)[::-1]
    straight, depth = synthetic.project(truth.points, truth.c2w[4], *truth.intrinsics[4])
    bent, _ = synthetic.project(truth.points, truth.c2w[4], *truth.intrinsics[4], truth.k1, truth.k2)
    good = (depth > 0) & (bent > 2).all(1) & (bent < (638, 358)).all(1) & (straight > 0).all(1) & (straight < (640, 360)).all(1)
    found = pictures.sample(table, bent[good, 0], bent[good, 1])
    assert good.sum() > 100
    assert np.abs((found[:, 0] - 0.5) * scale * 640 + 320 - straight[good, 0]).max() < 0.01
    assert np.abs((0.5 - found[:, 1]) * scale * 360 + 180 - straight[good, 1]).max() < 0.01


@pytest.mark.parametrize(
    ("k1", "place"),
    [(0.0, (270.0, 120.0)), (-0.15, (270.0, 120.0)), (-0.15, (309.0, 168.0))],
    ids=["pinhole", "bent", "bent, in the corner the pinhole's frame does not reach"],
)
def test_composite_is_plate_plus_bent_render(blender, tmp_path, k1, place):
    from addon import compat, headless, importer, pictures, props

    truth = synthetic.write_job(tmp_path, width=320, height=180, focal=260.0, k1=k1)
    scene = headless.new_scene("shot")
    clip = headless.load_clip(truth.footage)
    importer.import_shot(scene, clip, truth.folder, "SET", with_surfaces=False)
    ball = props.place_prop(scene, clip, "GREY", place, 5, size=0.7 if place[0] < 300 else 0.2)
    ball.data.materials[0] = synthetic.glowing(blender)
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
    assert red.sum() > (300 if place[0] < 300 else 60)
    rows, cols = np.nonzero((got[..., 0] > 0.5) & (got[..., 1] < 0.2))
    wanted_rows, wanted_cols = np.nonzero(red & (want[..., 1] < 0.2))
    assert abs(rows.mean() - wanted_rows.mean()) < 0.3
    assert abs(cols.mean() - wanted_cols.mean()) < 0.3
    away = np.ones(red.shape, bool)
    away[max(0, wanted_rows.min() - 4) : wanted_rows.max() + 5, max(0, wanted_cols.min() - 4) : wanted_cols.max() + 5] = False
    assert np.abs(got - want)[away].max() < 0.01  # the plate itself, pixel for pixel


def with_and_without_shadows(blender, scene, folder):
    """Frame 5 as composited with full shadows and with none, (H, W, 3) each. Raises RuntimeError where nothing renders."""
    from addon import pictures

    scene.render.image_settings.file_format = "PNG"
    scene.render.image_settings.color_mode = "RGB"
    scene.frame_set(5)
    images = []
    for strength in (1.0, 0.0):
        scene.holdfast.shadow_strength = strength
        scene.render.filepath = str(folder / f"s{strength}.png")
        blender.ops.render.render(write_still=True)
        images.append(pictures.read_png(folder / f"s{strength}.png")[..., :3])
    return images


def sunny(blender, scene):
    """A sun from the side, over the scene."""
    lamp = blender.data.objects.new("Sun", blender.data.lights.new("Sun", "SUN"))
    lamp.data.energy, lamp.data.angle = 3.0, 0.02
    lamp.rotation_euler = (0.0, 0.9, 0.0)  # shines towards -x
    scene.collection.objects.link(lamp)
    blender.context.view_layer.update()
    return lamp


@pytest.mark.parametrize("k1", [0.0, -0.15])
def test_shadows_darken_the_plate_and_nothing_else_does(blender, tmp_path, k1):
    from addon import compat, headless, props

    truth = synthetic.write_job(tmp_path, width=320, height=180, focal=260.0, k1=k1)
    scene = headless.new_scene("shot")
    headless.import_job(truth.folder, truth.footage, scene)
    clip = scene.holdfast.clip
    props.place_prop(scene, clip, "GREY", (180.0, 150.0), 5, size=0.5)
    sunny(blender, scene)
    compat.use_cycles_cpu(scene, 8)
    assert blender.ops.holdfast.compositing() == {"FINISHED"}
    with_shadow, without = with_and_without_shadows(blender, scene, tmp_path)
    darker = (without - with_shadow).mean(-1)
    assert (darker > 0.08).sum() > 100  # a shadow
    _, columns = np.nonzero(darker > 0.08)
    assert columns.mean() < 175  # on the side away from the sun
    assert (darker < -0.03).sum() < 30  # the ball's own edge, sampled anew
    assert (np.abs(darker) < 0.02).mean() > 0.85


def test_the_wider_camera_follows_zoom_and_move(blender, tmp_path):
    from addon import compositing, headless

    truth = synthetic.write_job(tmp_path, frames=6, zoom=True, k1=-0.1, centre=(165.0, 88.0))
    scene = headless.new_scene("shot")
    headless.import_job(truth.folder, truth.footage, scene)
    compositing.set_up(scene, scene.holdfast.clip, truth.folder)
    wider = compositing.find_wider_scene(scene)
    assert wider is not None
    graph = blender.context.evaluated_depsgraph_get()
    found = []
    for frame in (1, 6):
        scene.frame_set(frame)
        blender.context.window.scene = wider
        wider.frame_set(frame)
        graph = blender.context.evaluated_depsgraph_get()
        eye = wider.camera.evaluated_get(graph)
        own, other = scene.camera.data.view_frame(scene=scene), eye.data.view_frame(scene=wider)
        blender.context.window.scene = scene
        (r0, t0, l0, b0), (r1, t1, l1, b1) = (
            [f[0].x / -f[0].z, f[0].y / -f[0].z, f[2].x / -f[2].z, f[2].y / -f[2].z] for f in (own, other)
        )
        assert (r1 - l1) / (r0 - l0) == pytest.approx((t1 - b1) / (t0 - b0), rel=1e-5)
        assert (r1 - l1) / (r0 - l0) > 1.02
        # the middle of both pictures is the same ray
        assert (r1 + l1, t1 + b1) == pytest.approx((r0 + l0, t0 + b0), abs=1e-5)
        found.append(r0 - l0)
        assert np.allclose(np.array(eye.matrix_world), np.array(scene.camera.matrix_world), atol=1e-6)
    assert found[1] < 0.8 * found[0]  # it does zoom
    compositing.set_up(scene, scene.holdfast.clip, truth.folder)
    assert len(blender.data.scenes) == 2  # again: the same one
    scene.holdfast.clip.tracking.camera.k1 = 0.0
    compositing.set_up(scene, scene.holdfast.clip, truth.folder)
    assert [s.name for s in blender.data.scenes] == ["shot"]


def test_proxies_know_the_lamps(blender, tmp_path):
    """The EEVEE material is built for the scene's lamps, and anew when they change; Cycles has an output of its own."""
    from addon import headless, proxy_material, scene_objects

    truth = synthetic.write_job(tmp_path)
    scene = headless.new_scene("shot")
    headless.import_job(truth.folder, truth.footage, scene)
    lamp = sunny(blender, scene)
    proxy_material.refresh_scene(scene)
    ground = scene_objects.find(scene, scene.holdfast.clip.holdfast.uid, scene_objects.GROUND)
    material = ground.material_slots[0].material
    tree = material.node_tree
    assert {n.target for n in tree.nodes if n.type == "OUTPUT_MATERIAL"} == {"CYCLES", "EEVEE"}
    (found,) = proxy_material.lamps(scene)
    assert found["gain"] == pytest.approx(3.0 / np.pi, rel=1e-4)
    assert found["vector"] == pytest.approx([np.sin(0.9), 0.0, np.cos(0.9)], abs=1e-3)
    count, text = len(tree.nodes), material["holdfast_lights"]
    lamp.data.energy = 5.0
    proxy_material.refresh_scene(scene)
    assert len(tree.nodes) == count
    assert material["holdfast_lights"] != text
    scene.holdfast.shadow_strength = 0.3
    assert tree.nodes[proxy_material.STRENGTH_NODE].outputs[0].default_value == pytest.approx(0.3)
    assert material.diffuse_color[3] == 0.0
    assert ground.display_type == "TEXTURED"  # bounds and wires are not snapped to


@pytest.mark.slow
def test_eevee_has_shadows_and_hides_what_is_behind(blender, tmp_path):
    """EEVEE knows no shadow catcher: the proxies' material does it. (Half a minute and more without a graphics card.)"""
    from addon import headless, pictures, props, scene_objects

    truth = synthetic.write_job(tmp_path, width=320, height=180, focal=260.0)
    scene = headless.new_scene("shot")
    headless.import_job(truth.folder, truth.footage, scene)
    clip = scene.holdfast.clip
    props.place_prop(scene, clip, "GREY", (180.0, 150.0), 5, size=0.5)
    sunny(blender, scene)
    parent = scene_objects.find(scene, clip.holdfast.uid, scene_objects.PARENT)
    hidden = props.make_test_object("CUBE", 0.3)
    scene.collection.objects.link(hidden)
    hidden.matrix_world.translation = parent.matrix_world @ Vector((0.0, 7.0, 0.0))  # behind the box
    engines = {item.identifier for item in scene.render.bl_rna.properties["engine"].enum_items}
    scene.render.engine = "BLENDER_EEVEE_NEXT" if "BLENDER_EEVEE_NEXT" in engines else "BLENDER_EEVEE"
    scene.eevee.taa_render_samples = 4
    assert blender.ops.holdfast.compositing() == {"FINISHED"}
    try:
        with_shadow, without = with_and_without_shadows(blender, scene, tmp_path)
    except RuntimeError as error:
        pytest.skip(f"EEVEE does not render here: {error}")
    darker = (without - with_shadow).mean(-1)
    assert (darker > 0.08).sum() > 100
    assert np.nonzero(darker > 0.08)[1].mean() < 175
    assert (np.abs(darker) < 0.02).mean() > 0.85
    plate = pictures.read_png(pictures.render_plates(clip, [5], (320, 180), tmp_path)[0])[..., :3]
    place, _ = synthetic.project(np.array([[0.0, 7.0, 0.15]]), truth.c2w[4], *truth.intrinsics[4])
    x, y = place[0].astype(int)
    assert np.abs(with_shadow - plate)[y - 4 : y + 5, x - 4 : x + 5].max() < 0.03  # the plate, not the cube
