"""Rows of a sweep as the views give them, for tests of lints."""

from datetime import UTC, datetime

from pipeline.measure.lints.check import Evidence, run_lints

NOW = datetime(2026, 1, 2, tzinfo=UTC)


class Sweep:
    """Rows as the views give them; a test says what is odd."""

    def __init__(self):
        self.models, self.measurements, self.timings, self.speedups, self.answers = [], [], [], [], []
        self.differences = []

    def model(self, key, parent="base", *, op="magnitude_prune", kind="prune", params="{}", notes="{}", **metrics):
        self.models.append({
            "model_key": key, "name": key, "parent_key": None if key == "base" else parent, "op": op, "kind": kind,
            "params": params, "notes": notes,
        })  # fmt: skip
        return self.measure(key, "ort", accuracy=0.9, **metrics)

    def measure(self, key, target, **metrics):
        for name, value in metrics.items():
            row = {"model_key": key, "target": target, "metric": name, "value": value, "low": None, "high": None}
            self.measurements.append(row)
        return self

    def timing(self, key, *, p50=1.0, p90=1.1, contended=False, drifted=False, **fields):
        self.timings.append({
            "model_key": key, "target": "ort", "scenario": "single_stream", "batch_size": 1, "threads": 1, "p50_ms": p50,
            "p90_ms": p90, "contended": contended, "drifted": drifted, "foreign_cores": 0.6, "evidence_key": "s",
            "base_evidence_key": None, "base_p50_ms": None, "base_beside_ms": None, **fields,
        })  # fmt: skip
        return self

    def speedup(self, key, ratio, *, relation="parent", verdict=None, clock="cpu", threads=1, width=0.05):
        low, high = ratio - width, ratio + width
        verdict = verdict or ("faster" if low > 1 else "slower" if high < 1 else "no difference")
        self.speedups.append({
            "model_key": key, "target": "ort", "relation": relation, "scenario": "single_stream", "threads": threads,
            "clock": clock, "ratio": ratio, "low": low, "high": high, "verdict": verdict, "evidence_key": "s",
        })  # fmt: skip
        return self

    def answer(self, key, share, label=0.1):
        self.answers.append(
            {"model_key": key, "target": "ort", "most_frequent": share, "most_frequent_label": label}
        )  # fmt: skip
        return self

    def check(self, overlap=None):
        evidence = Evidence(self.models, self.measurements, self.timings, self.speedups, self.answers, self.differences)
        return run_lints(evidence, run_id="run", at=NOW, overlap=overlap)

    def findings(self, **options):
        return {(found.model_key, found.lint): found for found in self.check(**options) if found.lint}
