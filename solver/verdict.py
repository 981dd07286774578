"""In plain words: what the shot could tell, and what it could not."""

from __future__ import annotations

import numpy as np

from .clip import ranges
from .joints import hidden_share
from .lens_range import LensRange
from .reconstruct import State
from .selfcheck import Contender
from .types import LABEL_MOVER, LABEL_STATIC, LABEL_UNRELIABLE, Settings, Verdict
from .view import ShotView

WHIP_STEP = 0.05  # of the picture's width from one frame to the next
BLIND_TRACKS = 6  # fewer tracks at rest do not hold a camera
MOST_UNJOINED = 0.1  # of the frames: a flash or a passer-by; more is another shot
SOFT, SOFT_FRAMES = 0.45, 5  # detail against the sharp frames; shaken cameras of real clips go down to a half of it
AT_ODDS = 0.5  # spread of the network's depth about that of the points
MOSTLY_HIDDEN = 0.5  # people who fill 40 % of the picture hide an eighth of the tracks, the streaks of a whip pan 0.4
# Patches vary by 4 to 6.4 grey levels of 255 where the exposure falls to an eighth in a shot, by 7.6 and more in other footage.
FAINT_LEVELS = 7.0


def in_words(numbers: np.ndarray, step: int) -> str:
    """'frame 7', 'frames 3, 7-9': these frames, of a clip that is numbered in such steps."""
    return ("frame " if len(numbers) == 1 else "frames ") + ranges(numbers.tolist(), step)


def median_steps(view: ShotView) -> np.ndarray:
    """(F,) median motion of the tracks from the frame before, px."""
    t = view.tracks
    linked = np.nonzero((t.track[1:] == t.track[:-1]) & (np.diff(t.frame_index) == 1))[0]
    step = np.hypot(*(t.xy[linked + 1] - t.xy[linked]).T)
    frame = t.frame_index[linked + 1]
    order = np.argsort(frame, kind="stable")
    parts = np.split(step[order], np.searchsorted(frame[order], np.arange(1, view.frame_count)))
    return np.array([np.median(p) if len(p) else 0.0 for p in parts])


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
    # What a rotation can imitate (the shift common to all points) is no parallax
    return float(np.exp(np.median(world.log_focal)) * extent * np.std(rho))


def slide_without_rows(view: ShotView, row_time: float) -> float:
    """RMS (px) of how far the rows' times move what is seen, less what stays the same over a track's life: a point placed
    elsewhere takes that up."""
    t = view.tracks.track
    count = np.maximum(np.bincount(t, minlength=view.tracks.track_count), 1)[:, None]
    usual = np.stack([np.bincount(t, shift, minlength=view.tracks.track_count) for shift in view.row_shift.T], 1) / count
    return float(abs(row_time) * np.sqrt(np.mean(((view.row_shift - usual[t]) ** 2).sum(1))))


def judge(
    view: ShotView,
    settings: Settings,
    winner: Contender,
    contenders: list[Contender],
    tracks: np.ndarray,
    lens: LensRange,
    parallax: float,
    frame_tracks: np.ndarray,
    unjoined: np.ndarray,
    depth_name: str | None,
    depth_spread: float | None,
    bridged: tuple[int, ...],
    contrast_levels: float = 0.0,
    detail: np.ndarray | None = None,
) -> Verdict:
    """The verdict on a finished solve. contrast_levels: of what the tracks hold on to, grey levels of 255 (0: not known);
    unjoined (F,) bool: frames apart from the rest; detail (F,): how much of each frame is fine detail (none: not known)."""
    state, model = winner.state, winner.model
    world = state.world
    focal = float(np.exp(np.median(world.log_focal)))
    held = winner.held.rms_px
    noise = max(state.scale * float(np.median(view.sigma)), 0.02)
    lines: list[str] = []

    turned = float(
        np.degrees(np.arccos(np.clip((np.einsum("fij,ij->f", world.rotation, world.rotation[0]) - 1) / 2, -1, 1)).max())
    )
    if not model.translation and turned < 0.02:
        motion, observable = "static", True
        lines.append("The camera does not move; only things in front of it do. One camera stands for all frames.")
    elif not model.translation:
        motion, observable = "rotation", True
        lines.append(
            f"The camera turns on the spot (up to {turned:.2f} degrees): a translation explains the tracks no better. "
            "Depths of the points come from the network, not from the shot."
            if depth_name
            else f"The camera turns on the spot (up to {turned:.2f} degrees): a translation explains the tracks no better. "
            "Depths of the points cannot be known from such a shot."
        )
    else:
        motion = "free"
        observable = parallax > 5 * noise
        lines.append(
            (
                f"The camera travels: its path shifts points by {parallax:.1f} px against each other, "
                f"{parallax / noise:.0f} times the tracking noise."
                if parallax < view.width
                else "The camera travels: its path shifts points against each other by more than the picture is wide."
            )
            if observable
            else f"The camera hardly travels: {parallax:.1f} px of parallax against {noise:.2f} px of noise. "
            "Its rotation is good; the direction of its path is weak."
        )

    low, high, focal_word = lens.low_px, lens.high_px, lens.word
    if focal_word == "given":
        lines.append(f"The focal length was given: {focal:.0f} px.")
    elif focal_word == "measured":
        lines.append(f"The shot determines the focal length: {focal:.0f} px, within {50 * (high / low - 1):.1f} %.")
    elif focal_word == "weak":
        lines.append(
            f"The focal length is only weakly determined: {focal:.0f} px fits best, "
            f"{low:.0f} to {high:.0f} px fit about as well. "
            "If you know the lens, give its focal length."
        )
    else:
        source = settings.focal_source or ("your value" if settings.focal_px else "a typical lens")
        lines.append(
            f"The shot cannot tell the focal length ({low:.0f} to {high:.0f} px fit equally well); "
            f"{focal:.0f} px from {source} is in force. "
            "Props hold all the same; give the lens for true proportions."
        )
    if model.focal_varies:
        f = np.exp(world.log_focal)
        lines.append(f"The lens zooms: {f[0]:.0f} px at the first frame, {f[-1]:.0f} px at the last.")
    if model.k1:
        distortion = "measured"
        corner = 0.5 * np.hypot(view.width, view.height) / focal
        bend = abs(world.k1 * corner**2 + world.k2 * corner**4) * corner * focal
        lines.append(
            f"The lens bends the corners by {bend:.1f} px (k1 {world.k1:+.4f}" + (f", k2 {world.k2:+.4f})." if model.k2 else ").")
        )
    else:
        distortion = "none" if settings.distortion == "none" else "not determined"
        if settings.distortion != "none":
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

    if depth_name is None:
        depth_word = "none"
        lines.append(
            "No depth network was used: where the camera hardly travels, the scene's depth and the focal length are less certain."
        )
    elif not model.translation:
        depth_word = "point depths only"
    else:
        depth_word = "helped" if lens.sigma > 0.002 or parallax < 40 * noise else "neutral"
        if depth_spread is not None:
            lines.append(
                f"The depth network ({depth_name}) agrees with the solved points within {100 * depth_spread:.0f} %."
                if depth_spread < AT_ODDS
                else f"The depth network ({depth_name}) and the solved points are at odds: do not trust surfaces."
            )
    label = state.label[tracks]
    lines.append(
        f"{int((label == LABEL_STATIC).sum())} tracks at rest carry the solve; "
        f"{int((label == LABEL_MOVER).sum())} move on their own and "
        f"{int((label == LABEL_UNRELIABLE).sum())} are unreliable; those were left out."
    )
    numbers = view.tracks.frame_numbers
    step = int(numbers[1] - numbers[0])
    joined = ~unjoined
    if unjoined.any():
        lines.append(
            f"Nothing joins {in_words(numbers[unjoined], step)} to the others (a cut, a fade, a flash, somebody right in "
            "front of the lens): the camera is not known there, it only goes on from the frames around. Another shot needs "
            "a solve of its own."
        )
    weak = np.nonzero((frame_tracks < 15) & joined)[0]
    if len(weak):
        lines.append(f"{len(weak)} frame(s) rest on fewer than 15 tracks (first: {numbers[weak[0]]}); look at them.")
    blind = np.nonzero((frame_tracks < BLIND_TRACKS) & joined)[0]
    if len(blind):
        lines.append(
            f"In {len(blind)} frame(s) (first: {numbers[blind[0]]}) next to nothing could be followed: their cameras are "
            "guessed, and what comes before and after may not fit together."
        )
    hidden = (hidden_share(view.tracks, state.label == LABEL_STATIC) > MOSTLY_HIDDEN) & joined
    if hidden.any():
        lines.append(
            f"In {in_words(numbers[hidden], step)} most of what is seen before and after is hidden (somebody in front of the "
            "lens?): the camera may follow what hides it. Look at a prop there, or draw a mask."
        )
    jumps = [k for k in bridged if joined[k] and joined[k - 1]]
    if jumps:
        lines.append(
            f"Between {len(jumps)} pair(s) of neighbouring frames the picture jumped (first: frame {numbers[jumps[0]]}); "
            "they were joined by matching descriptors."
        )
    fast = np.nonzero((median_steps(view) > WHIP_STEP * view.width) & joined & np.r_[True, joined[:-1]])[0]
    if len(fast):
        lines.append(
            f"The picture races by between frames {numbers[fast[0]]} and {numbers[fast[-1]]} (a whip pan, a jolt): the blur "
            "hides small errors there, and the two sides may not fit together exactly. Look at a prop on both sides."
        )
    soft = np.zeros(len(numbers), bool)
    if detail is not None and len(detail) == len(numbers):
        soft = (detail < SOFT * np.percentile(detail, 90)) & joined & ~np.isin(np.arange(len(numbers)), fast)
    blurred = soft.sum() >= SOFT_FRAMES
    if blurred:
        lines.append(
            f"The picture is out of focus or blurred in {in_words(numbers[soft], step)}: what is followed there is less sure, "
            "most of all where a shot begins like that. Look at a prop there."
        )
    faint = 0 < contrast_levels < FAINT_LEVELS
    if faint:
        lines.append(
            f"What the tracks hold on to is faint (it varies by {contrast_levels:.1f} grey levels of 255). Compression leaves "
            "little of that, tracks stick to what it has left, and errors may be larger than the held-out tracks say. "
            "Brighten dark footage before it is compressed, or solve the camera's original."
        )
    relative = held * 1920 / view.width
    if relative < 0.8 and not len(weak) and (label == LABEL_STATIC).mean() > 0.25:
        status = "good"
    elif relative < 2.0 and len(weak) < 0.1 * view.frame_count:
        status = "usable"
    else:
        status = "weak"
    if len(blind) or unjoined.mean() > MOST_UNJOINED:
        status = "weak"
    if status == "good" and (
        len(fast) or faint or blurred or unjoined.any() or hidden.any() or (motion == "free" and not observable)
    ):
        status = "usable"
    words = {"free": "Camera path solved", "rotation": "Camera rotation solved (tripod)", "static": "Locked-off camera"}[motion]
    tail = {
        "given": "focal length as given",
        "measured": "focal length measured",
        "weak": "focal length weak",
        "prior": "focal length assumed",
    }[focal_word]
    summary = f"{words}: {held:.2f} px on held-out tracks, {tail}, {status}."
    if unjoined.any():
        summary += f" No camera known in {int(unjoined.sum())} of {len(unjoined)} frames."
    lines.append(f"Tracks held out of the solve are {held:.2f} px off (RMS; along edges, where they may slide, counted less).")
    chosen = tuple(
        {"model": c.model.name, "held_out_px": round(c.held.rms_px, 4), "won": c.won, "why": c.why} for c in contenders
    )
    return Verdict(
        status,
        summary,
        motion,
        observable,
        focal_word,
        (float(low), float(high)),
        distortion,
        depth_word,
        held,
        tuple(lines),
        chosen,
    )
