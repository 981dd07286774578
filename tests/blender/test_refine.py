"""Refining from Blender: what the artist changed goes out rightly, and the scene stays in its place when it comes back."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from . import synthetic


@pytest.fixture
def imported(blender, tmp_path):
    from addon import headless, importer

    truth = synthetic.write_job(tmp_path, depth=False, frames=12)
    clip = headless.load_clip(truth.footage)
    blender.context.scene.holdfast.clip = clip
    made = importer.import_shot(blender.context.scene, clip, truth.folder, "SET")
    return truth, made, clip


def delete(clip, names):
    """As the artist does, with X."""
    import bpy

    from addon import scene_clip

    with scene_clip.clip_editor(clip) as override:
        for track in clip.tracking.tracks:
            track.select = track.name in names
        with bpy.context.temp_override(**override):
            bpy.ops.clip.delete_track(confirm=False)


def observed(truth) -> dict[int, list[int]]:
    """Frames in which each track of the job was seen."""
    with np.load(truth.folder / "tracks.npz") as file:
        number = file["frame_numbers"][file["frame_index"]]
        return {int(t): number[file["track"] == t].tolist() for t in np.unique(file["track"])}


def test_what_the_artist_changed_is_read(imported):
    from addon import jobfolder, track_edits

    truth, _, clip = imported
    shot = jobfolder.read_shot(truth.folder)
    assert not track_edits.read_edits(clip, shot)
    full = [n for n, frames in observed(truth).items() if len(frames) == 12][:4]
    name = "HF.{:05d}".format
    delete(clip, {name(full[0])})
    clip.tracking.tracks[name(full[1])].weight = 0.0
    track = clip.tracking.tracks[name(full[2])]
    for frame in (4, 5, 6, 9):  # markers count from 1 at image 1001
        track.markers.find_frame(frame).mute = True
    track = clip.tracking.tracks[name(full[3])]
    track.markers.delete_frame(12)
    edits = track_edits.read_edits(clip, shot)
    assert edits.drop == (full[0], full[1])
    assert edits.cut == ((full[2], 1004, 1006), (full[2], 1009, 1009), (full[3], 1012, 1012))
    assert edits.restore == ()
    delete(clip, {t.name for t in clip.tracking.tracks})
    assert not track_edits.read_edits(clip, shot).drop  # tidied away, not judged


def test_muted_tracks_come_back_without_weight_and_can_be_restored(imported, blender):
    from addon import importer, jobfolder, track_edits

    truth, _, clip = imported
    with np.load(truth.folder / "tracks.npz") as file:
        data = dict(file)
    data["muted"] = np.zeros(len(data["label"]), bool)
    data["muted"][[0, 3]] = True
    np.savez(truth.folder / "tracks.npz", **data)
    importer.import_shot(blender.context.scene, clip, truth.folder, "KEEP")
    shot = jobfolder.read_shot(truth.folder)
    assert [clip.tracking.tracks[f"HF.{n:05d}"].weight for n in (0, 1, 3)] == [0.0, 1.0, 0.0]
    assert not track_edits.read_edits(clip, shot)
    assert [row.number for row in clip.holdfast_refine.rows if row.muted] == [0, 3]
    clip.tracking.tracks["HF.00003"].weight = 1.0
    assert track_edits.read_edits(clip, shot).restore == (3,)
    # the others are not on the clip at all: they keep their state, and can be taken in as well
    clip.holdfast.marker_limit = 0
    importer.import_shot(blender.context.scene, clip, truth.folder, "KEEP")
    assert not track_edits.read_edits(clip, shot)
    assert blender.ops.holdfast.mute_tracks("EXEC_DEFAULT", which="TAKE_ALL") == {"FINISHED"}
    assert track_edits.read_edits(clip, shot).restore == (0, 3)


def test_the_table_shows_the_worst_and_goes_there(imported, blender):
    from addon import importer, jobfolder, track_edits

    truth, _, clip = imported
    with np.load(truth.folder / "tracks.npz") as file:
        data = dict(file)
    data["xy"] = data["xy"].copy()
    bad = [n for n in observed(truth) if data["label"][n] == 0][10]
    row = np.flatnonzero((data["track"] == bad) & (data["frame_index"] == 6))[0]
    data["xy"][row] += (6.0, 8.0)
    np.savez(truth.folder / "tracks.npz", **data)
    importer.import_shot(blender.context.scene, clip, truth.folder, "KEEP")
    own = clip.holdfast_refine
    assert own.rows[0].number == bad and own.rows[0].worst == 7
    assert own.rows[0].error_px == pytest.approx(10 / np.sqrt((data["track"] == bad).sum()), rel=1e-3)
    assert all(a.error_px >= b.error_px for a, b in zip(own.rows, list(own.rows)[1:]))
    own.row = 0
    assert blender.context.scene.frame_current == 7
    assert [t.name for t in clip.tracking.tracks if t.select] == [f"HF.{bad:05d}"]
    own.mute_above_px = 0.5
    assert blender.ops.holdfast.mute_tracks("EXEC_DEFAULT", which="ABOVE") == {"FINISHED"}
    shot = jobfolder.read_shot(truth.folder)
    assert track_edits.read_edits(clip, shot).drop == (bad,)
    assert own.rows[0].muted
    own.rows[0].muted = False
    assert not track_edits.read_edits(clip, shot)


@pytest.mark.parametrize("offset", [0, 2])
def test_own_tracks_go_out_in_the_clips_numbers_and_pixels(imported, offset):
    from addon import user_tracks

    truth, _, clip = imported
    clip.frame_offset, clip.frame_start = offset, 41
    track = clip.tracking.tracks.new(name="Door", frame=3)
    track.markers.insert_frame(3, co=(0.25, 0.75))
    track.markers.insert_frame(5, co=(0.5, 0.5))
    track.markers.insert_frame(6, co=(0.5, 0.5)).mute = True
    track.weight, track.offset = 0.5, (0.1, -0.1)
    idle = clip.tracking.tracks.new(name="Idle", frame=1)
    idle.markers.insert_frame(2, co=(0.3, 0.3))
    idle.weight = 0.0
    document = user_tracks.collect(clip, 10.0)
    assert [t["name"] for t in document["tracks"]] == ["Door"]
    door = document["tracks"][0]
    assert door["weight"] == pytest.approx(5.0)
    expected = [[1003 + offset, 0.35 * 320, 0.35 * 180], [1005 + offset, 0.6 * 320, 0.6 * 180]]
    assert np.allclose(door["markers"], expected, atol=1e-3)


def fake_solver(monkeypatch, code: str, asked: dict):
    import addon.refine as refine

    def command_line(python, folder, options, threads=0):
        asked["options"] = options
        return [sys.executable, "-c", "import json, sys\n" + code]

    monkeypatch.setattr(refine, "command_line", command_line)


def read(path: str) -> dict:
    return json.loads(Path(path).read_text())


def test_the_operator_asks_for_the_changes(imported, blender, monkeypatch):
    truth, made, clip = imported
    asked = {}
    fake_solver(monkeypatch, "print(json.dumps({'event': 'result', 'summary': 'fine'}))", asked)
    assert blender.ops.holdfast.refine("EXEC_DEFAULT") == {"FINISHED"}
    assert asked["options"] == []
    clip.tracking.tracks["HF.00003"].weight = 0.0
    mine = clip.tracking.tracks.new(name="Mine", frame=1)
    mine.markers.insert_frame(2, co=(0.5, 0.5))
    assert blender.ops.holdfast.refine("EXEC_DEFAULT", again=True) == {"FINISHED"}
    options = dict(o.split("=", 1) for o in asked["options"] if "=" in o)
    assert read(options["--tracks"])["drop"] == [3]
    assert read(options["--user-tracks"])["tracks"][0]["name"] == "Mine"
    assert "--again" in asked["options"]
    assert blender.ops.holdfast.solve_range("EXEC_DEFAULT", first=4, last=7) == {"FINISHED"}
    at = asked["options"].index("--range")
    assert asked["options"][at : at + 3] == ["--range", "1004", "1007"]
    assert f"--clip={truth.footage}" in asked["options"]
    clip.holdfast_refine.mask = blender.data.masks.new("Actor")
    square(clip.holdfast_refine.mask, 0.25, 0.5, 0.5, 0.625)
    assert blender.ops.holdfast.refine("EXEC_DEFAULT") == {"FINISHED"}
    folder = next(Path(o.split("=", 1)[1]) for o in asked["options"] if o.startswith("--mask="))
    assert len(list(folder.iterdir())) == 12


def test_a_failed_refine_says_why_and_leaves_the_scene(imported, blender, monkeypatch):
    _, made, clip = imported
    fake_solver(
        monkeypatch,
        "print(json.dumps({'event': 'error', 'code': 'c', 'message': 'Too few tracks', 'hint': 'h'})); sys.exit(6)",
        {},
    )
    before = made.camera.matrix_world.copy()
    with pytest.raises(RuntimeError, match="Too few tracks"):
        blender.ops.holdfast.refine("EXEC_DEFAULT")
    assert made.camera.matrix_world == before


def test_refining_for_real_keeps_props_in_their_place(imported, blender):
    """The solver itself, on a solve with a few tracks gone astray: they are left out, and nothing in the scene jumps."""
    pytest.importorskip("cv2")
    pytest.importorskip("scipy")
    from addon import importer, props

    truth, made, clip = imported
    scene = blender.context.scene
    made.parent.matrix_basis = made.parent.matrix_basis @ __import__("mathutils").Matrix.Rotation(0.3, 4, "Z")
    blender.context.view_layer.update()
    prop = props.place_prop(scene, clip, "CONE", (170.0, 150.0), 5)
    parent, place = made.parent.matrix_basis.copy(), prop.matrix_world.copy()
    cameras = []
    for frame in (1, 6, 12):
        scene.frame_set(frame)
        cameras.append(made.camera.matrix_world.copy())
    for name in ("HF.00001", "HF.00002"):
        clip.tracking.tracks[name].weight = 0.0
    assert blender.ops.holdfast.refine("EXEC_DEFAULT") == {"FINISHED"}
    document = json.loads((truth.folder / "solve.json").read_text())
    assert document["history"][0]["dropped"] == [1, 2]
    blender.context.view_layer.update()
    assert np.abs(np.array(made.parent.matrix_basis) - np.array(parent)).max() < 1e-6
    assert np.abs(np.array(prop.matrix_world) - np.array(place)).max() < 1e-6
    for frame, old in zip((1, 6, 12), cameras):
        scene.frame_set(frame)
        new = importer.scene_objects.find(scene, clip.holdfast.uid, importer.scene_objects.CAMERA).matrix_world
        assert (new.translation - old.translation).length < 0.01
        assert new.normalized().to_quaternion().rotation_difference(old.normalized().to_quaternion()).angle < 1e-3
    assert clip.tracking.tracks["HF.00001"].weight == 0.0


def test_what_the_artist_fixed_survives_any_number_of_solves(blender, tmp_path):
    """Another world frame each time, as full solves have: the parent moves along, the shot stays on the same place."""
    from mathutils import Matrix

    from addon import headless, importer

    scene = blender.context.scene
    truth = synthetic.write_job(tmp_path / "a", depth=False)
    clip = headless.load_clip(truth.footage)
    made = importer.import_shot(scene, clip, truth.folder, "SET")
    made.parent.matrix_basis = Matrix.Translation((3.0, 4.0, 5.0)) @ made.parent.matrix_basis
    blender.context.view_layer.update()
    scene.frame_set(4)
    before = made.camera.matrix_world.translation.copy()
    for name, scale in (("b", 2.0), ("c", 0.3), ("d", 5.0)):
        other = synthetic.write_job(tmp_path / name, depth=False, gauge=np.diag([scale, scale, scale, 1.0]), pictures=False)
        made = importer.import_shot(scene, clip, other.folder, "KEEP")
        scene.frame_set(4)
        assert (made.camera.matrix_world.translation - before).length < 1e-3


# ---- masks ------------------------------------------------------------------------------------------------------------


def square(mask, x0, y0, x1, y1, layer=None):
    """A square, in Blender's mask coordinates; returns its layer."""
    layer = layer or mask.layers.new(name="Layer")
    spline = layer.splines.new()
    spline.use_cyclic = True
    spline.points.add(4 - len(spline.points))
    put(spline, x0, y0, x1, y1)
    return layer


def put(spline, x0, y0, x1, y1):
    for point, co in zip(spline.points, [(x0, y0), (x1, y0), (x1, y1), (x0, y1)]):
        point.handle_type = "VECTOR"
        point.co = point.handle_left = point.handle_right = co
        point.select = True


def drawn(path):
    """A mask picture as (H, W) bool, top row first, as the solver takes it."""
    import bpy

    image = bpy.data.images.load(str(path))
    width, height = image.size
    values = np.array(image.pixels[:]).reshape(height, width, -1)[::-1, :, 0]
    bpy.data.images.remove(image)
    assert set(np.unique(values.round(3))) <= {0.0, 1.0}
    return values > 0.5


def box(picture):
    """(left, top, right, bottom) of what is white."""
    y, x = np.nonzero(picture)
    return int(x.min()), int(y.min()), int(x.max()) + 1, int(y.max()) + 1


def key(clip, mask, scene, frame, place):
    """Key the mask's shape, as the artist does with I."""
    import bpy

    from addon import scene_clip

    scene.frame_set(frame)
    put(mask.layers[0].splines[0], *place)
    with scene_clip.clip_editor(clip) as override:
        space = override["space_data"]
        space.mode, space.mask = "MASK", mask
        with bpy.context.temp_override(**override):
            assert bpy.ops.mask.shape_key_insert() == {"FINISHED"}


@pytest.fixture
def masked(blender, tmp_path):
    from addon import headless

    truth = synthetic.write_job(tmp_path)  # 320 x 180, images 1001 to 1008
    return truth, headless.load_clip(truth.footage), blender.data.masks.new("Actor")


def test_a_drawn_mask_lands_on_its_pixels_at_its_frames(blender, masked, tmp_path):
    """The picture's middle is at (0.5, 0.5) and one unit is its longer side; the shape moves between keys."""
    from addon import mask_pictures

    truth, clip, mask = masked
    square(mask, 0.25, 0.5, 0.5, 0.625)
    scene = blender.context.scene
    key(clip, mask, scene, 1, (0.25, 0.5, 0.5, 0.625))
    key(clip, mask, scene, 5, (0.5, 0.5, 0.75, 0.625))
    scenes, groups = len(blender.data.scenes), len(blender.data.node_groups)
    files = mask_pictures.write(clip, mask, list(range(1001, 1009)), tmp_path / "masks")
    assert [f.name for f in files] == [f"mask.{n:06d}.png" for n in range(1001, 1009)]
    assert (len(blender.data.scenes), len(blender.data.node_groups)) == (scenes, groups)
    assert np.allclose(box(drawn(files[0])), (80, 50, 160, 90), atol=1)
    assert np.allclose(box(drawn(files[2])), (120, 50, 200, 90), atol=1)
    assert np.allclose(box(drawn(files[4])), (160, 50, 240, 90), atol=1)
    # the clip shown later and cut at its head: the same images under other scene frames
    clip.frame_start, clip.frame_offset = 4, 3
    files = mask_pictures.write(clip, mask, [1004, 1005], tmp_path / "later")
    assert np.allclose(box(drawn(files[0])), (140, 50, 220, 90), atol=1)  # image 1004 is shown at frame 4
    assert [f.name for f in files] == ["mask.001004.png", "mask.001005.png"]


def test_layers_holes_feather_and_the_opposite(masked, tmp_path):
    from addon import mask_pictures

    _, clip, mask = masked
    layer = square(mask, 0.25, 0.35, 0.75, 0.65)
    square(mask, 0.4, 0.45, 0.6, 0.55, layer)
    layer.use_fill_holes = True
    cut = square(mask, 0.25, 0.35, 0.3, 0.65)
    cut.blend = "SUBTRACT"
    picture = drawn(mask_pictures.write(clip, mask, [1001], tmp_path / "m")[0])
    assert not picture[90, 160] and picture[90, 115] and not picture[90, 88] and not picture[5, 5]
    assert picture.mean() == pytest.approx((0.5 * 0.3 - 0.2 * 0.1 - 0.05 * 0.3) * 320 / 180, abs=0.01)
    opposite = drawn(mask_pictures.write(clip, mask, [1001], tmp_path / "m", "TRACK")[0])
    assert (opposite == ~picture).all()
    cut.hide_render = True
    assert drawn(mask_pictures.write(clip, mask, [1001], tmp_path / "m")[0])[90, 88]
    soft = mask.layers.new(name="Soft")
    square(mask, 0.05, 0.4, 0.15, 0.5, soft)
    hard = drawn(mask_pictures.write(clip, mask, [1001], tmp_path / "m")[0])[:, :64].sum()
    put(soft.splines[0], 0.05, 0.5, 0.15, 0.4)  # the other way round: feather goes outwards
    for point in soft.splines[0].points:
        point.weight = 0.03
    assert drawn(mask_pictures.write(clip, mask, [1001], tmp_path / "m")[0])[:, :64].sum() > hard + 50


def test_the_solver_reads_the_masks(masked, tmp_path):
    """White is ignored, frame by frame, at the clip's full size."""
    pytest.importorskip("cv2")
    from addon import mask_pictures
    from solver.clip import open_clip
    from solver.masks import open_masks

    truth, clip, mask = masked
    square(mask, 0.25, 0.5, 0.5, 0.625)
    mask_pictures.write(clip, mask, list(range(1001, 1009)), tmp_path / "masks")
    reader = open_masks(str(tmp_path / "masks"), open_clip(str(truth.footage)).info)
    ignored = reader.ignore(1006)
    assert ignored.shape == (180, 320) and ignored[70, 120] and not ignored[110, 120]


def test_the_solve_gets_mask_and_own_tracks(blender, masked, tmp_path):
    from addon import refine, solver_process

    _, clip, mask = masked
    folder = tmp_path / "job2"
    folder.mkdir()
    assert refine.solver_extras(clip, folder) == {}
    own = clip.holdfast_refine
    own.mask = mask
    with pytest.raises(ValueError, match="empty"):
        refine.solver_extras(clip, folder)
    square(mask, 0.25, 0.5, 0.5, 0.625)
    clip.holdfast.use_range, clip.holdfast.start, clip.holdfast.end = True, 2, 4
    mine = clip.tracking.tracks.new(name="Mine", frame=1)
    mine.markers.insert_frame(2, co=(0.5, 0.5))
    extras = refine.solver_extras(clip, folder)
    assert sorted(p.name for p in (folder / "masks").iterdir()) == [f"mask.{n:06d}.png" for n in (1002, 1003, 1004)]
    command = solver_process.command_line("py", "c", "o", extras)
    assert f"--mask={folder / 'masks'}" in command and f"--user-tracks={folder / 'user_tracks.json'}" in command
    own.use_user_tracks = False
    assert set(refine.solver_extras(clip, folder)) == {"mask"}


# ---- the panels -------------------------------------------------------------------------------------------------------


class Layout:
    """Stands for Blender's layout, which exists only in a window: asks for what a panel draws and fails where that is missing."""

    def __init__(self, said=None):
        self.__dict__["said"] = [] if said is None else said

    def __setattr__(self, name, value):
        assert name in {
            "enabled",
            "active",
            "alert",
            "scale_x",
            "scale_y",
            "alignment",
            "use_property_split",
            "use_property_decorate",
        }

    def row(self, **_):
        return Layout(self.said)

    column = box = split = row

    def label(self, text="", icon="NONE"):
        self.said.append(text)

    def prop(self, data, name, text=None, icon="NONE", emboss=True, expand=False):
        assert name in data.bl_rna.properties, name
        self.said.append(name)

    def operator(self, name, text="", icon="NONE", depress=False):
        import bpy

        group, _, one = name.partition(".")
        known = getattr(getattr(bpy.ops, group), one).get_rna_type().properties

        class Options:
            def __setattr__(self, key, value):
                assert key in known, key

        self.said.append(name)
        return Options()

    def template_list(self, kind, ident, data, items, active, index, rows=5):
        import bpy

        assert hasattr(bpy.types, kind) and items in data.bl_rna.properties and index in active.bl_rna.properties
        drawer = getattr(bpy.types, kind)
        for item in list(getattr(data, items))[:3]:
            drawer.draw_item(None, bpy.context, self, data, item, 0, active, index)

    def operator_menu_enum(self, name, options, **_):
        setattr(self.operator(name), options, None)

    def separator(self, **_):
        pass

    def template_icon(self, icon_value, scale=1.0):
        assert icon_value > 0
        self.said.append(f"icon {icon_value}")


def test_the_panels_draw(imported, blender):
    import types

    from addon import error_graph, panels, panels_refine

    _, _, clip = imported
    clip.holdfast_refine.mask = blender.data.masks.new("Actor")
    drawn = []
    for draw in (panels_refine._Refine.draw, panels._Quality.draw, panels._Settings.draw):
        layout = Layout()
        draw(types.SimpleNamespace(layout=layout), blender.context)
        drawn += layout.said
    assert {"holdfast.refine", "holdfast.solve_range", "mute_above_px", "muted", "mask_covers"} <= set(drawn)
    # without a window there are no icons, but the picture is there
    assert error_graph.icon_of(clip)[1].startswith("Error of each frame, up to 0.25 px")
    preview = error_graph._previews[clip.holdfast.uid]
    held = np.array(preview.image_pixels_float[:]).reshape(256, 256, 4)
    assert np.allclose(held, error_graph.pixels(np.full(12, 0.1), 0.25), atol=0.02)


def test_the_graph_shows_every_frame():
    """Heights by error, a gap where there is no frame, cut and red above the limit."""
    from addon import error_graph

    values = np.array([0.5, 1.0, np.nan, 0.25])
    picture = error_graph.pixels(values, 0.8)
    inside = picture[error_graph._MARGIN_PX : -error_graph._MARGIN_PX]
    bars = inside[..., :2].max(-1) > 0.5
    heights = bars.sum(0)[[40, 100, 160, 220]]
    top = len(inside)
    assert (
        abs(heights[0] - top * 0.625) < 2 and abs(heights[1] - top) < 2 and heights[2] == 0 and abs(heights[3] - top * 0.3125) < 2
    )
    assert tuple(inside[5, 100, :3]) == pytest.approx((1.0, 0.1, 0.1))
    assert error_graph.limit_of(values) == 2.0 and error_graph.limit_of(np.full(9, 0.2)) == 0.25
    assert error_graph.pixels(np.zeros(0), 1.0).shape == (256, 256, 4)
