"""Bridging frames that are too far apart for Lucas-Kanade: descriptors and one homography."""

from __future__ import annotations

import cv2
import numpy as np

WORK_WIDTH_PX = 640


def bridge_prediction(before: np.ndarray, after: np.ndarray, xy: np.ndarray) -> np.ndarray | None:
    """Where points xy (n, 2) of one grey image should be in the other; None where the two do not match."""
    homography = bridge(before, after)
    return None if homography is None else carry(homography, xy)


def carry(homography: np.ndarray, xy: np.ndarray) -> np.ndarray:
    """Points (n, 2) through a homography, float32."""
    return cv2.perspectiveTransform(xy.reshape(-1, 1, 2).astype(np.float32), homography).reshape(-1, 2)


def carry_warp(homography: np.ndarray, xy: np.ndarray) -> np.ndarray:
    """(n, 2, 2): what a homography does to the neighbourhood of each point."""
    q = np.c_[xy, np.ones(len(xy))] @ homography.T
    image = q[:, :2] / q[:, 2:]
    return (homography[None, :2, :2] - image[:, :, None] * homography[None, 2:, :2]) / q[:, 2, None, None]


def plane_motion(source: np.ndarray, target: np.ndarray) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Homography (3, 3) from points (n, 2) to points (n, 2), four at least, and which of them follow it (n, 1); None where there
    is none."""
    cv2.setRNGSeed(0)
    return cv2.findHomography(source.astype(np.float32), target.astype(np.float32), cv2.USAC_MAGSAC, 3.0)


def bridge(before: np.ndarray, after: np.ndarray) -> np.ndarray | None:
    """Homography (3, 3) from one grey image to another, or None.

    SIFT (rotation and scale change, some blur) with Lowe's ratio test, MAGSAC++ homography.
    """
    scale = min(1.0, WORK_WIDTH_PX / before.shape[1])
    small = [cv2.resize(g, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) for g in (before, after)]
    sift = cv2.SIFT_create(nfeatures=1500, contrastThreshold=0.02)
    (kp0, d0), (kp1, d1) = (sift.detectAndCompute(g, None) for g in small)
    if d0 is None or d1 is None or len(kp0) < 8 or len(kp1) < 8:
        return None
    pairs = cv2.BFMatcher(cv2.NORM_L2).knnMatch(d0, d1, k=2)
    good = [m[0] for m in pairs if len(m) == 2 and m[0].distance < 0.8 * m[1].distance]
    if len(good) < 12:
        return None
    p0 = np.float32([kp0[m.queryIdx].pt for m in good]) / scale
    p1 = np.float32([kp1[m.trainIdx].pt for m in good]) / scale
    cv2.setRNGSeed(0)
    homography, inlier = cv2.findHomography(p0, p1, cv2.USAC_MAGSAC, 3.0 / scale, maxIters=2000, confidence=0.999)
    if homography is None or inlier is None or inlier.sum() < 10:
        return None
    return homography
