"""A clip in, a solution out: the stages of a solve, one after the other."""

from __future__ import annotations

import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace

import cv2
import numpy as np

from .errors import EXIT_UNSOLVED, HoldfastError
from .finish import assemble
from .hypotheses import DEFAULT_FOCAL_OVER_WIDTH, alike, best_starts, candidates, choose_tracks, is_still, start_frames
from .initialise import Started, lift, lift_seen, start
from .lens_range import LensRange, hold_at_prior, judge_focal
from .mirror import better_mirror
from .movers import explained, smooth_movers
from .parallel import side_by_side, use_cores
from .preview import Preview
from .reconstruct import Model, State, all_frames, classify, extend, from_start, is_flat, trim
from .selfcheck import (
    Contender,
    HeldOut,
    decide,
    fit_held_out,
    flatten,
    hold_out,
    lens_rivals,
    measure,
    questions,
    unit_of,
)
from .tracking import TrackedClip, Tracker, TrackingOptions, track_clip
from .types import LABEL_MOVER, LABEL_STATIC, ClipReader, DepthMap, DepthSource, MaskReader, Progress, Settings, Solution
from .user_tracks import UserTrack, trust, with_errors, with_users
from .view import ShotView, World

MAX_START_FRAMES = 40
SECOND_GO = 1000  # added to the seed
SHARP_LOOK = 0.6
BENT_COST = 8.0  # of a start that is likely not to settle without distortion: one with it is begun beside
MOVERS_TELL = (0.06, 0.8)  # share of movers from which, and up to which, starting again without them is worth the time
CROWD = 0.15  # share of movers that can have carried the path along, so that a second go is worth the time
MOST_FRAMES_PER_KEYFRAME = 60


@dataclass(frozen=True)
class Effort:
    """How much work each quality level does."""

    start_frames: int
    start_tracks: int
    solve_frames: int
    depth_keyframes: int
    final_iterations: int
    compete_iterations: int
    compete_tracks: int  # in every frame, about

    @staticmethod
    def of(quality: str) -> Effort:
        """Draft, standard, best."""
        return {
            "draft": Effort(12, 320, 18, 6, 4, 6, 160),
            "standard": Effort(12, 320, 28, 10, 8, 10, 240),
            "best": Effort(16, 500, 48, 20, 20, 20, 1000),
        }[quality]


@dataclass
class Settled:
    """A start that was trimmed until nothing changed."""

    started: Started
    model: Model
    state: State


class Stopwatch:
    """Seconds by stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.begun = self.last = time.perf_counter()

    def lap(self, stage: str) -> None:
        """Book the time since the last lap."""
        now = time.perf_counter()
        self.seconds[stage] = self.seconds.get(stage, 0.0) + now - self.last
        self.last = now


class KeyframeDepths:
    """Chooses keyframes while tracking runs and asks the network about them in a thread of its own."""

    def __init__(self, source: DepthSource | None, frame_count: int, wanted: int) -> None:
        self.source = source
        self.spacing = min(max(4, frame_count // max(wanted, 1)), MOST_FRAMES_PER_KEYFRAME)
        self.pool = ThreadPoolExecutor(1) if source is not None else None
        self.waiting: dict[int, Future] = {}
        self.last = -(10**9)
        self.frame_count = frame_count

    def offer(self, index: int, frame: int, image: np.ndarray) -> None:
        """A frame went by; take it when the last keyframe lies far enough back."""
        if self.pool is not None and (index == 0 or index - self.last >= self.spacing):
            self.last = index
            self.waiting[index] = self.pool.submit(self.source.predict, frame, image.copy())

    def collect(self, progress: Progress) -> dict[int, DepthMap]:
        """Wait for all maps: frame index -> map."""
        maps: dict[int, DepthMap] = {}
        for n, (index, future) in enumerate(self.waiting.items()):
            found = future.result()
            if found is not None and np.isfinite(found.values).mean() > 0.2 and np.nanstd(found.values) > 0:
                maps[index] = found
            progress("depth", n + 1, len(self.waiting))
        if self.pool is not None:
            self.pool.shutdown()
        return maps


def solve(
    clip: ClipReader,
    settings: Settings,
    depth: DepthSource | None,
    masks: MaskReader | None,
    progress: Progress,
    user_tracks: tuple[UserTrack, ...] = (),
) -> Solution:
    """Track the camera of a clip. Raises HoldfastError when the clip gives nothing to hold on to."""
    watch = Stopwatch()
    info = clip.info
    effort = Effort.of(settings.quality)
    cv2.setNumThreads(use_cores(settings.threads))
    options = TrackingOptions.for_quality(settings.quality, info.width, info.height)
    total = len(info.frames)
    depths = KeyframeDepths(depth, total, effort.depth_keyframes)
    preview = Preview(progress)

    def after_frame(index: int, frame: int, image: np.ndarray, tracker: Tracker) -> None:
        depths.offer(index, frame, image)
        preview.tracked(index, frame, tracker.live.id, tracker.places, (info.width, info.height), depths.waiting)
        progress("track", index + 1, max(total, index + 1))

    tracked = track_clip(
        clip.images(), np.array(info.frames), options, ignore=masks.ignore if masks else lambda frame: None, on_frame=after_frame
    )
    watch.lap("track")
    check_trackable(tracked)
    maps = depths.collect(progress)
    watch.lap("depth")
    if depth is not None and not maps:
        progress.warn("depth.empty", f"{depth.name} gave no usable depth for any keyframe; solving on geometry alone.")
    fov = [m.fov_x_deg for m in maps.values() if m.fov_x_deg]
    if settings.focal_px is None and info.focal_px:
        settings = replace(settings, focal_px=info.focal_px, focal_source=info.focal_source or "metadata")
    elif settings.focal_px is None and fov:
        settings = replace(
            settings, focal_px=0.5 * info.width / np.tan(np.radians(float(np.median(fov))) / 2), focal_source="network"
        )
    tracked, described = with_users(tracked, user_tracks, progress)
    view = ShotView(tracked.tracks, info.width, info.height, maps, pixel_aspect=info.pixel_aspect)
    view.depth_term = settings.depth_use == "all"
    trust(view, described)
    winner, contenders, tracks, held, lens = reconstruct(view, settings, effort, progress, watch, preview, tracked.colour)
    fit_held_out(view, winner, held)
    solution = assemble(clip, settings, view, tracked, winner, contenders, tracks, held, lens, maps, depth, progress, watch)
    quality = solution.quality | {
        "joined_by_descriptors": [int(tracked.tracks.frame_numbers[i]) for i in tracked.bridged_by_descriptors]
    }
    solution = replace(solution, settings=settings.record(), track_colour=tracked.colour, user_tracks=described, quality=quality)
    return replace(
        with_errors(solution),
        timings={k: round(v, 3) for k, v in watch.seconds.items()} | {"total": round(time.perf_counter() - watch.begun, 3)},
    )


def check_trackable(tracked: TrackedClip) -> None:
    """Refuse clips without anything to follow."""
    tracks = tracked.tracks
    frames = len(tracks.frame_numbers)
    if frames < 3:
        raise HoldfastError(
            "clip.too_short",
            f"The clip has {frames} usable frame(s); a camera track needs at least 3.",
            "Choose a longer range.",
            EXIT_UNSOLVED,
        )
    if tracks.track_count < 12:
        raise HoldfastError(
            "track.nothing",
            f"Only {tracks.track_count} points could be followed: the picture is black, blank, or changes completely "
            "from frame to frame.",
            "Check the clip and the range; brighten dark footage; look whether a mask hides everything.",
            EXIT_UNSOLVED,
        )
    seen = np.bincount(tracks.frame_index, minlength=frames)
    if (seen >= 8).sum() < max(3, 0.5 * frames):
        raise HoldfastError(
            "track.too_few",
            f"Fewer than 8 points can be followed in {int((seen < 8).sum())} of {frames} frames.",
            "Solve a part of the shot, or check for cuts, fades and heavy blur.",
            EXIT_UNSOLVED,
        )


def reconstruct(
    view: ShotView, settings: Settings, effort: Effort, progress: Progress, watch: Stopwatch, preview: Preview, colour: np.ndarray
):
    """Start, extend, let models compete, adjust all frames: (winner, contenders, used tracks, held-out tracks).

    colour (N, 3) of the tracks, for the preview.
    """
    length = np.bincount(view.tracks.track, minlength=view.tracks.track_count)
    usable = (length >= 4) | view.trusted
    held = hold_out(view, 0.1, settings.seed) & usable
    tracks = usable & ~held
    use_depth = bool(view.keys)
    if settings.motion == "auto" and is_still(view):
        return still(view, settings, tracks, held, watch)
    frames = start_frames(view, effort.start_frames, use_depth)
    if len(frames) > MAX_START_FRAMES:
        # a long way: it starts around a keyframe near the middle, the rest is joined on afterwards
        middle = view.keys[len(view.keys) // 2] if use_depth else view.frame_count // 2
        first = max(0, int(np.searchsorted(frames, middle)) - MAX_START_FRAMES // 2)
        frames = frames[first : first + MAX_START_FRAMES]
    chosen = choose_tracks(view, frames, effort.start_tracks, tracks, settings.seed)
    starts, travels = best_starts(
        view,
        frames,
        chosen,
        candidates(view, settings, use_depth),
        settings.seed,
        progress=lambda d, n: progress("start", d, n + 2),
    )

    # the best go on until they have settled; a start cut short says little about where it would end
    def unbent(started: Started) -> Settled:
        return settle(view, settings, started, frames, chosen, use_depth)

    def bent(started: Started) -> Settled:
        # a strongly bent picture never settles under a straight lens: the same start, with distortion
        options = replace(started.options, distortion=True)
        return settle(view, settings, start(view, frames, chosen, options, settings.seed), frames, chosen, use_depth)

    straight = contrasting(starts)
    expected = settings.distortion == "auto" and starts[0].cost > BENT_COST
    jobs = [(unbent, s) for s in straight]
    if expected:
        jobs.insert(1, (bent, starts[0]))
    settled = side_by_side(lambda job: job[0](job[1]), jobs)
    unsettled = settled[0].state.scale > 1.2 or (settled[0].state.label[chosen] == LABEL_STATIC).mean() < 0.75
    if expected:
        lens = settled.pop(1)
        settled += [lens] if unsettled else []
    elif settings.distortion == "auto" and unsettled:
        settled.append(bent(starts[0]))
    progress("start", len(starts) + 1, len(starts) + 2)
    best, chosen = freed_of_movers(view, settings, effort, settled, frames, chosen, tracks, use_depth)
    model = best.model
    progress("start", len(starts) + 2, len(starts) + 2)
    watch.lap("start")
    preview.solved("start", view, best.state, colour, int(frames[len(frames) // 2]))
    solve_frames = np.union1d(start_frames(view, effort.solve_frames, use_depth), frames)
    solve_frames = np.union1d(solve_frames, view.keys).astype(int)
    solving = choose_tracks(view, solve_frames, effort.compete_tracks, tracks, settings.seed)

    def go_on(begun: State) -> State:
        """From the start's frames to the solve's, with all tracks; movers are told apart by some of them first."""
        rng = np.random.default_rng(settings.seed)
        progress("adjust", 1, 8)
        extend(view, begun, solve_frames, usable, model, rng, on_frame=lambda f: preview.solved("adjust", view, begun, colour, f))
        progress("adjust", 3, 8)
        trim(view, begun, solve_frames, solving, model, rounds=3, iterations=8)
        classify(view, begun, solve_frames, tracks, model)
        return begun

    begun = best.state.copy()
    # the mirror image is tried meanwhile: it is hardly ever the better one
    state, mirror = side_by_side(
        lambda job: job(),
        (lambda: go_on(begun), lambda: better_mirror(view, best.state, model, frames, chosen, tracks)),
    )
    if mirror is not None:
        state = go_on(mirror)
    watch.lap("adjust")
    preview.solved("adjust", view, state, colour, int(solve_frames[len(solve_frames) // 2]))
    progress("check", 1, 8)
    base = Contender(model, state, HeldOut(np.zeros(0), np.zeros(0, int), np.inf))
    winner, contenders = decide(
        view,
        base,
        questions(settings, model, travels),
        solve_frames,
        tracks,
        held,
        settings.seed,
        solving=solving,
        iterations=effort.compete_iterations,
        progress=lambda d, n: progress("check", d, n),
    )
    watch.lap("check")
    progress("adjust", 5, 8)

    def finished(those: State, model: Model) -> State:
        """All frames by all tracks: few of either took part in the contest."""
        classify(view, those, solve_frames, tracks, model)
        all_frames(view, those, tracks, model, iterations=effort.final_iterations)
        return those

    contest = winner.state
    winner.state, lens = side_by_side(
        lambda job: job(),
        (
            lambda: finished(contest.copy(), winner.model),
            lambda: known_of_lens(view, settings, effort, winner, contest, contenders, frames, tracks),
        ),
    )
    if unknown_lens_held(view, winner, contest, lens):
        winner.state = finished(contest, winner.model)
    lens = lens.after(float(np.exp(np.median(winner.state.world.log_focal[frames]))))
    preview.solved("adjust", view, winner.state, colour, view.frame_count // 2)
    unit = unit_of(view, winner, solve_frames, tracks)
    winner.held = measure(view, winner.state, np.arange(view.frame_count), held, winner.model.translation, unit)
    progress("adjust", 8, 8)
    watch.lap("adjust")
    return winner, contenders, tracks, held, lens


def known_of_lens(
    view: ShotView,
    settings: Settings,
    effort: Effort,
    winner: Contender,
    state: State,
    contenders: list[Contender],
    frames: np.ndarray,
    tracks: np.ndarray,
) -> LensRange:
    """What is known of the winner's focal length, by its reconstruction of the start's frames."""
    probe = choose_tracks(view, frames, effort.start_tracks, tracks, settings.seed)
    return judge_focal(view, settings, state, winner.model, frames, probe, lens_rivals(winner, contenders))


def unknown_lens_held(view: ShotView, winner: Contender, state: State, lens: LensRange) -> bool:
    """Puts a focal length that the shot cannot tell where prior and range meet, in `state`; whether that was so."""
    unknown = lens.word == "prior" and winner.model.focal_free
    if unknown:
        winner.model = hold_at_prior(view, state, winner.model, lens)
    return unknown


def contrasting(starts: list[Started]) -> list[Started]:
    """The best start; the best of another kind or focal length, and the best that only turns, when they come close."""
    best = starts[0]
    out = [best]
    for other in starts[1:]:
        if other.cost < 1.25 * best.cost + 0.5 and not alike(other.options, best.options):
            out.append(other)
            break
    turning = [s for s in starts if not s.options.translation and s.cost < 2 * best.cost + 0.5]
    if turning and turning[0] not in out:
        out.append(turning[0])
    return out


def settle(
    view: ShotView,
    settings: Settings,
    started: Started,
    frames: np.ndarray,
    chosen: np.ndarray,
    use_depth: bool,
    keep_out: np.ndarray | None = None,
) -> Settled:
    """Go on from a start until it has settled."""
    state = from_start(view, started)
    if keep_out is not None:
        state.label[keep_out] = LABEL_MOVER
        for f in frames:
            lift_seen(view, state.world, int(f), chosen, use_depth)
    model = base_model(view, settings, started, use_depth)
    trim(view, state, frames, chosen, model)
    return Settled(started, model, state)


def freed_of_movers(
    view: ShotView,
    settings: Settings,
    effort: Effort,
    settled: list[Settled],
    frames: np.ndarray,
    chosen: np.ndarray,
    tracks: np.ndarray,
    use_depth: bool,
) -> tuple[Settled, np.ndarray]:
    """The best reconstruction without movers, and the tracks (N,) bool it rests on.

    People can carry a path whatever is tried next from there: where much moves, a second go by other tracks, from every focal
    length, runs beside the first.
    """
    lead = best_of(view, settled, frames, chosen)
    kinds = [o for o in candidates(view, settings, use_depth) if o.translation and not o.focal_varies]
    goes: list[tuple[Settled | None, np.ndarray, int]] = [(lead, chosen, settings.seed)]
    if kinds and lead.model.translation and crowded(view, lead, frames, chosen):
        seed = settings.seed + SECOND_GO
        goes.append((None, choose_tracks(view, frames, effort.start_tracks, tracks, seed), seed))

    def go(task: tuple[Settled | None, np.ndarray, int]) -> tuple[Settled, np.ndarray]:
        best, those, seed = task
        if best is None:
            begun = [start(view, frames, those, kind, seed) for kind in kinds]
            best = best_of(view, [settle(view, settings, s, frames, those, use_depth) for s in begun], frames, those)
        return without_movers(view, settings, best, frames, those, use_depth, seed), those

    freed = side_by_side(go, goes)
    # a sharp look: what is right is right to well within the noise
    noise = SHARP_LOOK * min(s.state.scale for s, _ in freed)
    return max(freed, key=lambda f: explained(view, f[0].state, frames, f[1], f[0].model.translation, noise))


def without_movers(
    view: ShotView,
    settings: Settings,
    best: Settled,
    frames: np.ndarray,
    chosen: np.ndarray,
    use_depth: bool,
    seed: int,
    rounds: int = 6,
) -> Settled:
    """The best reconstruction, beginning with `best`, once movers are kept out from the very start.

    Movers pull a first path, and the set then fits it only in part (one wall, say, for which a false path can be found).
    Starting again without them frees the set; a few rounds, as long as more of the picture comes to rest.
    """
    since = 0
    latest = best
    for _ in range(rounds):
        movers = smooth_movers(view, latest.state.label, frames, chosen)
        if not MOVERS_TELL[0] * chosen.sum() <= movers.sum() <= MOVERS_TELL[1] * chosen.sum():
            break
        options = replace(latest.started.options, distortion=False)
        latest = settle(
            view,
            settings,
            start(view, frames, chosen & ~movers, options, seed),
            frames,
            chosen,
            use_depth,
            keep_out=movers,
        )
        leader = best_of(view, [best, latest], frames, chosen)
        since = 0 if leader is latest else since + 1
        best = leader
        if since >= 2:
            break
    return best


def crowded(view: ShotView, lead: Settled, frames: np.ndarray, chosen: np.ndarray) -> bool:
    """Whether enough moves in the picture to pull the camera along."""
    return bool(smooth_movers(view, lead.state.label, frames, chosen).sum() >= CROWD * chosen.sum())


def best_of(view: ShotView, settled: list[Settled], frames: np.ndarray, chosen: np.ndarray) -> Settled:
    """The reconstruction that explains most of the picture to within the noise; a zooming lens must be clearly better."""
    noise = min(s.state.scale for s in settled)

    def score(s: Settled) -> float:
        return (
            explained(view, s.state, frames, chosen, s.model.translation, noise)
            * ((0.87 if s.model.translation else 0.99) if s.model.focal_varies else 1.0)
            * (0.97 if s.model.k1 else 1.0)
            * (1.0 if s.model.translation else 1.02)
        )

    best = max(settled, key=score)
    if best.model.translation and is_flat(view, best.state, frames, chosen):
        # towards a wall a dolly and a zoom look the same, and every point's own depth takes up some of its track's drift
        zooms = [s for s in settled if not s.model.translation and s.model.focal_varies and score(s) > 0.75 * score(best)]
        best = max(zooms, key=score, default=best)
    return best


def base_model(view: ShotView, settings: Settings, started, use_depth: bool) -> Model:
    """The model a start goes on with: its own kind, with what the user asked for."""
    o = started.options
    return Model(
        translation=o.translation,
        focal_free=o.focal_free,
        focal_varies=o.focal_varies,
        k1=o.distortion or settings.distortion in ("radial1", "radial2"),
        k2=settings.distortion == "radial2",
        row_time=settings.rolling_shutter == "on",
        depth=use_depth,
        focal_prior_log=float(np.log(settings.focal_px or DEFAULT_FOCAL_OVER_WIDTH * view.width)),
        focal_prior_sigma=0.05 if settings.focal_px else 0.5,
    )


def still(view: ShotView, settings: Settings, tracks: np.ndarray, held: np.ndarray, watch: Stopwatch):
    """A lock-off: one camera for all frames, movers left out, points on their rays at the network's depth."""
    focal = settings.focal_px or DEFAULT_FOCAL_OVER_WIDTH * view.width
    world = World.blank(view.frame_count, view.tracks.track_count, focal)
    world.registered[:] = True
    for f in [*view.keys, *range(view.frame_count)]:
        lift(view, world, f, view.rows_of(f), bool(view.keys))
    flatten_depth = world.rho.copy()
    state = State(world, np.full(view.tracks.track_count, LABEL_STATIC), 1.0)
    model = Model(translation=False, focal_free=False, depth=bool(view.keys), focal_prior_log=float(np.log(focal)))
    flatten(world)
    everything = np.arange(view.frame_count)
    classify(view, state, everything, tracks | held, model)
    heldout = measure(view, state, everything, held, False, 0.3)
    world.rho[:] = flatten_depth
    watch.lap("adjust")
    winner = Contender(model, state, heldout, True, "nothing but movers changes between the frames")
    lens = judge_focal(view, settings, state, model, everything, tracks, [])
    return winner, [winner], tracks, held, lens
