"""Networks of other people's kinds that no model type of the libraries gives as a classifier, for the builder `python`."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn.utils import parametrizations

CLASSES, TOKENS = 10, 100


class Whisper(nn.Module):
    """Whisper's encoder with its classifier of sounds."""

    def __init__(self) -> None:
        super().__init__()
        from transformers import WhisperConfig, WhisperForAudioClassification

        self.classifier = WhisperForAudioClassification(
            WhisperConfig(
                d_model=32, encoder_layers=2, encoder_attention_heads=4, encoder_ffn_dim=64, decoder_layers=1,
                decoder_attention_heads=4, decoder_ffn_dim=64, num_mel_bins=16, max_source_positions=16,
                classifier_proj_size=32, num_labels=CLASSES,
            )
        )  # fmt: skip

    def forward(self, input_features: torch.Tensor) -> torch.Tensor:
        """Return logits."""
        return self.classifier(input_features).logits


class Wav2Vec2(nn.Module):
    """Wav2Vec2's encoder with its classifier: its positions are a convolution under weight normalisation."""

    def __init__(self) -> None:
        super().__init__()
        from transformers import Wav2Vec2Config, Wav2Vec2ForSequenceClassification

        self.classifier = Wav2Vec2ForSequenceClassification(
            Wav2Vec2Config(
                hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64, conv_dim=(16, 16),
                conv_stride=(5, 2), conv_kernel=(10, 3), num_feat_extract_layers=2, num_conv_pos_embeddings=8,
                num_conv_pos_embedding_groups=2, classifier_proj_size=32, num_labels=CLASSES, mask_time_prob=0.0,
                layerdrop=0.0,
            )
        )  # fmt: skip

    def forward(self, input_values: torch.Tensor) -> torch.Tensor:
        """Return logits."""
        return self.classifier(input_values).logits


class ClipText(nn.Module):
    """The part of CLIP that reads, its projection taken for a classifier."""

    def __init__(self) -> None:
        super().__init__()
        from transformers import CLIPTextConfig, CLIPTextModelWithProjection

        self.text = CLIPTextModelWithProjection(
            CLIPTextConfig(
                vocab_size=TOKENS, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64,
                max_position_embeddings=16, projection_dim=CLASSES, eos_token_id=2,
            )
        )  # fmt: skip

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Return logits."""
        return self.text(input_ids=input_ids, attention_mask=attention_mask).text_embeds


class GroupNormal(nn.Module):
    """Two branches are concatenated, and normalised in groups across them."""

    def __init__(self, groups: int = 8) -> None:
        super().__init__()
        self.stem, self.narrow = nn.Conv2d(3, 16, 3, padding=1), nn.Conv2d(16, 16, 3, padding=1)
        self.wide = nn.Conv2d(16, 32, 3, padding=1)
        self.norm, self.mix, self.head = (
            nn.GroupNorm(groups, 48),
            nn.Conv2d(48, 32, 3, padding=1),
            nn.Linear(32, CLASSES),
        )

    def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """Return logits."""
        stem = torch.relu(self.stem(pixel_values))
        both = torch.relu(self.norm(torch.cat([self.narrow(stem), self.wide(stem)], 1)))
        return self.head(torch.relu(self.mix(both)).mean((2, 3)))


class Normed(nn.Module):
    """Convolutions and a linear layer whose weights are computed from others."""

    def __init__(self, how: str = "weight_norm") -> None:
        super().__init__()
        wrap: Any = {
            "weight_norm": parametrizations.weight_norm,
            "old_weight_norm": nn.utils.weight_norm,
            "spectral_norm": parametrizations.spectral_norm,
        }[how]
        self.first, self.second = wrap(nn.Conv2d(3, 16, 3, padding=1)), wrap(nn.Conv2d(16, 32, 3, padding=1))
        self.head = wrap(nn.Linear(32, CLASSES))

    def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """Return logits."""
        return self.head(torch.relu(self.second(torch.relu(self.first(pixel_values)))).mean((2, 3)))


class Shared(nn.Module):
    """A convolution that is called twice, and two linear layers with one weight."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.twice = nn.Conv2d(3, 16, 3, padding=1), nn.Conv2d(16, 16, 3, padding=1)
        self.left, self.right, self.head = nn.Linear(16, 16), nn.Linear(16, 16), nn.Linear(16, CLASSES)
        self.right.weight = self.left.weight

    def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """Return logits."""
        hidden = torch.relu(self.twice(torch.relu(self.stem(pixel_values))))
        hidden = torch.relu(self.twice(nn.functional.avg_pool2d(hidden, 2))).mean((2, 3))
        return self.head(torch.relu(self.right(torch.relu(self.left(hidden)))))


class Tied(nn.Module):
    """The output layer has the weight of the embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.mix = nn.Embedding(TOKENS, 32), nn.Linear(32, 32)
        self.words, self.head = nn.Linear(32, TOKENS, bias=False), nn.Linear(TOKENS, CLASSES)
        self.words.weight = self.embedding.weight

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Return logits."""
        mask = attention_mask.unsqueeze(-1).float()
        hidden = (torch.relu(self.mix(self.embedding(input_ids))) * mask).sum(1) / mask.sum(1)
        return self.head(torch.tanh(self.words(hidden)))


class Recurrent(nn.Module):
    """Reads a picture row by row."""

    def __init__(self, cell: str = "LSTM") -> None:
        super().__init__()
        self.cell = getattr(nn, cell)(96, 24, batch_first=True, num_layers=2, bidirectional=True)
        self.head = nn.Linear(48, CLASSES)

    def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """Return logits."""
        rows = pixel_values.transpose(1, 2).flatten(2)
        return self.head(self.cell(rows)[0].mean(1))


class Encoder(nn.Module):
    """torch's own transformer."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 32, 8, stride=8)
        layer = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True, dropout=0.0)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(32, CLASSES)

    def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """Return logits."""
        return self.head(self.encoder(self.patches(pixel_values).flatten(2).transpose(1, 2)).mean(1))


class Shuffled(nn.Module):
    """Grouped convolutions with a channel shuffle between them, and a transposed convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.first = nn.Conv2d(3, 32, 3, padding=1), nn.Conv2d(32, 32, 3, padding=1, groups=4)
        self.second, self.up = nn.Conv2d(32, 32, 1, groups=4), nn.ConvTranspose2d(32, 16, 2, stride=2)
        self.slope, self.head = nn.PReLU(16), nn.Linear(16, CLASSES)

    def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """Return logits."""
        hidden = torch.relu(self.first(torch.relu(self.stem(nn.functional.avg_pool2d(pixel_values, 2)))))
        count, channels, height, width = hidden.shape
        hidden = hidden.view(count, 4, channels // 4, height, width).transpose(1, 2).reshape(hidden.shape)
        return self.head(self.slope(self.up(torch.relu(self.second(hidden)))).mean((2, 3)))


class Sound(nn.Module):
    """Convolutions over time."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm = nn.Conv1d(3, 16, 5, padding=2), nn.BatchNorm1d(16)
        self.second, self.head = nn.Conv1d(16, 32, 3, stride=2, groups=2), nn.Linear(32, CLASSES)

    def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """Return logits."""
        hidden = torch.relu(self.norm(self.first(pixel_values.flatten(2))))
        return self.head(torch.relu(self.second(hidden)).mean(2))


def of_timm(network: str) -> nn.Module:
    """Return an architecture of timm, smaller than those which it has names for."""
    from functools import partial

    from timm.layers import GroupNormAct
    from timm.models import byobnet, mlp_mixer, nfnet, regnet, resnet, resnetv2, vgg

    classes = {"num_classes": CLASSES}
    mixer = partial(mlp_mixer.MlpMixer, **classes, img_size=32, patch_size=8, num_blocks=2, embed_dim=32)
    gate = partial(mlp_mixer.GatedMlp, gate_layer=mlp_mixer.SpatialGatingUnit)
    repvgg = byobnet.ByoModelCfg(
        blocks=tuple(byobnet.ByoBlockCfg(type="rep", d=1, c=width, s=2, gs=0) for width in (16, 32)),
        stem_type="rep", stem_chs=16,
    )  # fmt: skip
    make_network: Any = {
        "MLP-Mixer": mixer,
        "ResMLP": partial(mixer, mlp_ratio=4, block_layer=mlp_mixer.ResBlock, norm_layer=mlp_mixer.Affine),
        "gMLP": partial(mixer, mlp_ratio=6, block_layer=mlp_mixer.SpatialGatingBlock, mlp_layer=gate),
        "RegNetY": partial(
            regnet.RegNet, regnet.RegNetCfg(w0=8, wa=12, wm=2, depth=5, group_size=8, se_ratio=0.25), **classes
        ),
        "ResNeXt": partial(
            resnet.ResNet, resnet.Bottleneck, (1, 1, 1, 1), channels=(16, 16, 32, 32), cardinality=4, base_width=16, **classes
        ),
        "ResNetV2": partial(
            resnetv2.ResNetV2, [1, 1], channels=(64, 128), stem_chs=32, norm_layer=partial(GroupNormAct, num_groups=8),
            **classes,
        ),
        "NFNet": partial(
            nfnet.NormFreeNet,
            nfnet.NfCfg(depths=(1, 1), channels=(32, 64), stem_chs=16, group_size=8, attn_layer="se", attn_kwargs={}, act_layer="relu"),
            **classes,
        ),
        "RepVGG": partial(byobnet.ByobNet, repvgg, **classes),
        "VGG": partial(vgg.VGG, [16, "M", 32, "M"], norm_layer=nn.BatchNorm2d, mlp_ratio=0.015625, **classes),
    }[network]  # fmt: skip
    module: nn.Module = make_network()
    return module


def make(network: str, **options: Any) -> nn.Module:
    """Return a network by the name of its class."""
    kinds = (
        Whisper, Wav2Vec2, ClipText, GroupNormal, Normed, Shared, Tied, Recurrent, Encoder, Shuffled, Sound,
    )  # fmt: skip
    module: nn.Module = {kind.__name__: kind for kind in kinds}[network](**options)
    return module
