"""Models, and their whole attention matrices in float64 from an oracle that knows nothing of the engine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import transformers
from torch import Tensor

from hosts.oracle import oracle

SIZES = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "vocab_size": 60,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
}
BART = {
    "d_model": 32,
    "encoder_layers": 2,
    "decoder_layers": 3,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 48,
    "decoder_ffn_dim": 48,
    "vocab_size": 60,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
}


@dataclass(frozen=True, eq=False)
class Case:
    """A model, its inputs, and which side they are padded on."""

    model: Any
    inputs: dict[str, Tensor]

    def dense(self, target: Any = None) -> tuple[Any, list[Tensor], list[Tensor]]:
        """Output, attention matrices ``[B, H, Q, K]`` in the order of the calls, and the target's gradients."""
        model = self.model
        with oracle(model):
            out = model(**self.inputs, output_attentions=True)
        if model.config.is_encoder_decoder:
            decoder = [x for pair in zip(out.decoder_attentions, out.cross_attentions, strict=True) for x in pair]
            matrices = [*out.encoder_attentions, *decoder]
        else:
            matrices = list(out.attentions)
        slopes = list(torch.autograd.grad(target(out).sum(), matrices, allow_unused=True)) if target else []
        slopes = [torch.zeros_like(a) if g is None else g for a, g in zip(matrices, slopes, strict=False)]
        return out, [a.detach().double() for a in matrices], [g.double() for g in slopes]


def made(cls: str, config: dict[str, Any], seed: int = 0) -> Any:
    """A random model in float64; larger weights than usual, so that attention is far from uniform."""
    torch.manual_seed(seed)
    kind = getattr(transformers, cls)
    model = kind(kind.config_class(**config)).double().eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() == 2 and "embed" not in name:
                parameter.mul_(8)
    return model


def case(kind: str, seed: int = 0, length: int = 11) -> Case:
    """One of the cases of this folder's tests."""
    draw = torch.Generator().manual_seed(seed)
    ids = torch.randint(3, 60, (2, length), generator=draw)
    real = torch.ones(2, length, dtype=torch.long)
    if kind == "llama":
        real[0, :3] = 0
        model = made("LlamaForCausalLM", {**SIZES, "num_key_value_heads": 2}, seed)
        return Case(model, {"input_ids": ids * real, "attention_mask": real})
    real[1, -4:] = 0
    if kind == "bert":
        return Case(made("BertForMaskedLM", SIZES, seed), {"input_ids": ids * real, "attention_mask": real})
    asked = torch.randint(3, 60, (2, 5), generator=draw)
    model = made("BartForConditionalGeneration", BART, seed)
    return Case(model, {"input_ids": ids * real, "attention_mask": real, "decoder_input_ids": asked})
