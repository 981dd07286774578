"""Competing models, judged on tracks that took no part in the solve. The simplest one within noise wins."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.spatial import cKDTree

from .bundle import robust
from .bundle_model import project
from .lens_range import lens_spread
from .movers import residual_scale
from .parallel import side_by_side
from .reconstruct import Model, State, adjust_state, amid_movers, classify, give_depth
from .resection import refine_points
from .settle import ZOOM_CHANGE, zoom_change
from .types import LABEL_STATIC, Settings
from .view import ShotView

# A richer model must be better by this many standard errors of the paired difference, and by this share.
NEXT_TERM_SIGMAS = 2.5
NEEDED_SIGMAS = 3.0
CLEAR_ZOOM_SIGMAS = 2.0  # where the focal length changes by as much as it does in true zooms alone
NEEDED_SHARE = 0.01
# Noise hides what a bend is worth to held-out tracks long before it hides the bend: where they do no more than hint at it, the
# bend's own deviations decide. Of some two hundred contests, clean, noisy, dark and blurred ones, lenses without a bend came out
# with up to 13 deviations but gained 0.1 %, or with 2.9 at most; those with one gained 0.5 % and came out with 3.3 and more.
HINT_SHARE, HINT_SIGMAS, SURE_DEVIATIONS = 0.003, 1.0, 3.0
BETTER_SHARE, BETTER_SIGMAS = 0.002, 1.5  # what fits better by so much may be right, however little it proves
HOLD_OUT_CELLS = 8  # of the picture's width
LONGEST_READ = 1.05  # frames from the first row to the last; no sensor begins with the next before this one is read
ERROR_WIDTH = 5.0  # units of error beyond which an observation's cost hardly grows any more
MOVER_COST = 0.5 * ERROR_WIDTH**2  # mean cost of a track most of whose observations lie beyond that
# A path shifts neighbours, which mostly share their depth, alike; a tracker's drift does not. Seen, in clean, dark, grainy
# and soft pictures: turns up to 0.13, paths 0.17 and more.
NEEDED_COHERENCE = 0.15
# So clearly alike, they prove a path however little it explains of what is mostly noise: turns gained up to 13 %, paths from 7 %.
SURE_COHERENCE = 0.2
BEYOND_DRIFT = 0.6  # share of the cost: a point's own depth can take up one of a drift's two coordinates, no more than half of it
# Where rows are read one after the other, a frame's own motion is known to second order only. Paths and zooms that are none take
# up 3 to 24 % of what is left (synthetic shakes, rows over 0.4 and 0.8 of a frame); a path of half a percent of the depth 95 %.
BEYOND_ROWS = 0.25
# A lens that bends the picture strongly is far from a straight one: a contender whose residuals still shrink by so much goes on,
# so many times at most, if they come near those of the one it is to replace.
GOES_ON, ROUNDS, NEAR = 0.01, 6, 1.5


@dataclass(frozen=True)
class HeldOut:
    """Errors of held-out tracks under one model: cost (n,) per track, and the RMS in px over the ones at rest."""

    cost: np.ndarray
    tracks: np.ndarray
    rms_px: float


@dataclass(eq=False)
class Contender:
    """A model with its reconstruction and its score."""

    model: Model
    state: State
    held: HeldOut
    won: bool = False
    why: str = ""


def hold_out(view: ShotView, share: float, seed: int) -> np.ndarray:
    """(N,) bool: tracks kept out of every solve, chosen by the seed among those long enough to judge by.

    Evenly: one of each few neighbours of about the same time. Where people hide most of the set, chance alone would take too many
    of the tracks that are left of it.
    """
    count = view.tracks.track_count
    length = np.bincount(view.tracks.track, minlength=count)
    long = np.nonzero((length >= 6) & ~view.trusted)[0]
    x, y, frame = (
        np.bincount(view.tracks.track, v, minlength=count)[long] / length[long]
        for v in (view.xy[:, 0] / view.width, view.xy[:, 1] / view.width, view.tracks.frame_index / view.frame_count)
    )
    cell = [np.floor(v * HOLD_OUT_CELLS).astype(int) for v in (x, y)]
    alike = long[np.lexsort((frame, *cell))]
    rng = np.random.default_rng(seed + 1)
    wanted = int(share * len(long))
    place = (np.arange(wanted) + rng.uniform(size=wanted)) / share
    held = np.zeros(count, bool)
    held[alike[np.minimum(place.astype(int), len(long) - 1)]] = True
    return held


def measure(view: ShotView, state: State, frames: np.ndarray, held: np.ndarray, translation: bool, unit_px: float) -> HeldOut:
    """Errors of the held-out tracks when only their points are fitted to the given cameras.

    unit_px: what counts as one unit of error; the same for all models that are compared.
    """
    world = state.world
    problem = view.problem(frames, held & world.known, min_views=3, depth=False)
    x = world.gather(problem, view.depth_is_log)
    x = refine_points(problem.obs, x, translation=translation, width=4.0, iterations=15)
    proj = project(problem.obs, x)
    e2 = problem.obs.squares(proj.residual)
    cost = robust(np.where(proj.behind, 1e9, e2 / unit_px**2), "geman", ERROR_WIDTH)[0]
    n = np.bincount(problem.obs.point, minlength=problem.obs.point_count)
    per_track = np.bincount(problem.obs.point, cost, minlength=problem.obs.point_count) / np.maximum(n, 1)
    limit = (ERROR_WIDTH * unit_px) ** 2
    share = np.bincount(problem.obs.point, e2 > limit, minlength=problem.obs.point_count) / np.maximum(n, 1)
    rest = (share < 0.3)[problem.obs.point] & (e2 <= limit)
    # the point's own 3 unknowns are taken from the count, so that short tracks do not flatter
    dof = 2 * rest.sum() - 3 * len(np.unique(problem.obs.point[rest]))
    rms = float(np.sqrt(2 * e2[rest].sum() / max(dof, 1))) if rest.any() else np.inf
    return HeldOut(per_track, problem.tracks, rms)


def coherence(view: ShotView, turning: State, travelling: State, frames: np.ndarray, tracks: np.ndarray) -> float:
    """Correlation, among neighbouring tracks in one frame, of what a path explains beyond a turn.

    Near 1 where the camera travels (neighbours mostly share their depth), near 0 where every point's own depth only takes up its
    track's own drift. What neither explains does not count, so that a noisy picture is judged as a clean one is.
    """
    both = turning.world.known & travelling.world.known & (travelling.label == LABEL_STATIC)
    problem = view.problem(frames, tracks & both, min_views=3, depth=False)
    left = []
    for state, translation in ((turning, False), (travelling, True)):
        x = state.world.gather(problem, view.depth_is_log)
        left.append(
            project(problem.obs, refine_points(problem.obs, x, translation=translation, width=4.0, iterations=8)).residual
        )
    gain = left[0] - left[1]
    size = np.hypot(*gain.T)
    gain = gain * np.minimum(1, 3 * np.median(size) / np.maximum(size, 1e-9))[:, None]
    gain /= problem.obs.sigma_px[:, None]  # soft frames, in which tracks drift, would outweigh all that is sharp
    focal_px = np.exp(turning.world.log_focal[frames])
    together = alone = 0.0
    for f in range(len(frames)):
        rows = np.nonzero(problem.obs.cam == f)[0]
        if len(rows) < 6:
            continue
        g = _but_for_a_turn(problem.obs.xy[rows] / focal_px[f], gain[rows])
        _, near = cKDTree(problem.obs.xy[rows]).query(problem.obs.xy[rows], k=4)
        together += float((g[:, None] * g[near[:, 1:]]).sum()) / 3
        alone += float((g**2).sum())
    return together / max(alone, 1e-12)


def _but_for_a_turn(ray: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """What is left of shifts (n, 2) in px of rays (n, 2) once the turn and the zoom that explain most of them are taken out."""
    x, y = ray.T
    one = np.ones_like(x)
    turns = np.r_[np.c_[x * y, one + x**2, -y, x], np.c_[one + y**2, x * y, x, y]]
    b = shift.T.ravel()
    return (b - turns @ np.linalg.lstsq(turns, b, rcond=None)[0]).reshape(2, -1).T


def fit_held_out(view: ShotView, winner: Contender, held: np.ndarray) -> None:
    """Points of the held-out tracks, which took no part in the adjustment, fitted to its cameras: they are part of the cloud."""
    state = winner.state
    problem = view.problem(np.arange(view.frame_count), held & state.world.known, depth=False)
    if not len(problem.tracks):
        return
    x = refine_points(
        problem.obs,
        state.world.gather(problem, view.depth_is_log),
        translation=winner.model.translation,
        width=4.0,
        iterations=15,
    )
    state.world.direction[problem.tracks], state.world.rho[problem.tracks] = x.direction, x.rho
    classify(view, state, np.arange(view.frame_count), held, winner.model)


def compare(simple: HeldOut, rich: HeldOut) -> tuple[float, float]:
    """(mean gain of the richer model as a share, gain in standard errors), over the tracks both have.

    Those that neither explains are movers: they would only water the share down.
    """
    _, a, b = np.intersect1d(simple.tracks, rich.tracks, return_indices=True)
    told = np.minimum(simple.cost[a], rich.cost[b]) < MOVER_COST
    a, b = a[told], b[told]
    gain = simple.cost[a] - rich.cost[b]
    if len(gain) < 5:
        return 0.0, 0.0
    # a slipped track may fall either way by a hundred times what any lens explains: none may outvote the rest
    most = np.percentile(np.abs(gain), 90)
    gain = np.clip(gain, -most, most)
    error = gain.std(ddof=1) / np.sqrt(len(gain)) + 1e-12
    return float(gain.mean() / max(simple.cost[a].mean(), 1e-12)), float(gain.mean() / error)


def contend(
    view: ShotView,
    base: Contender,
    model: Model,
    frames: np.ndarray,
    tracks: np.ndarray,
    held: np.ndarray,
    unit_px: float,
    iterations: int,
) -> Contender:
    """The base's reconstruction, adjusted under another model."""
    state = base.state.copy()
    world = state.world
    if not model.k1:
        world.k1 = 0.0
    if not model.k2:
        world.k2 = 0.0
    if not model.row_time:
        world.row_time = 0.0
    if not model.focal_varies and base.model.focal_varies:
        world.log_focal[:] = world.log_focal[world.registered].mean()
    if not model.translation:
        flatten(world)
    elif not base.model.translation:
        give_depth(view, world)
    adjust_state(view, state, frames, tracks, model, iterations=iterations, tolerance=1e-5)
    for further in range(1 + ROUNDS):
        # what a poorer model had to call unreliable may be at rest under this one
        classify(view, state, frames, tracks, model)
        before = state.scale
        steps = iterations if further else max(4, iterations // 2)
        adjust_state(view, state, frames, tracks, model, iterations=steps, tolerance=1e-5)
        if state.scale >= min((1 - GOES_ON) * before, NEAR * base.state.scale):
            break
    return Contender(model, state, measure(view, state, frames, held, model.translation, unit_px))


def flatten(world) -> None:
    """Make a world of directions only: every camera in one place."""
    points = world.points()
    centre = np.mean([world.centre(int(f)) for f in np.nonzero(world.registered)[0]], axis=0)
    ray = points - centre
    world.direction = ray / np.linalg.norm(ray, axis=1, keepdims=True)
    world.rho = np.zeros(len(world.rho))
    world.origin = np.zeros_like(world.origin)
    world.translation[:] = 0.0


@dataclass(frozen=True)
class Question:
    """One choice between models, the simplest first: changes to the model, and how clearly a richer one must win."""

    about: str
    changes: tuple[dict, ...]
    needed_share: float = NEEDED_SHARE
    needed_sigmas: float = NEEDED_SIGMAS
    bend: bool = False  # whether how surely the lens comes out bent may speak as well
    of_rows: bool = False  # whether it is asked again, once rows that are read one after the other are known of
    of_travel: bool = False  # whether it is asked of a camera that travels alone


def questions(settings: Settings, base: Model, travels: bool, rests: bool = False) -> list[Question]:
    """What is to be decided under the user's settings, in order. travels: the starts left no doubt about it; rests: so much of
    the picture stays in place that the camera hardly moves.

    Leaves in the wind and water move as their neighbours do: points of any depth let a path explain half of that, and a lens some
    of the rest. A camera that turns by some hundredths of a degree says nothing of its lens.
    """
    motion = Question("motion", ({"translation": False}, {"translation": True}), 0.08, 4.0)
    if rests:
        known = settings.focal_mode == "known" and bool(settings.focal_px)
        moves = {"translation": True, "focal_free": not known}
        motion = replace(motion, changes=(motion.changes[0], moves), needed_share=BEYOND_DRIFT)
    focal = Question("focal", ({"focal_varies": False}, {"focal_varies": True}))
    of_motion = [motion] if settings.motion == "auto" else []
    of_focal = [focal] if base.focal_varies and settings.focal_mode == "auto" else []
    out = ([] if travels else of_motion) + of_focal
    if settings.rolling_shutter == "auto":
        # Where the image moves, rows read one after the other look like a path or a zoom until they are known of.
        again = [replace(q, of_rows=True) for q in of_motion + of_focal]
        # Of some two hundred solves, those without one gained at most 0.6 % from it, or 1.5 % by less than two standard errors;
        # those of such cameras 1.2 % and more, by 2.7.
        out += [Question("rolling shutter", ({"row_time": False}, {"row_time": True}), 0.01, 2.5), *again]
    if settings.distortion == "auto":
        lenses = ({"k1": False, "k2": False}, {"k1": True, "k2": False}, {"k1": True, "k2": True})
        # Of some two hundred contests, terms that were not there gained at most 0.1 %, or 0.4 % by less than two standard
        # errors, those that were there 0.3 % and more.
        out.append(Question("distortion", lenses, 0.002, 3.0, bend=True))
    return [q if q is motion else replace(q, of_travel=True) for q in out] if rests else out


def decide(
    view: ShotView,
    base: Contender,
    asked: list[Question],
    frames: np.ndarray,
    tracks: np.ndarray,
    held: np.ndarray,
    seed: int,
    *,
    solving: np.ndarray | None = None,
    iterations: int = 10,
    progress=None,
) -> tuple[Contender, list[Contender]]:
    """Let models compete, one question after the other; the winner and all contenders, with reasons.

    A larger jury than the tracks held out for good judges here (a third of all); the winner is adjusted with the rest of the
    jury afterwards. solving (N,) bool: the tracks that cameras are fitted to here, all by default.
    """
    unit = unit_of(view, base, frames, tracks)
    rng = np.random.default_rng(seed + 2)
    jury = held | (tracks & (rng.uniform(size=len(tracks)) < 0.22))
    solving = (tracks if solving is None else solving) & ~jury
    # what people do says nothing of the camera
    jury &= ~amid_movers(view, base.state, frames, tracks | held, base.model.translation)
    contenders: list[Contender] = []
    winner = base
    told = progress or (lambda done, total: None)
    for n, question in enumerate(asked):
        models = [replace(winner.model, **change) for change in question.changes]
        if (question.of_rows and (not winner.model.row_time or winner.model == models[0])) or (
            question.of_travel and not winner.model.translation
        ):
            told(n + 1, len(asked))
            continue
        # the winner so far is already adjusted without the jury, except at the first question
        fresh = [m for m in models if not (n and m == winner.model)]
        found = dict(
            zip(
                fresh,
                side_by_side(lambda m, w=winner: contend(view, w, m, frames, solving, jury, unit, iterations), fresh),
                strict=True,
            )
        )
        rivals = [found.get(m, winner) for m in models]
        best = rivals[0]
        if not best.why:
            best.why = f"{question.about}: the simplest; nothing richer is better beyond noise"
        for rival in rivals[1:]:
            share, sigmas = compare(best.held, rival.held)
            figures = f"{100 * share:+.1f} %, {sigmas:+.1f} standard errors"
            # a lens that bends the picture by its first term will hardly do without a second
            needed_sigmas = question.needed_sigmas if best is rivals[0] else min(question.needed_sigmas, NEXT_TERM_SIGMAS)
            zooms = rival.model.focal_varies and not best.model.focal_varies
            if zooms and zoom_change(rival.state, frames) > ZOOM_CHANGE:
                needed_sigmas = min(needed_sigmas, CLEAR_ZOOM_SIGMAS)
            if question.bend and not rival.model.k2 and share > HINT_SHARE and HINT_SIGMAS < sigmas <= needed_sigmas:
                bent = bend_deviations(view, rival, frames, solving)
                if bent > SURE_DEVIATIONS:
                    needed_sigmas, figures = HINT_SIGMAS, f"{figures}; bent by {bent:.0f} deviations"
            if abs(rival.state.world.row_time) > LONGEST_READ:
                rival.why = (
                    f"{question.about}: rows would be read over {abs(rival.state.world.row_time):.2f} of a frame ({figures})"
                )
                continue
            moves = rival.model.translation and not best.model.translation
            together, needed_share = 1.0, question.needed_share
            if (moves or zooms) and rival.model.row_time:
                needed_share = max(needed_share, BEYOND_ROWS)
            if moves and share < BEYOND_DRIFT and needed_share < BEYOND_DRIFT:
                together = coherence(view, best.state, rival.state, frames, tracks | jury)
                # what is left of rows that are read one after the other is alike among neighbours, too
                sure = together > SURE_COHERENCE and not rival.model.row_time
                needed_share = NEEDED_SHARE if sure else needed_share
            if together < NEEDED_COHERENCE:
                # every point's own depth takes up some of its track's drift, so figures alone would speak for a path
                rival.why = (
                    f"{question.about}: neighbours do not move together beyond {best.model.name} ({together:+.2f}, {figures})"
                )
            elif sigmas > needed_sigmas and share > needed_share:
                rival.why = f"{question.about}: better than {best.model.name} on held-out tracks ({figures})"
                best.why = f"{question.about}: beaten by {rival.model.name}"
                best = rival
            else:
                rival.why = f"{question.about}: no better than {best.model.name} beyond noise ({figures})"
        contenders += [r for r in rivals if r not in contenders]
        winner = best
        told(n + 1, len(asked))
    if not asked:
        winner = contend(view, base, base.model, frames, solving, jury, unit, 3)
        winner.why = "asked for"
        contenders = [winner]
    winner.won = True
    winner.held = measure(view, winner.state, frames, held, winner.model.translation, unit)
    return winner, contenders


def bend_deviations(view: ShotView, bent: Contender, frames: np.ndarray, tracks: np.ndarray) -> float:
    """How many of its standard deviations the first term of a lens's distortion is away from none."""
    return abs(bent.state.world.k1) / lens_spread(view, bent.state, frames, tracks, bent.model).get("k1", np.inf)


def lens_rivals(winner: Contender, contenders: list[Contender]) -> list[tuple[Contender, bool]]:
    """Those under other lens distortions that held-out tracks could not rule out; whether each fits even better than the winner,
    though not beyond doubt."""

    def but_for_the_lens(model: Model) -> Model:
        return replace(model, k1=False, k2=False)

    rivals = []
    for c in contenders:
        if c is winner or not c.model.k1 or but_for_the_lens(c.model) != but_for_the_lens(winner.model):
            continue
        share, sigmas = compare(winner.held, c.held)
        if sigmas > -2:
            rivals.append((c, share > BETTER_SHARE and sigmas > BETTER_SIGMAS))
    return rivals


def unit_of(view: ShotView, base: Contender, frames: np.ndarray, tracks: np.ndarray) -> float:
    """Typical residual (px) of the base's static tracks."""
    problem = view.problem(frames, tracks & base.state.world.known & (base.state.label == 0), depth=False)
    if not len(problem.tracks):
        return 0.3
    return max(
        0.05,
        residual_scale(problem.obs, base.state.world.gather(problem, view.depth_is_log))
        * float(np.median(problem.obs.sigma_px))
        * 1.4,
    )
