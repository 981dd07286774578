"""Camera paths for nerfstudio (transforms.json) and Nuke (.chan)."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np

from .export import GL_FROM_CV, image_name, plate_frames
from .poses import focal_xy, world_from_cam
from .types import Solution


def gl_camera_poses(solution: Solution) -> np.ndarray:
    """(F, 4, 4) world from OpenGL camera (x right, y up, looking along -z), in the world of points.ply."""
    return world_from_cam(solution.cam_from_world) @ GL_FROM_CV


def write_nerfstudio(solution: Solution, path: Path) -> None:
    """nerfstudio's transforms.json: OpenGL camera poses, OPENCV lens; per-frame focal lengths for zooms.

    `file_path` names the images as they lie in `images/` beside the file; `ply_file_path` is the solve's point cloud.
    """
    camera = solution.camera
    focal = focal_xy(solution)
    varying = np.ptp(solution.focal_px) > 1e-9 * solution.focal_px.mean()
    frames = []
    for i, (number, pose) in enumerate(zip(solution.frame_numbers, gl_camera_poses(solution), strict=True)):
        frame = {"file_path": f"images/{image_name(solution, int(number))}", "transform_matrix": pose.tolist()}
        if varying:
            frame |= {"fl_x": float(focal[i, 0]), "fl_y": float(focal[i, 1])}
        frames.append(frame)
    document = {
        "camera_model": "OPENCV",
        "w": camera.width, "h": camera.height, "fl_x": float(focal[0, 0]), "fl_y": float(focal[0, 1]),
        "cx": float(camera.cx), "cy": float(camera.cy), "k1": float(camera.k1), "k2": float(camera.k2), "p1": 0.0, "p2": 0.0,
        "ply_file_path": "points.ply",
        "frames": frames,
    }  # fmt: skip
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def zxy_degrees(rotation: np.ndarray) -> tuple[float, float, float]:
    """(rx, ry, rz) in degrees with rotation = Ry Rx Rz: Nuke's default order ZXY, roll first, then tilt, then pan."""
    sin_x = -rotation[1, 2]
    if abs(sin_x) < 1 - 1e-9:
        rx = math.asin(sin_x)
        ry = math.atan2(rotation[0, 2], rotation[2, 2])
        rz = math.atan2(rotation[1, 0], rotation[1, 1])
    else:  # looking straight up or down: roll and pan are one, put it all into the pan
        rx = math.copysign(math.pi / 2, sin_x)
        ry = math.atan2(-rotation[2, 0], rotation[0, 0])
        rz = 0.0
    return math.degrees(rx), math.degrees(ry), math.degrees(rz)


def camera_curves(solution: Solution) -> np.ndarray:
    """(F, 8): frame, tx, ty, tz, rx, ry, rz (degrees, order ZXY, no jumps by full turns), vertical field of view (degrees)."""
    fy = focal_xy(solution)[:, 1]
    poses = gl_camera_poses(solution)
    angles = np.array([zxy_degrees(pose[:3, :3]) for pose in poses])
    angles = np.unwrap(angles, axis=0, period=360.0)
    fov = np.degrees(2 * np.arctan(solution.camera.height / 2 / fy))
    return np.column_stack([plate_frames(solution), poses[:, :3, 3], angles, fov])


def write_chan(solution: Solution, path: Path) -> None:
    """Nuke's .chan: `frame tx ty tz rx ry rz vfov` per line, rotation order ZXY (Nuke's default), y up, looking along -z.

    Frames count as in Nuke: a sequence's own numbers, a movie's from 1. The format knows neither lens distortion nor an
    off-centre axis: it fits the picture that the lens node or the STMaps of this package undistort, whose optical axis is in the
    middle.
    """
    rows = [f"{int(row[0])}\t" + "\t".join(f"{value:.12g}" for value in row[1:]) for row in camera_curves(solution)]
    path.write_text("\n".join(rows) + "\n", encoding="ascii")
