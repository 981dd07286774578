# SPDX-License-Identifier: GPL-3.0-or-later
"""Solve, cancel, import: thin operators over `session` and `importer`."""

from __future__ import annotations

from pathlib import Path

import bpy
from bpy.props import EnumProperty, StringProperty
from bpy_extras.io_utils import ImportHelper

from . import importer, job, jobfolder, properties, scene_camera, scene_objects, session

SCENE_SETUP = EnumProperty(
    name="Scene",
    default="AUTO",
    items=(
        ("AUTO", "If Unused", "Set the scene to the clip's range, rate, resolution and pixel aspect if nobody has worked in it"),
        ("SET", "Set to Clip", "Set the scene's range, rate, resolution and pixel aspect to the clip's"),
        ("KEEP", "Keep", "Leave the scene's settings as they are"),
    ),
    description="What happens to the scene's frame range, rate, resolution and pixel aspect",
)


class HOLDFAST_OT_solve(bpy.types.Operator):
    """Track the shot and find its camera. Blender stays usable meanwhile"""

    bl_idname = "holdfast.solve"
    bl_label = "Solve Shot"
    bl_options = {"REGISTER"}

    scene_setup: SCENE_SETUP

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        clip = properties.clip_of_context(context)
        if clip is None:
            cls.poll_message_set("Open footage first")
            return False
        running = session.job_of(clip)
        return not (running and running.busy)

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        clip = properties.clip_of_context(context)
        if self.scene_setup == "AUTO" and scene_camera.scene_in_use(context.scene) and not _fits(context.scene, clip):
            self.scene_setup = "SET"
            return context.window_manager.invoke_props_dialog(self, width=360)
        return self.execute(context)

    def draw(self, context: bpy.types.Context) -> None:
        column = self.layout.column()
        column.label(text="This scene does not have the clip's range, rate or resolution.", icon="QUESTION")
        column.prop(self, "scene_setup", expand=True)

    def execute(self, context: bpy.types.Context) -> set[str]:
        clip = properties.clip_of_context(context)
        try:
            shot = session.start(context.scene, clip, self.scene_setup)
        except (OSError, ValueError) as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        if not bpy.app.background:
            session.listen()
            return {"FINISHED"}
        state = session.wait_for(shot, lambda solver: print(f"Holdfast: {session.progress_text(solver)}", flush=True))
        if state is not job.JobState.DONE or not shot.imported:
            self.report({"ERROR"}, shot.message or shot.solver.message)
            return {"CANCELLED"}
        return {"FINISHED"}


def _fits(scene: bpy.types.Scene, clip: bpy.types.MovieClip) -> bool:
    """True where the scene has the clip's resolution, rate and length already."""
    rate, base = scene_camera.frame_rate(clip.fps if clip.fps > 0 else 24.0)
    render = scene.render
    return (
        (render.resolution_x, render.resolution_y) == tuple(clip.size)
        and render.fps == rate
        and abs(render.fps_base - base) < 1e-4
        and scene.frame_end - scene.frame_start + 1 == clip.frame_duration
    )


class HOLDFAST_OT_cancel(bpy.types.Operator):
    """Stop the solve. What the last solve made stays"""

    bl_idname = "holdfast.cancel"
    bl_label = "Cancel"
    bl_options = {"INTERNAL"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        running = session.job_of(properties.clip_of_context(context))
        return bool(running and running.solver.state is job.JobState.RUNNING)

    def execute(self, context: bpy.types.Context) -> set[str]:
        session.job_of(properties.clip_of_context(context)).solver.cancel()
        if not bpy.app.background:
            session.listen()
        return {"FINISHED"}


class HOLDFAST_OT_import_solve(bpy.types.Operator):
    """Build the scene from a finished solve"""

    bl_idname = "holdfast.import_solve"
    bl_label = "Import Solve"
    bl_options = {"INTERNAL", "UNDO"}

    uid: StringProperty(options={"HIDDEN", "SKIP_SAVE"}, description="Id of the clip")

    def execute(self, context: bpy.types.Context) -> set[str]:
        shot = session.jobs.get(self.uid)
        if shot is None:
            self.report({"ERROR"}, "There is no finished solve of this clip")
            return {"CANCELLED"}
        session.finish(shot)
        if shot.message:
            self.report({"ERROR"}, shot.message)
            return {"CANCELLED"}
        clip = properties.clip_of_context(context)
        self.report({"INFO"}, f"Holdfast: {clip.holdfast.summary if clip and clip.holdfast.summary else 'solved'}")
        return {"FINISHED"}


class HOLDFAST_OT_import_folder(bpy.types.Operator, ImportHelper):
    """Import a solve made elsewhere: choose its solve.json"""

    bl_idname = "holdfast.import_folder"
    bl_label = "Import Solve from Disk"
    bl_options = {"REGISTER", "UNDO"}

    filename_ext = ".json"
    filter_glob: StringProperty(default="*.json", options={"HIDDEN"}, description="Files shown")
    scene_setup: SCENE_SETUP

    def execute(self, context: bpy.types.Context) -> set[str]:
        from . import headless  # not needed before this button is pressed

        folder = Path(self.filepath)
        folder = folder if folder.is_dir() else folder.parent
        try:
            shot = jobfolder.read_shot(folder)
            clip = properties.clip_of_context(context)
            if clip is None or tuple(clip.size) != (shot.width, shot.height):
                clip = headless.load_clip(headless.find_footage(shot))
            importer.import_shot(context.scene, clip, folder, self.scene_setup)
        except (jobfolder.JobFolderError, RuntimeError) as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        return {"FINISHED"}


class HOLDFAST_OT_open_footage(bpy.types.Operator, ImportHelper):
    """Open a movie or the first image of a sequence as the footage of this scene"""

    bl_idname = "holdfast.open_footage"
    bl_label = "Open Footage"
    bl_options = {"REGISTER", "UNDO"}

    filepath: StringProperty(
        subtype="FILE_PATH", options={"SKIP_SAVE"}, description="The movie, or the first image of a sequence"
    )
    filter_glob: StringProperty(
        default="*.mp4;*.mov;*.m4v;*.mkv;*.avi;*.webm;*.mxf;*.mpg;*.mpeg;*.png;*.jpg;*.jpeg;*.tif;*.tiff;*.exr;*.dpx",
        options={"HIDDEN"},
        description="Files shown",
    )

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        if self.filepath:  # dropped on us
            return self.execute(context)
        return super().invoke(context, event)

    def execute(self, context: bpy.types.Context) -> set[str]:
        try:
            clip = bpy.data.movieclips.load(self.filepath, check_existing=True)
        except RuntimeError as error:
            self.report({"ERROR"}, f"This file cannot be opened as footage: {str(error).strip()}")
            return {"CANCELLED"}
        if not clip.size[0]:
            self.report({"ERROR"}, "Blender finds no picture in this file")
            return {"CANCELLED"}
        context.scene.holdfast.clip = clip
        if context.space_data is not None and context.space_data.type == "CLIP_EDITOR":
            context.space_data.clip = clip
        return {"FINISHED"}


class HOLDFAST_FH_footage(bpy.types.FileHandler):
    """Movies dropped on a Holdfast panel, or on the Clip editor, are opened as footage"""

    bl_idname = "HOLDFAST_FH_footage"
    bl_label = "Footage for Holdfast"
    bl_import_operator = "holdfast.open_footage"
    bl_file_extensions = ".mp4;.mov;.m4v;.mkv;.avi;.webm;.mxf;.mpg;.mpeg"

    @classmethod
    def poll_drop(cls, context: bpy.types.Context) -> bool:
        # On the viewport itself a movie may be meant as a reference or a strip: there Blender's own ways stay.
        area, region = context.area, context.region
        return bool(area and (area.type == "CLIP_EDITOR" or (area.type == "VIEW_3D" and region and region.type == "UI")))


class HOLDFAST_OT_lens_preset(bpy.types.Operator):
    """Set the sensor's width, and a focal length where the camera has one lens only, from a list of cameras"""

    bl_idname = "holdfast.lens_preset"
    bl_label = "Camera"
    bl_options = {"REGISTER", "UNDO"}

    camera: EnumProperty(
        name="Camera",
        items=tuple(
            (key, name, f"Sensor {sensor:g} mm wide" + (f", focal length {focal:g} mm" if focal else ""))
            for key, name, sensor, focal in properties.CAMERAS
        ),
        description="The camera the shot was made with; the width is that of the area the movie shows",
    )

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return properties.clip_of_context(context) is not None

    def execute(self, context: bpy.types.Context) -> set[str]:
        own = properties.clip_of_context(context).holdfast
        _, name, sensor, focal = next(row for row in properties.CAMERAS if row[0] == self.camera)
        own.sensor, own.sensor_mm = "CUSTOM", sensor
        if focal:
            own.focal_mm = focal
        self.report({"INFO"}, f"{name}: sensor {sensor:g} mm" + (f", focal length {focal:g} mm as a start" if focal else ""))
        return {"FINISHED"}


class HOLDFAST_OT_set_scene(bpy.types.Operator):
    """Set this scene's frame range, rate, resolution and pixel aspect to the clip's and look through its camera"""

    bl_idname = "holdfast.set_scene"
    bl_label = "Set Scene to Clip"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        clip = properties.clip_of_context(context)
        return bool(clip and clip.holdfast.solved)

    def execute(self, context: bpy.types.Context) -> set[str]:
        clip = properties.clip_of_context(context)
        try:
            shot = jobfolder.read_shot(importer.job_folder_of(clip))
        except jobfolder.JobFolderError as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        scene_camera.apply_settings(context.scene, scene_camera.wanted_settings(clip, shot))
        camera = scene_objects.find(context.scene, clip.holdfast.uid, scene_objects.CAMERA)
        if camera is not None:
            context.scene.camera = camera
        running = session.job_of(clip)
        if running:
            running.needs_scene = False
        return {"FINISHED"}


CLASSES = (
    HOLDFAST_OT_solve,
    HOLDFAST_OT_cancel,
    HOLDFAST_OT_import_solve,
    HOLDFAST_OT_import_folder,
    HOLDFAST_OT_open_footage,
    HOLDFAST_FH_footage,
    HOLDFAST_OT_lens_preset,
    HOLDFAST_OT_set_scene,
)

register, unregister = bpy.utils.register_classes_factory(CLASSES)
