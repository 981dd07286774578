"""Pictures of a bench: accuracy over baseline, time by stage, and the paths against the truth."""

from __future__ import annotations

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

from tests.bench import metrics


def draw_all(results: list[dict], out: Path) -> list[Path]:
    """Draw every plot that the results allow; returns the files."""
    return [p for p in (_slip_over_baseline(results, out), _time_by_stage(results, out), *_paths(results, out)) if p]


def _save(figure: plt.Figure, path: Path) -> Path:
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)
    return path


def _slip_over_baseline(results: list[dict], out: Path) -> Path | None:
    figure, axes = plt.subplots(figsize=(9, 5.5))
    drawn = False
    for k, peer in enumerate(dict.fromkeys(r["peer"] for r in results)):
        mine = [r for r in results if r["peer"] == peer and r["measures"].get("slip_rms_px") is not None]
        if not mine:
            continue
        drawn = True
        x = [max(r["baseline_over_depth_pct"], 0.05) for r in mine]
        y = [max(r["measures"]["slip_rms_px"], 1e-4) for r in mine]
        axes.scatter(x, y, label=peer, marker="osD^vPX*"[k % 8], s=45, alpha=0.8)
        if k == 0:
            for xi, yi, r in zip(x, y, mine):
                axes.annotate(r["shot"], (xi, yi), fontsize=7, xytext=(4, 4), textcoords="offset points")
    if not drawn:
        plt.close(figure)
        return None
    axes.axhline(0.15, color="grey", lw=0.8, ls="--")
    axes.text(0.05, 0.16, "0.15 px", fontsize=8, color="grey")
    axes.set(xscale="log", yscale="log", xlabel="baseline / scene depth, % (0.05: none)", ylabel="prop slip RMS, px at 1920 wide")
    axes.legend(fontsize=8)
    axes.grid(alpha=0.25)
    return _save(figure, out / "slip_over_baseline.png")


def _time_by_stage(results: list[dict], out: Path) -> Path | None:
    mine = [r for r in results if r["stages_s"]]
    if not mine:
        return None
    stages = list(dict.fromkeys(stage for r in mine for stage in r["stages_s"]))
    figure, axes = plt.subplots(figsize=(9, 0.8 + 0.26 * len(mine)))
    left = np.zeros(len(mine))
    for k, stage in enumerate(stages):
        width = np.array([r["stages_s"].get(stage, 0.0) / r["duration_s"] for r in mine])
        axes.barh(range(len(mine)), width, left=left, label=stage, color=plt.cm.tab20(k % 20))
        left += width
    axes.set_yticks(range(len(mine)), [f"{r['shot']}, {r['peer']}" for r in mine], fontsize=7)
    axes.invert_yaxis()
    axes.set_xlabel("time over the clip's duration")
    axes.legend(fontsize=7, ncols=6, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    return _save(figure, out / "time_by_stage.png")


def _paths(results: list[dict], out: Path) -> list[Path]:
    """One picture per shot: every peer's path, aligned, over the true one, from above and from the side."""
    drawn = []
    for shot in dict.fromkeys(r["shot"] for r in results):
        mine = [r for r in results if r["shot"] == shot and r["measures"].get("rotation_rms_deg") is not None and "truth" in r]
        if not mine:
            continue
        truth = metrics.load_truth(Path(mine[0]["truth"]))
        g = np.array([truth.c2w[k][:3, 3] for k in sorted(truth.c2w)])
        if np.ptp(g, axis=0).max() < 1e-9:
            continue
        figure, (top, side) = plt.subplots(1, 2, figsize=(10, 4.2))
        for axes, (i, j) in ((top, (0, 1)), (side, (0, 2))):
            axes.plot(g[:, i], g[:, j], "k-", lw=3, alpha=0.3, label="truth")
            for r in mine:
                estimate = metrics.load_cameras(Path(r["solve"]) / "solve.json")
                frames = sorted(set(truth.c2w) & set(estimate.c2w))
                e = np.array([estimate.c2w[k] for k in frames])
                t = np.array([truth.c2w[k] for k in frames])
                turn = metrics.mean_rotation(t[:, :3, :3], e[:, :3, :3])
                centred = (e[:, :3, 3] - e[:, :3, 3].mean(0)) @ turn.T
                gc = t[:, :3, 3] - t[:, :3, 3].mean(0)
                scale = (centred * gc).sum() / max((centred**2).sum(), 1e-18)
                p = scale * centred + t[:, :3, 3].mean(0)
                axes.plot(p[:, i], p[:, j], lw=1, label=r["peer"])
            axes.set(xlabel="x, m", ylabel="xyz"[j] + ", m")
            axes.grid(alpha=0.2)
        top.legend(fontsize=7)
        figure.suptitle(f"{shot}: path from above and from the side")
        drawn.append(_save(figure, out / f"path_{shot.replace('/', '-')}.png"))
    return drawn
