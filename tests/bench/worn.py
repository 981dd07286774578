"""The same shots as other people would have shot them: noisier, darker, smaller, shorter, upright, the other way round.

A shot's name with a plus and a treatment (`actors+dark`, `clips/truck+half`) stands for it treated so, with the truth to match;
`+worn` for all treatments, one after the other. Made once into .cache/bench/worn. Noise is that of a small sensor in poor light,
and what a phone's encoder leaves of it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from tests.bench.shots import CACHE, Shot

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
}


def treated(shot: Shot, how: str, say: Callable[[str], None] = print) -> Shot:
    """The shot under a treatment, made if need be. Raises KeyError for one that there is not, ValueError for a shot whose truth
    does not say enough (rows read one after the other stay rows only in the picture as it was)."""
    treatment = TREATMENTS[how]
    truth = json.loads(shot.truth.read_text(encoding="utf-8")) if shot.truth else None
    if how in ("upright", "back") and truth and truth.get("rolling"):
        raise ValueError(f"{shot.name} was read row by row: {how}, its rows would be read in another order than the truth says")
    folder = FOLDER / f"{shot.name.replace('/', '-')}-{shot.movie.parent.name}-{how}"
    movie = folder / f"{shot.movie.stem}.mp4"
    made = replace(shot, name=f"{shot.name}+{how}", movie=movie, truth=movie.with_suffix(".gt.json") if truth else None)
    if not movie.exists():
        folder.mkdir(parents=True, exist_ok=True)
        if truth:
            made.truth.write_text(json.dumps(treatment.truth(truth)), encoding="utf-8")
        frames, fps = _read(shot.movie)
        _write(treatment.pictures(frames, np.random.default_rng(7)), fps, movie, treatment.crf)
        say(f"  made {made.name}")
    return made


def _read(movie: Path) -> tuple[np.ndarray, float]:
    import av  # the bench's environment alone has it

    with av.open(str(movie)) as container:
        stream = container.streams.video[0]
        return np.stack([f.to_ndarray(format="bgr24") for f in container.decode(stream)]), float(stream.average_rate)


def _write(frames: np.ndarray, fps: float, movie: Path, crf: int) -> None:
    import av

    unfinished = movie.with_suffix(".unfinished.mp4")
    with av.open(str(unfinished), "w") as container:
        options = {"crf": str(crf), "preset": "medium", "threads": "1"}
        stream = container.add_stream("libx264", rate=round(fps), options=options)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="bgr24")))
        container.mux(stream.encode())
    unfinished.replace(movie)
