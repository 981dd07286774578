"""A solved shot made from exact geometry, as load_solution would give it: for tests of refining, with the truth beside it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from solver.bundle_model import rotation_exp
from solver.poses import world_from_cam
from solver.types import Camera, ClipInfo, Settings, Solution, Tracks, Verdict

WIDTH, HEIGHT, FOCAL = 1280, 720, 1300.0


@dataclass
class Shot:
    """solution: as solved; cam_from_world (F, 4, 4), points (N, 3): the truth."""

    solution: Solution
    cam_from_world: np.ndarray
    points: np.ndarray


def cameras(frames: int, travel: float = 0.8) -> np.ndarray:
    """(F, 4, 4) cam_from_world of a sideways move with a little shake; the first at the origin."""
    s = np.linspace(0, 1, frames)
    rotation = rotation_exp(np.c_[0.01 * np.sin(9 * s), 0.12 * s, 0.01 * np.sin(7 * s)])
    centre = np.c_[travel * s, 0.05 * np.sin(6 * s) * travel, 0.3 * travel * s]
    out = np.tile(np.eye(4), (frames, 1, 1))
    out[:, :3, :3] = rotation
    out[:, :3, 3] = -np.einsum("fij,fj->fi", rotation, centre)
    return out


def project(points: np.ndarray, cam: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pixels (N, 2), and which lie in the picture."""
    q = points @ cam[:3, :3].T + cam[:3, 3]
    xy = FOCAL * q[:, :2] / q[:, 2:] + (WIDTH / 2, HEIGHT / 2)
    return xy, (q[:, 2] > 0.1) & (xy > 8).all(1) & (xy < (WIDTH - 8, HEIGHT - 8)).all(1)


def make(frames: int = 30, count: int = 220, noise_px: float = 0.05, seed: int = 5, first: int = 1001) -> Shot:
    """A room of points seen by a camera that travels; tracks with noise, every tenth held out."""
    rng = np.random.default_rng(seed)
    truth = cameras(frames)
    points = np.c_[rng.uniform(-3, 3.5, count), rng.uniform(-1.6, 1.6, count), rng.uniform(3.5, 9, count)]
    rows = []
    for f in range(frames):
        xy, inside = project(points, truth[f])
        rows += [(t, f, *xy[t]) for t in np.nonzero(inside)[0]]
    rows.sort()
    table = np.array(rows)
    length = np.bincount(table[:, 0].astype(int), minlength=count)
    table = table[length[table[:, 0].astype(int)] >= 6]
    alive, track = np.unique(table[:, 0].astype(int), return_inverse=True)
    points = points[alive]
    n = len(alive)
    numbers = np.arange(first, first + frames)
    tracks = Tracks(
        numbers,
        track.astype(np.int32),
        table[:, 1].astype(np.int32),
        table[:, 2:] + rng.normal(0, noise_px, (len(table), 2)),
        np.full(len(table), 0.05, np.float32),
        n,
    )
    held = np.zeros(n, bool)
    held[::10] = True
    ids = np.arange(n)
    verdict = Verdict("good", "solved", "free", True, "measured", (0.99 * FOCAL, 1.01 * FOCAL), "not determined", "none", 0.1)
    solution = Solution(
        clip=ClipInfo("shot.mp4", WIDTH, HEIGHT, 24.0, first, tuple(numbers.tolist()), frame_count=frames, is_sequence=True),
        camera=Camera(WIDTH, HEIGHT, WIDTH / 2, HEIGHT / 2),
        frame_numbers=numbers,
        cam_from_world=truth.copy(),
        focal_px=np.full(frames, FOCAL),
        frame_error_px=np.full(frames, 0.1),
        frame_tracks=np.full(frames, n),
        points=points.copy(),
        point_track=ids,
        point_colour=np.full((n, 3), 90, np.uint8),
        point_error_px=np.full(n, 0.1),
        point_length=np.bincount(track, minlength=n),
        point_depth_sigma=np.full(n, 0.01),
        tracks=tracks,
        track_label=np.zeros(n, int),
        track_held_out=held,
        keyframes=(),
        depth_maps=(),
        verdict=verdict,
        quality={"noise_levels": 1.0},
        depth_source={"name": "none", "provider": "", "kind": ""},
        settings=Settings().record(),
        track_colour=np.full((n, 3), 90, np.uint8),
    )
    return Shot(solution, truth, points)


def with_xy(solution: Solution, xy: np.ndarray) -> Solution:
    """The solution with other places of its tracks."""
    return replace(solution, tracks=replace(solution.tracks, xy=xy))


def slip_px(solution: Solution, shot: Shot) -> float:
    """RMS distance (px) over all frames and points between where the true camera sees a true point and where the solved camera
    sees it, after the solve was laid over the truth by its points.
    """
    a, b = solution.points, shot.points[solution.point_track]
    # robust to a few bad points: similarity from the better half, twice
    use = np.ones(len(a), bool)
    for _ in range(4):
        p, q = a[use] - a[use].mean(0), b[use] - b[use].mean(0)
        u, d, vt = np.linalg.svd(q.T @ p)
        fix = np.diag([1, 1, np.linalg.det(u @ vt)])
        rotation = u @ fix @ vt
        scale = (d @ np.diag(fix)) / (p**2).sum()
        shift = b[use].mean(0) - scale * rotation @ a[use].mean(0)
        off = np.linalg.norm(scale * a @ rotation.T + shift - b, axis=1)
        use = off <= np.median(off) * 2
    back = (shot.points - shift) @ rotation / scale
    total, n = 0.0, 0
    index = {int(f): i for i, f in enumerate(shot.solution.frame_numbers)}
    for i, number in enumerate(solution.frame_numbers):
        true, inside = project(shot.points, shot.cam_from_world[index[int(number)]])
        q = back @ solution.cam_from_world[i, :3, :3].T + solution.cam_from_world[i, :3, 3]
        seen = solution.focal_px[i] * q[:, :2] / q[:, 2:] + (solution.camera.cx, solution.camera.cy)
        total += ((seen - true)[inside] ** 2).sum()
        n += inside.sum()
    return float(np.sqrt(total / n))


def centres(solution: Solution) -> np.ndarray:
    """(F, 3) camera positions."""
    return world_from_cam(solution.cam_from_world)[:, :3, 3]
