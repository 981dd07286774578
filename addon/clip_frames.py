# SPDX-License-Identifier: GPL-3.0-or-later
"""Which frame is which: the clip's own numbers (solve.json), scene frames, and the frames of markers.

Movies number their images from 0, sequences by the digits in their file names. Blender shows the image with number n at
scene frame  n - first + clip.frame_start - clip.frame_offset,  and counts markers from 1 at clip.frame_start.
"""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Numbering:
    """The rule of one clip. first: number of the image Blender's clip begins with."""

    first: int
    frame_start: int
    frame_offset: int

    def scene_frame(self, number: int) -> int:
        """Scene frame that shows the clip's image `number`."""
        return number - self.first + self.frame_start - self.frame_offset

    def number_at(self, scene_frame: int) -> int:
        """Number of the clip's image shown at a scene frame."""
        return scene_frame + self.first - self.frame_start + self.frame_offset

    def marker_frame(self, number: int) -> int:
        """Frame of a tracking marker on the clip's image `number`."""
        return number - self.first - self.frame_offset + 1

    def number_of_marker(self, frame: int) -> int:
        """Number of the clip's image that a marker at `frame` sits on."""
        return frame + self.first + self.frame_offset - 1


def sequence_number(path: str) -> int:
    """The number in a sequence's file name: its last group of digits before the extension. 0 where there is none."""
    name = re.split(r"[\\/]", path)[-1]
    stem = name.rpartition(".")[0] or name
    groups = re.findall(r"\d+", stem)
    return int(groups[-1]) if groups else 0


def numbering_of(clip) -> Numbering:
    """The numbering of a `bpy.types.MovieClip`."""
    first = sequence_number(clip.filepath) if clip.source == "SEQUENCE" else 0
    return Numbering(first, clip.frame_start, clip.frame_offset)


def size_of(clip) -> tuple[int, int]:
    """Width and height of a `bpy.types.MovieClip`'s pictures, px.

    Blender knows them only once it has read a picture: in an opened file that nothing has drawn yet, its own word is 256 by 256.
    """
    own = clip.holdfast
    return (own.width, own.height) if own.width and own.height else (clip.size[0], clip.size[1])
