# SPDX-License-Identifier: GPL-3.0-or-later
"""What the artist changed about our tracks on the clip: deleted or muted ones, and stretches cut off.

A track is left out by deleting it or by setting its weight to 0; a stretch by deleting or disabling its markers. Tracks that were
left out come back with weight 0, and take part again once they have a weight.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import bpy
import numpy as np

from . import clip_frames, jobfolder, refine_properties, scene_clip

_MUTED_COLOUR = (0.25, 0.25, 0.25)


@dataclass(frozen=True)
class TrackEdits:
    """For the solver's `refine --tracks`: numbers of tracks, and (track, first, last) in the clip's own frame numbers."""

    drop: tuple[int, ...]
    restore: tuple[int, ...]
    cut: tuple[tuple[int, int, int], ...]

    def as_document(self) -> dict:
        """What the solver reads."""
        return {"drop": list(self.drop), "restore": list(self.restore), "cut": [list(c) for c in self.cut]}

    def __bool__(self) -> bool:
        return bool(self.drop or self.restore or self.cut)


def number_of(name: str) -> int | None:
    """The track's number in its name; None for tracks that are not the solver's."""
    digits = name.removeprefix(scene_clip.TRACK_PREFIX)
    return int(digits) if name.startswith(scene_clip.TRACK_PREFIX) and digits.isdigit() else None


def written_tracks(clip: bpy.types.MovieClip) -> dict[int, bpy.types.MovieTrackingTrack]:
    """The solver's tracks on the clip, by number."""
    out = {}
    for track in clip.tracking.tracks:
        number = number_of(track.name)
        if number is not None and not track.hide:
            out[number] = track
    return out


def pack(numbers) -> str:
    """Numbers as "0-12 15 20-21"."""
    parts = []
    for _, run in itertools.groupby(enumerate(sorted(set(numbers))), key=lambda pair: pair[1] - pair[0]):
        run = [number for _, number in run]
        parts.append(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}")
    return " ".join(parts)


def unpack(text: str) -> set[int]:
    """The numbers of `pack`."""
    out: set[int] = set()
    for part in text.split():
        first, _, last = part.partition("-")
        out.update(range(int(first), int(last or first) + 1))
    return out


def note_written(clip: bpy.types.MovieClip, shot: jobfolder.Shot) -> None:
    """Remember which tracks were put onto the clip; those left out of the solve get weight 0."""
    tracks = written_tracks(clip)
    clip.holdfast_refine.written = pack(tracks)
    muted = _muted(shot)
    clip.holdfast_refine.left_out = pack(muted - set(tracks))
    for number, track in tracks.items():
        track.weight = 0.0 if number in muted else 1.0
        if number in muted:
            track.color = _MUTED_COLOUR


def _muted(shot: jobfolder.Shot) -> set[int]:
    if shot.tracks is None or shot.tracks.muted is None:
        return set()
    return set(np.flatnonzero(shot.tracks.muted).tolist())


def set_muted(clip: bpy.types.MovieClip, numbers, muted: bool) -> None:
    """Leave tracks out, or take them in again, at the next refining."""
    own = clip.holdfast_refine
    on_clip = written_tracks(clip)
    elsewhere = unpack(own.left_out)
    for number in numbers:
        track = on_clip.get(number)
        if track is None:
            (elsewhere.add if muted else elsewhere.discard)(number)
        else:
            track.weight = 0.0 if muted else 1.0
            if muted:
                track.use_custom_color, track.color = True, _MUTED_COLOUR
    own.left_out = pack(elsewhere)
    changed = set(numbers)
    with refine_properties.quietly():
        for row in own.rows:
            if row.number in changed and row.muted != muted:
                row.muted = muted


def is_muted(clip: bpy.types.MovieClip, number: int) -> bool:
    """Whether a track will be left out at the next refining."""
    track = written_tracks(clip).get(number)
    return number in unpack(clip.holdfast_refine.left_out) if track is None else track.weight <= 0.0


def read_edits(clip: bpy.types.MovieClip, shot: jobfolder.Shot) -> TrackEdits:
    """What was changed since the solve was put onto the clip."""
    own = clip.holdfast_refine
    muted = _muted(shot)
    tracks = written_tracks(clip)
    written = unpack(own.written)
    drop, restore, cut = unpack(own.left_out) - muted, set(), []
    restore |= {n for n in muted - written if n not in unpack(own.left_out)}
    if not tracks:  # all of them gone: that is tidying up, not judging
        written = set()
    numbering = clip_frames.numbering_of(clip)
    bounds = np.searchsorted(shot.tracks.track, [sorted(written), [n + 1 for n in sorted(written)]]) if shot.tracks else None
    for at, number in enumerate(sorted(written)):
        track = tracks.get(number)
        if track is None or track.weight <= 0.0:
            if number not in muted:
                drop.add(number)
            continue
        if number in muted:
            restore.add(number)
        seen = shot.tracks.number[bounds[0, at] : bounds[1, at]]
        live = {marker.frame for marker in track.markers if not marker.mute}
        gone = [int(n) for n in seen if numbering.marker_frame(int(n)) >= 1 and numbering.marker_frame(int(n)) not in live]
        if len(gone) == len(seen):
            drop.add(number)
            restore.discard(number)
        elif gone:
            cut += [(number, a, b) for a, b in _runs(gone, seen)]
    return TrackEdits(tuple(sorted(drop)), tuple(sorted(restore)), tuple(cut))


def _runs(gone: list[int], seen: np.ndarray) -> list[tuple[int, int]]:
    """Neighbouring frames (among those seen) as (first, last)."""
    place = {int(n): i for i, n in enumerate(seen)}
    runs: list[list[int]] = []
    for number in gone:
        if runs and place[number] == place[runs[-1][1]] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return [(a, b) for a, b in runs]
