"""Figures as a table (markdown): one row per shot and peer, and summaries per peer against the goals."""

from __future__ import annotations

import numpy as np

from tests.bench.metrics import Truth

# (heading, key in `measures` or of the result itself, format)
COLUMNS = (
    ("frames", "registered", "{:.0f}"),
    ("slip px", "slip_rms_px", "{:.3f}"),
    ("slip max", "slip_max_px", "{:.2f}"),
    ("on plate", "slip_plate_rms_px", "{:.3f}"),
    ("rot °", "rotation_rms_deg", "{:.4f}"),
    ("rot max", "rotation_max_deg", "{:.3f}"),
    ("ATE % ext", "ate_oriented_pct_extent", "{:.2f}"),
    ("ATE % depth", "ate_pct_depth", "{:.3f}"),
    ("RPE1 °", "rpe1_rotation_deg", "{:.4f}"),
    ("RPE10 °", "rpe10_rotation_deg", "{:.4f}"),
    ("RPE10 % depth", "rpe10_translation_pct_depth", "{:.3f}"),
    ("AUC 1/3/5°", "auc", "{}"),
    ("focal %", "focal_error_pct", "{:.2f}"),
    ("lens px", "distortion_error_px", "{:.2f}"),
    ("cloud %", "cloud_depth_median_pct", "{:.2f}"),
    ("jitter °", "jitter_rotation_deg", "{:.4f}"),
    ("× duration", "wall_over_duration", "{:.1f}"),
    ("MB", "peak_mb", "{:.0f}"),
)
DEPTH_MEASURES = ("ate_pct_depth", "rotation_rms_deg", "rpe10_rotation_deg", "rpe10_translation_pct_depth", "focal_error_pct",
                  "cloud_depth_median_pct", "slip_rms_px")  # fmt: skip


def baseline_pct(truth: Truth) -> float:
    """Largest distance between two cameras of the shot, in % of the scene's depth."""
    positions = np.array([pose[:3, 3] for pose in truth.c2w.values()])
    return float(100 * np.linalg.norm(positions[:, None] - positions[None], axis=2).max() / truth.scene_depth)


def _cell(result: dict, key: str, pattern: str) -> str:
    measures = result["measures"]
    if key == "auc":
        values = [measures.get(f"auc{t}_pct") for t in (1, 3, 5)]
        return "/".join(f"{v:.0f}" for v in values) if values[0] is not None else "–"
    if key == "registered":
        return f"{measures['registered']}/{measures['frames']}"
    value = measures.get(key, result.get(key))
    return pattern.format(value) if value is not None else "–"


def one_line(result: dict) -> str:
    """A result while the bench runs."""
    cells = [
        f"{head} {_cell(result, key, pattern)}"
        for head, key, pattern in COLUMNS
        if head in ("frames", "slip px", "rot °", "focal %")
    ]
    words = (result.get("verdict") or {}).get("summary") or result["note"]
    return f"{result['shot']:<16} {result['peer']:<14} {', '.join(cells)}, {result['wall_s']:.0f} s  {words or ''}"


def report(results: list[dict]) -> str:
    """The whole table, the verdicts, the summary of each peer, and depth against no depth, as markdown."""
    if not results:
        return "No results."
    lines = ["Lengths in px at 1920 wide; slip: how far a pinned prop slides; on plate: with each lens's own distortion.", ""]
    lines.append("| shot | base % | peer | " + " | ".join(head for head, _, _ in COLUMNS) + " |")
    lines.append("|---" * (3 + len(COLUMNS)) + "|")
    for r in results:
        cells = " | ".join(_cell(r, key, pattern) for _, key, pattern in COLUMNS)
        lines.append(f"| {r['shot']} | {r['baseline_over_depth_pct']:.1f} | {r['peer']} | {cells} |")
    lines += ["", *_summary(results), *_verdicts(results), *_times(results)]
    peers = {r["peer"] for r in results}
    if {"holdfast", "holdfast-none"} <= peers:
        lines += ["", *depth_against_none(results)]
    lines += _ratios(results)
    return "\n".join(lines)


def _summary(results: list[dict]) -> list[str]:
    lines = ["| peer | shots | all frames | median slip px | worst slip px | within limit | median rot ° | median × duration |",
             "|---|---|---|---|---|---|---|---|"]  # fmt: skip
    for peer in dict.fromkeys(r["peer"] for r in results):
        mine = [r for r in results if r["peer"] == peer]
        slips = [r["measures"].get("slip_rms_px", np.inf) for r in mine]
        limited = [(s, r["limit_px"]) for s, r in zip(slips, mine) if r["limit_px"]]
        within = sum(s <= limit for s, limit in limited)
        turns = [r["measures"].get("rotation_rms_deg", np.inf) for r in mine]
        full = sum(r["measures"]["registered"] == r["measures"]["frames"] for r in mine)
        lines.append(
            f"| {peer} | {len(mine)} | {full} | {np.median(slips):.3f} | {max(slips):.3f} | {within}/{len(limited)} | "
            f"{np.median(turns):.4f} | {np.median([r['wall_over_duration'] for r in mine]):.1f} |"
        )
    return lines


def _verdicts(results: list[dict]) -> list[str]:
    mine = [r for r in results if (r.get("verdict") or {}).get("status")]
    if not mine:
        return []
    lines = [
        "",
        "| shot | peer | verdict | motion (true) | focal | focal range px | distortion | depth | held-out px |",
        "|---" * 9 + "|",
    ]
    for r in mine:
        v = r["verdict"]
        span = v.get("focal_range_px") or ()
        shown = "–".join(f"{x:.0f}" for x in span) if all(isinstance(x, (int, float)) for x in span) else ""
        error = f"{v['error_px']:.3f}" if isinstance(v.get("error_px"), (int, float)) else "–"
        motion = v["motion"] + (f" ({r['expected_motion']})" if r["expected_motion"] else "")
        cells = [r["shot"], r["peer"], v["status"], motion, v["focal"], shown, v["distortion"], v["depth"], error]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return lines


def _times(results: list[dict]) -> list[str]:
    lines = ["", "| shot | peer | wall s | stages s |", "|---|---|---|---|"]
    for r in results:
        stages = ", ".join(f"{k} {v:.1f}" for k, v in r["stages_s"].items() if v >= 0.05)
        lines.append(f"| {r['shot']} | {r['peer']} | {r['wall_s']:.1f} | {stages or r['note']} |")
    return lines


def depth_against_none(results: list[dict]) -> list[str]:
    """How much smaller each error is with depth than without, averaged over small baselines and over the rest."""
    pairs = {}
    for r in results:
        if r["peer"] in ("holdfast", "holdfast-none"):
            pairs.setdefault(r["shot"], {})[r["peer"]] = r
    pairs = {k: v for k, v in pairs.items() if len(v) == 2 and v["holdfast"]["baseline_over_depth_pct"] > 0}
    lines = ["Depth against no depth: mean error with depth as a share of the mean error without.", "",
             "| shots | " + " | ".join(DEPTH_MEASURES) + " |", "|---" * (1 + len(DEPTH_MEASURES)) + "|"]  # fmt: skip
    for title, small in (("small baseline", True), ("others that move", False)):
        group = [v for v in pairs.values() if bool(v["holdfast"]["small_baseline"]) == small]
        cells = []
        for key in DEPTH_MEASURES:
            both = [(v["holdfast"]["measures"].get(key), v["holdfast-none"]["measures"].get(key)) for v in group]
            both = [(a, b) for a, b in both if a is not None and b is not None]
            cells.append(f"{100 * sum(a for a, _ in both) / max(sum(b for _, b in both), 1e-12):.0f} %" if both else "–")
        lines.append(f"| {title} ({len(group)}) | " + " | ".join(cells) + " |")
    return lines


def _ratios(results: list[dict]) -> list[str]:
    """Slip of the best other solver over Holdfast's, shot by shot."""
    others = ("colmap", "colmap-global", "blender")
    shots: dict[str, dict[str, dict]] = {}
    for r in results:
        shots.setdefault(r["shot"], {})[r["peer"]] = r
    rows = []
    for shot, by_peer in shots.items():
        if "holdfast" not in by_peer or not any(p in by_peer for p in others):
            continue
        own = by_peer["holdfast"]["measures"].get("slip_rms_px")
        # A solver that lost frames has not solved the shot.
        rest = {p: by_peer[p]["measures"].get("slip_rms_px") for p in others if p in by_peer
                and by_peer[p]["measures"]["registered_pct"] > 95}  # fmt: skip
        rest = {p: v for p, v in rest.items() if v is not None}
        best = min(rest, key=rest.get) if rest else None
        speed = by_peer["colmap"]["wall_s"] / by_peer["holdfast"]["wall_s"] if "colmap" in by_peer else None
        cells = [
            f"{own:.3f}" if own is not None else "–",
            f"{rest[best]:.3f} ({best})" if best else "none solved it",
            f"{rest[best] / own:.1f}" if best and own else "–",
            f"{speed:.1f}" if speed else "–",
        ]
        rows.append(f"| {shot} | " + " | ".join(cells) + " |")
    if not rows:
        return []
    return [
        "",
        "| shot | Holdfast slip px | best other slip px | times better | times faster than COLMAP incremental |",
        "|---" * 5 + "|",
        *rows,
    ]
