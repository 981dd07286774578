"""The bodies of a shot: tracks that move as one, found one body after the other.

In a crowd a path can be a compromise between the set and the people, or follow one of them. Least squares do not get out of that,
but whatever moves as one can be peeled off: the tracks that one camera explains to within the noise, then those of the rest.
Where nothing can be singled out, tracks that lie side by side belong to one body most of the time (sequential consensus with a
local sample, as in J-linkage: Toldo and Fusiello, "Robust Multiple Structures Estimation with J-Linkage", ECCV 2008).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.spatial import cKDTree

from .initialise import StartOptions, lift_seen, start
from .movers import share_of_picture, track_error
from .reconstruct import State, adjust_state, trim
from .settle import Settled, settle
from .types import LABEL_MOVER, LABEL_STATIC, Settings
from .view import ShotView

MOST_BODIES = 5
HALF = 0.5  # of the picture: nothing else can be larger
ONE_BODY = 1.5  # deviations up to which residuals are those of one body's tracks
CLEANER = 0.67  # times the deviations of the whole: a neighbourhood is one body where the whole is not
BELONGS = 4.2  # deviations (of both coordinates) within which a track belongs to a body
CORE = 0.25  # share of the tracks that a body's core is sought among first
NEIGHBOURHOOD, LEAST_NEIGHBOURS = 0.2, 24  # share of the tracks, and number, that lie side by side
PREVAILS = 0.6  # of what is left: a body that takes up that much is found at the first look
FEW = 0.12  # share of the tracks that is not looked through any more


@dataclass(frozen=True)
class Body:
    """Tracks (N,) bool that move as one, the camera they see, and the share of the picture they take up (or of the tracks that
    the user has placed)."""

    settled: Settled
    tracks: np.ndarray
    share: float


def bodies(
    view: ShotView,
    settings: Settings,
    lead: Settled,
    frames: np.ndarray,
    chosen: np.ndarray,
    use_depth: bool,
    options: StartOptions,
    clean: bool = False,
) -> list[Body]:
    """The bodies that the chosen tracks (N,) bool belong to, what takes up most of the picture first.

    lead: first guess, between several bodies perhaps; clean: surely one body's, so that little need be looked for beside it.
    """
    left = chosen.copy()
    found: list[Body] = []
    noise = 1.0  # of the cleanest body so far
    for turn in range(MOST_BODIES):
        largest = max((body.share for body in found), default=0.0)
        room = _share(view, frames, chosen, left)
        if left.sum() < max(FEW * chosen.sum(), LEAST_NEIGHBOURS) or largest > min(HALF, room):
            break
        last_look = clean and largest > PREVAILS * room  # whatever is larger takes up most of what is left
        whole = lead if turn == 0 else begun_from(view, settings, frames, left, use_depth, options)
        middle = core(view, whole, frames, left)
        if middle.state.scale > ONE_BODY * noise and not last_look:
            some = neighbourhood(view, left, frames)
            near = core(view, begun_from(view, settings, frames, some, use_depth, options), frames, some)
            if near.state.scale < CLEANER * middle.state.scale:
                middle = near
        body = gathered(view, middle, frames, chosen, use_depth)
        found.append(body)
        if last_look and body.share <= largest:
            break
        noise = min(noise, body.settled.state.scale)
        if options.focal_free and body.settled.state.scale < ONE_BODY:  # one lens has seen them all
            options = replace(options, focal_px=float(np.exp(np.median(body.settled.state.world.log_focal[frames]))))
        fresh = body.tracks & left
        left &= ~(fresh if fresh.any() else neighbourhood(view, left, frames))
    return sorted(found, key=lambda body: -body.share)


def begun_from(
    view: ShotView, settings: Settings, frames: np.ndarray, tracks: np.ndarray, use_depth: bool, options: StartOptions
) -> Settled:
    """A reconstruction from some of the tracks alone."""
    return settle(view, settings, start(view, frames, tracks, options, settings.seed), frames, tracks, use_depth)


def _hold(state: State, among: np.ndarray, part: np.ndarray) -> None:
    """Of the tracks `among` (N,) bool, a part (N,) bool is at rest and holds the camera, the others move."""
    state.label[among] = np.where(part[among], LABEL_STATIC, LABEL_MOVER)


def core(view: ShotView, settled: Settled, frames: np.ndarray, among: np.ndarray, rounds: int = 6) -> Settled:
    """The best-fitting part of the tracks, adjusted alone: again and again, so that what does not belong lets go (least trimmed
    squares: Rousseeuw, "Least Median of Squares Regression", 1984)."""
    state = settled.state.copy()
    before = None
    for _ in range(rounds):
        error, views = track_error(view, state, frames, among, settled.model.translation)
        able = among & (views >= 4)
        if able.sum() < LEAST_NEIGHBOURS:
            break
        typical = np.quantile(error[able], CORE)
        keep = able & (error <= max(2 * typical, 2.5))
        if before is not None and (keep ^ before).sum() <= 0.01 * among.sum():
            break
        before = keep
        _hold(state, among, keep)
        state.scale = max(typical / 1.4, 0.5)
        adjust_state(view, state, frames, among, settled.model, iterations=12, width=2.5)
    return replace(settled, state=state)


def gathered(view: ShotView, found: Settled, frames: np.ndarray, chosen: np.ndarray, use_depth: bool, rounds: int = 5) -> Body:
    """All of the chosen tracks that belong to a core."""
    state = found.state.copy()
    for f in frames:
        lift_seen(view, state.world, int(f), chosen, use_depth)
    before = np.zeros(len(chosen), bool)
    for _ in range(rounds):
        error, views = track_error(view, state, frames, chosen, found.model.translation)
        tracks = chosen & (views >= 3) & (error < BELONGS * max(state.scale, 0.6))
        if tracks.sum() < LEAST_NEIGHBOURS or (tracks ^ before).sum() <= 0.01 * chosen.sum():
            break
        before = tracks
        _hold(state, chosen, tracks)
        adjust_state(view, state, frames, chosen, found.model, iterations=10, width=2.5)
    return Body(replace(found, state=state), tracks, _share(view, frames, chosen, tracks))


def _share(view: ShotView, frames: np.ndarray, chosen: np.ndarray, part: np.ndarray) -> float:
    """Share of the picture that a part (N,) bool of the chosen tracks takes up; of the tracks the user has placed, if any are."""
    told = chosen & view.trusted
    return float(part[told].mean()) if told.any() else share_of_picture(view, frames, chosen, part)


def neighbourhood(view: ShotView, tracks: np.ndarray, frames: np.ndarray) -> np.ndarray:
    """(N,) bool: those of the tracks that lie closest together, in the frame that sees most of them."""
    rows = max((view.rows_of(int(f)) for f in frames), key=lambda r: tracks[view.tracks.track[r]].sum())
    rows = rows[tracks[view.tracks.track[rows]]]
    count = min(max(LEAST_NEIGHBOURS, int(NEIGHBOURHOOD * tracks.sum())), len(rows))
    out = np.zeros(len(tracks), bool)
    if count < 2:
        return tracks
    distance, near = cKDTree(view.xy[rows]).query(view.xy[rows], k=count)
    out[view.tracks.track[rows[near[np.argmin(distance[:, -1])]]]] = True
    return out


def resting_on(view: ShotView, body: Body, frames: np.ndarray, chosen: np.ndarray) -> Settled:
    """The reconstruction of a body, settled among all the chosen tracks."""
    state = body.settled.state.copy()
    _hold(state, chosen, body.tracks)
    trim(view, state, frames, chosen, body.settled.model)
    return replace(body.settled, state=state)
