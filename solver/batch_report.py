"""What a batch reports: one record per shot, figures of throughput, as JSON, CSV and HTML."""

from __future__ import annotations

import csv
import io
import json
import time
from pathlib import Path
from typing import Any

from .batch_list import Shot
from .batch_state import read_state, write_text

COLUMNS = (
    "name", "status", "verdict", "error_px", "focal_px", "focal", "motion", "frames", "seconds", "peak_memory_mb", "clip", "code",
    "message", "hint", "folder", "log",
)  # fmt: skip


def shot_record(out: Path, shot: Shot, this_run: dict[str, str]) -> dict[str, Any]:
    """The facts of one shot: from `shot.json` and `solve.json`.

    this_run: shot name -> what happened to it in this run ("running", "done", "skipped", "failed", "elsewhere").
    """
    folder = out / shot.name
    state = read_state(folder)
    status = this_run.get(shot.name) or state.get("status") or "waiting"
    record: dict[str, Any] = dict.fromkeys(COLUMNS)
    record |= {"name": shot.name, "clip": shot.clip, "status": status, "folder": shot.name, "log": f"{shot.name}/solver.log"}
    record |= {key: state.get(key) for key in ("seconds", "frames", "peak_memory_mb")}
    if status == "failed":
        record |= state.get("error", {"code": "unknown", "message": "It ended without saying why.", "hint": ""})
        return record
    if state.get("status") != "done":
        return record
    try:
        document = json.loads((folder / "solve.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return record
    verdict = document["verdict"]
    focal = [frame["fx"] for frame in document["frames"]]
    record |= {
        "verdict": verdict["status"], "message": verdict["summary"], "statements": verdict["statements"],
        "error_px": verdict["error_px"], "motion": verdict["motion"], "focal": verdict["focal"], "frames": len(focal),
        "focal_px": [min(focal), max(focal)] if focal else None, "width": document["width"], "timings": document["timings"],
        "frame_errors": [[frame["frame"], frame["error_px"]] for frame in document["frames"]],
        "warnings": document["warnings"], "pictures": state.get("pictures", []), "exports": state.get("exports", []),
    }  # fmt: skip
    return record


def throughput(records: list[dict[str, Any]], wall_s: float, workers: int) -> dict[str, Any]:
    """Shots per hour, seconds per frame by stage, and how well the workers were used; over the shots solved in this run."""
    solved = [r for r in records if r["status"] == "done" and r["seconds"]]
    frames = sum(r["frames"] or 0 for r in solved)
    stages: dict[str, float] = {}
    for record in solved:
        for stage, seconds in (record.get("timings") or {}).items():
            if isinstance(seconds, (int, float)) and stage != "total":
                stages[stage] = stages.get(stage, 0.0) + seconds
    busy = sum(r["seconds"] for r in records if r["status"] in ("done", "failed") and r["seconds"])
    return {
        "workers": workers,
        "wall_s": round(wall_s, 2),
        "shots_solved": len(solved),
        "frames_solved": frames,
        "shots_per_hour": round(3600 * len(solved) / wall_s, 2) if wall_s > 0 and solved else None,
        "frames_per_second": round(frames / wall_s, 3) if wall_s > 0 and frames else None,
        "seconds_per_frame": {stage: round(seconds / frames, 5) for stage, seconds in stages.items()} if frames else {},
        "worker_seconds": round(busy, 2),
        "speed_up": round(busy / wall_s, 3) if wall_s > 0 and busy else None,
        "efficiency": round(busy / wall_s / workers, 3) if wall_s > 0 and busy and workers else None,
    }


def summary(records: list[dict[str, Any]]) -> dict[str, int]:
    """How many shots have which status."""
    counts: dict[str, int] = {"shots": len(records)}
    for record in records:
        counts[record["status"]] = counts.get(record["status"], 0) + 1
    return counts


def write_report(
    out: Path, shots: list[Shot], this_run: dict[str, str], wall_s: float, workers: int, finished: bool
) -> dict[str, Any]:
    """Write report.json, report.csv and report.html; returns what report.json holds."""
    from .batch_html import report_page

    records = [shot_record(out, shot, this_run) for shot in shots]
    document = {
        "schema": 1,
        "written": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "finished": finished,
        "summary": summary(records),
        "throughput": throughput(records, wall_s, workers),
        "shots": records,
    }
    write_text(out / "report.json", json.dumps(document, indent=1, default=str) + "\n")
    write_text(out / "report.csv", csv_text(records))
    write_text(out / "report.html", report_page(out, document))
    return document


def csv_text(records: list[dict[str, Any]]) -> str:
    """The records as CSV; a zoom's focal length as lowest..highest."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, COLUMNS, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    for record in records:
        writer.writerow(record | {"focal_px": focal_text(record["focal_px"], 1)})
    return stream.getvalue()


def focal_text(focal_px: list[float] | None, digits: int = 0) -> str:
    """One focal length, or lowest..highest of a zoom."""
    if not focal_px:
        return ""
    low, high = focal_px
    return f"{low:.{digits}f}" if high - low < 1e-6 * high else f"{low:.{digits}f}..{high:.{digits}f}"
