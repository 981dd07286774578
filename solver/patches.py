"""Sub-pixel refinement of patches against their first appearance.

Inverse-compositional Lucas-Kanade with an affine warp and free gain and bias (Baker and Matthews, "Lucas-Kanade 20 Years
On", IJCV 2004, sections 3.2 and 4; the photometric part is projected out as in section "Linear appearance variation" of
part 3), all patches of a frame at once. The affine part carries a prior, the warp of the frame before, so that weakly
textured patches do not wander.

Positions here follow OpenCV: the first pixel's centre is (0, 0).
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from .elongation import elongation_of

# A patch's affine warp changes by about this much per frame; it sets how stiffly the prior holds.
AFFINE_STEP_PER_FRAME = 0.01
# Residuals beyond this many robust deviations are taken for something in front of the patch.
OCCLUSION_CUT = 2.5
AFFINE_CHANGE = 0.3  # as much as a patch is stretched and turned in its life
SPREAD_STEP = 3  # every third sample tells the spread of a patch's residuals well enough
SMALL_STEP_PX = 0.3  # after a longer step a patch looks different enough for a new normal matrix
ENOUGH_PX = 0.05  # a step below this is the last one: the next would be a small part of it
LONGEST_STEP = np.array([2.0, 2.0, 0.1, 0.1, 0.1, 0.1])  # px, and affine terms


@dataclass
class Templates:
    """First appearances, ready for refinement: n patches of m samples.

    values (n, m): zero mean, unit deviation under the window; jacobian (n, 6, m) of (dx, dy, a11-1, a12, a21, a22-1) with
    the photometric directions projected out; contrast (n,): grey levels per unit; normal (n, 6, 6): the unweighted J J^T.
    """

    values: np.ndarray
    jacobian: np.ndarray
    contrast: np.ndarray
    normal: np.ndarray

    def take(self, index: np.ndarray | slice) -> Templates:
        """The templates of the given rows; of a slice a view."""
        return Templates(self.values[index], self.jacobian[index], self.contrast[index], self.normal[index])

    @staticmethod
    def join(first: Templates | None, second: Templates) -> Templates:
        """Both, one after the other."""
        if first is None:
            return second
        return Templates(
            *(np.concatenate([getattr(first, k), getattr(second, k)]) for k in ("values", "jacobian", "contrast", "normal"))
        )


@dataclass(frozen=True)
class Refined:
    """What refinement found: xy (n, 2) px, affine (n, 2, 2) from template to image, ncc (n,), sigma_px (n,), elongation (n, 2)
    of the error of xy, step_px (n,)."""

    xy: np.ndarray
    affine: np.ndarray
    ncc: np.ndarray
    sigma_px: np.ndarray
    elongation: np.ndarray
    step_px: np.ndarray


class PatchGrid:
    """Sample positions of a square patch and its round window; thin: every other one, as on a chessboard, which of a smoothed
    picture tells nearly all."""

    def __init__(self, radius: int, thin: bool = True) -> None:
        self.radius = radius
        r = np.arange(-radius, radius + 1, dtype=np.float32)
        gx, gy = np.meshgrid(r, r)
        self.x, self.y = gx.ravel(), gy.ravel()
        distance2 = (self.x**2 + self.y**2) / (radius + 0.5) ** 2
        inside = distance2 <= 1.0  # the corners weigh next to nothing and take a fifth of the time
        if thin:
            inside &= (self.x + self.y) % 2 == 0
        self.x, self.y, distance2 = self.x[inside], self.y[inside], distance2[inside]
        self.window = np.exp(-1.5 * distance2).astype(np.float32)
        self.window /= self.window.sum()
        self.count = 1.0 / float((self.window**2).sum())  # samples that really count

    def noise(self, templates: Templates, noise_levels: float) -> np.ndarray:
        """(n,) variance, in the templates' units, that a picture's noise brings to a mean over their patches."""
        return (noise_levels / templates.contrast) ** 2 / self.count


def bilinear(image: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Values of a float32 image (H, W) at x, y (any shape), clamped at the border. Full float precision, unlike cv2.remap."""
    h, w = image.shape
    x = np.maximum(x, np.float32(0), dtype=np.float32)
    y = np.maximum(y, np.float32(0), dtype=np.float32)
    np.minimum(x, np.float32(w - 1.001), out=x)
    np.minimum(y, np.float32(h - 1.001), out=y)
    at = y.astype(np.intp)  # take's own index type: anything else is converted anew by each of the four
    y -= at  # in place: stays float32
    at *= w
    xi = x.astype(np.intp)
    x -= xi
    at += xi
    flat = image.ravel()
    top = flat.take(at, mode="clip")
    at += 1
    side = flat.take(at, mode="clip")
    side -= top
    side *= x
    top += side
    at += w - 1
    low = flat.take(at, mode="clip")
    at += 1
    flat.take(at, mode="clip", out=side)
    side -= low
    side *= x
    low += side
    low -= top
    low *= y
    top += low
    return top


def smooth(gray: np.ndarray, sigma_px: float) -> np.ndarray:
    """Float32 image, blurred just enough for bilinear sampling to be exact to hundredths of a pixel, and for grain."""
    kernel = cv2.getGaussianKernel(round(8 * sigma_px + 1) | 1, sigma_px, cv2.CV_32F)
    return cv2.sepFilter2D(gray, cv2.CV_32F, kernel, kernel)  # GaussianBlur's own figures, without a float copy of the picture


def make_templates(image: np.ndarray, xy: np.ndarray, grid: PatchGrid) -> Templates:
    """Cut templates out of a smoothed float32 image at xy (n, 2)."""
    x = (xy[:, :1] + grid.x).astype(np.float32)
    y = (xy[:, 1:] + grid.y).astype(np.float32)
    value = bilinear(image, x, y)
    gx = bilinear(image, x + 0.5, y) - bilinear(image, x - 0.5, y)
    gy = bilinear(image, x, y + 0.5) - bilinear(image, x, y - 0.5)
    window = grid.window
    mean = value @ window
    value = value - mean[:, None]
    contrast = np.sqrt((value**2) @ window) + 1e-3
    value /= contrast[:, None]
    jac = np.stack([gx, gy, gx * grid.x, gx * grid.y, gy * grid.x, gy * grid.y], 1) / contrast[:, None, None]
    # Take out what gain and bias would explain, so that they need not be solved for.
    jac -= np.einsum("nkm,m->nk", jac, window)[..., None]
    along = np.einsum("nkm,nm,m->nk", jac, value, window)
    jac -= along[..., None] * value[:, None, :]
    normal = np.einsum("nkm,nlm,m->nkl", jac, jac, window, optimize=True)
    return Templates(value, jac.astype(np.float32), contrast, normal)


def covariance(templates: Templates, grid: PatchGrid, noise_levels: float) -> np.ndarray:
    """(n, 6, 6) of what can be told of each patch's shift and affine warp in another picture of noise_levels grey levels."""
    normal = templates.normal.astype(np.float64)
    i = np.arange(6)
    normal[:, i[2:], i[2:]] += grid.noise(templates, noise_levels)[:, None] / AFFINE_CHANGE**2
    normal[:, i, i] += 1e-9
    return np.linalg.inv(normal)


def best_known(warp_covariance: np.ndarray, most_px: float) -> np.ndarray:
    """(n, 2) px from a patch's middle: the point whose place in other pictures is known best, within most_px, however the patch
    is stretched and turned; where two edges cross, the crossing. warp_covariance (n, 6, 6).

    A point p is found at shift + A p. The trace of that place's covariance is quadratic in p.
    """
    c = warp_covariance
    slope = np.stack([c[:, 0, 2] + c[:, 1, 4], c[:, 0, 3] + c[:, 1, 5]], 1)
    curve = c[:, 2:4, 2:4] + c[:, 4:6, 4:6]
    point = -np.linalg.solve(curve, slope[..., None])[..., 0]
    return point * np.minimum(1.0, most_px / np.maximum(np.hypot(*point.T), 1e-9))[:, None]


def refine(
    image: np.ndarray,
    templates: Templates,
    xy: np.ndarray,
    affine: np.ndarray,
    grid: PatchGrid,
    *,
    iterations: int = 4,
    noise_levels: float = 3.0,
    affine_slack: float = 1.0,
    promising_ncc: float = -1.0,
) -> Refined:
    """Move patches to where they fit best.

    image: smoothed float32 (H, W); xy (n, 2) start; affine (n, 2, 2) start and prior; noise_levels: the image's own noise
    in grey levels; affine_slack: how much looser than a frame's step the prior may be; promising_ncc: patches that are less
    alike than this where they start are left there.

    The normal matrix of a patch is kept as long as its steps are small: it tells only how quickly the step shrinks, not where
    it ends, and costs as much as all the rest.
    """
    n = len(xy)
    xy = xy.astype(np.float64).copy()
    start = xy.copy()
    affine = affine.astype(np.float64).copy()
    prior = affine.copy()
    window = grid.window
    stiff = grid.noise(templates, noise_levels) / (AFFINE_STEP_PER_FRAME * affine_slack) ** 2
    active = np.arange(n)
    ncc = np.zeros(n)
    spread = np.ones(n)
    inverse = np.zeros((n, 6, 6))
    stale = np.ones(n, bool)  # the normal matrix is to be built (again)
    diag = np.arange(2, 6)
    middle = -(-len(window) // SPREAD_STEP) // 2
    for _step in range(iterations):
        every = len(active) == n
        a = affine[active].astype(np.float32)
        at = xy[active].astype(np.float32)
        value = bilinear(
            image,
            at[:, :1] + a[:, 0, :1] * grid.x + a[:, 0, 1:] * grid.y,
            at[:, 1:] + a[:, 1, :1] * grid.x + a[:, 1, 1:] * grid.y,
        )
        value -= (value @ window)[:, None]
        value /= (np.sqrt((value**2) @ window) + 1e-3)[:, None]
        template = templates.values if every else templates.values[active]
        fit = (value * template) @ window
        # The best gain is the correlation itself; what is left is the residual.
        residual = value - template * fit[:, None]
        robust = np.partition(np.abs(residual[:, ::SPREAD_STEP]), middle, axis=1)[:, middle] * 1.4826 + 1e-3
        weight = residual / (OCCLUSION_CUT * robust[:, None])
        weight *= weight
        weight += 1.0
        weight *= weight
        np.divide(window, weight, out=weight)
        jac = templates.jacobian if every else templates.jacobian[active]
        renew = np.nonzero(stale[active])[0]
        if len(renew):
            part = jac if len(renew) == len(jac) else jac[renew]
            normal = ((part * weight[renew, None, :]) @ part.transpose(0, 2, 1)).astype(np.float64)
            rows = active[renew]
            normal[:, diag, diag] += stiff[rows, None]
            normal[:, np.arange(6), np.arange(6)] += 1e-7
            inverse[rows] = np.linalg.inv(normal)
        weight *= residual
        gradient = (jac @ weight[..., None])[..., 0].astype(np.float64)
        cur = affine[active]
        gradient[:, 2:] += stiff[active, None] * (cur - prior[active]).reshape(-1, 4)
        d = (inverse[active] @ gradient[..., None])[..., 0]
        d = np.minimum(np.maximum(d, -LONGEST_STEP), LONGEST_STEP)
        xy[active] -= (cur @ d[:, :2, None])[..., 0]
        affine[active] = cur - cur @ d[:, 2:].reshape(-1, 2, 2)
        ncc[active] = fit
        spread[active] = robust
        step = np.hypot(d[:, 0], d[:, 1])
        stale[active] = step > SMALL_STEP_PX
        active = active[(step > ENOUGH_PX) & (fit > promising_ncc)] if _step == 0 else active[step > ENOUGH_PX]
        if not len(active):
            break
    sigma = np.sqrt(np.maximum(inverse[:, 0, 0] + inverse[:, 1, 1], 0) / 2) * spread / np.sqrt(grid.count)
    one_sided = elongation_of(affine @ inverse[:, :2, :2] @ affine.transpose(0, 2, 1))
    return Refined(xy, affine, ncc, sigma, one_sided, np.hypot(*(xy - start).T))
