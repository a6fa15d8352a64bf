"""A network of the user's whose forward pass raises: the message names the model, its forward pass and the line."""

import re

import pytest
from torch import nn

from pipeline.models.api import BUILDERS, ModelError
from pipeline.models.build import build
from tests.pipeline.models.conftest import PICTURES


@pytest.mark.parametrize("error", [ZeroDivisionError("division by zero"), AssertionError("no"), RuntimeError("shape")])
def test_the_model_and_its_forward_pass_are_named(monkeypatch, error):
    class Bad(nn.Module):
        def forward(self, x):
            raise error

    def raising(need):
        return Bad()

    list(BUILDERS)
    monkeypatch.setattr(BUILDERS, "_items", {**BUILDERS._items, "raising": raising})
    said = re.escape(f"{type(error).__name__}: {error}")
    pattern = rf"Model 'bad': the network does not run on .*: its forward pass raises {said} \(.*fails\.py:\d+\)"
    with pytest.raises(ModelError, match=pattern):
        build({"name": "bad", "builder": "raising"}, PICTURES)
