"""Gates: verdicts with their doubt, in one line where something is wrong."""

import json
import math
from xml.etree import ElementTree

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from pipeline.cli.main import run
from pipeline.core.statistics import paired_share_interval, paired_share_z
from pipeline.delivery.gate import GateOutcome, judge_pair
from pipeline.delivery.gate_rules import RuleError, parse_rule
from pipeline.measure.metrics.estimates import share_difference
from pipeline.store.queries.model_pair import ModelPair
from pipeline.store.records import run_records as records
from pipeline.store.records import timing_records as timings
from tests.pipeline.answer_stores import START, measured, publish
from viewer.results.results import load_results

HERE = {"target": "ort", "device": "machine"}


def answers(count, *, lost=0, won=0, wrong=0):
    """The candidate loses the first instances, wins the next, and both have some wrong."""
    reference, candidate = np.ones(count, bool), np.ones(count, bool)
    candidate[:lost] = False
    reference[lost : lost + won] = False
    both = slice(lost + won, lost + won + wrong)
    reference[both] = candidate[both] = False
    return candidate, reference, np.arange(count) % 10


def speedup(model, against, ratio, low, high, *, clock="cpu", contended=False, session="s"):
    return timings.Speedup(
        session, model, against, "base", "ort", "machine", "single_stream", 1, 1, clock, ratio, low, high,
        "faster", 30, 0.01, contended, 0, START,
    )  # fmt: skip


FIGURES = [
    records.Metric("file_bytes", "B", ",.0f", "lower", True, "Bytes of the file.", "size"),
    records.Metric("latency_p50", "ms", ".3g", "lower", True, "Median time.", "cost", "wall_time"),
    records.Metric("macro_f1", "", ".1%", "higher", False, "Mean F1.", "quality"),
    records.Metric("loss", "", ".3g", "lower", False, "Mean loss.", "quality", "instances"),
    records.Metric("flips", "", ".1%", "lower", False, "Answers broken.", "change", "instances"),
    measured("candidate 0", "file_bytes", 5_000_000.0),
    measured("reference 0", "file_bytes", 20_000_000.0),
    measured("candidate 0", "latency_p50", 2.0, 1.9, 2.1, **HERE),
    measured("reference 0", "latency_p50", 4.0, 3.9, 4.1, **HERE),
    measured("candidate 0", "macro_f1", 0.8, **HERE, dataset_key="0"),
    measured("candidate 0", "flips", 0.01, 0.005, 0.015, **HERE, dataset_key="0"),
    speedup("candidate 0", "reference 0", 2.0, 1.8, 2.2),
    speedup("candidate 0", "reference 0", 2.0, 1.9, 2.1, clock="wall"),
]


@pytest.fixture
def store(tmp_path):
    def make(*pairs, more=FIGURES):
        return publish(tmp_path / "results.duckdb", pairs, more)

    return make


def gate(path, *rules, candidate="candidate 0", reference="reference 0", confidence=0.95, **where):
    with ModelPair(path, candidate, reference, **where) as pair:
        return judge_pair(pair, rules, confidence=confidence)


def one(path, rule, **options):
    [verdict] = gate(path, rule, **options).rules
    return verdict


# ---- statistics
@pytest.mark.parametrize(("lost", "won", "count", "drop"), [(12, 2, 40, 0.1), (3, 9, 100, -0.05), (5, 0, 50, 0.02)])
def test_the_score_is_that_of_the_most_likely_pair_of_shares_with_this_difference(lost, won, count, drop):
    def unlikely(share):
        both = max(1 - 2 * share - drop, 1e-300)
        return -(
            lost * math.log(max(share + drop, 1e-300))
            + won * math.log(max(share, 1e-300))
            + (count - lost - won) * math.log(both)
        )

    best = minimize_scalar(
        unlikely, bounds=(max(0, -drop), (1 - drop) / 2), method="bounded", options={"xatol": 1e-12}
    ).x
    expected = (lost - won - count * drop) / math.sqrt(count * (2 * best + drop - drop * drop))
    assert paired_share_z(lost, won, count, drop) == pytest.approx(expected, abs=1e-5)


def test_equal_answers_are_no_proof_of_equality():
    interval = paired_share_interval(0, 0, 1000)
    assert interval.value == 0
    assert interval.high == -interval.low == pytest.approx(1.96**2 / (1000 + 1.96**2), rel=1e-3)


@pytest.mark.parametrize("confidence", [0.8, 0.95, 0.99])
def test_the_interval_holds_the_truth_as_often_as_it_says(confidence):
    rng = np.random.default_rng(0)
    draws = rng.multinomial(300, (0.03, 0.01, 0.96), size=2000)
    ends = {(lost, won): paired_share_interval(lost, won, 300, confidence) for lost, won, _ in draws.tolist()}
    held = np.mean([ends[lost, won].low <= 0.02 <= ends[lost, won].high for lost, won, _ in draws.tolist()])
    assert held == pytest.approx(confidence, abs=0.03)


# ---- verdicts
@pytest.mark.parametrize(
    ("lost", "won", "outcome"),
    [(60, 2, GateOutcome.FAILS), (3, 2, GateOutcome.PASSES), (26, 4, GateOutcome.UNDECIDED)],
)
def test_a_drop_fails_passes_or_cannot_be_told(store, lost, won, outcome):
    verdict = one(store(answers(1000, lost=lost, won=won, wrong=100)), "accuracy drop > 2pt")
    assert verdict.outcome is outcome
    assert verdict.estimate.value == pytest.approx((lost - won) / 1000)
    assert verdict.count == 1000
    assert (verdict.more is not None) == (outcome is GateOutcome.UNDECIDED)


def test_the_advised_number_of_instances_tells(store):
    """Four times in five, with answers drawn as they were seen."""
    lost, count = 27, 1000
    more = one(store(answers(count, lost=lost)), "accuracy drop > 2pt").more
    rng, told = np.random.default_rng(1), 0
    for losses in rng.binomial(count + more, lost / count, size=400):
        told += paired_share_z(int(losses), 0, count + more, 0.02) >= 1.96
    assert told / 400 == pytest.approx(0.8, abs=0.08)


def test_the_worst_class_decides_and_is_named(store):
    candidate, reference, labels = answers(4000)
    candidate[(labels == 7) & (np.arange(4000) < 800)] = False
    path = store((candidate, reference, labels))
    verdict = one(path, "worst_class drop > 2pt")
    assert (verdict.outcome, verdict.part) == (GateOutcome.FAILS, "class c7")
    assert verdict.estimate.value == pytest.approx(0.2)
    assert verdict.count == 400
    group = one(path, "worst_group drop > 1.5pt")
    assert (group.outcome, group.part) == (GateOutcome.FAILS, "half=second"), "class 7 is odd"
    assert one(path, "worst_class < 70%").outcome is GateOutcome.PASSES
    assert one(path, "worst_class < 90%").outcome is GateOutcome.FAILS


def test_many_classes_and_many_rules_are_corrected_for_their_number(store):
    """Seven lost of 100 answers: alone that is a drop by more than chance, as the worst of ten classes it is not."""
    candidate, reference, labels = answers(1000)
    candidate[np.flatnonzero(labels == 0)[:7]] = False
    path = store((candidate, reference, labels))
    alone = paired_share_z(7, 0, 100, 0.0)
    assert alone > 1.96
    assert one(path, "worst_class drop > 0pt").outcome is not GateOutcome.FAILS
    assert one(path, "accuracy drop > 0pt").outcome is GateOutcome.FAILS
    rules = ["accuracy drop > 0pt", *(f"worst_class drop > {points}pt" for points in (1, 2, 3, 4))]
    assert gate(path, *rules).rules[0].p_value == pytest.approx(5 * one(path, rules[0]).p_value)


def test_files_are_counted_and_times_compared_within_a_session(store):
    path = store(answers(500))
    for rule, outcome in {
        "file_bytes > 5 MB": GateOutcome.PASSES,
        "file_bytes >= 5 MB": GateOutcome.FAILS,
        "file_bytes drop < 70%": GateOutcome.PASSES,
        "file_bytes rise > 0": GateOutcome.PASSES,
        "speedup < 1.5": GateOutcome.PASSES,
        "speedup < 2.5x": GateOutcome.FAILS,
        "speedup < 1.9": GateOutcome.UNDECIDED,
        "latency_p50 drop < 40%": GateOutcome.PASSES,
        "latency_p50 rise > 0": GateOutcome.PASSES,
        "latency_p50 drop < 1.5 ms": GateOutcome.PASSES,
        "latency_p50 > 1.5 ms": GateOutcome.FAILS,
        "latency_p50 > 2.05 ms": GateOutcome.UNDECIDED,
    }.items():
        assert one(path, rule).outcome is outcome, rule
    assert one(path, "latency_p50 drop < 40%").estimate.value == pytest.approx(0.5)
    assert one(path, "latency_p50 drop < 1 ms").estimate.value == pytest.approx(2.0)
    assert one(path, "speedup < 1.5").estimate.low == pytest.approx(1.8)


def test_a_relative_rise_is_judged_instance_by_instance(store):
    """Every loss is exactly 10 % higher: no chance in it, though losses scatter."""
    reference = np.random.default_rng(0).uniform(0.5, 1.5, 400)
    values = [
        records.InstanceValues("candidate 0", "ort", "machine", "0", "loss", (1.1 * reference).astype(np.float32), "c"),
        records.InstanceValues("reference 0", "ort", "machine", "0", "loss", reference.astype(np.float32), "r"),
    ]
    path = store(answers(400), more=[*FIGURES, *values])
    verdict = one(path, "loss rise > 9%")
    assert verdict.outcome is GateOutcome.FAILS
    assert verdict.estimate.value == pytest.approx(0.1, abs=1e-5)
    assert one(path, "loss rise > 11%").outcome is GateOutcome.PASSES


def test_what_is_not_known_cannot_be_told_and_says_why(store, tmp_path):
    path = store(answers(500))
    assert "no interval of macro_f1" in one(path, "macro_f1 < 70%").reason
    assert gate(path, "macro_f1 < 70%", "file_bytes > 9 MB").outcome is GateOutcome.UNDECIDED
    assert gate(path, "macro_f1 < 70%", "file_bytes > 1 MB").outcome is GateOutcome.FAILS
    noisy = [*FIGURES[:-2], speedup("candidate 0", "reference 0", 2.0, 1.8, 2.2, contended=True)]
    other = publish(tmp_path / "noisy.duckdb", [answers(500)], noisy)
    assert "others used the machine" in one(other, "speedup < 1.5").reason
    never = publish(tmp_path / "never.duckdb", [answers(500)], FIGURES[:-2])
    assert "no session timed" in one(never, "speedup < 1.5").reason
    assert "no session timed" in one(never, "latency_p50 rise > 5%").reason


def test_two_models_that_a_session_compared_with_a_third(store):
    between = [
        *FIGURES[:-2],
        records.Model("third", None, "third", "", "gate", "train", 1, "base", "torch", {}),
        speedup("candidate 0", "third", 4.0, 3.6, 4.4),
        speedup("reference 0", "third", 2.0, 1.8, 2.2),
    ]
    estimate = one(store(answers(100), more=between), "speedup < 1.5").estimate
    assert estimate.value == pytest.approx(2.0)
    half = math.hypot(math.log(4.0 / 3.6), math.log(2.2 / 2.0))
    assert estimate.low == pytest.approx(2.0 * math.exp(-half))


# ---- what is refused
@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ("acuracy drop > 1pt", "There is no quantity 'acuracy' in these results. Did you mean 'accuracy'?"),
        ("accuracy drop > 1%", "Write 1pt"),
        ("accuracy drop > 0.01", "is in points"),
        ("accuracy < 90", "Did you mean 90%?"),
        ("accuracy drop", "'accuracy drop' is no rule. Write a quantity"),
        ("speedup drop > 1", "Write 'speedup < 1.5'"),
        ("file_bytes > 5 ms", "the unit 'ms' does not fit"),
        ("file_bytes > many", "'many' is not a number"),
        ("flips drop > 1", "is in points"),
    ],
)
def test_a_rule_that_cannot_be_read_names_the_nearest_that_can(rule, message):
    metrics = {record.metric: record for record in FIGURES if isinstance(record, records.Metric)}
    metrics["accuracy"] = records.Metric("accuracy", "", ".1%", "higher", True, "", "quality", "instances")
    with pytest.raises(RuleError) as caught:
        parse_rule(rule, metrics)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_bad_input_is_one_line_and_exit_status_2(store, tmp_path, capsys, monkeypatch):
    lines = ["failed/step", "boom"]
    step = records.Step(
        "run",
        "failed/step",
        "operation",
        "f" * 64,
        None,
        "prune",
        "prune",
        {},
        "failed",
        error=lines[1],
        finished_at=START,
    )
    path = store(answers(100), answers(100), more=[*FIGURES, step])
    rules = tmp_path / "rules.txt"
    rules.write_text("# none yet\n")
    monkeypatch.chdir(tmp_path)
    for words, message in {
        ("nobody", "reference 0"): "No model is called 'nobody' in these results",
        ("candidte 0", "reference 0"): "Did you mean 'candidate 0'?",
        ("failed/step", "reference 0"): "its step failed (boom)",
        ("candidate", "reference 0"): "Several models are called 'candidate'",
        ("candidate 0", "reference 1"): "not measured under the same conditions",
        ("candidate 0", "reference 0", "--dataset", "1"): "with --dataset 1",
        ("candidate 0", "reference 0", "--confidence", "95"): "95 is not above 0.5 and below 1",
        ("candidate 0", "reference 0", "--rules", str(rules)): "there is no rule in it",
        ("candidate 0", "reference 0", "--rules", "no such"): "--rules no such: No such file or directory",
    }.items():
        given = [] if "--rules" in words else ["--fail-if", "accuracy drop > 1pt"]
        assert run(["gate", *words, "--results", str(path), *given]) == 2, words
        told = capsys.readouterr().err
        assert message in told, told
        assert told.count("\n") == 1, told
    assert run(["gate", "candidate 0", "reference 0", "--results", str(path)]) == 2
    assert "A gate needs a rule" in capsys.readouterr().err


def test_a_change_against_the_base_is_not_taken_for_one_against_another_reference(store):
    more = [
        *FIGURES,
        records.Model("other", "reference 0", "other", "", "gate", "prune", 1, "prune", "torch", {}),
        measured("other", "macro_f1", 0.8, **HERE, dataset_key="0"),
    ]
    path = store(answers(100), more=more)
    assert one(path, "flips > 2%").outcome is GateOutcome.PASSES
    with pytest.raises(RuleError, match="with the base of its tree, 'reference 0', and not with 'other'"):
        one(path, "flips > 2%", reference="other")


# ---- the command
def test_the_command_exits_by_the_verdict_and_writes_it_for_others(store, tmp_path, capsys):
    path = store(answers(1000, lost=60, won=2, wrong=100))
    rules = tmp_path / "gate.txt"
    rules.write_text("accuracy drop > 2pt  # of the agreement with the customer\n\nfile_bytes > 5 MB\n")
    files = {kind: tmp_path / f"gate.{kind}" for kind in ("json", "junit", "markdown")}
    outputs = [word for kind, file in files.items() for word in (f"--{kind}", str(file))]
    words = ["gate", "candidate 0", "reference 0", "--results", str(path)]
    assert run([*words, "--rules", str(rules), "--fail-if", "macro_f1 < 70%", *outputs]) == 1
    said = capsys.readouterr().out
    assert "candidate 0 in place of reference 0 (ort · machine · 0)" in said
    assert "fails           accuracy drop > 2pt  drop 5.8pt [" in said
    assert said.endswith("gate: fails\n")
    content = json.loads(files["json"].read_text())
    assert content["outcome"] == "fails"
    assert [rule["outcome"] for rule in content["rules"]] == ["cannot be told", "fails", "passes"]
    assert content["rules"][1]["value"] == pytest.approx(0.058)
    suite = ElementTree.parse(files["junit"]).getroot()
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("3", "1", "1")
    assert [case[0].tag for case in suite] == ["error", "failure", "system-out"]
    table = files["markdown"].read_text().splitlines()
    assert [line.count("|") for line in table[2:]] == [5] * 5
    assert run([*words, "--fail-if", "file_bytes > 5 MB"]) == 0
    assert run([*words, "--fail-if", "macro_f1 < 70%"]) == 3


@pytest.mark.parametrize(("lost", "won"), [(0, 0), (3, 0), (4, 0), (20, 5), (14, 5), (6, 1), (7, 1), (30, 60)])
def test_gates_compare_rank_and_measure_with_one_interval(store, lost, won):
    """What the gate, the page Compare, the ranking and the metric `accuracy_drop` say of a pair of models is the same."""
    candidate, reference, labels = answers(400, lost=lost, won=won, wrong=30)
    path = store((candidate, reference, labels), more=[])
    verdict = one(path, "accuracy drop > 0pt")
    results = load_results(path)
    shown = results.difference("accuracy", "candidate 0", "reference 0")
    ends = verdict.estimate.low, verdict.estimate.high
    assert (-shown.high, -shown.low) == pytest.approx(ends, abs=1e-9)
    expected = {GateOutcome.FAILS: -1, GateOutcome.PASSES: 1, GateOutcome.UNDECIDED: 0}[verdict.outcome]
    told = results.ranking.verdicts("accuracy", results.row["reference 0"])[results.row["candidate 0"]]
    assert told == expected
    drop = share_difference(reference, candidate)
    assert (drop.low, drop.high) == pytest.approx(ends, abs=1e-9)
