# SPDX-License-Identifier: GPL-3.0-or-later
"""Assets dragged onto the footage: Blender drops them, this settles them on the shot's surface, upright, facing the camera.

Blender's own drop snaps to the proxies' faces but tilts the object with them and turns it about their normal. When one of its
drop operators has just run in a scene with a solved shot, the dropped objects are settled by an operator of ours, one step of
undo after the drop: taking it back leaves what Blender did.
"""

from __future__ import annotations

import bpy
import numpy as np
from bpy.props import BoolProperty, FloatVectorProperty
from bpy_extras import view3d_utils
from mathutils import Matrix, Vector

from . import props, scene_objects, surfaces

DROPS = {
    "OBJECT_OT_add_named",  # an object of this file
    "OBJECT_OT_transform_to_mouse",  # an object of a library
    "OBJECT_OT_collection_instance_add",
    "OBJECT_OT_collection_external_asset_drop",
}

_handled: set[tuple] = set()  # drops that were seen already


class HOLDFAST_OT_settle(bpy.types.Operator):
    """Put the selected objects on the shot's surface along a line of sight, upright. Runs by itself after an asset was dropped
    on the footage
    """

    bl_idname = "holdfast.settle"
    bl_label = "Settle on Surface"
    bl_options = {"REGISTER", "UNDO"}

    origin: FloatVectorProperty(
        name="From", size=3, options={"HIDDEN"}, description="Where the line of sight begins, in the scene"
    )
    direction: FloatVectorProperty(
        name="Direction", size=3, default=(0.0, 1.0, 0.0), options={"HIDDEN"}, description="Where the line of sight goes"
    )
    face_camera: BoolProperty(
        name="Face the Camera", default=True, description="Turn the object's front (-Y) to the camera; else its turn is kept"
    )

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return context.mode == "OBJECT" and shot_clip(context.scene) is not None

    def execute(self, context: bpy.types.Context) -> set[str]:
        roots = selected_roots(context)
        if not roots:
            self.report({"WARNING"}, "Select what is to stand on the surface")
            return {"CANCELLED"}
        direction = np.array(self.direction, float)
        length = float(np.linalg.norm(direction))
        if not length > 0:
            return {"CANCELLED"}
        if not settle(context.scene, roots, np.array(self.origin, float), direction / length, self.face_camera):
            self.report({"INFO"}, "There is no surface of the shot here: the object stays where Blender dropped it")
            return {"CANCELLED"}
        return {"FINISHED"}


def shot_clip(scene: bpy.types.Scene) -> bpy.types.MovieClip | None:
    """The solved clip whose surfaces stand in a scene."""
    clip = scene.holdfast.clip
    if clip is None or not clip.holdfast.solved or not scene_objects.find(scene, clip.holdfast.uid, scene_objects.CAMERA):
        return None
    return clip


def selected_roots(context: bpy.types.Context) -> list[bpy.types.Object]:
    """Selected objects that can be moved and whose parents are not selected too."""
    chosen = {ob for ob in context.selected_objects if not _made_by_us(ob)}
    return sorted((ob for ob in chosen if ob.parent not in chosen), key=lambda ob: ob.name)


def _made_by_us(ob: bpy.types.Object) -> bool:
    return ob.get(scene_objects.ROLE_KEY) not in (None, scene_objects.PROP) and bool(scene_objects.uid_of(ob))


def settle(
    scene: bpy.types.Scene, roots: list[bpy.types.Object], origin: np.ndarray, direction: np.ndarray, face_camera: bool = True
) -> bool:
    """Stand objects on the first surface along a ray of the scene, as one group. False, and nothing moves, if there is none."""
    clip = shot_clip(scene)
    found = surfaces.hit(scene, clip.holdfast.uid, origin, direction) if clip is not None else None
    if found is None:
        return False
    point, normal, _ = found
    camera = scene_objects.find(scene, clip.holdfast.uid, scene_objects.CAMERA)
    towards = np.array(camera.matrix_world.translation) - point
    first = roots[0].matrix_world.copy()
    turn = upright(first, towards if face_camera else None)
    change = turn @ first.inverted()
    for ob in roots:
        ob.matrix_world = change @ ob.matrix_world
        ob[scene_objects.RIDES_KEY] = clip.holdfast.uid
    bpy.context.view_layer.update()
    low, high = props.bounds(roots)
    move = Matrix.Translation(Vector(props.standing_move(low, high, point, normal)))
    for ob in roots:
        ob.matrix_world = move @ ob.matrix_world
    bpy.context.view_layer.update()
    return True


def upright(matrix: Matrix, towards: np.ndarray | None) -> Matrix:
    """A matrix with its z axis up: its front (-y) turned level towards a direction, or its own heading kept."""
    place, turn, scale = matrix.decompose()
    if towards is not None and np.linalg.norm(towards[:2]) > 1e-9:
        heading = float(np.arctan2(towards[1], towards[0])) + np.pi / 2
    else:
        along = turn @ Vector((1.0, 0.0, 0.0))
        heading = float(np.arctan2(along.y, along.x)) if along.xy.length > 1e-6 else 0.0
    return Matrix.LocRotScale(place, Matrix.Rotation(heading, 3, "Z"), scale)


# ---- noticing a drop


@bpy.app.handlers.persistent
def _on_update(scene: bpy.types.Scene, *_) -> None:
    """Something changed: if the last operator was a drop, look at it once Blender has finished with it. Must be cheap."""
    operators = bpy.context.window_manager.operators
    if not operators or operators[-1].bl_idname not in DROPS or bpy.app.background:
        return
    if _key(operators[-1]) not in _handled and not bpy.app.timers.is_registered(_look):
        bpy.app.timers.register(_look, first_interval=0.0)


def _key(operator: bpy.types.Operator) -> tuple:
    own = operator.properties
    return (operator.bl_idname, operator.as_pointer(), getattr(own, "drop_x", 0), getattr(own, "drop_y", 0))


def _look() -> None:
    """Timer: settle what was dropped."""
    manager = bpy.context.window_manager
    if not manager.operators or manager.operators[-1].bl_idname not in DROPS:
        return
    operator = manager.operators[-1]
    key = _key(operator)
    if key in _handled:
        return
    _handled.add(key)
    window, area, region = _place_of(key[2], key[3])
    if area is None or shot_clip(window.scene) is None:
        return
    at = (key[2] - region.x, key[3] - region.y)
    view = area.spaces.active.region_3d
    origin = view3d_utils.region_2d_to_origin_3d(region, view, at)
    direction = view3d_utils.region_2d_to_vector_3d(region, view, at)
    with bpy.context.temp_override(window=window, area=area, region=region):
        if bpy.ops.holdfast.settle.poll():
            bpy.ops.holdfast.settle("EXEC_DEFAULT", True, origin=origin, direction=direction)


def _place_of(x: int, y: int):
    """Window, 3D viewport and region at window coordinates."""
    for window in bpy.context.window_manager.windows:
        for area in window.screen.areas:
            if area.type == "VIEW_3D":
                region = next((r for r in area.regions if r.type == "WINDOW"), None)
                inside = region.x <= x < region.x + region.width and region.y <= y < region.y + region.height
                if region is not None and inside:
                    return window, area, region
    return bpy.context.window, None, None


# ---- the test objects as assets


class HOLDFAST_OT_prop_assets(bpy.types.Operator):
    """Offer the test objects in the Asset Browser (library Current File), to be dragged into the shot from there"""

    bl_idname = "holdfast.prop_assets"
    bl_label = "Test Objects as Assets"
    bl_options = {"REGISTER", "UNDO"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        made = make_assets()
        self.report({"INFO"}, f"{len(made)} test objects are in the Asset Browser" if made else "They are there already")
        return {"FINISHED"}


def make_assets(size: float = 0.4) -> list[bpy.types.Object]:
    """Test objects as assets of this file, in no scene; those that exist are kept. size: their height in m."""
    have = {ob.get("holdfast_asset") for ob in bpy.data.objects if ob.asset_data is not None}
    made = []
    for kind in ("CONE", "CUBE", "CHROME", "GREY"):
        if kind in have:
            continue
        ob = props.make_test_object(kind, size)
        ob["holdfast_asset"] = kind
        ob.asset_mark()
        ob.asset_data.description = "Test object of Holdfast: shows whether the camera holds fast"
        if not bpy.app.background:
            ob.asset_generate_preview()
        made.append(ob)
    return made


CLASSES = (HOLDFAST_OT_settle, HOLDFAST_OT_prop_assets)


def register() -> None:
    for cls in CLASSES:
        bpy.utils.register_class(cls)
    bpy.app.handlers.depsgraph_update_post.append(_on_update)


def unregister() -> None:
    if _on_update in bpy.app.handlers.depsgraph_update_post:
        bpy.app.handlers.depsgraph_update_post.remove(_on_update)
    if bpy.app.timers.is_registered(_look):
        bpy.app.timers.unregister(_look)
    _handled.clear()
    for cls in reversed(CLASSES):
        bpy.utils.unregister_class(cls)
