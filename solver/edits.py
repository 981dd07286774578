"""What the user changes about a finished solve's tracks: some left out, some taken back in, bad stretches cut off.

Tracks left out stay in tracks.npz (muted), so that numbers never change and every track can be taken back. Markers that are cut
off are gone.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from .errors import EXIT_INPUT, EXIT_USAGE, HoldfastError
from .types import LABEL_STATIC, LABEL_UNRELIABLE, MaskReader, Solution, Tracks

MIN_LENGTH = 3  # a track with fewer markers left carries nothing


@dataclass(frozen=True)
class Edits:
    """drop, restore: numbers of tracks. cut: (track, first frame, last frame) whose markers go, in the clip's numbers."""

    drop: frozenset[int] = frozenset()
    restore: frozenset[int] = frozenset()
    cut: tuple[tuple[int, int, int], ...] = field(default=())

    def joined(self, other: Edits) -> Edits:
        """Both."""
        return Edits(self.drop | other.drop, self.restore | other.restore, self.cut + other.cut)


def parse_numbers(text: str, option: str) -> frozenset[int]:
    """Track numbers as "3,17,40-52". Raises HoldfastError (usage.tracks)."""
    out: set[int] = set()
    for part in re.split(r"[,\s]+", text.strip()):
        if not part:
            continue
        match = re.fullmatch(r"(\d+)(?:-(\d+))?", part)
        if not match or int(match[2] or match[1]) < int(match[1]) or int(match[2] or match[1]) - int(match[1]) > 10**7:
            raise HoldfastError(
                "usage.tracks",
                f"{option}: {part!r} is not a track number.",
                "Write numbers and ranges, e.g. 3,17,40-52.",
                EXIT_USAGE,
            )
        out.update(range(int(match[1]), int(match[2] or match[1]) + 1))
    return frozenset(out)


def read_edits(path: str | os.PathLike) -> Edits:
    """Edits from a file: JSON {"drop": [...], "restore": [...], "cut": [[track, first, last], ...]}, or plain numbers to drop.

    Raises HoldfastError (tracks_file.*).
    """
    path = Path(path).expanduser()
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise HoldfastError(
            "tracks_file.missing",
            f"The list of tracks {path} cannot be read ({getattr(error, 'strerror', None) or 'not text'}).",
            "Check the path.",
            EXIT_INPUT,
        ) from None
    if not text.lstrip().startswith(("{", "[")):
        return Edits(drop=parse_numbers(re.sub(r"#.*", "", text), str(path)))
    try:
        document = json.loads(text)
        document = {"drop": document} if isinstance(document, list) else document
        numbers = {key: frozenset(int(n) for n in document.get(key, ())) for key in ("drop", "restore")}
        cut = tuple((int(t), int(a), int(b)) for t, a, b in document.get("cut", ()))
    except (ValueError, TypeError, AttributeError):
        raise HoldfastError(
            "tracks_file.damaged",
            f"{path} is not a list of tracks.",
            'Write numbers, or {"drop": [3, 17], "restore": [], "cut": [[5, 1001, 1010]]}.',
            EXIT_INPUT,
        ) from None
    return Edits(numbers["drop"], numbers["restore"], cut)


def under_mask(solution: Solution, masks: MaskReader) -> Edits:
    """What a mask that was drawn after tracking takes away.

    Tracks that lie under it for half of their life or more are left out; of others, the markers under it are cut off.
    """
    t = solution.tracks
    covered = np.zeros(len(t.track), bool)
    by_frame = np.argsort(t.frame_index, kind="stable")
    bounds = np.searchsorted(t.frame_index[by_frame], np.arange(len(t.frame_numbers) + 1))
    for index, number in enumerate(t.frame_numbers):
        ignore = masks.ignore(int(number))
        rows = by_frame[bounds[index] : bounds[index + 1]]
        if ignore is None or not len(rows):
            continue
        x, y = np.floor(t.xy[rows]).astype(int).T
        covered[rows] = ignore[y.clip(0, ignore.shape[0] - 1), x.clip(0, ignore.shape[1] - 1)]
    covered &= ~np.isin(t.track, [d["track"] for d in solution.user_tracks])
    length = np.maximum(np.bincount(t.track, minlength=t.track_count), 1)
    share = np.bincount(t.track, covered, minlength=t.track_count) / length
    whole = share >= 0.5
    muted = np.zeros(t.track_count, bool) if solution.track_muted is None else solution.track_muted
    rows = np.nonzero(covered & ~whole[t.track])[0]
    number = t.frame_numbers[t.frame_index[rows]]
    return Edits(
        drop=frozenset(np.nonzero(whole & ~muted)[0].tolist()),
        cut=tuple((int(a), int(b), int(b)) for a, b in zip(t.track[rows], number)),
    )


def apply_edits(solution: Solution, edits: Edits) -> Solution:
    """The solution with its tracks edited; cameras and points of remaining tracks are as they were.

    Raises HoldfastError (usage.tracks) for tracks that do not exist.
    """
    count = solution.tracks.track_count
    asked = edits.drop | edits.restore | {t for t, _, _ in edits.cut}
    unknown = sorted(t for t in asked if not 0 <= t < count)
    if unknown:
        raise HoldfastError(
            "usage.tracks",
            f"There is no track {unknown[0]}: this solve has tracks 0 to {count - 1}.",
            "Take the numbers from tracks.npz or from the names of the tracks in Blender (HF.00012 is track 12).",
            EXIT_USAGE,
        )
    both = edits.drop & edits.restore
    if both:
        raise HoldfastError(
            "usage.tracks", f"Track {min(both)} is to be left out and taken back in.", "Ask for one of the two.", EXIT_USAGE
        )
    muted = np.zeros(count, bool) if solution.track_muted is None else np.asarray(solution.track_muted, bool).copy()
    label = np.asarray(solution.track_label).copy()
    freed = np.array(sorted(edits.restore), int)
    label[freed[muted[freed]]] = LABEL_STATIC  # innocent until looked at again
    muted[freed] = False
    muted[sorted(edits.drop)] = True
    tracks = _cut(solution.tracks, edits.cut)
    muted |= np.bincount(tracks.track, minlength=count) < np.minimum(
        MIN_LENGTH, np.bincount(solution.tracks.track, minlength=count)
    )
    label[muted] = LABEL_UNRELIABLE
    keep = ~muted[solution.point_track]
    return replace(
        solution,
        tracks=tracks,
        track_label=label,
        track_muted=muted,
        track_held_out=np.asarray(solution.track_held_out, bool) & ~muted,
        **{
            name: getattr(solution, name)[keep]
            for name in ("points", "point_track", "point_colour", "point_error_px", "point_length", "point_depth_sigma")
        },
    )


def _cut(tracks: Tracks, cuts: tuple[tuple[int, int, int], ...]) -> Tracks:
    """Tracks without the markers cut off."""
    keep = np.ones(len(tracks.track), bool)
    number = tracks.frame_numbers[tracks.frame_index]
    for track, first, last in cuts:  # observations are sorted by track
        rows = slice(*np.searchsorted(tracks.track, [track, track + 1]))
        keep[rows] &= (number[rows] < first) | (number[rows] > last)
    return tracks if keep.all() else tracks.rows(keep)


def only(tracks: Tracks, wanted: np.ndarray) -> tuple[Tracks, np.ndarray]:
    """Tracks with the wanted ones (N,) bool alone, numbered anew from 0, and their old numbers."""
    kept = np.nonzero(wanted)[0]
    new = np.full(tracks.track_count, -1)
    new[kept] = np.arange(len(kept))
    inside = tracks.rows(wanted[tracks.track])
    return replace(inside, track=new[inside.track].astype(np.int32), track_count=len(kept)), kept
