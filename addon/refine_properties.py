# SPDX-License-Identifier: GPL-3.0-or-later
"""What is kept with a clip for looking at quality and refining: the table of tracks, the artist's own ones, the mask."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import bpy
from bpy.props import BoolProperty, CollectionProperty, EnumProperty, FloatProperty, IntProperty, PointerProperty, StringProperty

_by_hand = [True]  # False while code sets what the artist otherwise sets


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Set properties without what follows when the artist sets them."""
    before, _by_hand[0] = _by_hand[0], False
    try:
        yield
    finally:
        _by_hand[0] = before


def _muted_changed(row: bpy.types.PropertyGroup, context: bpy.types.Context) -> None:
    if not _by_hand[0]:
        return
    from . import track_edits

    track_edits.set_muted(row.id_data, [row.number], row.muted)


def _row_chosen(own: bpy.types.PropertyGroup, context: bpy.types.Context) -> None:
    if not _by_hand[0]:
        return
    from . import track_table

    track_table.show_row(context.scene, own.id_data)


class HOLDFAST_TrackRow(bpy.types.PropertyGroup):
    """A line of the table of tracks."""

    number: IntProperty(options={"HIDDEN"}, description="Number of the track in the solve")
    error_px: FloatProperty(
        options={"HIDDEN"}, description="RMS distance, in pixels, from where the solved camera sees its point"
    )
    first: IntProperty(options={"HIDDEN"}, description="First scene frame the track is seen in")
    last: IntProperty(options={"HIDDEN"}, description="Last scene frame the track is seen in")
    worst: IntProperty(options={"HIDDEN"}, description="Scene frame with its largest error")
    title: StringProperty(options={"HIDDEN"}, description="The track's name on the clip")
    muted: BoolProperty(
        name="Left Out",
        default=False,
        update=_muted_changed,
        description="Leave this track out when refining. It can be taken in again",
    )


class HOLDFAST_ClipRefine(bpy.types.PropertyGroup):
    """Quality and refining of one clip."""

    rows: CollectionProperty(type=HOLDFAST_TrackRow, description="The tracks with the largest errors, the worst first")
    row: IntProperty(
        name="Track",
        default=-1,
        options=set(),
        update=_row_chosen,
        description="Go to the track's worst frame and select it there",
    )
    written: StringProperty(options={"HIDDEN"}, description="Numbers of the tracks that were put onto the clip")
    left_out: StringProperty(options={"HIDDEN"}, description="Numbers of tracks to leave out that are not on the clip")
    mute_above_px: FloatProperty(
        name="Above",
        default=1.0,
        min=0.01,
        soft_max=10.0,
        precision=2,
        description="Error in pixels above which tracks are left out",
    )
    use_user_tracks: BoolProperty(
        name="Use My Tracks",
        default=True,
        description="Tracks on this clip that you placed or tracked yourself take part in Solve and Refine, with more weight. "
        "They must sit on things at rest. A track with weight 0 takes no part",
    )
    user_weight: FloatProperty(
        name="Weight",
        default=10.0,
        min=0.1,
        soft_max=100.0,
        precision=1,
        description="As how many of Holdfast's own tracks one of yours counts; times the track's own weight",
    )
    mask: PointerProperty(
        type=bpy.types.Mask,
        name="Mask",
        description="A mask drawn in Blender. It is used as it is at every frame, with feather, holes and all visible layers",
    )
    mask_covers: EnumProperty(
        name="Mask Covers",
        default="IGNORE",
        items=(
            ("IGNORE", "What to Ignore", "Nothing is tracked inside the mask: draw it around actors, cars, logos"),
            ("TRACK", "What to Track", "Only what lies inside the mask is tracked"),
        ),
        description="What the mask is drawn around",
    )


_CLASSES = (HOLDFAST_TrackRow, HOLDFAST_ClipRefine)


def register() -> None:
    for cls in _CLASSES:
        bpy.utils.register_class(cls)
    bpy.types.MovieClip.holdfast_refine = PointerProperty(type=HOLDFAST_ClipRefine)


def unregister() -> None:
    del bpy.types.MovieClip.holdfast_refine
    for cls in reversed(_CLASSES):
        bpy.utils.unregister_class(cls)
