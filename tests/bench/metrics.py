"""How good a camera solve is, against ground truth. numpy only, but for reading a depth camera's pictures.

All lengths in px are given at 1920 px wide unless a name says otherwise; a solve made at another size is scaled first.
Cameras are world-from-camera 4x4 matrices, OpenCV axes; the image spans [0, W] x [0, H].
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

REFERENCE_WIDTH_PX = 1920.0
AUC_THRESHOLDS_DEG = (1.0, 3.0, 5.0)
# A pair of frames closer together than this share of the scene's depth has no direction of translation worth scoring.
DIRECTION_MIN_BASELINE = 2e-3


@dataclass
class Cameras:
    """Cameras of a shot, by frame number.

    c2w {frame: (4, 4)}; intrinsics {frame: (fx, fy, cx, cy)} px; k1, k2 of x_d = x_u (1 + k1 r² + k2 r⁴).
    observed {frame: (n, 3)}: solved points that the frame sees, in the solve's own world (empty for ground truth).
    row_time: of a rolling shutter, from the first row to the last, in frames; the cameras are those of the middle row.
    """

    width: int
    height: int
    c2w: dict[int, np.ndarray]
    intrinsics: dict[int, tuple[float, float, float, float]]
    k1: float = 0.0
    k2: float = 0.0
    observed: dict[int, np.ndarray] = field(default_factory=dict)
    row_time: float = 0.0

    def scaled_to(self, width: int) -> Cameras:
        """The same cameras with intrinsics in px of an image `width` px wide."""
        s = width / self.width
        if s == 1:
            return self
        scaled = {k: tuple(s * v for v in values) for k, values in self.intrinsics.items()}
        return Cameras(width, round(self.height * s), self.c2w, scaled, self.k1, self.k2, self.observed, self.row_time)


@dataclass
class Truth(Cameras):
    """Ground truth: cameras, true points seen in the middle frame, and z-depth of some frames.

    grid_xyz (N, 3) world points; depth {frame: (h, w)} metres over the pinhole image, NaN or 0 where there is none.
    scene_depth: median distance along z of the grid in the middle frame.
    """

    grid_xyz: np.ndarray = field(default_factory=lambda: np.zeros((0, 3)))
    depth: dict[int, np.ndarray] = field(default_factory=dict)
    scene_depth: float = 1.0
    name: str = ""
    info: dict = field(default_factory=dict)


def load_cameras(path: Path) -> Cameras:
    """Cameras of a solve.json, or of any file with the same keys."""
    data = json.loads(Path(path).read_text(encoding="utf-8"))
    frames = [f for f in data["frames"] if f.get("c2w") is not None]
    camera = data.get("camera", {})
    return Cameras(
        int(data["width"]), int(data["height"]),
        {int(f["frame"]): np.array(f["c2w"], float) for f in frames},
        {int(f["frame"]): (float(f["fx"]), float(f["fy"]), float(f["cx"]), float(f["cy"])) for f in frames},
        float(camera.get("k1", data.get("k1", 0.0)) or 0.0), float(camera.get("k2", data.get("k2", 0.0)) or 0.0),
        row_time=float(camera.get("row_time", data.get("rolling", 0.0)) or 0.0),
    )  # fmt: skip


def load_truth(path: Path) -> Truth:
    """A .gt.json with the depth maps beside it (NAME.depth.npz), where there are any."""
    path = Path(path)
    data = json.loads(path.read_text(encoding="utf-8"))
    base = load_cameras(path)
    grid = np.array(data.get("grid", {}).get("xyz", []), float).reshape(-1, 3)
    depth = {}
    beside = path.with_name(path.name.removesuffix(".gt.json") + ".depth.npz")
    if beside.exists():
        with np.load(beside) as maps:
            depth = {int(key): maps[key].astype(np.float32) for key in maps.files if key.isdigit()}
    depth |= _measured_depth(path.with_name(path.name.removesuffix(".gt.json") + ".depth"))
    seen = [float(np.median(d[d > 0])) for d in depth.values() if (d > 0).any()]
    scene_depth = float(np.median(seen)) if seen else 1.0
    if len(grid):
        middle = int(data["grid"]["frame"])
        w2c = np.linalg.inv(base.c2w[middle])
        scene_depth = float(np.median(grid @ w2c[2, :3] + w2c[2, 3]))
    info = {k: data[k] for k in ("shot", "seed", "fps", "rolling", "baseline_over_depth") if k in data}
    return Truth(
        base.width, base.height, base.c2w, base.intrinsics, base.k1, base.k2,
        grid_xyz=grid, depth=depth, scene_depth=scene_depth, name=data.get("shot", path.name), info=info,
    )  # fmt: skip


def _measured_depth(folder: Path) -> dict[int, np.ndarray]:
    """Maps of a depth camera, NNNNN.png in millimetres, in metres; 0 where there is none."""
    import cv2

    maps = {int(p.stem): cv2.imread(str(p), cv2.IMREAD_UNCHANGED) for p in sorted(folder.glob("*.png")) if p.stem.isdigit()}
    return {frame: values.astype(np.float32) / 1000 for frame, values in maps.items() if values is not None}


def similarity(source: np.ndarray, target: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    """(s, R, t) with target ≈ s R source + t in least squares (Umeyama 1991). source, target (N, 3)."""
    mean_s, mean_t = source.mean(0), target.mean(0)
    a, b = source - mean_s, target - mean_t
    u, d, vt = np.linalg.svd(b.T @ a / len(a))
    sign = np.diag([1.0, 1.0, np.sign(np.linalg.det(u @ vt)) or 1.0])
    rotation = u @ sign @ vt
    variance = (a**2).sum() / len(a)
    scale = float((d * np.diag(sign)).sum() / variance) if variance > 1e-18 else 1.0
    return scale, rotation, mean_t - scale * rotation @ mean_s


def rotation_angle_deg(rotation: np.ndarray) -> np.ndarray:
    """Angle of (…, 3, 3) rotations; exact for small angles too."""
    r = np.asarray(rotation, float)
    axis = np.stack([r[..., 2, 1] - r[..., 1, 2], r[..., 0, 2] - r[..., 2, 0], r[..., 1, 0] - r[..., 0, 1]], -1)
    return np.degrees(np.arctan2(np.linalg.norm(axis, axis=-1), np.trace(r, axis1=-2, axis2=-1) - 1))


def _rotation_vectors(rotation: np.ndarray) -> np.ndarray:
    """(N, 3) rotation vectors (radians) of small (N, 3, 3) rotations."""
    axis = 0.5 * np.stack(
        [rotation[:, 2, 1] - rotation[:, 1, 2], rotation[:, 0, 2] - rotation[:, 2, 0], rotation[:, 1, 0] - rotation[:, 0, 1]], -1
    )
    angle = np.radians(rotation_angle_deg(rotation))[:, None]
    return axis * np.where(angle > 1e-12, angle / np.maximum(np.sin(angle), 1e-12), 1.0)


def mean_rotation(gt: np.ndarray, estimate: np.ndarray) -> np.ndarray:
    """The one rotation R that best maps the estimate's orientations onto the truth's: gt_i ≈ R est_i. (N, 3, 3) each."""
    u, _, vt = np.linalg.svd(np.einsum("nij,nkj->ik", gt, estimate))
    return u @ np.diag([1.0, 1.0, np.linalg.det(u @ vt)]) @ vt


def score(truth: Truth, estimate: Cameras) -> dict:
    """All measures of one solve. Keys end in their unit; a measure that the shot does not allow is left out."""
    out: dict = {"frames": len(truth.c2w)}
    estimate = estimate.scaled_to(truth.width)
    frames = sorted(set(truth.c2w) & set(estimate.c2w))
    out["registered_pct"] = 100.0 * len(frames) / max(1, len(truth.c2w))
    out["registered"] = len(frames)
    if len(frames) < 3:
        return out
    g = np.array([truth.c2w[k] for k in frames])
    e = np.array([estimate.c2w[k] for k in frames])
    common = mean_rotation(g[:, :3, :3], e[:, :3, :3])
    error = np.einsum("nji,jk,nkl->nil", g[:, :3, :3], common, e[:, :3, :3])
    angles = rotation_angle_deg(error)
    out["rotation_rms_deg"] = float(np.sqrt(np.mean(angles**2)))
    out["rotation_max_deg"] = float(angles.max())
    scale = _trajectory(out, truth, g, e, common)
    _relative(out, truth, frames, g, e, scale)
    _pose_auc(out, truth, frames, g, e)
    _jitter(out, truth, frames, g, e, common, scale, error)
    focal_gt = np.array([truth.intrinsics[k][0] for k in frames])
    focal = np.array([estimate.intrinsics[k][0] for k in frames])
    out["focal_error_pct"] = float(100 * np.mean(np.abs(focal / focal_gt - 1)))
    out["distortion_error_px"] = distortion_error(truth, estimate, float(focal_gt.mean()), float(focal.mean()))
    for name, on_plate in (("slip", False), ("slip_plate", True)):
        residual = prop_slip(truth, estimate, frames, on_plate)
        if residual is not None:
            out[f"{name}_rms_px"] = float(np.sqrt((residual**2).mean()))
            out[f"{name}_p95_px"] = float(np.percentile(residual, 95))
            out[f"{name}_max_px"] = float(residual.max())
    out.update(cloud_depth_error(truth, estimate))
    return out


def _trajectory(out: dict, truth: Truth, g: np.ndarray, e: np.ndarray, common: np.ndarray) -> float:
    """Absolute error of the path: aligned by positions (ATE), and by orientations with a free scale. Returns that scale."""
    gc, ec = g[:, :3, 3] - g[:, :3, 3].mean(0), (e[:, :3, 3] - e[:, :3, 3].mean(0)) @ common.T
    extent = float(np.linalg.norm(gc, axis=1).max())
    out["extent_m"] = extent
    out["extent_over_depth_pct"] = 100 * extent / truth.scene_depth
    power = float((ec**2).sum())
    scale = float((ec * gc).sum() / power) if power > 1e-18 else 0.0
    fixed = float(np.sqrt(((gc - scale * ec) ** 2).sum(1).mean()))
    if extent > 1e-6 * truth.scene_depth:
        s, rotation, t = similarity(e[:, :3, 3], g[:, :3, 3])
        free = float(np.sqrt(((g[:, :3, 3] - (s * e[:, :3, 3] @ rotation.T + t)) ** 2).sum(1).mean()))
        out["ate_pct_extent"] = 100 * free / extent
        out["ate_oriented_pct_extent"] = 100 * fixed / extent
    out["ate_pct_depth"] = 100 * fixed / truth.scene_depth
    return scale


def _relative(out: dict, truth: Truth, frames: list[int], g: np.ndarray, e: np.ndarray, scale: float) -> None:
    """Relative pose error over 1 and 10 frames: rotation in degrees, translation in % of the scene's depth."""
    index = {frame: i for i, frame in enumerate(frames)}
    for gap in (1, 10):
        pairs = np.array([(i, index[f + gap]) for f, i in index.items() if f + gap in index])
        if not len(pairs):
            continue
        dg = np.linalg.inv(g[pairs[:, 0]]) @ g[pairs[:, 1]]
        de = np.linalg.inv(e[pairs[:, 0]]) @ e[pairs[:, 1]]
        angle = rotation_angle_deg(np.einsum("nji,njk->nik", dg[:, :3, :3], de[:, :3, :3]))
        shift = np.linalg.norm(dg[:, :3, 3] - scale * de[:, :3, 3], axis=1)
        out[f"rpe{gap}_rotation_deg"] = float(np.sqrt(np.mean(angle**2)))
        out[f"rpe{gap}_translation_pct_depth"] = float(100 * np.sqrt(np.mean(shift**2)) / truth.scene_depth)


def _pose_auc(out: dict, truth: Truth, frames: list[int], g: np.ndarray, e: np.ndarray) -> None:
    """Area under the recall curve of the pairwise pose error, the larger of rotation and direction of translation.

    Over all pairs of the shot's frames; a pair with an unregistered frame counts as lost. A pair whose true baseline is too
    short to have a direction is scored on rotation alone.
    """
    total = len(truth.c2w)
    a, b = np.triu_indices(len(frames), 1)
    dg, de = np.linalg.inv(g[a]) @ g[b], np.linalg.inv(e[a]) @ e[b]
    error = rotation_angle_deg(np.einsum("nji,njk->nik", dg[:, :3, :3], de[:, :3, :3]))
    length_g, length_e = np.linalg.norm(dg[:, :3, 3], axis=1), np.linalg.norm(de[:, :3, 3], axis=1)
    far = length_g > DIRECTION_MIN_BASELINE * truth.scene_depth
    cosine = (dg[:, :3, 3] * de[:, :3, 3]).sum(1) / np.maximum(length_g * length_e, 1e-18)
    direction = np.degrees(np.arccos(np.clip(cosine, -1, 1)))
    error = np.where(far, np.maximum(error, direction), error)
    pair_count = total * (total - 1) / 2
    for threshold in AUC_THRESHOLDS_DEG:
        # The recall curve is a staircase: each pair below the threshold adds the strip from its error to the threshold.
        out[f"auc{threshold:.0f}_pct"] = float(100 * np.clip(1 - error / threshold, 0, None).sum() / pair_count)


def _jitter(out: dict, truth: Truth, frames: list[int], g: np.ndarray, e: np.ndarray, common: np.ndarray, scale: float,
            rotation_error: np.ndarray) -> None:  # fmt: skip
    """Second differences of the error over neighbouring frames: what the eye sees as shake."""
    runs = np.diff(frames)
    ok = (runs[:-1] == 1) & (runs[1:] == 1)
    if not ok.any():
        return
    offset = g[:, :3, 3] - scale * e[:, :3, 3] @ common.T
    turn = np.degrees(_rotation_vectors(rotation_error))
    for name, values in (("jitter_position_pct_depth", 100 * offset / truth.scene_depth), ("jitter_rotation_deg", turn)):
        second = (values[2:] - 2 * values[1:-1] + values[:-2])[ok]
        out[name] = float(np.sqrt((second**2).sum(1).mean()))


def distortion_error(truth: Truth, estimate: Cameras, focal_gt: float, focal: float) -> float:
    """How far the two lenses bend the ray through the true image's corner apart, px at 1920 wide (focal errors left out)."""
    corner_px = 0.5 * float(np.hypot(truth.width, truth.height))
    radius = _undistort_radius(np.array([corner_px / focal_gt]), truth.k1, truth.k2)[0]
    pinhole_px = radius * focal_gt
    bend = []
    for f, k1, k2 in ((focal_gt, truth.k1, truth.k2), (focal, estimate.k1, estimate.k2)):
        r2 = (pinhole_px / f) ** 2
        bend.append(pinhole_px * (k1 * r2 + k2 * r2 * r2))
    return abs(bend[0] - bend[1]) * REFERENCE_WIDTH_PX / truth.width


def _undistort_radius(distorted: np.ndarray, k1: float, k2: float) -> np.ndarray:
    """Solve r (1 + k1 r² + k2 r⁴) = distorted by Newton."""
    r = np.array(distorted, float)
    for _ in range(30):
        value = r * (1 + k1 * r**2 + k2 * r**4) - distorted
        r = r - value / np.where(np.abs(s := 1 + 3 * k1 * r**2 + 5 * k2 * r**4) < 0.05, 0.05, s)
    return r


def prop_slip(truth: Truth, estimate: Cameras, frames: list[int], on_plate: bool = False) -> np.ndarray | None:
    """How far a prop pinned to a true scene point slides in the solved camera: residuals (M,) in px at 1920 wide.

    Each true point is triangulated again from its exact image track with the solved cameras (a homogeneous point, so one at
    infinity is fine); what is left in each frame is the slip. With on_plate the tracks run through the true lens and back
    through the solved one; without, both lenses are taken as pinholes.
    """
    if not len(truth.grid_xyz) or len(frames) < 2:
        return None
    w, h = truth.width, truth.height
    w2c_gt = np.linalg.inv(np.array([truth.c2w[k] for k in frames]))
    k_gt = np.array([truth.intrinsics[k] for k in frames])
    camera = np.einsum("fij,nj->fni", w2c_gt[:, :3, :3], truth.grid_xyz) + w2c_gt[:, None, :3, 3]
    z = camera[..., 2]
    safe_z = np.where(z > 0, z, 1.0)
    ray = camera[..., :2] / safe_z[..., None]  # (F, N, 2)
    uv = ray * k_gt[:, None, :2] + k_gt[:, None, 2:]
    seen = (z > 0) & (uv > 0).all(-1) & (uv[..., 0] < w) & (uv[..., 1] < h)
    k = np.array([estimate.intrinsics[f] for f in frames])
    if on_plate:
        r2 = (ray**2).sum(-1, keepdims=True)
        plate = ray * (1 + truth.k1 * r2 + truth.k2 * r2 * r2) * k_gt[:, None, :2] + k_gt[:, None, 2:]
        measured = straight_rays((plate - k[:, None, 2:]) / k[:, None, :2], estimate.k1, estimate.k2)
    else:
        measured = (uv - k[:, None, 2:]) / k[:, None, :2]
    w2c = np.linalg.inv(np.array([estimate.c2w[f] for f in frames]))[:, :3]
    residuals = [
        np.linalg.norm(triangulate(w2c[visible], measured[visible, n], k[visible, :2])[1], axis=1)
        for n in range(len(truth.grid_xyz))
        if (visible := np.flatnonzero(seen[:, n])).size >= 2
    ]
    return np.concatenate(residuals) * REFERENCE_WIDTH_PX / w if residuals else None


def straight_rays(distorted: np.ndarray, k1: float, k2: float) -> np.ndarray:
    """(…, 2) px over focal length with the lens's distortion taken out."""
    radius = np.linalg.norm(distorted, axis=-1, keepdims=True)
    straight = _undistort_radius(radius, k1, k2)
    return distorted * np.where(radius > 1e-9, straight / np.maximum(radius, 1e-9), 1)


def triangulate(w2c: np.ndarray, ray: np.ndarray, focal: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The best homogeneous point (4,) and its reprojection residuals (V, 2) px. w2c (V, 3, 4), ray (V, 2), focal (V, 2).

    Two starts: the linear solution, and the point at infinity in the mean direction. Cameras that share one place leave the
    linear solution undetermined (it may be that place itself); the point at infinity is then exact.
    """
    rows = np.concatenate([ray[:, i : i + 1, None] * w2c[:, 2:] - w2c[:, i : i + 1] for i in (0, 1)], 1).reshape(-1, 4)
    unit = max(float(np.abs(w2c[:, :, 3]).max()), 1e-9)  # balances the point's last coordinate against the others
    linear = np.linalg.svd(rows / [1, 1, 1, unit], full_matrices=False)[2][-1] / [1, 1, 1, unit]
    directions = np.einsum("vji,vj->vi", w2c[:, :, :3], np.c_[ray, np.ones(len(ray))])
    far = np.append((directions / np.linalg.norm(directions, axis=1, keepdims=True)).mean(0), 0.0)
    found = [_refined(w2c, ray, focal, start / np.linalg.norm(start)) for start in (linear, far)]
    return min(found, key=lambda f: float((f[1] ** 2).sum()))


def _refined(w2c: np.ndarray, ray: np.ndarray, focal: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(point (4,), residuals (V, 2) px) after Gauss-Newton on a homogeneous point, the best of all steps."""
    best_cost, best = np.inf, (x, np.full(ray.shape, np.inf))
    for _ in range(15):
        p = w2c @ x
        depth = np.where(np.abs(p[:, 2]) < 1e-12, 1e-12, p[:, 2])
        r = (p[:, :2] / depth[:, None] - ray) * focal
        cost = float((r**2).sum())
        if cost < best_cost:
            best_cost, best = cost, (x, r)
        jacobian_p = np.zeros((len(p), 2, 3))
        jacobian_p[:, 0, 0], jacobian_p[:, 1, 1] = focal[:, 0] / depth, focal[:, 1] / depth
        jacobian_p[:, :, 2] = -focal * p[:, :2] / depth[:, None] ** 2
        jacobian = (jacobian_p @ w2c).reshape(-1, 4)
        tangent = np.linalg.svd(x[None])[2][1:].T
        step = tangent @ np.linalg.lstsq(jacobian @ tangent, -r.ravel(), rcond=1e-12)[0]
        x = x + step
        x /= np.linalg.norm(x)
        if np.linalg.norm(step) < 1e-13:
            break
    return best


def cloud_depth_error(truth: Truth, estimate: Cameras) -> dict:
    """Depth of the solved points against the true depth maps, after one scale for the whole shot.

    Only points that the frame itself saw count. Median and 90th percentile of |z / z_true − 1| in %.
    """
    ratios = []
    for frame, depth in truth.depth.items():
        points = estimate.observed.get(frame)
        if points is None or frame not in estimate.c2w or not len(points):
            continue
        w2c = np.linalg.inv(estimate.c2w[frame])
        p = points @ w2c[:3, :3].T + w2c[:3, 3]
        p = p[p[:, 2] > 0]
        fx, fy, cx, cy = estimate.intrinsics[frame]
        u, v = fx * p[:, 0] / p[:, 2] + cx, fy * p[:, 1] / p[:, 2] + cy
        h, w = depth.shape
        column = np.floor(u * w / truth.width).astype(int)
        row = np.floor(v * h / truth.height).astype(int)
        inside = (column >= 1) & (column < w - 1) & (row >= 1) & (row < h - 1)
        p, column, row = p[inside], column[inside], row[inside]
        around = np.stack([depth[row + dr, column + dc] for dr in (-1, 0, 1) for dc in (-1, 0, 1)])
        # At a silhouette the map cannot say which side the point is on.
        flat = (around.min(0) > 0) & np.isfinite(around).all(0) & (around.max(0) < 1.15 * np.maximum(around.min(0), 1e-9))
        ratios.append(p[flat, 2] / depth[row[flat], column[flat]])
    if not ratios or sum(map(len, ratios)) < 10:
        return {}
    ratio = np.concatenate(ratios)
    deviation = np.abs(ratio / np.median(ratio) - 1)
    return {
        "cloud_depth_median_pct": float(100 * np.median(deviation)),
        "cloud_depth_p90_pct": float(100 * np.percentile(deviation, 90)),
        "cloud_points_scored": len(ratio),
    }
