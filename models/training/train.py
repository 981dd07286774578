"""Trains the embedded network on rendered shards, on a CPU or one GPU, in resumable pieces.

    python -m models.training.train --shards DIR --out RUN --steps 10000

RUN/checkpoint.pt is written every few minutes and picked up again by the same command; RUN/log.jsonl holds one line per
report. Learning rate and picture size follow the step count, so a resumed run ends like an uninterrupted one. Shards that
appear in DIR while it runs are used from the next epoch on.

The loss follows MiDaS (Ranftl et al. 2020): disparity, standardised by each picture's median and mean absolute deviation, is
compared under the best scale and shift, with a term on its gradients at four scales; a second output learns the size of the remaining error (Laplace
likelihood, Kendall & Gal 2017) without holding back the first.
"""

from __future__ import annotations

import argparse
import json
import time
from copy import deepcopy
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from .augment import crop, degrade
from .network import HoldfastNet
from .network_constants import MEAN, STD

# Picture sizes (w, h) for wide and for squarer shards, and the fraction of the steps up to which each is used: what a scene looks
# like as a whole is learnt cheaply on small pictures, the last steps are at the size the network will be used at.
STAGES = ((0.55, {True: (160, 96), False: (128, 96)}), (0.88, {True: (224, 128), False: (192, 160)}), (1.0, {True: (320, 192), False: (288, 224)}))
FULL = STAGES[-1][1]


def sizes_at(progress: float) -> dict[bool, tuple[int, int]]:
    """Picture sizes at a fraction of the training."""
    return next(sizes for end, sizes in STAGES if progress < end or end == 1.0)


class Shards:
    """Random batches from the shards of a folder; a batch comes from one shard, so that its pictures have one size."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.opened: dict[str, tuple] = {}
        self.refresh()

    def refresh(self) -> None:
        """Opens shards that are new."""
        for path in sorted(self.folder.glob("*.disparity.npy")):
            name = path.name.removesuffix(".disparity.npy")
            if name not in self.opened and not name.startswith("."):
                self.opened[name] = (np.load(self.folder / f"{name}.rgb.npy", mmap_mode="r"), np.load(path, mmap_mode="r"))
        self.names = sorted(self.opened)

    def batch(self, rng: np.random.Generator, count: int, sizes: dict, smallest: float = 0.65) -> tuple[torch.Tensor, torch.Tensor]:
        """((B, 3, h, w) normalised pictures, (B, h/2, w/2) disparities)."""
        rgb, disparity = self.opened[self.names[rng.integers(len(self.names))]]
        size = sizes[rgb.shape[2] > 300]
        images, targets = [], []
        for index in rng.integers(0, len(rgb), count):
            image, target = crop(rng, rgb[index], disparity[index], size, smallest)
            images.append(degrade(rng, image))
            targets.append(target)
        pictures = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float().div_(255).sub_(MEAN).div_(STD)
        return pictures, torch.from_numpy(np.ascontiguousarray(np.stack(targets)))


def standardise(disparity: torch.Tensor) -> torch.Tensor:
    """(B, h, w) minus the median, over the mean absolute deviation, per picture."""
    flat = disparity.flatten(1)
    centred = flat - flat.median(dim=1, keepdim=True).values
    return (centred / centred.abs().mean(dim=1, keepdim=True).clamp_min(1e-6)).reshape(disparity.shape)


def fitted(output: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """The output (B, h, w) under the scale and shift that fit the truth best in the least-squares sense.

    The gradient goes through the fit: else the shift would drift, because the fit is not the one that balances absolute errors.
    The scale is held within a factor of three: dividing by the spread of an output that is still flat would drown everything else.
    """
    p, t = output.flatten(1), truth.flatten(1)
    p_mean, t_mean = p.mean(1, keepdim=True), t.mean(1, keepdim=True)
    p, t = p - p_mean, t - t_mean
    scale = ((p * t).mean(1, keepdim=True) / (p * p).mean(1, keepdim=True).clamp_min(1e-3)).clamp(1 / 3, 3.0)
    return (scale * p + t_mean).reshape(output.shape)


def compressed(truth: torch.Tensor) -> torch.Tensor:
    """Standardised disparity with its far end drawn in: a thing right before the lens would otherwise be the whole loss."""
    return torch.where(truth > 4, 4 + torch.log1p((truth - 4).clamp_min(0)), truth)


def losses(output: torch.Tensor, target: torch.Tensor) -> dict[str, torch.Tensor]:
    """output (B, 2, h, w), target (B, h, w) -> data, direct, gradient and likelihood terms."""
    truth = compressed(standardise(target))
    error = fitted(output[:, 0], truth) - truth
    # The direct term teaches the output's own scale and shift, so that the fit stays near one.
    direct = (output[:, 0] - truth).abs().mean()
    gradient = torch.zeros((), device=output.device)
    level = error
    for _ in range(4):
        gradient = gradient + (level[:, :, 1:] - level[:, :, :-1]).abs().mean() + (level[:, 1:] - level[:, :-1]).abs().mean()
        level = F.avg_pool2d(level[:, None], 2)[:, 0]
    log_scale = output[:, 1].clamp(-5, 3)
    likelihood = (error.detach().abs() * torch.exp(-log_scale) + log_scale).mean()
    return {"data": error.abs().mean(), "direct": direct, "gradient": gradient, "likelihood": likelihood}


WEIGHTS = {"direct": 1.0, "data": 0.5, "gradient": 0.1, "likelihood": 0.05}


def learning_rate(step: int, steps: int, peak: float) -> float:
    """Warm-up over 200 steps, then half a cosine down to 2 % of the peak."""
    if step < 200:
        return peak * (step + 1) / 200
    return peak * (0.02 + 0.98 * 0.5 * (1 + np.cos(np.pi * min(step / steps, 1.0))))


@torch.no_grad()
def validate(network: HoldfastNet, shards: Shards, batches: int = 8) -> float:
    """Mean absolute error, in units of each picture's deviation, on fixed batches of pictures kept back."""
    network.eval()
    rng = np.random.default_rng(7)
    total = 0.0
    for _ in range(batches):
        pictures, target = shards.batch(rng, 12, FULL, smallest=0.95)
        truth = compressed(standardise(target))
        total += float((fitted(network(pictures)[:, 0].float(), truth) - truth).abs().mean()) / batches
    return total


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shards", type=Path, required=True)
    parser.add_argument("--validation", type=Path, help="shards kept back")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=10000)
    parser.add_argument("--batch", type=int, default=12)
    parser.add_argument("--peak", type=float, default=1.5e-3, help="learning rate")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    args.out.mkdir(parents=True, exist_ok=True)
    shards = Shards(args.shards)
    kept_back = Shards(args.validation) if args.validation else None
    network = HoldfastNet().to(args.device, memory_format=torch.channels_last)
    average = deepcopy(network).eval()
    decay = [p for p in network.parameters() if p.ndim > 1]
    plain = [p for p in network.parameters() if p.ndim <= 1]
    optimiser = torch.optim.AdamW([{"params": decay, "weight_decay": 0.02}, {"params": plain, "weight_decay": 0.0}], lr=args.peak)
    step = 0
    path = args.out / "checkpoint.pt"
    if path.exists():
        state = torch.load(path, map_location=args.device, weights_only=True)
        network.load_state_dict(state["network"])
        average.load_state_dict(state["average"])
        optimiser.load_state_dict(state["optimiser"])
        step = state["step"]
    with open(args.out / "log.jsonl", "a", encoding="utf-8") as log:
        def report(entry: dict) -> None:
            log.write(json.dumps(entry) + "\n")
            log.flush()
            print(entry, flush=True)

        report({"start": {k: str(v) for k, v in vars(args).items()}, "step": step, "parameters": sum(p.numel() for p in network.parameters()),
                "shards": len(shards.names), "torch": torch.__version__})
        sums: dict[str, float] = {}
        reported = saved = time.time()
        reported_step = step
        while step < args.steps:
            # Every step has its own seed: a resumed run draws the same pictures (from the same shards).
            rng = np.random.default_rng([args.seed, step])
            pictures, target = shards.batch(rng, args.batch, sizes_at(step / args.steps))
            pictures, target = pictures.to(args.device, memory_format=torch.channels_last), target.to(args.device)
            for group in optimiser.param_groups:
                group["lr"] = learning_rate(step, args.steps, args.peak)
            network.train()
            with torch.autocast(args.device.split(":")[0], torch.bfloat16):
                output = network(pictures)
            terms = losses(output.float(), target)
            loss = sum(WEIGHTS[name] * term for name, term in terms.items())
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimiser.step()
            step += 1
            with torch.no_grad():  # running average of the weights, short at the start
                keep = min(0.999, 1 - 10 / (10 + step))
                for a, b in zip(average.state_dict().values(), network.state_dict().values(), strict=True):
                    a.lerp_(b, 1 - keep) if a.dtype.is_floating_point else a.copy_(b)
            for name, term in terms.items():
                sums[name] = sums.get(name, 0.0) + float(term.detach())
            if step % 100 == 0:
                entry = {"step": step, **{n: round(s / (step - reported_step), 4) for n, s in sums.items()}, "shards": len(shards.names),
                         "s_per_step": round((time.time() - reported) / (step - reported_step), 3)}
                if kept_back is not None and step % 500 == 0:
                    entry["validation"] = round(validate(average, kept_back), 4)
                report(entry)
                sums, reported, reported_step = {}, time.time(), step
                shards.refresh()
            if step == args.steps or time.time() - saved > 180:
                state = {"network": network.state_dict(), "average": average.state_dict(), "optimiser": optimiser.state_dict(), "step": step}
                torch.save(state, path.with_suffix(".part"))
                path.with_suffix(".part").replace(path)
                saved = time.time()


if __name__ == "__main__":
    main()
