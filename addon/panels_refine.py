# SPDX-License-Identifier: GPL-3.0-or-later
"""The Refine panel: the table of tracks, what takes part, and the buttons. Drawing only."""

from __future__ import annotations

import bpy

from . import panels, properties, session


class _Refine(panels.SolvedPanel):
    bl_label = "Refine"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        clip = properties.clip_of_context(context)
        own = clip.holdfast_refine
        shot = session.job_of(clip)
        layout = self.layout
        layout.enabled = not (shot and shot.busy)
        layout.template_list("HOLDFAST_UL_tracks", "", own, "rows", own, "row", rows=6)
        row = layout.row(align=True)
        row.operator("holdfast.mute_tracks", text="Leave Out").which = "SELECTED"
        row.operator("holdfast.mute_tracks", text="Take In").which = "TAKE_SELECTED"
        row.operator("holdfast.mute_tracks", text="", icon="LOOP_BACK").which = "TAKE_ALL"
        row = layout.row(align=True)
        row.operator("holdfast.mute_tracks", text="Leave Out Above").which = "ABOVE"
        row.prop(own, "mute_above_px", text="")
        row = layout.row(align=True)
        row.prop(own, "use_user_tracks")
        weight = row.row()
        weight.enabled = own.use_user_tracks
        weight.prop(own, "user_weight", text="")
        column = layout.column(align=True)
        column.scale_y = 1.2
        column.operator("holdfast.refine", icon="FILE_REFRESH").again = False
        column.operator("holdfast.refine", text="Refine from Nothing").again = True
        layout.operator("holdfast.solve_range", icon="PREVIEW_RANGE")


class HOLDFAST_PT_clip_refine(_Refine, bpy.types.Panel):
    bl_space_type = "CLIP_EDITOR"
    bl_parent_id = "HOLDFAST_PT_clip"


class HOLDFAST_PT_view_refine(_Refine, bpy.types.Panel):
    bl_space_type = "VIEW_3D"
    bl_parent_id = "HOLDFAST_PT_view"


CLASSES = (HOLDFAST_PT_clip_refine, HOLDFAST_PT_view_refine)

register, unregister = bpy.utils.register_classes_factory(CLASSES)
