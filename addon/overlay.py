# SPDX-License-Identifier: GPL-3.0-or-later
"""Drawing over the Clip editor and the 3D viewport: keypoints coloured by depth, the camera's path and the points as they grow,
the finished tracks by depth or error, and the point cloud's colours in Solid shading.

Draw callbacks only read; they never change Blender's data, and an error in one is printed once, not in every redraw.
"""

from __future__ import annotations

import traceback

import blf
import bpy
import numpy as np
from mathutils import Matrix

from . import clip_frames, coordinates, jobfolder, live, properties, scene_objects, scene_points

LIVE_DEPTH_M = 5.0  # where the median point of a solve that is still running is drawn
_EYE_HEIGHT_M = 1.5
_SIDES = 10  # corners of a keypoint's disc

_handles: list = []
_solved: dict[str, live.SolvedPicture | None] = {}  # by the clip's id
_clouds: dict[str, tuple] = {}  # by the clip's id: (mesh name, count), batch
_failed: set[str] = set()


# ---- what is there to draw


def remember(uid: str, shot: jobfolder.Shot) -> None:
    """A clip was solved: its tracks can be shown."""
    _solved[uid] = live.SolvedPicture(shot)
    _clouds.pop(uid, None)


def forget(uid: str | None = None) -> None:
    """Forget what was kept of a clip, or of all."""
    if uid is None:
        _solved.clear()
        _clouds.clear()
    else:
        _solved.pop(uid, None)
        _clouds.pop(uid, None)


def load(clip: bpy.types.MovieClip) -> live.SolvedPicture | None:
    """The tracks of a clip's last solve, read from its job folder where they are not known yet. None where they are gone."""
    from . import importer

    uid = clip.holdfast.uid
    if uid and uid not in _solved and clip.holdfast.solved:
        try:
            remember(uid, jobfolder.read_shot(importer.job_folder_of(clip)))
        except (jobfolder.JobFolderError, OSError):
            _solved[uid] = None
    return _solved.get(uid)


def live_picture(clip: bpy.types.MovieClip | None) -> live.LivePicture | None:
    """The picture of a clip's running solve."""
    from . import session

    shot = session.job_of(clip)
    return shot.solver.picture if shot is not None and shot.solver.state.active else None


# ---- the Clip editor


def _draw_clip() -> None:
    context = bpy.context
    space, region = context.space_data, context.region
    clip = space.clip
    own = context.scene.holdfast
    if clip is None or space.mode == "MASK" or space.view != "CLIP":
        return
    number = clip_frames.numbering_of(clip).number_at(space.clip_user.frame_current)
    picture = live_picture(clip)
    if picture is not None:
        rows = picture.keypoints.get(number)
        if own.show_live and rows is not None:
            _keypoints(clip, space, region, rows[:, :2], live.depth_colours(rows[:, 2]), 3.6)
            _legend(region, "far", "near", live.depth_colours)
        return
    if own.overlay == "NONE" or not clip.holdfast.solved:
        return
    solved = load(clip)
    if solved is None:
        return
    xy, colours = solved.keypoints(number, own.overlay)
    _keypoints(clip, space, region, xy, colours, 3.2)
    if own.overlay == "DEPTH":
        _legend(region, "far", "near", live.depth_colours)
    else:
        worst = 2.0 * solved.worst_px
        _legend(region, "0", f"{worst:.1f} px", lambda part: live.error_colours(part * worst, worst))
        _graph(region, solved, number)


def clip_to_region(region: bpy.types.Region, fractions: np.ndarray) -> np.ndarray:
    """Region px (n, 2) of places given as fractions of the picture, y up. Blender rounds to whole px: measured far out, it does
    not matter."""
    far = 1000.0
    a = np.array(region.view2d.view_to_region(-far, -far, clip=False), float)
    b = np.array(region.view2d.view_to_region(far, far, clip=False), float)
    return (a + b) / 2.0 + np.asarray(fractions, float) * (b - a) / (2.0 * far)


def _keypoints(clip, space, region, xy_px: np.ndarray, colours: np.ndarray, radius: float) -> None:
    width, height = clip.size
    if not len(xy_px) or not width:
        return
    if space.clip_user.use_render_undistorted:
        lens = clip.tracking.camera
        centre = np.array([lens.principal_point_pixels[0], height - lens.principal_point_pixels[1]])
        focal = np.array([lens.focal_length_pixels, lens.focal_length_pixels * lens.pixel_aspect])
        xy_px = coordinates.undistort((xy_px - centre) / focal, lens.k1, lens.k2) * focal + centre
    places = clip_to_region(region, np.stack([xy_px[:, 0] / width, 1.0 - xy_px[:, 1] / height], 1))
    seen = (places > -20).all(1) & (places < (region.width + 20, region.height + 20)).all(1)
    places, colours = places[seen], colours[seen]
    # Smaller where the picture is small, so that they do not hide it.
    shown = float(np.ptp(clip_to_region(region, [(0.0, 0.0), (1.0, 0.0)])[:, 0]))
    scale = bpy.context.preferences.system.ui_scale * min(1.0, max(0.4, shown / 700.0))
    _discs(places, np.zeros_like(colours), (radius + 1.2) * scale, 0.75)
    _discs(places, colours, radius * scale, 1.0)


def _discs(places: np.ndarray, colours: np.ndarray, radius: float, alpha: float) -> None:
    """Discs of a radius at region px (n, 2) in sRGB (n, 3)."""
    if not len(places):
        return
    angle = np.linspace(0.0, 2.0 * np.pi, _SIDES, endpoint=False)
    rim = np.stack([np.cos(angle), np.sin(angle)], 1) * radius
    fan = np.array([(0, i, i + 1) for i in range(1, _SIDES - 1)]).ravel()  # triangles over the rim's corners
    corners = (places[:, None] + rim[fan]).reshape(-1, 2)
    colour = np.repeat(np.concatenate([colours, np.full((len(colours), 1), alpha)], 1), len(fan), axis=0)
    _triangles(corners, colour)


def _triangles(corners: np.ndarray, colours: np.ndarray) -> None:
    import gpu
    from gpu_extras.batch import batch_for_shader

    shader = gpu.shader.from_builtin("SMOOTH_COLOR")
    flat = np.concatenate([corners, np.zeros((len(corners), 1))], 1).astype(np.float32)
    batch = batch_for_shader(shader, "TRIS", {"pos": flat, "color": colours.astype(np.float32)})
    gpu.state.blend_set("ALPHA")
    batch.draw(shader)
    gpu.state.blend_set("NONE")


def _rectangle(x0: float, y0: float, x1: float, y1: float) -> np.ndarray:
    return np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y0), (x1, y1), (x0, y1)], float)


def _legend(region: bpy.types.Region, low: str, high: str, ramp) -> None:
    """A bar of the colours, at the lower left."""
    scale = bpy.context.preferences.system.ui_scale
    left, bottom, width, height, steps = 60 * scale, 14 * scale, 120 * scale, 8 * scale, 24
    font = 0
    blf.size(font, 11 * scale)
    low_width = blf.dimensions(font, low)[0]
    edge = left + width + blf.dimensions(font, high)[0] + 14 * scale
    back = _rectangle(left - low_width - 14 * scale, bottom - 6 * scale, edge, bottom + height + 6 * scale)
    _triangles(back, np.tile((0.0, 0.0, 0.0, 0.55), (6, 1)))
    colours = ramp(np.linspace(0.0, 1.0, steps))
    xs = left + width * np.arange(steps + 1) / steps
    boxes = np.concatenate([_rectangle(xs[i], bottom, xs[i + 1], bottom + height) for i in range(steps)])
    _triangles(boxes, np.repeat(np.concatenate([colours, np.ones((steps, 1))], 1), 6, axis=0))
    blf.color(font, 0.9, 0.9, 0.9, 1.0)
    for text, x in ((low, left - low_width - 7 * scale), (high, left + width + 7 * scale)):
        blf.position(font, x, bottom, 0)
        blf.draw(font, text)


def _graph(region: bpy.types.Region, solved: live.SolvedPicture, number: int) -> None:
    """The error of every frame as bars along the lower edge; the frame shown is white."""
    scale = bpy.context.preferences.system.ui_scale
    errors = solved.frame_error
    if not len(errors) or not errors.max() > 0:
        return
    left, right = 60 * scale, region.width - 60 * scale
    bottom, height = 44 * scale, 46 * scale
    if right - left < 80 * scale:
        return
    top = float(errors.max())
    xs = left + (right - left) * np.arange(len(errors) + 1) / len(errors)
    gap = 0.15 * (xs[1] - xs[0])
    _triangles(
        _rectangle(left - 6 * scale, bottom - 6 * scale, right + 6 * scale, bottom + height + 20 * scale),
        np.tile((0.0, 0.0, 0.0, 0.55), (6, 1)),
    )
    boxes = np.concatenate(
        [_rectangle(xs[i], bottom, xs[i + 1] - gap, bottom + max(1.0, height * e / top)) for i, e in enumerate(errors)]
    )
    colours = live.error_colours(errors, max(top, 2.0 * solved.worst_px))
    colours[solved.shot.numbers == number] = (1.0, 1.0, 1.0)
    _triangles(boxes, np.repeat(np.concatenate([colours, np.ones((len(errors), 1))], 1), 6, axis=0))
    here = errors[solved.shot.numbers == number]
    text = f"error per frame, at most {top:.2f} px" + (f"; this frame {here[0]:.2f} px" if len(here) else "")
    blf.size(0, 11 * scale)
    blf.color(0, 0.9, 0.9, 0.9, 1.0)
    blf.position(0, left, bottom + height + 6 * scale, 0)
    blf.draw(0, text)


# ---- the 3D viewport


def _draw_view() -> None:
    context = bpy.context
    clip = properties.clip_of_context(context)
    if clip is None:
        return
    picture = live_picture(clip)
    if picture is not None:
        if context.scene.holdfast.show_live and len(picture.path):
            _live_scene(context, clip, picture)
        return
    if (
        context.space_data.shading.type == "SOLID"
        and context.scene.holdfast.show_points
        and context.space_data.overlay.show_overlays
    ):
        _cloud(context, clip)


def live_matrix(scene: bpy.types.Scene, clip: bpy.types.MovieClip) -> Matrix:
    """Where a running solve is drawn: where the last solve of the clip stands, else level, at a man's height."""
    parent = scene_objects.find(scene, clip.holdfast.uid, scene_objects.PARENT)
    scale = Matrix.Diagonal((LIVE_DEPTH_M,) * 3 + (1.0,))
    if parent is not None:
        return parent.matrix_world @ scale
    level = Matrix(((1, 0, 0, 0), (0, 0, 1, 0), (0, -1, 0, _EYE_HEIGHT_M), (0, 0, 0, 1)))
    return level @ scale


def _live_scene(context: bpy.types.Context, clip: bpy.types.MovieClip, picture: live.LivePicture) -> None:
    import gpu

    with gpu.matrix.push_pop():
        gpu.matrix.multiply_matrix(live_matrix(context.scene, clip))
        _points(picture.points, picture.colours, 4.0)
        _lines(_segments(picture.path), (1.0, 0.55, 0.05, 1.0), 2.5)
        _lines(_pyramid(picture.path[-1], picture.forward, clip.size[1] / max(1, clip.size[0])), (0.25, 0.75, 1.0, 1.0), 1.5)


def _segments(path: np.ndarray) -> np.ndarray:
    """A polyline (n, 3) as the ends of its pieces."""
    return np.repeat(path, 2, axis=0)[1:-1] if len(path) > 1 else np.zeros((0, 3))


def _pyramid(place: np.ndarray, forward: np.ndarray, shape: float, length: float = 0.12) -> np.ndarray:
    """Lines of a camera at a place that looks forward, y down."""
    side = np.cross((0.0, 1.0, 0.0), forward)
    side /= max(1e-9, np.linalg.norm(side))
    down = np.cross(forward, side)
    corners = [
        place + length * (forward + 0.5 * (sx * side + sy * shape * down)) for sx, sy in ((-1, -1), (1, -1), (1, 1), (-1, 1))
    ]
    lines = [point for corner in corners for point in (place, corner)]
    return np.array(lines + [point for i in range(4) for point in (corners[i], corners[(i + 1) % 4])])


def _lines(ends: np.ndarray, colour: tuple, width: float) -> None:
    import gpu
    from gpu_extras.batch import batch_for_shader

    if not len(ends):
        return
    shader = gpu.shader.from_builtin("POLYLINE_UNIFORM_COLOR")
    batch = batch_for_shader(shader, "LINES", {"pos": ends.astype(np.float32)})
    shader.bind()
    shader.uniform_float("viewportSize", gpu.state.viewport_get()[2:])
    shader.uniform_float("lineWidth", width * bpy.context.preferences.system.ui_scale)
    shader.uniform_float("color", colour)
    batch.draw(shader)


def _point_shader():
    import gpu

    for name in ("POINT_FLAT_COLOR", "FLAT_COLOR"):  # newer Blenders, older ones
        try:
            return gpu.shader.from_builtin(name)
        except ValueError:
            continue
    raise RuntimeError("no shader for points")


def _point_batch(xyz: np.ndarray, colours: np.ndarray):
    from gpu_extras.batch import batch_for_shader

    shader = _point_shader()
    rgba = np.concatenate([colours, np.ones((len(colours), 1))], 1).astype(np.float32)
    return shader, batch_for_shader(shader, "POINTS", {"pos": xyz.astype(np.float32), "color": rgba})


def _draw_points(shader, batch, size: float) -> None:
    import gpu

    gpu.state.depth_test_set("LESS_EQUAL")
    gpu.state.point_size_set(size * bpy.context.preferences.system.ui_scale)
    batch.draw(shader)
    gpu.state.point_size_set(1.0)
    gpu.state.depth_test_set("NONE")


def _points(xyz: np.ndarray, colours: np.ndarray, size: float) -> None:
    if len(xyz):
        _draw_points(*_point_batch(xyz, colours), size)


def _cloud(context: bpy.types.Context, clip: bpy.types.MovieClip) -> None:
    """The point cloud in its own colours, which Solid shading does not show."""
    import gpu

    uid = clip.holdfast.uid
    cloud = scene_objects.find(context.scene, uid, scene_objects.POINTS) if uid else None
    if cloud is None or not cloud.visible_get() or cloud.mode == "EDIT":
        return
    mesh = cloud.data
    key = (mesh.name, len(mesh.vertices))
    if uid not in _clouds or _clouds[uid][0] != key:
        colour = mesh.attributes.get(scene_points.COLOUR_ATTRIBUTE)
        if colour is None or not len(mesh.vertices):
            return
        xyz = np.empty(3 * len(mesh.vertices), np.float32)
        rgba = np.empty(4 * len(mesh.vertices), np.float32)
        mesh.vertices.foreach_get("co", xyz)
        colour.data.foreach_get("color_srgb", rgba)
        _clouds[uid] = (key, _point_batch(xyz.reshape(-1, 3), rgba.reshape(-1, 4)[:, :3]))
    with gpu.matrix.push_pop():
        gpu.matrix.multiply_matrix(cloud.matrix_world)
        _draw_points(*_clouds[uid][1], 3.0)


# ---- registration


def _guarded(draw):
    """A draw callback that reports an error once."""

    def run() -> None:
        try:
            draw()
        except Exception:
            if draw.__name__ not in _failed:
                _failed.add(draw.__name__)
                traceback.print_exc()

    return run


@bpy.app.handlers.persistent
def _on_load(*_) -> None:
    """Another file: nothing that was kept belongs to it."""
    forget()


def register() -> None:
    bpy.app.handlers.load_post.append(_on_load)
    _handles.append(
        (bpy.types.SpaceClipEditor, bpy.types.SpaceClipEditor.draw_handler_add(_guarded(_draw_clip), (), "WINDOW", "POST_PIXEL"))
    )
    _handles.append(
        (bpy.types.SpaceView3D, bpy.types.SpaceView3D.draw_handler_add(_guarded(_draw_view), (), "WINDOW", "POST_VIEW"))
    )


def unregister() -> None:
    if _on_load in bpy.app.handlers.load_post:
        bpy.app.handlers.load_post.remove(_on_load)
    while _handles:
        space, handle = _handles.pop()
        space.draw_handler_remove(handle, "WINDOW")
    forget()
    _failed.clear()
