"""Pictures of a bench: accuracy over baseline, what depth is worth, time by stage, and the paths against the truth."""

from __future__ import annotations

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import matplotlib.ticker
import numpy as np

from tests.bench import metrics, summaries

MARKERS = "osD^vPX*<>hd"
NO_BASELINE_PCT = 0.05  # where shots without any are drawn
LEAST_SLIP_PX = 5e-3  # and those without slip


def draw_all(results: list[dict], out: Path) -> list[Path]:
    """Draw every plot that the results allow; returns the files."""
    exact = [r for r in results if not r["real"]]
    drawn = [
        _slip_over_baseline([r for r in exact if not summaries.is_variant(r["peer"])], out),
        _worth_of_depth(exact, out),
        _time_by_stage([r for r in results if r["peer"] in summaries.OWN], out / "time_by_stage.png"),
        _time_by_stage([r for r in results if r["peer"] in summaries.OTHERS], out / "time_by_stage_others.png"),
        *_paths(results, out),
    ]
    return [path for path in drawn if path]


def _save(figure: plt.Figure, path: Path) -> Path:
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)
    return path


def _baseline(result: dict) -> float:
    return max(result["baseline_over_depth_pct"] or 0.0, NO_BASELINE_PCT)


def _slip_over_baseline(results: list[dict], out: Path) -> Path | None:
    """Each shot is a column: its solvers above one another, its name once, on top."""
    shots = summaries.by_shot([r for r in results if r["measures"].get("slip_rms_px") is not None])
    if not shots:
        return None
    order = sorted(shots, key=lambda s: (_baseline(next(iter(shots[s].values()))), s))
    figure, axes = plt.subplots(figsize=(max(7.0, 0.42 * len(order) + 2.5), 6))
    axes.set_yscale("log")
    for k, peer in enumerate(dict.fromkeys(r["peer"] for r in results)):
        mine = [(i, shots[s][peer]) for i, s in enumerate(order) if peer in shots[s]]
        for whole in (True, False):
            at = [(i, max(r["measures"]["slip_rms_px"], LEAST_SLIP_PX)) for i, r in mine if summaries.all_registered(r) == whole]
            if at:
                name = peer + ("" if whole else ", frames lost")
                face = f"C{k % 10}" if whole else "none"
                axes.scatter(
                    *zip(*at), label=name, marker=MARKERS[k % len(MARKERS)], s=48, facecolors=face, edgecolors=f"C{k % 10}"
                )
    axes.axhline(0.15, color="grey", lw=0.8, ls="--")
    axes.axhline(0.06, color="grey", lw=0.8, ls=":")
    for value, meaning in ((0.15, "limit 0.15"), (0.06, "median 0.06")):
        axes.annotate(
            meaning, (len(order) + 1.1, value), xytext=(0, 2), textcoords="offset points", fontsize=8, color="grey", ha="right"
        )
    names = [f"{s}  {_baseline(next(iter(shots[s].values()))):.1f} %" for s in order]
    axes.set_xticks(
        range(len(order)), [n.replace(f"{NO_BASELINE_PCT:.1f} %", "0 %") for n in names], rotation=60, ha="right", fontsize=8
    )
    axes.yaxis.set_major_formatter(matplotlib.ticker.FormatStrFormatter("%g"))
    axes.yaxis.set_minor_formatter(matplotlib.ticker.NullFormatter())
    axes.set(ylabel="prop slip RMS, px at 1920 wide", xlim=(-0.6, len(order) + 1.2))
    axes.set_title("Slip by shot, in order of baseline over the scene's depth", fontsize=10)
    axes.legend(fontsize=8, ncols=4, loc="lower center", bbox_to_anchor=(0.5, 1.06))
    axes.grid(alpha=0.25)
    return _save(figure, out / "slip_over_baseline.png")


def _worth_of_depth(results: list[dict], out: Path) -> Path | None:
    """Errors of each variant over those of full Holdfast, over the baseline; arrows up for shots that are lost."""
    shots = {
        s: v
        for s, v in summaries.by_shot(results).items()
        if "holdfast" in v and v["holdfast"]["baseline_over_depth_pct"] and summaries.held(v["holdfast"])
    }
    names = list(dict.fromkeys(p for v in shots.values() for p in v if summaries.is_variant(p)))
    if not names:
        return None
    shown = [(h, k) for h, k in summaries.CLAIMED if k in ("ate_pct_depth", "rotation_rms_deg", "focal_error_pct", "slip_rms_px")]
    figure, rows = plt.subplots(2, 2, figsize=(12, 8), sharex=True)
    top = 8.0
    for axes, (head, key) in zip(rows.ravel(), shown):
        for k, name in enumerate(names):
            for v in shots.values():
                ratio = summaries.ratios([(v[name], v["holdfast"])], key) if name in v else ()
                if not len(ratio):
                    continue
                gone = summaries.lost(v[name], v["holdfast"])
                x = _baseline(v["holdfast"]) * 1.05 ** (k - (len(names) - 1) / 2)
                axes.plot(
                    x,
                    top if gone else np.clip(ratio[0], 1 / top, top),
                    "^" if gone else MARKERS[k % len(MARKERS)],
                    color=f"C{k}",
                    ms=8 if gone else 6,
                    mfc="none" if gone else f"C{k}",
                )
        axes.axhline(1, color="grey", lw=0.8)
        axes.axvline(summaries.SMALL_BASELINE_PCT, color="grey", lw=0.8, ls=":")
        axes.set(xscale="log", yscale="log", title=f"{head}: error over full Holdfast's", ylim=(1 / top / 1.15, top * 1.15))
        axes.set_yticks([0.125, 0.25, 0.5, 1, 2, 4, 8], ["1/8", "1/4", "1/2", "1", "2", "4", "8"])
        axes.minorticks_off()
        axes.grid(alpha=0.25)
    for axes in rows[1]:
        axes.set_xticks([0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50], ["0.1", "0.2", "0.5", "1", "2", "5", "10", "20", "50"])
        axes.set_xlabel("baseline over the scene's depth, %")
    handles = [plt.Line2D([], [], color=f"C{k}", marker=MARKERS[k % len(MARKERS)], ls="", label=n) for k, n in enumerate(names)]
    handles.append(plt.Line2D([], [], color="grey", marker="^", mfc="none", ls="", label="shot lost"))
    figure.legend(handles=handles, loc="upper center", ncols=min(6, len(handles)), fontsize=9, bbox_to_anchor=(0.5, 1.05))
    figure.tight_layout()
    path = out / "worth_of_depth.png"
    figure.savefig(path, dpi=110, bbox_inches="tight")
    plt.close(figure)
    return path


def _time_by_stage(results: list[dict], path: Path) -> Path | None:
    mine = [r for r in results if r["stages_s"]]
    if not mine:
        return None
    stages = list(dict.fromkeys(stage for r in mine for stage in r["stages_s"]))
    figure, axes = plt.subplots(figsize=(9, 1.6 + 0.24 * len(mine)))
    left = np.zeros(len(mine))
    for k, stage in enumerate(stages):
        width = np.array([r["stages_s"].get(stage, 0.0) / r["duration_s"] for r in mine])
        axes.barh(range(len(mine)), width, left=left, label=stage, color=plt.cm.tab10(k % 10))
        left += width
    several = len({r["peer"] for r in mine}) > 1
    axes.set_yticks(range(len(mine)), [f"{r['shot']}, {r['peer']}" if several else r["shot"] for r in mine], fontsize=7)
    axes.set_ylim(len(mine) - 0.4, -0.6)
    axes.set_xlabel("time over the clip's duration")
    axes.grid(axis="x", alpha=0.25)
    axes.legend(fontsize=7, ncols=len(stages), loc="lower left", bbox_to_anchor=(0, 1.0))
    return _save(figure, path)


def _paths(results: list[dict], out: Path) -> list[Path]:
    """One picture per shot: every peer's path, aligned, over the true one, from above and from the side."""
    drawn = []
    for shot, peers in summaries.by_shot(results).items():
        mine = [
            r for r in peers.values() if r["measures"].get("rotation_rms_deg") is not None and not summaries.is_variant(r["peer"])
        ]
        gone = [f for r in mine for f in (Path(r["truth"]), Path(r["solve"]) / "solve.json") if not f.is_file()]
        if gone:  # results of an earlier run that were added to
            print(f"plot: no path of {shot}, {gone[0]} is not there any more")
        if not mine or gone:
            continue
        truth = metrics.load_truth(Path(mine[0]["truth"]))
        g = np.array([truth.c2w[k][:3, 3] for k in sorted(truth.c2w)])
        if np.ptp(g, axis=0).max() < 1e-9:
            continue
        figure, both = plt.subplots(1, 2, figsize=(10.5, 4.4))
        span = 0.62 * float(np.ptp(g, axis=0).max())
        name = "reference" if mine[0]["real"] else "truth"
        along = int(np.argmax(np.ptp(g[:, :2], axis=0)))
        for axes, (i, j) in zip(both, ((0, 1), (along, 2))):
            axes.plot(g[:, i], g[:, j], "k-", lw=4, alpha=0.25, label=name)
            for k, r in enumerate(mine):
                p = _aligned(truth, metrics.load_cameras(Path(r["solve"]) / "solve.json"))
                axes.plot(p[:, i], p[:, j], lw=1.1, color=f"C{k}", label=r["peer"])
            # a path that is far off must not squeeze the others
            middle = [0.5 * (g[:, c].min() + g[:, c].max()) for c in (i, j)]
            axes.set(xlim=(middle[0] - span, middle[0] + span), ylim=(middle[1] - span, middle[1] + span))
            axes.set(xlabel="xyz"[i] + ", m", ylabel="xyz"[j] + ", m", aspect="equal")
            axes.tick_params(labelsize=8)
            axes.grid(alpha=0.2)
        both[1].legend(fontsize=8, loc="upper left", bbox_to_anchor=(1.02, 1.0))
        figure.suptitle(f"{shot}: path from above and from the side")
        drawn.append(_save(figure, out / f"path_{shot.replace('/', '-')}.png"))
    return drawn


def _aligned(truth: metrics.Truth, estimate: metrics.Cameras) -> np.ndarray:
    """Positions (F, 3) of a solve's cameras in the truth's world, by their orientations and one scale."""
    frames = sorted(set(truth.c2w) & set(estimate.c2w))
    e = np.array([estimate.c2w[k] for k in frames])
    t = np.array([truth.c2w[k] for k in frames])
    turn = metrics.mean_rotation(t[:, :3, :3], e[:, :3, :3])
    centred = (e[:, :3, 3] - e[:, :3, 3].mean(0)) @ turn.T
    middle = t[:, :3, 3].mean(0)
    scale = (centred * (t[:, :3, 3] - middle)).sum() / max((centred**2).sum(), 1e-18)
    return scale * centred + middle
