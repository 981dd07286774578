"""COLMAP as a peer: SIFT on every frame, sequential matching, its incremental or global mapper (bench's environment).

    python -m tests.bench.peer_colmap CLIP OUT --mapper incremental|global [--store DIR] [--threads N]

Frames, features and matches are kept in the store: the other mapper takes them from there.
Writes OUT/solve.json (cameras of the largest model, px) and OUT/observed.npz (per frame, the points it sees).
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pycolmap

DONE = "done.json"  # of a store: what the stages before mapping took
SEQUENTIAL_OVERLAP = 12  # frames on each side; quadratic jumps reach further


def main(argv: list[str]) -> int:
    """Run one mapper on one clip; exit code 6 when it finds no model."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clip", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--mapper", choices=("incremental", "global"), default="incremental")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--store", type=Path, help="default: OUT/store")
    options = parser.parse_args(argv)
    store = options.store or options.out / "store"
    images, database = store / "images", options.out / "database.db"
    options.out.mkdir(parents=True, exist_ok=True)
    pycolmap.set_random_seed(0)
    timings: dict[str, float] = {}

    def timed(stage: str, step) -> object:
        started = time.monotonic()
        result = step()
        timings[stage] = time.monotonic() - started
        print(f"{stage}: {timings[stage]:.1f} s", flush=True)
        return result

    if (store / DONE).exists():
        timings |= json.loads((store / DONE).read_text())["timings"]
    else:
        _prepare(options.clip, store, images, options.threads, timed)
        (store / DONE).write_text(json.dumps({"timings": timings, "peak_mb": _peak_mb()}))
    shutil.copyfile(store / "database.db", database)
    models = options.out / "models"
    models.mkdir(exist_ok=True)
    if options.mapper == "incremental":
        settings = pycolmap.IncrementalPipelineOptions()
        settings.num_threads = options.threads
        found = timed("mapping", lambda: pycolmap.incremental_mapping(database, images, models, settings))
    else:
        settings = pycolmap.GlobalPipelineOptions()
        found = timed("mapping", lambda: pycolmap.global_mapping(database, images, models, settings))
    if not found:
        print("no model: COLMAP found no initial pair or lost every frame", flush=True)
        _write(options.out, images, None, timings)
        return 6
    _write(options.out, images, max(found.values(), key=lambda model: model.num_reg_images()), timings)
    return 0


def _prepare(clip: Path, store: Path, images: Path, threads: int, timed: Callable[[str, Callable[[], object]], object]) -> None:
    """Frames, features and matches of a clip into the store."""
    images.mkdir(parents=True, exist_ok=True)
    database = store / "database.db"
    database.unlink(missing_ok=True)
    timed("decode", lambda: _extract_frames(clip, images))
    extraction = pycolmap.FeatureExtractionOptions()
    extraction.num_threads = threads
    timed(
        "features",
        lambda: pycolmap.extract_features(
            database, images, camera_mode=pycolmap.CameraMode.SINGLE, extraction_options=extraction, device=pycolmap.Device.cpu
        ),
    )
    matching = pycolmap.FeatureMatchingOptions()
    matching.num_threads = threads
    pairing = pycolmap.SequentialPairingOptions()
    pairing.overlap, pairing.quadratic_overlap, pairing.loop_detection = SEQUENTIAL_OVERLAP, True, False
    timed(
        "matching",
        lambda: pycolmap.match_sequential(
            database, matching_options=matching, pairing_options=pairing, device=pycolmap.Device.cpu
        ),
    )


def _peak_mb() -> float | None:
    try:
        import resource
    except ImportError:  # Windows
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)


def _extract_frames(clip: Path, folder: Path) -> None:
    capture = cv2.VideoCapture(str(clip))
    number = 0
    while True:
        ok, image = capture.read()
        if not ok:
            break
        cv2.imwrite(str(folder / f"{number:06d}.png"), image, [cv2.IMWRITE_PNG_COMPRESSION, 1])
        number += 1


def _write(out: Path, images: Path, model: pycolmap.Reconstruction | None, timings: dict) -> None:
    first = cv2.imread(str(next(iter(sorted(images.glob("*.png"))))))
    height, width = first.shape[:2]
    frames, observed, lens = [], {}, {"k1": 0.0, "k2": 0.0}
    for image in model.images.values() if model else ():
        if not image.has_pose:
            continue
        w2c = np.eye(4)
        w2c[:3] = image.cam_from_world().matrix()
        camera = model.cameras[image.camera_id]
        number = int(Path(image.name).stem)
        frames.append({
            "frame": number, "c2w": np.linalg.inv(w2c).tolist(), "fx": camera.focal_length_x, "fy": camera.focal_length_y,
            "cx": camera.principal_point_x, "cy": camera.principal_point_y,
        })  # fmt: skip
        named = dict(zip((n.strip() for n in camera.params_info.split(",")), camera.params))
        lens = {"k1": float(named.get("k", named.get("k1", 0.0))), "k2": float(named.get("k2", 0.0))}
        seen = [model.points3D[p.point3D_id].xyz for p in image.points2D if p.has_point3D()]
        observed[str(number)] = np.array(seen).reshape(-1, 3)
    frames.sort(key=lambda f: f["frame"])
    np.savez_compressed(out / "observed.npz", **observed)
    data = {"width": width, "height": height, "camera": lens, "frames": frames, "timings": timings}
    (out / "solve.json").write_text(json.dumps(data))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
