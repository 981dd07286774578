"""Shot lists: CSV, TOML, or a folder of clips; each shot with its options, defaults filled in."""

from __future__ import annotations

import csv
import os
import re
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .errors import EXIT_INPUT, HoldfastError

MOVIE_SUFFIXES = (
    ".mp4",
    ".mov",
    ".m4v",
    ".mkv",
    ".avi",
    ".mxf",
    ".webm",
    ".mpg",
    ".mpeg",
    ".mts",
    ".m2ts",
    ".wmv",
    ".ogv",
    ".y4m",
)
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".exr")

# Options of `solve` a list may set, with their types; paths are relative to the list.
OPTIONS: dict[str, type] = {
    "start": int, "end": int, "step": int, "focal_px": float, "focal_mm": float, "sensor_mm": float,
    "focal": str, "distortion": str,
    "rolling_shutter": str, "motion": str, "steady": str, "mask": str, "depth_model": str, "depth_maps": str,
    "device": str, "quality": str, "seed": int,
}  # fmt: skip
CHOICES = {
    "focal": ("known", "constant", "varying", "auto"), "distortion": ("none", "radial1", "radial2", "auto"),
    "rolling_shutter": ("off", "auto", "on"), "motion": ("auto", "free", "rotation", "static"), "steady": ("auto", "off"),
    "device": ("auto", "cpu", "cuda"), "quality": ("draft", "standard", "best"),
}  # fmt: skip
_ALIASES = {"network": "depth_model", "first": "start", "last": "end", "file": "clip", "path": "clip", "shot": "name"}


@dataclass(frozen=True)
class Shot:
    """One shot: its name (also its folder's), its clip, and the `solve` options that differ from the program's defaults."""

    name: str
    clip: str
    options: dict[str, Any] = field(default_factory=dict)


def read_shots(path: str, defaults: dict[str, Any]) -> list[Shot]:
    """Shots of a list or folder. `defaults` apply where neither the list's own defaults nor the shot say otherwise.

    Raises HoldfastError (batch.*) naming the line and what is wrong with it.
    """
    source = Path(path).expanduser()
    if source.is_dir():
        rows, base = _folder_rows(source), Path(".")
    elif not source.exists():
        raise _bad(
            "batch.missing", f"There is no shot list or folder at {path}.", "Give a CSV or TOML file, or a folder of clips."
        )
    elif source.suffix.lower() == ".toml":
        rows, base = _toml_rows(source), source.parent
    elif source.suffix.lower() in (".csv", ".tsv", ".txt"):
        rows, base = _csv_rows(source), source.parent
    else:
        raise _bad("batch.kind", f"{path} is no shot list.", "Give a file ending in .csv or .toml, or a folder of clips.")
    shots: list[Shot] = []
    taken: set[str] = set()
    for where, row in rows:
        shot = _shot(where, row, base, defaults)
        name = shot.name
        for number in range(2, 10000):
            if name.lower() not in taken:
                break
            name = f"{shot.name}_{number}"
        taken.add(name.lower())
        shots.append(Shot(name, shot.clip, shot.options))
    if not shots:
        raise _bad("batch.empty", f"{path} holds no shots.", "Put movies or folders of images there, or rows in the list.")
    return shots


def _bad(code: str, message: str, hint: str) -> HoldfastError:
    return HoldfastError(code, message, hint, EXIT_INPUT)


def _folder_rows(folder: Path) -> list[tuple[str, dict[str, Any]]]:
    """Every movie in a folder, every folder of images in it, and sequences lying in the folder itself."""
    from .sequence import find_sequence

    rows = []
    loose = False
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if entry.name.startswith("."):
            continue
        suffix = entry.suffix.lower()
        if entry.is_file() and suffix in MOVIE_SUFFIXES:
            rows.append((entry.name, {"name": entry.stem, "clip": str(entry)}))
        elif entry.is_dir() and sum(1 for e in os.scandir(entry) if e.name.lower().endswith(IMAGE_SUFFIXES)) >= 2:
            rows.append((entry.name, {"name": entry.name, "clip": str(entry)}))
        elif entry.is_file() and suffix in IMAGE_SUFFIXES:
            loose = True
    if loose:
        try:
            found = find_sequence(str(folder))
        except HoldfastError:
            found = None
        for pattern in (found.pattern, *found.others) if found and len(found.files) > 1 else ():
            name = os.path.splitext(os.path.basename(pattern))[0].replace("#", "").strip("._- ")
            rows.append((pattern, {"name": name or folder.name, "clip": pattern}))
    return rows


def _csv_rows(path: Path) -> list[tuple[str, dict[str, Any]]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise _bad("batch.unreadable", f"{path} cannot be read ({error}).", "Save the list as CSV in UTF-8.") from error
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    if not lines:
        return []
    delimiter = max(",;\t", key=lines[0].count)
    columns = [_ALIASES.get(cell.strip().lower(), cell.strip().lower()) for cell in lines[0].split(delimiter)]
    if path.suffix.lower() == ".txt" and "clip" not in columns:  # no header: a path per line
        return [(f"{path.name}, {line.strip()}", {"clip": line.strip()}) for line in lines]
    rows = []
    reader = csv.DictReader(lines, delimiter=delimiter, skipinitialspace=True)
    for number, row in enumerate(reader, 2):
        if None in row:
            raise _bad(
                "batch.row", f"{path.name}, row {number}: more cells than columns.", "Quote cells that hold the separator."
            )
        values = {(k or "").strip().lower().replace("-", "_"): (v or "").strip() for k, v in row.items()}
        rows.append((f"{path.name}, row {number}", {k: v for k, v in values.items() if v}))
    return rows


def _toml_rows(path: Path) -> list[tuple[str, dict[str, Any]]]:
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise _bad(
            "batch.unreadable", f"{path} is not valid TOML ({error}).", "Correct it; see `batch --help` for an example."
        ) from error
    common = document.get("defaults", {})
    shots = document.get("shot", [])
    unknown = set(document) - {"defaults", "shot"}
    if unknown or not isinstance(common, dict) or not isinstance(shots, list):
        raise _bad(
            "batch.toml", f"{path.name} may hold [defaults] and [[shot]] tables only.", "See `batch --help` for an example."
        )
    return [
        (f"{path.name}, shot {i + 1}", {str(k).lower().replace("-", "_"): v for k, v in {**common, **shot}.items()})
        for i, shot in enumerate(shots)
    ]


def _shot(where: str, row: dict[str, Any], base: Path, defaults: dict[str, Any]) -> Shot:
    values = {_ALIASES.get(key, key): value for key, value in row.items()}
    clip = str(values.pop("clip", ""))
    if not clip:
        raise _bad("batch.row", f"{where}: no clip is named.", "Fill the column `clip`.")
    clip = _below(base, clip)
    name = str(values.pop("name", "") or Path(clip).stem)
    options = dict(defaults)
    if "range" in values:
        match = re.fullmatch(r"\s*(-?\d+)\s*(?:-|\.\.|:|to)\s*(-?\d+)\s*", str(values.pop("range")))
        if not match:
            raise _bad("batch.row", f"{where}: the range is not understood.", "Write it as first-last, e.g. 1001-1080.")
        options |= {"start": int(match.group(1)), "end": int(match.group(2))}
    if "lens" in values:
        for key in ("focal_px", "focal_mm", "sensor_mm"):
            options.pop(key, None)
        options |= _lens(where, str(values.pop("lens")))
    for key, value in values.items():
        if key not in OPTIONS:
            known = ", ".join(["name", "clip", "range", "lens", "network", *OPTIONS])
            raise _bad("batch.row", f"{where}: {key!r} is no option of a shot.", f"Options are: {known}.")
        options[key] = _value(where, key, value)
    for key in ("mask", "depth_maps"):
        if key in options and key in values:
            options[key] = _below(base, options[key])
    if "depth_model" in values and str(options["depth_model"]).lower().endswith(".onnx"):
        options["depth_model"] = _below(base, options["depth_model"])
    return Shot(re.sub(r"[^\w.\-]+", "_", name).strip("._") or "shot", clip, options)


def _below(base: Path, path: str) -> str:
    expanded = Path(path).expanduser()
    return str(expanded if expanded.is_absolute() else base / expanded)


def _lens(where: str, text: str) -> dict[str, Any]:
    """`35/24.9` or `35mm on 24.9mm`: focal length and sensor width; `1450px`; or known, constant, varying, auto."""
    plain = text.lower().strip()
    if plain in CHOICES["focal"]:
        return {"focal": plain}
    if match := re.fullmatch(r"([\d.]+)\s*px", plain):
        return {"focal_px": float(match.group(1))}
    if match := re.fullmatch(r"([\d.]+)\s*(?:mm)?\s*(?:/|on|@)\s*([\d.]+)\s*(?:mm)?", plain):
        return {"focal_mm": float(match.group(1)), "sensor_mm": float(match.group(2))}
    raise _bad(
        "batch.row",
        f"{where}: the lens {text!r} is not understood.",
        "Write 35/24.9 (focal length / sensor width in mm), 1450px, or varying.",
    )


def _value(where: str, key: str, value: Any) -> Any:
    try:
        result = OPTIONS[key](value)
    except (TypeError, ValueError):
        kind = {int: "a whole number", float: "a number"}.get(OPTIONS[key], "text")
        raise _bad("batch.row", f"{where}: {key} must be {kind}, not {value!r}.", "Correct this cell.") from None
    if key in CHOICES and result not in CHOICES[key]:
        raise _bad("batch.row", f"{where}: {key} may be {', '.join(CHOICES[key])}, not {result!r}.", "Correct this cell.")
    return result
