"""Pictures of a solved shot for the batch report: a thumbnail and a contact sheet with keypoints and the lock test.

The lock test is a cube standing at a solved point: where the solve is right, it stays on its spot through all frames. The sheet's
last row shows it close up, cut around the same spot of the scene in the first, the middle and the last frame.
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
_CLOSE_UP = 5  # times the sheet's scale, at most the footage's own
_EDGES = [(a, b) for a in range(8) for b in range(a + 1, 8) if np.abs(_CUBE[a] - _CUBE[b]).sum() == 2]


def write_pictures(folder: Path) -> list[str]:
    """Write `thumbnail.jpg` and `contact.jpg`; returns the names of those made (none when the clip cannot be read any more)."""
    solution = load_solution(folder)
    numbers = [int(n) for n in solution.frame_numbers]
    chosen = sorted({numbers[int(i)] for i in np.linspace(0, len(numbers) - 1, 2 * SHEET_COLUMNS)})
    try:
        clip = open_clip(solution.clip.path, min_frames=1)
        cells, close, thumbnail = [], [], None
        anchor = lock_point(solution)
        near = {chosen[0], min(chosen, key=lambda n: abs(n - numbers[len(numbers) // 2])), chosen[-1]}
        for frame in chosen:
            image = clip.read(frame)
            if (thumbnail is None and frame >= numbers[len(numbers) // 2]) or (frame == chosen[-1] and thumbnail is None):
                thumbnail = _fit(image, THUMBNAIL_WIDTH, solution.clip.pixel_aspect)
            cells.append(draw_frame(solution, numbers.index(frame), image, anchor))
            if frame in near and anchor is not None:
                close.append(draw_close_up(solution, numbers.index(frame), image, anchor))
    except HoldfastError:
        return []
    cells += [np.zeros_like(cells[0])] * (-len(cells) % SHEET_COLUMNS) + close
    cells += [np.zeros_like(cells[0])] * (-len(cells) % SHEET_COLUMNS)
    rows = [np.hstack(cells[i : i + SHEET_COLUMNS]) for i in range(0, len(cells), SHEET_COLUMNS)]
    _write(folder / "thumbnail.jpg", thumbnail)
    _write(folder / "contact.jpg", np.vstack(rows))
    return ["thumbnail.jpg", "contact.jpg"]


def _write(path: Path, image: np.ndarray) -> None:
    path.write_bytes(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 60])[1].tobytes())


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
        _draw_cube(cell, solution, index, anchor, scale, np.zeros(2), 1)
    _caption(cell, str(int(solution.frame_numbers[index])))
    return cell


def draw_close_up(solution: Solution, index: int, image: np.ndarray, anchor: int) -> np.ndarray:
    """A cell that shows the cube of the lock test from near, without keypoints, and a cross on the point it stands on."""
    whole = _fit(image, SHEET_WIDTH, solution.clip.pixel_aspect)
    height, width = whole.shape[:2]
    scale = np.array([width / image.shape[1], height / image.shape[0]])
    larger = float(np.clip(1 / scale[0], 1, _CLOSE_UP))
    picture = cv2.resize(image, None, fx=scale[0] * larger, fy=scale[1] * larger, interpolation=cv2.INTER_AREA)
    spot = project_points(solution, index, solution.points[[anchor]])[0][0] * scale * larger
    limits = np.array([picture.shape[1] - width, picture.shape[0] - height])
    corner = np.clip(np.nan_to_num(spot - [width / 2, height / 2]), 0, np.maximum(limits, 0)).astype(int)
    cell = picture[corner[1] : corner[1] + height, corner[0] : corner[0] + width].copy()
    cell = cv2.copyMakeBorder(cell, 0, height - cell.shape[0], 0, width - cell.shape[1], cv2.BORDER_CONSTANT)
    _draw_cube(cell, solution, index, anchor, scale * larger, corner, 2)
    at = tuple(int(v) for v in np.clip(np.nan_to_num(np.round(spot - corner)), -(10**4), 10**4))
    cv2.drawMarker(cell, at, (60, 60, 255), cv2.MARKER_CROSS, 9, 1, cv2.LINE_AA)
    _caption(cell, f"{int(solution.frame_numbers[index])}  lock test")
    return cell


def _draw_cube(
    cell: np.ndarray, solution: Solution, index: int, anchor: int, scale: np.ndarray, corner: np.ndarray, thickness: int
) -> None:
    """The wire cube around the anchor, turned so that the middle frame sees three of its sides."""
    middle = len(solution.frame_numbers) // 2
    depth = project_points(solution, middle, solution.points[[anchor]])[1][0]
    half = 0.03 * depth * solution.camera.width / solution.focal_px[middle]
    turned = cv2.Rodrigues(np.array([0.45, 0.0, 0.0]))[0] @ cv2.Rodrigues(np.array([0.0, 0.6, 0.0]))[0]
    world_from_cube = solution.cam_from_world[middle][:3, :3].T @ turned
    xy, depths = project_points(solution, index, solution.points[anchor] + half * _CUBE @ world_from_cube.T)
    if (depths > 0).all():
        corners = np.clip(np.round((xy * scale - corner) * 16), -(10**6), 10**6).astype(int)
        for a, b in _EDGES:
            cv2.line(cell, tuple(map(int, corners[a])), tuple(map(int, corners[b])), (0, 220, 255), thickness, cv2.LINE_AA, 4)


def _caption(cell: np.ndarray, text: str) -> None:
    for colour, width in (((0, 0, 0), 3), ((255, 255, 255), 1)):
        cv2.putText(cell, text, (6, cell.shape[0] - 7), cv2.FONT_HERSHEY_SIMPLEX, 0.45, colour, width, cv2.LINE_AA)
