"""The depth-regularised adjustment: robust Levenberg-Marquardt with the points eliminated.

    E = sum_ij rho(|S_ij (image_ij - x_ij)| / sigma_ij) + strength * sum_kj w_kj rho_d(r_kj / sigma_d)

(Liu, Nie, Hamid, "Depth-Guided Sparse Structure-from-Motion for Movies and TV Shows", CVPR 2022, section 3.3; S_ij, of
determinant 1, makes an error that is larger one way than the other alike in all directions.) Points are eliminated by their
Schur complement (Triggs et al., "Bundle Adjustment - A Modern Synthesis", 2000, section 6). Tracks of a video are local in
time, so the complement is formed over windows of frames with dense BLAS.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import LinAlgError, cho_factor, cho_solve
from scipy.linalg.blas import dsyrk

from .bundle_model import (
    Freedom,
    Observations,
    Projection,
    Unknowns,
    depth_jacobians,
    depth_residuals,
    pixel_jacobians,
    project,
    step,
)
from .infinity import bound_steps, stays_at_infinity
from .leaps import leap_priors, racing_pairs

BEHIND_PENALTY = 1e3
POINTS_PER_WINDOW = 64  # neighbours are seen by about the same frames, so few span only a part of all


@dataclass(frozen=True)
class Adjusted:
    """Where the adjustment ended: state, cost, and the squared relative change of the last accepted step."""

    unknowns: Unknowns
    cost: float
    iterations: int
    converged: bool


def robust(s: np.ndarray, loss: str, width: float) -> tuple[np.ndarray, np.ndarray]:
    """Loss and weight (its derivative) of squared normalised residuals s; quadratic near zero."""
    c2 = width * width
    if loss == "soft_l1":
        root = np.sqrt(1 + s / c2)
        return 2 * c2 * (root - 1), 1 / root
    if loss == "cauchy":
        return c2 * np.log1p(s / c2), 1 / (1 + s / c2)
    if loss == "geman":
        return s / (1 + s / c2), 1 / (1 + s / c2) ** 2
    return s, np.ones_like(s)


def add_rows(target: np.ndarray, at: np.ndarray, values: np.ndarray) -> None:
    """target[at] += values, rows that occur more than once included; at is ascending (observations are sorted by point)."""
    if len(at):
        first = np.flatnonzero(np.concatenate([[True], at[1:] != at[:-1]]))
        target[at[first]] += np.add.reduceat(values, first, axis=0)


def group_sums(values: np.ndarray, bounds: np.ndarray) -> np.ndarray:
    """(G, ...): sums of values (..., M) between bounds (G + 1,)."""
    out = np.zeros((len(bounds) - 1, *values.shape[:-1]))
    seen = np.diff(bounds) > 0
    if seen.any():
        out[seen] = np.moveaxis(np.add.reduceat(values, bounds[:-1][seen], axis=-1), -1, 0)
    return out


def products(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(C, K, M): a^T b of each observation, a (2, C, M), b (2, K, M)."""
    out = a[0, :, None] * b[0]  # several times quicker than einsum where observations are few
    out += a[1, :, None] * b[1]
    return out


def _times_upper(a: np.ndarray, upper: np.ndarray) -> np.ndarray:
    """(C, 3, M): rows (C, 3, M) times upper triangles (3, 3, M)."""
    out = a * np.einsum("kkm->km", upper)
    out[:, 1] += a[:, 0] * upper[0, 1]
    out[:, 2] += a[:, 0] * upper[0, 2]
    out[:, 2] += a[:, 1] * upper[1, 2]
    return out


def slots(group: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows (count, most) of each group among group (M,), filled up with 0, and 1.0 where there is one, 0.0 where not."""
    size = np.bincount(group, minlength=count)
    place = np.arange(size.max(initial=0)) < size[:, None]
    rows = np.zeros(place.shape, int)
    rows[place] = np.argsort(group, kind="stable")
    return rows, place.astype(float)


def _invert(point: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Inverses C C^T of positive definite blocks (P, 3, 3), and their factors C, upper triangles; hopelessly thin blocks are
    fattened first."""
    i3 = np.arange(3)
    factor = np.zeros_like(point)
    for ridge in (0.0, 1e-7, 1e-5, 1e-3):
        (h00, h11, h22) = (point[:, i3, i3] * (1 + ridge)).T
        h10, h20, h21 = point[:, 1, 0], point[:, 2, 0], point[:, 2, 1]
        with np.errstate(invalid="ignore", divide="ignore"):
            # Cholesky's factor L, element by element, and its inverse
            l00 = np.sqrt(h00)
            l10, l20 = h10 / l00, h20 / l00
            l11 = np.sqrt(h11 - l10 * l10)
            l21 = (h21 - l20 * l10) / l11
            l22 = np.sqrt(h22 - l20 * l20 - l21 * l21)
            factor[:, 0, 0], factor[:, 1, 1], factor[:, 2, 2] = 1 / l00, 1 / l11, 1 / l22
            factor[:, 0, 1] = -l10 / (l00 * l11)
            factor[:, 1, 2] = -l21 / (l11 * l22)
            factor[:, 0, 2] = (l10 * l21 - l11 * l20) / (l00 * l11 * l22)
        if np.isfinite(factor).all():
            return factor @ factor.transpose(0, 2, 1), factor
    factor[:] = 0.0
    factor[:, i3, i3] = 1 / np.sqrt(np.maximum(point[:, i3, i3], 1e-12))
    return factor @ factor.transpose(0, 2, 1), factor


@dataclass
class _Linear:
    """Normal equations with the points still in: everything a damped solve needs."""

    camera: np.ndarray  # (N, N) cameras, lens, keyframes
    gradient: np.ndarray  # (N,)
    cross: np.ndarray  # (d, 3, M) camera of the observation x point
    cross_lens: np.ndarray  # (P, L, 3)
    cross_key: np.ndarray  # (2, 3, D)
    rho: np.ndarray  # (P,) inverse distances of the points, which end at infinity
    point: np.ndarray  # (P, 3, 3)
    point_gradient: np.ndarray  # (P, 3)


class Adjustment:
    """One problem: what was seen (obs), what may change (free)."""

    def __init__(self, obs: Observations, free: Freedom, focal_frames: np.ndarray | None = None) -> None:
        self.obs, self.free = obs, free
        self.d = 7 if free.focal_varies else 6
        self.lens = len(free.lens_columns)
        self.lens_at = obs.cam_count * self.d
        self.key_at = self.lens_at + self.lens
        self.size = self.key_at + 2 * obs.key_count
        self.by_cam, self.by_cam_is = slots(obs.cam, obs.cam_count)
        self.point_bounds = np.searchsorted(obs.point, np.arange(obs.point_count + 1))
        self.by_key, self.by_key_is = slots(obs.depth_key, obs.key_count)
        self.keys, first = np.unique(obs.depth_key, return_index=True)
        self.key_cam = obs.cam[obs.depth_obs[first]]
        self.frame_step = np.diff(focal_frames) if focal_frames is not None else np.ones(max(0, obs.cam_count - 1))
        self.racing: np.ndarray | None = None  # cameras that whip round to the next, once it is known where they look

    # cost -----------------------------------------------------------------------------------------------------------
    def cost(self, x: Unknowns) -> tuple[float, Projection]:
        """Half the robust sum of squares, with priors."""
        proj = project(self.obs, x)
        s = self.obs.squares(proj.residual) / self.obs.sigma_px**2
        pixels = self.obs.weight * robust(s, self.free.loss, self.free.loss_width)[0]
        total = pixels.sum() + BEHIND_PENALTY * proj.behind.sum()
        if len(self.obs.depth_obs):
            r = depth_residuals(self.obs, x, proj) / self.free.depth_sigma
            total += self.free.depth_strength * (self.obs.depth_weight * robust(r**2, "cauchy", 1.0)[0]).sum()
        for _, _, residual, weight in self._priors(x):
            total += weight * residual**2
        return 0.5 * float(total), proj

    def _priors(self, x: Unknowns) -> list[tuple[list[int], list[float], float, float]]:
        """(columns, derivatives, residual, weight) of each prior."""
        out = []
        free = self.free
        for i, name in enumerate(free.lens_columns):
            if name == "focal" and np.isfinite(free.focal_prior_sigma):
                out.append(([self.lens_at + i], [1.0], float(x.log_focal[0]) - free.focal_prior_log, free.focal_prior_sigma**-2))
            if name == "k1":
                out.append(([self.lens_at + i], [1.0], x.k1, free.k1_prior_sigma**-2))
            if name == "k2":
                out.append(([self.lens_at + i], [1.0], x.k2, free.k2_prior_sigma**-2))
            if name == "row_time":
                out.append(([self.lens_at + i], [1.0], x.row_time, 1.0))
        if free.focal_varies:
            if np.isfinite(free.focal_prior_sigma):
                n = len(x.log_focal)
                cols = [i * 7 + 6 for i in range(n)]
                out.append((cols, [1.0 / n] * n, float(x.log_focal.mean()) - free.focal_prior_log, free.focal_prior_sigma**-2))
            for i in range(1, len(x.log_focal) - 1):
                a, b = self.frame_step[i - 1], self.frame_step[i]
                # second derivative on uneven spacing, times the span it acts over
                w = np.array([2 / (a * (a + b)), -2 / (a * b), 2 / (b * (a + b))])
                r = float(w @ x.log_focal[i - 1 : i + 2])
                out.append(([(i + k) * 7 + 6 for k in (-1, 0, 1)], list(w), r, (a + b) / 2 / free.focal_smooth_sigma**2))
        if free.translation and free.cameras:
            if self.racing is None:
                self.racing = racing_pairs(x, self.frame_step, free.racing_rad)
            out += leap_priors(self.obs, x, self.racing, self.frame_step, self.d, self.key_at)
        return out

    # linear system --------------------------------------------------------------------------------------------------
    def linearise(self, x: Unknowns, proj: Projection) -> _Linear:
        """Gauss-Newton normal equations at x with the robust weights of x."""
        obs, free, d = self.obs, self.free, self.d
        s = obs.squares(proj.residual) / obs.sigma_px**2
        weight = obs.weight * robust(s, free.loss, free.loss_width)[1]
        root = np.sqrt(np.where(proj.behind, 0.0, weight)) / obs.sigma_px
        jacobians = pixel_jacobians(obs, x, proj, free, root)
        r = jacobians.residual_column
        wide, by_point = jacobians.wide, jacobians.by_point
        hessian = np.zeros((self.size, self.size))
        gradient = np.zeros(self.size)
        la, ka = self.lens_at, self.key_at
        by_cam = wide[:, : r + 1].take(self.by_cam, axis=2) * self.by_cam_is
        by_cam = by_cam.transpose(2, 1, 0, 3).reshape(obs.cam_count, r + 1, -1)
        n = by_cam @ by_cam.transpose(0, 2, 1)
        own = np.arange(la).reshape(-1, d)
        hessian[own[:, :, None], own[:, None, :]] = n[:, :d, :d]
        gradient[:la] = n[:, :d, -1].ravel()
        hessian[:la, la:ka] = n[:, :d, d:-1].reshape(la, -1)
        hessian[la:ka, :la] = hessian[:la, la:ka].T
        hessian[la:ka, la:ka] = n[:, d:-1, d:-1].sum(0)
        gradient[la:ka] = n[:, d:-1, -1].sum(0)
        # each observation's camera, lens, residual and point against its point
        cross = products(wide[:, :d], by_point)
        shared = group_sums(products(wide[:, d:], by_point), self.point_bounds)
        cross_lens, point_gradient, point = shared[:, : r - d], shared[:, r - d], shared[:, r - d + 1 :]
        cross_key = np.zeros((2, 3, len(obs.depth_obs)))
        if len(obs.depth_obs):
            self._add_depth(x, proj, hessian, gradient, cross, cross_key, point, point_gradient)
        for columns, slope, r, w in self._priors(x):
            slope = np.array(slope)
            columns = np.array(columns)
            hessian[columns[:, None], columns] += w * np.outer(slope, slope)
            gradient[columns] += w * r * slope
        return _Linear(hessian, gradient, cross, cross_lens, cross_key, x.rho, point, point_gradient)

    def _add_depth(self, x, proj, hessian, gradient, cross, cross_key, point, point_gradient) -> None:
        obs, free, d = self.obs, self.free, self.d
        unit = free.depth_sigma
        r = depth_residuals(obs, x, proj) / unit
        weight = robust(r**2, "cauchy", 1.0)[1] * obs.depth_weight * free.depth_strength
        root = np.sqrt(weight)
        r = r * root
        jacobians = depth_jacobians(obs, x, proj, free, root / unit)
        moving, by_cam, by_point, by_key = jacobians.camera_unknowns, jacobians.by_cam, jacobians.by_point, jacobians.by_key
        at = obs.depth_obs
        against = np.concatenate([by_point, r[None]])[:, None] * by_point
        sums = np.moveaxis(against, -1, 0)
        add_rows(point, obs.point[at], sums[:, :3])
        add_rows(point_gradient, obs.point[at], sums[:, 3])
        for c, along in zip(moving, by_cam, strict=True):
            cross[c][:, at] += along * by_point  # each observation has one depth at most
        cross_key[:] = by_key[:, None] * by_point
        both = np.concatenate([by_cam, by_key, r[None]]).take(self.by_key, axis=1) * self.by_key_is
        n = np.einsum("ckn,ekn->kce", both, both)[self.keys]
        cam, key = self.key_cam * d, self.key_at + 2 * self.keys
        where = np.stack([*(cam + c for c in moving), key, key + 1], 1)
        hessian[where[:, :, None], where[:, None, :]] += n[:, :-1, :-1]
        gradient[where] += n[:, :-1, -1]

    def hold_at_infinity(self, lin: _Linear) -> None:
        """Nothing else may move as if points that stay at infinity did."""
        held = stays_at_infinity(lin.rho, lin.point_gradient)
        if not held.any():
            return
        lin.cross[:, 2, held[self.obs.point]] = 0.0
        lin.cross_lens[held, :, 2] = 0.0
        lin.cross_key[:, 2, held[self.obs.point[self.obs.depth_obs]]] = 0.0
        lin.point[held, 2, :] = lin.point[held, :, 2] = 0.0
        lin.point_gradient[held, 2] = 0.0

    def reduce(self, lin: _Linear, damping: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Reduced system (N, N), its upper triangle alone, right side (N,) and the damped points' inverses (P, 3, 3)."""
        obs, d = self.obs, self.d
        point = lin.point.copy()
        i3 = np.arange(3)
        diagonal = point[:, i3, i3]
        # A direction that is weakly held keeps a floor, relative to the other ones, so that inverses exist.
        point[:, i3, i3] += damping * diagonal + np.where(diagonal > 0, 1e-9 * diagonal.max(1, keepdims=True) + 1e-12, 1.0)
        inverse, chol = _invert(point)
        reduced = lin.camera.copy()
        right = -lin.gradient.copy()
        half_lens = lin.cross_lens @ chol
        half_gradient = np.einsum("pji,pj->ip", chol, lin.point_gradient)
        columns = np.ascontiguousarray(chol.transpose(1, 2, 0))
        half_cross = _times_upper(lin.cross, columns.take(obs.point, axis=2)).reshape(d * 3, -1)
        half_key = _times_upper(lin.cross_key, columns.take(obs.point[obs.depth_obs], axis=2)).reshape(6, -1)
        la = self.lens_at
        for p0 in range(0, obs.point_count, POINTS_PER_WINDOW):
            p1 = min(p0 + POINTS_PER_WINDOW, obs.point_count)
            a, b = self.point_bounds[p0], self.point_bounds[p1]
            if a == b:
                continue
            cam, pt = obs.cam[a:b], obs.point[a:b] - p0
            f0, f1 = int(cam.min()), int(cam.max()) + 1
            n = p1 - p0
            rows = (f1 - f0) * d
            e = np.zeros((rows + self.size - la, 3, n))
            e[:rows].reshape(f1 - f0, d * 3, n)[cam - f0, :, pt] = half_cross[:, a:b].T
            e[rows : rows + self.lens] = half_lens[p0:p1].transpose(1, 2, 0)
            if obs.key_count:
                i0, i1 = np.searchsorted(obs.depth_obs, [a, b])
                view = e[rows + self.lens :].reshape(obs.key_count, 6, n)
                view[obs.depth_key[i0:i1], :, obs.point[obs.depth_obs[i0:i1]] - p0] = half_key[:, i0:i1].T
            e = e.reshape(rows + self.size - la, 3 * n)
            product = dsyrk(1.0, e.T, trans=1, lower=1).T  # upper triangle of e e^T
            c = slice(f0 * d, f1 * d)
            reduced[c, c] -= product[:rows, :rows]
            reduced[c, la:] -= product[:rows, rows:]
            reduced[la:, la:] -= product[rows:, rows:]
            along = e @ half_gradient[:, p0:p1].ravel()
            right[c] += along[:rows]
            right[la:] += along[rows:]
        return reduced, right, inverse

    def back_substitute(self, lin: _Linear, inverse: np.ndarray, d_all: np.ndarray, damping: float) -> np.ndarray:
        """Point steps (P, 3) from the camera, lens and keyframe steps; none goes beyond infinity."""
        obs, d = self.obs, self.d
        right = lin.point_gradient.copy()
        d_cam = d_all[: self.lens_at].reshape(-1, d)
        along = np.einsum("dkm,dm->km", lin.cross, d_cam.T.take(obs.cam, axis=1))
        right += group_sums(along, self.point_bounds)
        if self.lens:
            right += np.einsum("plk,l->pk", lin.cross_lens, d_all[self.lens_at : self.key_at])
        if len(obs.depth_obs):
            d_key = d_all[self.key_at :].reshape(-1, 2)
            add_rows(right, obs.point[obs.depth_obs], np.einsum("dkm,md->mk", lin.cross_key, d_key[obs.depth_key]))
        d_point = -np.einsum("pij,pj->pi", inverse, right)
        if self.free.translation:
            bound_steps(d_point, lin.rho, lin.point, right, np.full(len(d_point), damping))
        return d_point

    def solve_damped(self, lin: _Linear, damping: float) -> tuple[np.ndarray, np.ndarray] | None:
        """Steps (N,) and (P, 3); None when the reduced system is not positive definite."""
        reduced, right, inverse = self.reduce(lin, damping)
        diagonal = np.diag(lin.camera)
        index = np.arange(self.size)
        reduced[index, index] += damping * diagonal + np.where(diagonal > 0, 1e-10 * diagonal, 1.0) + 1e-12
        try:
            factor = cho_factor(reduced, lower=False, overwrite_a=True, check_finite=False)
        except LinAlgError:
            return None
        d_all = cho_solve(factor, right, check_finite=False)
        if not np.isfinite(d_all).all():
            return None
        return d_all, self.back_substitute(lin, inverse, d_all, damping)

    def covariance_of_lens(self, x: Unknowns) -> dict[str, float]:
        """Standard deviation of each shared unknown, given unit-variance normalised residuals, all else free.

        "focal" is there as well where it varies: the root of its mean variance over the cameras.
        """
        _, proj = self.cost(x)
        lin = self.linearise(x, proj)
        reduced, _, _ = self.reduce(lin, 1e-9)
        names = list(self.free.lens_columns)
        columns = [*range(self.lens_at, self.key_at)]
        if self.free.focal_varies:
            names += ["focal"] * self.obs.cam_count
            columns += range(6, self.lens_at, self.d)
        diagonal = np.diag(lin.camera)
        index = np.arange(self.size)
        # The gauge (7 directions) is held by a whisper of damping; the lens is not part of it.
        reduced[index, index] += np.where(diagonal > 0, 1e-8 * diagonal, 1.0)
        try:
            inverse = cho_solve(cho_factor(reduced, check_finite=False), np.eye(self.size)[:, columns])
        except LinAlgError:
            return dict.fromkeys(names, np.inf)
        variance = np.maximum(inverse[columns, np.arange(len(columns))], 0)
        return {name: float(np.sqrt(np.mean([v for n, v in zip(names, variance, strict=True) if n == name]))) for name in names}

    # iteration ------------------------------------------------------------------------------------------------------
    def run(
        self, x: Unknowns, max_iterations: int = 20, tolerance: float = 1e-5, damping: float = 1e-5, progress=None
    ) -> Adjusted:
        """Levenberg-Marquardt until the cost falls by less than tolerance (relative) or the iterations are used up."""
        cost, proj = self.cost(x)
        done = False
        used = idle = 0
        for used in range(1, max_iterations + 1):
            lin = self.linearise(x, proj)
            if self.free.translation:
                self.hold_at_infinity(lin)
            accepted = False
            for attempt in range(8):  # noqa: B007  (read below)
                solved = self.solve_damped(lin, damping)
                if solved is not None:
                    d_all, d_point = solved
                    trial = step(
                        x,
                        d_all[: self.lens_at].reshape(-1, self.d),
                        d_all[self.lens_at : self.key_at],
                        d_all[self.key_at :].reshape(-1, 2),
                        d_point,
                        self.free,
                    )
                    trial_cost, trial_proj = self.cost(trial)
                    if np.isfinite(trial_cost) and trial_cost < cost:
                        accepted = True
                        break
                damping = max(damping * 8, 1e-8)
            if not accepted:
                done = True
                break
            gain = (cost - trial_cost) / max(cost, 1e-12)
            x, cost, proj = trial, trial_cost, trial_proj
            if attempt == 0:  # a level that was just found too low is not tried again at once
                damping = max(damping / 10, 1e-10)
            if progress is not None:
                progress(used, max_iterations)
            # Along a flat valley (focal length against depth) a damped step gains little however far there is to go
            idle = idle + 1 if gain < tolerance else 0
            if idle and (damping < 1e-7 or idle >= 3):
                done = True
                break
        return Adjusted(x, cost, used, done)
