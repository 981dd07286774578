"""The bench: every kind of shot, every peer, one table, one JSON, plots. Started by `build.py bench`.

    build.py bench                                      Holdfast on every kind, at 1280x720, and on the clips of ../shared/clips
    build.py bench --quick                              small and short shots: minutes, not hours
    build.py bench --shots orbit,truck --peers holdfast,colmap,colmap-global,blender,holdfast-none
    build.py bench --peers holdfast,holdfast-net:PATH.onnx      another depth network
    build.py bench --add --peers colmap --time-limit 600        more peers into the results that are there

Shots: the kinds of tests/bench/shots.py (rendered once into .cache/bench), `clips` and `real` for the rendered and the real
clips of the clips' folder, `sweep` for one dolly at many lengths; any by name (clips/truck, real/kitchen, dolly_0.4); or a
movie's path, with or without a .gt.json beside it. NAME+noise, +dark, +small, +half, +back, +upright, +flicker, +focus, +soft,
+black, +slate: the shot treated so (tests/bench/worn.py); NAME+worn: in all these ways. actors+shallow, +wide_open, +pull_in,
+pull_out: with the focus on people, or pulled (tests/bench/layers.py). real/NAME+phone_stand, +phone_walk, +phone_pan,
+phone_turn: a still of it, filmed by a phone (tests/bench/phone.py).
Results: out/bench/table.md, results.json, *.png.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

from tests.bench import metrics, own_tracks, peers, phone, tables, worn
from tests.bench.footage import CLIPS, clips_in, length_of, own_movie, without_exact_points
from tests.bench.layers import FOCUS
from tests.bench.shots import ALL_KINDS, CACHE, KINDS, MIXED, ROOT, SWEEP, Shot, mask_folder, rendered_apart

VERDICT_KEYS = ("status", "motion", "focal", "focal_range_px", "distortion", "depth", "error_px", "summary")
FULL, QUICK = ((1280, 720), 72), ((640, 360), 48)


def choose_shots(name: str, size: tuple[int, int], count: int, seed: int, folder: Path) -> list[Shot]:
    """The shots that a name stands for, rendering what is missing. Raises SystemExit with one line for a name of nothing."""
    if "+" in name and not Path(name).is_file():
        name, _, how = name.partition("+")
        return worn_shots(choose_shots(name, size, count, seed, folder), how)
    groups = {"sweep": SWEEP, "mixed": MIXED}
    if name in ALL_KINDS or name in groups:
        wanted = [name] if name in ALL_KINDS else [*groups[name]]
        return [rendered_apart(kind, size, count, seed, lambda text: print("  " + text, flush=True)) for kind in wanted]
    if name in ("clips", "real") or name.startswith(("clips/", "real/")):
        there = clips_in(folder)
        found = [s for s in there if s.name == name or s.name.startswith(name + "/")]
        if not found and "/" in name:
            sys.exit(f"bench: there is no clip {name} in {folder}. Clips: {', '.join(s.name for s in there) or 'none'}.")
        if not found:
            print(f"  no {name} in {folder}: left out")
        return found
    if Path(name).is_file():
        return [own_movie(Path(name))]
    known = f"{', '.join(KINDS)}, sweep, mixed, clips, real, clips/NAME, real/NAME, or a movie"
    sys.exit(f"bench: there is no shot '{name}'. Shots: {known}.")


def worn_shots(shots: list[Shot], how: str) -> list[Shot]:
    """The shots under a treatment, or under all of them (`worn`)."""
    if how != "worn" and how not in (known := (*worn.TREATMENTS, *FOCUS, *phone.MOVES)):
        sys.exit(f"bench: there is no treatment '{how}'. Treatments: {', '.join(known)}, worn (noise to slate).")
    out = []
    for shot in shots:
        for one in worn.TREATMENTS if how == "worn" else (how,):
            try:
                out.append(worn.treated(shot, one, lambda text: print(text, flush=True)))
            except ValueError as error:
                print(f"  left out: {error}")
    return out


def run_one(peer: str, shot: Shot, out: Path, solver_root: Path = ROOT, time_limit_s: float = peers.TIME_LIMIT_S) -> dict:
    """Solve and score; a plain dict for the table and the JSON."""
    truth = metrics.load_truth(shot.truth) if shot.truth else None
    if truth and shot.real:
        truth = without_exact_points(truth)
    plain = shot.name.replace("/", "-")
    folder = out / "solves" / f"{plain}.{peers.short_name(peer).replace(':', '-')}"
    mask = mask_folder(shot) if peer == "holdfast-mask" else None
    run = peers.solve(peer, shot.name, shot.movie, folder, mask, solver_root, time_limit_s, out / "stores" / plain)
    frames, fps = length_of(shot.movie)
    if truth:
        frames, fps = len(truth.c2w), float(truth.info.get("fps", fps))
    own = own_tracks.tracks_of(shot.movie, CACHE / "tracks")
    scored: dict = {"frames": frames, "registered": 0, "registered_pct": 0.0}
    if run.cameras:
        known = len(run.cameras.c2w)
        scored |= {"registered": known, "registered_pct": 100.0 * known / max(frames, 1)}
        scored |= (metrics.score(truth, run.cameras) if truth else {}) | own_tracks.score(own, run.cameras)
    verdict = run.solve.get("verdict", {})
    return {
        "shot": shot.name, "title": shot.title, "peer": peers.short_name(peer), "peer_title": peers.find_peer(peer).title,
        "note": run.note, "real": shot.real, "size": [own.width, own.height],
        "baseline_over_depth_pct": tables.baseline_pct(truth) if truth else None,
        "duration_s": frames / fps, "wall_s": run.wall_s, "wall_over_duration": run.wall_s * fps / frames,
        "peak_mb": run.peak_mb, "stages_s": run.stages_s,
        "verdict": {k: verdict.get(k) for k in VERDICT_KEYS},
        "limit_px": shot.kind.slip_limit_px if shot.kind else None,
        "focal_determined": shot.kind.focal_determined if shot.kind else None,
        "true_focal_px": true_focal(truth, run.cameras, verdict.get("focal_range_px")) if truth else None,
        "expected_motion": shot.kind.motion if shot.kind else None,
        "measures": scored, "solve": str(folder), "truth": str(shot.truth) if shot.truth else None,
    }  # fmt: skip


def true_focal(truth: metrics.Truth, solved: metrics.Cameras | None, span: list | None) -> float:
    """The true focal length (px) that a verdict's range is about.

    A zoom's range is that of one frame, which the verdict does not name: of the frames whose solved focal length lies in it, the
    one is taken whose true one lies nearest. Without a range it is the middle frame's.
    """
    frames = sorted(truth.intrinsics)
    known = span and all(isinstance(x, (int, float)) for x in span) and solved is not None
    if known:
        there = {f: solved.intrinsics[f][0] * truth.width / solved.width for f in frames if f in solved.intrinsics}
        inside = [truth.intrinsics[f][0] for f, focal in there.items() if span[0] <= focal <= span[1]]
        if inside:
            return min(inside, key=lambda focal: abs(focal - min(max(focal, span[0]), span[1])))
    return truth.intrinsics[frames[len(frames) // 2]][0]


def true_cameras(shot: Shot) -> dict | None:
    """How the bench's own tracks fit the true cameras: what no solve can be better than, where they are exact. None: no truth."""
    if shot.truth is None:
        return None
    return own_tracks.score(own_tracks.tracks_of(shot.movie, CACHE / "tracks"), metrics.load_truth(shot.truth))


def parser() -> argparse.ArgumentParser:
    """The bench's command line."""
    made = argparse.ArgumentParser(
        prog="build.py bench", formatter_class=argparse.RawDescriptionHelpFormatter, description=__doc__
    )
    made.add_argument("--shots", help="comma-separated (default: every kind, then the clips)")
    made.add_argument(
        "--peers", default="holdfast", help="comma-separated: " + ", ".join(peers.PEERS) + ", holdfast-net:NETWORK, all"
    )
    made.add_argument("--quick", action="store_true", help="640x360, 48 frames")
    made.add_argument("--clips", type=Path, default=CLIPS, metavar="DIR", help=f"folder of clips (default: {CLIPS}, if there)")
    made.add_argument("--no-clips", action="store_true", help="the bench's own shots alone")
    made.add_argument("--size", help="of our own shots, such as 960x540")
    made.add_argument("--frames", type=int, help="of our own shots")
    made.add_argument("--seed", type=int, default=1, help="another set of the same kinds")
    made.add_argument("--time-limit", type=float, default=peers.TIME_LIMIT_S, metavar="S", help="of one peer on one shot")
    made.add_argument("--out", type=Path, default=ROOT / "out" / "bench")
    made.add_argument("--add", action="store_true", help="keep what --out holds, run only what it lacks")
    made.add_argument("--solver", type=Path, default=ROOT, help="checkout whose solver to measure (default: this one)")
    made.add_argument("--no-plots", action="store_true")
    return made


def main(argv: list[str]) -> int:
    """Run the bench; 0 unless an argument is wrong."""
    options = parser().parse_args(argv)
    size, count = QUICK if options.quick else FULL
    if options.size:
        size = tuple(map(int, options.size.split("x")))
    count = options.frames or count
    if options.shots:
        names = [n for n in options.shots.split(",") if n]
    else:
        names = [*KINDS] + ([] if options.no_clips or not options.clips.is_dir() else ["clips", "real"])
    chosen_peers = [p for p in (options.peers if options.peers != "all" else ",".join(peers.PEERS)).split(",") if p]
    for name in chosen_peers:
        try:
            peers.find_peer(name)
        except KeyError:
            sys.exit(f"bench: there is no peer '{name}'. Peers: {', '.join(peers.PEERS)}, holdfast-net:NETWORK.")
    options.out = options.out.resolve()
    options.out.mkdir(parents=True, exist_ok=True)
    earlier = options.out / "results.json"
    results: list[dict] = json.loads(earlier.read_text()) if options.add and earlier.exists() else []
    had = {(r["shot"], r["peer"]) for r in results}
    started = time.monotonic()
    for name in names:
        for shot in choose_shots(name, size, count, options.seed, options.clips.resolve()):
            best = next((r["true_cameras"] for r in results if r["shot"] == shot.name and r.get("true_cameras")), None)
            for peer in chosen_peers:
                if (shot.name, peers.short_name(peer)) in had or (peer == "holdfast-mask" and mask_folder(shot) is None):
                    continue
                best = best or true_cameras(shot)
                result = run_one(peer, shot, options.out, options.solver.resolve(), options.time_limit)
                results.append(result | {"true_cameras": best})
                print(f"[{time.monotonic() - started:6.0f} s] {tables.one_line(result)}", flush=True)
                _write(options.out, results)
    print()
    _write(options.out, results)
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
