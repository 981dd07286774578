"""How good a single-image depth is, after a scale and a shift in inverse depth are fitted to the truth of each frame."""

from __future__ import annotations

import numpy as np

from .network_constants import CONFIDENCE_TOLERANCE


def align(prediction: np.ndarray, truth_z: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Depth (h, w) from a disparity known up to scale and shift: least squares in inverse depth over the valid pixels.

    A negative scale would turn the picture inside out and is held to zero; depth is cut at twice the largest true one.
    """
    p, t = prediction[valid].astype(np.float64), 1.0 / truth_z[valid].astype(np.float64)
    spread = np.mean((p - p.mean()) ** 2)
    scale = max(np.mean((p - p.mean()) * (t - t.mean())) / spread, 0.0) if spread > 1e-12 else 0.0
    inverse = scale * (prediction - p.mean()) + t.mean()
    return 1.0 / np.maximum(inverse, 0.5 * t.min())


def frame_scores(
    prediction: np.ndarray,
    truth_z: np.ndarray,
    valid: np.ndarray,
    confidence: np.ndarray | None,
    rng: np.random.Generator,
    pairs: int = 20000,
) -> dict[str, float]:
    """AbsRel, RMSE(log), delta1 (share within a factor 1.25), ordinal error (share of pairs more than 10 % apart in depth that
    are ordered wrongly); with a confidence also AbsRel of the more confident half, and calibration figures."""
    z = align(prediction, truth_z, valid)
    a, t = z[valid], truth_z[valid]
    relative = np.abs(a - t) / t
    i, j = rng.integers(0, len(t), pairs), rng.integers(0, len(t), pairs)
    apart = np.abs(np.log(t[i] / t[j])) > np.log(1.1)
    p = prediction[valid]
    wrong = np.where(p[i] == p[j], 0.5, (p[i] > p[j]) != (t[i] < t[j]))[apart]
    scores = {
        "absrel": float(relative.mean()),
        "rmse_log": float(np.sqrt(np.mean(np.log(a / t) ** 2))),
        "delta1": float(np.mean(np.maximum(a / t, t / a) < 1.25)),
        "ordinal": float(wrong.mean()) if apart.any() else float("nan"),
    }
    if confidence is not None:
        c = confidence[valid]
        scores["absrel_confident_half"] = float(relative[c >= np.median(c)].mean())
        scores["absrel_best_half"] = float(np.sort(relative)[: len(relative) // 2].mean())
        within = (log_error(prediction, truth_z, valid) < CONFIDENCE_TOLERANCE)[valid]
        scores["confidence_mean"], scores["confidence_truth"] = float(c.mean()), float(within.mean())
        bins = np.minimum((c * 10).astype(int), 9)
        scores["calibration_error"] = float(
            sum(
                np.sum(bins == k) / len(c) * abs(c[bins == k].mean() - within[bins == k].mean())
                for k in range(10)
                if np.any(bins == k)
            )
        )
    return scores


def log_error(prediction: np.ndarray, truth_z: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """(h, w) |log of depth's error| up to a scale of the picture, for a positive disparity: what confidence speaks of."""
    error = np.log(np.maximum(prediction, 1e-9) * np.where(valid, truth_z, 1.0))
    return np.abs(error - np.median(error[valid]))


def tilted_plane(shape: tuple[int, int]) -> np.ndarray:
    """The lower in the image, the nearer: what is known without looking."""
    return np.repeat(np.linspace(0, 1, shape[0])[:, None], shape[1], axis=1)
