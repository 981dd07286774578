# SPDX-License-Identifier: GPL-3.0-or-later
"""The error over the shot as a small picture in the panel: a bar per frame, green to red, drawn into a preview icon."""

from __future__ import annotations

import json

import bpy
import bpy.utils.previews
import numpy as np

WIDTH_PX, HEIGHT_PX = 256, 256
_MARGIN_PX = 6
_previews = None
_drawn: dict[str, str] = {}  # by clip id: what the picture shows


def pixels(error_px: np.ndarray, limit_px: float) -> np.ndarray:
    """The picture, (H, W, 4) float32 with the lowest row first: error_px (F,) as bars, a line at every quarter of limit_px.

    NaN leaves a gap. Bars higher than the limit are cut and bright red.
    """
    picture = np.zeros((HEIGHT_PX, WIDTH_PX, 4), np.float32)
    picture[..., :3], picture[..., 3] = 0.09, 1.0
    top = HEIGHT_PX - 2 * _MARGIN_PX
    for quarter in range(1, 5):
        picture[_MARGIN_PX + round(top * quarter / 4) - 1, _MARGIN_PX:-_MARGIN_PX, :3] = 0.2
    count = len(error_px)
    if not count or not limit_px > 0:
        return picture
    columns = np.arange(WIDTH_PX - 2 * _MARGIN_PX)
    first = columns * count // len(columns)
    last = np.maximum((columns + 1) * count // len(columns), first + 1)
    for column, a, b in zip(columns, first, last):
        values = error_px[a:b][np.isfinite(error_px[a:b])]
        if not len(values):
            continue
        part = float(values.max()) / limit_px
        height = max(1, round(top * min(part, 1.0)))
        colour = (1.0, 0.1, 0.1) if part > 1.0 else (min(1.0, 2.0 * part), min(1.0, 2.0 * (1.0 - part)) * 0.8, 0.12)
        picture[_MARGIN_PX : _MARGIN_PX + height, _MARGIN_PX + column, :3] = colour
    return picture


def limit_of(error_px: np.ndarray) -> float:
    """Height of the graph in px: round, above nearly all frames."""
    known = error_px[np.isfinite(error_px)]
    high = float(np.quantile(known, 0.98)) * 1.1 if len(known) else 1.0
    return next((step for step in (0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0) if step >= high), 64.0)


def draw(uid: str, numbers: np.ndarray, error_px: np.ndarray) -> None:
    """Draw the graph of a clip's solve: numbers (F,) of its frames, ascending, and their errors (F,)."""
    if _previews is None or not uid or not len(numbers):
        return
    values = np.full(int(numbers[-1] - numbers[0]) + 1, np.nan)
    values[numbers - numbers[0]] = error_px
    limit = limit_of(values)
    preview = _previews.get(uid) or _previews.new(uid)
    preview.image_size = (WIDTH_PX, HEIGHT_PX)
    preview.image_pixels_float.foreach_set(pixels(values, limit).ravel())
    _drawn[uid] = f"Error of each frame, up to {limit:g} px"


def icon_of(clip: bpy.types.MovieClip) -> tuple[int, str]:
    """(icon of the clip's graph, what it shows), 0 where there is none. Drawn now, once, if the file was just opened."""
    uid = clip.holdfast.uid
    if uid not in _drawn:
        from . import importer

        _drawn[uid] = ""
        try:
            data = json.loads((importer.job_folder_of(clip) / "solve.json").read_text(encoding="utf-8"))
            frames = sorted((int(f["frame"]), float(f.get("error_px") or 0.0)) for f in data["frames"] if f.get("c2w"))
            draw(uid, np.array([n for n, _ in frames], int), np.array([e for _, e in frames]))
        except (OSError, ValueError, KeyError, TypeError):
            return 0, ""
    preview = _previews.get(uid) if _previews is not None else None
    return (preview.icon_id if preview is not None else 0), _drawn[uid]


def register() -> None:
    global _previews
    _previews = bpy.utils.previews.new()


def unregister() -> None:
    global _previews
    if _previews is not None:
        bpy.utils.previews.remove(_previews)
    _previews = None
    _drawn.clear()
