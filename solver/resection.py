"""Half-problems of the adjustment: cameras with the points held, and points with the cameras held.

Both fall apart into small independent systems that are solved all at once, so they cost little even for thousands of frames.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from .bundle import group_sums, products, robust
from .bundle_model import Freedom, Observations, Projection, Unknowns, pixel_jacobians, project, step
from .infinity import bound_steps, stays_at_infinity

SETTLED_GAIN = 3e-5  # relative, of a point's cost in one step
HOPELESS_DAMPING = 10.0


def _weights(obs: Observations, proj: Projection, loss: str, width: float) -> tuple[np.ndarray, np.ndarray]:
    s = obs.squares(proj.residual) / obs.sigma_px**2
    cost, weight = robust(s, loss, width)
    return np.where(proj.behind, 1e3, obs.weight * cost), np.where(proj.behind, 0.0, obs.weight * weight)


def _solve_small(hessian: np.ndarray, gradient: np.ndarray, damping: np.ndarray) -> np.ndarray:
    n = hessian.shape[1]
    i = np.arange(n)
    h = hessian.copy()
    diagonal = h[:, i, i]
    h[:, i, i] += damping[:, None] * diagonal + np.where(diagonal > 0, 1e-9 * diagonal + 1e-12, 1.0)
    return -np.linalg.solve(h, gradient[..., None])[..., 0]


def resect(
    obs: Observations,
    x: Unknowns,
    *,
    loss: str = "cauchy",
    width: float = 2.0,
    iterations: int = 10,
    translation: bool = True,
    focal: bool = False,
    focal_sigma: float = 0.05,
    pose_prior: float = 0.0,
) -> Unknowns:
    """Cameras (and, with focal, a focal length each, held near its start by focal_sigma in log) that see the points best.

    Every camera keeps its own damping; a camera without observations stays. pose_prior: weight of staying where it is,
    relative to the information of the observations.
    """
    free = Freedom(points=False, focal=focal, focal_varies=focal, translation=translation, loss=loss, loss_width=width)
    order = np.argsort(obs.cam, kind="stable")
    bounds = np.searchsorted(obs.cam[order], np.arange(obs.cam_count + 1))
    damping = np.full(obs.cam_count, 1e-4)
    start = x.log_focal.copy()
    no_lens, no_key = np.zeros(0 if focal else 1), np.zeros((len(x.key_scale), 2))
    free_columns = replace(free, focal=False) if not focal else free
    no_lens = np.zeros(len(free_columns.lens_columns))
    no_points = np.zeros((obs.point_count, 3))

    def costs(state: Unknowns) -> tuple[np.ndarray, Projection, np.ndarray]:
        proj = project(obs, state)
        cost, weight = _weights(obs, proj, loss, width)
        total = group_sums(cost[order], bounds)
        if focal:
            total = total + ((state.log_focal - start) / focal_sigma) ** 2
        return total, proj, weight

    unknowns = 7 if focal else 6
    normal = np.empty((obs.cam_count, unknowns + 1, unknowns + 1))
    cost, proj, weight = costs(x)
    for _ in range(iterations):
        root = np.sqrt(weight) / obs.sigma_px
        wide = pixel_jacobians(obs, x, proj, free_columns, root).wide
        wide = wide.take(order, axis=2)
        for f in range(obs.cam_count):
            j = wide[:, :, bounds[f] : bounds[f + 1]]
            normal[f] = j[0] @ j[0].T + j[1] @ j[1].T
        hessian, gradient = normal[:, :-1, :-1].copy(), normal[:, :-1, -1].copy()
        if focal:
            hessian[:, 6, 6] += focal_sigma**-2
            gradient[:, 6] += (x.log_focal - start) / focal_sigma**2
        d = _solve_small(hessian, gradient, damping + pose_prior)
        trial = step(x, d, no_lens, no_key, no_points, free_columns)
        trial_cost, trial_proj, trial_weight = costs(trial)
        better = trial_cost < cost
        damping = np.where(better, np.maximum(damping / 6, 1e-9), np.minimum(damping * 8, 1e6))
        gain = np.where(better, (cost - trial_cost) / np.maximum(cost, 1e-9), 0.0)
        x = replace(
            x,
            rotation=np.where(better[:, None, None], trial.rotation, x.rotation),
            translation=np.where(better[:, None], trial.translation, x.translation),
            log_focal=np.where(better, trial.log_focal, x.log_focal),
        )
        mine = better[obs.cam]
        cost = np.where(better, trial_cost, cost)
        weight = np.where(mine, trial_weight, weight)
        proj = Projection(
            np.where(mine[:, None], trial_proj.residual, proj.residual),
            np.where(mine[:, None], trial_proj.q, proj.q),
            np.where(mine, trial_proj.behind, proj.behind),
        )
        if (gain < 1e-5).all() and better.mean() > 0.9:
            break
    return x


def refine_points(
    obs: Observations, x: Unknowns, *, loss: str = "cauchy", width: float = 2.0, iterations: int = 10, translation: bool = True
) -> Unknowns:
    """Points that the given cameras see best. Points that have settled drop out of the work."""
    free = Freedom(cameras=False, focal=False, translation=translation, loss=loss, loss_width=width)
    no_cam, no_key = np.zeros((obs.cam_count, 6)), np.zeros((len(x.key_scale), 2))
    whole = x
    direction, rho = x.direction.copy(), x.rho.copy()
    active = np.arange(obs.point_count)
    damping = np.full(obs.point_count, 1e-4)
    cost = bounds = None
    for _ in range(iterations):
        if cost is None:
            bounds = np.searchsorted(obs.point, np.arange(obs.point_count + 1))
            proj = project(obs, x)
            each, weight = _weights(obs, proj, loss, width)
            cost = group_sums(each, bounds)
        root = np.sqrt(weight) / obs.sigma_px
        wide = pixel_jacobians(obs, x, proj, free, root).wide
        sums = group_sums(products(wide[:, 1:], wide), bounds)
        gradient, hessian = sums[:, :, 0], sums[:, :, 1:]
        if translation:
            held = stays_at_infinity(x.rho, gradient)
            hessian[held, 2, :2] = hessian[held, :2, 2] = gradient[held, 2] = 0.0
        d = _solve_small(hessian, gradient, damping)
        if translation:
            bound_steps(d, x.rho, hessian, gradient, damping)
        d[:, :2] = np.clip(d[:, :2], -0.2, 0.2)
        trial = step(x, no_cam, np.zeros(0), no_key, d, free)
        trial_proj = project(obs, trial)
        trial_each, trial_weight = _weights(obs, trial_proj, loss, width)
        trial_cost = group_sums(trial_each, bounds)
        better = trial_cost < cost
        damping = np.where(better, np.maximum(damping / 6, 1e-9), np.minimum(damping * 8, 1e6))
        gain = np.where(better, (cost - trial_cost) / np.maximum(cost, 1e-9), 0.0)
        direction[active[better]], rho[active[better]] = trial.direction[better], trial.rho[better]
        going = np.where(better, gain > SETTLED_GAIN, damping < HOPELESS_DAMPING)
        if not going.any():
            break
        # only those that still move go on, each from where it is best
        mine, stays = better[obs.point], going[obs.point]
        proj = Projection(
            np.where(mine[:, None], trial_proj.residual, proj.residual)[stays],
            np.where(mine[:, None], trial_proj.q, proj.q)[stays],
            np.where(mine, trial_proj.behind, proj.behind)[stays],
        )
        weight = np.where(mine, trial_weight, weight)[stays]
        cost = np.where(better, trial_cost, cost)[going]
        active, damping = active[going], damping[going]
        number = np.cumsum(going) - 1
        obs = obs.pixels_of(stays)
        obs = replace(obs, point=number[obs.point], point_count=len(active))
        bounds = np.searchsorted(obs.point, np.arange(obs.point_count + 1))
        x = replace(x, direction=direction[active], rho=rho[active], origin=x.origin[going])
    return replace(whole, direction=direction, rho=rho)


def point_information(obs: Observations, x: Unknowns) -> np.ndarray:
    """(P,) relative standard deviation of each point's depth, cameras taken as exact."""
    free = Freedom(cameras=False, focal=False)
    proj = project(obs, x)
    by_point = pixel_jacobians(obs, x, proj, free, 1 / obs.sigma_px).by_point
    bounds = np.searchsorted(obs.point, np.arange(obs.point_count + 1))
    h = group_sums(products(by_point, by_point), bounds)
    i = np.arange(3)
    h[:, i, i] += 1e-12 * (1 + h[:, i, i])
    # information of rho once the direction is free as well
    block = h[:, :2, :2]
    ridge = np.einsum("pi,pij,pj->p", h[:, :2, 2], np.linalg.inv(block + 1e-9 * np.eye(2)), h[:, :2, 2])
    left = np.maximum(h[:, 2, 2] - ridge, 1e-18)
    return np.minimum(1 / np.sqrt(left) / np.maximum(x.rho, 1e-5), 1e3)
