"""Props lean as a sensor read row by row would have seen them."""

from __future__ import annotations

import numpy as np
import pytest
from mathutils import Vector

from . import synthetic

WIDTH, HEIGHT, ROW_TIME, FRAME = 320, 180, 0.8, 5


@pytest.fixture
def shot(blender, tmp_path):
    """make(k1, row_time) gives (scene, truth): a shot with a thin red pole standing in front of the box."""

    def make(k1: float, row_time: float):
        from addon import headless

        truth = synthetic.write_job(tmp_path, width=WIDTH, height=HEIGHT, focal=260.0, k1=k1, depth=False, row_time=row_time)
        scene = headless.new_scene("shot")
        headless.import_job(truth.folder, truth.footage, scene)
        parent = next(o for o in scene.objects if o.type == "EMPTY")
        ends = [parent.matrix_world @ Vector((0.3, 3.0, z)) for z in (-2.0, 4.0)]
        blender.ops.mesh.primitive_cylinder_add(radius=0.02 * parent.scale[0], depth=(ends[1] - ends[0]).length)
        pole = blender.context.object
        pole.location = (ends[0] + ends[1]) / 2
        pole.rotation_mode = "QUATERNION"
        pole.rotation_quaternion = (ends[1] - ends[0]).to_track_quat("Z", "Y")
        pole.data.materials.append(synthetic.glowing(blender))
        return scene, truth

    return make


def seen_columns(image: np.ndarray, near: np.ndarray) -> np.ndarray:
    """(H,) px: where the red pole lies in each row, within 12 px of `near` (the plate has colours, too); NaN where it is not."""
    columns = np.arange(image.shape[1]) + 0.5
    red = np.clip(image[..., 0] - 2.0 * image[..., 1], 0, None) * (np.abs(columns - near[:, None]) < 12.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(red.sum(1) > 0.5, red @ columns / red.sum(1), np.nan)


def true_columns(truth: synthetic.Synthetic, row_time: float) -> np.ndarray:
    """(H,) px: where the rows of the plate, each read in its own time, see the pole."""
    pole = np.c_[np.full(4000, 0.3), np.full(4000, 3.0), np.linspace(-2.0, 4.0, 4000)]
    out = np.empty(HEIGHT)
    for row in range(HEIGHT):
        late = row_time * ((row + 0.5) / HEIGHT - 0.5)
        other = truth.c2w[FRAME - 1 + (1 if late > 0 else -1)]
        c2w = (1 - abs(late)) * truth.c2w[FRAME - 1] + abs(late) * other  # a hundredth of a degree: as good as turning
        pixels, _ = synthetic.project(pole, c2w, *truth.intrinsics[FRAME - 1], truth.k1, truth.k2)
        out[row] = np.interp(row + 0.5, pixels[::-1, 1], pixels[::-1, 0])
    return out


@pytest.mark.parametrize("k1", [0.0, -0.12])
def test_lock_test_renders_the_rows_in_their_times(shot, tmp_path, k1):
    from addon import headless, pictures

    scene, truth = shot(k1, ROW_TIME)
    scene.render.use_motion_blur = False
    files = headless.render_lock_frames(tmp_path / "out", [FRAME], (WIDTH, HEIGHT), samples=16, scene=scene)
    leaning, upright = true_columns(truth, ROW_TIME), true_columns(truth, 0.0)
    seen = seen_columns(pictures.read_png(files[0]), upright)
    there = np.isfinite(seen)
    assert there.sum() > 120
    assert np.abs(seen - leaning)[there].max() < 0.35
    assert np.abs(leaning - upright).max() > 1.7  # what a renderer without would be off by
    assert not scene.render.use_motion_blur and scene.cycles.rolling_shutter_type == "NONE"  # all given back


def test_compositing_turns_it_on_and_keeps_what_the_artist_sets(blender, shot, tmp_path):
    from addon import compat, compositing, pictures

    scene, truth = shot(-0.12, ROW_TIME)
    compat.use_cycles_cpu(scene, 16)
    assert blender.ops.holdfast.compositing() == {"FINISHED"}
    wider = compositing.find_wider_scene(scene)
    assert scene.holdfast.rolling_shutter and scene.render.motion_blur_shutter == pytest.approx(ROW_TIME)
    assert wider.render.motion_blur_shutter > 1.05 * ROW_TIME and wider.cycles.rolling_shutter_type == "TOP"
    scene.frame_set(FRAME)
    scene.render.image_settings.file_format = "PNG"
    scene.render.image_settings.color_mode = "RGB"
    scene.render.filepath = str(tmp_path / "composite.png")
    blender.ops.render.render(write_still=True)
    leaning = true_columns(truth, ROW_TIME)
    seen = seen_columns(pictures.read_png(tmp_path / "composite.png"), leaning)
    there = np.isfinite(seen)
    assert there.sum() > 120
    assert np.abs(seen - leaning)[there].max() < 0.4

    scene.holdfast.exposure = 0.4
    assert scene.render.motion_blur_shutter == pytest.approx(ROW_TIME + 0.4)
    assert scene.cycles.rolling_shutter_duration == pytest.approx(0.4 / (ROW_TIME + 0.4))
    scene.holdfast.rolling_shutter = False
    assert not scene.render.use_motion_blur and scene.cycles.rolling_shutter_type == "NONE"
    assert not wider.render.use_motion_blur
    assert blender.ops.holdfast.compositing() == {"FINISHED"}  # again: the artist has turned it off
    assert not scene.holdfast.rolling_shutter


def test_eevee_keeps_the_artists_own_motion_blur(shot, blender):
    from addon import compositing

    scene, _ = shot(0.0, ROW_TIME)
    scene.render.use_motion_blur, scene.render.motion_blur_shutter = True, 0.5
    eevee = scene.render.engine
    assert eevee != "CYCLES"
    assert blender.ops.holdfast.compositing() == {"FINISHED"}
    assert scene.holdfast.rolling_shutter and scene.render.motion_blur_shutter == 0.5
    scene.render.engine = "CYCLES"
    compositing.follow_settings(scene)  # as when a render begins
    assert scene.cycles.rolling_shutter_type == "TOP" and scene.render.motion_blur_shutter == pytest.approx(ROW_TIME)
    scene.render.engine = eevee
    compositing.follow_settings(scene)
    assert scene.render.use_motion_blur and scene.render.motion_blur_shutter == 0.5
    assert scene.cycles.rolling_shutter_type == "NONE"


def test_shots_without_one_are_left_alone(shot, blender):
    scene, _ = shot(0.0, 0.0)
    scene.render.engine = "CYCLES"
    assert blender.ops.holdfast.compositing() == {"FINISHED"}
    assert not scene.holdfast.rolling_shutter and not scene.render.use_motion_blur
    assert scene.cycles.rolling_shutter_type == "NONE"
