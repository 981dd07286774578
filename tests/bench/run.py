"""The bench: every kind of shot, every peer, one table, one JSON, plots. Started by `build.py bench`.

    build.py bench                                      Holdfast on every kind, at 1280x720
    build.py bench --quick                              small and short shots: minutes, not hours
    build.py bench --shots orbit,truck --peers holdfast,colmap,colmap-global,blender,holdfast-none
    build.py bench --peers holdfast,holdfast:PATH.onnx  another depth network

Shots: the kinds of tests/bench/shots.py (rendered once into .cache/bench), `clips` for ../shared/clips, `real` for real footage,
or paths of movies with a .gt.json beside them. Results: out/bench/table.md, results.json, *.png.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

from tests.bench import metrics, peers, tables
from tests.bench.shots import KINDS, ROOT, Shot, ensure_shot, mask_folder

CLIPS = ROOT.parent / "shared" / "clips"
VERDICT_KEYS = ("status", "motion", "focal", "focal_range_px", "distortion", "depth", "error_px", "summary")
FULL, QUICK = ((1280, 720), 72), ((640, 360), 48)


def choose_shots(names: list[str], size: tuple[int, int], count: int, seed: int) -> list[Shot]:
    """The shots asked for, rendering what is missing. Raises SystemExit with one line for a name that means nothing."""
    chosen: list[Shot] = []
    for name in names:
        if name in KINDS:
            chosen.append(ensure_shot(name, size, count, seed, lambda text: print("  " + text, flush=True)))
        elif name in ("clips", "real"):
            folder = CLIPS if name == "clips" else CLIPS / "real"
            if not folder.is_dir():
                print(f"  {folder} is not there: left out")
            chosen += [_from_movie(m) for m in sorted(folder.glob("*.mp4")) if m.with_suffix(".gt.json").exists()]
        elif Path(name).with_suffix(".gt.json").exists() and Path(name).exists():
            chosen.append(_from_movie(Path(name)))
        else:
            sys.exit(f"bench: there is no shot '{name}'. Shots: {', '.join(KINDS)}, clips, real, or a movie beside its .gt.json.")
    return chosen


def _from_movie(movie: Path) -> Shot:
    prefix = {"clips": "clips/", "real": "real/"}.get(movie.parent.name, "")
    return Shot(prefix + movie.stem, movie.resolve(), movie.resolve().with_suffix(".gt.json"))


def run_one(peer: str, shot: Shot, out: Path, solver_root: Path = ROOT) -> dict:
    """Solve and score; a plain dict for the table and the JSON."""
    truth = metrics.load_truth(shot.truth)
    folder = out / "solves" / f"{shot.name.replace('/', '-')}.{peers.short_name(peer).replace(':', '-')}"
    run = peers.solve(peer, shot.name, shot.movie, folder, mask_folder(shot) if peer == "holdfast-mask" else None, solver_root)
    scored = (
        metrics.score(truth, run.cameras) if run.cameras else {"frames": len(truth.c2w), "registered": 0, "registered_pct": 0.0}
    )
    duration_s = len(truth.c2w) / float(truth.info.get("fps", 24))
    verdict = run.solve.get("verdict", {})
    return {
        "shot": shot.name, "title": shot.title, "peer": peers.short_name(peer), "peer_title": peers.find_peer(peer).title,
        "note": run.note,
        "baseline_over_depth_pct": tables.baseline_pct(truth), "duration_s": duration_s,
        "wall_s": run.wall_s, "wall_over_duration": run.wall_s / duration_s, "peak_mb": run.peak_mb, "stages_s": run.stages_s,
        "verdict": {k: verdict.get(k) for k in VERDICT_KEYS},
        "limit_px": shot.kind.slip_limit_px if shot.kind else None,
        "focal_determined": shot.kind.focal_determined if shot.kind else None,
        "small_baseline": shot.kind.small_baseline if shot.kind else tables.baseline_pct(truth) < 4.0,
        "expected_motion": shot.kind.motion if shot.kind else None,
        "measures": scored, "solve": str(folder), "truth": str(shot.truth),
    }  # fmt: skip


def main(argv: list[str]) -> int:
    """Run the bench; 0 unless an argument is wrong."""
    parser = argparse.ArgumentParser(
        prog="build.py bench", formatter_class=argparse.RawDescriptionHelpFormatter, description=__doc__
    )
    parser.add_argument("--shots", default=",".join(KINDS), help="comma-separated")
    parser.add_argument(
        "--peers", default="holdfast", help="comma-separated: " + ", ".join(peers.PEERS) + ", holdfast:NETWORK, all"
    )
    parser.add_argument("--quick", action="store_true", help="640x360, 48 frames")
    parser.add_argument("--size", help="of our own shots, such as 960x540")
    parser.add_argument("--frames", type=int, help="of our own shots")
    parser.add_argument("--seed", type=int, default=1, help="another set of the same kinds")
    parser.add_argument("--out", type=Path, default=ROOT / "out" / "bench")
    parser.add_argument("--solver", type=Path, default=ROOT, help="checkout whose solver to measure (default: this one)")
    parser.add_argument("--no-plots", action="store_true")
    options = parser.parse_args(argv)
    size, count = QUICK if options.quick else FULL
    if options.size:
        size = tuple(map(int, options.size.split("x")))
    count = options.frames or count
    names = [n for n in options.shots.split(",") if n]
    chosen_peers = [p for p in (options.peers if options.peers != "all" else ",".join(peers.PEERS)).split(",") if p]
    for name in chosen_peers:
        try:
            peers.find_peer(name)
        except KeyError:
            sys.exit(f"bench: there is no peer '{name}'. Peers: {', '.join(peers.PEERS)}, holdfast:NETWORK.")
    options.out = options.out.resolve()
    options.out.mkdir(parents=True, exist_ok=True)
    results: list[dict] = []
    started = time.monotonic()
    for name in names:
        for shot in choose_shots([name], size, count, options.seed):
            for peer in chosen_peers:
                if peer == "holdfast-mask" and mask_folder(shot) is None:
                    continue
                result = run_one(peer, shot, options.out, options.solver.resolve())
                results.append(result)
                print(f"[{time.monotonic() - started:6.0f} s] {tables.one_line(result)}", flush=True)
                _write(options.out, results)
    print()
    print(tables.report(results))
    if not options.no_plots and results:
        from tests.bench import plots

        for path in plots.draw_all(results, options.out):
            print(f"plot: {path}")
    print(f"table: {options.out / 'table.md'}\njson:  {options.out / 'results.json'}")
    return 0


def _write(out: Path, results: list[dict]) -> None:
    """After every solve, so that a bench cut short has its figures."""
    (out / "results.json").write_text(json.dumps(results, indent=1))
    (out / "table.md").write_text(tables.report(results) + "\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
