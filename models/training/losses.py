"""What the network is asked for: depth up to a scale, depth up to a scale and a shift in inverse depth, edges, and doubt.

The logarithm of disparity is compared up to a scale of each picture (Eigen et al. 2014, here with absolute values) and after a
scale and shift fitted to the truth (as in MiDaS, Ranftl et al. 2020), with a term on its gradients at four scales; a second
output learns the size of the remaining error (Laplace likelihood, Kendall & Gal 2017) without holding back the first.
"""

from __future__ import annotations

import torch
from torch.nn import functional as F

WEIGHTS = {"direct": 0.3, "scale_free": 0.3, "aligned": 1.0, "gradient": 0.25, "likelihood": 0.05}


def centred_log(disparity: torch.Tensor) -> torch.Tensor:
    """(B, h, w) disparity -> its logarithm minus the median over what is no sky, held within -3 .. 2.5 (sky: -3), per picture."""
    flat = disparity.flatten(1)
    log = torch.where(flat > 0, torch.log(flat.clamp_min(1e-6)), torch.full_like(flat, float("nan")))
    return (log - log.nanmedian(dim=1, keepdim=True).values).nan_to_num(-3.0).clamp(-3.0, 2.5).reshape(disparity.shape)


def up_to_scale(error: torch.Tensor) -> torch.Tensor:
    """(B, h, w) errors of log disparity without what a common scale of the picture explains."""
    return error - error.mean(dim=(1, 2), keepdim=True)


def after_alignment(log: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Mean |log| of what is left between inverse depth and its truth once each picture's scale and shift are fitted, half of it
    fitted the way the solver does (errors relative to the truth), half the way networks are judged (plain least squares).

    log (B, h, w): predicted log disparity; target (B, h, w): disparity, 0 for the sky, which does not count.
    """
    middle = torch.where(target > 0, target, torch.nan).flatten(1).nanmedian(dim=1).values.nan_to_num(1.0)[:, None, None]
    truth = (target / middle).clamp(0.05, 12.0)
    seen = (target > 0).to(truth.dtype)
    guess = torch.exp(log.clamp(-4.0, 3.0))
    farthest = torch.where(target > 0, truth, torch.inf).amin(dim=(1, 2), keepdim=True).clamp(0.05, 1.0)
    error = torch.zeros((), device=log.device)
    for weight in (seen / truth**2, seen):
        total = weight.sum(dim=(1, 2), keepdim=True).clamp_min(1e-6)
        mean_guess, mean_truth = ((weight * v).sum(dim=(1, 2), keepdim=True) / total for v in (guess, truth))
        centred = guess - mean_guess
        scale = (weight * centred * (truth - mean_truth)).sum(dim=(1, 2), keepdim=True)
        scale = scale / ((weight * centred**2).sum(dim=(1, 2), keepdim=True) + 1e-3 * total)
        fitted = scale.clamp_min(0.0) * centred + mean_truth
        error = error + 0.5 * (torch.log(torch.maximum(fitted, 0.5 * farthest) / truth).abs() * seen).sum()
    return error / seen.sum().clamp_min(1.0)


def losses(output: torch.Tensor, target: torch.Tensor) -> dict[str, torch.Tensor]:
    """output (B, 2, h, w), target disparity (B, h, w) -> direct, scale-free, aligned, gradient and likelihood terms."""
    direct = output[:, 0] - centred_log(target)
    error = up_to_scale(direct)
    gradient = torch.zeros((), device=output.device)
    level = error
    for _ in range(4):
        gradient = gradient + (level[:, :, 1:] - level[:, :, :-1]).abs().mean() + (level[:, 1:] - level[:, :-1]).abs().mean()
        level = F.avg_pool2d(level[:, None], 2)[:, 0]
    log_scale = output[:, 1].clamp(-5, 3)
    likelihood = (error.detach().abs() * torch.exp(-log_scale) + log_scale).mean()
    return {
        "direct": direct.abs().mean(),
        "scale_free": error.abs().mean(),
        "aligned": after_alignment(output[:, 0], target.float()),
        "gradient": gradient,
        "likelihood": likelihood,
    }
