"""Clips that lie in a folder: rendered ones with exact truth, real ones with measured poses or with none.

DIR/*.mp4           rendered; NAME.gt.json beside each
DIR/real/*.mp4      real; NAME.gt.json and NAME.depth/ where somebody measured poses and depth: approximate
"""

from __future__ import annotations

import json
from pathlib import Path

import cv2

from tests.bench import metrics
from tests.bench.shots import KINDS, ROOT, Shot

CLIPS = ROOT.parent / "shared" / "clips"
SAME_KIND = {"actor": "actors"}  # clips named otherwise than the bench's own kind


def clips_in(folder: Path) -> list[Shot]:
    """All clips of a folder, the real ones last; empty when it is not there. A movie of DIR itself counts only with its truth."""
    rendered = [_shot(m, "clips/", False) for m in sorted(folder.glob("*.mp4")) if truth_beside(m)]
    return rendered + [_shot(m, "real/", True) for m in sorted((folder / "real").glob("*.mp4"))]


def truth_beside(movie: Path) -> Path | None:
    """The .gt.json of a movie, if it has one."""
    path = movie.with_suffix(".gt.json")
    return path if path.exists() else None


def own_movie(movie: Path) -> Shot:
    """A movie given by its path: real unless the truth beside it holds true points."""
    truth = truth_beside(movie)
    exact = truth is not None and "grid" in json.loads(truth.read_text(encoding="utf-8"))
    return Shot(movie.stem, movie.resolve(), truth.resolve() if truth else None, real=not exact)


def _shot(movie: Path, prefix: str, real: bool) -> Shot:
    truth = truth_beside(movie)
    kind = None if real else KINDS.get(SAME_KIND.get(movie.stem, movie.stem))
    return Shot(prefix + movie.stem, movie.resolve(), truth.resolve() if truth else None, kind, real)


def length_of(movie: Path) -> tuple[int, float]:
    """(frames, frames per second) as the movie's header has them."""
    capture = cv2.VideoCapture(str(movie))
    return int(capture.get(cv2.CAP_PROP_FRAME_COUNT)), float(capture.get(cv2.CAP_PROP_FPS) or 24)


def without_exact_points(truth: metrics.Truth) -> metrics.Truth:
    """Real footage has no points that are known exactly: those of a reconstruction would count its own errors as slip."""
    truth.grid_xyz = truth.grid_xyz[:0]
    return truth
