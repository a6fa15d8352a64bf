"""The head of a GGUF file: architecture, context, padding, the types of its tensors, and its tokenizer."""

from __future__ import annotations

import contextlib
import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.core.download.checksums import file_digests
from pipeline.core.errors import BouillonError, reason
from pipeline.core.extras import install_command

if TYPE_CHECKING:
    from gguf import GGUFReader

SUFFIX = ".gguf"
_VERSION = 1
"""Of how tokenizers are made of these files."""
_FLOATS = ("F32", "F16", "BF16", "F64")
_BITS = re.compile(r"[A-Z]+(\d)")


class GgufError(BouillonError, ValueError):
    """A GGUF file cannot be used: the message names it, the problem and what to do."""


@dataclass(frozen=True, slots=True)
class GgufFacts:
    """Facts of a model from the head of its file."""

    architecture: str
    """As llama.cpp calls it."""
    longest: int | None
    """Tokens that it takes."""
    pad: int | None
    """The token for padding."""
    types: Mapping[str, int]
    """Type of tensors (`Q4_1`, `F32`) -> how many weights are stored so, the most first."""

    @property
    def grid(self) -> tuple[str, int] | None:
        """The type of integers that most weights are stored in, and its bits; None where they are floats."""
        name = next((each for each in self.types if each not in _FLOATS), None)
        if name is None:
            return None
        bits = _BITS.match(name)
        return name, int(bits[1]) if bits else 8


def is_gguf(name: str | Path) -> bool:
    """Whether a name is that of a GGUF file."""
    return Path(name).suffix == SUFFIX


def gguf_facts(file: Path) -> GgufFacts:
    """Read the head of a file; no tensor is read.

    Raises:
        GgufError: it is damaged, or the package that reads such files is not installed.
    """
    reader = _reader(file)
    architecture = str(_value(reader, "general.architecture") or "")
    if not architecture:
        raise GgufError(f"{file}: does not say of which architecture it is (general.architecture)")
    counts: Counter[str] = Counter()
    for tensor in reader.tensors:
        counts[tensor.tensor_type.name] += int(tensor.n_elements)
    longest, pad = (
        _value(reader, key) for key in (f"{architecture}.context_length", "tokenizer.ggml.padding_token_id")
    )
    return GgufFacts(
        architecture,
        None if longest is None else int(longest),
        None if pad is None else int(pad),
        dict(counts.most_common()),
    )


def check_architecture(file: Path) -> GgufFacts:
    """As `gguf_facts`, of an architecture that can be built.

    Raises:
        GgufError: as `gguf_facts`, or transformers does not know the architecture.
    """
    from transformers.modeling_gguf_pytorch_utils import GGUF_SUPPORTED_ARCHITECTURES

    from ops.core.registry import nearest

    facts = gguf_facts(file)
    if _plain(facts.architecture) not in {_plain(name) for name in GGUF_SUPPORTED_ARCHITECTURES}:
        names = sorted(GGUF_SUPPORTED_ARCHITECTURES)
        raise GgufError(
            f"{file}: a GGUF file of architecture '{facts.architecture}', which transformers cannot read."
            f"{nearest(facts.architecture, names)} It reads: {', '.join(names)}"
        )
    return facts


def _plain(architecture: str) -> str:
    """llama.cpp writes `qwen2moe` and `gpt-oss`, transformers `qwen2_moe` and `gpt_oss`."""
    return architecture.replace("-", "").replace("_", "").removesuffix("encoder")


def tokenizer_of(file: Path, cache: Path) -> Path:
    """Return a folder with the tokenizer of a file as transformers saves it, made once and kept below `cache`.

    Raises:
        GgufError: the file holds none that transformers can read.
    """
    from transformers import AutoTokenizer

    if not file.is_file():
        raise GgufError(f"{file}: there is no such file")
    content = file_digests(file.parent, [file.name], cache / "hashes")[file.name]
    place = cache.expanduser() / "derived" / f"gguf-tokenizer-{_VERSION}-{content[:32]}"
    if (place / "tokenizer.json").is_file():
        return place
    check_architecture(file)
    try:
        tokenizer = AutoTokenizer.from_pretrained(str(file.parent), gguf_file=file.name, trust_remote_code=False)
    except Exception as error:  # noqa: BLE001 - boundary: the conversion of another program's file may fail in any way
        raise GgufError(f"{file}: no tokenizer can be made of it ({reason(error)})") from None
    if tokenizer.pad_token is None and tokenizer.eos_token is not None:
        tokenizer.pad_token = tokenizer.eos_token  # behind the end nothing is read: any token will do
    place.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(dir=place.parent, prefix=".tmp-"))
    try:
        tokenizer.save_pretrained(beside)
        with contextlib.suppress(OSError):  # another process made it meanwhile
            beside.rename(place)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return place


def _reader(file: Path) -> GGUFReader:
    try:
        from gguf import GGUFReader
    except ImportError:
        raise GgufError(f"{file}: GGUF files need the package `gguf`: {install_command('language')}") from None
    try:
        return GGUFReader(file)
    except Exception as error:  # noqa: BLE001 - boundary: a damaged file makes the reader raise anything
        raise GgufError(f"{file}: damaged or no GGUF file ({reason(error)})") from None


def _value(reader: GGUFReader, key: str) -> Any:
    field = reader.get_field(key)
    return None if field is None else field.contents()
