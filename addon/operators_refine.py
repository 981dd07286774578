# SPDX-License-Identifier: GPL-3.0-or-later
"""Refine, solve a part again, leave tracks out: thin operators."""

from __future__ import annotations

import bpy
from bpy.props import BoolProperty, EnumProperty, IntProperty

from . import job, operators_scene, properties, refine, session, track_edits


class _Solved(operators_scene.Solved):
    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if not super().poll(context):
            return False
        running = session.job_of(properties.clip_of_context(context))
        return not (running and running.busy)


def _run(operator: bpy.types.Operator, context: bpy.types.Context, **options) -> set[str]:
    """Start a refining; with a window the timer listens, without one this waits."""
    clip = operators_scene.solved_clip(context)
    try:
        shot = refine.start(context.scene, clip, **options)
    except (OSError, ValueError) as error:
        operator.report({"ERROR"}, str(error))
        return {"CANCELLED"}
    if not bpy.app.background:
        session.listen()
        return {"FINISHED"}
    state = session.wait_for(shot)
    if state is not job.JobState.DONE or not shot.imported:
        operator.report({"ERROR"}, shot.message or shot.solver.message)
        return {"CANCELLED"}
    return {"FINISHED"}


class HOLDFAST_OT_refine(_Solved, bpy.types.Operator):
    """Adjust the solve anew without the tracks you deleted or left out, and with your own. Nothing is tracked again, and
    everything in the scene stays in its place
    """

    bl_idname = "holdfast.refine"
    bl_label = "Refine"
    bl_options = {"REGISTER"}

    again: BoolProperty(
        name="From Nothing",
        default=False,
        options={"SKIP_SAVE"},
        description="Find the cameras from nothing instead of going on from the present ones: for solves that went quite wrong",
    )

    def execute(self, context: bpy.types.Context) -> set[str]:
        return _run(self, context, again=self.again)


class HOLDFAST_OT_solve_range(_Solved, bpy.types.Operator):
    """Track and solve some frames again, joined to the cameras around them, which stay as they are. Frames next to the solve can
    be added in the same way
    """

    bl_idname = "holdfast.solve_range"
    bl_label = "Solve Part Again"
    bl_options = {"REGISTER"}

    first: IntProperty(name="First Frame", default=1, description="First scene frame to track and solve again")
    last: IntProperty(name="Last Frame", default=10, description="Last scene frame to track and solve again")

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        scene = context.scene
        if scene.use_preview_range:
            self.first, self.last = scene.frame_preview_start, scene.frame_preview_end
        else:
            self.first, self.last = scene.frame_current - 5, scene.frame_current + 5
        return context.window_manager.invoke_props_dialog(self)

    def execute(self, context: bpy.types.Context) -> set[str]:
        if self.first > self.last:
            self.report({"ERROR"}, "The first frame lies after the last")
            return {"CANCELLED"}
        return _run(self, context, frames=(self.first, self.last))


class HOLDFAST_OT_mute_tracks(_Solved, bpy.types.Operator):
    """Leave tracks out of the next refining, or take them in again"""

    bl_idname = "holdfast.mute_tracks"
    bl_label = "Leave Out Tracks"
    bl_options = {"REGISTER", "UNDO"}

    which: EnumProperty(
        name="Which",
        default="SELECTED",
        items=(
            ("SELECTED", "Leave Out Selected", "Leave out the tracks selected in the Clip editor"),
            ("ABOVE", "Leave Out Worse", "Leave out all tracks whose error is above the limit"),
            ("TAKE_SELECTED", "Take In Selected", "Take the selected tracks in again"),
            ("TAKE_ALL", "Take In All", "Take all tracks in again"),
        ),
        description="Which tracks",
    )

    @classmethod
    def description(cls, context: bpy.types.Context, properties: bpy.types.OperatorProperties) -> str:
        item = cls.bl_rna.properties["which"].enum_items.get(properties.which) if "which" in cls.bl_rna.properties else None
        return item.description if item else cls.__doc__

    def execute(self, context: bpy.types.Context) -> set[str]:
        clip = operators_scene.solved_clip(context)
        own = clip.holdfast_refine
        tracks = track_edits.written_tracks(clip)
        if self.which in {"SELECTED", "TAKE_SELECTED"}:
            numbers = [n for n, track in tracks.items() if track.select]
        elif self.which == "ABOVE":
            numbers = [row.number for row in own.rows if row.error_px > own.mute_above_px and row.number in _solved_numbers(own)]
        else:
            numbers = [n for n, track in tracks.items() if track.weight <= 0.0]
            numbers += list(track_edits.unpack(own.left_out))
        if not numbers:
            self.report({"INFO"}, "There is no such track")
            return {"CANCELLED"}
        muted = self.which in {"SELECTED", "ABOVE"}
        track_edits.set_muted(clip, numbers, muted)
        words = "will be left out" if muted else "will be taken in"
        self.report({"INFO"}, f"{len(numbers)} track(s) {words} at the next Refine")
        return {"FINISHED"}


def _solved_numbers(own: bpy.types.PropertyGroup) -> set[int]:
    """Numbers of the solver's own tracks in the table: the artist's are not ours to mute."""
    return {row.number for row in own.rows if track_edits.number_of(row.title) is not None}


CLASSES = (HOLDFAST_OT_refine, HOLDFAST_OT_solve_range, HOLDFAST_OT_mute_tracks)

register, unregister = bpy.utils.register_classes_factory(CLASSES)
