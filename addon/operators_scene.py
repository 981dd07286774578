# SPDX-License-Identifier: GPL-3.0-or-later
"""Working with the solved scene: dropping props, the lock test."""

from __future__ import annotations

from pathlib import Path

import bpy
from bpy.props import BoolProperty, FloatVectorProperty, IntProperty
from bpy_extras import view3d_utils

from . import clip_frames, compositing, importer, lock_test, properties, props, scene_objects


def solved_clip(context: bpy.types.Context) -> bpy.types.MovieClip | None:
    """The clip meant, if this scene has its camera."""
    clip = properties.clip_of_context(context)
    if clip is None or not clip.holdfast.solved or not scene_objects.find(context.scene, clip.holdfast.uid, scene_objects.CAMERA):
        return None
    return clip


class Solved:
    """Operators that need a solved clip."""

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if solved_clip(context) is None:
            cls.poll_message_set("Solve a clip first")
            return False
        return True


class HOLDFAST_OT_drop_prop(Solved, bpy.types.Operator):
    """Click on the footage to put the chosen test object, or the selected object, onto the surface there"""

    bl_idname = "holdfast.drop_prop"
    bl_label = "Drop Prop"
    bl_options = {"REGISTER", "UNDO"}

    use_selected: BoolProperty(
        name="Selected Object", default=False, description="Put the active object there instead of a test object"
    )
    place: FloatVectorProperty(
        name="Place",
        size=2,
        default=(0.5, 0.6),
        min=0.0,
        max=1.0,
        description="Where in the picture: fractions of its width and height, from the top left",
    )
    frame: IntProperty(name="Frame", default=-1, description="Scene frame of the picture. -1: the current one")

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return super().poll(context) and context.mode == "OBJECT"

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        if context.area is None or context.area.type != "VIEW_3D":
            return self.execute(context)
        region = context.region_data
        if region is not None and region.view_perspective != "CAMERA":
            context.scene.camera = scene_objects.find(context.scene, solved_clip(context).holdfast.uid, scene_objects.CAMERA)
            region.view_perspective = "CAMERA"
        context.window.cursor_modal_set("CROSSHAIR")
        context.workspace.status_text_set("Click on a surface to drop the prop there; Esc or right click to stop")
        context.window_manager.modal_handler_add(self)
        return {"RUNNING_MODAL"}

    def modal(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        if event.type in {"ESC", "RIGHTMOUSE"}:
            self._end(context)
            return {"CANCELLED"}
        if event.type == "LEFTMOUSE" and event.value == "PRESS":
            place = self._place_under(context, event)
            self._end(context)
            if place is None:
                self.report({"WARNING"}, "That was beside the footage")
                return {"CANCELLED"}
            self.place = place
            return self.execute(context)
        return (
            {"PASS_THROUGH"}
            if event.type in {"MIDDLEMOUSE", "WHEELUPMOUSE", "WHEELDOWNMOUSE", "MOUSEMOVE"}
            else {"RUNNING_MODAL"}
        )

    def execute(self, context: bpy.types.Context) -> set[str]:
        clip = solved_clip(context)
        scene = context.scene
        kind: str | bpy.types.Object = scene.holdfast.prop_kind
        if self.use_selected:
            if (
                context.active_object is None
                or not context.active_object.select_get()
                or (
                    scene_objects.uid_of(context.active_object)
                    and context.active_object.get(scene_objects.ROLE_KEY) != scene_objects.PROP
                )
            ):
                self.report({"ERROR"}, "Select the object to put there first")
                return {"CANCELLED"}
            kind = context.active_object
        width, height = clip_frames.size_of(clip)
        pixel = (self.place[0] * width, self.place[1] * height)
        try:
            ob = props.place_prop(scene, clip, kind, pixel, scene.frame_current if self.frame == -1 else self.frame)
        except props.DropError as error:
            self.report({"WARNING"}, str(error))
            return {"CANCELLED"}
        for other in context.selected_objects:
            other.select_set(False)
        ob.select_set(True)
        context.view_layer.objects.active = ob
        return {"FINISHED"}

    def _place_under(self, context: bpy.types.Context, event: bpy.types.Event) -> tuple[float, float] | None:
        """Fractions of the picture under the mouse, from the camera's frame as the viewport draws it."""
        window = next((r for r in context.area.regions if r.type == "WINDOW"), None)
        space = context.space_data
        camera = context.scene.camera
        if window is None or camera is None:
            return None
        corners = camera.data.view_frame(scene=context.scene)
        drawn = [
            view3d_utils.location_3d_to_region_2d(window, space.region_3d, camera.matrix_world.normalized() @ corner)
            for corner in corners
        ]
        if any(point is None for point in drawn):
            return None
        xs, ys = [p.x for p in drawn], [p.y for p in drawn]
        x = (event.mouse_x - window.x - min(xs)) / max(1e-6, max(xs) - min(xs))
        y = 1.0 - (event.mouse_y - window.y - min(ys)) / max(1e-6, max(ys) - min(ys))
        return (x, y) if 0.0 <= x <= 1.0 and 0.0 <= y <= 1.0 else None

    def _end(self, context: bpy.types.Context) -> None:
        context.window.cursor_modal_restore()
        context.workspace.status_text_set(None)


class HOLDFAST_OT_lock_test(bpy.types.Operator):
    """Render a few frames of the scene over the footage into the solve's folder, to see whether props hold fast"""

    bl_idname = "holdfast.lock_test"
    bl_label = "Lock Test"
    bl_options = {"REGISTER"}

    count: IntProperty(name="Frames", default=5, min=1, max=200, description="How many frames, spread over the shot")
    width: IntProperty(name="Width", default=640, min=64, max=8192, description="Width of the pictures in pixels")

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return solved_clip(context) is not None

    def execute(self, context: bpy.types.Context) -> set[str]:
        scene, clip = context.scene, solved_clip(context)
        last = max(1, self.count - 1)
        span = scene.frame_end - scene.frame_start
        frames = sorted({scene.frame_start + round(span * i / last) for i in range(self.count)})
        width, height = clip_frames.size_of(clip)
        size = (self.width, max(2, round(self.width * height / width)))
        folder = importer.job_folder_of(clip) / "lock_test"
        try:
            files = lock_test.render_lock_frames(scene, clip, frames, size, Path(folder))
        except (props.DropError, RuntimeError, OSError) as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        self.report({"INFO"}, f"{len(files)} frames in {folder}")
        return {"FINISHED"}


class HOLDFAST_OT_compositing(bpy.types.Operator):
    """Wire the compositor: the render, bent by the lens as the footage is, over the untouched footage"""

    bl_idname = "holdfast.compositing"
    bl_label = "Set Up Compositing"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return solved_clip(context) is not None

    def execute(self, context: bpy.types.Context) -> set[str]:
        clip = solved_clip(context)
        try:
            compositing.set_up(context.scene, clip, importer.job_folder_of(clip))
        except (props.DropError, RuntimeError, OSError) as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        self.report({"INFO"}, "Compositing is set up; the view transform is Standard, so that the footage stays as it is")
        return {"FINISHED"}


CLASSES = (HOLDFAST_OT_drop_prop, HOLDFAST_OT_lock_test, HOLDFAST_OT_compositing)

register, unregister = bpy.utils.register_classes_factory(CLASSES)
