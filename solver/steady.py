"""A steadier path: what one frame's camera alone jumps by, and no camera does, is taken for noise and taken out.

Compression and grain shift whole pictures by hundredths of a pixel, all tracks alike, so no adjustment of single frames can
see it; the path in time can. How much of the path is noise is found from the path itself, by maximum likelihood: a motion
whose fourth differences are random (a spline in stochastic form: Wahba, "Improper Priors, Spline Smoothing and the Problem of
Guarding Against Model Errors in Regression", JRSS B 1978) plus noise that is white in time. A trembling hand looks like that
too, only larger: what is more than noise in the tracks could be is left alone.

Turning and travelling take up each other's noise. They are split into parts whose noise is unrelated, from all noise to all
motion (Switzer and Green, "Min/Max Autocorrelation Factors", 1984), and each part is steadied by itself.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.linalg import cho_solve_banded, cholesky_banded, eigh
from scipy.spatial.transform import Rotation

from .bundle_model import Unknowns, project, rotation_exp
from .reconstruct import Model, State
from .types import LABEL_STATIC
from .view import ShotView

FEWEST_FRAMES = 24  # in a row, to tell motion from noise
ORDER = 4  # of the differences that are random
NOISY_ORDER = 6  # of differences that are nearly all noise
KERNEL = np.array([1.0, -4.0, 6.0, -4.0, 1.0])  # what differences of ORDER weigh a frame and its neighbours by
RATIOS = 10.0 ** np.arange(-6, 6.1, 0.25)  # tried: variance of the random differences over that of the noise
SURE = 5.0  # log likelihood by which noise must explain the path better than motion alone
LARGEST_JUMP = 3.0  # deviations of the noise: a frame that would have to move further stays
JOLT = 8.0  # deviations from how the path changes usually, from which a jump parts it
MOST_NOISE = 0.2  # of the tracks' own: pictures shift by half of that, a hand trembles by more than all of it


def steady(view: ShotView, state: State, tracks: np.ndarray, model: Model) -> None:
    """Steady the cameras of a state, and the focal length of a zoom with them; state.steadied_px says by how much.

    tracks (N,) bool judge it: the path stays as it was where what is taken out is too much to be noise, and where the user's own
    tracks tell every frame its place.
    """
    if view.trusted.any():
        return
    frames = np.arange(view.frame_count)
    problem = view.problem(frames, tracks & state.world.known & (state.label == LABEL_STATIC), depth=False)
    if not len(problem.tracks):
        return
    before = state.world.gather(problem, view.depth_is_log)
    after = steadied(before, view.tracks.frame_numbers, translation=model.translation, focal_varies=model.focal_varies)
    residual = project(problem.obs, before).residual
    moved = np.hypot(*(project(problem.obs, after).residual - residual).T)
    if np.median(moved) > MOST_NOISE * np.median(np.hypot(*residual.T)):
        return
    state.world.scatter(problem, after)
    state.steadied_px = float(np.sqrt((moved**2).mean()))


def steadied(x: Unknowns, frame_numbers: np.ndarray, *, translation: bool, focal_varies: bool) -> Unknowns:
    """The unknowns with steadier cameras (F,), each row of frame_numbers (F,) one of them; gaps and jolts part the path."""
    rotation, shift, log_focal = x.rotation.copy(), x.translation.copy(), x.log_focal.copy()
    used = np.r_[[True] * 3, [translation] * 3, focal_varies]
    steps = np.diff(frame_numbers)
    for run in np.split(np.arange(len(frame_numbers)), np.nonzero(steps != np.median(steps))[0] + 1):
        path = path_of(x, run)
        noise = np.zeros_like(path)
        for part in between_jolts(path[:, used]):
            if len(part) >= FEWEST_FRAMES:
                noise[np.ix_(part, used)] = noise_of(path[np.ix_(part, used)])
        turn = rotation_exp(-noise[:, :3])
        rotation[run] = turn @ rotation[run]
        shift[run] = (turn @ shift[run, :, None])[:, :, 0] - noise[:, 3:6]
        log_focal[run] -= noise[:, 6]
    return replace(x, rotation=rotation, translation=shift, log_focal=log_focal)


def path_of(x: Unknowns, frames: np.ndarray) -> np.ndarray:
    """(n, 7) turn and travel as each camera itself feels them, summed up from the first frame, and log focal length.

    A small step of one camera (turn, then shift, in its own axes) adds to its row and to no other.
    """
    rotation, translation = x.rotation[frames], x.translation[frames]
    turn = rotation[1:] @ rotation[:-1].transpose(0, 2, 1)
    # where the camera before would have the world's origin, had it only turned
    shift = translation[1:] - (turn @ translation[:-1, :, None])[:, :, 0]
    steps = np.c_[Rotation.from_matrix(turn).as_rotvec(), shift]
    return np.c_[np.vstack([np.zeros(6), np.cumsum(steps, axis=0)]), x.log_focal[frames]]


def between_jolts(path: np.ndarray) -> list[np.ndarray]:
    """Rows of a path (n, d), parted where it jumps by far more than it usually does from frame to frame.

    A stretch that keeps jumping, as a whip pan does, is a part of its own.
    """
    rows = np.arange(len(path))
    if len(path) <= ORDER:
        return [rows]
    change = np.abs(np.diff(path, n=ORDER, axis=0))
    far = np.nonzero((change > JOLT * (1.4826 * np.median(change, axis=0) + 1e-12)).any(axis=1))[0]
    if not len(far):
        return [rows]
    # differences see a jump in all rows they reach over: it is where the last of them begins to see it
    stretches = np.split(far, np.nonzero(np.diff(far) > ORDER)[0] + 1)
    return np.split(rows, np.unique([[g[0] + ORDER, g[-1] + 1] for g in stretches]))


def noise_of(path: np.ndarray) -> np.ndarray:
    """The part (F, d) of a path (F, d), in any units, that is noise."""
    noise = np.zeros_like(path)
    moving = np.ptp(path, axis=0) > 1e-12 * (1 + np.abs(path).max(0))
    if not moving.any():
        return noise
    scale = np.maximum(np.std(np.diff(path[:, moving], n=NOISY_ORDER, axis=0), axis=0), 1e-15)
    series = path[:, moving] / scale
    fast, slow = (np.diff(series, n=n, axis=0) for n in (NOISY_ORDER, 2))
    ridge = 1e-9 * np.eye(series.shape[1])
    parts = eigh(slow.T @ slow / len(slow), fast.T @ fast / len(fast) + ridge)[1]
    noise[:, moving] = _noise_of_parts(series @ parts) @ np.linalg.inv(parts) * scale
    return noise


def _noise_of_parts(series: np.ndarray) -> np.ndarray:
    """The noise in each column of (F, d) by itself: none where motion alone explains the column about as well."""
    data = np.diff(series, n=ORDER, axis=0)
    count = len(data)
    of_noise = np.tile(np.correlate(KERNEL, KERNEL, "full")[ORDER:, None], count)  # covariance, lower banded form
    factors, likelihood = [], []
    for ratio in RATIOS:
        covariance = of_noise.copy()
        covariance[0] += ratio
        factors.append(cholesky_banded(covariance, lower=True, check_finite=False))
        variance = (data * cho_solve_banded((factors[-1], True), data, check_finite=False)).mean(0)  # of the noise, then
        likelihood.append(-0.5 * count * np.log(np.maximum(variance, 1e-300)) - np.log(factors[-1][0]).sum())
    likelihood = np.array(likelihood)
    noise = np.zeros_like(series)
    for k in np.nonzero(likelihood.max(0) > likelihood[-1] + SURE)[0]:
        solved = cho_solve_banded((factors[likelihood[:, k].argmax()], True), data[:, k], check_finite=False)
        found = np.convolve(solved, KERNEL)
        usual = 1.4826 * np.median(np.abs(found))
        noise[:, k] = np.where(np.abs(found) <= LARGEST_JUMP * usual, found, 0.0)
    return noise
