"""Pictures of a solved shot for the batch report: a thumbnail and a contact sheet with keypoints and the lock test.

The lock test is a cube standing at a solved point: where the solve is right, it stays on its spot through all frames.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from .clip import open_clip
from .errors import HoldfastError
from .load import load_solution
from .poses import focal_xy
from .types import LABEL_MOVER, LABEL_STATIC, Solution

import cv2  # isort: skip  after .clip, which sets its switches

THUMBNAIL_WIDTH, SHEET_WIDTH, SHEET_COLUMNS = 200, 340, 3
_COLOURS = {LABEL_STATIC: (90, 220, 90), LABEL_MOVER: (60, 60, 255)}
_CUBE = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], float)
_EDGES = [(a, b) for a in range(8) for b in range(a + 1, 8) if np.abs(_CUBE[a] - _CUBE[b]).sum() == 2]


def write_pictures(folder: Path) -> list[str]:
    """Write `thumbnail.jpg` and `contact.jpg`; returns the names of those made (none when the clip cannot be read any more)."""
    solution = load_solution(folder)
    numbers = [int(n) for n in solution.frame_numbers]
    chosen = sorted({numbers[int(i)] for i in np.linspace(0, len(numbers) - 1, 2 * SHEET_COLUMNS)})
    try:
        clip = open_clip(solution.clip.path, min_frames=1)
        cells, thumbnail = [], None
        anchor = lock_point(solution)
        for frame in chosen:
            image = clip.read(frame)
            if (thumbnail is None and frame >= numbers[len(numbers) // 2]) or (frame == chosen[-1] and thumbnail is None):
                thumbnail = _fit(image, THUMBNAIL_WIDTH, solution.clip.pixel_aspect)
            cells.append(draw_frame(solution, numbers.index(frame), image, anchor))
    except HoldfastError:
        return []
    cells += [np.zeros_like(cells[0])] * (-len(cells) % SHEET_COLUMNS)
    rows = [np.hstack(cells[i : i + SHEET_COLUMNS]) for i in range(0, len(cells), SHEET_COLUMNS)]
    _write(folder / "thumbnail.jpg", thumbnail)
    _write(folder / "contact.jpg", np.vstack(rows))
    return ["thumbnail.jpg", "contact.jpg"]


def _write(path: Path, image: np.ndarray) -> None:
    path.write_bytes(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 72])[1].tobytes())


def _fit(image: np.ndarray, width: int, pixel_aspect: float) -> np.ndarray:
    height = max(1, round(image.shape[0] * width / (image.shape[1] * pixel_aspect)))
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)


def lock_point(solution: Solution) -> int | None:
    """Index of the point the lock test stands on: seen long, sure in depth, near the picture's middle; None without points."""
    if not len(solution.points):
        return None
    middle = len(solution.frame_numbers) // 2
    xy, depth = project_points(solution, middle, solution.points)
    away = np.hypot(*(xy / [solution.camera.width, solution.camera.height] - 0.5).T)
    longest = max(int(solution.point_length.max()), 1)
    sigma = np.nan_to_num(np.asarray(solution.point_depth_sigma, float), nan=1.0, posinf=1.0)
    score = np.asarray(solution.point_length, float) / longest - 1.5 * away - np.clip(sigma, 0, 1)
    score[depth <= 0] = -np.inf
    return int(score.argmax()) if np.isfinite(score).any() else None


def project_points(solution: Solution, index: int, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """((P, 2) px, (P,) depth) of world points in a solved frame, lens distortion included."""
    pose = solution.cam_from_world[index]
    local = points @ pose[:3, :3].T + pose[:3, 3]
    depth = local[:, 2]
    xy = local[:, :2] / np.where(np.abs(depth) < 1e-12, 1e-12, depth)[:, None]
    r2 = (xy**2).sum(-1, keepdims=True)
    camera = solution.camera
    bent = xy * (1 + camera.k1 * r2 + camera.k2 * r2 * r2)
    return bent * focal_xy(solution)[index] + [camera.cx, camera.cy], depth


def draw_frame(solution: Solution, index: int, image: np.ndarray, anchor: int | None) -> np.ndarray:
    """A cell of the contact sheet: the frame with its keypoints (green at rest, red moving) and the cube of the lock test."""
    cell = _fit(image, SHEET_WIDTH, solution.clip.pixel_aspect)
    scale = np.array([cell.shape[1] / image.shape[1], cell.shape[0] / image.shape[0]])
    tracks = solution.tracks
    here = tracks.frame_index == index
    for (x, y), label in zip(tracks.xy[here] * scale, solution.track_label[tracks.track[here]], strict=True):
        cv2.circle(cell, (round(float(x)), round(float(y))), 2, _COLOURS.get(int(label), (160, 160, 160)), -1, cv2.LINE_AA)
    if anchor is not None:
        middle = len(solution.frame_numbers) // 2
        depth = project_points(solution, middle, solution.points[[anchor]])[1][0]
        half = 0.03 * depth * solution.camera.width / solution.focal_px[middle]
        xy, depths = project_points(solution, index, solution.points[anchor] + half * _CUBE)
        if (depths > 0).all():
            corners = np.clip(np.round(xy * scale * 16), -(10**6), 10**6).astype(int)
            for a, b in _EDGES:
                cv2.line(cell, tuple(map(int, corners[a])), tuple(map(int, corners[b])), (0, 220, 255), 1, cv2.LINE_AA, 4)
    text = str(int(solution.frame_numbers[index]))
    cv2.putText(cell, text, (6, cell.shape[0] - 7), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (0, 0, 0), 3, cv2.LINE_AA)
    cv2.putText(cell, text, (6, cell.shape[0] - 7), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (255, 255, 255), 1, cv2.LINE_AA)
    return cell
