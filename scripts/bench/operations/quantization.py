"""Our `quantize` beside `onnxruntime.quantization` called directly, with its defaults and best settings, and beside NNCF.

    python scripts/bench/operations/quantization.py [--nets resnet50 minilm ...] [--rounds 40]

Networks have their real shapes (pictures of 224x224, or 32x32 where the name says so) and random weights: speed does not
depend on them. One thread; all candidates run in turn within each round, and a ratio is taken per round of CPU seconds, so
that other load on the machine falls on all alike. The float model runs twice: its ratio to itself is the noise. SQNR (dB) is
the signal-to-noise ratio of the outputs against float. `digits` is a small residual net that is trained first, on scikit-learn's
handwritten digits: its accuracy on instances held out is printed too. NNCF takes part where it is installed (`pip install nncf`).
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

import numpy as np

from ops.core.model import Architecture
from ops.core.operation import OPERATIONS, Batch, OnnxModel, TorchModel
from ops.onnx_graph.macs import count_macs, precision_shares
from ops.onnx_graph.session import open_session, quiet_tools
from pipeline.datasets.api import Dataset
from pipeline.datasets.open import open_dataset
from pipeline.models.api import Need
from pipeline.models.build import build
from pipeline.models.onnx_export import export_onnx
from pipeline.stages.operation_context import WorkerContext

CALIBRATION, SAMPLES, WARM_UP, OPENINGS = 64, 32, 3, 5
NETS = ("digits", "resnet18", "resnet50", "resnet50_32", "mobilenet_v2", "minilm")
TEXT = {"input_ids": ("int64", (128,)), "attention_mask": ("int64", (128,))}


class Noise:
    """A data set of the right shapes: normal noise, or random tokens."""

    fingerprint, classes = "noise", tuple("0123456789")

    def __init__(self, architecture: Architecture) -> None:
        self.task, self.inputs = architecture.task, architecture.inputs

    def size(self, split: str) -> int:
        """As many as the candidates calibrate on, and more."""
        return CALIBRATION

    def batches(
        self, split: str, *, batch_size: int, samples: int | None = None, seed: int | None = None, augment: bool = False
    ) -> Iterator[Batch]:
        """Yield the same instances each time."""
        generator = np.random.default_rng(0)
        for start in range(0, samples or CALIBRATION, batch_size):
            ids = tuple(map(str, range(start, min(start + batch_size, samples or CALIBRATION))))
            yield Batch(ids, {name: self._draw(generator, name, len(ids)) for name in self.inputs}, {})

    def _draw(self, generator: np.random.Generator, name: str, count: int) -> np.ndarray:
        kind, shape = self.inputs[name]
        if kind == "float32":
            return generator.standard_normal((count, *shape), dtype=np.float32)
        return np.ones((count, *shape), np.int64) if "mask" in name else generator.integers(0, 1000, (count, *shape))


def trained_on_digits(data: Dataset) -> TorchModel:
    """Train a small residual net."""
    entry = {"name": "digits", "builder": "residual_cnn", "depths": [1, 1, 1], "widths": [16, 32, 64]}

    def made(entry: Mapping[str, Any], pretrained: bool) -> Any:
        return build(entry, Need(data.task, tuple(data.classes), data.inputs, pretrained))

    with tempfile.TemporaryDirectory() as folder:
        context = WorkerContext(seed=0, scratch=Path(folder), dataset=lambda: data, build=made, references={})
        operation = OPERATIONS["train"]
        model: TorchModel = operation.apply(
            context, **operation.check({"model": entry, "epochs": 12, "batch_size": 32})
        )
    return model


def network(name: str) -> TorchModel:
    """Build a network of the name's shape."""
    import torch
    from transformers import (
        BertConfig,
        BertForSequenceClassification,
        MobileNetV2Config,
        MobileNetV2ForImageClassification,
        ResNetConfig,
        ResNetForImageClassification,
    )

    torch.manual_seed(0)
    if name == "minilm":
        config = BertConfig(
            hidden_size=384, num_hidden_layers=6, num_attention_heads=12, intermediate_size=1536, num_labels=10
        )
        architecture = Architecture(name, "", {}, "text-classification", Noise.classes, TEXT)
        return TorchModel(BertForSequenceClassification(config).eval(), architecture)
    side = 32 if name.endswith("_32") else 224
    inputs = {"pixel_values": ("float32", (3, side, side))}
    architecture = Architecture(name, "", {}, "image-classification", Noise.classes, inputs)
    if name == "mobilenet_v2":
        module: Any = MobileNetV2ForImageClassification(MobileNetV2Config(num_labels=10))
    else:
        small = {"depths": [2, 2, 2, 2], "hidden_sizes": [64, 128, 256, 512], "layer_type": "basic"}
        module = ResNetForImageClassification(ResNetConfig(num_labels=10, **(small if name == "resnet18" else {})))
    return TorchModel(_lively(module, architecture), architecture)


def _lively(module: Any, architecture: Architecture) -> Any:
    """Give batch normalisations statistics that fit the weights, or depthwise nets fade to a constant."""
    import torch

    module.train()
    with torch.no_grad():
        for batch in Noise(architecture).batches("calibration", batch_size=8, samples=16):
            module(**{name: torch.from_numpy(array) for name, array in batch.inputs.items()})
    return module.eval()


class Reader:
    """Feeds calibration batches to `onnxruntime.quantization`."""

    def __init__(self, data: Noise | Dataset) -> None:
        self._batches = data.batches("calibration", batch_size=8, samples=SAMPLES)

    def get_next(self) -> dict[str, np.ndarray] | None:
        """Return the next batch, or None."""
        batch = next(self._batches, None)
        return dict(batch.inputs) if batch else None


def candidates(name: str, model: TorchModel, data: Noise | Dataset, folder: Path) -> dict[str, Path]:
    """Make every file to be timed."""
    from onnxruntime.quantization import QuantFormat, QuantType, quant_pre_process, quantize_dynamic, quantize_static

    files = {"float": folder / "float.onnx"}
    export_onnx(model, files["float"])
    files["float again"] = files["float"]
    methods = ["static"] + (["dynamic", "weight_only"] if name == "minilm" else [])
    for method in methods:
        files[f"ours, {method}"] = ours(files["float"], model.architecture, data, folder, method)
    with quiet_tools(folder):
        files["ORT, defaults"] = folder / "defaults.onnx"
        quantize_static(files["float"], files["ORT, defaults"], Reader(data))
        prepared = folder / "prepared.onnx"
        quant_pre_process(files["float"], prepared, skip_symbolic_shape=True)
        files["ORT, best"] = folder / "best.onnx"
        quantize_static(
            prepared, files["ORT, best"], Reader(data), quant_format=QuantFormat.QDQ, per_channel=True,
            activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
        )  # fmt: skip
        if name == "minilm":
            files["ORT, dynamic defaults"] = folder / "dynamic.onnx"
            quantize_dynamic(files["float"], files["ORT, dynamic defaults"])
        if importlib.util.find_spec("nncf"):
            files["NNCF"] = nncf_file(files["float"], data, folder)
    return files


def ours(source: Path, architecture: Architecture, data: Noise | Dataset, folder: Path, method: str) -> Path:
    """Quantize with our operation and its defaults."""
    scratch = folder / method
    scratch.mkdir()
    context = WorkerContext(seed=0, scratch=scratch, dataset=lambda: data, build=None, references={})  # type: ignore[arg-type]
    operation = OPERATIONS["quantize"]
    params = operation.check({"method": method, "samples": SAMPLES})
    return operation.apply(OnnxModel(source, architecture), context, **params).path


def nncf_file(source: Path, data: Noise | Dataset, folder: Path) -> Path:
    """Quantize with NNCF's ONNX back end and its defaults."""
    import nncf
    import onnx

    rows = [dict(batch.inputs) for batch in data.batches("calibration", batch_size=1, samples=SAMPLES)]
    onnx.save(nncf.quantize(onnx.load(source), nncf.Dataset(rows)), folder / "nncf.onnx")
    return folder / "nncf.onnx"


def measure(
    files: dict[str, Path], data: Noise | Dataset, rounds: int
) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    """Return CPU seconds per round, and SQNR, of each candidate.

    Where a session's buffers happen to lie makes some percent of difference, so sessions are opened anew several times.
    """
    sessions = {name: open_session(path) for name, path in files.items()}
    feeds = [dict(batch.inputs) for batch in data.batches("calibration", batch_size=1, samples=8)]
    wanted = [sessions["float"].run(None, feed)[0] for feed in feeds]
    fidelity = {
        name: sqnr(wanted, [session.run(None, feed)[0] for feed in feeds]) for name, session in sessions.items()
    }
    seconds: dict[str, list[float]] = {name: [] for name in files}
    order = np.random.default_rng(0)
    for _ in range(OPENINGS):
        sessions = {name: open_session(files[name]) for name in order.permutation(list(files))}
        for number in range(WARM_UP + -(-rounds // OPENINGS)):
            for name in order.permutation(list(files)):
                start = time.thread_time()
                sessions[name].run(None, feeds[number % len(feeds)])
                if number >= WARM_UP:
                    seconds[name].append(time.thread_time() - start)
    return {name: np.array(values) for name, values in seconds.items()}, fidelity


def sqnr(wanted: list[np.ndarray], given: list[np.ndarray]) -> float:
    """Signal-to-noise ratio in dB."""
    signal = sum(float((a.astype(float) ** 2).sum()) for a in wanted)
    noise = sum(float(((a.astype(float) - b) ** 2).sum()) for a, b in zip(wanted, given, strict=True))
    return 10 * np.log10(signal / noise) if noise else np.inf


def interval(ratios: np.ndarray) -> tuple[float, float, float]:
    """Median of the rounds' ratios with its 95 % bootstrap interval."""
    draws = np.random.default_rng(0).choice(ratios, (2000, len(ratios)))
    low, high = np.quantile(np.median(draws, axis=1), (0.025, 0.975))
    return float(np.median(ratios)), float(low), float(high)


def report(name: str, files: dict[str, Path], data: Noise | Dataset, rounds: int) -> None:
    """Time and print one network's candidates."""
    seconds, fidelity = measure(files, data, rounds)
    right = {label: accuracy(path, data) for label, path in files.items()} if not isinstance(data, Noise) else {}
    print(f"\n{name}: times faster than float in CPU seconds (median of {rounds} rounds, 95 % interval)")
    for label, path in files.items():
        middle, low, high = interval(seconds["float"] / seconds[label])
        integer = precision_shares(count_macs(path)).get("int8", 0.0)
        print(
            f"  {label:<22} {middle:5.2f} [{low:.2f}, {high:.2f}]   {np.median(seconds[label]) * 1e3:7.2f} ms   "
            f"{integer:6.1%} of MACs in int8   {fidelity[label]:5.1f} dB   {path.stat().st_size / 1e6:6.1f} MB"
            + (f"   {right[label]:.1%} right" if right else "")
        )
    for other in ("ORT, defaults", "ORT, best", "NNCF"):
        if other not in files:
            print(f"  {other} is not installed: pip install nncf, to compare with it")
            continue
        middle, low, high = interval(seconds[other] / seconds["ours, static"])
        print(
            f"  ours, static against {other}: {middle:.2f} [{low:.2f}, {high:.2f}] times as fast, "
            f"{fidelity['ours, static'] - fidelity[other]:+.1f} dB"
            + (f", {right['ours, static'] / right[other]:.3f} times its accuracy" if right else "")
        )


def accuracy(path: Path, data: Dataset) -> float:
    """Share of the evaluation split that a file gets right."""
    session, right = open_session(path), 0
    for batch in data.batches("evaluation", batch_size=64):
        right += int((session.run(None, dict(batch.inputs))[0].argmax(axis=1) == batch.targets["labels"]).sum())
    return right / data.size("evaluation")


def main() -> None:
    """Time every network asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nets", nargs="+", default=NETS, choices=NETS)
    parser.add_argument("--rounds", type=int, default=40)
    given = parser.parse_args()
    for name in given.nets:
        data: Noise | Dataset
        if name == "digits":
            data = open_dataset({"name": "digits", "dataset": "digits"}, Path(tempfile.gettempdir()))
            model = trained_on_digits(data)
        else:
            model = network(name)
            data = Noise(model.architecture)
        with tempfile.TemporaryDirectory() as folder:
            report(name, candidates(name, model, data, Path(folder)), data, given.rounds)


if __name__ == "__main__":
    main()
