# SPDX-License-Identifier: GPL-3.0-or-later
"""The table of tracks in the panel: the worst ones with their errors, to look at and to leave out."""

from __future__ import annotations

import bpy

from . import clip_frames, following, jobfolder, quality, refine_properties, scene_clip, track_edits

MAX_ROWS = 300


def fill(clip: bpy.types.MovieClip, shot: jobfolder.Shot, errors: list[quality.TrackError]) -> None:
    """Renew the table from a solve and its tracks' errors, the worst first. Those left out stand at the end."""
    own = clip.holdfast_refine
    own.rows.clear()
    numbering = clip_frames.numbering_of(clip)
    muted = sorted(track_edits.unpack(own.left_out) | {n for n, t in track_edits.written_tracks(clip).items() if t.weight <= 0})
    names = {d.get("track"): str(d.get("name")) for d in shot.data.get("user_tracks") or ()}
    with refine_properties.quietly():
        for error in errors[:MAX_ROWS]:
            row = own.rows.add()
            row.number, row.error_px = error.number, error.error_px
            row.first, row.last, row.worst = (numbering.scene_frame(n) for n in (error.first, error.last, error.worst))
            row.title = names.get(error.number, f"{scene_clip.TRACK_PREFIX}{error.number:05d}")
        for number in muted:
            row = own.rows.add()
            row.number, row.title, row.muted = number, f"{scene_clip.TRACK_PREFIX}{number:05d}", True
        own.row = -1


def show_row(scene: bpy.types.Scene, clip: bpy.types.MovieClip) -> bpy.types.MovieTrackingTrack | None:
    """Go to the chosen row's worst frame and select its track on the clip, if it is there."""
    own = clip.holdfast_refine
    if not 0 <= own.row < len(own.rows):
        return None
    row = own.rows[own.row]
    if row.worst:
        following.show_frame(scene, row.worst)
    return quality.select_track(clip, row.title)


class HOLDFAST_UL_tracks(bpy.types.UIList):
    """Tracks by error."""

    def draw_item(self, context, layout, data, item, icon, active_data, active_property, index=0, flt_flag=0):
        row = layout.row(align=True)
        row.active = not item.muted
        row.label(text=item.title)
        right = row.row()
        right.alignment = "RIGHT"
        right.label(text=f"{item.error_px:.2f} px" if item.error_px else "")
        right.label(text=f"{item.first}-{item.last}" if item.error_px else "left out")
        row.prop(item, "muted", text="", icon="HIDE_ON" if item.muted else "HIDE_OFF", emboss=False)


def register() -> None:
    bpy.utils.register_class(HOLDFAST_UL_tracks)


def unregister() -> None:
    bpy.utils.unregister_class(HOLDFAST_UL_tracks)
