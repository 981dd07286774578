"""From tracks to cameras: start, extend, let models compete, adjust all frames."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from .crowds import freed_of_movers
from .effort import Effort, Stopwatch
from .heats import best_starts
from .hypotheses import assumed_focal_px, candidates, choose_tracks, is_still, start_frames
from .in_place import in_place
from .initialise import Started, lift, lift_seen, start
from .lens_range import LensRange, held_where_still, hold_at_prior, judge_focal
from .lock_off import Rest, at_rest, begun_at_rest
from .mirror import better_mirror
from .parallel import side_by_side
from .preview import Preview
from .reconstruct import CROWDED, Model, State, all_frames, classify, extend, leave_bodies, trim
from .selfcheck import (
    Contender,
    HeldOut,
    decide,
    flatten,
    hold_out,
    lens_rivals,
    measure,
    questions,
    unit_of,
)
from .settle import Settled, contrasting, settle
from .steady import steady
from .types import LABEL_MOVER, LABEL_STATIC, Progress, Settings
from .view import ShotView, World

MAX_START_FRAMES = 40


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
    rest = None
    if settings.motion == "static" or (settings.motion == "auto" and (is_still(view) or (rest := at_rest(view)).still)):
        return still(view, settings, tracks, held, watch)
    frames = start_frames(view, effort.start_frames, use_depth)
    if len(frames) > MAX_START_FRAMES:
        # a long way: it starts around a keyframe near the middle, the rest is joined on afterwards
        middle = view.keys[len(view.keys) // 2] if use_depth else view.frame_count // 2
        first = max(0, int(np.searchsorted(frames, middle)) - MAX_START_FRAMES // 2)
        frames = frames[first : first + MAX_START_FRAMES]
    chosen = choose_tracks(view, frames, effort.start_tracks, tracks & ~in_place(view), settings.seed)
    best, travels = first_reconstruction(view, settings, rest, frames, chosen, use_depth, progress)
    model = best.model
    progress("start", 1, 1)
    watch.lap("start")
    preview.solved("start", view, best.state, colour, int(frames[len(frames) // 2]))
    solve_frames = np.union1d(start_frames(view, effort.solve_frames, use_depth), frames)
    solve_frames = np.union1d(solve_frames, view.keys).astype(int)
    solving = choose_tracks(view, solve_frames, effort.compete_tracks, tracks, settings.seed)

    def go_on(begun: State, show: bool) -> State:
        """From the start's frames to the solve's, with all tracks; movers are told apart by some of them first."""
        rng = np.random.default_rng(settings.seed)
        shown = (lambda f: preview.solved("adjust", view, begun, colour, f)) if show else (lambda f: None)
        if (begun.label[chosen] == LABEL_MOVER).mean() > CROWDED:
            # whom the other tracks are on shows best before people can pull at further frames
            for f in frames:
                lift_seen(view, begun.world, int(f), usable, model.depth and model.translation)
            classify(view, begun, frames, usable, model, adjusted=chosen)
            leave_bodies(view, begun, frames, usable, model)
        extend(view, begun, solve_frames, usable, model, rng, on_frame=shown)
        if show:
            progress("adjust", 3, 8)
        trim(view, begun, solve_frames, solving, model, rounds=3, iterations=8)
        classify(view, begun, solve_frames, tracks, model, adjusted=solving)
        leave_bodies(view, begun, solve_frames, tracks, model)
        return begun

    def its_mirror() -> State | None:
        better = better_mirror(view, best.state, model, frames, chosen, tracks)
        return None if better is None else go_on(better, show=False)

    progress("adjust", 1, 8)
    # the mirror image is tried meanwhile: it is hardly ever the better one
    state, mirror = side_by_side(lambda job: job(), (lambda: go_on(best.state.copy(), show=True), its_mirror))
    state = state if mirror is None else mirror
    watch.lap("adjust")
    preview.solved("adjust", view, state, colour, int(solve_frames[len(solve_frames) // 2]))
    progress("check", 1, 8)
    base = Contender(model, state, HeldOut(np.zeros(0), np.zeros(0, int), np.inf))
    winner, contenders = decide(
        view,
        base,
        questions(settings, model, travels, rest is not None and rest.holds),
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
        classify(view, those, solve_frames, tracks, model, adjusted=solving)
        leave_bodies(view, those, solve_frames, tracks, model)
        if model != base.model:  # a lens that was freed just now has not found its place among few tracks
            trim(view, those, solve_frames, tracks, model, rounds=2, iterations=12)
        all_frames(view, those, tracks, model, iterations=effort.final_iterations)
        if settings.steady == "auto":
            steady(view, those, tracks, model)
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
    lens = held_where_still(view, settings, winner.state, winner.model, lens)
    preview.solved("adjust", view, winner.state, colour, view.frame_count // 2)
    unit = unit_of(view, winner, solve_frames, tracks)
    winner.held = measure(view, winner.state, np.arange(view.frame_count), held, winner.model.translation, unit)
    progress("adjust", 8, 8)
    watch.lap("adjust")
    return winner, contenders, tracks, held, lens


def first_reconstruction(
    view: ShotView,
    settings: Settings,
    rest: Rest | None,
    frames: np.ndarray,
    chosen: np.ndarray,
    use_depth: bool,
    progress: Progress,
) -> tuple[Settled, bool]:
    """The reconstruction of few frames by few tracks that the others are joined to; whether the camera travels beyond doubt."""
    if rest is not None and rest.holds:
        return begun_at_rest(view, settings, rest, frames, chosen, use_depth), False
    tried = best_starts(
        view,
        frames,
        chosen,
        candidates(view, settings, use_depth),
        settings.seed,
        progress=lambda d, n: progress("start", d, n + 2),
        may_bend=settings.distortion == "auto",
    )
    starts = tried.starts

    # the best go on until they have settled; a start cut short says little about where it would end
    def unbent(started: Started) -> Settled:
        return settle(view, settings, started, frames, chosen, use_depth)

    def bent(started: Started) -> Settled:
        # a strongly bent picture never settles under a straight lens: the same start, with distortion
        options = replace(started.options, distortion=True)
        return settle(view, settings, start(view, frames, chosen, options, settings.seed), frames, chosen, use_depth)

    settled = side_by_side(unbent, contrasting(starts))
    first = settled[0]
    unsettled = first.state.scale > 1.2 or (first.state.label[chosen] == LABEL_STATIC).mean() < 0.75
    if settings.distortion == "auto" and unsettled and not tried.bend_tried:
        settled.append(bent(starts[0]))
    progress("start", len(starts) + 1, len(starts) + 2)
    return freed_of_movers(view, settings, settled, frames, chosen, use_depth), tried.travels


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
    rivals = [(c.model, c.state, better) for c, better in lens_rivals(winner, contenders)]
    return judge_focal(view, settings, state, winner.model, frames, probe, rivals)


def unknown_lens_held(view: ShotView, winner: Contender, state: State, lens: LensRange) -> bool:
    """Puts a focal length that the shot cannot tell where prior and range meet, in `state`; whether that was so."""
    unknown = lens.word == "prior" and winner.model.focal_free
    if unknown:
        winner.model = hold_at_prior(view, state, winner.model, lens)
    return unknown


def still(view: ShotView, settings: Settings, tracks: np.ndarray, held: np.ndarray, watch: Stopwatch):
    """A lock-off: one camera for all frames, movers left out, points on their rays at the network's depth."""
    focal = assumed_focal_px(settings, view.width)
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
