"""COLMAP as a peer: SIFT on every frame, sequential matching, its incremental or global mapper (bench's environment).

    python -m tests.bench.peer_colmap CLIP OUT --mapper incremental|global [--threads N]

Writes OUT/solve.json (cameras of the largest model, px) and OUT/observed.npz (per frame, the points it sees).
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pycolmap

SEQUENTIAL_OVERLAP = 12  # frames on each side; quadratic jumps reach further


def main(argv: list[str]) -> int:
    """Run one mapper on one clip; exit code 6 when it finds no model."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clip", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--mapper", choices=("incremental", "global"), default="incremental")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args(argv)
    images = options.out / "images"
    images.mkdir(parents=True, exist_ok=True)
    database = options.out / "database.db"
    database.unlink(missing_ok=True)
    pycolmap.set_random_seed(0)
    timings = {}

    def timed(stage: str, step) -> object:
        started = time.monotonic()
        result = step()
        timings[stage] = time.monotonic() - started
        print(f"{stage}: {timings[stage]:.1f} s", flush=True)
        return result

    timed("decode", lambda: _extract_frames(options.clip, images))
    extraction = pycolmap.FeatureExtractionOptions()
    extraction.num_threads = options.threads
    timed(
        "features",
        lambda: pycolmap.extract_features(
            database, images, camera_mode=pycolmap.CameraMode.SINGLE, extraction_options=extraction, device=pycolmap.Device.cpu
        ),
    )
    matching = pycolmap.FeatureMatchingOptions()
    matching.num_threads = options.threads
    pairing = pycolmap.SequentialPairingOptions()
    pairing.overlap, pairing.quadratic_overlap, pairing.loop_detection = SEQUENTIAL_OVERLAP, True, False
    timed(
        "matching",
        lambda: pycolmap.match_sequential(
            database, matching_options=matching, pairing_options=pairing, device=pycolmap.Device.cpu
        ),
    )
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
        _write(options.out, None, timings)
        return 6
    _write(options.out, max(found.values(), key=lambda model: model.num_reg_images()), timings)
    return 0


def _extract_frames(clip: Path, folder: Path) -> None:
    capture = cv2.VideoCapture(str(clip))
    number = 0
    while True:
        ok, image = capture.read()
        if not ok:
            break
        cv2.imwrite(str(folder / f"{number:06d}.png"), image, [cv2.IMWRITE_PNG_COMPRESSION, 1])
        number += 1


def _write(out: Path, model: pycolmap.Reconstruction | None, timings: dict) -> None:
    first = cv2.imread(str(next(iter(sorted((out / "images").glob("*.png"))))))
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
