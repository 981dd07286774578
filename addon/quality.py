# SPDX-License-Identifier: GPL-3.0-or-later
"""Looking at a solve's quality: errors of frames and tracks, the worst of them, a graph in words."""

from __future__ import annotations

from dataclasses import dataclass

import bpy
import numpy as np

from . import clip_frames, coordinates, following, jobfolder, scene_clip

_BARS = "▁▂▃▄▅▆▇█"


@dataclass(frozen=True)
class TrackError:
    """A track and its RMS distance from where the solved camera sees its point."""

    number: int
    error_px: float
    first: int  # clip frame numbers
    last: int
    worst: int


_MEANING = {
    "good": "Props will hold fast.",
    "usable": "Props will hold fast over most of the shot; look at the worst frames.",
    "weak": "Props may slip: put them near tracked points and run the lock test.",
    "failed": "No camera was found: see what to change below.",
}


def explain(status: str, statements: str, warnings: str) -> str:
    """The verdict for somebody who only wants to know whether to go on: what it means, and the first thing to mind."""
    meaning = _MEANING.get(status, "")
    mind = next(filter(None, warnings.split("\n")), "")
    if not mind and status != "good":
        mind = next(filter(None, statements.split("\n")), "")
    return f"{meaning} {mind}".strip()


def worst_frames(shot: jobfolder.Shot, count: int = 5) -> list[tuple[int, float]]:
    """(clip frame number, error in px) of the worst frames, the worst first; no two of them close together."""
    left = shot.error_px.astype(float).copy()
    apart = max(1, len(left) // 20)
    out = []
    while len(out) < count and np.isfinite(left).any() and np.nanmax(left) > 0:
        index = int(np.nanargmax(left))
        out.append((int(shot.numbers[index]), float(shot.error_px[index])))
        left[max(0, index - apart) : index + apart + 1] = np.nan
    return out


def graph(shot: jobfolder.Shot, columns: int = 36) -> str:
    """The error over the shot as a row of bars: a picture for a label."""
    if not len(shot.error_px) or shot.error_px.max() <= 0:
        return ""
    parts = np.array_split(shot.error_px, min(columns, len(shot.error_px)))
    values = np.array([part.max() for part in parts]) / shot.error_px.max()
    return "".join(_BARS[min(7, int(8 * value))] for value in values)


def track_errors(shot: jobfolder.Shot) -> list[TrackError]:
    """Errors of all tracks that became points, the worst first."""
    tracks = shot.tracks
    if tracks is None or not len(tracks.track):
        return []
    point_of = np.full(int(tracks.track.max()) + 1, -1)
    valid = shot.points.track >= 0
    inside = shot.points.track[valid] < len(point_of)
    point_of[shot.points.track[valid][inside]] = np.flatnonzero(valid)[inside]
    index_of = {int(n): i for i, n in enumerate(shot.numbers)}
    error2 = np.full(len(tracks.track), np.nan)
    for number in np.unique(tracks.number):
        index = index_of.get(int(number))
        if index is None:
            continue
        rows = np.flatnonzero((tracks.number == number) & (point_of[tracks.track] >= 0))
        pixels, _ = coordinates.project(
            shot.points.xyz[point_of[tracks.track[rows]]], shot.c2w[index], *shot.intrinsics[index], shot.k1, shot.k2
        )
        error2[rows] = ((pixels - tracks.xy[rows]) ** 2).sum(1)
    known = np.isfinite(error2)
    count = np.bincount(tracks.track[known], minlength=len(point_of))
    total = np.bincount(tracks.track[known], weights=error2[known], minlength=len(point_of))
    out = []
    for number in np.flatnonzero(count):
        rows = np.flatnonzero((tracks.track == number) & known)
        out.append(
            TrackError(
                int(number),
                float(np.sqrt(total[number] / count[number])),
                int(tracks.number[rows].min()),
                int(tracks.number[rows].max()),
                int(tracks.number[rows[np.argmax(error2[rows])]]),
            )
        )
    return sorted(out, key=lambda t: -t.error_px)


def show_track(scene: bpy.types.Scene, clip: bpy.types.MovieClip, error: TrackError) -> bpy.types.MovieTrackingTrack | None:
    """Go to a track's worst frame and select it alone on the clip; None where it was not written there."""
    following.show_frame(scene, clip_frames.numbering_of(clip).scene_frame(error.worst))
    track = clip.tracking.tracks.get(f"{scene_clip.TRACK_PREFIX}{error.number:05d}")
    if track is None:
        return None
    for other in clip.tracking.tracks:
        other.select = False
    track.hide, track.select = False, True
    clip.tracking.tracks.active = track
    return track
