"""What a batch reports: one record per shot, figures of throughput, as JSON, CSV and HTML."""

from __future__ import annotations

import csv
import io
import json
import socket
import time
from pathlib import Path
from typing import Any

from .batch_list import Shot
from .batch_scene import BLEND
from .batch_state import read_state, write_text

RUNS_NAME = "runs.jsonl"
COLUMNS = (
    "name", "status", "verdict", "error_px", "focal_px", "focal", "motion", "frames", "seconds", "peak_memory_mb", "host", "clip",
    "code", "message", "hint", "folder", "log", "scene",
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
    record |= {key: state.get(key) for key in ("frames", "peak_memory_mb", "host", "started_at", "finished_at", "solved_now")}
    record |= {"seconds": state.get("total_seconds"), "run_seconds": state.get("seconds"), "exports": state.get("exports", [])}
    if BLEND in record["exports"]:
        record["scene"] = f"{shot.name}/{shot.name}.blend"
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
        "focal_px": [min(focal), max(focal)] if focal else None, "width": document["width"],
        "timings": document["timings"] | state.get("stages", {}),
        "frame_errors": [[frame["frame"], frame["error_px"]] for frame in document["frames"]],
        "warnings": document["warnings"], "pictures": state.get("pictures", []),
    }  # fmt: skip
    return record


def throughput(records: list[dict[str, Any]], wall_s: float, workers: int) -> dict[str, Any]:
    """Shots per hour, seconds per frame by stage, and how well the workers were used; over the shots solved in this run."""
    solved = [r for r in records if r["status"] == "done" and r["solved_now"] and r["run_seconds"]]
    frames = sum(r["frames"] or 0 for r in solved)
    stages: dict[str, float] = {}
    for record in solved:
        for stage, seconds in (record.get("timings") or {}).items():
            if isinstance(seconds, (int, float)) and stage != "total":
                stages[stage] = stages.get(stage, 0.0) + seconds
    busy = sum(r["run_seconds"] for r in records if r["status"] in ("done", "failed") and r["run_seconds"])
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


def note_run(out: Path, document: dict[str, Any], how: str) -> None:
    """Keep a finished run's figures, one line per run: runs with different numbers of workers show how the work scales.

    how: "local" or "dask". Runs that solved nothing leave no line.
    """
    figures = document["throughput"]
    if not figures["shots_solved"]:
        return
    kept = ("workers", "wall_s", "shots_solved", "frames_solved", "shots_per_hour", "frames_per_second", "efficiency")
    line = {"ended": document["written"], "how": how, "host": socket.gethostname()} | {key: figures[key] for key in kept}
    with open(out / RUNS_NAME, "a", encoding="utf-8") as stream:  # one short write: lines of several runs do not mix
        stream.write(json.dumps(line) + "\n")


def read_runs(out: Path) -> list[dict[str, Any]]:
    """The runs noted in a folder, oldest first."""
    runs = []
    try:
        lines = (out / RUNS_NAME).read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    for line in lines:
        try:
            runs.append(json.loads(line))
        except ValueError:
            continue
    return runs


def scaling(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """For every number of workers that runs had: frames a second over all of them, and that against the fewest workers'."""
    groups: dict[int, list[dict[str, Any]]] = {}
    for run in runs:
        groups.setdefault(run["workers"], []).append(run)
    rows: list[dict[str, Any]] = []
    for workers, members in sorted(groups.items()):
        frames, shots, wall = (sum(run[key] for run in members) for key in ("frames_solved", "shots_solved", "wall_s"))
        if wall <= 0:
            continue
        row = {"workers": workers, "runs": len(members), "shots": shots, "frames": frames, "wall_s": round(wall, 2)}
        row |= {"shots_per_hour": round(3600 * shots / wall, 2), "frames_per_second": round(frames / wall, 3)}
        first = rows[0] if rows else row
        row["times_as_fast"] = (
            round(row["frames_per_second"] / first["frames_per_second"], 3) if first["frames_per_second"] else None
        )
        rows.append(row)
    return rows


def summary(records: list[dict[str, Any]]) -> dict[str, int]:
    """How many shots have which status."""
    counts: dict[str, int] = {"shots": len(records)}
    for record in records:
        counts[record["status"]] = counts.get(record["status"], 0) + 1
    return counts


def write_report(
    out: Path, shots: list[Shot], this_run: dict[str, str], wall_s: float, workers: int, finished: bool, how: str = "local"
) -> dict[str, Any]:
    """Write report.json, report.csv and report.html; returns what report.json holds."""
    from .batch_html import report_page

    records = [shot_record(out, shot, this_run) for shot in shots]
    document = {
        "schema": 2,
        "written": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "finished": finished,
        "summary": summary(records),
        "throughput": throughput(records, wall_s, workers),
        "shots": records,
    }
    if finished:
        note_run(out, document, how)
    document["runs"] = read_runs(out)
    document["scaling"] = scaling(document["runs"])
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
