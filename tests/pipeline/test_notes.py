"""What a run says before and after it about how inputs were read."""

import pytest

from pipeline.stages.timing import lengths_note
from pipeline.store.records.run_records import TimingSamples


def _timed(model, tokens, batch=1):
    runtime = {"runtime": "onnxruntime"} | ({} if tokens is None else {"tokens": tokens})
    fields = dict.fromkeys(TimingSamples.__dataclass_fields__)
    conditions = {"preset": {}, "runtime": runtime}
    return TimingSamples(**{**fields, "model_key": model, "batch_size": batch, "conditions": conditions})


@pytest.mark.parametrize(
    ("records", "said"),
    [
        (
            [_timed("a", 12.5), _timed("b", 12.5), _timed("a", 16.0, batch=8)],
            "of single texts of 12.5 tokens on average",
        ),
        ([_timed("a", 12.5), _timed("b", 128.0)], "of single texts of 12.5 to 128, by model, tokens on average"),
        ([_timed("a", None)], None),
        ([], None),
    ],
)
def test_the_length_of_timed_texts_is_said(records, said):
    notes = lengths_note(records)
    assert (said in notes[0]) if said else (notes == [])
