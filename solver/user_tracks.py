"""Tracks made by the user: placed by hand, or followed with another tracker. Their word counts: they are at rest, and weigh more.

The file is JSON:

    {"tracks": [{"name": "Door corner", "weight": 10, "sigma_px": 0.3, "markers": [[frame, x, y], ...]}, ...]}

Frames have the clip's own numbers (movies count from 0, sequences by their files' numbers); x, y are px of the clip's full
resolution, y down, the centre of the first pixel at (0.5, 0.5). `weight` says as how many of the solver's own tracks this one
counts, `sigma_px` how exactly it was placed; both may be left out.
"""

from __future__ import annotations

import json
import math
import os
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from .errors import EXIT_INPUT, HoldfastError
from .tracked import TrackedClip
from .types import Progress, Solution, Tracks
from .view import ShotView

DEFAULT_WEIGHT = 10.0
DEFAULT_SIGMA_PX = 0.3  # a marker set by a careful hand
MIN_MARKERS = 2


@dataclass(frozen=True)
class UserTrack:
    """One track. frames (m,) the clip's numbers, ascending; xy (m, 2) px."""

    name: str
    frames: np.ndarray
    xy: np.ndarray
    weight: float = DEFAULT_WEIGHT
    sigma_px: float = DEFAULT_SIGMA_PX


def read_user_tracks(path: str | os.PathLike, width: int, height: int) -> tuple[UserTrack, ...]:
    """The tracks of a file. Raises HoldfastError (user_tracks.*) for anything that is not such a file."""
    path = Path(path).expanduser()
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise _bad("missing", f"The user tracks {path} cannot be read ({error.strerror}).", "Check the path.") from None
    except ValueError:
        raise _bad("damaged", f"{path} is not a JSON file.", _FORMAT) from None
    rows = document.get("tracks") if isinstance(document, dict) else None
    if not isinstance(rows, list):
        raise _bad("damaged", f'{path} has no list "tracks".', _FORMAT)
    return tuple(_track(row, number, width, height) for number, row in enumerate(rows))


_FORMAT = 'Write {"tracks": [{"name": "…", "weight": 10, "markers": [[frame, x, y], …]}]}.'


def _bad(code: str, message: str, hint: str) -> HoldfastError:
    return HoldfastError(f"user_tracks.{code}", message, hint, EXIT_INPUT)


def _track(row: object, number: int, width: int, height: int) -> UserTrack:
    name = str(row.get("name") or f"track {number + 1}") if isinstance(row, dict) else f"track {number + 1}"
    try:
        markers = np.array(row["markers"], float).reshape(-1, 3)
        weight = float(row.get("weight", DEFAULT_WEIGHT))
        sigma = float(row.get("sigma_px", DEFAULT_SIGMA_PX))
    except (TypeError, KeyError, ValueError, AttributeError):
        raise _bad("damaged", f'The user track "{name}" cannot be read.', _FORMAT) from None
    if not (math.isfinite(weight) and 0 < weight <= 1e6 and math.isfinite(sigma) and 0.01 <= sigma <= 100):
        raise _bad(
            "weight",
            f'The user track "{name}" has weight {weight:g} and sigma_px {sigma:g}.',
            "Give a weight above 0 and a sigma_px between 0.01 and 100.",
        )
    if not np.isfinite(markers).all() or (np.abs(markers[:, 1:] / (width, height) - 0.5) > 1.0).any():
        raise _bad(
            "outside",
            f'The user track "{name}" has a marker far outside the {width}x{height} px picture.',
            "Give px of the clip's full resolution, y down.",
        )
    order = np.argsort(markers[:, 0], kind="stable")
    frames = np.round(markers[order, 0]).astype(int)
    if (np.diff(frames) == 0).any():
        raise _bad("twice", f'The user track "{name}" has two markers in one frame.', "Give one place per frame.")
    return UserTrack(name, frames, markers[order, 1:], weight, sigma)


def within(user: tuple[UserTrack, ...], frame_numbers: np.ndarray, progress: Progress | None) -> tuple[UserTrack, ...]:
    """The tracks as far as they lie in the solved frames; those with fewer than two markers there are left out, and said."""
    kept, short = [], []
    for track in user:
        inside = np.isin(track.frames, frame_numbers)
        if inside.sum() < MIN_MARKERS:
            short.append(track.name)
        else:
            kept.append(replace(track, frames=track.frames[inside], xy=track.xy[inside]))
    if short and progress is not None:
        progress.warn(
            "user_tracks.short",
            f"{len(short)} user track(s) have fewer than {MIN_MARKERS} markers in the solved frames and were left out: "
            f"{', '.join(short[:5])}{', …' if len(short) > 5 else ''}.",
        )
    return tuple(kept)


def append(tracks: Tracks, user: tuple[UserTrack, ...]) -> Tracks:
    """Tracks with the user's at the end: user track i becomes number track_count + i."""
    if not user:
        return tracks
    index_of = {int(n): i for i, n in enumerate(tracks.frame_numbers)}
    first = tracks.track_count
    number = np.concatenate([np.full(len(u.frames), first + i, np.int32) for i, u in enumerate(user)])
    index = np.concatenate([[index_of[int(f)] for f in u.frames] for u in user]).astype(np.int32)
    sigma = np.concatenate([np.full(len(u.frames), u.sigma_px, np.float32) for u in user])
    return Tracks(
        tracks.frame_numbers,
        np.r_[tracks.track, number].astype(np.int32),
        np.r_[tracks.frame_index, index].astype(np.int32),
        np.concatenate([tracks.xy, *(u.xy for u in user)]),
        np.r_[tracks.sigma_px, sigma].astype(np.float32),
        first + len(user),
        np.concatenate([tracks.elongation, np.zeros((len(sigma), 2), np.float32)]),
    )


def describe(user: tuple[UserTrack, ...], first: int) -> tuple[dict, ...]:
    """What a Solution keeps of the user's tracks, whose numbers begin at `first`."""
    return tuple(
        {"track": first + i, "name": u.name, "weight": float(u.weight), "sigma_px": float(u.sigma_px)} for i, u in enumerate(user)
    )


def with_users(
    tracked: TrackedClip, user: tuple[UserTrack, ...], progress: Progress | None
) -> tuple[TrackedClip, tuple[dict, ...]]:
    """What was tracked, with the user's tracks (white) at the end, and what a Solution keeps of these."""
    user = within(user, tracked.tracks.frame_numbers, progress)
    if not user:
        return tracked, ()
    colour = np.concatenate([tracked.colour, np.full((len(user), 3), 255, np.uint8)])
    return replace(tracked, tracks=append(tracked.tracks, user), colour=colour), describe(user, tracked.tracks.track_count)


def trust(view: ShotView, described: tuple[dict, ...]) -> None:
    """Give the user's tracks their weight in a view and take them as at rest.

    A marker placed by hand is less exact than a patch, so its loss is wide (it pulls from farther away), and what it lacks in
    exactness is made up by its weight: one user track pulls like `weight` of the solver's.
    """
    if not described:
        return
    own = np.ones(view.tracks.track_count, bool)
    own[[d["track"] for d in described]] = False
    typical = float(np.median(view.sigma[own[view.tracks.track]])) if own[view.tracks.track].any() else 0.1
    by_track = np.ones(view.tracks.track_count)
    for d in described:
        by_track[d["track"]] = d["weight"] * max(1.0, float(np.hypot(0.08, d["sigma_px"])) / typical) ** 2
        view.trusted[d["track"]] = True
    view.weight = by_track[view.tracks.track]


def with_errors(solution: Solution, disagree_px: float = 2.0) -> Solution:
    """The solution with the error of each user track noted, and a sentence about them in the verdict."""
    if not solution.user_tracks:
        return solution
    error = np.full(solution.tracks.track_count, np.nan)
    error[solution.point_track] = solution.point_error_px
    noted = tuple(d | {"error_px": float(error[d["track"]])} for d in solution.user_tracks)
    known = [d for d in noted if math.isfinite(d["error_px"])]
    lost = [d for d in noted if not math.isfinite(d["error_px"])]
    lines = []
    if known:
        worst = max(known, key=lambda d: d["error_px"])
        lines.append(
            f"{len(known)} user-made track(s) take part; the farthest off is "
            f'"{worst["name"]}" with {worst["error_px"]:.2f} px (RMS).'
        )
        if worst["error_px"] > disagree_px:
            lines.append(
                f'The user track "{worst["name"]}" contradicts the rest of the shot: check that it stays on one thing at rest.'
            )
    if lost:
        lines.append(f'{len(lost)} user-made track(s) found no place in the scene, the first is "{lost[0]["name"]}".')
    verdict = replace(solution.verdict, statements=(*solution.verdict.statements, *lines))
    return replace(solution, user_tracks=noted, verdict=verdict)
