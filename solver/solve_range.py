"""A part of the shot tracked and solved again, joined to the cameras around it, which stay exactly as they are.

Tracking begins a dozen frames before the part (or, at the clip's beginning, behind it and backwards): tracks that lie on solved
points go on from where they were, so that the part hangs on the same points as its surroundings; new ones fill the gaps. The
cameras of the part are then found from the points, and adjusted with all others held. Frames that were never solved can be
added at either end of a solve in the same way.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from .clip import open_clip
from .effort import Stopwatch
from .errors import EXIT_UNSOLVED, EXIT_USAGE, HoldfastError
from .finish import assemble
from .gauge import laid_over
from .held_cameras import adjust_part
from .initialise import StartOptions, lift, lift_seen, register
from .lens_range import LensRange
from .masks import open_masks
from .movers import residual_scale
from .reconstruct import Model, State, classify
from .refine import describe_source, model_of, spread_out, stand_in, take_apart, tracked_of, with_user_tracks, world_of_solution
from .resection import refine_points
from .retrack import Part, join, track_part
from .selfcheck import Contender, fit_held_out, hold_out, measure, unit_of
from .types import LABEL_STATIC, Progress, Settings, Solution
from .user_tracks import UserTrack, with_errors
from .view import ShotView

SEAM_FRAMES = 12  # of the kept part on each side that are tracked along
REACH_FRAMES = 200  # of the kept part on each side whose observations hold the points while the part is adjusted
FEWEST = 8  # points that a frame must see


def solve_range(
    solution: Solution,
    settings: Settings,
    first: int,
    last: int,
    progress: Progress,
    *,
    clip_path: str | None = None,
    mask_path: str | None = None,
    user: tuple[UserTrack, ...] | None = None,
) -> Solution:
    """Track and solve the frames first to last again (the clip's numbers). user: tracks that replace the user's earlier ones.

    Raises HoldfastError.
    """
    watch = Stopwatch()
    numbers = solution.frame_numbers
    kept = numbers[(numbers < first) | (numbers > last)]
    before, after = kept[kept < first][-SEAM_FRAMES:], kept[kept > last][:SEAM_FRAMES]
    if len(before) + len(after) < 3:
        raise HoldfastError(
            "usage.range",
            f"The range {first} to {last} leaves fewer than 3 solved frames to join it to.",
            "Choose a smaller range, or solve the whole shot again.",
            EXIT_USAGE,
        )
    spacing = int(np.median(np.diff(numbers)))
    if (not len(before) and after[0] > last + spacing) or (not len(after) and before[-1] < first - spacing):
        raise HoldfastError(
            "usage.range",
            f"The range {first} to {last} does not touch the solved frames {numbers[0]} to {numbers[-1]}.",
            "Choose a range inside the solve, or one that begins where it ends.",
            EXIT_USAGE,
        )
    # every frame in step with the solved ones
    start = before[0] if len(before) else numbers[0] - (numbers[0] - first) // spacing * spacing
    clip = _open(clip_path or solution.clip.path, int(start), int(after[-1]) if len(after) else last, solution, progress)
    tracked = np.array(clip.info.frames)
    part = tracked[(tracked >= first) & (tracked <= last)]
    if not len(part):
        raise HoldfastError(
            "usage.range", f"The clip has no frame between {first} and {last}.", "Choose another range.", EXIT_USAGE
        )
    masks = open_masks(mask_path, clip.info, progress) if mask_path else None
    progress("open", 1, 1)
    plan = Part(part, kept, tracked, forwards=len(before) > 0)
    joined, fresh = join(solution, plan, track_part(solution, plan, clip, masks, settings, progress), clip.info)
    if user is not None:
        older = np.isin(np.arange(joined.tracks.track_count), [d["track"] for d in joined.user_tracks])
        joined = with_user_tracks(joined, user, progress)
        fresh = np.r_[fresh[~older], np.zeros(len(joined.user_tracks), bool)]
    watch.lap("track")
    return _solve(solution, joined, plan, fresh, settings, progress, watch)


def _open(path: str, start: int, end: int, solution: Solution, progress: Progress):
    """The footage of a solve, from start to end. Raises HoldfastError where it is gone, too short, or another one."""
    try:
        clip = open_clip(path, start, end, solution.clip.step, progress)
    except HoldfastError as error:
        if error.code == "clip.range_outside":
            raise HoldfastError("usage.range", error.message, "Choose a --range inside the clip.", EXIT_USAGE) from None
        if error.code == "clip.missing":
            raise HoldfastError(error.code, error.message, "Say with --clip where the footage is now.", error.exit_code) from None
        raise
    have, want = (clip.info.width, clip.info.height), (solution.clip.width, solution.clip.height)
    if have != want:
        raise HoldfastError(
            "clip.other_size",
            f"{clip.info.path} is {have[0]}x{have[1]} px, the solve {want[0]}x{want[1]} px.",
            "Give the footage that was solved.",
            EXIT_USAGE,
        )
    return clip


def _solve(
    old: Solution, joined: Solution, plan: Part, fresh: np.ndarray, settings: Settings, progress: Progress, watch: Stopwatch
) -> Solution:
    material = take_apart(joined, settings.seed)
    view = material.view
    fresh = fresh[material.kept]
    # new tracks are held out at the same share as old ones
    material.held |= hold_out(view, 0.1, settings.seed) & fresh
    model = model_of(joined, replace(settings, distortion="auto", rolling_shutter="auto"), view)
    model = replace(model, focal_free=model.focal_varies)
    usable = (np.bincount(view.tracks.track, minlength=view.tracks.track_count) >= 4) | view.trusted
    held = material.held & usable
    tracks = usable & ~held
    part = np.nonzero(np.isin(joined.frame_numbers, plan.part))[0]
    world = world_of_solution(joined, material, model.translation)
    state = State(world, material.label.copy(), 1.0)
    state.scale = _scale_of_kept(view, state, np.setdiff1d(np.arange(view.frame_count), part), tracks & ~fresh)
    _find_cameras(view, state, part, tracks, fresh, model, settings, progress)
    watch.lap("start")
    lo, hi = max(0, part[0] - REACH_FRAMES), min(view.frame_count, part[-1] + REACH_FRAMES + 1)
    window = np.arange(lo, hi)
    for turn in range(4):
        label = state.label.copy()
        adjust_part(view, state, window, part, tracks, model, iterations=12)
        classify(view, state, window, tracks, model)
        progress("adjust", turn + 1, 5)
        if turn and (label != state.label)[tracks].mean() < 0.005:
            break
    adjust_part(view, state, window, part, tracks, model, iterations=8)
    for f in part:  # what was held out, or came late, gets a point
        lift_seen(view, world, int(f), usable, model.depth and model.translation)
    everything = np.arange(view.frame_count)
    classify(view, state, everything, tracks, model)
    progress("adjust", 5, 5)
    watch.lap("adjust")
    winner = Contender(model, state, None, True, "kept from the solve before")
    winner.held = measure(view, state, everything, held, model.translation, unit_of(view, winner, everything, tracks))
    fit_held_out(view, winner, held)
    low, high = old.verdict.focal_range_px
    lens = LensRange(old.verdict.focal, low, high, float(joined.quality.get("focal_spread") or np.inf))
    new = assemble(
        stand_in(joined.clip),
        settings,
        view,
        tracked_of(joined, material),
        winner,
        [],
        tracks,
        held,
        lens,
        material.maps,
        describe_source(joined),
        progress,
        watch,
    )
    new = spread_out(new, joined, material, tracked=part)
    new = laid_over(_only_kept(joined, plan), new)
    return _finished(old, joined, new, plan, watch)


def _only_kept(joined: Solution, plan: Part) -> Solution:
    keep = np.isin(joined.frame_numbers, plan.kept)
    return replace(joined, frame_numbers=joined.frame_numbers[keep], cam_from_world=joined.cam_from_world[keep])


def _finished(old: Solution, joined: Solution, new: Solution, plan: Part, watch: Stopwatch) -> Solution:
    """Kept cameras to the last digit, the old reasoning about the lens, and what was done in words."""
    pose = new.cam_from_world.copy()
    keep = np.isin(new.frame_numbers, plan.kept)
    pose[keep] = joined.cam_from_world[keep]
    part = ~keep
    was = np.isin(old.frame_numbers, plan.part)
    after = float(np.sqrt((new.frame_error_px[part] ** 2).mean()))
    words = f"Frames {plan.part[0]} to {plan.part[-1]} were tracked and solved again ({after:.2f} px"
    if was.any():
        words += f"; before: {float(np.sqrt((old.frame_error_px[was] ** 2).mean())):.2f} px"
    words += "); all other cameras are exactly as they were."
    verdict = replace(
        new.verdict,
        chosen=old.verdict.chosen,
        motion=old.verdict.motion,
        motion_observable=old.verdict.motion_observable,
        distortion=old.verdict.distortion,
        statements=(*new.verdict.statements, words),
    )
    timings = {name: round(seconds, 3) for name, seconds in watch.seconds.items()}
    return with_errors(
        replace(new, cam_from_world=pose, verdict=verdict, timings=timings, settings=old.settings, user_tracks=joined.user_tracks)
    )


def _scale_of_kept(view: ShotView, state: State, kept: np.ndarray, tracks: np.ndarray) -> float:
    problem = view.problem(kept, tracks & state.world.known & (state.label == LABEL_STATIC), depth=False)
    if not len(problem.tracks):
        return 1.0
    return float(np.clip(residual_scale(problem.obs, state.world.gather(problem, view.depth_is_log)), 0.3, 20))


def _find_cameras(
    view: ShotView,
    state: State,
    part: np.ndarray,
    tracks: np.ndarray,
    fresh: np.ndarray,
    model: Model,
    settings: Settings,
    progress: Progress,
) -> None:
    """Cameras of the part, frame by frame from its ends inwards, by the points known so far; new tracks get points."""
    world = state.world
    kept = np.setdiff1d(np.arange(view.frame_count), part)
    world.registered[part] = False
    options = StartOptions(
        focal_px=float(np.exp(np.median(world.log_focal))),
        focal_varies=model.focal_varies,
        focal_free=model.focal_free,
        translation=model.translation,
        use_depth=model.depth and model.translation,
    )
    seam = kept[(kept >= part[0] - SEAM_FRAMES) & (kept <= part[-1] + SEAM_FRAMES)]
    for f in seam:
        lift_seen(view, world, int(f), tracks, options.use_depth)
    problem = view.problem(seam, tracks & fresh & world.known, min_views=4, depth=False)
    if len(problem.tracks):
        x = refine_points(problem.obs, world.gather(problem, view.depth_is_log), translation=model.translation)
        world.direction[problem.tracks], world.rho[problem.tracks] = x.direction, x.rho
    trust = np.where(state.label == LABEL_STATIC, np.where(fresh, 0.5, 1.0), 0.05)
    rng = np.random.default_rng(settings.seed)
    have, todo = kept.tolist(), part.tolist()
    while todo:
        frame = min(todo, key=lambda f: min(abs(f - h) for h in have))
        neighbour = min(have, key=lambda h: abs(h - frame))
        rows = view.rows_of(frame)
        seen = view.tracks.track[rows]
        if (tracks[seen] & world.known[seen]).sum() < FEWEST:
            raise HoldfastError(
                "range.too_few",
                f"Fewer than {FEWEST} solved points can be followed into frame {view.tracks.frame_numbers[frame]}.",
                "Choose another range, or place a few tracks of your own there (--user-tracks).",
                EXIT_UNSOLVED,
            )
        focal = world.log_focal[frame]
        register(view, world, frame, neighbour, tracks, trust, options, rng)
        if not model.focal_varies:
            world.log_focal[frame] = focal
        lift(view, world, frame, rows[tracks[seen]], options.use_depth)
        have.append(frame)
        todo.remove(frame)
        progress("start", len(part) - len(todo), len(part))
