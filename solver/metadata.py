"""What files say about the lens: a prior for the focal length, never more than that.

Order of trust: 35 mm equivalent > focal length with the sensor's width from the file > focal length with the sensor table.
"""

from __future__ import annotations

import csv
import math
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from .image_headers import ImageHeader
from .mp4_atoms import MovieTags

FULL_FRAME_DIAGONAL_MM = math.hypot(36.0, 24.0)
_SENSORS_FILE = Path(__file__).with_name("sensors.csv")
_PLAUSIBLE_FOCAL_WIDTHS = (0.2, 40.0)  # focal length in image widths: from fish-eye to long telephoto


@dataclass(frozen=True)
class LensTags:
    """Lens facts of a file, whatever its kind."""

    make: str = ""
    model: str = ""
    focal_mm: float | None = None
    focal_35mm: float | None = None
    sensor_mm: float | None = None
    kind: str = "EXIF"


def image_lens_tags(header: ImageHeader, kind: str = "EXIF") -> LensTags:
    """Lens facts of an image's header."""
    return LensTags(header.make, header.model, header.focal_mm, header.focal_35mm, header.sensor_mm, kind)


def movie_lens_tags(tags: MovieTags) -> LensTags:
    """Lens facts of a movie's tags, by the meaning of their names: makers differ in the prefix."""
    make = model = ""
    focal_mm = focal_35mm = None
    for name, value in tags.tags.items():
        plain = re.sub(r"[^a-z0-9]", "", name.lower())
        if plain.endswith("make") and isinstance(value, str):
            make = make or value
        elif plain.endswith("model") and not plain.endswith("lensmodel") and isinstance(value, str):
            model = model or value
        elif "focallength" in plain:
            number = _number(value)
            if number is None:
                continue
            if "35mm" in plain:
                focal_35mm = focal_35mm or number
            elif plain.endswith(("focallength", "focallengthmm")):
                focal_mm = focal_mm or number
    return LensTags(make, model, focal_mm, focal_35mm, None, "QuickTime")


def _number(value: str | float) -> float | None:
    if isinstance(value, str):
        match = re.match(r"\s*(\d+(?:\.\d+)?)", value)
        value = float(match.group(1)) if match else 0.0
    return float(value) if value > 0 and math.isfinite(value) else None


@lru_cache(maxsize=1)
def _sensors() -> tuple[tuple[re.Pattern[str], float], ...]:
    """Patterns of the table's models, the most specific first: between words anything but a letter or digit may stand or lack."""
    with open(_SENSORS_FILE, encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(line for line in stream if not line.startswith("#")))
    rows.sort(key=lambda row: -len(row["model"]))
    table = []
    for row in rows:
        words = re.split(r"[\s\-]+", row["model"].rstrip("*"))
        end = "" if row["model"].endswith("*") else r"(?![a-z0-9])"
        table.append((re.compile(r"[\s\-_]*".join(map(re.escape, words)) + end), float(row["sensor_mm"])))
    return tuple(table)


def sensor_width_mm(make: str, model: str) -> float | None:
    """Width of a camera's sensor from the table; None for cameras it does not list."""
    model, make = model.lower().strip(), make.lower().strip()
    if not model:
        return None
    for pattern, width in _sensors():
        if pattern.match(model) or pattern.match(f"{make} {model}"):
            return width
    return None


def focal_prior_px(tags: LensTags, width: int, height: int) -> tuple[float, str] | None:
    """(focal length in px at full resolution, where it comes from), or None when the file says nothing usable.

    width, height: px as stored along the sensor's own axes (before a rotation for display). The 35 mm equivalent is
    defined by the diagonal (CIPA DCG-001).
    """
    found: tuple[float, str] | None = None
    if tags.focal_35mm:
        found = tags.focal_35mm / FULL_FRAME_DIAGONAL_MM * math.hypot(width, height), f"{tags.kind} 35 mm equivalent"
    elif tags.focal_mm:
        sensor, source = tags.sensor_mm, f"{tags.kind} focal length and focal plane resolution"
        if not sensor:
            sensor = sensor_width_mm(tags.make, tags.model)
            source = f"{tags.kind} focal length and the sensor of {tags.model}"
        if sensor:
            found = tags.focal_mm / sensor * max(width, height), source
    if found and _PLAUSIBLE_FOCAL_WIDTHS[0] < found[0] / max(width, height) < _PLAUSIBLE_FOCAL_WIDTHS[1]:
        return found
    return None
