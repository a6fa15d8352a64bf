#!/usr/bin/env python3
"""Compare estimates of sensitivity with measured damage: rank correlation over layers and candidates, and the share of the time.

scripts/bench/sensitivity.py                       three networks on the digits
scripts/bench/sensitivity.py --model digits_resnet --epochs 12

Each network is trained, and its sensitivity measured by `python -m pipeline sensitivity`; what is there already is found again.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from pipeline.cli.main import run

MODELS = {"digits_resnet": 12, "digits_depthwise": 5, "tiny_vit": 5}
"""Network -> epochs of training."""
CANDIDATES = "candidates={palettize:{bits:[2,4]},magnitude_prune:{sparsity:[0.5,0.8],scope:layer}}"


def main() -> None:
    """Print a row for each network."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", action="append", choices=sorted(MODELS), help="default: all three")
    parser.add_argument("--epochs", type=int, help="default: 12 of the residual network, 5 of the others")
    parser.add_argument("--samples", type=int, default=128, help="calibration instances; default: 128")
    parser.add_argument("--folder", type=Path, default=Path("sensitivity-bench"), help="default: sensitivity-bench")
    options = parser.parse_args()
    print(f"{'network':20} {'layers':>6} {'pairs':>6} {'rank correlation':>17} {'share of the time':>18}")
    for model in options.model or MODELS:
        folder = options.folder / model
        (folder / "recipe").mkdir(parents=True, exist_ok=True)
        tree = {"base": {"op": "train", "with": {"epochs": options.epochs or MODELS[model]}}}
        recipe = {"name": f"s_{model}", "model": model, "dataset": "digits", "tree": tree}
        (folder / "recipe" / f"s_{model}.yaml").write_text(json.dumps(recipe))  # JSON is YAML
        words = [f"recipe=s_{model}", "at=base", f"samples={options.samples}", CANDIDATES]
        words += [f"results={folder / 'results.duckdb'}", f"workspace={folder / 'work'}"]
        file = folder / "sensitivity.json"
        if run(["sensitivity", *words, "--config-dir", str(folder), "--json", str(file)]):
            sys.exit(f"{model}: could not be measured")
        content = json.loads(file.read_text())
        found = content["score_agreement"]
        layers = len({row["layer"] for row in content["layers"]})
        print(
            f"{model:20} {layers:6} {found['pairs']:6} {found['rank_correlation']:17.3f} {found['cost_share']:18.1%}",
            flush=True,
        )


if __name__ == "__main__":
    main()
