"""Movies read and written whole, in the bench's environment."""

from __future__ import annotations

from pathlib import Path

import numpy as np


def read(movie: Path) -> tuple[np.ndarray, float]:
    """(frames (F, h, w, 3) uint8 BGR, frames per second)"""
    import av  # the bench's environment alone has it

    with av.open(str(movie)) as container:
        stream = container.streams.video[0]
        return np.stack([f.to_ndarray(format="bgr24") for f in container.decode(stream)]), float(stream.average_rate)


def write(frames: np.ndarray, fps: float, movie: Path, crf: int) -> None:
    """H.264; the movie appears whole."""
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
