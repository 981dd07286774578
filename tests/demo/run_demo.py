"""The main job, from footage to a prop that holds fast. Started by `build.py demo`, with Blender as a module.

    build.py demo [--clip FILE] [--depth-model ID|PATH|none] [--quality draft|standard|best] [--out DIR]

Solves the sample shot, builds a Blender scene from it, stands props on two of its surfaces, saves the .blend, renders a few
frames over the footage and a picture of the camera's path with the point cloud, and prints how far the solve is from the
sample's truth.
With --clip: the same for footage of your own (without the comparison).
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import time
from pathlib import Path

import bpy

import addon
from tests.bench import metrics

ROOT = Path(__file__).resolve().parent.parent.parent
SAMPLE = ROOT / "tests" / "data" / "sample" / "sample.mp4"
# Where the props go: px of the sample's middle frame. On the table's top, and on the rug.
PROPS = (("CONE", (0.50, 0.575)), ("CHROME", (0.46, 0.90)), ("CUBE", (0.76, 0.85)))
LOCK_SHARES = (0.0, 0.33, 0.67, 1.0)  # frames to render, as shares of the shot


class ProgressLine:
    """One line that says what the solver does, rewritten in a terminal, a line a stage elsewhere."""

    def __init__(self) -> None:
        self.stage, self.live = "", sys.stdout.isatty()

    def __call__(self, job) -> None:
        """Hear from a running solve."""
        share = f"{100 * job.done / job.total:3.0f} %" if job.total else ""
        if self.live:
            print(f"\r  {job.stage:<8} {share:<6} {100 * job.fraction:3.0f} % of all ", end="", flush=True)
        elif job.stage != self.stage:
            print(f"  {job.stage}", flush=True)
        self.stage = job.stage

    def end(self) -> None:
        """Leave the line."""
        if self.live:
            print()


def main(argv: list[str]) -> int:
    """Run the demo; 0, or the solver's own exit code when it cannot solve the clip."""
    parser = argparse.ArgumentParser(
        prog="build.py demo", formatter_class=argparse.RawDescriptionHelpFormatter, description=__doc__
    )
    parser.add_argument("--clip", type=Path, default=SAMPLE, help="a movie or the first image of a sequence")
    parser.add_argument("--out", type=Path, default=ROOT / "out" / "demo")
    parser.add_argument("--depth-model", help="a depth network's id or file, or none")
    parser.add_argument("--quality", choices=("draft", "standard", "best"))
    parser.add_argument("--size", help="of the rendered pictures (default: 960 wide, as high as the clip's shape asks)")
    options = parser.parse_args(argv)
    if not options.clip.exists():
        print(f"demo: {options.clip} is not there.", file=sys.stderr)
        return 3
    from addon import headless

    addon.register()
    try:
        return _run(options, headless)
    except headless.SolveFailed as failure:
        print(f"\ndemo: {failure.message}\n      {failure.hint}", file=sys.stderr)
        return failure.exit_code
    finally:
        addon.unregister()


def _run(options: argparse.Namespace, headless) -> int:
    started = time.monotonic()
    job_folder = options.out / "solve"
    progress = ProgressLine()
    print(f"Solving {options.clip.name}", flush=True)
    bpy.ops.wm.read_homefile(use_factory_startup=True)
    settings = {"depth_model": options.depth_model, "quality": options.quality}
    scene = headless.solve_clip_to_scene(options.clip, job_folder, settings, progress)
    progress.end()
    solved_s = time.monotonic() - started
    cameras = metrics.load_cameras(job_folder / "solve.json")
    frames = sorted(cameras.c2w)
    middle = headless.scene_frame(frames[len(frames) // 2], scene)
    for kind, (x, y) in PROPS:
        prop = headless.place_prop(kind, (x * cameras.width, y * cameras.height), middle, scene)
        print(f"  {prop.name} stands at {', '.join(f'{v:.2f}' for v in prop.matrix_world.translation)}")
    size = tuple(map(int, options.size.split("x"))) if options.size else (960, round(960 * cameras.height / cameras.width))
    print("Rendering the props over the footage", flush=True)
    shown = [headless.scene_frame(frames[round(s * (len(frames) - 1))], scene) for s in LOCK_SHARES]
    with _blender_talks_to(options.out / "blender.log"):
        pictures = headless.render_lock_frames(options.out / "frames", shown, size, scene=scene)
        for old in set(pictures[0].parent.glob("lock_*.png")) - set(pictures):  # another clip's, from an earlier demo
            old.unlink()
        overview = headless.render_overview(options.out / "overview.png", size, scene)
        blend = headless.save_blend(options.out / f"{options.clip.stem}.blend")
    _figures(options.clip, job_folder, cameras)
    print("\nWhere everything is")
    for what, where in (
        ("solve", job_folder / "solve.json"),
        ("scene", blend),
        ("frames", pictures[0].parent),
        ("overview", overview),
    ):
        print(f"  {what:<9} {where}")
    print(f"Solved in {solved_s:.0f} s, all done in {time.monotonic() - started:.0f} s.")
    return 0


@contextlib.contextmanager
def _blender_talks_to(log: Path):
    """Blender prints every sample it renders; keep that in a file."""
    sys.stdout.flush()
    kept = os.dup(1)
    try:
        with log.open("wb") as sink:
            os.dup2(sink.fileno(), 1)
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)


def _figures(clip: Path, job_folder: Path, cameras: metrics.Cameras) -> None:
    """Print the solve against the truth beside the clip, where there is one."""
    truth_file = clip.with_name(clip.stem + ".gt.json")
    if not truth_file.exists():
        return
    truth = metrics.load_truth(truth_file)
    scored = metrics.score(truth, cameras)
    focal_px = sum(k[0] for k in cameras.intrinsics.values()) / len(cameras.intrinsics)
    print(f"\nAgainst the truth ({truth.name}, path {scored['extent_over_depth_pct'] * 2:.1f} % of the scene's depth)")
    print(f"  frames with a camera  {scored['registered']} of {scored['frames']}")
    if "slip_rms_px" in scored:  # a truth without known points (real footage) has none
        print(f"  prop slip             {scored['slip_rms_px']:.3f} px RMS, {scored['slip_max_px']:.2f} px at most, at 1920 wide")
    print(f"  rotation              {scored['rotation_rms_deg']:.4f} degrees RMS")
    print(f"  path                  {scored['ate_oriented_pct_extent']:.2f} % of its extent")
    print(f"  focal length          {focal_px:.1f} px, off by {scored['focal_error_pct']:.2f} %")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
