"""A finished solve, adjusted anew from its files: without tracks the user left out, with tracks the user made. No tracking.

Cameras and points are taken up where they were; what the shot was asked (its settings) is asked again of the tracks that remain:
adjust, let models compete, adjust all frames, judge on held-out tracks. The result is laid over the old solve, so that whatever
stands in the scene stays there.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np

from .edits import only
from .effort import Effort, Stopwatch
from .finish import assemble
from .gauge import laid_over
from .hypotheses import assumed_focal_px, start_frames
from .initialise import lift_seen
from .lens_range import PRIOR_SIGMA, LensRange, stretch
from .lock_off import at_rest
from .parallel import use_cores
from .pipeline import check_trackable
from .preview import Preview
from .reconstruct import Model, State, all_frames, classify, resect_frames, trim
from .reconstruction import known_of_lens, reconstruct, still, unknown_lens_held
from .selfcheck import Contender, HeldOut, decide, fit_held_out, flatten, hold_out, measure, questions, unit_of
from .steady import steady
from .tracked import TrackedClip
from .types import LABEL_STATIC, LABEL_UNRELIABLE, ClipInfo, DepthMap, Progress, Settings, Solution, Tracks
from .user_tracks import UserTrack, append, describe, trust, with_errors, within
from .view import ShotView, World

FEWEST_HELD_OUT = 8
WEAK_SCALE = 2.0  # residuals beyond this many of the old solve's: the old cameras were no place to start from
SAME_LENS = 0.02  # how sure the solve before is of a focal length that a shot cannot tell: the scene was built under it


@dataclass(frozen=True)
class _Clip:
    """Stands for the clip where only its facts are needed."""

    info: ClipInfo


@dataclass(frozen=True)
class _Source:
    """Stands for the depth source where only its name is needed."""

    name: str
    provider: str
    kind: str


def stand_in(info: ClipInfo) -> _Clip:
    """For `assemble`: a clip of which only the facts are known."""
    return _Clip(info)


def describe_source(solution: Solution) -> _Source | None:
    """For `assemble`: where the solve's depth came from."""
    source = solution.depth_source
    name = str(source.get("name", "none"))
    return None if name == "none" else _Source(name, str(source.get("provider", "")), str(source.get("kind", "")))


def settings_of(solution: Solution, threads: int = 0) -> Settings:
    """What the solve was asked; for solves that do not say, what they found out counts as asked."""
    known = {f.name for f in fields(Settings)}
    if solution.settings:
        return replace(Settings(**{k: v for k, v in solution.settings.items() if k in known}), threads=threads)
    given = solution.verdict.focal == "given"
    focal = float(np.median(solution.focal_px))
    return Settings(
        focal_px=focal if given or solution.verdict.focal == "prior" else None,
        focal_source="the solve" if given else None,
        focal_mode="known" if given else "auto",
        motion="auto" if solution.verdict.motion == "free" else "rotation",
        threads=threads,
    )


def with_user_tracks(solution: Solution, user: tuple[UserTrack, ...], progress: Progress | None) -> Solution:
    """The solution with the user's tracks in place of those it had from an earlier time."""
    older = np.zeros(solution.tracks.track_count, bool)
    older[[d["track"] for d in solution.user_tracks]] = True
    user = within(user, solution.frame_numbers, progress)
    tracks, kept = only(solution.tracks, ~older)
    new_of = np.full(len(older), -1)
    new_of[kept] = np.arange(len(kept))
    stay = new_of[solution.point_track] >= 0
    more = len(user)

    def grown(array: np.ndarray | None, value) -> np.ndarray | None:
        return None if array is None else np.concatenate([array[kept], np.full((more, *array.shape[1:]), value, array.dtype)])

    return replace(
        solution,
        tracks=append(tracks, user),
        track_label=grown(np.asarray(solution.track_label), LABEL_STATIC),
        track_held_out=grown(np.asarray(solution.track_held_out, bool), False),
        track_muted=grown(solution.track_muted, False),
        track_colour=grown(solution.track_colour, 255),
        user_tracks=describe(user, len(kept)),
        point_track=new_of[solution.point_track[stay]],
        **{
            name: getattr(solution, name)[stay]
            for name in ("points", "point_colour", "point_error_px", "point_length", "point_depth_sigma")
        },
    )


@dataclass
class Material:
    """A solution taken apart again. `kept`: numbers, in the solution, of the view's tracks (none of them muted)."""

    view: ShotView
    maps: dict[int, DepthMap]
    kept: np.ndarray
    held: np.ndarray  # (n,) bool
    label: np.ndarray  # (n,)
    colour: np.ndarray  # (n, 3)


def take_apart(solution: Solution, seed: int) -> Material:
    """Everything the adjustment needs, from what a job folder holds."""
    count = solution.tracks.track_count
    muted = np.zeros(count, bool) if solution.track_muted is None else solution.track_muted
    tracks, kept = only(solution.tracks, ~muted)
    index_of = {int(n): i for i, n in enumerate(solution.frame_numbers)}
    maps = {index_of[m.frame]: _raw_map(m) for m in solution.depth_maps if m.frame in index_of}
    camera = solution.camera
    view = ShotView(tracks, camera.width, camera.height, maps, (camera.cx, camera.cy), pixel_aspect=solution.clip.pixel_aspect)
    new_of = np.full(count, -1)
    new_of[kept] = np.arange(len(kept))
    trust(view, tuple(d | {"track": int(new_of[d["track"]])} for d in solution.user_tracks if new_of[d["track"]] >= 0))
    colour = solution.track_colour
    if colour is None:
        colour = np.full((count, 3), 128, np.uint8)
        colour[solution.point_track] = solution.point_colour
    held = np.asarray(solution.track_held_out, bool)[kept] & ~view.trusted
    if held.sum() < FEWEST_HELD_OUT:
        held = hold_out(view, 0.1, seed)
    return Material(view, maps, kept, held, np.asarray(solution.track_label)[kept].astype(int), np.asarray(colour)[kept])


def _raw_map(aligned) -> DepthMap:
    if aligned.network is not None:
        return DepthMap(aligned.frame, aligned.kind or "depth", np.asarray(aligned.network, np.float32), aligned.confidence)
    return DepthMap(aligned.frame, "depth", aligned.depth, aligned.confidence)


def world_of_solution(solution: Solution, material: Material, translation: bool) -> World:
    """The reconstruction as the adjustment holds it: points as directions from the first camera that sees them."""
    view = material.view
    world = World.blank(view.frame_count, view.tracks.track_count, 1.0)
    world.rotation = solution.cam_from_world[:, :3, :3].copy()
    world.translation = solution.cam_from_world[:, :3, 3].copy()
    world.log_focal = np.log(solution.focal_px)
    world.registered[:] = True
    world.k1, world.k2, world.row_time = solution.camera.k1, solution.camera.k2, solution.camera.row_time
    new_of = np.full(solution.tracks.track_count, -1)
    new_of[material.kept] = np.arange(len(material.kept))
    here = new_of[solution.point_track]
    first = np.full(view.tracks.track_count, -1)
    seen, row = np.unique(view.tracks.track, return_index=True)
    first[seen] = view.tracks.frame_index[row]
    use = (here >= 0) & (first[here] >= 0)
    here, points = here[use], np.asarray(solution.points, float)[use]
    centres = -np.einsum("fji,fj->fi", world.rotation, world.translation)
    origin = centres[first[here]]
    ray = points - origin
    distance = np.linalg.norm(ray, axis=1)
    world.origin[here], world.direction[here], world.rho[here] = origin, ray / distance[:, None], 1 / distance
    world.known[here] = True
    if not translation:
        flatten(world)
        world.translation[:] = 0.0
    return world


def model_of(solution: Solution, settings: Settings, view: ShotView) -> Model:
    """The kind of camera the solve found, with what the user asked for."""
    lens = solution.camera
    varying = bool(np.ptp(solution.focal_px) > 1e-9 * np.mean(solution.focal_px))
    known = settings.focal_mode == "known" and bool(settings.focal_px)
    return Model(
        translation=solution.verdict.motion == "free",
        focal_free=not known and solution.verdict.focal != "prior",
        focal_varies=(varying or settings.focal_mode == "varying") and settings.focal_mode != "constant" and not known,
        k1=settings.distortion in ("radial1", "radial2") or (settings.distortion == "auto" and lens.k1 != 0),
        k2=settings.distortion == "radial2" or (settings.distortion == "auto" and lens.k2 != 0),
        row_time=settings.rolling_shutter == "on" or (settings.rolling_shutter == "auto" and lens.row_time != 0),
        depth=bool(view.keys),
        focal_prior_log=float(np.log(assumed_focal_px(settings, view.width))),
        focal_prior_sigma=0.05 if settings.focal_px else 0.5,
    )


def refine(
    solution: Solution,
    settings: Settings,
    progress: Progress,
    *,
    again: bool = False,
    same_model: bool = False,
) -> Solution:
    """Adjust a solution anew with the tracks it now has (see edits.py, `with_user_tracks`).

    again: find the cameras from nothing instead of going on from the old ones. same_model: do not ask again which kind of lens
    and move it is. Raises HoldfastError when too little is left to hold on to.
    """
    watch = Stopwatch()
    progress("open", 1, 1)
    material = take_apart(solution, settings.seed)
    view = material.view
    tracked = tracked_of(solution, material)
    check_trackable(tracked)
    effort = Effort.of(settings.quality)
    use_cores(settings.threads)
    another_move = _is_another_move(settings.motion, solution.verdict.motion)
    found = None
    if solution.verdict.motion == "static" and not another_move and not again:
        usable = np.bincount(view.tracks.track, minlength=view.tracks.track_count) >= 4
        found = still(view, settings, usable & ~material.held, material.held & usable, watch)
    elif not (again or another_move):
        found = _from_here(solution, material, settings, effort, progress, watch, same_model)
    if found is None:
        found = reconstruct(view, settings, effort, progress, watch, Preview(progress), material.colour)
    winner, contenders, tracks, held, lens = found
    fit_held_out(view, winner, held)
    depth = describe_source(solution)
    untold = lens.word == "prior" and not settings.focal_px and solution.verdict.focal != "prior"
    new = assemble(
        stand_in(solution.clip),
        with_focal_of(solution, settings) if untold else settings,
        view,
        tracked,
        winner,
        contenders,
        tracks,
        held,
        lens,
        material.maps,
        depth,
        progress,
        watch,
    )
    new = spread_out(new, solution, material)
    new = replace(new, settings=settings.record(), timings={k: round(v, 3) for k, v in watch.seconds.items()})
    return with_errors(laid_over(solution, new))


def _is_another_move(asked: str, found: str) -> bool:
    """Whether the user asks for another move than was found; a tripod that did not turn is still a tripod."""
    return {"auto": False, "free": found != "free", "rotation": found == "free", "static": found != "static"}[asked]


def _from_here(
    solution: Solution,
    material: Material,
    settings: Settings,
    effort: Effort,
    progress: Progress,
    watch: Stopwatch,
    same_model: bool,
):
    """Go on from the old cameras: (winner, contenders, used tracks, held-out tracks, lens). None when they are no good start."""
    view = material.view
    usable = np.bincount(view.tracks.track, minlength=view.tracks.track_count) >= 4
    usable |= view.trusted  # however short: the user's word
    held = material.held & usable
    tracks = usable & ~held
    model = model_of(solution, settings, view)
    state = State(world_of_solution(solution, material, model.translation), material.label.copy(), 1.0)
    if not model.focal_free and settings.focal_mode == "known" and settings.focal_px:
        factor = settings.focal_px / float(np.exp(np.median(state.world.log_focal)))
        state.world = stretch(state.world, factor, view.frame_count // 2)
        state.world.log_focal[:] = np.log(settings.focal_px)
    elif not model.focal_varies:
        state.world.log_focal[:] = np.log(np.median(solution.focal_px))
    for f in [*view.keys, *range(view.frame_count)]:
        lift_seen(view, state.world, f, usable, model.depth and model.translation)
    frames = np.union1d(start_frames(view, effort.solve_frames, bool(view.keys)), view.keys).astype(int)
    progress("start", 1, 1)
    watch.lap("start")
    # what the old cameras could not explain may be explained now: all tracks are looked at again
    classify(view, state, frames, tracks, model, cut=8.0)
    trim(view, state, frames, tracks, model, rounds=4, iterations=10)
    if state.scale > WEAK_SCALE or (state.label[tracks] == LABEL_STATIC).mean() < 0.5:
        return None
    progress("adjust", 3, 8)
    watch.lap("adjust")
    settled = same_model or (model.translation and solution.verdict.motion_observable)
    rests = settings.motion == "auto" and not settled and at_rest(view).holds
    asked = [] if same_model else questions(settings, model, settled, rests)
    base = Contender(model, state, HeldOut(np.zeros(0), np.zeros(0, int), np.inf))
    if same_model:
        winner = base
        winner.won, winner.why, contenders = True, "kept from the solve before", [base]
    else:
        winner, contenders = decide(
            view,
            base,
            asked,
            frames,
            tracks,
            held,
            settings.seed,
            iterations=effort.compete_iterations,
            progress=lambda d, n: progress("check", d, n + 1),
        )
    lens = _lens(view, settings, solution, winner, contenders, frames, tracks, effort)
    watch.lap("check")
    trim(view, winner.state, frames, tracks, winner.model, rounds=1, iterations=8)
    progress("adjust", 5, 8)
    # the points have moved meanwhile
    resect_frames(view, winner.state, np.setdiff1d(np.arange(view.frame_count), frames), tracks, winner.model)
    all_frames(view, winner.state, tracks, winner.model, iterations=effort.final_iterations)
    if settings.steady == "auto":
        steady(view, winner.state, tracks, winner.model)
    lens = lens.after(float(np.exp(np.median(winner.state.world.log_focal[frames]))))
    unit = unit_of(view, winner, frames, tracks)
    winner.held = measure(view, winner.state, np.arange(view.frame_count), held, winner.model.translation, unit)
    progress("adjust", 8, 8)
    watch.lap("adjust")
    return winner, contenders, tracks, held, lens


def _lens(
    view, settings: Settings, solution: Solution, winner: Contender, contenders, frames, tracks, effort: Effort
) -> LensRange:
    """What is known of the focal length. What the shot could not tell before, it cannot tell now: the range stays."""
    if not winner.model.focal_free and settings.focal_mode != "known":
        low, high = solution.verdict.focal_range_px
        return LensRange("prior", low, high, PRIOR_SIGMA)
    settings = with_focal_of(solution, settings)
    lens = known_of_lens(view, settings, effort, winner, winner.state, contenders, frames, tracks)
    if lens.word == "prior":
        winner.model = replace(winner.model, focal_prior_log=float(np.log(settings.focal_px)), focal_prior_sigma=SAME_LENS)
    unknown_lens_held(view, winner, winner.state, lens)
    return lens


def with_focal_of(solution: Solution, settings: Settings) -> Settings:
    """Where the shot cannot tell the focal length and nobody else does, the solve's own stays: the scene was built under it."""
    if settings.focal_px:
        return settings
    return replace(settings, focal_px=float(np.median(solution.focal_px)), focal_source="the solve before")


def tracked_of(solution: Solution, material: Material) -> TrackedClip:
    """As if it had just been tracked."""
    tracks = material.view.tracks
    here = np.zeros((len(tracks.frame_numbers), tracks.track_count), bool)
    here[tracks.frame_index, tracks.track] = True
    bridging = np.r_[0, (here[1:] & here[:-1]).sum(1)]
    jumps = solution.quality.get("joined_by_descriptors") or ()
    index_of = {int(n): i for i, n in enumerate(tracks.frame_numbers)}
    return TrackedClip(
        tracks,
        material.colour,
        float(solution.quality.get("noise_levels") or 0.0),
        float(solution.quality.get("contrast_levels") or 0.0),
        bridging,
        tuple(index_of[n] for n in jumps if n in index_of),
    )


def spread_out(new: Solution, old: Solution, material: Material, tracked: np.ndarray | tuple = ()) -> Solution:
    """The new solution under the old numbers of tracks, with everything only the old one knew.

    What was seen in the frames just `tracked` (n,), indices, and is not of its point there goes, as in any solve. What the old
    one handed out stays, slipped or not: under other cameras, asked for next, it may be of its point again.
    """
    kept, count = material.kept, old.tracks.track_count
    label = np.full(count, LABEL_UNRELIABLE)
    held = np.zeros(count, bool)
    label[kept], held[kept] = new.track_label, new.track_held_out
    left_out = 0 if old.track_muted is None else int(np.asarray(old.track_muted).sum())
    tracks = old.tracks
    asked = np.isin(tracks.frame_index, tracked) & np.isin(tracks.track, kept)
    stayed = np.isin(_keys(tracks, tracks.track), _keys(new.tracks, kept[new.tracks.track]))
    tracks = tracks.rows(stayed | ~asked)
    verdict = new.verdict
    if left_out:
        verdict = replace(verdict, statements=(*verdict.statements, f"{left_out} track(s) were left out by you."))
    return replace(
        new,
        tracks=tracks,
        track_label=label,
        track_held_out=held,
        point_track=kept[new.point_track],
        track_colour=old.track_colour,
        track_muted=old.track_muted if left_out else None,
        user_tracks=old.user_tracks,
        depth_source=old.depth_source,
        warnings=old.warnings,
        history=old.history,
        verdict=verdict,
        quality=new.quality
        | {
            "observations": int(np.isin(tracks.track, kept).sum()),
            "muted": left_out,
            "joined_by_descriptors": old.quality.get("joined_by_descriptors", []),
        },
    )


def _keys(tracks: Tracks, number: np.ndarray) -> np.ndarray:
    """(M,) one number for each observation: of which track, by `number` (M,), and in which frame."""
    return number.astype(np.int64) * len(tracks.frame_numbers) + tracks.frame_index
