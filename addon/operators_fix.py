# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixing the scene by selected points, looking at quality, and Blender's own reconstruction: thin operators."""

from __future__ import annotations

import bpy
import numpy as np
from bpy.props import EnumProperty, FloatProperty, IntProperty

from . import clip_frames, fixup, following, importer, jobfolder, native, operators_scene, quality, scene_objects


class HOLDFAST_OT_fix(operators_scene.Solved, bpy.types.Operator):
    """Stand the scene up by points selected in the point cloud's edit mode. The camera's keys stay; the scene's parent moves"""

    bl_idname = "holdfast.fix"
    bl_label = "Fix Scene"
    bl_options = {"REGISTER", "UNDO"}

    what: EnumProperty(
        name="What",
        default="ORIGIN",
        items=(
            ("ORIGIN", "Set Origin", "The middle of the selected points becomes the scene's origin"),
            ("GROUND", "Set Ground", "The plane through three or more selected points becomes z = 0"),
            ("X", "Set X Axis", "The line through two selected points becomes parallel to X"),
            ("Y", "Set Y Axis", "The line through two selected points becomes parallel to Y"),
            ("SCALE", "Set Scale", "Two selected points come to the distance given"),
        ),
        description="What the selected points say about the scene",
    )
    distance: FloatProperty(
        name="Distance", default=1.0, min=1e-4, unit="LENGTH", description="True distance of the two selected points"
    )

    @classmethod
    def description(cls, context: bpy.types.Context, properties: bpy.types.OperatorProperties) -> str:
        item = cls.bl_rna.properties["what"].enum_items.get(properties.what) if "what" in cls.bl_rna.properties else None
        return f"{item.description}. Select the points in the point cloud's edit mode" if item else cls.__doc__

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        return context.window_manager.invoke_props_dialog(self) if self.what == "SCALE" else self.execute(context)

    def draw(self, context: bpy.types.Context) -> None:
        if self.what == "SCALE":
            self.layout.prop(self, "distance")

    def execute(self, context: bpy.types.Context) -> set[str]:
        scene, uid = context.scene, operators_scene.solved_clip(context).holdfast.uid
        camera = np.array(scene_objects.find(scene, uid, scene_objects.CAMERA).matrix_world.translation)
        try:
            points = fixup.selected_points(scene, uid)
            change = {
                "ORIGIN": lambda: fixup.origin(points),
                "GROUND": lambda: fixup.ground(points, camera),
                "X": lambda: fixup.axis(points, "X"),
                "Y": lambda: fixup.axis(points, "Y"),
                "SCALE": lambda: fixup.scale(points, self.distance),
            }[self.what]()
            fixup.apply(scene, uid, change)
        except fixup.FixError as error:
            self.report({"WARNING"}, str(error))
            return {"CANCELLED"}
        return {"FINISHED"}


class HOLDFAST_OT_select_points(operators_scene.Solved, bpy.types.Operator):
    """Edit the point cloud, to select points on the ground or of a known distance"""

    bl_idname = "holdfast.select_points"
    bl_label = "Select Points"
    bl_options = {"REGISTER", "UNDO"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        cloud = scene_objects.find(context.scene, operators_scene.solved_clip(context).holdfast.uid, scene_objects.POINTS)
        if cloud is None:
            self.report({"WARNING"}, "This scene has no point cloud of the clip")
            return {"CANCELLED"}
        if cloud.mode == "EDIT":
            bpy.ops.object.mode_set(mode="OBJECT")
            return {"FINISHED"}
        if context.mode != "OBJECT":
            bpy.ops.object.mode_set(mode="OBJECT")
        for other in context.selected_objects:
            other.select_set(False)
        cloud.select_set(True)
        context.view_layer.objects.active = cloud
        bpy.ops.object.mode_set(mode="EDIT")
        context.tool_settings.mesh_select_mode = (True, False, False)
        bpy.ops.mesh.select_all(action="DESELECT")
        return {"FINISHED"}


class HOLDFAST_OT_worst_frame(operators_scene.Solved, bpy.types.Operator):
    """Go to one of the frames with the largest error"""

    bl_idname = "holdfast.worst_frame"
    bl_label = "Worst Frame"
    bl_options = {"REGISTER"}

    rank: IntProperty(name="Rank", default=0, min=0, description="0 is the worst frame, 1 the next")

    def execute(self, context: bpy.types.Context) -> set[str]:
        clip = operators_scene.solved_clip(context)
        try:
            frames = quality.worst_frames(jobfolder.read_shot(importer.job_folder_of(clip)), self.rank + 1)
        except jobfolder.JobFolderError as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        if len(frames) <= self.rank:
            self.report({"INFO"}, "There is no worse frame")
            return {"CANCELLED"}
        number, error = frames[self.rank]
        following.show_frame(context.scene, clip_frames.numbering_of(clip).scene_frame(number))
        self.report({"INFO"}, f"Frame {context.scene.frame_current}: {error:.2f} px")
        return {"FINISHED"}


class HOLDFAST_OT_worst_track(operators_scene.Solved, bpy.types.Operator):
    """Select the track with the largest error on the clip, at its worst frame. Again: the next one"""

    bl_idname = "holdfast.worst_track"
    bl_label = "Worst Track"
    bl_options = {"REGISTER"}

    rank: IntProperty(
        name="Rank", default=-1, min=-1, description="0 is the worst track, 1 the next. -1: the one after the selected"
    )

    def execute(self, context: bpy.types.Context) -> set[str]:
        clip = operators_scene.solved_clip(context)
        try:
            errors = quality.track_errors(jobfolder.read_shot(importer.job_folder_of(clip)))
        except jobfolder.JobFolderError as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        names = [f"HF.{error.number:05d}" for error in errors]
        active = clip.tracking.tracks.active
        rank = self.rank
        if rank < 0:
            rank = names.index(active.name) + 1 if active is not None and active.select and active.name in names else 0
        for error in errors[rank:]:
            if quality.show_track(context.scene, clip, error) is not None:
                self.report({"INFO"}, f"Track {error.number}: {error.error_px:.2f} px")
                return {"FINISHED"}
        self.report({"INFO"}, "There is no worse track")
        return {"CANCELLED"}


class HOLDFAST_OT_native(operators_scene.Solved, bpy.types.Operator):
    """Make this solve the clip's own reconstruction, so that Blender's tools for solved clips (constraints, bundles,
    orientation) work on it
    """

    bl_idname = "holdfast.native"
    bl_label = "Blender Reconstruction"
    bl_options = {"REGISTER", "UNDO"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        clip = operators_scene.solved_clip(context)
        try:
            error = native.reconstruct(context.scene, clip, jobfolder.read_shot(importer.job_folder_of(clip)))
        except (native.NativeError, jobfolder.JobFolderError) as problem:
            self.report({"ERROR"}, str(problem))
            return {"CANCELLED"}
        self.report({"INFO"}, f"Blender's reconstruction follows the solve to {error:.4f} px")
        return {"FINISHED"}


CLASSES = (HOLDFAST_OT_fix, HOLDFAST_OT_select_points, HOLDFAST_OT_worst_frame, HOLDFAST_OT_worst_track, HOLDFAST_OT_native)

register, unregister = bpy.utils.register_classes_factory(CLASSES)
