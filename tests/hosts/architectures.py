"""Tiny random models of every hosted architecture. How architectures differ is data: one line each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
import transformers
from torch import Tensor

WORDS, LENGTH, BATCH, IMAGE = 96, 9, 2, 90

LLAMA = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": WORDS,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
GPT2 = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64}
ROPE = {"rope_type": "default", "rope_theta": 1e4}
ALTERNATING = {"sliding_window": 5, "layer_types": ["sliding_attention", "full_attention"]}
MAMBA = {"attn_layer_indices": [1], "mamba_n_heads": 4, "mamba_d_head": 16, "mamba_d_state": 8, "mamba_n_groups": 1}
BERT = {**LLAMA, "type_vocab_size": 2}
DISTILBERT = {"dim": 32, "hidden_dim": 48, "n_layers": 2, "n_heads": 4}
MODERNBERT = {"local_attention": 6, "global_attn_every_n_layers": 2, "cls_token_id": 1, "sep_token_id": 2}
MOE = {**LLAMA, "moe_intermediate_size": 16, "num_experts_per_tok": 2}
BART = {
    "d_model": 32,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 48,
    "decoder_ffn_dim": 48,
    "vocab_size": WORDS,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "decoder_start_token_id": 1,
    "forced_eos_token_id": None,
}
VIT = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "image_size": 16,
    "patch_size": 8,
    "num_channels": 3,
}


@dataclass(frozen=True)
class Architecture:
    """One row of the table.

    Attributes:
        model: name of a transformers class.
        kind: ``decoder``, ``encoder``, ``seq2seq``, ``vision``, ``audio``, ``dual``, ``vlm`` or ``speech`` (a seq2seq
            that listens).
        config: arguments of the configuration class; nested dictionaries are sub-configurations.
        inputs: further inputs, made from the batch size.
        missing: properties that make no sense here, with the reason.
    """

    model: str
    kind: str
    config: dict[str, Any]
    inputs: Callable[[int], dict[str, Tensor]] | None = None
    missing: dict[str, str] = field(default_factory=dict)

    @property
    def sides(self) -> tuple[str, ...]:
        """Sides on which the model itself allows padding; absolute positions in an encoder forbid the left."""
        relative = self.kind in ("decoder", "vlm") or self.model.startswith("T5")
        return ("left", "right") if relative else ("right",)

    def without(self, name: str) -> str | None:
        """Why a property makes no sense here, None if it does."""
        if name == "generation" and self.kind in ("encoder", "dual"):
            return "does not generate"
        return self.missing.get(name)


def pixels(*shape: int) -> Callable[[int], dict[str, Tensor]]:
    return lambda batch: {"pixel_values": torch.randn(batch, *shape)}


def qwen_patches(batch: int) -> dict[str, Tensor]:
    """Two images a sample are 2 x 2 and 2 x 4 patches of 4 pixels; 2 x 2 patches make one token."""
    grid = torch.tensor([[1, 2, 2], [1, 2, 4]]).repeat(batch, 1)
    return {
        "pixel_values": torch.randn(int(grid.prod(1).sum()), 3 * 2 * 4 * 4),
        "image_grid_thw": grid,
    }


QWEN_TEXT = {**LLAMA, "rope_parameters": {**ROPE, "mrope_section": [1, 1, 2]}}
QWEN_VISION = {"depth": 2, "embed_dim": 32, "hidden_size": 32, "num_heads": 4, "mlp_ratio": 1, "patch_size": 4}
QWEN_IDS = {"image_token_id": IMAGE, "video_token_id": 91, "vision_start_token_id": 92, "vision_end_token_id": 93}
NO_TEXT = {"padding": "no text input", "generation": "does not generate"}
CASES: dict[str, Architecture] = {
    "llama": Architecture("LlamaForCausalLM", "decoder", LLAMA),
    "mistral": Architecture("MistralForCausalLM", "decoder", {**LLAMA, "sliding_window": 5}),
    "qwen2": Architecture("Qwen2ForCausalLM", "decoder", LLAMA),
    "qwen3": Architecture("Qwen3ForCausalLM", "decoder", {**LLAMA, "head_dim": 16}),
    "qwen3_moe": Architecture("Qwen3MoeForCausalLM", "decoder", {**MOE, "num_experts": 4}),
    "gemma2": Architecture(
        "Gemma2ForCausalLM",
        "decoder",
        {**LLAMA, "head_dim": 8, "sliding_window": 5, "attn_logit_softcapping": 2.0, "query_pre_attn_scalar": 8},
    ),
    "gemma3": Architecture(
        "Gemma3ForCausalLM",
        "decoder",
        {**LLAMA, "head_dim": 8, **ALTERNATING},
    ),
    "gemma3n": Architecture(
        "Gemma3nForCausalLM",
        "decoder",
        {
            **LLAMA,
            "head_dim": 8,
            "num_hidden_layers": 4,
            "num_kv_shared_layers": 2,
            "sliding_window": 5,
            "layer_types": ["sliding_attention", "full_attention"] * 2,
            "vocab_size_per_layer_input": WORDS,
            "hidden_size_per_layer_input": 8,
            "laurel_rank": 4,
            "activation_sparsity_pattern": [0.0] * 4,
        },
    ),
    "phi3": Architecture("Phi3ForCausalLM", "decoder", LLAMA),
    "gpt2": Architecture("GPT2LMHeadModel", "decoder", {**LLAMA, **GPT2}),
    "gpt_neox": Architecture("GPTNeoXForCausalLM", "decoder", LLAMA),
    "opt": Architecture("OPTForCausalLM", "decoder", {**LLAMA, "ffn_dim": 48, "word_embed_proj_dim": 32}),
    "olmo2": Architecture("Olmo2ForCausalLM", "decoder", LLAMA),
    "cohere": Architecture("CohereForCausalLM", "decoder", LLAMA),
    "starcoder2": Architecture("Starcoder2ForCausalLM", "decoder", {**LLAMA, "sliding_window": 5}),
    "granite": Architecture("GraniteForCausalLM", "decoder", LLAMA),
    "smollm3": Architecture("SmolLM3ForCausalLM", "decoder", {**LLAMA, "no_rope_layers": [1, 0]}),
    "gpt_oss": Architecture(
        "GptOssForCausalLM",
        "decoder",
        {**LLAMA, "head_dim": 8, "sliding_window": 5, "num_local_experts": 4, "num_experts_per_tok": 2},
    ),
    "deepseek_v3": Architecture(
        "DeepseekV3ForCausalLM",
        "decoder",
        {
            **MOE,
            "num_key_value_heads": 4,
            "n_routed_experts": 4,
            "n_group": 1,
            "topk_group": 1,
            "first_k_dense_replace": 1,
            "kv_lora_rank": 8,
            "q_lora_rank": 8,
            "qk_rope_head_dim": 4,
            "qk_nope_head_dim": 8,
            "v_head_dim": 6,
        },
    ),
    "mixtral": Architecture("MixtralForCausalLM", "decoder", {**LLAMA, "num_local_experts": 4}),
    "gpt_bigcode": Architecture("GPTBigCodeForCausalLM", "decoder", {**LLAMA, **GPT2, "multi_query": True}),
    "qwen3_next": Architecture(
        "Qwen3NextForCausalLM",
        "decoder",
        {
            **MOE,
            "head_dim": 16,
            "num_experts": 4,
            "shared_expert_intermediate_size": 16,
            "num_hidden_layers": 2,
            "layer_types": ["linear_attention", "full_attention"],
            "linear_num_key_heads": 2,
            "linear_num_value_heads": 4,
            "linear_key_head_dim": 8,
            "linear_value_head_dim": 8,
        },
    ),
    "llama4_text": Architecture(
        "Llama4ForCausalLM",
        "decoder",
        {
            **LLAMA,
            "head_dim": 8,
            "intermediate_size_mlp": 48,
            "num_local_experts": 2,
            "attention_chunk_size": 4,
            "no_rope_layers": [1, 0],
            "layer_types": ["chunked_attention", "full_attention"],
        },
    ),
    "phi": Architecture("PhiForCausalLM", "decoder", LLAMA),
    "stablelm": Architecture("StableLmForCausalLM", "decoder", LLAMA),
    "helium": Architecture("HeliumForCausalLM", "decoder", {**LLAMA, "head_dim": 8}),
    "cohere2": Architecture("Cohere2ForCausalLM", "decoder", {**LLAMA, **ALTERNATING}),
    "diffllama": Architecture("DiffLlamaForCausalLM", "decoder", LLAMA),
    "doge": Architecture("DogeForCausalLM", "decoder", LLAMA),
    "bamba": Architecture("BambaForCausalLM", "decoder", {**LLAMA, **MAMBA}),
    "bert": Architecture("BertModel", "encoder", BERT),
    "xlm_roberta": Architecture("XLMRobertaModel", "encoder", BERT),
    "esm": Architecture("EsmModel", "encoder", {**BERT, "mask_token_id": 3}),
    "albert": Architecture("AlbertModel", "encoder", {**BERT, "embedding_size": 16}),
    "roberta": Architecture("RobertaModel", "encoder", BERT),
    "electra": Architecture("ElectraModel", "encoder", {**BERT, "embedding_size": 32}),
    "distilbert": Architecture("DistilBertModel", "encoder", {**BERT, **DISTILBERT}),
    "modernbert": Architecture(
        "ModernBertModel",
        "encoder",
        {**BERT, **MODERNBERT},
    ),
    "t5": Architecture(
        "T5ForConditionalGeneration",
        "seq2seq",
        {**LLAMA, "d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 2, "num_heads": 4, "decoder_start_token_id": 1},
    ),
    "bart": Architecture("BartForConditionalGeneration", "seq2seq", BART),
    "mbart": Architecture("MBartForConditionalGeneration", "seq2seq", BART),
    "pegasus": Architecture("PegasusForConditionalGeneration", "seq2seq", BART),
    "marian": Architecture("MarianMTModel", "seq2seq", {**BART, "decoder_vocab_size": WORDS}),
    "whisper": Architecture(
        "WhisperForConditionalGeneration",
        "speech",
        {**BART, "num_mel_bins": 4, "max_source_positions": 10, "max_target_positions": 32},
        lambda batch: {"input_features": torch.randn(batch, 4, 20)},
        {"padding": "audio has one length"},
    ),
    "wav2vec2": Architecture(
        "Wav2Vec2Model",
        "audio",
        {
            **VIT,
            "conv_dim": [16, 16],
            "conv_kernel": [4, 3],
            "conv_stride": [4, 2],
            "num_feat_extract_layers": 2,
            "num_conv_pos_embeddings": 4,
            "num_conv_pos_embedding_groups": 2,
            "do_stable_layer_norm": False,
        },
        lambda batch: {"input_values": torch.randn(batch, 100)},
        NO_TEXT,
    ),
    "deit": Architecture("DeiTModel", "vision", VIT, pixels(3, 16, 16), NO_TEXT),
    "beit": Architecture("BeitModel", "vision", VIT, pixels(3, 16, 16), NO_TEXT),
    "vit": Architecture("ViTModel", "vision", VIT, pixels(3, 16, 16), NO_TEXT),
    "dinov2": Architecture("Dinov2Model", "vision", VIT, pixels(3, 16, 16), NO_TEXT),
    "swin": Architecture(
        "SwinModel",
        "vision",
        {"image_size": 32, "patch_size": 4, "embed_dim": 16, "depths": [2, 1], "num_heads": [2, 4], "window_size": 4},
        pixels(3, 32, 32),
        NO_TEXT,
    ),
    "clip": Architecture(
        "CLIPModel", "dual", {"text_config": BERT, "vision_config": VIT, "projection_dim": 16}, pixels(3, 16, 16)
    ),
    "siglip": Architecture("SiglipModel", "dual", {"text_config": BERT, "vision_config": VIT}, pixels(3, 16, 16)),
    "llava": Architecture(
        "LlavaForConditionalGeneration",
        "vlm",
        {
            "text_config": {**LLAMA, "model_type": "llama"},
            "vision_config": {**VIT, "model_type": "clip_vision_model"},
            "image_token_index": IMAGE,
            "vision_feature_layer": -1,
        },
        pixels(3, 16, 16),
    ),
    "qwen2_vl": Architecture(
        "Qwen2VLForConditionalGeneration",
        "vlm",
        {
            "text_config": QWEN_TEXT,
            "vision_config": {
                "depth": 2,
                "embed_dim": 32,
                "hidden_size": 32,
                "num_heads": 4,
                "mlp_ratio": 1,
                "patch_size": 4,
            },
            **QWEN_IDS,
        },
        qwen_patches,
    ),
    "qwen2_5_vl": Architecture(
        "Qwen2_5_VLForConditionalGeneration",
        "vlm",
        {
            "text_config": QWEN_TEXT,
            "vision_config": {
                "depth": 2,
                "hidden_size": 32,
                "out_hidden_size": 32,
                "intermediate_size": 48,
                "num_heads": 4,
                "patch_size": 4,
                "window_size": 16,
                "fullatt_block_indexes": [1],
            },
            **QWEN_IDS,
        },
        qwen_patches,
    ),
    "idefics3": Architecture(
        "Idefics3ForConditionalGeneration",
        "vlm",
        {
            "text_config": {**LLAMA, "model_type": "llama"},
            "vision_config": VIT,
            "image_token_id": IMAGE,
            "scale_factor": 1,
        },
        pixels(1, 3, 16, 16),
    ),
    "paligemma": Architecture(
        "PaliGemmaForConditionalGeneration",
        "vlm",
        {
            "text_config": {**LLAMA, "model_type": "gemma", "head_dim": 8},
            "vision_config": {**VIT, "model_type": "siglip_vision_model"},
            "image_token_id": IMAGE,
            "projection_dim": 32,
        },
        pixels(3, 16, 16),
    ),
    "gemma3_vision": Architecture(
        "Gemma3ForConditionalGeneration",
        "vlm",
        {
            "text_config": {
                **LLAMA,
                "head_dim": 8,
                "sliding_window": 5,
                "layer_types": ["sliding_attention", "full_attention"],
            },
            "vision_config": {**VIT, "image_size": 16, "patch_size": 8},
            "image_token_id": IMAGE,
            "boi_token_id": 92,
            "eoi_token_id": 93,
            "mm_tokens_per_image": 4,
        },
        pixels(3, 16, 16),
    ),
    "blip_2": Architecture(
        "Blip2ForConditionalGeneration",
        "vlm",
        {
            "text_config": {**LLAMA, "model_type": "opt", "ffn_dim": 48, "word_embed_proj_dim": 32},
            "vision_config": VIT,
            "qformer_config": {**BERT, "encoder_hidden_size": 32, "cross_attention_frequency": 1},
            "image_token_index": IMAGE,
            "num_query_tokens": 4,
        },
        pixels(3, 16, 16),
    ),
    "mllama": Architecture(
        "MllamaForConditionalGeneration",
        "vlm",
        {
            "text_config": {
                **LLAMA,
                "cross_attention_layers": [1],
                "num_hidden_layers": 3,
                "rope_parameters": {"rope_type": "default", "rope_theta": 1e4},
            },
            "vision_config": {
                "hidden_size": 32,
                "intermediate_size": 48,
                "attention_heads": 4,
                "num_hidden_layers": 2,
                "num_global_layers": 1,
                "image_size": 16,
                "patch_size": 8,
                "max_num_tiles": 1,
                "vision_output_dim": 64,
                "intermediate_layers_indices": [0],
                "supported_aspect_ratios": [[1, 1]],
            },
            "image_token_index": IMAGE,
        },
        lambda batch: {
            "pixel_values": torch.randn(batch, 1, 1, 3, 16, 16),
            "aspect_ratio_ids": torch.ones(batch, 1, dtype=torch.long),
            "aspect_ratio_mask": torch.ones(batch, 1, 1, dtype=torch.long),
            "cross_attention_mask": torch.ones(batch, LENGTH + 4, 1, 1, dtype=torch.long),
        },
    ),
}


@dataclass(frozen=True)
class Case:
    """A model in eval mode and two samples of equal length."""

    name: str
    model: transformers.PreTrainedModel
    inputs: dict[str, Tensor]
    architecture: Architecture


def build(name: str, implementation: str | None = None) -> Case:
    """The tiny model of one architecture, the same at every call."""
    row = CASES[name]
    torch.manual_seed(sum(map(ord, name)))
    model_class = getattr(transformers, row.model)
    options = {} if implementation is None else {"attn_implementation": implementation}
    config = model_class.config_class(**{key: dict(v) if isinstance(v, dict) else v for key, v in row.config.items()})
    model = model_class._from_config(config, **options).eval()
    loosen(model)
    inputs = row.inputs(BATCH) if row.inputs else {}
    if row.kind in ("decoder", "encoder", "seq2seq", "dual", "vlm"):
        ids = torch.randint(3, IMAGE, (BATCH, LENGTH))
        if row.kind == "vlm":
            images = {"qwen2_vl": 3, "qwen2_5_vl": 3, "mllama": 1}.get(name, 4)
            ids = torch.cat([ids[:, :2], torch.full((BATCH, images), IMAGE), ids[:, 2:]], dim=1)
            if "image_grid_thw" in inputs:
                ids = torch.cat([ids[:, :3], ids[:, :1], ids[:, 3:]], dim=1)
                inputs["mm_token_type_ids"] = (ids == IMAGE).int()
            if name == "paligemma":
                inputs["token_type_ids"] = torch.zeros_like(ids)
        inputs |= {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    if row.kind in ("seq2seq", "speech"):
        inputs["decoder_input_ids"] = torch.randint(3, IMAGE, (BATCH, 5))
    return Case(name, model, inputs, row)


def loosen(model: torch.nn.Module) -> None:
    """Larger random weights, so that attention is far from uniform and mistakes show."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() == 2 and "norm" not in name and "embed" not in name:
                parameter.normal_(0, 1.2 / parameter.shape[1] ** 0.5)
            elif "sink" in name or ("gate" in name and parameter.numel() == 1):
                parameter.normal_(0, 1)
