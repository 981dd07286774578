# SPDX-License-Identifier: GPL-3.0-or-later
"""Tracks the artist placed or tracked on the clip, for the solver: all that Holdfast did not write."""

from __future__ import annotations

import json
from pathlib import Path

import bpy

from . import clip_frames, scene_clip

MIN_MARKERS = 2


def own_of_artist(clip: bpy.types.MovieClip) -> list[bpy.types.MovieTrackingTrack]:
    """The artist's tracks of the camera that take part: two markers or more, weight above 0."""
    return [
        track
        for track in clip.tracking.tracks
        if not track.name.startswith(scene_clip.TRACK_PREFIX) and track.weight > 0.0 and len(track.markers) >= MIN_MARKERS
    ]


def collect(clip: bpy.types.MovieClip, weight: float) -> dict:
    """The document that the solver's --user-tracks reads. weight: of a track whose own weight is 1."""
    numbering = clip_frames.numbering_of(clip)
    width, height = clip.size
    out = []
    for track in own_of_artist(clip):
        dx, dy = track.offset
        markers = [
            [
                numbering.number_of_marker(marker.frame),
                round((marker.co[0] + dx) * width, 4),
                round((1.0 - marker.co[1] - dy) * height, 4),
            ]
            for marker in track.markers
            if not marker.mute
        ]
        inside = [m for m in markers if -0.4 * width < m[1] < 1.4 * width and -0.4 * height < m[2] < 1.4 * height]
        if len(inside) >= MIN_MARKERS:
            out.append({"name": track.name, "weight": weight * track.weight, "markers": inside})
    return {"tracks": out}


def write(clip: bpy.types.MovieClip, weight: float, path: Path) -> int:
    """Write the file; returns how many tracks it has."""
    document = collect(clip, weight)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document), encoding="utf-8")
    return len(document["tracks"])
