"""The kinds of shot of the bench, each a recipe: a place, a camera path, a lens, who walks through. Rendered once, then kept.

python -m tests.bench.shots [--size 1280x720] [--frames 72] [--seed 1] [NAME …]      renders into .cache/bench
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import inspect
import json
import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from tests.bench import movers, scenes, textures, trajectories
from tests.bench.movers import Car, Person, standing, straight
from tests.bench.scenes import Place
from tests.bench.trajectories import CameraPath, Shake, look_at, moving, orbiting, panning, whip

ROOT = Path(__file__).resolve().parent.parent.parent
# For glibc: pictures are large, and giving each one's memory back costs as much as a tenth of the rendering.
KEEP_MEMORY = {"MALLOC_MMAP_THRESHOLD_": "2000000000", "MALLOC_TRIM_THRESHOLD_": "8000000000"}
CACHE = ROOT / ".cache" / "bench"
SAMPLE = ROOT / "tests" / "data" / "sample"


@dataclass(frozen=True)
class Kind:
    """One kind of shot. make(count, rng, seed) gives (place, path); what the solver can be expected to find is in `expects`."""

    title: str
    make: Callable[[int, np.random.Generator, int], tuple[Place, CameraPath]]
    lens: dict = field(default_factory=dict)
    slip_limit_px: float = 0.15
    focal_determined: bool = True
    small_baseline: bool = False
    motion: str = "free"


def _orbit(n, rng, seed):
    place = scenes.room(seed)
    return place, orbiting(place.focus, 3.4, 1.65, (-0.5, 0.5), n, 0.8, rng)


def _small_dolly(n, rng, seed):
    place = scenes.room(seed)
    return place, moving([-0.06, -0.6, 1.5], [0.06, -0.55, 1.52], place.focus, n, 0.85, rng, 0.0015, 0.15)


def _handheld(n, rng, seed):
    place = scenes.room(seed)
    return place, moving([0.3, -0.4, 1.55], [0.3, -0.4, 1.55], place.focus, n, 0.9, rng, 0.018, 0.8)


def _near_nodal_pan(n, rng, seed):
    return scenes.street(seed), panning([-1.0, 0, 1.7], (-18, 16), (1, 2), n, 0.85, arm_m=0.05)


def _tripod_pan(n, rng, seed):
    return scenes.courtyard(seed), panning([-2.0, 2.0, 1.7], (-16, 12), (2, 4), n, 0.9)


def _walkers(place: Place, rng: np.random.Generator, n: int, count: int, x: tuple, y: tuple, ground_m: float) -> None:
    """People who cross the picture from both sides, spread over the shot's time."""
    for k in range(count):
        side = 1 if k % 2 else -1
        speed = rng.uniform(0.045, 0.065)
        depth = rng.uniform(*y)
        start = (-side * rng.uniform(*x) - side * speed * n * 0.2, depth)
        path = straight(start, (side * speed, rng.uniform(-0.004, 0.004)), ground_m)
        place.movers.append(Person(rng, path, place.next_mover_id()))


def _cars(place: Place, rng: np.random.Generator, count: int) -> None:
    for k in range(count):
        side = 1 if k % 2 else -1
        speed = side * rng.uniform(0.16, 0.26)
        start = (side * 1.7, 14.0 + 9 * k + (0 if side > 0 else 14))
        place.movers.append(Car(rng, straight(start, (0.0, speed)), place.next_mover_id()))


def _lockoff(n, rng, seed):
    place = scenes.street(seed)
    _walkers(place, rng, n, 6, (0.5, 3.5), (4, 11), 0.0)
    _cars(place, rng, 2)
    c2w = look_at(np.array([-1.5, -2.0, 1.8]), place.focus)
    return place, lambda t: (c2w, 0.85)


def _truck(n, rng, seed):
    place = scenes.street(seed)
    for x in (-1.5, -0.4, 0.5, 1.7):
        texture = textures.planks(rng, (0.4, 0.3, 0.2), 12, 256)
        place.add(scenes.TUBE, (0.09, 0.09, 2.6), (x, 2.2 + rng.uniform(-0.3, 0.4), 1.3), texture, 0.5)
        place.add(scenes.BOX, (0.5, 0.05, 0.7), (x + 0.1, 2.15, 1.1), textures.poster(rng), None)
    aside = place.focus + np.array([1.2, 0, 0])
    return place, moving([-0.8, -1.5, 1.6], [0.8, -1.4, 1.6], place.focus, n, 0.9, rng, 0.003, 0.1, end_target=aside)


def _crane(n, rng, seed):
    place = scenes.courtyard(seed)
    return place, moving([-1.2, 3.0, 1.2], [0.6, 2.2, 4.2], place.focus, n, 0.8, rng, 0.004, 0.08)


def _zoom_tripod(n, rng, seed):
    return scenes.courtyard(seed), panning([1.5, 1.0, 1.8], (-3, 1), (1, 2), n, 0.75, end_focal=1.45)


def _zoom_walk(n, rng, seed):
    place = scenes.room(seed)
    return place, moving([-0.5, -1.0, 1.55], [0.4, -0.2, 1.6], place.focus, n, 0.7, rng, 0.008, 0.35, end_focal=1.0)


def _forward_dolly(n, rng, seed):
    place = scenes.street(seed)
    return place, moving([0.4, -2.0, 1.7], [0.5, 2.5, 1.7], place.focus + np.array([0, 40, 0]), n, 0.85, rng, 0.004, 0.15)


def _barrel(n, rng, seed):
    place = scenes.room(seed)
    return place, moving([-0.7, -0.2, 1.5], [0.7, 0.0, 1.6], place.focus, n, 0.62, rng, 0.003, 0.1)


def _actors(n, rng, seed):
    place = scenes.room(seed)
    for x, turn in ((-0.48, -1.2), (0.58, -2.0)):
        place.movers.append(Person(rng, standing((x, 1.22), turn, 0.14, rng), place.next_mover_id(), stride=0.0))
    return place, moving([0.1, -0.6, 1.5], [-0.12, -0.55, 1.5], place.focus, n, 0.95, rng, 0.003, 0.15)


def _traffic(n, rng, seed):
    place = scenes.street(seed)
    _walkers(place, rng, n, 8, (0.0, 3.0), (3.2, 9), 0.0)
    _cars(place, rng, 4)
    return place, moving([-1.0, -2.0, 1.8], [0.2, -1.7, 1.9], place.focus, n, 0.85, rng, 0.004, 0.15)


def _plain_stage(n, rng, seed):
    place = scenes.stage(seed)
    return place, moving([-0.5, -0.4, 1.5], [0.5, -0.2, 1.45], place.focus, n, 0.85, rng, 0.002, 0.08)


def _whip_pan(n, rng, seed):
    place = scenes.room(seed)
    base = panning([-0.2, 0.4, 1.55], (-24, 26), (-6, -5), n, 0.8, profile=whip(n, 14), rng=rng, shake_m=0.006, shake_deg=0.15)
    drift = np.array([0.5, 0.25, 0.05])

    def at(t: float) -> tuple[np.ndarray, float]:
        c2w, focal = base(t)
        c2w = c2w.copy()
        c2w[:3, 3] += (trajectories.ease(t, n) - 0.5) * drift
        return c2w, focal

    return place, at


def _rolling_shutter(n, rng, seed):
    place = scenes.room(seed)
    return place, moving([-0.5, -0.8, 1.5], [0.5, -0.5, 1.6], place.focus, n, 0.85, rng, 0.012, 1.2)


def _long_lens(n, rng, seed):
    place = scenes.courtyard(seed)
    return place, moving([-0.9, -28.0, 2.2], [0.9, -27.8, 2.3], place.focus + np.array([0, 2, 0.4]), n, 5.5, rng, 0.004, 0.02)


KINDS: dict[str, Kind] = {
    "orbit": Kind("large orbit", _orbit),
    "small_dolly": Kind("small dolly, 2 %", _small_dolly, focal_determined=False, small_baseline=True),
    "handheld": Kind("handheld on the spot", _handheld, focal_determined=False, small_baseline=True),
    "near_nodal_pan": Kind("near-nodal pan, 5 cm", _near_nodal_pan, small_baseline=True),
    "tripod_pan": Kind("tripod pan", _tripod_pan, motion="rotation"),
    "lockoff": Kind("lock-off with movers", _lockoff, focal_determined=False, motion="static"),
    "truck": Kind("truck with foreground", _truck),
    "crane": Kind("crane", _crane),
    "zoom_tripod": Kind("zoom on a tripod", _zoom_tripod, focal_determined=False, motion="rotation"),
    "zoom_walk": Kind("zoom while walking", _zoom_walk),
    "forward_dolly": Kind("forward dolly", _forward_dolly, focal_determined=False),
    "barrel": Kind("barrel lens", _barrel, {"k1": -0.16, "k2": 0.035}),
    "actors": Kind("actors filling 40 %", _actors, focal_determined=False, small_baseline=True),
    "traffic": Kind("traffic and walkers", _traffic),
    "plain_stage": Kind("plain stage", _plain_stage),
    "whip_pan": Kind("whip pan", _whip_pan, {"shutter_samples": 20}, slip_limit_px=0.4),
    "rolling_shutter": Kind("rolling shutter", _rolling_shutter, {"row_time": 0.6}, slip_limit_px=0.4),
    "long_lens": Kind("200 mm-class lens", _long_lens),
}


def _dolly_of(share: float) -> Callable[[int, np.random.Generator, int], tuple[Place, CameraPath]]:
    """A dolly sideways whose length is this share of the distance to what it looks at."""

    def make(n: int, rng: np.random.Generator, seed: int) -> tuple[Place, CameraPath]:
        place = scenes.room(seed)
        middle = np.array([0.0, -0.6, 1.5])
        reach = share * float(np.linalg.norm(place.focus - middle))
        ends = (middle + [side * reach / 2, side * reach / 8, side * reach / 16] for side in (-1, 1))
        return place, moving(*ends, place.focus, n, 0.85, rng, 0.02 * reach, 0.15)

    return make


# Only when asked for (`--shots sweep`): the same move at many lengths, to see where depth is worth something.
SWEEP_PCT = (0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8)
SWEEP: dict[str, Kind] = {
    f"dolly_{pct:g}": Kind(
        f"dolly, {pct:g} % of the distance", _dolly_of(pct / 100), focal_determined=False, small_baseline=pct < 4
    )
    for pct in SWEEP_PCT
}


def _actors_zoom(n, rng, seed):
    place = scenes.room(seed)
    for x, turn in ((-0.5, -1.2), (0.6, -2.0)):
        place.movers.append(Person(rng, standing((x, 1.4), turn, 0.14, rng), place.next_mover_id(), stride=0.0))
    return place, moving([-0.3, -0.7, 1.5], [0.2, -0.6, 1.5], place.focus, n, 0.8, rng, 0.004, 0.2, end_focal=1.15)


def _following(n, rng, seed):
    place = scenes.street(seed)
    place.movers.append(Person(rng, straight((0.2, 0.2), (0.0, 0.055)), place.next_mover_id()))
    far = place.focus + np.array([0, 30, 0])
    return place, moving([0.3, -2.2, 1.6], [0.2, 0.4, 1.6], far, n, 0.85, rng, 0.015, 0.5)


def _dolly_zoom(n, rng, seed):
    place = scenes.room(seed)
    return place, moving([0.1, -1.4, 1.5], [0.0, 0.3, 1.5], place.focus, n, 1.1, rng, 0.003, 0.1, end_focal=0.62)


def _running(n, rng, seed):
    place = scenes.street(seed)
    far = place.focus + np.array([0, 20, 0])
    return place, moving([0.3, -3.0, 1.6], [0.6, 1.5, 1.6], far, n, 0.8, rng, 0.03, 2.2)


# Only when asked for (`--shots mixed`): several of the above at once.
MIXED: dict[str, Kind] = {
    "actors_zoom": Kind("zoom on actors", _actors_zoom, focal_determined=False),
    "following": Kind("following somebody", _following, focal_determined=False),
    "dolly_zoom": Kind("dolly zoom", _dolly_zoom, focal_determined=False),
    "running": Kind("running, with motion blur", _running, {"shutter_samples": 6}),
}
ALL_KINDS = KINDS | SWEEP | MIXED

# Read at import: a file edited while a bench runs would be read at the wrong lines later.
SOURCES = {name: inspect.getsource(kind.make) for name, kind in ALL_KINDS.items()}


@dataclass(frozen=True)
class Shot:
    """A shot on disk. truth: its .gt.json, None for footage nobody measured; real: what truth there is, is approximate."""

    name: str
    movie: Path
    truth: Path | None
    kind: Kind | None = None
    real: bool = False

    @property
    def title(self) -> str:
        return self.kind.title if self.kind else self.name


def _meaning(source: str) -> str:
    """Code without comments, layout and docstrings: what can change a picture."""
    tree = ast.parse(textwrap.dedent(source))
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant):
            body[0].value.value = ""
    return ast.dump(tree)


def recipe_hash(name: str) -> str:
    """Changes with any code that decides what a shot looks like, so that a stale one is rendered again."""
    from models.training import camera, primitives
    from models.training import shaders as shared
    from tests.bench import raster, render, shaders

    modules = (textures, scenes, movers, trajectories, render, raster, camera, primitives, shared, shaders)
    parts = [_meaning(source) for source in (*map(inspect.getsource, modules), SOURCES[name])]
    parts += [str(sorted(ALL_KINDS[name].lens.items())), *([name] if name in SWEEP else [])]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:10]


def place_of(name: str, size: tuple[int, int], count: int, seed: int) -> Shot:
    """Where the shot of a kind lies, rendered or not."""
    folder = CACHE / f"{size[0]}x{size[1]}_{count}_{seed}" / f"{name}-{recipe_hash(name)}"
    return Shot(name, folder / f"{name}.mp4", folder / f"{name}.gt.json", ALL_KINDS[name])


def ensure_shot(name: str, size: tuple[int, int], count: int, seed: int, say: Callable[[str], None] = print) -> Shot:
    """The shot of a kind, rendered if it is not there yet."""
    from tests.bench import render

    shot = place_of(name, size, count, seed)
    if shot.movie.exists():
        return shot
    started, kind = time.monotonic(), ALL_KINDS[name]
    like = next(iter(SWEEP)) if name in SWEEP else name  # one room, one hand that shakes
    rng = np.random.default_rng([seed, 9, *like.encode()])
    place, path = kind.make(count, rng, 100 * seed + list(ALL_KINDS).index(like))

    def progress(done: int, total: int) -> None:
        if done % 12 == 0 or done == total:
            say(f"rendering {name}: {done}/{total} frames, {time.monotonic() - started:.0f} s")

    render.render_shot(name, place, path, render.Lens(**kind.lens), size, count, shot.movie.parent, seed, say=progress)
    return shot


def rendered_apart(name: str, size: tuple[int, int], count: int, seed: int, say: Callable[[str], None] = print) -> Shot:
    """The shot of a kind, rendered by a process of its own if need be: a scene's textures leave with it."""
    shot = place_of(name, size, count, seed)
    if not shot.movie.exists():
        wanted = ("--size", f"{size[0]}x{size[1]}", "--frames", str(count), "--seed", str(seed))
        command = (sys.executable, "-u", "-m", "tests.bench.shots", name, *wanted)
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=os.environ | KEEP_MEMORY) as process:
            for line in process.stdout:
                say(line.rstrip())
        if process.returncode or not shot.movie.exists():
            sys.exit(f"bench: rendering {name} failed (exit {process.returncode}); see above.")
    return shot


def masks_of(shot: Shot) -> dict[int, np.ndarray] | None:
    """The shot's movers, {frame: (h, w) uint8, 1 where something moves} in order; None for a shot without masks of all frames."""
    packed = shot.movie.with_name(shot.movie.stem + ".mask.npz")
    if not packed.exists() or shot.truth is None:
        return None
    frames = len(json.loads(shot.truth.read_text(encoding="utf-8"))["frames"])
    with np.load(packed) as data:
        if "shape" not in data.files or len(data.files) < frames + 1:
            return None
        height, width = data["shape"]
        numbers = sorted(int(name) for name in data.files if name.isdigit())
        return {n: np.unpackbits(data[str(n)], count=height * width).reshape(height, width) for n in numbers}


def mask_folder(shot: Shot) -> Path | None:
    """A folder of mask images of the shot's movers (white: ignore), made once; None for a shot without masks of all frames."""
    masks = masks_of(shot)
    if masks is None:
        return None
    folder = shot.movie.with_name(shot.movie.stem + ".masks")
    folder.mkdir(exist_ok=True)
    for number, mask in masks.items():
        target = folder / f"mask_{number:06d}.png"
        if not target.exists():
            cv2.imwrite(str(target), mask * np.uint8(255))
    return folder


def make_sample() -> Shot:
    """The shot that ships with the project for `build.py demo`: a small dolly, 4 % of the depth, with grain; not in the bench."""
    from tests.bench import render

    count, seed = 48, 2026
    place = scenes.room(seed)
    rng = np.random.default_rng(seed)
    body = Shake(rng)
    base = moving([-0.13, -0.35, 1.52], [0.13, -0.3, 1.56], place.focus, count, 0.86, rng, 0.0, 0.12)

    def path(t: float) -> tuple[np.ndarray, float]:
        c2w, focal = base(t)
        c2w = c2w.copy()
        c2w[:3, 3] += 0.0015 * body(t)
        return c2w, focal

    lens = render.Lens(crf=17, grain=2.6)
    movie = render.render_shot("sample", place, path, lens, (960, 540), count, SAMPLE, seed)
    (SAMPLE / "sample.mask.npz").unlink(missing_ok=True)
    return Shot("sample", movie, SAMPLE / "sample.gt.json")


def main(argv: list[str]) -> int:
    """Render shots from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help=f"kinds: {', '.join(ALL_KINDS)}, or 'sample'")
    parser.add_argument("--size", default="1280x720")
    parser.add_argument("--frames", type=int, default=72)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(argv)
    unknown = [n for n in options.names if n not in ALL_KINDS and n != "sample"]
    if unknown:
        parser.error(f"no such kind: {', '.join(unknown)}")
    width, height = map(int, options.size.split("x"))
    for name in options.names or KINDS:
        shot = make_sample() if name == "sample" else ensure_shot(name, (width, height), options.frames, options.seed)
        print(f"{shot.movie}  {shot.movie.stat().st_size / 1e6:.2f} MB", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
