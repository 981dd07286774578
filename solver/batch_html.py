"""The batch report as one HTML page: everything inside it, readable on a phone and without a network."""

from __future__ import annotations

import base64
from html import escape
from pathlib import Path
from typing import Any

from .batch_report import focal_text
from .events import duration

_STYLE = """
:root{color-scheme:light dark;--line:#8884;--good:#1a7f37;--usable:#9a6700;--weak:#bc4c00;--failed:#cf222e;--soft:#8882}
*{box-sizing:border-box}body{font:16px/1.45 system-ui,sans-serif;margin:0 auto;max-width:72rem;padding:1rem}
h1{font-size:1.4rem;margin:.2rem 0}.note{opacity:.75}
dl{display:grid;grid-template-columns:repeat(auto-fit,minmax(7.5rem,1fr));gap:.5rem 1rem;margin:.8rem 0}
dt{font-size:.8rem;opacity:.7}dd{margin:0;font-size:1.1rem;font-variant-numeric:tabular-nums}
nav{display:flex;flex-wrap:wrap;gap:.3rem;margin:.8rem 0}nav a{text-decoration:none;max-width:100%;overflow-wrap:anywhere}
article{border:1px solid var(--line);border-radius:.6rem;padding:.7rem;margin:.7rem 0;display:grid;gap:.3rem .9rem;
grid-template-columns:160px minmax(0,1fr) minmax(0,18rem);align-items:start}
article>img,.none{width:100%;border-radius:.3rem;background:var(--soft);display:block}
.none{aspect-ratio:16/9;display:grid;place-items:center;font-size:.8rem;opacity:.7}
h2{font-size:1.05rem;margin:0;overflow-wrap:anywhere}
.tag{color:#fff;border-radius:1rem;padding:.05rem .6rem;font-size:.85rem;background:#57606a}
.good{background:var(--good)}.usable{background:var(--usable)}.weak{background:var(--weak)}.failed{background:var(--failed)}
p{margin:.2rem 0;overflow-wrap:anywhere}.figures{font-variant-numeric:tabular-nums}
svg{width:100%;height:auto;display:block}details{grid-column:1/-1;margin:.2rem 0}summary{cursor:pointer;padding:.2rem 0}
.wide{overflow-x:auto}.wide img{width:100%;min-width:40rem;height:auto;display:block;border-radius:.3rem}
table{border-collapse:collapse;font-size:.95rem}td,th{padding:.15rem 1rem .15rem 0;text-align:right;white-space:nowrap;
font-variant-numeric:tabular-nums}td:first-child,th:first-child{text-align:left}th{font-weight:600;opacity:.75}
.bar{display:block;height:.7rem;min-width:1px;background:#0969da;border-radius:.2rem}
@media(max-width:40rem){article{grid-template-columns:96px minmax(0,1fr)}article>.plot{grid-column:1/-1}
table{font-size:.85rem}td,th{padding-right:.6rem}}
"""
_WORST_FIRST = ("failed", "running", "waiting", "weak", "usable", "good")


def report_page(out: Path, document: dict[str, Any]) -> str:
    """The page for what report.json holds; pictures are read from the shots' folders."""
    counts, figures = document["summary"], document["throughput"]
    solved = counts.get("done", 0) + counts.get("skipped", 0)
    state = "" if document["finished"] else " (still running, or interrupted)"
    busy = figures["efficiency"]
    facts = {
        "Shots": counts["shots"], "Solved": solved, "Failed": counts.get("failed", 0),
        "Solved in this run": figures["shots_solved"], "Shots an hour": _figure(figures["shots_per_hour"]),
        "Frames a second": _figure(figures["frames_per_second"]), "Time of this run": duration(figures["wall_s"]),
        "Workers": figures["workers"], "Workers busy": f"{min(busy, 1):.0%}" if busy else None,
    }  # fmt: skip
    cells = "".join(f"<div><dt>{escape(k)}</dt><dd>{escape(str(v))}</dd></div>" for k, v in facts.items() if v not in (None, ""))
    written = document["written"].replace("T", " ").replace("Z", " UTC")
    articles = "\n".join(_article(out, record) for record in document["shots"])
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">
<title>Holdfast batch: {solved} of {counts["shots"]} solved</title><style>{_STYLE}</style></head><body>
<h1>{solved} of {counts["shots"]} shots solved{escape(state)}</h1><p class="note">Written {escape(written)}</p>
<dl>{cells}</dl>{_stages(figures["seconds_per_frame"])}{_scaling(document)}
{_chips(document["shots"])}
{articles}
</body></html>
"""


def _figure(value: float | None) -> str | None:
    """Three digits that matter."""
    return None if value is None else f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def _stages(seconds_per_frame: dict[str, float]) -> str:
    """Seconds per frame by stage, as bars."""
    if not seconds_per_frame:
        return ""
    longest = max(max(seconds_per_frame.values()), 1e-9)
    rows = "".join(
        f'<tr><td>{escape(stage)}</td><td>{seconds:.3f}</td><td style="width:60%">'
        f'<span class="bar" style="width:{100 * seconds / longest:.1f}%"></span></td></tr>'
        for stage, seconds in seconds_per_frame.items()
    )
    total = sum(seconds_per_frame.values())
    table = f'<table style="width:100%"><tr><th>Stage</th><th>s / frame</th><th></th></tr>{rows}</table>'
    return f"<details><summary>Seconds per frame by stage ({total:.2f} in all)</summary>{table}</details>"


def _scaling(document: dict[str, Any]) -> str:
    """Throughput by number of workers, over this folder's runs."""
    rows = document.get("scaling") or []
    if not rows:
        return ""
    cells = "".join(
        f"<tr><td>{row['workers']}</td><td>{row['runs']}</td><td>{row['shots']}</td><td>{_figure(row['shots_per_hour'])}</td>"
        f"<td>{_figure(row['frames_per_second'])}</td><td>{_figure(row['times_as_fast'])}×</td></tr>"
        for row in rows
    )
    head = "<tr><th>Workers</th><th>Runs</th><th>Shots</th><th>Shots / h</th><th>Frames / s</th><th>Speed</th></tr>"
    note = "" if len(rows) > 1 else '<p class="note">Runs with another number of workers will stand here to compare.</p>'
    return f'<details><summary>Scaling over workers</summary><div class="wide"><table>{head}{cells}</table></div>{note}</details>'


def _chips(records: list[dict[str, Any]]) -> str:
    """A link to every shot, those that need a look first."""

    def rank(record: dict[str, Any]) -> int:
        word = record["verdict"] or record["status"]
        return _WORST_FIRST.index(word) if word in _WORST_FIRST else len(_WORST_FIRST)

    links = "".join(
        f'<a class="tag {escape(r["verdict"] or r["status"])}" href="#{escape(r["name"])}">{escape(r["name"])}</a>'
        for r in sorted(records, key=rank)
    )
    return f"<nav>{links}</nav>" if len(records) > 1 else ""


def _picture(path: Path) -> str | None:
    try:
        return "data:image/jpeg;base64," + base64.b64encode(path.read_bytes()).decode("ascii")
    except OSError:
        return None


def _article(out: Path, record: dict[str, Any]) -> str:
    folder = out / record["folder"]
    pictures = record.get("pictures") or []
    thumbnail = _picture(folder / "thumbnail.jpg") if "thumbnail.jpg" in pictures else None
    sheet = _picture(folder / "contact.jpg") if "contact.jpg" in pictures else None
    name = escape(record["name"])
    word = record["verdict"] or record["status"]
    image = f'<img src="{thumbnail}" alt="frame of {name}">' if thumbnail else '<div class="none">no picture</div>'
    figures = []
    if record["error_px"] is not None:
        figures.append(f"error {record['error_px']:.2f} px")
    if record["focal_px"]:
        figures.append(f"focal length {focal_text(record['focal_px'])} px ({escape(str(record['focal']))})")
    if record["frames"]:
        figures.append(f"{record['frames']} frames")
    if record["seconds"] and record["status"] != "failed":
        figures.append(duration(record["seconds"]))
    figures.append({"done": "solved now", "skipped": "unchanged, kept"}.get(record["status"], escape(record["status"])))
    hint = f"<p>{escape(record['hint'])}</p>" if record["hint"] else ""
    message = f"<p>{escape(record['message'])}</p>" if record["message"] else ""
    said = [*(record.get("statements") or []), *(record.get("warnings") or [])]
    more = ""
    if sheet or said:
        lines = "".join(f"<p>{escape(sentence)}</p>" for sentence in said)
        shown = f'<div class="wide"><img src="{sheet}" alt="contact sheet of {name}"></div>' if sheet else ""
        caption = (
            "<p class='note'>Green points rest, red ones move. The cube should stand still on its spot.</p>" if sheet else ""
        )
        more = f"<details><summary>Contact sheet and reasons</summary>{shown}{caption}{lines}</details>"
    return (
        f'<article id="{name}">{image}<div><h2>{name} <span class="tag {escape(word)}">{escape(word)}</span></h2>'
        f'<p class="figures">{" · ".join(figures)}</p>{message}{hint}{_made(record)}</div>'
        f'<div class="plot">{error_plot(record.get("frame_errors") or [])}</div>{more}</article>'
    )


def _made(record: dict[str, Any]) -> str:
    """What lies in the shot's folder."""
    names = record.get("exports") or []
    return f'<p class="note">{escape(record["folder"])}/: {escape(", ".join(names))}</p>' if names else ""


def error_plot(frame_errors: list[list[float]]) -> str:
    """An SVG line of reprojection error (px) over frames; empty without values."""
    points = [(frame, error) for frame, error in frame_errors if error is not None]
    if len(points) < 2:
        return ""
    width, height, left, bottom, top = 300, 104, 8, 16, 20
    first, last = points[0][0], points[-1][0]
    peak_frame, peak = max(points, key=lambda point: point[1])
    highest = max(peak, 0.1) * 1.1

    def place(frame: float, error: float) -> str:
        x = left + (width - left - 4) * (frame - first) / max(last - first, 1)
        y = height - bottom - (height - bottom - top) * error / highest
        return f"{x:.1f},{y:.1f}"

    peak_y = place(first, peak).split(",")[1]
    line = " ".join(place(frame, error) for frame, error in points)
    text = 'font-size="10" fill="currentColor"'
    return (
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="error over frames">'
        f'<path d="M{left} {top}V{height - bottom}H{width - 4}" fill="none" stroke="currentColor" opacity=".4"/>'
        f'<polyline points="{line}" fill="none" stroke="#0969da" stroke-width="1.5"/>'
        f'<path d="M{left} {peak_y}H{width - 4}" stroke="currentColor" stroke-dasharray="2 3" opacity=".4"/>'
        f'<text x="{left}" y="12" {text}>error, px: highest {peak:.2g} at frame {peak_frame}</text>'
        f'<text x="{left}" y="{height - 4}" {text}>{first}</text>'
        f'<text x="{width - 4}" y="{height - 4}" text-anchor="end" {text}>{last}</text></svg>'
    )
