"""Language modelling: how probable a model finds each token of a document after those before it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ops.core.programs.answers import FIRST_CHOICES
from ops.core.programs.program import Program
from ops.core.programs.reading import DOCUMENT, token_program
from ops.core.tasks.rows import log_softmax, valid_rows
from ops.core.tasks.task import INVALID, Axis, Evaluation, Input, Judgement, OpenModel, Task, task

if TYPE_CHECKING:
    import numpy as np
    import torch

LIKELIEST = 64
"""Tokens whose log-probabilities are kept at each place, the likeliest first; a whole distribution takes 200 kB."""
_TOKENS = 512
"""Tokens run at a time: their logits are tokens x vocabulary."""
_PLACES = 2048
"""Places whose likeliest tokens are compared at a time."""
_KEPT = ("likeliest", "likeliest_log_probability")
_ROUNDING = 1e-5
_HALF = 0.5
IGNORED = -100
"""In the place of a next token that is not judged: padding, and what the window before has judged already."""


@task
class LanguageModeling(Task):
    """The logits of the token after each one of a window of a document.

    A document is an instance. Those that are longer than a window are read in windows that overlap, and every token but
    the first is judged once, in the first window that holds it behind another. A document counts as right where the
    model's first choice is the next token for at least half of its tokens; its score is the share of such tokens.
    """

    name = "language-modeling"
    inputs = (Input("input_ids", "int64", ("tokens",)), Input("attention_mask", "int64", ("tokens",)))
    outputs = ("logits",)
    targets = ("next_tokens",)
    softmax_outputs = ("logits",)
    transformers_class = "AutoModelForCausalLM"
    hub_tag = "text-generation"
    has_contexts = True
    needs_own_tokenizer = True

    def loss(
        self,
        outputs: Mapping[str, torch.Tensor],
        targets: Mapping[str, torch.Tensor],
        *,
        label_smoothing: float = 0.0,
    ) -> torch.Tensor:
        """Mean cross-entropy of the next tokens.

        Args:
            outputs: `logits` (batch, tokens, vocabulary).
            targets: `next_tokens` int64 (batch, tokens), negative where none is judged.
            label_smoothing: share of the target that is spread over the vocabulary.
        """
        from torch.nn import functional

        tokens = _within(targets["next_tokens"], outputs["logits"])
        logits = self.supervised(outputs, targets)["logits"]
        return functional.cross_entropy(logits, tokens[tokens >= 0], label_smoothing=label_smoothing)

    def supervised(
        self, outputs: Mapping[str, torch.Tensor], targets: Mapping[str, torch.Tensor]
    ) -> Mapping[str, torch.Tensor]:
        """Return the logits of judged tokens: (tokens, vocabulary)."""
        return {"logits": outputs["logits"][_within(targets["next_tokens"], outputs["logits"]) >= 0]}

    def axes(self, output: str, classes: int, inputs: Mapping[str, tuple[str, tuple[int, ...]]]) -> tuple[Axis, ...]:
        """A number for each token of the window and each of the vocabulary.

        Args:
            output: `logits`.
            classes: of no importance.
            inputs: the data's.
        """
        return Axis("tokens", inputs["input_ids"][1][0]), Axis("vocabulary", None)

    # ---- evaluation
    def run(self, model: OpenModel, inputs: Mapping[str, np.ndarray], dataset: Any) -> Mapping[str, np.ndarray]:
        """Return what is kept of the distributions, of a few rows at a time.

        Args:
            model: gives `logits` (batch, tokens, vocabulary).
            inputs: `input_ids` and `attention_mask` (batch, tokens).
            dataset: of no importance.

        Returns:
            `log_probability` float32 (batch, tokens) of the token that follows in the row (0 at its end),
            `likeliest` int32 (batch, tokens, LIKELIEST), the tokens of highest logits in falling order, and
            `likeliest_log_probability` float32 of the same shape.
        """
        import numpy as np

        rows, length = inputs["input_ids"].shape
        step = max(1, _TOKENS // length)
        place = model.outputs.index("logits")
        parts = []
        for start in range(0, rows, step):
            feed = {name: array[start : start + step] for name, array in inputs.items()}
            parts.append(compact(model.run(feed)[place], feed["input_ids"]))
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def joined_rows(
        self, ids: Sequence[str], outputs: Mapping[str, np.ndarray], targets: Mapping[str, np.ndarray]
    ) -> tuple[Mapping[str, np.ndarray], Mapping[str, np.ndarray]]:
        """Put the windows of each document together: (documents, judged tokens of the longest, ...), 0 or -100 behind.

        Args:
            ids: the document of each window, those of one beside each other.
            outputs: of `run`, of all windows.
            targets: of the data set, of all windows; which tokens are judged, above all.
        """
        import numpy as np

        places = targets["next_tokens"] >= 0
        first = np.flatnonzero([row == 0 or ids[row] != ids[row - 1] for row in range(len(ids))])
        document = np.repeat(np.arange(len(first)), np.diff([*first, len(ids)]))
        owner = np.broadcast_to(document[:, None], places.shape)[places]
        counts = np.bincount(owner, minlength=len(first))
        column = np.arange(len(owner)) - np.repeat(np.cumsum(counts) - counts, counts)

        def join(array: np.ndarray, filler: int) -> np.ndarray:
            result = np.full((len(first), int(counts.max(initial=0)), *array.shape[2:]), filler, array.dtype)
            result[owner, column] = array[places]
            return result

        return (
            {name: join(array, 0) for name, array in outputs.items()},
            {name: join(array, IGNORED if name == "next_tokens" else 0) for name, array in targets.items()},
        )

    def answers(self, dataset: Any, outputs: Mapping[str, np.ndarray]) -> tuple[str, ...]:
        """Return the text of the first choices at all places of a document.

        Args:
            dataset: has the tokenizer.
            outputs: of all windows.
        """
        return tuple(dataset.first_choices(outputs["likeliest"][:, :, 0]))

    # ---- scoring
    def judge(self, evaluation: Evaluation) -> Judgement:
        """`predicted` is the text of the first choices. No probability is attached to it."""
        import numpy as np

        unknown = np.full(len(evaluation.ids), np.nan, np.float32)
        valid = valid_rows(evaluation)
        texts = [text if is_valid else INVALID for text, is_valid in zip(evaluation.answers, valid, strict=True)]
        return Judgement(texts, unknown, unknown, self.correct(evaluation), _share_right(evaluation).astype(np.float32))

    def correct(self, evaluation: Evaluation) -> np.ndarray:
        """Return whether at least half of the first choices are right, bool (N,)."""
        right: np.ndarray = _share_right(evaluation) >= _HALF
        return right

    def loss_rows(self, evaluation: Evaluation) -> np.ndarray | None:
        """Each document's part of the mean loss per token of all (`per_token`)."""
        return per_token(losses(evaluation), judged_tokens(evaluation))

    def agreement(self, evaluation: Evaluation, base: Evaluation) -> np.ndarray | None:
        """Share of tokens with one first choice, none where outputs are no numbers: each document's part (`per_token`)."""
        places = judged_tokens(evaluation)
        numbers = (valid_rows(evaluation) & valid_rows(base))[:, None]  # else the first tokens of the vocabulary agree
        return per_token(places & numbers & (first_choices(evaluation) == first_choices(base)), places)

    def divergence_rows(self, evaluation: Evaluation, base: Evaluation) -> np.ndarray | None:
        """Each document's part of the mean divergence per token (`per_token`, `token_divergence`)."""
        places = judged_tokens(evaluation)
        return per_token(token_divergence(evaluation, base), places)

    # ---- packages
    def program(self, settings: Mapping[str, Any]) -> Program:
        """Read a document, and give the first choices and the log-probability of its tokens."""
        return token_program(settings, DOCUMENT, FIRST_CHOICES, "TEXT ...")


def _within(tokens: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
    """Targets of the places that were run: training leaves out columns at the end that are all padding."""
    return tokens[:, : logits.shape[1]]


def compact(logits: np.ndarray, tokens: np.ndarray) -> dict[str, np.ndarray]:
    """Return what is kept of distributions: see `LanguageModeling.run`.

    Rows of logits that are not numbers give log-probabilities that are none, and the first tokens of the vocabulary.

    Args:
        logits: float (batch, tokens, vocabulary).
        tokens: int64 (batch, tokens), the row's own.
    """
    import numpy as np

    count = min(LIKELIEST, logits.shape[2])
    chance = log_softmax(logits).astype(np.float32)
    following = np.zeros(tokens.shape, np.float32)
    if tokens.shape[1] > 1:
        following[:, :-1] = np.take_along_axis(chance[:, :-1], tokens[:, 1:, None], axis=2)[:, :, 0]
    # highest first, and of equals the first of the vocabulary, as argmax has it
    values = np.where(np.isnan(chance), -np.inf, chance)
    nearest = np.argpartition(-values, count - 1, axis=2)[:, :, :count] if count < logits.shape[2] else None
    if nearest is None:
        order = np.argsort(-values, axis=2, kind="stable")
    else:
        nearest = np.sort(nearest, axis=2)
        rank = np.argsort(-np.take_along_axis(values, nearest, axis=2), axis=2, kind="stable")
        order = np.take_along_axis(nearest, rank, axis=2)
        order[:, :, 0] = values.argmax(axis=2)
    return {
        "log_probability": following,
        "likeliest": order.astype(np.int32),
        "likeliest_log_probability": np.take_along_axis(chance, order, axis=2),
    }


def judged_tokens(evaluation: Evaluation) -> np.ndarray:
    """Places of each document that hold a token that is judged: bool (N, tokens)."""
    places: np.ndarray = evaluation.targets["next_tokens"] >= 0
    return places


def losses(evaluation: Evaluation) -> np.ndarray:
    """Negative log-probability of each token in nats: float64 (N, tokens); 0 where none is judged."""
    import numpy as np

    return np.where(judged_tokens(evaluation), -evaluation.outputs["log_probability"].astype(np.float64), 0.0)


def first_choices(evaluation: Evaluation) -> np.ndarray:
    """The token that the model finds likeliest at each place: int32 (N, tokens)."""
    choices: np.ndarray = evaluation.outputs["likeliest"][:, :, 0]
    return choices


def token_divergence(evaluation: Evaluation, base: Evaluation) -> np.ndarray:
    """Kullback-Leibler divergence from the base's distribution at each place in nats: float64 (N, tokens), 0 elsewhere.

    Of distributions in which the tokens that are among the `LIKELIEST` of both stand for themselves and all others are
    taken together: never more than the divergence of the whole distributions, and equal to it for small vocabularies.
    """
    import numpy as np

    places = judged_tokens(evaluation)
    result = np.zeros(places.shape)
    ours, theirs = ({name: one.outputs[name][places] for name in _KEPT} for one in (evaluation, base))
    values = np.empty(int(places.sum()))
    for start in range(0, len(values), _PLACES):
        part = slice(start, start + _PLACES)
        same = theirs["likeliest"][part, :, None] == ours["likeliest"][part, None, :]
        common = same.any(axis=2)
        base_log = theirs["likeliest_log_probability"][part].astype(np.float64)
        log = np.where(same, ours["likeliest_log_probability"][part, None, :].astype(np.float64), 0).sum(axis=2)
        base_share, share = (np.where(common, np.exp(each), 0.0) for each in (base_log, log))
        with np.errstate(invalid="ignore"):  # of tokens that are impossible
            terms = np.where(base_share > 0, base_share * (base_log - log), 0.0).sum(axis=1)
        base_rest, rest = (np.maximum(1 - each.sum(axis=1), 0.0) for each in (base_share, share))
        # float32 keeps sums to a millionth: what is left below that is nothing
        other = np.where(
            base_rest > _ROUNDING,
            base_rest * np.log(np.maximum(base_rest, _ROUNDING) / np.maximum(rest, _ROUNDING)),
            0.0,
        )
        values[part] = np.maximum(terms + other, 0.0)
    result[places] = values
    return result


def per_token(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return float64 (N,) whose mean is sum(values) / sum(weights), and whose spread is that of this ratio over documents.

    A document's number is the ratio plus its own deviation from it, in shares of a mean document (the linearisation of a
    ratio of sums: Cochran, "Sampling Techniques", 1977, chapter 6). Differences of two models are therefore paired by
    document, and long documents count for as much as they have tokens.

    Args:
        values: (N, tokens) or (N,), summed over each document; 0 where nothing counts.
        weights: of the same shape: which tokens count, or how much each counts (bytes).
    """
    import numpy as np

    totals = np.asarray(values, np.float64).reshape(len(values), -1).sum(axis=1)
    sizes = np.asarray(weights, np.float64).reshape(len(values), -1).sum(axis=1)
    if not sizes.sum():
        return np.full(len(values), np.nan)
    with np.errstate(invalid="ignore"):
        ratio = totals.sum() / sizes.sum()
        rows: np.ndarray = ratio + (totals - ratio * sizes) / sizes.mean()
    return rows


def _share_right(evaluation: Evaluation) -> np.ndarray:
    """Share of tokens that are the first choice: float64 (N,); 0 where outputs are not numbers."""
    import numpy as np

    places = judged_tokens(evaluation)
    right = places & (first_choices(evaluation) == evaluation.targets["next_tokens"])
    share = right.sum(axis=1) / np.maximum(places.sum(axis=1), 1)
    return np.where(valid_rows(evaluation), share, 0.0)
