"""Networks of GGUF files, their weights in float32."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.core.download.gguf import GgufError, check_architecture
from pipeline.core.extras import install_command
from pipeline.models.api import ModelError

if TYPE_CHECKING:
    import torch

    from pipeline.core.download.gguf import GgufFacts


def gguf_config(file: Path) -> Any:
    """Return the configuration of transformers that a file describes.

    Raises:
        ModelError: it is damaged, or of an architecture that transformers cannot read.
    """
    from transformers import AutoConfig

    checked_facts(file)
    return AutoConfig.from_pretrained(str(file.parent), gguf_file=file.name, trust_remote_code=False)


def checked_facts(file: Path) -> GgufFacts:
    """As `check_architecture`, with the errors of models."""
    try:
        return check_architecture(file)
    except GgufError as error:
        raise ModelError(str(error)) from None


def load_gguf(file: Path, module: torch.nn.Module, kind: Any) -> tuple[Mapping[str, Any], dict[str, Any]]:
    """Let a network take the weights of a file, as floats; return transformers' report, and what there is to say.

    Args:
        file: of GGUF.
        module: built from `gguf_config`; its tensors are replaced.
        kind: the automatic class of transformers that builds such networks.

    Raises:
        ModelError: a package is not there.
    """
    import importlib.util

    import torch

    if importlib.util.find_spec("accelerate") is None:
        raise ModelError(f"{file}: GGUF files need the package `accelerate`: {install_command('language')}")
    loaded, report = kind.from_pretrained(
        str(file.parent),
        gguf_file=file.name,
        config=module.config,
        dtype=torch.float32,
        output_loading_info=True,
        trust_remote_code=False,
    )
    state = {name: tensor.contiguous() for name, tensor in loaded.state_dict().items()}
    module.load_state_dict(state, assign=True)
    module.tie_weights()  # type: ignore[operator]
    grid = checked_facts(file).grid
    return report, {} if grid is None else {"weights_from_grid": {"type": grid[0], "bits": grid[1]}}
