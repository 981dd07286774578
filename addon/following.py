# SPDX-License-Identifier: GPL-3.0-or-later
"""The frame Clip editors show: it follows the solver while a clip is being solved, unless the artist looks elsewhere."""

from __future__ import annotations

import bpy

from . import clip_frames

_following: dict[int, list] = {}  # area pointer -> [clip id, frame before ours or the last of ours; None: it is the artist's]


def follow(clip: bpy.types.MovieClip, number: int) -> None:
    """Have Clip editors that show a clip being solved show the frame the solver is at, unless the artist moves them."""
    frame = clip_frames.numbering_of(clip).scene_frame(number)
    for area, space, scene in _clip_editors():
        key = area.as_pointer()
        if space.clip != clip or not scene.holdfast.show_live:
            continue
        state = _following.setdefault(key, [clip.holdfast.uid, space.clip_user.frame_current])
        if state[1] is None:
            continue
        if space.clip_user.frame_current != state[1]:  # somebody else moved it: it is theirs from now on
            state[1] = None
            continue
        space.clip_user.frame_current = state[1] = frame


def stop_following(uid: str) -> None:
    """Give Clip editors their frame back."""
    for area, space, scene in _clip_editors():
        state = _following.get(area.as_pointer())
        if state is not None and state[0] == uid and state[1] is not None and space.clip_user.frame_current == state[1]:
            space.clip_user.frame_current = scene.frame_current
            area.tag_redraw()
    for key in [key for key, state in _following.items() if state[0] == uid]:
        del _following[key]


def show_frame(scene: bpy.types.Scene, frame: int) -> None:
    """Go to a frame. Clip editors have a frame of their own, which a script must set too."""
    scene.frame_set(frame)
    for area, space, own in _clip_editors():
        if own == scene:
            space.clip_user.frame_current = frame
            area.tag_redraw()


def _clip_editors():
    for window in bpy.context.window_manager.windows:
        for area in window.screen.areas:
            if area.type == "CLIP_EDITOR":
                yield area, area.spaces.active, window.scene


@bpy.app.handlers.persistent
def _on_load(*_) -> None:
    """Another file has other editors."""
    _following.clear()


def register() -> None:
    bpy.app.handlers.load_post.append(_on_load)


def unregister() -> None:
    if _on_load in bpy.app.handlers.load_post:
        bpy.app.handlers.load_post.remove(_on_load)
    _following.clear()
