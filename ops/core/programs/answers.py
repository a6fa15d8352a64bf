"""How programs write answers: as tasks judge them."""

from __future__ import annotations

__all__ = ["CLASS", "LABELS", "NUMBERS", "OUTPUTS", "SPAN", "WRITTEN"]

CLASS = """
def answer(inputs, row):  # the likeliest class; none where the outputs are not numbers
    logits = run(inputs)["logits"][0].astype(np.float64)
    if not np.isfinite(logits.max()):
        return {"answer": None}
    shares = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
    probabilities = dict(zip(SETTINGS["classes"], shares.tolist()))
    return {"answer": SETTINGS["classes"][logits.argmax()], "probability": shares.max(), "probabilities": probabilities}
"""
LABELS = """
def answer(inputs, row):  # the labels whose probability reaches their threshold; none where the outputs are not numbers
    logits = run(inputs)["logits"][0].astype(np.float64)
    if not np.isfinite(logits.max()):
        return {"answer": None}
    by_sigmoid = SETTINGS["outputs"]["logits"] == "independent"  # the model took it: `run` gives logarithms
    shares = np.exp(logits) if by_sigmoid else 1 / (1 + np.exp(-np.clip(logits, -700, 700)))
    given = shares >= np.array(SETTINGS["thresholds"])
    names = [name for name, holds in zip(SETTINGS["classes"], given) if holds]
    probabilities = dict(zip(SETTINGS["classes"], shares.tolist()))
    weakest = np.where(given, shares, 1 - shares).min()
    thresholds = dict(zip(SETTINGS["classes"], SETTINGS["thresholds"]))
    said = {"answer": "|".join(names) or "(none)", "probability": weakest}
    return {**said, "probabilities": probabilities, "thresholds": thresholds}
"""
NUMBERS = """
def answer(inputs, row):  # the estimates in the targets' units; none where the outputs are not numbers
    values = run(inputs)["logits"][0] * np.array(SETTINGS["target_scale"]) + np.array(SETTINGS["target_centre"])
    if not np.isfinite(values).all():
        return {"answer": None}
    named = dict(zip(SETTINGS["targets"], values.tolist()))
    return {"answer": ", ".join(f"{value:.7g}" for value in values), "values": named}
"""
SPAN = """
def answer(inputs, row):  # the span of the highest start plus end; nothing, where the first token may win and does
    outputs, places, text, best = run(inputs), inputs["places"], "", -np.inf
    starts, ends = outputs["start_logits"], outputs["end_logits"]
    nothing = (starts[:, 0] + ends[:, 0]).min()
    starts, ends = (np.where((places[:, :, 0] < 0) | np.isnan(part), -np.inf, part) for part in (starts, ends))
    for window, more in np.ndindex(len(starts), min(SETTINGS["answer_tokens"], starts.shape[1])):
        sums = starts[window, : starts.shape[1] - more] + ends[window, more:]
        at = int(sums.argmax())
        if sums[at] > best:
            best, text = sums[at], row["context"][places[window, at, 0] : places[window, at + more, 1]]
    return {"answer": "" if SETTINGS["unanswerable"] and nothing > best else text}
"""
WRITTEN = """
def answer(inputs, row):  # greedy search: all tokens are guessed at once, and the guess given back until it stays
    (start, end, pad), length = SETTINGS["special"], SETTINGS["answer_tokens"]
    tokens, guess = None, np.full((1, length), pad)
    while not np.array_equal(tokens, guess):
        tokens = guess
        before = np.concatenate([[[start]], tokens[:, :-1]], axis=1)
        guess = run({**inputs, "decoder_input_ids": before})["logits"].argmax(axis=2)
        guess = np.where(np.cumsum(guess == end, axis=1) - (guess == end) > 0, pad, guess)
    return {"answer": TOKENIZER.decode(tokens[0].tolist(), skip_special_tokens=True).strip()}
"""
OUTPUTS = """
def answer(inputs, row):  # the outputs, as they are
    return {"outputs": {name: values[0].tolist() for name, values in run(inputs).items()}}
"""
