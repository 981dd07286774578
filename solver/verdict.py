"""In plain words: what the shot could tell, and what it could not."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .doubts import Doubts, in_doubt, said_of
from .in_place import in_place
from .lens_range import STILL_DEG, LensRange, turned_deg
from .movers import share_throughout
from .reconstruct import State
from .selfcheck import Contender
from .tracked import TrackedClip
from .types import LABEL_MOVER, LABEL_STATIC, LABEL_UNRELIABLE, Settings, Verdict
from .view import ShotView

MOST_UNJOINED = 0.1  # of the frames: a flash or a passer-by; more is another shot
AT_ODDS = 0.25  # spread of the network's depth about that of the points; where the path was right it was 0.18 at most
EXTREME = 0.025  # share of the points, nearest and farthest, that say no more than the next ones
MUCH_PARALLAX = 40.0  # times the noise: points' depths are known better from it than a network knows them
# Patches vary by 4 to 6.4 grey levels of 255 where the exposure falls to an eighth in a shot, by 7.6 and more in other footage.
FAINT_LEVELS = 7.0
GOOD_PX, USABLE_PX = 0.8, 2.0  # error on held-out tracks, at 1920 wide
ENOUGH_STATIC = 0.25  # share of the tracks that must be at rest for a solve to be good
# Of the picture. Crowds that were solved rightly move in 0.51 of it at most; where the camera followed the people, 0.54.
MOSTLY_MOVING = 0.52
MOST_WITH_FEW = 0.1  # share of frames that may rest on few tracks for a solve to be usable


@dataclass(frozen=True)
class Evidence:
    """What a verdict rests on, beside the reconstruction that won.

    tracks (N,) bool: those that were used; parallax_px: what the path shifts points by against each other; frame_tracks (F,):
    tracks at rest in each frame; unjoined (F,) bool: frames apart from the rest; depth_name, depth_spread: the network, and how
    far its depths spread about the points' (None: there is none).
    """

    settings: Settings
    contenders: list[Contender]
    tracks: np.ndarray
    tracked: TrackedClip
    lens: LensRange
    parallax_px: float
    frame_tracks: np.ndarray
    unjoined: np.ndarray
    depth_name: str | None
    depth_spread: float | None


def judge(view: ShotView, winner: Contender, evidence: Evidence) -> Verdict:
    """The verdict on a finished solve."""
    state = winner.state
    noise_px = max(state.scale * float(np.median(view.sigma)), 0.02)
    motion, observable, lines = _of_motion(view, winner, evidence, noise_px)
    distortion, of_lens = _of_lens(view, winner, evidence)
    depth, at_odds, of_depth = _of_depth(winner, evidence, noise_px)
    doubts = in_doubt(view, state.label == LABEL_STATIC, evidence.frame_tracks, evidence.unjoined, evidence.tracked)
    contrast = evidence.tracked.contrast_levels
    faint = 0 < contrast < FAINT_LEVELS
    of_the_scene = evidence.tracks & ~(in_place(view) & (state.label != LABEL_STATIC))
    lines += [*of_lens, *of_depth, *_of_tracks(state, evidence.tracks, of_the_scene)]
    lines += said_of(doubts, view.tracks.frame_numbers)
    if faint:
        lines.append(
            f"What the tracks hold on to is faint (it varies by {contrast:.1f} grey levels of 255). Compression leaves "
            "little of that, tracks stick to what it has left, and errors may be larger than the held-out tracks say. "
            "Brighten dark footage before it is compressed, or solve the camera's original."
        )
    moving = moving_share(view, state, of_the_scene)
    # a camera that stands still follows nobody, and tracks that the user has placed say what is at rest
    crowded = moving > MOSTLY_MOVING and motion != "static" and not view.trusted.any()
    if crowded:
        lines.append(
            f"More moves than is at rest: what was left out takes up {100 * moving:.0f} % of the picture. The camera may follow "
            "people instead of the set. Look at a prop; if it slides, draw a mask over them, or place tracks on the set yourself."
        )
    held_px = winner.held.rms_px
    share_static = float((state.label[evidence.tracks] == LABEL_STATIC).mean())
    unsure = faint or crowded or at_odds or (motion == "free" and not observable)
    status = _status(held_px * 1920 / view.width, share_static, doubts, unsure)
    lines.append(f"Tracks held out of the solve are {held_px:.2f} px off (RMS; along edges, where they may slide, counted less).")
    return Verdict(
        status,
        _summary(motion, held_px, evidence.lens.word, status, evidence.unjoined),
        motion,
        observable,
        evidence.lens.word,
        (float(evidence.lens.low_px), float(evidence.lens.high_px)),
        distortion,
        depth,
        held_px,
        tuple(lines),
        tuple(
            {"model": c.model.name, "held_out_px": round(c.held.rms_px, 4), "won": c.won, "why": c.why}
            for c in evidence.contenders
        ),
    )


def _of_motion(view: ShotView, winner: Contender, evidence: Evidence, noise_px: float) -> tuple[str, bool, list[str]]:
    """(static, rotation or free; whether that is beyond doubt; in words)."""
    turned = turned_deg(winner.state.world)
    if winner.model.translation:
        parallax = evidence.parallax_px
        observable = parallax > 5 * noise_px
        if not observable:
            words = (
                f"The camera hardly travels: {parallax:.1f} px of parallax against {noise_px:.2f} px of noise. "
                "Its rotation is good; the direction of its path is weak."
            )
        elif parallax < view.width:
            words = (
                f"The camera travels: its path shifts points by {parallax:.1f} px against each other, "
                f"{parallax / noise_px:.0f} times the tracking noise."
            )
        else:
            words = "The camera travels: its path shifts points against each other by more than the picture is wide."
        return "free", observable, [words]
    if turned < STILL_DEG:
        source = ", as the settings say" if evidence.settings.motion == "static" else ""
        words = f"The camera does not move{source}; only things in front of it do. One camera stands for all frames."
        return "static", True, [words]
    depths = (
        "Depths of the points come from the network, not from the shot."
        if evidence.depth_name
        else "Depths of the points cannot be known from such a shot."
    )
    words = f"The camera turns on the spot (up to {turned:.2f} degrees): a translation explains the tracks no better. {depths}"
    return "rotation", True, [words]


def _of_lens(view: ShotView, winner: Contender, evidence: Evidence) -> tuple[str, list[str]]:
    """(what is known of the distortion; focal length, distortion and rolling shutter in words)."""
    world, model, settings, lens = winner.state.world, winner.model, evidence.settings, evidence.lens
    focal = float(np.exp(np.median(world.log_focal)))
    low, high = lens.low_px, lens.high_px
    if lens.word == "given":
        lines = [f"The focal length was given: {focal:.0f} px."]
    elif lens.word == "measured":
        lines = [f"The shot determines the focal length: {focal:.0f} px, within {50 * (high / low - 1):.1f} %."]
    elif lens.word == "weak":
        lines = [
            f"The focal length is only weakly determined: {focal:.0f} px fits best, "
            f"{low:.0f} to {high:.0f} px fit about as well. "
            "If you know the lens, give its focal length."
        ]
    else:
        source = settings.focal_source or ("your value" if settings.focal_px else "a typical lens")
        lines = [
            f"The shot cannot tell the focal length ({low:.0f} to {high:.0f} px fit equally well); "
            f"{focal:.0f} px from {source} is in force. "
            "Props hold all the same; give the lens for true proportions."
        ]
    if model.focal_varies:
        f = np.exp(world.log_focal)
        lines.append(f"The lens zooms: {f[0]:.0f} px at the first frame, {f[-1]:.0f} px at the last.")
    distortion = "measured" if model.k1 else "none" if settings.distortion == "none" else "not determined"
    if model.k1:
        corner = 0.5 * np.hypot(view.width, view.height) / focal
        bend = abs(world.k1 * corner**2 + world.k2 * corner**4) * corner * focal
        lines.append(
            f"The lens bends the corners by {bend:.1f} px (k1 {world.k1:+.4f}" + (f", k2 {world.k2:+.4f})." if model.k2 else ").")
        )
    elif settings.distortion != "none":
        lines.append(
            "A lens that bends the picture would fit a little better, but not beyond doubt; none is modelled. If you know "
            "that the lens bends, ask for it in the settings: the focal length hangs on it."
            if lens.bend_doubt
            else "No lens distortion shows beyond the noise; none is modelled."
        )
    if model.row_time:
        slide = slide_without_rows(view, world.row_time)
        lines.append(
            f"The sensor was read row by row over {abs(world.row_time):.2f} of a frame (rolling shutter); "
            f"the cameras stand for the middle row. A renderer that cannot do the same lets props slide by {slide:.1f} px."
        )
    return distortion, lines


def _of_depth(winner: Contender, evidence: Evidence, noise_px: float) -> tuple[str, bool, list[str]]:
    """(what the network's depth did; whether it casts doubt on the path; in words)."""
    name, spread = evidence.depth_name, evidence.depth_spread
    if name is None:
        words = (
            "No depth network was used: where the camera hardly travels, the scene's depth and the focal length are less certain."
        )
        return "none", False, [words]
    if not winner.model.translation:
        return "point depths only", False, []
    much = evidence.parallax_px > MUCH_PARALLAX * noise_px
    did = "neutral" if much and evidence.lens.word in ("measured", "given") else "helped"
    if spread is None:
        return did, False, []
    if spread < AT_ODDS:
        return did, False, [f"The depth network ({name}) agrees with the solved points within {100 * spread:.0f} %."]
    words = f"The depth network ({name}) and the solved points are at odds: do not trust surfaces."
    if much and evidence.lens.word == "measured":  # such a path does not come about by chance: it is the network that errs
        return did, False, [words]
    words += (
        " Either the network fails on this footage, or the camera follows something else than the set. Look at a prop; if it "
        "slides, draw a mask, or set Motion to Lock-Off (--motion static) if the camera stood still."
    )
    return did, True, [words]


def _of_tracks(state: State, tracks: np.ndarray, of_the_scene: np.ndarray) -> list[str]:
    """What became of the tracks (N,) bool, and of those among them that are not of the scene."""
    label = state.label[of_the_scene]
    lines = [
        f"{int((label == LABEL_STATIC).sum())} tracks at rest carry the solve; "
        f"{int((label == LABEL_MOVER).sum())} move on their own and "
        f"{int((label == LABEL_UNRELIABLE).sum())} are unreliable; those were left out."
    ]
    on_the_picture = int((tracks & ~of_the_scene).sum())
    if on_the_picture:
        lines.append(
            f"{on_the_picture} tracks stay in place while the picture moves (writing or a logo in it, dirt on the lens, the "
            "camera's own mount); they were left out. If they are the room, the camera stands still: set Motion to Lock-Off "
            "(--motion static)."
        )
    return lines


def moving_share(view: ShotView, state: State, tracks: np.ndarray) -> float:
    """Share of the picture that moves on its own, over the shot, by the room that each of the tracks (N,) bool has."""
    return share_throughout(view, tracks, state.label == LABEL_MOVER)


def _status(error_px: float, share_static: float, doubts: Doubts, unsure: bool) -> str:
    """Good, usable or weak. error_px: on held-out tracks, at 1920 wide; unsure: usable at best."""
    if doubts.blind.any() or doubts.unjoined.mean() > MOST_UNJOINED:
        return "weak"
    if error_px < GOOD_PX and not doubts.few.any() and share_static > ENOUGH_STATIC:
        return "usable" if unsure or doubts.some else "good"
    return "usable" if error_px < USABLE_PX and doubts.few.mean() < MOST_WITH_FEW else "weak"


def _summary(motion: str, held_px: float, focal: str, status: str, unjoined: np.ndarray) -> str:
    """One line for the panel."""
    words = {"free": "Camera path solved", "rotation": "Camera rotation solved (tripod)", "static": "Locked-off camera"}[motion]
    tail = {
        "given": "focal length as given",
        "measured": "focal length measured",
        "weak": "focal length weak",
        "prior": "focal length assumed",
    }[focal]
    summary = f"{words}: {held_px:.2f} px on held-out tracks, {tail}, {status}."
    if unjoined.any():
        summary += f" No camera known in {int(unjoined.sum())} of {len(unjoined)} frames."
    return summary


def parallax_px(view: ShotView, state: State, frames: np.ndarray, tracks: np.ndarray) -> float:
    """RMS shift (px) that the camera's translation causes between its two farthest positions, at the points' depths."""
    world = state.world
    centres = np.array([world.centre(int(f)) for f in frames])
    if np.ptp(centres, axis=0).max() < 1e-12:
        return 0.0
    spread = centres - centres.mean(0)
    extent = 2 * np.linalg.norm(spread, axis=1).max()
    use = tracks & world.known & (state.label == LABEL_STATIC)
    rho = world.rho[use]
    if not len(rho):
        return 0.0
    # A few points right before the camera, where a path has put what moves, would stand for all
    within = np.clip(rho, *np.quantile(rho, [EXTREME, 1 - EXTREME]))
    # What a rotation can imitate (the shift common to all points) is no parallax
    return float(np.exp(np.median(world.log_focal)) * extent * np.std(within))


def slide_without_rows(view: ShotView, row_time: float) -> float:
    """RMS (px) of how far the rows' times move what is seen, less what stays the same over a track's life: a point placed
    elsewhere takes that up."""
    t = view.tracks.track
    count = np.maximum(np.bincount(t, minlength=view.tracks.track_count), 1)[:, None]
    usual = np.stack([np.bincount(t, shift, minlength=view.tracks.track_count) for shift in view.row_shift.T], 1) / count
    return float(abs(row_time) * np.sqrt(np.mean(((view.row_shift - usual[t]) ** 2).sum(1))))
