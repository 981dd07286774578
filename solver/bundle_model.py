"""What the adjustment knows and what it may change: observations, unknowns, and the residuals with their derivatives.

A point is a direction n (unit) and an inverse distance rho from a fixed origin o, so that points without parallax
(rho near 0) are as well behaved as near ones (Civera et al., "Inverse Depth Parametrization for Monocular SLAM",
TRO 2008; with the anchor held constant). In camera coordinates, up to the positive factor rho,

    q = R (n + rho o) + rho t,      image = f (1 + k1 r^2 + k2 r^4) (q_x, q_y) / q_z,    r^2 = (q_x^2 + q_y^2) / q_z^2

and the point's depth is q_z / rho.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

MIN_RHO = 1e-5


@dataclass(frozen=True)
class Observations:
    """Pixels and depths to be explained. Observations are sorted by point.

    cam, point (M,) int; xy (M, 2) px from the principal point; sigma_px (M,);
    row_shift (M, 2) px: how far the image moved while the sensor was read down to this row, per unit of row time.
    sharpen (2, 2, M): symmetric matrices of determinant 1 that make the errors of pixels alike in all directions (elongation.py).
    Depth terms refer to pixel observations: depth_obs (D,) index into M; depth_key (D,) 0..K-1; depth_value (D,): disparity
    or log depth from the network; depth_weight (D,) relative confidence.
    """

    cam: np.ndarray
    point: np.ndarray
    xy: np.ndarray
    sigma_px: np.ndarray
    row_shift: np.ndarray
    cam_count: int
    point_count: int
    depth_obs: np.ndarray
    depth_key: np.ndarray
    depth_value: np.ndarray
    depth_weight: np.ndarray
    depth_is_log: bool
    key_count: int
    sharpen: np.ndarray
    weight: np.ndarray | float = 1.0  # (M,) how many ordinary ones each pixel observation counts as
    row_bend: np.ndarray | float = 0.0  # (M, 2) px: by how much it moved otherwise than evenly, per square of the row time

    @cached_property
    def pair(self) -> np.ndarray:
        """(M,) the number of each observation's camera and point among all pairs, camera by camera."""
        return self.cam * self.point_count + self.point

    def sharpened(self, px: np.ndarray) -> np.ndarray:
        """Vectors in the image (2, M), such as residuals, with errors alike in all directions."""
        out = self.sharpen[0] * px[0]
        out += self.sharpen[1] * px[1]
        return out

    def squares(self, residual: np.ndarray) -> np.ndarray:
        """(M,) px^2: squared lengths of residuals (M, 2), sharpened."""
        out = self.sharpened(residual.T)
        out *= out
        return out[0] + out[1]

    def pixels_of(self, rows: np.ndarray) -> Observations:
        """The pixel observations of the given rows, without depths; numbers of cameras and points stay."""
        each = (getattr(self, n)[rows] for n in ("cam", "point", "xy", "sigma_px", "row_shift"))
        some = Observations.without_depth(*each, self.cam_count, self.point_count, self.sharpen[..., rows])
        more = {n: getattr(self, n) for n in ("weight", "row_bend")}
        return replace(some, **{n: v if np.isscalar(v) else v[rows] for n, v in more.items()})

    @staticmethod
    def without_depth(cam, point, xy, sigma_px, row_shift, cam_count, point_count, sharpen=None) -> Observations:
        """Pixels only; without `sharpen` their errors are alike in all directions."""
        none = np.zeros(0)
        if sharpen is None:
            sharpen = np.broadcast_to(np.eye(2)[:, :, None], (2, 2, len(cam)))
        no_depth = none.astype(int), none.astype(int), none, none, True, 0
        return Observations(cam, point, xy, sigma_px, row_shift, cam_count, point_count, *no_depth, sharpen)


@dataclass(frozen=True)
class Unknowns:
    """The state. rotation (F, 3, 3), translation (F, 3): cam_from_world; log_focal (F,) of px; direction (P, 3) unit;
    rho (P,) inverse distance from origin (P, 3); key_scale, key_shift (K,): log scale and unused for log depth,
    for disparity: network value = scale / depth + shift."""

    rotation: np.ndarray
    translation: np.ndarray
    log_focal: np.ndarray
    k1: float
    k2: float
    row_time: float
    direction: np.ndarray
    rho: np.ndarray
    origin: np.ndarray
    key_scale: np.ndarray
    key_shift: np.ndarray

    def points(self) -> np.ndarray:
        """(P, 3) world positions; points at infinity are put far away."""
        return self.origin + self.direction / np.maximum(self.rho, MIN_RHO)[:, None]

    @cached_property
    def across(self) -> tuple[np.ndarray, np.ndarray]:
        """Two unit vectors across each direction, along which it may change."""
        return tangent(self.direction)

    def centres(self) -> np.ndarray:
        """(F, 3) camera positions."""
        return -np.einsum("fji,fj->fi", self.rotation, self.translation)


@dataclass(frozen=True)
class Freedom:
    """What may change, and the priors that hold it."""

    focal: bool = True
    focal_varies: bool = False
    k1: bool = False
    k2: bool = False
    row_time: bool = False
    translation: bool = True
    points: bool = True
    cameras: bool = True
    focal_prior_log: float = 0.0
    focal_prior_sigma: float = np.inf  # of log focal
    k1_prior_sigma: float = 0.3
    k2_prior_sigma: float = 0.3
    focal_smooth_sigma: float = 0.002  # second difference of log focal per frame^2
    racing_rad: float = 0.05  # turn per frame from which a camera whips round, and does not leap meanwhile
    depth_sigma: float = 0.05  # of log depth, or of disparity (whose values span about 1)
    depth_strength: float = 1.0  # weight of the whole depth term
    loss: str = "soft_l1"
    loss_width: float = 1.5  # in sigmas of a pixel observation

    @property
    def lens_columns(self) -> tuple[str, ...]:
        """Shared unknowns, in order."""
        names = []
        if self.focal and not self.focal_varies:
            names.append("focal")
        names += [n for n in ("k1", "k2", "row_time") if getattr(self, n)]
        return tuple(names)


def rotation_exp(w: np.ndarray) -> np.ndarray:
    """Rotation vectors (n, 3) to matrices (n, 3, 3)."""
    from scipy.spatial.transform import Rotation  # here: loading it takes a while, and tracking can begin without

    return Rotation.from_rotvec(w).as_matrix()


def tangent(n: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Two unit vectors across each direction n (P, 3)."""
    x, y, z = n.T
    # across n and the axis it leans to least of x and y, written out: np.cross takes longer than all the rest of a step
    first = np.abs(x) < 0.7
    zero = np.zeros_like(x)
    e1 = np.stack([np.where(first, zero, -z), np.where(first, z, zero), np.where(first, -y, x)], 1)
    e1 /= np.sqrt((e1**2).sum(1))[:, None]
    a, b, c = e1.T
    return e1, np.stack([y * c - z * b, z * a - x * c, x * b - y * a], 1)


@dataclass(frozen=True)
class Projection:
    """Residuals (M, 2) px and the middle results the derivatives need. Their columns are contiguous in memory."""

    residual: np.ndarray
    q: np.ndarray
    behind: np.ndarray


MOST_UNSEEN = 4  # pairs of a camera and a point for each that is an observation, up to which all pairs are the quickest way


def in_cameras(obs: Observations, x: Unknowns, vectors: np.ndarray) -> np.ndarray:
    """(3, M): what each observation's camera [R t] makes of its point's vector; vectors (P, 4)."""
    pose = np.concatenate([x.rotation, x.translation[:, :, None]], 2)
    if obs.cam_count * obs.point_count <= MOST_UNSEEN * len(obs.cam):
        pairs = pose.transpose(1, 0, 2).reshape(-1, 4) @ vectors.T
        return pairs.reshape(3, -1).take(obs.pair, axis=1)
    return np.einsum("mij,mj->im", pose.take(obs.cam, axis=0), vectors.take(obs.point, axis=0))


def project(obs: Observations, x: Unknowns) -> Projection:
    """Pixel residuals, predicted minus observed."""
    q = in_cameras(obs, x, np.concatenate([x.direction + x.rho[:, None] * x.origin, x.rho[:, None]], 1))
    behind = q[2] < 1e-6
    q[2][behind] = 1e-6
    u = q[:2] / q[2]
    scale = np.exp(x.log_focal).take(obs.cam)
    if x.k1 or x.k2:
        r2 = (u * u).sum(0)
        scale *= 1 + r2 * (x.k1 + r2 * x.k2)
    u *= scale
    u -= obs.xy.T
    if x.row_time:
        u += x.row_time * (obs.row_shift - x.row_time * obs.row_bend).T
    return Projection(u.T, q.T, behind)


@dataclass(frozen=True)
class PixelJacobians:
    """Pixel residuals with their derivatives. wide (2, C + L + 1 + P, M): by the camera's C = 6 or 7 unknowns (0 when cameras are
    held), by the L of the lens, the residual itself, and by the point's P = 3 (0 when points are held). Observations come last
    so that each step of the arithmetic runs along all of them."""

    wide: np.ndarray
    camera_columns: int
    lens_columns: int

    @property
    def residual_column(self) -> int:
        """Where in `wide` the residual is."""
        return self.camera_columns + self.lens_columns

    @property
    def by_cam(self) -> np.ndarray:
        """(2, 6 or 7, M)"""
        return self.wide[:, : self.camera_columns]

    @property
    def by_lens(self) -> np.ndarray:
        """(2, L, M)"""
        return self.wide[:, self.camera_columns : self.residual_column]

    @property
    def by_point(self) -> np.ndarray:
        """(2, 3, M)"""
        return self.wide[:, self.residual_column + 1 :]


def pixel_jacobians(
    obs: Observations, x: Unknowns, proj: Projection, free: Freedom, row_weight: np.ndarray | float = 1.0
) -> PixelJacobians:
    """The pixel residuals with their derivatives, sharpened, each observation's times its row_weight (M,)."""
    q, cam, point = proj.q.T, obs.cam, obs.point
    u = q[:2] / q[2]
    focal = np.exp(x.log_focal).take(cam) * row_weight
    bent = bool(x.k1 or x.k2)
    r2 = (u * u).sum(0) if bent or free.k1 or free.k2 else None
    scale = focal * (1 + r2 * (x.k1 + r2 * x.k2)) if bent else focal
    outwards = obs.sharpened(u)
    columns = 0 if not free.cameras else 7 if free.focal_varies else 6
    lens_columns = len(free.lens_columns)
    out = PixelJacobians(np.empty((2, columns + lens_columns + 1 + 3 * free.points, len(cam))), columns, lens_columns)
    wide = out.wide
    wide[:, out.residual_column] = obs.sharpened(proj.residual.T) * row_weight
    # d image / d (q_x, q_y, q_z), each (2, M)
    near = scale / q[2]
    by_x, by_y = obs.sharpen * near
    if bent:
        slope = 2 * focal * (x.k1 + 2 * x.k2 * r2) / q[2]
        by_x += slope * u[0] * outwards
        by_y += slope * u[1] * outwards
        near += slope * r2
    by_z = -near * outwards

    def of(vector: np.ndarray, into: np.ndarray) -> None:
        """d image / d q of a vector (3, M), into (2, M)."""
        np.multiply(by_x, vector[0], out=into)
        into += by_y * vector[1]
        into += by_z * vector[2]

    if free.cameras:
        # d q / d omega = -[q]x
        wide[:, 0] = by_z * q[1] - by_y * q[2]
        wide[:, 1] = by_x * q[2] - by_z * q[0]
        wide[:, 2] = by_y * q[0] - by_x * q[1]
        if free.translation:
            rho = x.rho.take(point)
            wide[:, 3], wide[:, 4], wide[:, 5] = by_x * rho, by_y * rho, by_z * rho
        else:
            wide[:, 3:6] = 0.0
    if columns == 7:
        wide[:, 6] = scale * outwards
    for at, name in enumerate(free.lens_columns, columns):
        if name == "row_time":
            wide[:, at] = obs.sharpened((obs.row_shift - 2 * x.row_time * obs.row_bend).T) * row_weight
        elif name == "focal":
            wide[:, at] = scale * outwards
        else:
            wide[:, at] = focal * (r2 if name == "k1" else r2 * r2) * outwards
    if free.points:
        # d q / d (e1, e2, rho) = R (e1, e2, origin) + (0, 0, t)
        none, one = np.zeros((len(x.rho), 1)), np.ones((len(x.rho), 1))
        for k, e in enumerate(x.across):
            of(in_cameras(obs, x, np.concatenate([e, none], 1)), out.by_point[:, k])
        if free.translation:
            of(in_cameras(obs, x, np.concatenate([x.origin, one], 1)), out.by_point[:, 2])
        else:
            out.by_point[:, 2] = 0.0
    return out


def depth_residuals(obs: Observations, x: Unknowns, proj: Projection) -> np.ndarray:
    """(D,) log depth against the network's, or the point's disparity, scaled and shifted, against the network's.

    The scale stands at the point's side: residuals are in the network's units, so making the whole scene larger or smaller
    (which pixels cannot see) does not change them.
    """
    at = obs.depth_obs
    rho = np.maximum(x.rho[obs.point[at]], MIN_RHO)
    if obs.depth_is_log:
        return np.log(proj.q[at, 2] / rho) - obs.depth_value - x.key_scale[obs.depth_key]
    return x.key_scale[obs.depth_key] * rho / proj.q[at, 2] + x.key_shift[obs.depth_key] - obs.depth_value


@dataclass(frozen=True)
class DepthJacobians:
    """Derivatives of the depth residuals: by the camera's unknowns of the given numbers (C', D), by the point's (3, D), by the
    keyframe's scale and shift (2, D). The camera's other unknowns change no depth."""

    camera_unknowns: tuple[int, ...]
    by_cam: np.ndarray
    by_point: np.ndarray
    by_key: np.ndarray


def depth_jacobians(
    obs: Observations, x: Unknowns, proj: Projection, free: Freedom, row_weight: np.ndarray | float = 1.0
) -> DepthJacobians:
    """Derivatives of the depth residuals, each times its row_weight (D,)."""
    at = obs.depth_obs
    cam, point = obs.cam[at], obs.point[at]
    q = proj.q.T[:, at]
    rho = np.maximum(x.rho.take(point), MIN_RHO)
    by_point = np.zeros((3, len(at)))
    by_key = np.zeros((2, len(at)))
    if obs.depth_is_log:
        by_z, by_rho = row_weight / q[2], -row_weight / rho
        by_key[0] = -row_weight
    else:
        scale = x.key_scale[obs.depth_key] * row_weight
        by_z, by_rho = -scale * rho / q[2] ** 2, scale / q[2]
        by_key[0], by_key[1] = rho / q[2] * row_weight, row_weight
    moving: tuple[int, ...] = () if not free.cameras else (0, 1, 5) if free.translation else (0, 1)
    by_cam = np.stack([by_z * q[1], -by_z * q[0], by_z * rho])[: len(moving)]
    if free.points:
        axis = x.rotation[:, 2].take(cam, axis=0)
        for k, e in enumerate(x.across):
            by_point[k] = by_z * np.einsum("mj,mj->m", axis, e.take(point, axis=0))
        if free.translation:
            along = np.einsum("mj,mj->m", axis, x.origin.take(point, axis=0)) + x.translation[cam, 2]
            by_point[2] = by_z * along + by_rho
    return DepthJacobians(moving, by_cam, by_point, by_key)


def step(x: Unknowns, d_cam: np.ndarray, d_lens: np.ndarray, d_key: np.ndarray, d_point: np.ndarray, free: Freedom) -> Unknowns:
    """Apply a step of the linearised system: d_cam (F, 6 or 7), d_lens (L,), d_key (K, 2), d_point (P, 3)."""
    turn = rotation_exp(d_cam[:, :3])
    rotation = turn @ x.rotation
    translation = (turn @ x.translation[:, :, None])[:, :, 0] + d_cam[:, 3:6]
    log_focal = x.log_focal + d_cam[:, 6] if free.focal_varies else x.log_focal
    lens = {"k1": x.k1, "k2": x.k2, "row_time": x.row_time}
    for name, value in zip(free.lens_columns, d_lens, strict=True):
        if name == "focal":
            log_focal = x.log_focal + value
        else:
            lens[name] += float(value)
    direction, rho = x.direction, x.rho
    if free.points:
        e1, e2 = x.across
        n = direction + d_point[:, :1] * e1 + d_point[:, 1:2] * e2
        length = np.sqrt((n * n).sum(1))
        direction = n / length[:, None]
        if free.translation:
            # q is homogeneous: dividing the direction by its length divides rho as well
            nearer = (rho + d_point[:, 2]) / length
            rho = np.maximum(nearer, 0.0)
    scale, shift = x.key_scale + d_key[:, 0], x.key_shift + d_key[:, 1]
    return Unknowns(
        rotation, translation, log_focal, lens["k1"], lens["k2"], lens["row_time"], direction, rho, x.origin, scale, shift
    )
