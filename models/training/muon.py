"""An optimiser for the embedded network: Muon for matrices and dense convolutions, AdamW for all else."""

from __future__ import annotations

import torch
from torch import nn


class Muon(torch.optim.Optimizer):
    """Momentum whose step is made nearly orthogonal (Jordan et al. 2024), scaled to the size of an AdamW step (Liu et al. 2025).

    On this network it needs about a third of the steps of AdamW for the same loss.
    """

    def __init__(self, parameters: list[nn.Parameter], lr: float, momentum: float = 0.95, weight_decay: float = 0.02) -> None:
        """parameters: at least two axes each; those after the first are taken as one."""
        super().__init__(parameters, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self) -> None:
        """One step; matrices of one shape are made orthogonal together."""
        for group in self.param_groups:
            held = [p for p in group["params"] if p.grad is not None]
            if not held:
                continue
            gradients = [p.grad for p in held]
            momenta = [self.state[p].setdefault("momentum", torch.zeros_like(p)) for p in held]
            torch._foreach_lerp_(momenta, gradients, 1 - group["momentum"])
            ahead = torch._foreach_lerp(gradients, momenta, group["momentum"])
            by_shape: dict[torch.Size, list[int]] = {}
            for k, update in enumerate(ahead):
                by_shape.setdefault(update.flatten(1).shape, []).append(k)
            steps = list(ahead)
            for shape, members in by_shape.items():
                updates = orthogonal(torch.stack([ahead[k].flatten(1) for k in members])) * (
                    -group["lr"] * 0.2 * max(shape) ** 0.5
                )
                for k, update in zip(members, updates, strict=True):
                    steps[k] = update.reshape(held[k].shape)
            torch._foreach_mul_(held, 1 - group["lr"] * group["weight_decay"])
            torch._foreach_add_(held, steps)


def orthogonal(x: torch.Tensor) -> torch.Tensor:
    """(B, m, n) -> (B, m, n) with singular values near 1: five Newton-Schulz steps of the fifth degree."""
    tall = x.shape[1] > x.shape[2]
    x = x.transpose(1, 2) if tall else x
    x = (x / (x.norm(dim=(1, 2), keepdim=True) + 1e-12)).contiguous()
    for _ in range(5):
        a = x @ x.transpose(1, 2)
        x = torch.baddbmm(x, torch.baddbmm(a, a, a, beta=-4.7750, alpha=2.0315), x, beta=3.4445)
    return x.transpose(1, 2) if tall else x


def optimisers_for(network: nn.Module, lr: float, muon: bool = True) -> list[torch.optim.Optimizer]:
    """[Muon, AdamW] for a HoldfastNet: the first and last layers, depthwise kernels, norms and biases are AdamW's. Without muon
    [AdamW] for all."""
    ends = {id(network.stem[0].weight), id(network.head[1].weight), id(network.place.weight)}
    inner = [p for p in network.parameters() if muon and p.ndim > 1 and p.shape[1] > 1 and id(p) not in ends]
    chosen = {id(p) for p in inner}
    outer = [p for p in network.parameters() if id(p) not in chosen]
    groups = [
        {"params": [p for p in outer if p.ndim > 1], "weight_decay": 0.02},
        {"params": [p for p in outer if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return [*([Muon(inner, lr)] if inner else []), torch.optim.AdamW(groups, lr=lr)]
