"""What belongs together by its parallax: the near part of a set, told from people in front of it.

A camera that only turns explains the far end of a set. What it leaves of a point at rest is what it would leave of a far plane,
and beyond that the camera's path, shrunk by the point's distance: the same few numbers per frame for all of them (plane plus
parallax: Irani and Anandan, "Parallax Geometry of Pairs of Points for 3D Scene Analysis", ECCV 1996). People leave paths of their
own. No lens, start or depth is needed to see that, so it finds the set where every path begun from its far end is false: too
little parallax is left there to tell one path from another.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from .bundle_model import project
from .movers import share_of_picture
from .parallel import side_by_side
from .reconstruct import State
from .types import LABEL_STATIC
from .view import ShotView

SEEDS, NEIGHBOURS = 20, 12  # places where a path is looked for, and the tracks around each that it is begun with
BEGIN_ROUNDS, GROW_ROUNDS = 4, 8
LEAST_VIEWS = 5
QUIETEST = 0.4  # share of what turns that tells the noise
WITHIN = 1.7  # times the noise: what a path explains
GROSS = 5.0  # times the noise from which an observation counts no more
PLANE, PATH = 8, 3  # numbers per frame
FLAT = 0.05  # how much the path along the axis, which a small patch hardly sees, is held back
STIFF = 1e-3  # of the common weight, by which a plane's motion is held back where nothing tells it


@dataclass(frozen=True)
class Left:
    """What a turn leaves: shift (n, F, 2) px and its weight (n, F), 0 where unseen, of tracks (n,).

    plane (n, 2, 8), path (n, 2, 3): how a frame's numbers move each of them, the path's at distance 1.
    """

    tracks: np.ndarray
    shift: np.ndarray
    weight: np.ndarray
    plane: np.ndarray
    path: np.ndarray

    def without_mean(self, values: np.ndarray) -> np.ndarray:
        """values (n, F, 2) without each track's mean: its direction is not known but from them."""
        total = np.maximum(self.weight.sum(axis=1), 1e-12)
        return values - (np.einsum("nf,nfc->nc", self.weight, values) / total[:, None])[:, None]

    def fitted(self, motion: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Under a motion (F, 11): each track's inverse distance (n,), its mean shift (n, 2), and what is left then (n,), in
        units of the noise."""
        beyond = self.without_mean(self.shift - np.einsum("nck,fk->nfc", self.plane, motion[:, :PLANE]))
        along = self.without_mean(np.einsum("nck,fk->nfc", self.path, motion[:, PLANE:]))
        near = np.einsum("nf,nfc,nfc->n", self.weight, along, beyond)
        near /= np.maximum(np.einsum("nf,nfc,nfc->n", self.weight, along, along), 1e-12)
        e2 = np.minimum(self.weight * ((beyond - near[:, None, None] * along) ** 2).sum(axis=2), GROSS**2)
        seen = (self.weight > 0).sum(axis=1)
        total = np.maximum(self.weight.sum(axis=1), 1e-12)
        mean = np.einsum("nf,nfc->nc", self.weight, self.shift - self._moved(motion, near)) / total[:, None]
        return near, mean, np.sqrt(e2.sum(axis=1) / np.maximum(2 * seen - 3, 1))

    def _moved(self, motion: np.ndarray, near: np.ndarray) -> np.ndarray:
        lever = np.concatenate([self.plane, near[:, None, None] * self.path], axis=2)
        return np.einsum("nck,fk->nfc", lever, motion)

    def motion(self, those: np.ndarray, near: np.ndarray, mean: np.ndarray, moves: bool = True) -> np.ndarray:
        """The motion (F, 11) that tracks `those` (indices) at inverse distances near (n,) tell; moves: a path beside the
        plane's."""
        w = self.weight[those]
        lever = np.concatenate([self.plane, near[:, None, None] * self.path], axis=2)[those]
        lever = lever if moves else lever[:, :, :PLANE]
        each = np.einsum("nck,ncl->nkl", lever, lever)
        normal = (w.T @ each.reshape(len(those), -1)).reshape(-1, *each.shape[1:])
        pull = w[:, :, None] * (self.shift[those] - mean[those, None])
        right = pull[:, :, 0].T @ lever[:, 0] + pull[:, :, 1].T @ lever[:, 1]
        hold = np.full(lever.shape[2], STIFF) * np.trace(normal, axis1=1, axis2=2).max() / lever.shape[2]
        normal += np.eye(len(hold)) * hold
        if moves:
            normal[:, -1, -1] += FLAT * normal[:, PLANE, PLANE]
        found = np.linalg.solve(normal, right[..., None])[..., 0]
        if not moves:
            return np.concatenate([found, np.zeros((len(found), PATH))], axis=1)
        found[:, PLANE:] /= max(float(np.sqrt((found[:, PLANE:] ** 2).sum(axis=1).mean())), 1e-12)
        return found


def left_by_turn(view: ShotView, turning: State, frames: np.ndarray, tracks: np.ndarray) -> Left:
    """What a camera that only turns leaves of the tracks (N,) bool that are seen often enough."""
    problem = view.problem(frames, tracks & turning.world.known, min_views=LEAST_VIEWS, depth=False)
    obs = problem.obs
    residual = project(obs, turning.world.gather(problem, view.depth_is_log)).residual
    n = len(problem.tracks)
    shift, weight = np.zeros((n, len(frames), 2)), np.zeros((n, len(frames)))
    shift[obs.point, obs.cam] = residual
    weight[obs.point, obs.cam] = 1 / obs.sigma_px**2
    focal = float(np.exp(np.median(turning.world.log_focal[frames])))
    seen = np.maximum(np.bincount(obs.point, minlength=n), 1)
    x, y = (np.bincount(obs.point, obs.xy[:, c], minlength=n) / seen / focal for c in (0, 1))
    one, nil = np.ones(n), np.zeros(n)
    plane = np.stack([[one, nil, x, nil, y, nil, x * x, x * y], [nil, one, nil, x, nil, y, x * y, y * y]]).transpose(2, 0, 1)
    path = np.stack([[one, nil, -x], [nil, one, -y]]).transpose(2, 0, 1)
    return Left(problem.tracks, shift, weight, plane, path)


def sharing_a_path(view: ShotView, turning: State, frames: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """(N,) bool: those of the chosen tracks that the turn explains together with one path, the path by which they take up most of
    the picture."""
    left = left_by_turn(view, turning, frames, chosen)
    far = np.nonzero(turning.label[left.tracks] == LABEL_STATIC)[0]
    near = np.setdiff1d(np.arange(len(left.tracks)), far)
    if len(far) < NEIGHBOURS or len(near) < NEIGHBOURS:
        return np.zeros(len(chosen), bool)
    left, plane = _in_units_of_noise(left, far)
    place = left.plane[near, 0][:, [2, 4]]

    def group(seed: int) -> np.ndarray:
        distance = ((place - place[seed]) ** 2).sum(axis=1)
        explained = _grown(left, plane, far, near[np.argsort(distance, kind="stable")[:NEIGHBOURS]])
        out = np.zeros(len(chosen), bool)
        out[left.tracks[explained]] = True
        return out

    groups = side_by_side(group, _apart(place, SEEDS))
    return max(groups, key=lambda group: share_of_picture(view, frames, chosen, group))


def _in_units_of_noise(left: Left, far: np.ndarray) -> tuple[Left, np.ndarray]:
    """The same with weights in units of what far tracks (indices) show beside a plane's motion, and that motion (F, 11)."""
    nothing = np.zeros(len(left.tracks))
    plane = np.zeros((left.weight.shape[1], PLANE + PATH))
    for _ in range(3):
        _, mean, error = left.fitted(plane)
        clean = far[error[far] <= np.quantile(error[far], 2 * QUIETEST)]
        plane = left.motion(clean, nothing, mean, moves=False)
    beyond = left.without_mean(left.shift - np.einsum("nck,fk->nfc", left.plane, plane[:, :PLANE]))[far]
    e2 = (left.weight[far] * (beyond**2).sum(axis=2)).sum(axis=1)
    noise = np.sqrt(np.quantile(e2 / np.maximum(2 * (left.weight[far] > 0).sum(axis=1) - 2, 1), QUIETEST))
    return replace(left, weight=left.weight / max(float(noise), 0.5) ** 2), plane


def _grown(left: Left, plane: np.ndarray, far: np.ndarray, seed: np.ndarray) -> np.ndarray:
    """(n,) bool: the tracks that the path of a few (indices) explains beside the far ones' plane, once it has settled among all
    that it does."""
    near = np.zeros(len(left.tracks))
    near[seed] = 1.0
    motion, explained = plane, np.zeros(len(near), bool)
    _, mean, _ = left.fitted(motion)
    among = np.concatenate([far, seed])
    for turn in range(BEGIN_ROUNDS + GROW_ROUNDS):
        motion = left.motion(among, near, mean)
        near, mean, error = left.fitted(motion)
        if turn >= BEGIN_ROUNDS - 1:
            explained = error < WITHIN
            among = np.nonzero(explained)[0]
            if len(among) < NEIGHBOURS:
                break
    return explained


def _apart(places: np.ndarray, count: int) -> list[int]:
    """Indices of `count` places (n, 2) as far from each other as can be, one after the other."""
    found = [int(np.argmin(((places - places.mean(axis=0)) ** 2).sum(axis=1)))]
    distance = ((places - places[found[0]]) ** 2).sum(axis=1)
    while len(found) < min(count, len(places)):
        found.append(int(np.argmax(distance)))
        distance = np.minimum(distance, ((places - places[found[-1]]) ** 2).sum(axis=1))
    return found
