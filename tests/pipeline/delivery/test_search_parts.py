"""A search's space, budget and proposals, without running a model."""

import itertools

import pytest

pytest.importorskip("optuna", reason="the extra `search` is not installed")

from pipeline.cli.commands.searches import _settings
from pipeline.core.errors import BouillonError
from pipeline.delivery.search.bounds import impossible, least_share
from pipeline.delivery.search.budget import SearchBudgetError, parse_bounds, parse_goals, relaxed
from pipeline.delivery.search.proposer import FinishedTrial, Proposer, ProposerSettings
from pipeline.delivery.search.search import _metrics
from pipeline.delivery.search.space import SearchSpace, SpaceError, tree_of
from pipeline.delivery.search.study import StudyError, TrialOutcome, opened_study
from pipeline.plan.recipe import parse

TREE = {
    "base": {
        "op": "train",
        "then": {
            "cut": {
                "op": "magnitude_prune",
                "with": {"sparsity": {"from": 0.3, "to": 0.9, "step": 0.2}},
                "then": {
                    "tuned": {
                        "op": "finetune",
                        "optional": True,
                        "with": {"epochs": {"any": [1, 4]}, "teacher": "cut"},
                        "then": {"int8": {"op": "quantize"}},
                    }
                },
            },
            "narrow": {"op": "channel_prune", "with": {"ratio": {"each": [0.25, 0.5]}}},
        },
    }
}
METRICS = _metrics()


def chains(tree):
    space, own = SearchSpace({"tree": tree}), Proposer(SearchSpace({"tree": tree}), ProposerSettings(("maximize",)))
    return [own.of_choices(choices)[0] for choices in space.every(1000)]


def test_every_chain_of_a_countable_space_once():
    paths = [chain.path for chain in chains(TREE)]
    expected = {
        *(f"base/cut-{value}{tuned}/int8" for value in (0.3, 0.5, 0.7, 0.9) for tuned in ("", "/tuned-1", "/tuned-4")),
        "base/narrow-0.25",
        "base/narrow-0.5",
    }
    assert sorted(paths) == sorted(expected)
    assert SearchSpace({"tree": TREE}).size(100) == len(expected)


def test_chains_are_recipes_that_share_their_beginnings_and_references_follow_the_names():
    nodes = parse({"name": "mine", "tree": tree_of(chains(TREE))}).nodes
    assert len({node.path for node in nodes}) == len(nodes) == 1 + 4 + 4 + 8 + 8 + 2
    assert {node.params["teacher"] for node in nodes if node.op == "finetune"} == {
        f"cut-{v}" for v in (0.3, 0.5, 0.7, 0.9)
    }


def test_orders_are_choices_and_a_file_is_never_trained():
    steps = {"s2": {"op": "quantize"}}
    steps = {"s1": {"op": "finetune", "then": steps}}
    tree = {
        "base": {
            "op": "train",
            "then": {"s0": {"op": "magnitude_prune", "with": {"sparsity": 0.5}, "permute": True, "then": steps}},
        }
    }
    assert {chain.path for chain in chains(tree)} == {"base/s0/s1/s2", "base/s1/s0/s2"}


def test_a_continuous_range_is_tried_to_three_digits_within_its_ends():
    tree = {
        "base": {
            "op": "train",
            "then": {"cut": {"op": "magnitude_prune", "with": {"sparsity": {"from": 0.30004, "to": 0.9}}}},
        }
    }
    space = SearchSpace({"tree": tree})
    assert space.size(1000) is None
    own = Proposer(space, ProposerSettings(("maximize",)))
    values = [
        own.of_choices({"base/cut sparsity": value})[0].steps[1].params["sparsity"] for value in (0.30004, 0.51234)
    ]
    assert values == [0.30004, 0.512]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"from": 0.9, "to": 0.3}, "`from` must be less than `to`"),
        ({"from": 0.3}, "a range is written {from: 0.3, to: 0.9}"),
        ({"from": 0, "to": 1, "log": True}, "begins above 0"),
        ({"any": []}, "`any` needs a list"),
        ({"from": "a", "to": 1}, "a range is written"),
    ],
)
def test_mistakes_of_a_space_name_the_step(value, expected):
    tree = {"base": {"op": "train", "then": {"cut": {"op": "magnitude_prune", "with": {"sparsity": value}}}}}
    with pytest.raises(SpaceError, match=r"Step 'base/cut sparsity'") as caught:
        SearchSpace({"tree": tree})
    assert expected in str(caught.value)


@pytest.mark.parametrize(
    ("word", "expected"),
    [("optionl", "Did you mean 'optional'"), ("ablate", "Only a plain run knows it"), ("allocate", "Only a plain run")],
)
def test_words_of_a_step_that_a_search_does_not_know_are_no_secret(word, expected):
    tree = {"base": {"op": "train", "then": {"cut": {"op": "magnitude_prune", "with": {"sparsity": 0.5}, word: True}}}}
    with pytest.raises(SpaceError, match=r"Step 'base/cut': a search knows no") as caught:
        SearchSpace({"tree": tree})
    assert expected in str(caught.value)


# ---- budgets
def test_a_budget_says_what_must_hold():
    bytes_, drop, relative = parse_bounds(
        "file_bytes <= 5 MB; worst_class_drop <= 2pt and parameters drop >= 30%", METRICS
    )
    assert bytes_.excess({"file_bytes": 6e6}, {}) == pytest.approx(1e6)
    assert drop.excess({"worst_class_drop": 0.01}, {}) == pytest.approx(-0.01)
    assert relative.excess({"parameters": 8.0}, {"parameters": 10.0}) == pytest.approx(0.1)
    assert [loose.bound for loose, _ in relaxed([bytes_, drop, relative])] == pytest.approx([1e7, 0.04, 0.15])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("file_byte <= 5 MB", "Did you mean"),
        ("file_bytes < 5 MB", "write <= or >="),
        ("file_bytes", "is no bound"),
        ("worst_class <= 2%", "worst_class_drop <= 2pt"),
        ("speedup >= 2", "sessions of their own"),
        ("latency_p50 <= 2 ms", "sessions of their own"),
    ],
)
def test_mistakes_of_a_budget(text, expected):
    with pytest.raises(SearchBudgetError) as caught:
        parse_bounds(text, METRICS)
    assert expected in str(caught.value)


def test_goals():
    assert [goal.is_maximized for goal in parse_goals(["accuracy", "file_bytes"], METRICS)] == [True, False]
    for names, expected in (
        (["accuracies"], "Did you mean"),
        (["mcnemar_p"], "neither more nor less"),
        ([], "name one"),
        (["latency_p50"], "sessions of their own"),
    ):
        with pytest.raises(SearchBudgetError) as caught:
            parse_goals(names, METRICS)
        assert expected in str(caught.value)


def below_the_base(op, **params):
    return SearchSpace({"tree": {"base": {"op": "train", "then": {"x": {"op": op, "with": params}}}}})


def test_a_budget_that_no_chain_can_keep_says_by_how_much():
    cut = {"op": "magnitude_prune", "with": {"sparsity": {"from": 0.1, "to": 0.9}}, "then": {"q": {"op": "quantize"}}}
    space = SearchSpace({"tree": {"base": {"op": "train", "then": {"n": cut}}}})
    assert least_share(space, in_bits=True) == pytest.approx(1 / 4)
    (text,) = impossible(parse_bounds("file_bytes <= 200 kB", METRICS), space, {"file_bytes": 1e6})
    assert "at least 22.5%: 225 kB, 25 kB too much" in text
    assert not list(impossible(parse_bounds("file_bytes <= 230 kB", METRICS), space, {"file_bytes": 1e6}))
    assert not list(impossible(parse_bounds("file_bytes <= 10 kB", METRICS), space, {}))
    (text,) = impossible(parse_bounds("accuracy drop <= -5pt", METRICS), space, {"accuracy": 0.97})
    assert "102.0%, 2pt more than there is" in text


@pytest.mark.parametrize(
    ("op", "params", "share"),
    [
        ("factorize", {"ratio": 0.5}, 0),
        ("channel_prune", {"ratio": 0.1}, 0),  # of 16 channels 8 are left on a CPU: multiples of 8
        ("quantize", {"method": {"any": ["static", "weight_only"]}, "bits": 4}, 1 / 8),
        ("palettize", {"bits": {"any": [2, 4]}}, 1 / 16),
        ("palettize", {"bits": {"default": 4, "head": 2}}, 0),
    ],
)
def test_nothing_is_claimed_of_a_size_that_a_step_could_go_below(op, params, share):
    assert least_share(below_the_base(op, **params), in_bits=True) == pytest.approx(share)


# ---- proposals
def finished_of(count, *, seed=0):
    """Proposals one after the other, each valued by its sparsity."""
    own = Proposer(SearchSpace({"tree": TREE}), ProposerSettings(("maximize",), seed))
    trials, paths = [], []
    for _ in range(count):
        chosen = own.propose(
            trials, 1, is_tried=lambda each: each.path in paths, cost=lambda each: float(len(each.steps))
        )
        if not chosen:
            break
        ((trial, proposal),) = chosen
        paths.append(proposal.path)
        trials.append(FinishedTrial(trial.choices, trial.distributions, (len(proposal.path) / 100,), {"size": -1.0}))
    return paths


def test_the_same_answers_lead_to_the_same_proposals_and_everything_is_tried_once():
    paths = finished_of(40)
    assert paths == finished_of(40)
    assert sorted(paths) == sorted(chain.path for chain in chains(TREE))
    assert paths != finished_of(40, seed=1)


def test_the_cheap_come_first_but_not_always():
    own = Proposer(SearchSpace({"tree": TREE}), ProposerSettings(("maximize",)))
    chosen = own.propose([], 8, is_tried=lambda each: False, cost=lambda each: 0.0 if "narrow" in each.path else 9.0)
    cheap = ["narrow" in proposal.path for _, proposal in chosen]
    assert True in cheap[:2]  # the first is as it came, the second the cheapest
    assert cheap[2:4] == sorted(cheap[2:4], reverse=True)


# ---- the state
def test_a_study_holds_what_was_begun_and_how_it_ended(tmp_path):
    own = Proposer(SearchSpace({"tree": TREE}), ProposerSettings(("maximize",)))
    picks = [own.of_choices(choices) for choices in itertools.islice(SearchSpace({"tree": TREE}).every(9), 3)]
    file = tmp_path / "study.db"
    with opened_study(file, ["maximize"]) as study:
        numbers = [study.begin(trial) for _, trial in picks]
        with pytest.raises(StudyError, match="running already"), opened_study(file, ["maximize"]):
            pass
        outcome = TrialOutcome("a/b", "k1", {"accuracy": 0.9}, {}, (0.9,), {"size": -0.5}, 3.0, 2.0)
        study.end(numbers[0], outcome, 12.0)
        failed = TrialOutcome("a/c", "", {}, {}, None, {}, 0.0, 0.0, "it broke")
        study.end(numbers[1], failed, 13.0)
    with opened_study(file, ["maximize"]) as study:
        ((first, one), (second, two)) = study.finished()
        assert one == outcome
        assert two == failed
        assert (first.values, first.constraints, second.values) == ((0.9,), {"size": -0.5}, None)
        assert study.open_choices() == [(numbers[2], dict(picks[2][1].choices))]
        assert study.seconds == 13.0


def test_a_file_that_is_no_study_is_named(tmp_path):
    (tmp_path / "study.db").write_text("nothing")
    with pytest.raises(StudyError, match="cannot be read"), opened_study(tmp_path / "study.db", ["maximize"]):
        pass


def test_words_of_a_search():
    settings, others = _settings(
        ["recipe=x", "minutes=2", "best=accuracy,file_bytes", "executor.workers=2", "trials=null"]
    )
    assert (settings.minutes, settings.best, others) == (
        2,
        ("accuracy", "file_bytes"),
        ["recipe=x", "executor.workers=2"],
    )
    for words, expected in (
        (["minutes=soon"], "search: minutes"),
        (["minutes"], "not key=value"),
        (["seed=1", "seed=2"], "twice"),
    ):
        with pytest.raises(BouillonError) as caught:
            _settings(words)
        assert expected in str(caught.value)
