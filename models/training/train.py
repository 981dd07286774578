"""Trains the embedded network on rendered shards, on a CPU or one GPU, in resumable pieces.

    python -m models.training.train --shards DIR --out RUN --steps 10000

RUN/checkpoint.pt is written every few minutes and picked up again by the same command; RUN/log.jsonl holds one line per
report. Learning rate and picture size follow the step count, so a resumed run ends like an uninterrupted one; with --until they
follow the clock instead, from where the checkpoint stood to their end at that moment, for a machine whose speed is not known
beforehand. Shards that appear in DIR while it runs are used from the next report on.

The loss compares the logarithm of disparity, up to a scale of each picture (Eigen et al. 2014, here with absolute values), with a
term on its gradients at four scales (as in MiDaS, Ranftl et al. 2020); a second output learns the size of the remaining error
(Laplace likelihood, Kendall & Gal 2017) without holding back the first.
"""

from __future__ import annotations

import argparse
import json
import time
from copy import deepcopy
from datetime import timedelta
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from .augment import crop, defocus, degrade
from .muon import optimisers_for
from .network import HoldfastNet
from .network_constants import MEAN, STD

# Picture sizes (w, h) for wide and for squarer shards, and the fraction of the steps up to which each is used. On a CPU pictures
# of half the size (the deployed network halves what it is fed) let the network see four times as many; on a GPU add larger ones.
STAGES = ((1.0, {True: (160, 96), False: (128, 96)}),)
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

    def batch(
        self, rng: np.random.Generator, count: int, sizes: dict, smallest: float = 0.65, blurred: float = 0.0, clean: float = 0.2
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """((B, 3, h, w) normalised pictures, (B, h/2, w/2) disparities); blurred: share of pictures out of focus
        somewhere, clean: share left as rendered."""
        rgb, disparity = self.opened[self.names[rng.integers(len(self.names))]]
        size = sizes[rgb.shape[2] > 300]
        images, targets = [], []
        for index in rng.integers(0, len(rgb), count):
            image, target = crop(rng, rgb[index], disparity[index], size, smallest)
            images.append(degrade(rng, defocus(rng, image, target, blurred) if blurred else image, clean))
            targets.append(target)
        pictures = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float().div_(255).sub_(MEAN).div_(STD)
        return pictures, torch.from_numpy(np.ascontiguousarray(np.stack(targets)))


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


# "first" is what the shipped weights were begun with; "aligned" cares for what they are judged by and for edges.
WEIGHTS = {
    "first": {"direct": 1.0, "scale_free": 0.5, "aligned": 0.0, "gradient": 0.1, "likelihood": 0.1},
    "aligned": {"direct": 0.4, "scale_free": 0.4, "aligned": 1.0, "gradient": 0.25, "likelihood": 0.05},
}


def learning_rate(step: int, progress: float, peak: float) -> float:
    """Warm-up over 200 steps, then half a cosine down to 2 % of the peak."""
    if step < 200:
        return peak * (step + 1) / 200
    return float(peak * (0.02 + 0.98 * 0.5 * (1 + np.cos(np.pi * min(progress, 1.0)))))


class Schedule:
    """How far the training is, 0 to 1: by its steps, or from where it resumed to a moment of the clock (seconds since 1970)."""

    def __init__(self, steps: int, until: float | None, resumed_at: float) -> None:
        """resumed_at: the progress that the checkpoint was saved at."""
        self.steps, self.until, self.resumed_at, self.started = steps, until, resumed_at, time.time()

    def progress(self, step: int) -> float:
        """At the given step, now."""
        if self.until is None:
            return min(step / self.steps, 1.0)
        passed = (time.time() - self.started) / max(self.until - self.started, 1.0)
        return min(self.resumed_at + (1.0 - self.resumed_at) * passed, 1.0)


@torch.no_grad()
def validate(network: HoldfastNet, shards: Shards, batches: int = 8) -> dict[str, float]:
    """The mean terms of the loss on fixed batches of pictures kept back."""
    network.eval()
    rng = np.random.default_rng(7)
    totals: dict[str, float] = {}
    for _ in range(batches):
        pictures, target = shards.batch(rng, 12, FULL, smallest=0.95)
        for name, term in losses(network(pictures).float(), target).items():
            totals[name] = totals.get(name, 0.0) + float(term) / batches
    return {name: round(total, 4) for name, total in totals.items()}


def average_weights(network: HoldfastNet, workers: int) -> None:
    """Replaces the weights and running statistics of all processes by their mean (local SGD, Stich 2019)."""
    tensors = [t for t in network.state_dict().values() if t.dtype.is_floating_point]
    flat = torch.cat([t.flatten() for t in tensors])
    torch.distributed.all_reduce(flat)
    for tensor, part in zip(tensors, (flat / workers).split([t.numel() for t in tensors]), strict=True):
        tensor.copy_(part.view_as(tensor))


def agreed(progress: float, workers: int) -> float:
    """The mean of what the clocks of all processes say."""
    value = torch.tensor(progress, dtype=torch.float64)
    torch.distributed.all_reduce(value)
    return float(value) / workers


def train(rank: int, args: argparse.Namespace) -> None:
    """One process of the training; the first one reports, validates and saves."""
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    if args.workers > 1:
        torch.distributed.init_process_group(
            "gloo",
            init_method=f"file://{(args.out / 'meeting').resolve()}",
            rank=rank,
            world_size=args.workers,
            timeout=timedelta(minutes=30),
        )
    shards = Shards(args.shards)
    kept_back = [Shards(folder) for folder in args.validation] if rank == 0 else []
    network = HoldfastNet().to(args.device, memory_format=torch.channels_last)
    average = deepcopy(network).eval()
    optimisers = optimisers_for(network, args.peak, args.optimiser == "muon")
    step, resumed_at = 0, 0.0
    path = args.out / "checkpoint.pt"
    if path.exists():
        state = torch.load(path, map_location=args.device, weights_only=True)
        network.load_state_dict(state["network"])
        average.load_state_dict(state["average"])
        for optimiser, saved_state in zip(optimisers, state.get("optimisers", []), strict=False):
            optimiser.load_state_dict(saved_state)
        step, resumed_at = state["step"], state.get("progress", 0.0)
    schedule = Schedule(args.steps, args.until, args.resume_at if args.resume_at is not None else resumed_at)

    def report(entry: dict) -> None:
        if rank == 0:
            with open(args.out / "log.jsonl", "a", encoding="utf-8") as log:
                log.write(json.dumps(entry) + "\n")
            print(entry, flush=True)

    report(
        {
            "start": {k: str(v) for k, v in vars(args).items() if not isinstance(v, (Path, list))},
            "step": step,
            "parameters": sum(p.numel() for p in network.parameters()),
            "shards": len(shards.names),
            "torch": torch.__version__,
        }
    )
    sums: dict[str, float] = {}
    reported = saved = time.time()
    reported_step = step
    progress = schedule.progress(step)
    while progress < 1.0:
        # Every step of every process has its own seed: a resumed run draws the same pictures (from the same shards).
        rng = np.random.default_rng([args.seed, step, rank])
        pictures, target = shards.batch(rng, args.batch, sizes_at(progress), blurred=args.defocus, clean=args.clean)
        pictures, target = pictures.to(args.device, memory_format=torch.channels_last), target.to(args.device)
        for group in (g for optimiser in optimisers for g in optimiser.param_groups):
            group["lr"] = learning_rate(step, progress, args.peak)
        network.train()
        with torch.autocast(args.device.split(":")[0], torch.bfloat16):
            output = network(pictures)
        terms = losses(output.float(), target)
        loss = sum(WEIGHTS[args.loss][name] * term for name, term in terms.items())
        network.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        for optimiser in optimisers:
            optimiser.step()
        step += 1
        with torch.no_grad():
            if step % 8 == 0 or args.until is None:  # by the clock all processes must stop at the same step
                progress = schedule.progress(step)
                if args.workers > 1 and args.until is not None:
                    progress = agreed(progress, args.workers)
            if args.workers > 1 and (step % 8 == 0 or progress >= 1.0):
                average_weights(network, args.workers)
            if step % 8 == 0 or progress >= 1.0:  # running average of the weights, short at the start
                keep = min(0.99, 1 - 10 / (10 + step / 8))
                for a, b in zip(average.state_dict().values(), network.state_dict().values(), strict=True):
                    a.lerp_(b, 1 - keep) if a.dtype.is_floating_point else a.copy_(b)
        for name, term in terms.items():
            sums[name] = sums.get(name, 0.0) + float(term.detach())
        if step % 100 == 0:
            entry = {
                "step": step,
                **{n: round(s / (step - reported_step), 4) for n, s in sums.items()},
                "shards": len(shards.names),
                "s_per_step": round((time.time() - reported) / (step - reported_step), 3),
            }
            if kept_back and step % 500 == 0:
                entry["validation"] = {str(s.folder.name): validate(average, s) for s in kept_back}
            report(entry)
            sums, reported, reported_step = {}, time.time(), step
            shards.refresh()
        if rank == 0 and (progress >= 1.0 or time.time() - saved > 150):
            state = {
                "network": network.state_dict(),
                "average": average.state_dict(),
                "optimisers": [optimiser.state_dict() for optimiser in optimisers],
                "step": step,
                "progress": progress,
            }
            torch.save(state, path.with_suffix(".part"))
            path.with_suffix(".part").replace(path)
            saved = time.time()


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shards", type=Path, required=True)
    parser.add_argument("--validation", type=Path, nargs="*", default=[], help="folders of shards kept back")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=6000)
    parser.add_argument("--until", type=float, help="end at this moment (seconds since 1970) instead of after --steps")
    parser.add_argument("--resume-at", type=float, help="progress 0..1 to resume at, instead of that of the checkpoint")
    parser.add_argument("--optimiser", choices=("adamw", "muon"), default="adamw")
    parser.add_argument("--loss", choices=tuple(WEIGHTS), default="first", help="weights of the loss's terms")
    parser.add_argument(
        "--clean", type=float, default=0.2, help="share of pictures left as rendered, without grain, blur and so on"
    )
    parser.add_argument("--defocus", type=float, default=0.0, help="share of pictures that are out of focus somewhere")
    parser.add_argument("--batch", type=int, default=16, help="pictures a step and process")
    parser.add_argument("--peak", type=float, default=1.5e-3, help="learning rate")
    parser.add_argument("--threads", type=int, default=1, help="of each process")
    parser.add_argument("--workers", type=int, default=1, help="processes that train side by side and average their weights")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    if args.workers > 1:
        (args.out / "meeting").unlink(missing_ok=True)
        torch.multiprocessing.spawn(train, (args,), nprocs=args.workers)
    else:
        train(0, args)


if __name__ == "__main__":
    main()
