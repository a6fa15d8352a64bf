"""Make the page's pictures: the viewer on the stores of the studies, in a real Chromium.

    python scripts/studies/shots.py FOLDER [--only NAME ...]

FOLDER holds a folder per study with its results.duckdb. Each picture is an address of the viewer, as a person could
open it; the addresses are printed. Set BOUILLON_CHROMIUM if Chromium is elsewhere than in /usr/bin.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from pipeline.store.reader import open_results
from tests.viewer.browsing import CHROMIUM, FLAGS, Visitor, served, why_not
from viewer.session.state import ViewState
from viewer.session.url import Keys, write_link

PICTURES = Path(__file__).with_name("pictures")
SIZE = {"width": 1440, "height": 900}
RECIPES = {
    "user": ["user_study", "user_study_norms"], "bias": ["bias_study"], "bias_classes": ["bias_study_classes"],
    "repair": ["repair_study"],
}  # fmt: skip
_MODELS = """
SELECT DISTINCT path, model_key FROM steps WHERE list_contains(?, recipe) AND job = 'operation'
"""
MODELS = ("selected", "base", "b_order", "b_of", "l_order")
"""Fields of the viewer's state that hold models."""
SETTLED = 2_500
"""Milliseconds for pictures of instances and histograms to arrive."""


@dataclass(frozen=True, slots=True)
class Shot:
    """One picture; models by their paths in the recipes, whatever else the store holds."""

    study: str
    name: str
    state: dict[str, Any] = field(default_factory=dict)


STEPS = 0.2, 0.3, 0.4, 0.5
BROKEN = ["base", "base/everything30", "base/everything30/restored"]
MAGNITUDE = [f"resnet50/magnitude[sparsity={s}]" for s in (0.5, 0.75, 0.9)]
SHOTS = (
    Shot("user", "user_map"),
    Shot(
        "user", "user_budget",
        {"filters": [("compressed_bytes", None, 21.9e6)], "goal": "accuracy", "pane": "budgets"},
    ),
    Shot("user", "user_calibrated", {"selected": ["resnet50", *MAGNITUDE, *(f"{name}/calibrated" for name in MAGNITUDE)]}),
    Shot(
        "user", "user_norms",
        {"page": "layers", "l_show": "sparsity", "l_flat": True, "l_types": ["BatchNorm2d"], "base": "resnet50",
         "selected": ["resnet50/gradient_with_norms[sparsity=0.75]", "resnet50/gradient[sparsity=0.75]"]},
    ),
    Shot(
        "bias", "bias_groups",
        {"page": "behaviours", "b_rows": "groups", "b_groups": ["case"], "base": "base[seed=0]",
         "b_order": "base[seed=0]/pruned[sparsity=0.4]",
         "selected": ["base[seed=0]", *(f"base[seed=0]/pruned[sparsity={s}]" for s in STEPS)]},
    ),
    Shot(
        "bias", "bias_audit",
        {"page": "behaviours", "b_rows": "instances", "b_only": "exemplars", "b_least": 3, "base": "base[seed=0]",
         "selected": ["base[seed=0]", *(f"base[seed=0]/pruned[sparsity={s}]" for s in STEPS)]},
    ),
    Shot(
        "bias_classes", "bias_classes",
        {"page": "behaviours", "b_rows": "classes", "base": "base", "b_order": "base/pruned[sparsity=0.5]",
         "selected": ["base", *(f"base/pruned[sparsity={s}]" for s in STEPS)]},
    ),
    Shot("repair", "repair_map", {"selected": [*BROKEN, "base/linear30", "base/norms"]}),
    Shot(
        "repair", "repair_answers",
        {"page": "behaviours", "b_rows": "instances", "b_only": "broken", "b_of": "base/everything30", "base": "base",
         "b_order": "base/everything30/restored", "b_descending": False, "selected": BROKEN},
    ),
    Shot(
        "repair", "repair_layers",
        {"page": "layers", "l_flat": True, "l_order": "base/everything30", "base": "base", "selected": BROKEN},
    ),
)  # fmt: skip


def address(shot: Shot, results: Path) -> str:
    """The query of the viewer's address for a picture.

    Raises:
        KeyError: for a model that is not in the store.
    """
    with open_results(results) as db:
        found = db.execute(_MODELS, [RECIPES[shot.study]]).fetchall()
        keys = Keys([key for (key,) in db.sql("SELECT model_key FROM models").fetchall()])
    key_of = dict(found)
    state = ViewState()
    for name, value in shot.state.items():
        models = name in MODELS
        setattr(
            state,
            name,
            ([key_of[one] for one in value] if isinstance(value, list) else key_of[value]) if models else value,
        )
    return write_link(state, keys)


def main() -> int:
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("folder", type=Path)
    args.add_argument("--only", nargs="+", default=[shot.name for shot in SHOTS])
    asked = args.parse_args()
    if why := why_not():
        print(why, file=sys.stderr)
        return 2
    wanted = [shot for shot in SHOTS if shot.name in asked.only]
    for study in dict.fromkeys(shot.study for shot in wanted):
        results = (asked.folder / study / "results.duckdb").resolve()
        if results.exists():
            _take([shot for shot in wanted if shot.study == study], results)
        else:
            print(f"{results}: not there; its pictures stay as they are")
    return 0


def _take(shots: list[Shot], results: Path) -> None:
    from playwright.sync_api import sync_playwright

    PICTURES.mkdir(exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as scratch,
        served(results, Path(scratch) / "log") as server,
        sync_playwright() as p,
    ):
        browser = p.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)
        for shot in shots:
            query = address(shot, results)
            page = browser.new_page(viewport=SIZE)
            Visitor(page).open(f"{server}?{query}&theme=light")
            page.wait_for_timeout(SETTLED)
            page.screenshot(path=PICTURES / f"{shot.name}.png")
            page.close()
            print(f"{shot.name}: {query}")
        browser.close()


if __name__ == "__main__":
    sys.exit(main())
