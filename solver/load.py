"""Reading a job folder back into the data it was written from."""

from __future__ import annotations

import json
import math
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from . import SCHEMA_VERSION
from .errors import EXIT_INPUT, HoldfastError
from .gauge import world_id_of
from .poses import world_from_cam
from .types import AlignedDepth, Camera, ClipInfo, Solution, Tracks, Verdict


def load_document(folder: str | os.PathLike) -> dict[str, Any]:
    """solve.json of a job folder (or given itself). Raises HoldfastError (result.*)."""
    path = Path(folder).expanduser()
    path = path if path.suffix == ".json" else path / "solve.json"
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError:
        raise HoldfastError(
            "result.missing",
            f"There is no finished solve in {path.parent}.",
            "Give the folder that `solve --out` wrote.",
            EXIT_INPUT,
        ) from None
    except ValueError:
        document = None
    if not isinstance(document, dict) or "frames" not in document:
        raise HoldfastError("result.damaged", f"{path} is not a solve.json.", "Solve the clip again.", EXIT_INPUT)
    if document.get("schema") != SCHEMA_VERSION:
        raise HoldfastError(
            "result.schema",
            f"{path} has schema {document.get('schema')}; this version reads {SCHEMA_VERSION}.",
            "Solve the clip again, or use the version that wrote it.",
            EXIT_INPUT,
        )
    return document


def load_solution(folder: str | os.PathLike) -> Solution:
    """The `Solution` that a job folder holds. Raises HoldfastError (result.*) when something is missing or damaged."""
    document = load_document(folder)
    path = Path(folder).expanduser()
    path = path.parent if path.suffix == ".json" else path
    try:
        return _solution(document, path)
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise HoldfastError(
            "result.damaged", f"The results in {path} are not complete ({error}).", "Solve the clip again.", EXIT_INPUT
        ) from error


def _solution(document: dict[str, Any], path: Path) -> Solution:
    with np.load(path / "points.npz") as file:
        points = dict(file)
    with np.load(path / "tracks.npz") as file:
        tracks = dict(file)
    depth_maps = []
    for file_path in sorted((path / "depth").glob("*.npz")) if "depth" in document["files"] else ():
        with np.load(file_path) as archive:
            file = dict(archive)
            depth_maps.append(
                AlignedDepth(
                    int(file_path.stem),
                    file["depth"].astype(np.float32),
                    file.get("confidence"),
                    float(file["scale"]),
                    float(file["shift"]),
                    float(file["spread"]),
                    file.get("network"),
                    str(file["kind"]) if "kind" in file else "",
                )
            )
    clip, lens, frames = document["clip"], document["camera"], document["frames"]
    verdict = dict(document["verdict"])
    low, high = verdict["focal_range_px"]
    verdict["focal_range_px"] = (math.nan if low is None else low, math.inf if high is None else high)
    verdict["error_px"] = math.nan if verdict["error_px"] is None else verdict["error_px"]
    verdict["statements"], verdict["chosen"] = tuple(verdict["statements"]), tuple(verdict["chosen"])
    numbers = np.array([f["frame"] for f in frames], int)
    return Solution(
        clip=ClipInfo(
            clip["path"],
            clip["width"],
            clip["height"],
            clip["fps"],
            clip["frame_start"],
            tuple(numbers.tolist()),
            tuple(clip["missing"]),
            clip["pixel_aspect"],
            clip["is_sequence"],
            clip.get("focal_px"),
            clip.get("focal_source"),
            clip["frame_count"],
            clip.get("step", 1),
            clip.get("rotation_deg", 0),
        ),
        camera=Camera(document["width"], document["height"], lens["cx"], lens["cy"], lens["k1"], lens["k2"], lens["row_time"]),
        frame_numbers=numbers,
        cam_from_world=world_from_cam(np.array([f["c2w"] for f in frames], float)),
        focal_px=np.array([f["fx"] for f in frames], float),
        frame_error_px=np.array([f["error_px"] for f in frames], float),
        frame_tracks=np.array([f["tracks"] for f in frames], int),
        points=points["xyz"].astype(float),
        point_track=points["track"],
        point_colour=points["rgb"],
        point_error_px=points["error_px"],
        point_length=points["length"],
        point_depth_sigma=points["depth_sigma"],
        tracks=Tracks(
            tracks["frame_numbers"],
            tracks["track"],
            tracks["frame_index"],
            tracks["xy"],
            tracks["sigma_px"],
            len(tracks["label"]),
            tracks.get("elongation"),
        ),
        track_label=tracks["label"],
        track_held_out=tracks["held_out"],
        keyframes=tuple(document["keyframes"]),
        depth_maps=tuple(depth_maps),
        verdict=Verdict(**verdict),
        metric=document["metric"],
        quality=document["quality"],
        warnings=tuple(document["warnings"]),
        timings=document["timings"],
        depth_source=document["depth"],
        settings=document.get("settings") or {},
        history=tuple(document.get("history") or ()),
        world_id=document.get("world_id") or world_id_of(np.array([f["c2w"] for f in frames], float)),
        track_colour=tracks.get("colour"),
        track_muted=tracks.get("muted"),
        user_tracks=tuple(document.get("user_tracks") or ()),
    )
