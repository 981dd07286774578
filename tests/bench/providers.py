"""Measures depth networks on every ONNX Runtime provider of this machine: time, and how far the depth differs from the CPU's.

    python -m tests.bench.providers --clip FILE [--networks ID_OR_PATH …] [--json FILE] [--solve]

One row per network and provider: seconds until the first picture is done (loading, warm-up), milliseconds a picture one at a
time and in batches, each the median of several rounds over the clip's first frames; the largest difference of the depth from
the CPU's, in % of the CPU's spread. --solve also solves the clip on each, once to warm the disk and once for the clock.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np

from solver.depth import predict_all
from solver.depth_network import NetworkSource
from solver.models_registry import resolve_network

FRAMES = 32
ROUNDS = 5


def first_frames(clip: Path, count: int) -> list[tuple[int, np.ndarray]]:
    """[(frame, BGR)] of the clip's beginning."""
    capture, frames = cv2.VideoCapture(str(clip)), []
    while len(frames) < count:
        ok, image = capture.read()
        if not ok:
            break
        frames.append((len(frames), image))
    if not frames:
        raise SystemExit(f"No picture can be read from {clip}.")
    return frames


def _median_ms(source: NetworkSource, frames: list[tuple[int, np.ndarray]], batch_size: int) -> float:
    source.batch_size, took = batch_size, []
    for _ in range(ROUNDS + 1):
        began = time.perf_counter()
        for _ in predict_all(source, frames):
            pass
        took.append(1000 * (time.perf_counter() - began) / len(frames))
    return statistics.median(took[1:])  # the first round compiles for the size of the batch


def measure(network: str, device: str, frames: list[tuple[int, np.ndarray]], threads: int) -> tuple[dict, list[np.ndarray]]:
    """(row of the table, depth of every frame) of one network on one device (cpu | cuda | auto)."""
    spec, path = resolve_network(network)
    began = time.perf_counter()
    source = NetworkSource(spec, path, device=device, threads=threads)
    source.predict(*frames[0])
    loading_s = time.perf_counter() - began
    batch = source.batch_size
    row = {
        "network": spec.id,
        "provider": source.provider.removesuffix("ExecutionProvider"),
        "first_s": round(loading_s, 2),
        "ms": round(_median_ms(source, frames, 1), 2),
        "batch": batch,
        "ms_in_batches": round(_median_ms(source, frames, batch), 2) if batch > 1 else None,
        "note": source.fallback or "",
    }
    return row, [depth.values for _, depth in predict_all(source, frames)]


def largest_difference(depths: list[np.ndarray], reference: list[np.ndarray]) -> float:
    """Largest absolute difference over all frames, in % of the standard deviation of the frame's reference."""
    return max(100 * float(np.nanmax(np.abs(a - b)) / np.nanstd(b)) for a, b in zip(depths, reference, strict=True))


def solve_times(clip: Path, network: str, devices: list[str], qualities: list[str]) -> list[dict]:
    """Wall time, its depth stage and the provider of a solve in a process of its own; the second of two runs."""
    rows = []
    for quality in qualities:
        for device in devices:
            for _ in range(2):
                with tempfile.TemporaryDirectory() as out:
                    command = [sys.executable, "-m", "solver", "solve", str(clip), "--out", out, "--quality", quality]
                    began = time.perf_counter()
                    run = subprocess.run(
                        [*command, "--device", device, "--depth-model", network], capture_output=True, text=True, check=False
                    )
                    wall_s = time.perf_counter() - began
                    if run.returncode:
                        raise SystemExit(run.stderr or run.stdout)
                    found = json.loads((Path(out) / "solve.json").read_text(encoding="utf-8"))
            rows.append(
                {
                    "quality": quality,
                    "device": device,
                    "wall_s": round(wall_s, 2),
                    "provider": found.get("depth", {}).get("provider"),
                    "timings": found.get("timings", {}),
                }
            )
    return rows


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clip", type=Path, required=True)
    parser.add_argument("--networks", nargs="*", default=["holdfast-small"])
    parser.add_argument("--devices", nargs="*", default=["cpu", "auto"], choices=["cpu", "auto", "cuda"])
    parser.add_argument("--threads", type=int, default=0, help="on the CPU; 0: one per core")
    parser.add_argument("--solve", action="store_true")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    frames = first_frames(args.clip, FRAMES)
    rows = []
    for network in args.networks:
        reference = None
        for device in args.devices:
            row, depths = measure(network, device, frames, args.threads)
            reference = depths if reference is None else reference
            row["difference_percent"] = round(largest_difference(depths, reference), 3)
            rows.append(row)
            print("  ".join(f"{key} {value}" for key, value in row.items()), flush=True)
    table: dict = {"networks": rows}
    if args.solve:
        table["solves"] = solve_times(args.clip, args.networks[0], args.devices, ["draft", "standard"])
        for row in table["solves"]:
            print("  ".join(f"{key} {value}" for key, value in row.items()), flush=True)
    if args.json:
        args.json.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
