"""Figures as a table (markdown): one row per shot and peer; the summaries around it are those of summaries.py."""

from __future__ import annotations

import numpy as np

from tests.bench import summaries
from tests.bench.metrics import Truth
from tests.bench.summaries import OTHERS, best_other, by_shot, focal_range, number, table

# (heading, key in `measures` or of the result itself, format)
COLUMNS = (
    ("frames", "registered", "{:.0f}"),
    ("slip px", "slip_rms_px", "{:.3f}"),
    ("slip max", "slip_max_px", "{:.2f}"),
    ("on plate", "slip_plate_rms_px", "{:.3f}"),
    ("own tracks fit %", "own_fit_pct", "{:.0f}"),
    ("own tracks px", "own_rms_px", "{:.3f}"),
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
    return number(measures.get(key, result.get(key)), pattern)


def one_line(result: dict) -> str:
    """A result while the bench runs."""
    wanted = (
        ("frames", "own tracks fit %", "own tracks px", "rot °") if result["real"] else ("frames", "slip px", "rot °", "focal %")
    )
    cells = [f"{head} {_cell(result, key, pattern)}" for head, key, pattern in COLUMNS if head in wanted]
    words = (result.get("verdict") or {}).get("summary") or result["note"]
    return f"{result['shot']:<16} {result['peer']:<14} {', '.join(cells)}, {result['wall_s']:.0f} s  {words or ''}"


def in_order(results: list[dict]) -> list[dict]:
    """Shot by shot as they first appeared, peers likewise: results that were added later stand with their shot."""
    shots = list(dict.fromkeys(r["shot"] for r in results))
    peers = list(dict.fromkeys(r["peer"] for r in results))
    return sorted(results, key=lambda r: (shots.index(r["shot"]), peers.index(r["peer"])))


def report(results: list[dict]) -> str:
    """Goals, the whole table, summaries, verdicts and times, as markdown."""
    if not results:
        return "No results."
    results = in_order(results)
    rendered = [r for r in results if not r["real"]]
    sizes = sorted({tuple(r["size"]) for r in rendered})
    lines = [
        "# Bench",
        "",
        "Shots with exact truth: " + ", ".join(f"{w}×{h}" for w, h in sizes) + ". Lengths in px at 1920 wide.",
    ]
    lines += summaries.goals(results)
    lines += _ratios(results)
    lines += summaries.claims(results)
    lines += summaries.footage(results)
    if rendered:
        lines += [
            "",
            "## Every measure",
            "",
            "Slip: how far a pinned prop slides; on plate: with each lens's own distortion; own tracks: "
            "the bench's, that no solver used; base: the widest baseline over the scene's depth.",
            "",
        ]
        rows = (
            [
                r["shot"],
                number(r["baseline_over_depth_pct"], "{:.1f}"),
                r["peer"],
                *(_cell(r, key, pattern) for _, key, pattern in COLUMNS),
            ]
            for r in rendered
        )
        lines += table(("shot", "base %", "peer", *(head for head, _, _ in COLUMNS)), rows)
    lines += [*_peers(rendered), *_verdicts(results), *_times(results), *summaries.measure_check(rendered)]
    return "\n".join(lines)


def _peers(results: list[dict]) -> list[str]:
    rows = []
    for peer in dict.fromkeys(r["peer"] for r in results):
        mine = [r for r in results if r["peer"] == peer]
        slips = [r["measures"].get("slip_rms_px", np.inf) for r in mine]
        limited = [(s, r["limit_px"]) for s, r in zip(slips, mine) if r["limit_px"]]
        within = sum(s <= limit for s, limit in limited)
        turns = [r["measures"].get("rotation_rms_deg", np.inf) for r in mine]
        full = sum(map(summaries.all_registered, mine))
        rows.append(
            [
                peer,
                str(len(mine)),
                str(full),
                f"{np.median(slips):.3f}",
                f"{max(slips):.3f}",
                f"{within}/{len(limited)}",
                f"{np.median(turns):.4f}",
                f"{np.median([r['wall_over_duration'] for r in mine]):.1f}",
            ]
        )
    heads = (
        "peer",
        "shots",
        "all frames",
        "median slip px",
        "worst slip px",
        "within limit",
        "median rot °",
        "median × duration",
    )
    return ["", "## Peers", "", *table(heads, rows)] if rows else []


def _verdicts(results: list[dict]) -> list[str]:
    rows = []
    for r in results:
        v = r.get("verdict") or {}
        if not v.get("status"):
            continue
        span = focal_range(r)
        motion = v["motion"] + (f" ({r['expected_motion']})" if r["expected_motion"] else "")
        cells = (
            r["shot"],
            r["peer"],
            v["status"],
            motion,
            v["focal"],
            f"{span[0]:.0f}–{span[1]:.0f}" if span else "",
            v["distortion"],
            v["depth"],
            number(v.get("error_px")),
        )
        rows.append(map(str, cells))
    heads = (
        "shot",
        "peer",
        "verdict",
        "motion (true)",
        "focal",
        "focal range px",
        "distortion",
        "depth",
        "held-out px of the clip",
    )
    return ["", "## Verdicts", "", *table(heads, rows)] if rows else []


def _times(results: list[dict]) -> list[str]:
    def stages(r: dict) -> str:
        return ", ".join(f"{k} {v:.1f}" for k, v in r["stages_s"].items() if v >= 0.05) or r["note"]

    rows = ([r["shot"], r["peer"], f"{r['wall_s']:.1f}", f"{r['wall_over_duration']:.1f}", stages(r)] for r in results)
    return ["", "## Times", "", *table(("shot", "peer", "wall s", "× duration", "stages s"), rows)]


def _ratios(results: list[dict]) -> list[str]:
    """Slip of the best other solver over Holdfast's, shot by shot; a solver that lost frames has not solved the shot."""
    rows = []
    for shot, peers in by_shot([r for r in results if not r["real"]]).items():
        if "holdfast" not in peers or not any(p in peers for p in OTHERS):
            continue
        mine = peers["holdfast"]
        own, best = mine["measures"].get("slip_rms_px"), best_other(peers)

        def other(name: str, peers: dict[str, dict] = peers) -> str:
            if name not in peers:
                return "not run"
            r = peers[name]
            m = r["measures"]
            if not m["registered"]:
                return "stopped" if r["note"].startswith("stopped") else "no camera"
            frames = "" if summaries.all_registered(r) else f" ({m['registered']}/{m['frames']})"
            return number(m.get("slip_rms_px")) + frames

        speed = peers["colmap"]["wall_s"] / mine["wall_s"] if "colmap" in peers else None
        more = ">" if speed and peers["colmap"]["note"].startswith("stopped") else ""
        rows.append(
            [
                shot,
                number(own),
                *map(other, OTHERS),
                summaries.times(best[1] / own if best and own else None),
                more + number(speed, "{:.0f}") if speed else "–",
            ]
        )
    heads = (
        "shot",
        "Holdfast slip px",
        *(f"{name} (frames)" for name in OTHERS),
        "times better than the best",
        "times faster than COLMAP incremental",
    )
    return ["", "## Against other solvers", "", *table(heads, rows)] if rows else []
