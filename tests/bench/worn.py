"""The same shots as other people would have shot them: noisier, darker, smaller, shorter, upright, the other way round; in
flickering light, with the focus pulled, out of focus at first, with frames missing, with what an editor burns in.

A shot's name with a plus and a treatment (`actors+dark`, `clips/truck+half`) stands for it treated so, with the truth to match;
`+worn` for all treatments, one after the other; `+shallow`, `+wide_open`, `+pull_in`, `+pull_out` for shots with people, by their
masks (tests/bench/layers.py); `+phone_stand` and its like: a still of it, filmed by a phone (tests/bench/phone.py). Made once
into .cache/bench/worn. Noise is that of a small sensor in poor light, and what a phone's encoder leaves of it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace

import cv2
import numpy as np

from tests.bench import phone
from tests.bench.layers import FOCUS, focused
from tests.bench.movies import read, write
from tests.bench.shots import CACHE, Shot, masks_of

FOLDER = CACHE / "worn"


@dataclass(frozen=True)
class Treatment:
    """What becomes of the pictures and of the truth, and how hard they are compressed.

    pictures(frames (F, h, w, 3) uint8 BGR, rng): the treated ones; truth(.gt.json's contents): the treated one.
    """

    pictures: Callable[[np.ndarray, np.random.Generator], np.ndarray]
    truth: Callable[[dict], dict] = lambda truth: truth
    crf: int = 16


def _noisy(frames: np.ndarray, rng: np.random.Generator, deviation: float, gain: Callable[[float], float]) -> np.ndarray:
    """Frames at an exposure that changes over the shot, with noise that neighbouring pixels share a little (demosaicing)."""
    out = np.empty_like(frames)
    for i, frame in enumerate(frames):
        noise = cv2.GaussianBlur(rng.normal(size=frame.shape[:2]).astype(np.float32), (0, 0), 0.8)
        noise *= deviation / noise.std()
        out[i] = np.clip(frame * gain(i / len(frames)) + noise[..., None], 0, 255)
    return out


def _flickering(frames: np.ndarray, _rng: np.random.Generator) -> np.ndarray:
    """Light that comes and goes by up to a third from frame to frame."""
    k = np.arange(len(frames))
    gain = 1 + 0.35 * np.sin(0.9 * k) * (0.5 + 0.5 * np.sin(0.21 * k))
    return np.stack([np.clip(f * g, 0, 255).astype(np.uint8) for f, g in zip(frames, gain, strict=True)])


def _out_of_focus(frames: np.ndarray, blur_px: np.ndarray) -> np.ndarray:
    """Each frame blurred by so much (F,), where it can be seen."""
    return np.stack([cv2.GaussianBlur(f, (0, 0), b) if b > 0.2 else f for f, b in zip(frames, blur_px, strict=True)])


def _focus_pulled(frames: np.ndarray, _rng: np.random.Generator) -> np.ndarray:
    """Out of focus in the middle of the shot, by 10 px in a picture 1920 wide, and back."""
    place = np.linspace(-1, 1, len(frames))
    return _out_of_focus(frames, 10 * frames.shape[2] / 1920 * np.exp(-((place / 0.4) ** 2)))


def _begins_soft(frames: np.ndarray, _rng: np.random.Generator) -> np.ndarray:
    """Out of focus at first, by 10 px in a picture 1920 wide; sharp after two fifths of the shot."""
    place = np.arange(len(frames)) / (0.4 * len(frames))
    return _out_of_focus(frames, 10 * frames.shape[2] / 1920 * np.clip(1 - place, 0, 1))


def _frames_lost(frames: np.ndarray, _rng: np.random.Generator) -> np.ndarray:
    """Two black frames in the middle."""
    out = frames.copy()
    out[len(out) // 2 : len(out) // 2 + 2] = 0
    return out


def _burnt_in(frames: np.ndarray, _rng: np.random.Generator) -> np.ndarray:
    """Black bars above and below, and a line of text in each that counts the frames."""
    height = frames.shape[1]
    bar = round(0.12 * height)
    out = frames.copy()
    out[:, :bar] = out[:, -bar:] = 0
    font, size, thick = cv2.FONT_HERSHEY_SIMPLEX, 0.018 * bar, max(1, bar // 30)
    for k, frame in enumerate(out):
        cv2.putText(frame, f"SC 24 TK 3  01:02:03:{k:02d}", (bar, round(0.65 * bar)), font, size, (230,) * 3, thick)
        cv2.putText(frame, "PROPERTY OF THE STUDIO", (bar, height - round(0.35 * bar)), font, size, (230,) * 3, thick)
    return out


def _smaller(frames: np.ndarray, _rng: np.random.Generator) -> np.ndarray:
    height, width = (2 * (n // 4) for n in frames.shape[1:3])
    return np.stack([cv2.resize(f, (width, height), interpolation=cv2.INTER_AREA) for f in frames])


def _with_frames(truth: dict, order: list[int]) -> dict:
    """The truth of these of the frames, in this order, numbered anew."""
    frames = [truth["frames"][k] | {"frame": i} for i, k in enumerate(order)]
    grid = truth.get("grid")
    # the grid's frame only says from where the scene's depth is measured
    grid = grid and grid | {"frame": order.index(grid["frame"]) if grid["frame"] in order else len(order) // 2}
    return truth | {"frames": frames} | ({"grid": grid} if grid else {})


def _half(truth: dict) -> dict:
    count = len(truth["frames"])
    return _with_frames(truth, [*range(count // 2, count)])


def _back(truth: dict) -> dict:
    return _with_frames(truth, [*range(len(truth["frames"]))][::-1])


def _small(truth: dict) -> dict:
    height, width = (2 * (truth[k] // 4) for k in ("height", "width"))
    x, y = width / truth["width"], height / truth["height"]
    frames = [f | {"fx": f["fx"] * x, "cx": f["cx"] * x, "fy": f["fy"] * y, "cy": f["cy"] * y} for f in truth["frames"]]
    return truth | {"width": width, "height": height, "frames": frames}


def _upright(truth: dict) -> dict:
    """Of the picture turned clockwise: x becomes what -y was, y what x was."""
    width, height = truth["height"], truth["width"]
    frames = []
    for f in truth["frames"]:
        pose = np.array(f["c2w"])
        turned = np.c_[-pose[:, 1], pose[:, 0], pose[:, 2:]]
        lens = {"fx": f["fy"], "fy": f["fx"], "cx": width - f["cy"], "cy": f["cx"]}
        frames.append(f | lens | {"c2w": turned.tolist()})
    return truth | {"width": width, "height": height, "frames": frames}


TREATMENTS = {
    "noise": Treatment(lambda f, rng: _noisy(f, rng, 7.0, lambda _: 1.0), crf=26),
    "dark": Treatment(lambda f, rng: _noisy(f, rng, 2.0, lambda t: max(0.35 + 0.35 * np.sin(6 * t), 0.12)), crf=20),
    "small": Treatment(_smaller, _small),
    "half": Treatment(lambda f, _: f[len(f) // 2 :], _half),
    "back": Treatment(lambda f, _: f[::-1], _back),
    "upright": Treatment(lambda f, _: np.rot90(f, -1, (1, 2)), _upright),
    "flicker": Treatment(_flickering),
    "focus": Treatment(_focus_pulled),
    "soft": Treatment(_begins_soft),
    "black": Treatment(_frames_lost),
    "slate": Treatment(_burnt_in),
}


def treated(shot: Shot, how: str, say: Callable[[str], None] = print) -> Shot:
    """The shot under a treatment, made if need be. Raises KeyError for one that there is not, ValueError for a shot whose truth
    does not say enough (rows read one after the other stay rows only in the picture as it was; what moves has masks)."""
    if how in phone.MOVES:
        return phone.filmed(shot, how, placed(shot, how, with_truth=True), say)
    if how in FOCUS:
        masks = masks_of(shot)
        if masks is None:
            raise ValueError(f"{shot.name} has no masks of all frames: nothing tells its people from the set")
        movers = np.stack(list(masks.values()))
        treatment = Treatment(lambda f, rng: focused(f, movers, how, rng), crf=18)
    else:
        treatment = TREATMENTS[how]
    truth = json.loads(shot.truth.read_text(encoding="utf-8")) if shot.truth else None
    if how in ("upright", "back") and truth and truth.get("rolling"):
        raise ValueError(f"{shot.name} was read row by row: {how}, its rows would be read in another order than the truth says")
    made = placed(shot, how, with_truth=truth is not None)
    if not made.movie.exists():
        made.movie.parent.mkdir(parents=True, exist_ok=True)
        if truth:
            made.truth.write_text(json.dumps(treatment.truth(truth)), encoding="utf-8")
        frames, fps = read(shot.movie)
        write(treatment.pictures(frames, np.random.default_rng(7)), fps, made.movie, treatment.crf)
        say(f"  made {made.name}")
    return made


def placed(shot: Shot, how: str, with_truth: bool) -> Shot:
    """The treated shot where it belongs, made or not."""
    place = shot.movie.parent
    rendered = f"{place.parent.name}-" if place.is_relative_to(CACHE) else ""  # by size, length and seed
    movie = FOLDER / f"{shot.name.replace('/', '-')}-{rendered}{place.name}-{how}" / f"{shot.movie.stem}.mp4"
    return replace(shot, name=f"{shot.name}+{how}", movie=movie, truth=movie.with_suffix(".gt.json") if with_truth else None)
