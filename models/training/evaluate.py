"""Measures depth networks on real RGB-D frames and on rendered shots they never saw, beside trivial guesses.

    python -m models.training.evaluate --clips DIR [--networks ID_OR_PATH …] [--json FILE]

DIR holds what `clips/` of the project's shared data holds: NAME.mp4 with NAME.depth.npz (metres, keyed by frame), and real/
with NAME.mp4 and NAME.depth/NNNNN.png (16-bit millimetres, 0 unknown). Networks are run by the solver's own code.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import cv2
import numpy as np

from solver.depth import open_depth_source

from .metrics import frame_scores, tilted_plane

RENDERED_FAR_M = 80.0  # beyond it a rendered pixel counts as sky


def _frames_of(movie: Path, wanted: set[int]) -> dict[int, np.ndarray]:
    capture = cv2.VideoCapture(str(movie))
    frames, index = {}, 0
    while index <= max(wanted):
        ok, image = capture.read()
        if not ok:
            break
        if index in wanted:
            frames[index] = image
        index += 1
    return frames


def _known(z: np.ndarray) -> np.ndarray:
    """Depth in metres with 0 for the sky: what is infinite or far, or the smallest value where that fills the sky."""
    nearest = z == z.min()
    sky = nearest if nearest.mean() > 0.01 else np.zeros_like(nearest)
    return np.where(np.isfinite(z) & (z < RENDERED_FAR_M) & ~sky, z, 0)


def load_clips(folder: Path) -> dict[str, list[tuple[np.ndarray, np.ndarray]]]:
    """{clip: [(BGR image, depth in metres with 0 for unknown)]}; real clips are called real/NAME."""
    clips = {}
    for depths in sorted(folder.glob("real/*.depth")):
        maps = {
            int(p.stem): cv2.imread(str(p), cv2.IMREAD_UNCHANGED).astype(np.float32) / 1000 for p in sorted(depths.glob("*.png"))
        }
        frames = _frames_of(depths.with_suffix(".mp4"), set(maps))
        clips[f"real/{depths.stem}"] = [(frames[k], maps[k]) for k in maps if k in frames]
    for stored in sorted(folder.glob("*.depth.npz")):
        with np.load(stored) as maps:
            truth = {int(k): maps[k].astype(np.float32) for k in maps.files}
        frames = _frames_of(folder / (stored.name.removesuffix(".depth.npz") + ".mp4"), set(truth))
        clips[stored.name.removesuffix(".depth.npz")] = [(frames[k], _known(z)) for k, z in truth.items() if k in frames]
    return clips


def predict(source, image: np.ndarray, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray | None]:
    """(disparity, confidence) at the truth's size."""
    result = source.predict(0, image)
    values = result.values if result.kind == "disparity" else 1.0 / np.maximum(result.values, 1e-3)
    values = np.nan_to_num(values, nan=float(np.nanmedian(values)))
    confidence = result.confidence
    return (
        cv2.resize(values, shape[::-1], interpolation=cv2.INTER_LINEAR),
        None if confidence is None else cv2.resize(confidence, shape[::-1], interpolation=cv2.INTER_LINEAR),
    )


def measure(clips: dict, name: str, source) -> dict[str, dict[str, float]]:
    """{clip: mean scores}; source None: the trivial guesses "constant" and "tilted plane" by name."""
    results = {}
    for clip, frames in clips.items():
        scores, seconds = [], 0.0
        for image, truth in frames:
            valid = truth > 0
            if valid.mean() < 0.05:
                continue
            started = time.perf_counter()
            if source is None:
                prediction, confidence = (tilted_plane(truth.shape) if name == "tilted plane" else np.zeros(truth.shape)), None
            else:
                prediction, confidence = predict(source, image, truth.shape)
            seconds += time.perf_counter() - started
            scores.append(frame_scores(prediction, truth, valid, confidence, np.random.default_rng(len(scores))))
        if scores:
            results[clip] = {k: round(float(np.nanmean([s[k] for s in scores])), 4) for k in scores[0]}
            results[clip]["ms"] = round(1000 * seconds / len(scores), 1)
    for group, members in (
        ("all real", [c for c in results if c.startswith("real/")]),
        ("all rendered", [c for c in results if not c.startswith("real/")]),
    ):
        if members:
            results[group] = {k: round(float(np.nanmean([results[c][k] for c in members])), 4) for k in results[members[0]]}
    return results


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=Path, required=True)
    parser.add_argument("--networks", nargs="*", default=["holdfast-small"])
    parser.add_argument("--only", choices=["real", "rendered"])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    clips = load_clips(args.clips)
    if args.only:
        clips = {k: v for k, v in clips.items() if k.startswith("real/") == (args.only == "real")}
    table = {name: measure(clips, name, None) for name in ("constant", "tilted plane")}
    for network in args.networks:
        source = open_depth_source(network, None, "cpu", args.threads)
        table[source.name if source.name not in table else network] = measure(clips, network, source)
    for clip in next(iter(table.values())):
        print(f"\n{clip}")
        for name, results in table.items():
            print(f"  {name:20s} " + "  ".join(f"{k} {v:.3f}" for k, v in results[clip].items()))
    if args.json:
        args.json.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
