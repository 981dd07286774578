"""Which focal lengths fit a shot equally well? Found by trying them, not from the curvature at the best one.

Along a forward move, or with hardly any parallax, focal length and depth trade against each other in a long curved valley: the
curvature at any place in it is far too hopeful.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.spatial.transform import Rotation

from .bundle import Adjustment
from .hypotheses import assumed_focal_px
from .initialise import depth_strength
from .parallel import side_by_side
from .reconstruct import Model, State, adjust_state
from .types import LABEL_STATIC, Settings
from .view import ShotView, World

SURELY_MEASURED = 0.004  # deviation of log focal by curvature alone below which trying focal lengths is not worth the time
MEASURED_RATIO = 1.045  # highest over lowest: within about 1 % either way of the best, in standard deviations
UNKNOWN_RATIO = 1.5
ENDS_UNSURE = 0.2  # of an unknown range's length (in log) that its ends are unsure by
STEPS = (1.03, 1.08, 1.2, 1.5, 2.2)
# Two standard deviations, were errors independent; neighbouring tracks and frames share theirs, so three times as wide.
CORRELATED_ERRORS = 3.0
# Two of them at least, whatever the noise says: drifting tracks, a bend too faint to model. Seen: 0.26 % where 0.1 % was said,
# 0.84 % where 0.76 % was.
SYSTEMATIC = 0.003
RANGE_SIGMAS = 2.0  # at the ends of a range
STILL_DEG = 0.02  # a camera that turns by less stands still: what its tracks say of the lens is their own noise
PRIOR_REACH, PRIOR_SIGMA = 3.0, 0.55  # of lenses that nothing is known of: either way, and in log
EQUAL_COST = 0.5 * RANGE_SIGMAS**2 * CORRELATED_ERRORS**2


@dataclass(frozen=True)
class LensRange:
    """What is known of the focal length: "given", "measured", "weak" or "prior", and the range (px) that fits equally well."""

    word: str
    low_px: float
    high_px: float
    sigma: float  # of log focal
    best_px: float = 0.0  # what fits best where this was found out
    bend_doubt: bool = False  # a lens that bends the picture more fits better, though not beyond doubt
    # focal lengths (px) that were tried, and how much worse each fits than the best; 1 at the ends of the range
    valley: tuple[tuple[float, float], ...] = ()

    def after(self, focal_px: float) -> LensRange:
        """The range once the focal length has come out as focal_px, by more tracks and frames.

        It moves along and still holds what fitted before: how far two adjustments of the same lens differ says something, too.
        """
        if self.word not in ("measured", "weak"):
            return self
        factor = focal_px / self.best_px
        low, high = min(self.low_px, self.low_px * factor), max(self.high_px, self.high_px * factor)
        word = "weak" if high / low >= MEASURED_RATIO else self.word
        return LensRange(word, low, high, float(np.log(high / low) / 4), focal_px, self.bend_doubt)


def judge_focal(
    view: ShotView,
    settings: Settings,
    state: State,
    model: Model,
    frames: np.ndarray,
    tracks: np.ndarray,
    rivals: list[tuple[Model, State, bool]],
) -> LensRange:
    """How well the shot determines the focal length, over the given frames and tracks.

    rivals: reconstructions under other lenses that fit the held-out tracks as well, and whether each fits them better; a bend too
    faint to be told from noise trades against the focal length.
    """
    focal = float(np.exp(np.median(state.world.log_focal[frames])))
    doubt = any(better for _, _, better in rivals)
    if not model.focal_free:
        known = bool(settings.focal_px) and settings.focal_mode == "known"
        return LensRange("given", focal, focal, 0.0, bend_doubt=doubt) if known else of_nothing_known(focal, doubt)
    valley: tuple[tuple[float, float], ...] = ()
    sigma = lens_spread(view, state, frames, tracks, model).get("focal", np.inf)
    if sigma < SURELY_MEASURED or model.focal_varies:
        sigma = min(float(np.hypot(sigma, SYSTEMATIC)), 0.5)
        low, high, known = focal * float(np.exp(-2 * sigma)), focal * float(np.exp(2 * sigma)), True
    else:
        low, focal, high, valley = focal_range(view, state, model, frames, tracks)
        low, high = _widened(low, focal, high)
        known = high / low < UNKNOWN_RATIO
        if not known:  # drifting tracks move the whole valley, by the more the longer it is
            beyond = (high / low) ** ENDS_UNSURE
            low, high = low / beyond, high * beyond
            valley = tuple((focal * (px / focal) ** (1 + 2 * ENDS_UNSURE), worse) for px, worse in valley)
    for other, its, _ in rivals:
        its_focal = float(np.exp(np.median(its.world.log_focal[frames])))
        its_sigma = min(lens_spread(view, its, frames, tracks, other).get("focal", 0.0), 0.5)
        low, high = min(low, its_focal * float(np.exp(-2 * its_sigma))), max(high, its_focal * float(np.exp(2 * its_sigma)))
    ratio = high / low
    word = "prior" if not known else "measured" if ratio < MEASURED_RATIO else "weak"
    return LensRange(word, low, high, float(np.log(ratio) / 4), focal, doubt, valley)


def of_nothing_known(focal_px: float, bend_doubt: bool) -> LensRange:
    """The range of a lens that is assumed."""
    return LensRange("prior", focal_px / PRIOR_REACH, focal_px * PRIOR_REACH, PRIOR_SIGMA, bend_doubt=bend_doubt)


def turned_deg(world: World) -> float:
    """By how much the camera turns from its first frame at most, degrees."""
    rotation = world.rotation[world.registered]
    cosine = (np.einsum("fij,ij->f", rotation, rotation[0]) - 1) / 2
    return float(np.degrees(np.arccos(np.clip(cosine, -1, 1)).max()))


def _widened(low: float, focal: float, high: float) -> tuple[float, float]:
    """The ends of a range that was found by trying, with errors that all trials share."""
    down, up = (2 * float(np.hypot(np.log(ratio) / 2, SYSTEMATIC)) for ratio in (focal / low, high / focal))
    return focal * float(np.exp(-down)), focal * float(np.exp(up))


def lens_spread(view: ShotView, state: State, frames: np.ndarray, tracks: np.ndarray, model: Model) -> dict[str, float]:
    """Standard deviation of log focal, k1, k2, row time as far as the shot itself (pixels and depth, no prior) tells.

    A zoom's focal lengths are free of each other, but for their smoothness: parallax and zoom trade against each other, and one
    focal length for all frames would look several times surer than the zoom is.
    """
    probe = replace(model, focal_free=True, focal_prior_sigma=np.inf)
    chosen = tracks & state.world.known & (state.label == LABEL_STATIC)
    problem = view.problem(frames, chosen, depth=model.depth and model.translation)
    if len(problem.tracks) < 8:
        return {}
    obs = replace(problem.obs, sigma_px=problem.obs.sigma_px * max(state.scale, 0.3) * CORRELATED_ERRORS)
    free = probe.freedom(depth_strength(problem, model.depth_independent), "cauchy", 3.0)
    return Adjustment(obs, free, focal_frames=frames.astype(float)).covariance_of_lens(
        state.world.gather(problem, view.depth_is_log)
    )


def hold_at_prior(view: ShotView, state: State, model: Model, lens: LensRange) -> Model:
    """Put the focal length, which the shot cannot tell, where usual lenses are found among those that fit, each by how well it
    does (the mean, in log, over the range): a range far from any usual lens is believed, one that spans all lenses alike is not.
    The model that keeps it there."""
    usual, spread = model.focal_prior_log, max(model.focal_prior_sigma, 1e-3)
    those = np.linspace(np.log(lens.low_px), np.log(lens.high_px), 400)
    surprise = 0.5 * ((those - usual) / spread) ** 2
    if lens.valley:
        tried, worse = np.array(sorted(lens.valley)).T
        surprise += 0.5 * RANGE_SIGMAS**2 * np.interp(those, np.log(tried), np.sqrt(worse)) ** 2
    expected = np.average(those, weights=np.exp(surprise.min() - surprise))
    focal = np.median(state.world.log_focal)
    state.world = stretch(state.world, float(np.exp(expected - focal)), view.frame_count // 2)
    return replace(model, focal_free=False)


def held_where_still(view: ShotView, settings: Settings, state: State, model: Model, lens: LensRange) -> LensRange:
    """What is known of the lens once every frame has its camera: nothing where that stands still, whatever its tracks' noise
    says; `state` has a usual one then."""
    if model.translation or model.focal_varies or lens.word == "given":
        return lens
    usual = assumed_focal_px(settings, view.width)
    factor = usual / float(np.exp(np.median(state.world.log_focal)))
    if turned_deg(state.world) / factor >= STILL_DEG:
        return lens
    world = state.world = stretch(state.world, factor, view.frame_count // 2)
    world.k1, world.k2 = world.k1 * factor**2, world.k2 * factor**4  # they bend the same pixels by as much as before
    return of_nothing_known(usual, lens.bend_doubt)


def stretch(world: World, factor: float, reference: int) -> World:
    """The world as it would look under a focal length `factor` times as long: depths grow, turns shrink.

    Exact for a camera that does not turn, the right start for one that turns a little (affine ambiguity along the axis of the
    reference camera).
    """
    out = world.copy()
    axes = world.rotation[reference]
    origin = world.centre(reference)
    scale = np.array([1.0, 1.0, factor])
    centres = np.array([world.centre(f) for f in range(len(world.rotation))])
    local = (centres - origin) @ axes.T * scale
    turns = Rotation.from_matrix(world.rotation @ axes.T).as_rotvec() / np.array([factor, factor, 1.0])
    rotation = Rotation.from_rotvec(turns).as_matrix()
    out.rotation = rotation @ axes
    moved = local @ axes + origin
    out.translation = -np.einsum("fij,fj->fi", out.rotation, moved)
    out.log_focal = world.log_focal + np.log(factor)
    # homogeneous: rho scales with the length of the stretched ray
    anchor = (world.origin - origin) @ axes.T * scale
    ray = world.direction @ axes.T * scale
    length = np.linalg.norm(ray, axis=1)
    out.direction = ray / length[:, None] @ axes
    out.rho = world.rho / length
    out.origin = anchor @ axes + origin
    if not world.key_scale:
        return out
    out.key_scale, out.key_shift = {}, {}  # aligned anew
    return out


def focal_range(
    view: ShotView, state: State, model: Model, frames: np.ndarray, tracks: np.ndarray
) -> tuple[float, float, float, tuple[tuple[float, float], ...]]:
    """(lowest, best, highest) focal length in px that the given frames and tracks support, no prior in force, and the valley
    (see LensRange)."""
    free = replace(model, focal_free=True, focal_varies=False, focal_prior_sigma=np.inf)
    held = replace(free, focal_free=False)
    tracks = tracks & (state.label == LABEL_STATIC)

    def settle(world: World, kind: Model, iterations: int) -> State:
        trial = State(world, state.label.copy(), state.scale)
        adjust_state(view, trial, frames, tracks, kind, iterations=iterations, tolerance=1e-6)
        return trial

    best = settle(state.world.copy(), free, 15)
    focal = float(np.exp(np.median(best.world.log_focal[frames])))
    middle = int(frames[len(frames) // 2])

    def end_of(side: int) -> tuple[float, list[tuple[float, float]]]:
        last, last_rise, world, tried = 0.0, 0.0, best.world, []
        for step in STEPS:
            trial = settle(stretch(world, step**side / np.exp(side * last), middle), held, 12)
            rise = trial.cost - best.cost
            tried.append((focal * step**side, max(rise, 0.0) / EQUAL_COST))
            if rise > EQUAL_COST:
                share = float(np.clip((EQUAL_COST - last_rise) / (rise - last_rise), 0.05, 1))
                return focal * float(np.exp(side * (last + (np.log(step) - last) * share))), tried
            last, last_rise, world = np.log(step), max(rise, 0.0), trial.world
        return focal * float(STEPS[-1] * 1.5) ** side, tried

    (low, shorter), (high, longer) = side_by_side(end_of, (-1, 1))
    return low, focal, high, ((focal, 0.0), *shorter, *longer)
