# SPDX-License-Identifier: GPL-3.0-or-later
"""The Holdfast tab in the sidebars of the Clip editor and the 3D viewport: drawing only, no logic."""

from __future__ import annotations

import textwrap

import bpy

from . import compat, error_graph, job, properties, quality, rolling_shutter, session

_ICONS = {"good": "CHECKMARK", "usable": "CHECKMARK", "weak": "ERROR", "failed": "CANCEL"}


def draw_main(layout: bpy.types.UILayout, context: bpy.types.Context) -> None:
    """Footage, the button, progress, the result."""
    clip = properties.clip_of_context(context)
    if context.space_data.type == "VIEW_3D":
        row = layout.row(align=True)
        row.prop(context.scene.holdfast, "clip", text="")
        if clip is not None:
            row.operator("holdfast.open_footage", text="", icon="FILE_FOLDER")
            if context.scene.holdfast.clip is None:
                layout.label(text=clip.name, icon="FILE_MOVIE")
    if clip is None:
        layout.operator("holdfast.open_footage", icon="FILE_FOLDER")
        return
    shot = session.job_of(clip)
    if shot and shot.busy:
        _progress(layout, context, shot)
    else:
        row = layout.row()
        row.scale_y = 1.5
        row.operator("holdfast.solve", text="Solve Again" if clip.holdfast.solved else "Solve Shot", icon="CON_CAMERASOLVER")
        if shot:
            _outcome(layout, context, shot)
    if clip.holdfast.solved:
        _result(layout, context, clip)


def _progress(layout: bpy.types.UILayout, context: bpy.types.Context, shot: session.ShotJob) -> None:
    solver = shot.solver
    text = session.progress_text(solver)
    if compat.can_progress_bar(layout):
        layout.progress(factor=solver.fraction, text=text)
    else:
        layout.label(text=f"{text} ({round(100 * solver.fraction)} %)")
    layout.operator("holdfast.cancel", icon="CANCEL")
    layout.prop(context.scene.holdfast, "show_live")
    for warning in solver.warnings[-2:]:
        wrapped(layout, warning, icon="ERROR", context=context)


def _outcome(layout: bpy.types.UILayout, context: bpy.types.Context, shot: session.ShotJob) -> None:
    """What went wrong with the last job, where something did."""
    box = None
    if shot.solver.state is job.JobState.FAILED:
        box = layout.box()
        box.alert = True
        wrapped(box, shot.solver.message, icon="CANCEL", context=context)
        if shot.solver.hint:
            box.alert = False
            wrapped(box, shot.solver.hint, icon="INFO", context=context)
    elif shot.solver.state is job.JobState.CANCELLED:
        layout.label(text="Cancelled", icon="CANCEL")
    if shot.message:
        box = box or layout.box()
        wrapped(box, shot.message, icon="CANCEL", context=context)


def _result(layout: bpy.types.UILayout, context: bpy.types.Context, clip: bpy.types.MovieClip) -> None:
    own = clip.holdfast
    box = layout.box()
    wrapped(box, own.summary or "Solved", icon=_ICONS.get(own.status, "CHECKMARK"), context=context)
    column = box.column(align=True)
    for name, value in (
        ("Error", f"{own.error_px:.2f} px"),
        ("Focal length", own.focal_words),
        ("Frames", f"{own.frames_solved} of {own.frames_total}"),
        ("Scene", own.scene_words),
    ):
        if value:
            wrapped(column, f"{name}: {value}", context=context)
    explained = quality.explain(own.status, own.statements, own.warnings)
    if explained:
        wrapped(box, explained, icon="QUESTION", context=context)
    shot = session.job_of(clip)
    if shot and shot.needs_scene:
        box.operator("holdfast.set_scene", icon="SCENE_DATA")


def wrapped(layout: bpy.types.UILayout, text: str, icon: str = "NONE", context: bpy.types.Context | None = None) -> None:
    """A text over as many lines as the sidebar's width asks for."""
    width = context.region.width if context and context.region else 280
    scale = (context or bpy.context).preferences.system.ui_scale
    columns = max(18, int((width / scale - (75 if icon != "NONE" else 50)) / 6.2))
    column = layout.column(align=True)
    column.scale_y = 0.8
    for i, line in enumerate(textwrap.wrap(text, columns) or [""]):
        column.label(text=line, icon=icon if i == 0 else ("BLANK1" if icon != "NONE" else "NONE"))


class _Panel:
    bl_region_type = "UI"
    bl_category = "Holdfast"

    @classmethod
    def has_clip(cls, context: bpy.types.Context) -> bool:
        return properties.clip_of_context(context) is not None


class SolvedPanel(_Panel):
    """Panels that need a solved clip."""

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        clip = properties.clip_of_context(context)
        return bool(clip and clip.holdfast.solved)


class _Main(_Panel):
    bl_label = "Holdfast"

    def draw(self, context: bpy.types.Context) -> None:
        draw_main(self.layout, context)


class _Explain(_Panel):
    bl_label = "Explain"
    bl_options = {"DEFAULT_CLOSED"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        clip = properties.clip_of_context(context)
        return bool(clip and clip.holdfast.solved and (clip.holdfast.statements or clip.holdfast.warnings))

    def draw(self, context: bpy.types.Context) -> None:
        own = properties.clip_of_context(context).holdfast
        for line in filter(None, own.statements.split("\n")):
            wrapped(self.layout, line, icon="DOT", context=context)
        for line in filter(None, own.warnings.split("\n")):
            wrapped(self.layout, line, icon="ERROR", context=context)


class _Settings(_Panel):
    bl_label = "Settings"
    bl_options = {"DEFAULT_CLOSED"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return cls.has_clip(context)

    def draw(self, context: bpy.types.Context) -> None:
        own = properties.clip_of_context(context).holdfast
        layout = self.layout
        layout.use_property_split = True
        layout.use_property_decorate = False
        shot = session.jobs.get(own.uid)
        layout.enabled = not (shot and shot.busy)
        column = layout.column(heading="Lens")
        column.prop(own, "focal")
        column.prop(own, "focal_mm", text="Millimetres")
        column.prop(own, "sensor")
        column.operator_menu_enum("holdfast.lens_preset", "camera", text="Sensor of a Camera", icon="CAMERA_DATA")
        if own.sensor == "CUSTOM":
            column.prop(own, "sensor_mm")
        column.prop(own, "distortion")
        column = layout.column()
        column.prop(own, "motion")
        column.prop(own, "quality")
        column = layout.column()
        column.prop(own, "depth")
        if own.depth == "model":
            column.prop(own, "depth_model")
        elif own.depth == "maps":
            column.prop(own, "depth_maps")
        column.prop(own, "mask")
        refine = properties.clip_of_context(context).holdfast_refine
        column.prop(refine, "mask", text="Blender Mask")
        if refine.mask is not None:
            column.prop(refine, "mask_covers", text="Covers")
        column = layout.column()
        column.prop(own, "use_range")
        if own.use_range:
            column.prop(own, "start")
            column.prop(own, "end")
        column.prop(own, "marker_limit")
        layout.operator("holdfast.import_folder", icon="IMPORT")


class HOLDFAST_PT_clip(_Main, bpy.types.Panel):
    bl_space_type = "CLIP_EDITOR"


class HOLDFAST_PT_clip_explain(_Explain, bpy.types.Panel):
    bl_space_type = "CLIP_EDITOR"
    bl_parent_id = "HOLDFAST_PT_clip"


class HOLDFAST_PT_clip_settings(_Settings, bpy.types.Panel):
    bl_space_type = "CLIP_EDITOR"
    bl_parent_id = "HOLDFAST_PT_clip"


class HOLDFAST_PT_view(_Main, bpy.types.Panel):
    bl_space_type = "VIEW_3D"


class HOLDFAST_PT_view_explain(_Explain, bpy.types.Panel):
    bl_space_type = "VIEW_3D"
    bl_parent_id = "HOLDFAST_PT_view"


def _draw_rolling_shutter(layout: bpy.types.UILayout, scene: bpy.types.Scene) -> None:
    """For shots that have one: whether props are rendered with it, and how long each row is exposed."""
    row_time = rolling_shutter.row_time_of(scene.holdfast.clip)
    if not row_time:
        return
    own = scene.holdfast
    layout.prop(own, "rolling_shutter", text=f"Rolling Shutter, {row_time:.2f} of a Frame")
    if own.rolling_shutter and scene.render.engine == "CYCLES":
        layout.prop(own, "exposure")
    elif own.rolling_shutter:
        layout.label(text="Only Cycles renders it", icon="INFO")


class HOLDFAST_PT_view_props(SolvedPanel, bpy.types.Panel):
    bl_label = "Props"
    bl_space_type = "VIEW_3D"
    bl_parent_id = "HOLDFAST_PT_view"

    def draw(self, context: bpy.types.Context) -> None:
        layout = self.layout
        row = layout.row(align=True)
        row.prop(context.scene.holdfast, "prop_kind", text="")
        row.operator("holdfast.drop_prop", icon="PIVOT_CURSOR").use_selected = False
        layout.operator("holdfast.drop_prop", text="Drop Selected Object", icon="OBJECT_DATA").use_selected = True
        layout.operator("holdfast.prop_assets", icon="ASSET_MANAGER")
        layout.operator("holdfast.lock_test", icon="RENDER_STILL")
        layout.operator("holdfast.compositing", icon="NODE_COMPOSITING")
        layout.prop(context.scene.holdfast, "shadow_strength")
        _draw_rolling_shutter(layout, context.scene)
        layout.prop(context.scene.holdfast, "show_points")


class HOLDFAST_PT_view_fix(SolvedPanel, bpy.types.Panel):
    bl_label = "Fix Scene"
    bl_space_type = "VIEW_3D"
    bl_parent_id = "HOLDFAST_PT_view"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        layout = self.layout
        editing = context.mode == "EDIT_MESH"
        layout.operator(
            "holdfast.select_points", text="Done Selecting" if editing else "Select Points", icon="VERTEXSEL", depress=editing
        )
        column = layout.column(align=True)
        column.operator("holdfast.fix", text="Origin", icon="OBJECT_ORIGIN").what = "ORIGIN"
        column.operator("holdfast.fix", text="Ground", icon="GRID").what = "GROUND"
        row = column.row(align=True)
        row.operator("holdfast.fix", text="X Axis", icon="EMPTY_ARROWS").what = "X"
        row.operator("holdfast.fix", text="Y Axis").what = "Y"
        column.operator("holdfast.fix", text="Scale", icon="DRIVER_DISTANCE").what = "SCALE"


class _Quality(SolvedPanel):
    bl_label = "Quality"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        own = properties.clip_of_context(context).holdfast
        layout = self.layout
        row = layout.row(align=True)
        row.prop(context.scene.holdfast, "overlay", expand=True)
        icon, words = error_graph.icon_of(properties.clip_of_context(context))
        if icon:
            layout.template_icon(icon_value=icon, scale=7.0)
            layout.label(text=words)
        elif own.error_graph:
            layout.label(text=own.error_graph)
        column = layout.column(align=True)
        for rank, line in enumerate(filter(None, own.worst_frames.split("\n"))):
            column.operator("holdfast.worst_frame", text=line, icon="TIME" if rank == 0 else "BLANK1").rank = rank
        layout.operator("holdfast.worst_track", icon="TRACKER").rank = -1
        layout.operator("holdfast.native", icon="CON_CAMERASOLVER")


class HOLDFAST_PT_clip_quality(_Quality, bpy.types.Panel):
    bl_space_type = "CLIP_EDITOR"
    bl_parent_id = "HOLDFAST_PT_clip"


class HOLDFAST_PT_view_quality(_Quality, bpy.types.Panel):
    bl_space_type = "VIEW_3D"
    bl_parent_id = "HOLDFAST_PT_view"


class HOLDFAST_PT_view_settings(_Settings, bpy.types.Panel):
    bl_space_type = "VIEW_3D"
    bl_parent_id = "HOLDFAST_PT_view"


CLASSES = (
    HOLDFAST_PT_clip,
    HOLDFAST_PT_clip_explain,
    HOLDFAST_PT_clip_quality,
    HOLDFAST_PT_clip_settings,
    HOLDFAST_PT_view,
    HOLDFAST_PT_view_explain,
    HOLDFAST_PT_view_props,
    HOLDFAST_PT_view_fix,
    HOLDFAST_PT_view_quality,
    HOLDFAST_PT_view_settings,
)

register, unregister = bpy.utils.register_classes_factory(CLASSES)
