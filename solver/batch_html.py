"""The batch report as one HTML page: everything inside it, readable on a phone and without a network."""

from __future__ import annotations

import base64
from html import escape
from pathlib import Path
from typing import Any

from .batch_report import focal_text
from .events import duration

_STYLE = """
:root{color-scheme:light dark;--line:#8884;--good:#1a7f37;--usable:#9a6700;--weak:#bc4c00;--failed:#cf222e;--soft:#8881}
*{box-sizing:border-box}body{font:16px/1.45 system-ui,sans-serif;margin:0 auto;max-width:72rem;padding:1rem}
h1{font-size:1.4rem;margin:.2rem 0}.note{opacity:.75}dl{display:flex;flex-wrap:wrap;gap:.4rem 1.6rem;margin:.8rem 0}
dl div{min-width:7rem}dt{font-size:.8rem;opacity:.7}dd{margin:0;font-size:1.1rem;font-variant-numeric:tabular-nums}
article{border:1px solid var(--line);border-radius:.6rem;padding:.7rem;margin:.7rem 0;display:grid;gap:.3rem .9rem;
grid-template-columns:160px minmax(0,1fr) minmax(0,18rem);align-items:start}
article>img,.none{width:100%;border-radius:.3rem;background:var(--soft);min-height:4rem;display:block}
h2{font-size:1.05rem;margin:0;overflow-wrap:anywhere}.tag{color:#fff;border-radius:1rem;padding:.05rem .6rem;font-size:.85rem}
.good{background:var(--good)}.usable{background:var(--usable)}.weak{background:var(--weak)}.failed{background:var(--failed)}
.running,.waiting{background:#57606a}p{margin:.2rem 0;overflow-wrap:anywhere}.figures{font-variant-numeric:tabular-nums}
svg{width:100%;height:auto;display:block}details{grid-column:1/-1}summary{cursor:pointer}details img{width:100%;height:auto}
table{border-collapse:collapse}td,th{padding:.1rem .8rem .1rem 0;text-align:left;font-variant-numeric:tabular-nums}
@media(max-width:40rem){article{grid-template-columns:96px minmax(0,1fr)}article>.plot{grid-column:1/-1}}
"""


def report_page(out: Path, document: dict[str, Any]) -> str:
    """The page for what report.json holds; pictures are read from the shots' folders."""
    counts, figures = document["summary"], document["throughput"]
    solved = counts.get("done", 0) + counts.get("skipped", 0)
    state = "" if document["finished"] else " (still running, or interrupted)"
    facts = {
        "Shots": counts["shots"], "Solved": solved, "Failed": counts.get("failed", 0),
        "Solved in this run": figures["shots_solved"],
        "Shots an hour": figures["shots_per_hour"], "Frames a second": figures["frames_per_second"],
        "Time": duration(figures["wall_s"]), "Workers": figures["workers"], "Speed-up": figures["speed_up"],
    }  # fmt: skip
    cells = "".join(f"<div><dt>{escape(k)}</dt><dd>{escape(str(v))}</dd></div>" for k, v in facts.items() if v not in (None, ""))
    stages = "".join(
        f"<tr><td>{escape(stage)}</td><td>{seconds:.4f} s</td></tr>" for stage, seconds in figures["seconds_per_frame"].items()
    )
    stage_table = f"<details><summary>Seconds per frame by stage</summary><table>{stages}</table></details>" if stages else ""
    articles = "\n".join(_article(out, record) for record in document["shots"])
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">
<title>Holdfast batch: {solved} of {counts["shots"]} solved</title><style>{_STYLE}</style></head><body>
<h1>{solved} of {counts["shots"]} shots solved{escape(state)}</h1><p class="note">Written {escape(document["written"])}</p>
<dl>{cells}</dl>{stage_table}
{articles}
</body></html>
"""


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
    image = f'<img src="{thumbnail}" alt="frame of {name}">' if thumbnail else '<div class="none"></div>'
    figures = []
    if record["error_px"] is not None:
        figures.append(f"error {record['error_px']:.2f} px")
    if record["focal_px"]:
        figures.append(f"focal length {focal_text(record['focal_px'])} px ({escape(str(record['focal']))})")
    if record["frames"]:
        figures.append(f"{record['frames']} frames")
    if record["seconds"]:
        figures.append(duration(record["seconds"]))
    figures.append(escape(record["status"]))
    hint = f"<p>{escape(record['hint'])}</p>" if record["hint"] else ""
    message = f"<p>{escape(record['message'])}</p>" if record["message"] else ""
    said = [*(record.get("statements") or []), *(record.get("warnings") or [])]
    more = ""
    if sheet or said:
        lines = "".join(f"<p>{escape(sentence)}</p>" for sentence in said)
        shown = f'<img src="{sheet}" alt="contact sheet of {name}">' if sheet else ""
        caption = (
            "<p class='note'>Green points rest, red ones move. The cube should stand still on its spot.</p>" if sheet else ""
        )
        more = f"<details><summary>Contact sheet and reasons</summary>{shown}{caption}{lines}</details>"
    return (
        f'<article>{image}<div><h2>{name} <span class="tag {escape(word)}">{escape(word)}</span></h2>'
        f'<p class="figures">{" · ".join(figures)}</p>{message}{hint}</div>'
        f'<div class="plot">{error_plot(record.get("frame_errors") or [])}</div>{more}</article>'
    )


def error_plot(frame_errors: list[list[float]]) -> str:
    """An SVG line of reprojection error (px) over frames; empty without values."""
    points = [(frame, error) for frame, error in frame_errors if error is not None]
    if len(points) < 2:
        return ""
    width, height, left, bottom, top = 300, 100, 34, 16, 6
    first, last = points[0][0], points[-1][0]
    highest = max(max(error for _, error in points), 0.1) * 1.1

    def place(frame: float, error: float) -> str:
        x = left + (width - left - 4) * (frame - first) / max(last - first, 1)
        y = height - bottom - (height - bottom - top) * error / highest
        return f"{x:.1f},{y:.1f}"

    line = " ".join(place(frame, error) for frame, error in points)
    text = 'font-size="10" fill="currentColor"'
    return (
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="error over frames">'
        f'<path d="M{left} {top}V{height - bottom}H{width - 4}" fill="none" stroke="currentColor" opacity=".4"/>'
        f'<polyline points="{line}" fill="none" stroke="#0969da" stroke-width="1.5"/>'
        f'<text x="2" y="{top + 8}" {text}>{highest:.2g} px</text><text x="2" y="{height - bottom}" {text}>0</text>'
        f'<text x="{left}" y="{height - 4}" {text}>{first}</text>'
        f'<text x="{width - 4}" y="{height - 4}" text-anchor="end" {text}>{last}</text></svg>'
    )
