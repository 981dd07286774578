"""COLMAP's text model: cameras.txt, images.txt, points3D.txt.

Pixels need no shift: COLMAP too puts the first pixel's centre at (0.5, 0.5). Radial models are the same as ours.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from .export import image_name
from .poses import focal_xy
from .types import Solution


def camera_line(solution: Solution, index: int) -> str:
    """Model, size and parameters of a frame's camera: the simplest COLMAP model that holds the lens."""
    camera = solution.camera
    fx, fy = focal_xy(solution)[index]
    centre = [camera.cx, camera.cy]
    if abs(fx - fy) > 1e-9 * fx:
        if camera.k1 or camera.k2:
            model, values = "OPENCV", [fx, fy, *centre, camera.k1, camera.k2, 0.0, 0.0]
        else:
            model, values = "PINHOLE", [fx, fy, *centre]
    elif camera.k2:
        model, values = "RADIAL", [fx, *centre, camera.k1, camera.k2]
    elif camera.k1:
        model, values = "SIMPLE_RADIAL", [fx, *centre, camera.k1]
    else:
        model, values = "SIMPLE_PINHOLE", [fx, *centre]
    return f"{model} {camera.width} {camera.height} " + " ".join(f"{float(v)!r}" for v in values)


def quaternion(rotation: np.ndarray) -> np.ndarray:
    """(4,) unit quaternion w x y z of a (3, 3) rotation, w >= 0 (Shepperd's method: the largest component first)."""
    m = rotation
    squares = np.array([1 + m[0, 0] + m[1, 1] + m[2, 2], 1 + m[0, 0] - m[1, 1] - m[2, 2],
                        1 - m[0, 0] + m[1, 1] - m[2, 2], 1 - m[0, 0] - m[1, 1] + m[2, 2]])  # fmt: skip
    off = {(0, 1): m[2, 1] - m[1, 2], (0, 2): m[0, 2] - m[2, 0], (0, 3): m[1, 0] - m[0, 1],
           (1, 2): m[1, 0] + m[0, 1], (1, 3): m[0, 2] + m[2, 0], (2, 3): m[2, 1] + m[1, 2]}  # fmt: skip
    largest = int(squares.argmax())
    q = np.array([squares[i] if i == largest else off[min(i, largest), max(i, largest)] for i in range(4)])
    q /= np.linalg.norm(q)
    return -q if q[0] < 0 else q


def write_colmap(solution: Solution, folder: Path) -> None:
    """Write the three text files. Zooms get one camera per image, other shots one for all."""
    folder.mkdir()
    count = len(solution.frame_numbers)
    varying = np.ptp(solution.focal_px) > 1e-9 * solution.focal_px.mean()
    cameras = range(count) if varying else range(1)
    lines = ["# Camera list with one line of data per camera:", "#   CAMERA_ID, MODEL, WIDTH, HEIGHT, PARAMS[]"]
    lines += [f"{i + 1} {camera_line(solution, i)}" for i in cameras]
    (folder / "cameras.txt").write_text("\n".join(lines) + "\n", encoding="ascii")

    tracks = solution.tracks
    point_of_track = np.full(tracks.track_count, -1, int)
    point_of_track[np.asarray(solution.point_track, int)] = np.arange(len(solution.point_track))
    point = point_of_track[tracks.track]
    seen_in = {int(number): i for i, number in enumerate(solution.frame_numbers)}
    image = np.array([seen_in.get(int(number), -1) for number in tracks.frame_numbers], int)[tracks.frame_index]
    used = (point >= 0) & (image >= 0)
    point, image, xy = point[used], image[used], tracks.xy[used]
    order = np.lexsort((point, image))
    point, image, xy = point[order], image[order], xy[order]
    begin = np.searchsorted(image, np.arange(count + 1))
    lines = ["# Image list with two lines of data per image:", "#   IMAGE_ID, QW, QX, QY, QZ, TX, TY, TZ, CAMERA_ID, NAME"]
    lines.append("#   POINTS2D[] as (X, Y, POINT3D_ID)")
    for i, number in enumerate(solution.frame_numbers):
        pose = solution.cam_from_world[i]
        values = " ".join(f"{float(v)!r}" for v in (*quaternion(pose[:3, :3]), *pose[:3, 3]))
        lines.append(f"{i + 1} {values} {i + 1 if varying else 1} {image_name(solution, int(number))}")
        mine = slice(begin[i], begin[i + 1])
        lines.append(" ".join(f"{x:.6f} {y:.6f} {p + 1}" for (x, y), p in zip(xy[mine], point[mine], strict=True)))
    (folder / "images.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")

    place = np.arange(len(image)) - begin[image]  # index of an observation within its image
    by_point = np.lexsort((image, point))
    starts = np.searchsorted(point[by_point], np.arange(len(solution.points) + 1))
    lines = [
        "# 3D point list with one line of data per point:",
        "#   POINT3D_ID, X, Y, Z, R, G, B, ERROR, TRACK[] as (IMAGE_ID, POINT2D_IDX)",
    ]
    for p, xyz in enumerate(solution.points):
        mine = by_point[starts[p] : starts[p + 1]]
        if not len(mine):
            continue  # COLMAP refuses points without a track
        colour = " ".join(str(int(c)) for c in solution.point_colour[p])
        track = " ".join(f"{image[m] + 1} {place[m]}" for m in mine)
        position = " ".join(f"{float(v)!r}" for v in xyz)
        lines.append(f"{p + 1} {position} {colour} {float(solution.point_error_px[p]):.6g} {track}")
    (folder / "points3D.txt").write_text("\n".join(lines) + "\n", encoding="ascii")
