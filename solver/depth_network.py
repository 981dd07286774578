"""A depth network run by ONNX Runtime: provider choice, a real warm-up, bounded threads."""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
import time
from pathlib import Path

import cv2
import numpy as np

from .depth_process import input_size, postprocess, preprocess
from .errors import EXIT_MODEL, HoldfastError
from .models_registry import NetworkSpec
from .types import DepthMap

PROVIDERS = (
    "CUDAExecutionProvider",
    "TensorrtExecutionProvider",
    "DmlExecutionProvider",
    "CoreMLExecutionProvider",
    "CPUExecutionProvider",
)
CPU = "CPUExecutionProvider"
NVIDIA = PROVIDERS[:2]
GPU_BATCH = 8
# Slow to start, and no gain for a small network and few pictures (`python -m tests.bench.providers`).
CARD_START_S = 1.5
SMALL_NETWORK_BYTES = 32e6
# A search by trial may pick another algorithm in every run, TensorFloat-32 keeps 10 bits: depth would not be the CPU's.
CUDA_OPTIONS = {"cudnn_conv_algo_search": "HEURISTIC", "use_tf32": "0"}


def _import_onnxruntime():
    try:
        import onnxruntime
    except ImportError as error:
        raise HoldfastError(
            "model.no_runtime",
            f"ONNX Runtime cannot be loaded ({error}).",
            "Install onnxruntime, or run with --depth-model none.",
            EXIT_MODEL,
        ) from None
    return onnxruntime


def nvidia_driver_present() -> bool:
    """Whether the driver's library loads: without it the CUDA provider need not be tried."""
    try:
        ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return False
    return True


def load_nvidia_libraries(ort) -> None:
    """Loads CUDA and cuDNN from Python packages beside ONNX Runtime, where there are any: the system need not find them then.

    What cannot be loaded is no error yet: the provider itself says so, and its message is the one reported.
    """
    preload = getattr(ort, "preload_dlls", None)
    if preload is None:
        return
    with open(os.devnull, "w", encoding="utf-8") as nowhere, contextlib.redirect_stdout(nowhere):  # it prints, not raises
        preload()


def candidate_providers(available: list[str], device: str, driver: bool) -> list[str]:
    """Providers to try, best first, ending with the CPU. device: auto | cpu | cuda."""
    if device == "cpu":
        return [CPU]
    present = [p for p in PROVIDERS if p in available and p != CPU]
    if device == "cuda":
        present = [p for p in present if p in NVIDIA]
    if not driver:
        present = [p for p in present if p not in NVIDIA]
    return [*present, CPU]


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__


class NetworkSource:
    """A DepthSource (see types): name, provider, kind, predict. Also: spec, path, fallback (why not a faster
    provider, or None), seconds (what one frame takes), batch_size (how many pictures to hand over at once)."""

    def __init__(
        self,
        spec: NetworkSpec,
        path: Path,
        device: str = "auto",
        threads: int = 0,
        progress=None,
        pictures: int | None = None,
    ) -> None:
        """Loads the network and runs it once. threads: 0 means ONNX Runtime's own choice, one per core. pictures: about how
        many will be asked for, None for many: with device "auto", a small network stays on the CPU where that is sooner done
        than a graphics card started.

        Raises HoldfastError: file missing or not an ONNX file, inputs or outputs other than described, no provider runs it.
        """
        self.spec, self.path = spec, Path(path)
        self.name, self.kind = spec.id, spec.kind
        self.fallback: str | None = None
        self._threads = threads
        self.seconds = 0.0
        if device not in ("auto", "cpu", "cuda"):
            raise HoldfastError("model.device", f"There is no device {device!r}.", "Use auto, cpu or cuda.", EXIT_MODEL)
        self._check_file()
        ort = _import_onnxruntime()
        driver = nvidia_driver_present()
        failures = []
        if device == "cuda" and not (driver and set(NVIDIA) & set(ort.get_available_providers())):
            failures.append("no NVIDIA driver" if not driver else "this ONNX Runtime has no CUDA provider")
        candidates = candidate_providers(ort.get_available_providers(), device, driver)
        if device == "auto" and pictures is not None and len(candidates) > 1 and self.path.stat().st_size < SMALL_NETWORK_BYTES:
            candidates.insert(0, CPU)
        for tried, provider in enumerate(candidates):
            try:
                if provider in NVIDIA:
                    load_nvidia_libraries(ort)
                self._open(ort, provider)
                self._warm_up()
                if provider == CPU and tried < len(candidates) - 1 and self.seconds * pictures > CARD_START_S:
                    continue
            except HoldfastError:
                raise
            except Exception as error:  # noqa: BLE001  ONNX Runtime's own exceptions share no useful base class
                if tried == len(candidates) - 1:
                    raise HoldfastError(
                        "model.fails",
                        f"The depth network {self.path.name} does not run: {_first_line(error)}",
                        "Its inputs may differ from its description; see models/README.md.",
                        EXIT_MODEL,
                    ) from None
                failures.append(f"{provider.removesuffix('ExecutionProvider')}: {_first_line(error)}")
                continue
            self.provider = provider
            break
        self.batch_size = self._largest_batch()
        if failures:
            self.fallback = f"{spec.id} runs on {self.provider.removesuffix('ExecutionProvider')} ({'; '.join(failures)})"
            if progress is not None and hasattr(progress, "warn"):
                progress.warn("depth.provider", f"Depth network: {self.fallback}.")

    def _check_file(self) -> None:
        """An ONNX file is a protobuf message; a folder, an empty file or a page of HTML saved under that name is none."""
        if not self.path.is_file():
            raise HoldfastError(
                "model.missing",
                f"There is no depth network file {self.path}.",
                "Check the path, or run: python -m solver models list.",
                EXIT_MODEL,
            )
        if self.path.stat().st_size < 64:
            raise HoldfastError(
                "model.not_onnx",
                f"{self.path.name} is not an ONNX file (it holds {self.path.stat().st_size} bytes).",
                "Download it again, or give another network.",
                EXIT_MODEL,
            )

    def _open(self, ort, provider: str) -> None:
        options = ort.SessionOptions()
        options.log_severity_level = 4
        options.intra_op_num_threads = max(self._threads, 0)
        options.inter_op_num_threads = 1
        # Idle worker threads would spin and take the cores from the tracker.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        own = (provider, CUDA_OPTIONS) if provider == "CUDAExecutionProvider" else provider
        chosen = [provider] if provider == CPU else [own, CPU]
        try:
            session = ort.InferenceSession(str(self.path), options, providers=chosen)
        except Exception as error:
            if type(error).__name__ in ("InvalidProtobuf", "InvalidGraph", "NoModel"):
                raise HoldfastError(
                    "model.not_onnx",
                    f"{self.path.name} is not an ONNX file ONNX Runtime can read.",
                    "Download it again, or give another network.",
                    EXIT_MODEL,
                ) from None
            raise
        if session.get_providers()[0] != provider:
            raise RuntimeError("the provider's libraries cannot be loaded")
        self._check_interface(session)
        self._session = session

    def _check_interface(self, session) -> None:
        """Inputs and outputs must be those described: found here, not in the middle of a solve."""

        def wrong(what: str) -> HoldfastError:
            return HoldfastError(
                "model.wrong_interface",
                f"{self.path.name} is not the network described as {self.spec.id}: {what}.",
                f"Run: python -m solver models add {self.path}  - to describe it.",
                EXIT_MODEL,
            )

        inputs = {i.name: i for i in session.get_inputs()}
        self._input_name = self.spec.input.name or next(iter(inputs))
        if self._input_name not in inputs:
            raise wrong(f"no input {self._input_name!r}, it has {', '.join(inputs)}")
        rank = 5 if self.spec.input.layout == "NFCHW" else 4
        node = inputs[self._input_name]
        if len(node.shape) != rank:
            raise wrong(f"its input {node.name!r} has {len(node.shape)} axes instead of {rank}")
        channels = node.shape[-1 if self.spec.input.layout == "NHWC" else -3]
        if (isinstance(channels, int) and channels != 3) or (node.shape[-1] == 3 and self.spec.input.layout != "NHWC"):
            raise wrong(f"its input {node.name!r} has the shape {node.shape}, not {self.spec.input.layout} with 3 channels")
        if node.type not in ("tensor(float)", "tensor(float16)"):
            raise wrong(f"its input {node.name!r} is {node.type}, not float")
        self._input_dtype = np.float16 if "16" in node.type else np.float32
        missing = set(inputs) - {self._input_name} - set(self.spec.input.constants)
        if missing:
            raise wrong(f"it wants another input, {min(missing)!r}")
        names = [o.name for o in session.get_outputs()]
        self._roles = {}
        for role in ("depth", "confidence", "mask", "metric_scale", "fov"):
            entry = getattr(self.spec.output, role)
            if entry is None:
                continue
            name = entry.get("name")
            if name is None and entry.get("index", 0) < len(names):
                name = names[entry.get("index", 0)]
            if name not in names and entry.get("optional"):
                continue
            if name not in names:
                raise wrong(f"no output {name or entry.get('index')!r} for {role}, it has {', '.join(names)}")
            self._roles[role] = name

    def _warm_up(self) -> None:
        """Runs a picture with a gradient and edges, and looks at what comes back."""
        spec = self.spec.input
        w, h = input_size(spec, 320, 192)
        ramp = np.linspace(40, 200, h)[:, None, None] + np.linspace(-30, 30, w)[None, :, None] + np.array([0.0, 6.0, 12.0])
        ramp[h // 3 : h // 2, w // 4 : w // 2] = 90
        image = np.clip(ramp, 0, 255).astype(np.uint8)
        self.predict(-1, image)  # the first run allocates and, on a GPU, compiles
        began = time.perf_counter()
        result = self.predict(-1, image)
        self.seconds = time.perf_counter() - began
        known = result.values[np.isfinite(result.values)]
        if known.size == 0:
            raise RuntimeError("its output is not a number anywhere")

    def _largest_batch(self) -> int:
        """How many pictures to hand over at once: 1 on a CPU, where more gain nothing, and for graphs that do not take more.

        A graph may declare a free batch axis and still mix its pictures up; two different ones are run together and held
        against each alone.
        """
        if self.provider == CPU or isinstance(self._session.get_inputs()[0].shape[0], int):
            return 1
        w, h = input_size(self.spec.input, 320, 192)
        rng = np.random.default_rng(0)
        images = [cv2.resize(rng.integers(0, 255, (6, 8, 3), dtype=np.uint8), (w, h)) for _ in range(2)]
        try:
            together = self.predict_many([0, 1], images)
            alone = [self.predict(i, image) for i, image in enumerate(images)]
        except Exception:  # noqa: BLE001  as above
            return 1
        for a, b in zip(together, alone, strict=True):
            if a.values.shape != b.values.shape or not np.allclose(
                a.values, b.values, rtol=0.02, atol=0.02 * np.nanstd(b.values)
            ):
                return 1
        return GPU_BATCH

    def predict(self, frame: int, image: np.ndarray) -> DepthMap | None:
        """Depth of (H, W, 3) uint8 BGR at the network's own resolution. Raises HoldfastError when the output's shape is wrong."""
        return self.predict_many([frame], [image])[0]

    def predict_many(self, frames: list[int], images: list[np.ndarray]) -> list[DepthMap]:
        """`predict` of several pictures of one size in one run."""
        tensors, regions = zip(*(preprocess(image, self.spec.input) for image in images), strict=True)
        tensor, region = np.concatenate(tensors), regions[0]
        layout = self.spec.input.layout
        fed = (tensor.shape[2], tensor.shape[1]) if layout == "NHWC" else (tensor.shape[-1], tensor.shape[-2])
        feed = {self._input_name: tensor.astype(self._input_dtype, copy=False)}
        for name, constant in self.spec.input.constants.items():
            feed[name] = np.array(constant["value"], dtype=constant["dtype"])
        arrays = self._session.run(list(self._roles.values()), feed)
        results = []
        for i, frame in enumerate(frames):
            own = [a if len(frames) == 1 else np.asarray(a)[i : i + 1] for a in arrays]
            try:
                values, confidence, fov = postprocess(dict(zip(self._roles, own, strict=True)), self.spec.output, fed, region)
            except ValueError as error:
                raise HoldfastError(
                    "model.wrong_interface",
                    f"{self.path.name} does not give depth as described: {error}.",
                    "Correct outputs.depth in its description; see models/README.md.",
                    EXIT_MODEL,
                ) from None
            results.append(DepthMap(frame, self.kind, np.ascontiguousarray(values, np.float32), confidence, fov))
        return results
