"""Groups of parameters that data sets of a person's own have in common."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

from pipeline.datasets.api import Count, Share
from pipeline.datasets.readers.decoding import Background, Bits
from pipeline.datasets.readers.geometry import ChannelOrder, Fit, Geometry, Interpolation, Rounding, default_resize
from pipeline.datasets.readers.image_arrays import Form, Statistic

DEFAULT_SIZE, DEFAULT_LENGTH = 224, 128
IMAGENET_MEAN = [0.485, 0.456, 0.406]
IMAGENET_STD = [0.229, 0.224, 0.225]


def statistic(value: Statistic | None, default: Statistic) -> Statistic:
    """A mean or deviation as it is set, zero too; the default where it is not."""
    return default if value is None else value


class _Group(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Columns(_Group):
    """Which column holds what. Only those of the task are read."""

    id: str | None = None
    """Of the instance; None: its place in the file."""
    split: str | None = None
    """train / calibration / evaluation (also validation, val, test); None: `shares` decide."""
    group: str | None = None
    """Rows with the same value (a patient, a document) go to the same split; None: every row for itself."""
    attributes: list[str] = []
    """For groups in the results."""
    label: str = "label"
    labels: list[str] = []
    """Several labels: a column of 0 and 1 for each; none: `label` holds lists."""
    targets: list[str] = []
    """Regression: a column for each number; none: `label` alone."""
    features: list[str] = []
    """Tables of numbers: the columns that models see."""
    text: str | list[str] = "text"
    """One column, or two for pairs of texts."""
    image: str = "image"
    """Paths relative to `picture.root`."""
    question: str = "question"
    context: str = "context"
    answers: str = "answers"
    """A text, a list of texts, or {text: [...], answer_start: [...]} as in SQuAD; also as JSON."""

    def identity(self) -> dict[str, Any]:
        """JSON-ready, for fingerprints: columns of several labels and of numbers only where there are any."""
        plain = self.model_dump()
        return {name: value for name, value in plain.items() if value or name not in ("labels", "targets", "features")}


class Text(_Group):
    """How text becomes a model's input."""

    tokenizer: str | None = None
    """A folder or a Hugging Face hub id. Tasks on text need one."""
    max_length: Annotated[int, Field(ge=4)] | None = None
    """Tokens; None: as many as the pretrained model takes, at most 512, or else 128."""
    padding: Literal["max_length", "longest"] | None = None
    """Whether texts are padded to `max_length`, or to the longest of the data; None: to `max_length`."""
    stride: Count = 64
    """Question answering: tokens that neighbouring windows of a long context share."""
    answer_tokens: Count = 30
    """Question answering: the longest answer."""
    token_type_ids: bool | None = None
    """Whether the model takes them; None: as the tokenizer says."""

    @property
    def longest(self) -> int:
        """The most tokens of an instance."""
        return self.max_length or DEFAULT_LENGTH

    def identity(self) -> dict[str, Any]:
        """JSON-ready, for fingerprints: all that decides what models see, but for the tokenizer's content."""
        return {
            "max_length": self.longest,
            "stride": self.stride,
            "answer_tokens": self.answer_tokens,
            "token_type_ids": self.token_type_ids,
            **({"padding": "longest"} if self.padding == "longest" else {}),
        }


class Picture(_Group):
    """How a picture file becomes a model's input: its shorter side resized, the middle cut out, levels normalised."""

    size: Count | None = None
    """None: the pretrained model's, or else 224; likewise all below that is None."""
    resize: Count | None = None
    """Length of the shorter side before the cut; None: size / 0.875, as is usual for ImageNet."""
    fit: Fit | None = None
    interpolation: Interpolation | None = None
    rounding: Rounding | None = None
    channel_order: ChannelOrder | None = None
    channels: Literal[1, 3] = 3
    mean: Statistic | None = None
    std: Statistic | None = None
    flip: bool = True
    """Mirror half of the training pictures."""
    bits: Bits | None = None
    """Bits that the levels of grey pictures of more than 8 bits use; None: as the files say, else all 16."""
    background: Background = "white"
    """Colour behind transparent pixels."""
    root: str | None = None
    """Folder that image paths start from; None: that of the table."""

    def form(self) -> Form:
        """How levels become a model's input."""
        return Form.of(
            size=self.size or DEFAULT_SIZE,
            channels=self.channels,
            mean=statistic(self.mean, IMAGENET_MEAN),
            std=statistic(self.std, IMAGENET_STD),
        )

    def geometry(self) -> Geometry:
        """How pictures are resized and cut."""
        size = self.size or DEFAULT_SIZE
        return Geometry(
            size,
            self.resize or default_resize(size),
            self.fit or "crop",
            self.interpolation or "bilinear",
            self.rounding or "nearest",
            self.channel_order or "rgb",
        )

    def identity(self) -> dict[str, Any]:
        """JSON-ready, for fingerprints: all that decides what models see."""
        return {
            "size": self.size or DEFAULT_SIZE,
            "resize": self.resize,
            "channels": self.channels,
            "mean": statistic(self.mean, IMAGENET_MEAN),
            "std": statistic(self.std, IMAGENET_STD),
            "flip": self.flip,
            **self.geometry().identity,
        }


Probability = Annotated[float, Field(gt=0, lt=1)]
Thresholds = Probability | dict[str, Probability]
Positive = Annotated[FiniteFloat, Field(gt=0)]


class Targets(_Group):
    """Settings of how numbers and sets of labels are judged, and numbers learned."""

    thresholds: Thresholds = 0.5
    """Several labels: the probability from which on a label is given, one for all or by label (others: 0.5)."""
    tolerance: Positive | list[Positive] | None = None
    """Regression: how far an estimate may be from its target and still be right, in the target's unit, one for each
    target; None: half of the standard deviation of the training targets."""
    standardise: bool = True
    """Regression: networks learn and give (target - mean) / deviation of the training targets; False: the target itself,
    as models of other tools do."""


class Features(_Group):
    """Settings of numbers of a table as a model's input."""

    standardise: bool = True
    """By mean and deviation of the training rows; False: as they are."""


class Shares(_Group):
    """How much of the data is held out where no split is given: by a hash of the id, so that it is stable."""

    evaluation: Share = 0.2
    calibration: Share = 0.1
