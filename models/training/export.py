"""Writes a trained network as ONNX: `python -m models.training.export --checkpoint RUN/checkpoint.pt --validation DIR --out FILE`.

The running average of the weights is exported, with weights stored as float16 (computed in float32) to keep the file small.
The predicted error scale is calibrated on the kept-back pictures first: one number, so that confidence means what it says.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

from .network import Deployed, HoldfastNet
from .train import FULL, Shards, compressed, fitted, losses, standardise


@torch.no_grad()
def calibrate(network: HoldfastNet, shards: Shards, batches: int = 20) -> tuple[float, dict[str, float]]:
    """(factor on the error scale with the best Laplace likelihood, mean loss terms) on kept-back pictures."""
    rng = np.random.default_rng(11)
    ratios, terms = [], []
    for _ in range(batches):
        pictures, target = shards.batch(rng, 8, FULL, smallest=0.9)
        output = network(pictures)
        truth = compressed(standardise(target))
        error = (fitted(output[:, 0], truth) - truth).abs()
        # The likelihood of |e| / (g s) is best at g = mean of |e| / s; the median keeps a few wild pictures from deciding.
        ratio = (error * torch.exp(-output[:, 1].clamp(-5, 3))).flatten(1).mean(1)
        ratios += ratio.tolist()
        terms.append({k: float(v) for k, v in losses(output, target).items()})
    return float(np.median(ratios)), {k: round(float(np.mean([t[k] for t in terms])), 4) for k in terms[0]}


def store_as_half(model: onnx.ModelProto) -> None:
    """Turns big float32 weights into float16 followed by a Cast, which ONNX Runtime folds away when it loads the file."""
    casts = []
    for tensor in model.graph.initializer:
        if tensor.data_type != TensorProto.FLOAT or int(np.prod(tensor.dims)) < 256:
            continue
        name = tensor.name
        half = numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float16), name + "_half")
        tensor.CopyFrom(half)
        casts.append(helper.make_node("Cast", [name + "_half"], [name], to=TensorProto.FLOAT))
    nodes = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend(casts + nodes)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--validation", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    torch.set_num_threads(1)
    state = torch.load(args.checkpoint, map_location="cpu", weights_only=True)
    network = HoldfastNet()
    network.load_state_dict(state["average"])
    network.eval()
    gain, terms = calibrate(network, Shards(args.validation))
    deployed = Deployed(network, gain).eval()
    partial = args.out.with_suffix(".part")
    torch.onnx.export(deployed, (torch.zeros(1, 3, 192, 320),), str(partial), dynamo=False, opset_version=17, input_names=["image"],
                      output_names=["disparity", "confidence"],
                      dynamic_axes={"image": {2: "height", 3: "width"}, "disparity": {2: "half_height", 3: "half_width"},
                                    "confidence": {2: "half_height", 3: "half_width"}})
    model = onnx.load(str(partial))
    store_as_half(model)
    model.producer_name, model.producer_version, model.doc_string = "holdfast", "", f"holdfast-small, {state['step']} steps"
    onnx.checker.check_model(model)
    onnx.save(model, str(partial))
    partial.replace(args.out)
    print({"step": state["step"], "error_gain": round(gain, 4), **terms, "bytes": args.out.stat().st_size})


if __name__ == "__main__":
    main()
