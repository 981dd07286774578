# SPDX-License-Identifier: GPL-3.0-or-later
"""A sensor read row by row: Cycles renders props as it would have seen them.

Solved cameras are those of the middle row. The rows above it were read before, those below after, so over a shaking camera a prop
rendered all at once slides against the footage towards the top and the bottom. Cycles has such a sensor, as a part of its motion
blur: a shutter's time is shared between the rows' delay and the time each row is exposed. EEVEE has none.
"""

from __future__ import annotations

import bpy

_KEPT = "holdfast_blur"  # on a scene whose motion blur is ours: what it was before (in use, shutter in frames)


def row_time_of(clip: bpy.types.MovieClip | None) -> float:
    """From the first row to the last, in frames; 0 without a rolling shutter, or with one that Cycles has not (upwards)."""
    return max(0.0, clip.holdfast.row_time) if clip is not None else 0.0


def set_rows(scene: bpy.types.Scene, row_time: float, exposure: float = 0.0) -> None:
    """Have Cycles read the rows over `row_time` frames, each exposed for `exposure` frames, the middle one at the frame."""
    render, cycles = scene.render, scene.cycles
    if row_time <= 0.0:
        render.use_motion_blur = False
        cycles.rolling_shutter_type = "NONE"
        return
    render.use_motion_blur = True
    render.motion_blur_position = "CENTER"
    render.motion_blur_shutter = row_time + exposure
    cycles.rolling_shutter_type = "TOP"
    cycles.rolling_shutter_duration = exposure / (row_time + exposure)


def follow_settings(scene: bpy.types.Scene) -> bool:
    """Put the shot's rolling shutter into a scene that wants it and is rendered with Cycles; else give the artist's motion blur
    back. True where it is in."""
    own, render = scene.holdfast, scene.render
    kept = scene.get(_KEPT)
    if own.rolling_shutter and row_time_of(own.clip) and render.engine == "CYCLES":
        if kept is None:
            scene[_KEPT] = [float(render.use_motion_blur), render.motion_blur_shutter]
        set_rows(scene, row_time_of(own.clip), own.exposure)
        return True
    if kept is not None:
        scene.cycles.rolling_shutter_type = "NONE"
        render.use_motion_blur, render.motion_blur_shutter = bool(kept[0]), kept[1]
        del scene[_KEPT]
    return False
