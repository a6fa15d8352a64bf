"""Architectures of other people in their smallest configuration, as entries of conf/model, and what they take."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

PICTURES = {"pixel_values": ("float32", (3, 32, 32))}
TEXTS = {"input_ids": ("int64", (12,)), "attention_mask": ("int64", (12,))}
WRITTEN = {**TEXTS, "decoder_input_ids": ("int64", (6,))}
IMAGES, SENTENCES = "image-classification", "text-classification"
_NETWORKS = "scripts.bench.matrix.networks"


@dataclass(frozen=True, slots=True)
class Subject:
    """One architecture."""

    name: str
    entry: Mapping[str, Any]
    inputs: Mapping[str, tuple[str, tuple[int, ...]]] = field(default_factory=lambda: PICTURES)
    task: str = IMAGES
    library: str = "transformers"
    """The package that it is from."""


def _transformers(name: str, *, architecture: str = "", texts: bool = False, **config: Any) -> Subject:
    entry = {"name": name, "builder": "huggingface", "architecture": architecture or name, "config": config}
    return Subject(name, entry, TEXTS, SENTENCES) if texts else Subject(name, entry)


def _text(name: str, *, architecture: str = "", **config: Any) -> Subject:
    return _transformers(name, architecture=architecture, texts=True, vocab_size=100, pad_token_id=0, **config)


def _small_timm(network: str) -> Subject:
    entry = {"name": network, "builder": "python", "factory": f"{_NETWORKS}:of_timm", "arguments": {"network": network}}
    return Subject(network, entry, library="timm")


def _timm(name: str, architecture: str, **config: Any) -> Subject:
    entry = {"name": name, "builder": "timm", "architecture": architecture, "config": config}
    return Subject(name, entry, library="timm")


def _own(
    name: str,
    network: str,
    *,
    inputs: Mapping[str, Any] = PICTURES,
    task: str = IMAGES,
    library: str = "torch",
    **options: Any,
) -> Subject:
    arguments = {"network": network, **options}
    entry = {"name": name, "builder": "python", "factory": f"{_NETWORKS}:make", "arguments": arguments}
    return Subject(name, entry, inputs, task, library=library)


_PATCHES = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "patch_size": 8,
}
_BERT = {
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64,
    "max_position_embeddings": 16,
}  # fmt: skip
_DECODER = {
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64,
    "max_position_embeddings": 16,
}  # fmt: skip
_STAGES = {"hidden_sizes": [16, 32], "depths": [1, 1]}

SUBJECTS: tuple[Subject, ...] = (
    # networks of torch alone, and parts of other models
    _own("groups concatenated", "GroupNormal"),
    _own("weight norm", "Normed"),
    _own("weight norm (hooks)", "Normed", how="old_weight_norm"),
    _own("spectral norm", "Normed", how="spectral_norm"),
    _own("shared weights", "Shared"),
    _own("tied embedding", "Tied", inputs=TEXTS, task=SENTENCES),
    _own("LSTM", "Recurrent"),
    _own("GRU", "Recurrent", cell="GRU"),
    _own("torch encoder", "Encoder"),
    _own("grouped, transposed", "Shuffled"),
    _own("Conv1d", "Sound"),
    _own("Whisper encoder", "Whisper", inputs={"input_features": ("float32", (16, 32))}, library="transformers"),
    _own("Wav2Vec2", "Wav2Vec2", inputs={"input_values": ("float32", (400,))}, library="transformers"),
    _own("CLIP text", "ClipText", library="transformers", inputs=TEXTS, task=SENTENCES),
    # pictures, from transformers
    _transformers("resnet", embedding_size=16, layer_type="basic", **_STAGES),
    _transformers("mobilenet_v1", depth_multiplier=0.125, min_depth=8),
    _transformers("mobilenet_v2", depth_multiplier=0.125, min_depth=8, depth_divisible_by=8),
    _transformers("convnext", patch_size=2, num_stages=2, **_STAGES),
    _transformers("convnextv2", patch_size=2, num_stages=2, **_STAGES),
    _transformers("swin", patch_size=2, embed_dim=16, depths=[2, 1], num_heads=[2, 4], window_size=4),
    _transformers("swinv2", patch_size=2, embed_dim=16, depths=[2, 1], num_heads=[2, 4], window_size=4),
    _transformers("vit", **_PATCHES),
    _transformers("deit", **_PATCHES),
    _transformers("beit", **_PATCHES, use_relative_position_bias=True),
    _transformers("dinov2", hidden_size=32, num_hidden_layers=2, num_attention_heads=4, mlp_ratio=2, patch_size=8),
    _transformers(
        "CLIP vision",
        architecture="clip",
        vision_config={**_PATCHES, "image_size": 32},
        text_config={"vocab_size": 100, **_BERT},
    ),
    _transformers("regnet", embedding_size=16, hidden_sizes=[16, 32], depths=[1, 1], groups_width=8),
    _transformers(
        "efficientnet",
        width_coefficient=0.25, depth_coefficient=0.1, hidden_dim=320, kernel_sizes=[3, 5], in_channels=[32, 16],
        out_channels=[16, 24], strides=[1, 2], depthwise_padding=[], num_block_repeats=[1, 2], expand_ratios=[1, 6],
    ),
    _transformers("poolformer", num_encoder_blocks=2, depths=[1, 1], hidden_sizes=[16, 32], patch_sizes=[3, 3], strides=[2, 2], padding=[1, 1]),
    _transformers("levit", hidden_sizes=[32, 48, 64], num_attention_heads=[2, 3, 4], depths=[1, 1, 1], key_dim=[8, 8, 8]),
    # texts, from transformers
    _text("bert", **_BERT),
    _text("roberta", **{**_BERT, "max_position_embeddings": 20}),
    _text("electra", **_BERT, embedding_size=16),
    _text("albert", **_BERT, embedding_size=16),
    _text("distilbert", dim=32, n_layers=2, n_heads=4, hidden_dim=64, max_position_embeddings=16),
    _text("deberta-v2", **_BERT, relative_attention=True, pos_att_type=["p2c", "c2p"]),
    _text("modernbert", **{**_BERT, "num_hidden_layers": 3}, local_attention=4),
    _text("gpt2", n_embd=32, n_layer=2, n_head=4, n_positions=16, bos_token_id=1, eos_token_id=2),
    _text("llama", **_DECODER, num_key_value_heads=2),
    _text("qwen2", **_DECODER, num_key_value_heads=1),
    _text("gpt_neox", **_DECODER),
    _text("opt", **{key: value for key, value in _DECODER.items() if key != "intermediate_size"}, ffn_dim=64, word_embed_proj_dim=32),
    Subject(
        "t5",
        {
            "name": "t5", "builder": "huggingface", "architecture": "t5",
            "config": {"vocab_size": 100, "d_model": 32, "d_ff": 64, "d_kv": 8, "num_layers": 2, "num_heads": 4},
        },
        WRITTEN,
        "generative-question-answering",
    ),
    Subject(
        "bart",
        {
            "name": "bart", "builder": "huggingface", "architecture": "bart",
            "config": {
                "vocab_size": 100, "d_model": 32, "encoder_layers": 2, "decoder_layers": 2, "max_position_embeddings": 16,
                "encoder_attention_heads": 4, "decoder_attention_heads": 4, "encoder_ffn_dim": 64, "decoder_ffn_dim": 64,
                "pad_token_id": 0, "eos_token_id": 2, "bos_token_id": 1, "decoder_start_token_id": 2,
                "forced_eos_token_id": 2,
            },
        },
        WRITTEN,
        "generative-question-answering",
    ),
    Subject(
        "bert, spans",
        {"name": "bert, spans", "builder": "huggingface", "architecture": "bert", "config": {"vocab_size": 100, **_BERT}},
        TEXTS,
        "question-answering",
    ),
    # pictures, from timm
    _small_timm("MLP-Mixer"),
    _small_timm("ResMLP"),
    _small_timm("gMLP"),
    _small_timm("RegNetY"),
    _small_timm("ResNeXt"),
    _small_timm("ResNetV2"),
    _small_timm("NFNet"),
    _small_timm("RepVGG"),
    _small_timm("VGG"),
    _timm("MobileNetV3", "mobilenetv3_small_050"),
    _timm("EfficientNet-Lite", "efficientnet_lite0"),
    _timm("GhostNet", "ghostnet_050"),
    _timm("DenseNet", "densenet121", growth_rate=8, block_config=[2, 2]),
    _timm("ConvNeXt", "convnext_atto", depths=[1, 1, 1, 1], dims=[16, 16, 32, 32]),
    _timm("ViT", "vit_tiny_patch16_224", img_size=32, patch_size=8, embed_dim=32, depth=2, num_heads=4),
    _timm("Swin", "swin_tiny_patch4_window7_224", img_size=32, window_size=4, embed_dim=16, depths=[2, 1], num_heads=[2, 4], patch_size=2),
)  # fmt: skip
