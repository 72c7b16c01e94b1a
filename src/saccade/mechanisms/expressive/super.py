"""Super attention: values mixed over tokens by a learned matrix (paper 48)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from saccade.core.errors import MechanismError
from saccade.mechanisms.expressive.keyless import Keyless
from saccade.mechanisms.info import Info
from saccade.mechanisms.state import State
from saccade.mechanisms.view import View


@dataclass(frozen=True)
class Options:
    """``length``: tokens of the longest sequence, the size of the mixing matrix."""

    length: int = 512

    def __post_init__(self) -> None:
        if self.length < 1:
            raise MechanismError(f"length must be at least 1 token, found {self.length}")


class Super(Keyless):
    """out = W_O · concat_h softmax(q_h·x_h / √d) x'_h, where x' = W_A x mixes tokens and the index h slices channels.

    W_A is length × length, shared by all heads; causal attention uses its lower triangle, a shorter sequence its upper
    left corner. It starts as the identity, where this is Efficient Attention ("keyless"). Everything else as there.
    """

    info = Info(
        name="super",
        summary="W_O · concat softmax(q_h·x_h / √d) (W_A x)_h",
        papers=(48,),
        family="expressive",
        patterns=("self", "self-causal"),
        cost=2,
        decode="cache",
        parameters="neither key nor value projection, but length² weights between tokens",
        fast="saccade.core.attention",
        needs=("length",),
        source="derived",
    )
    Options = Options

    def build(self) -> None:
        super().build()
        self.tokens = nn.Parameter(torch.eye(self.options.length))

    def values(self, context: Tensor, view: View, state: State | None) -> Tensor:
        longest = int(view.k_pos.max()) + 1
        if longest > self.options.length:
            raise MechanismError(f"super was built for length={self.options.length} tokens, found {longest}")
        rows = self.tokens[view.q_pos[:, :, None], view.k_pos[:, None, :]]
        new = view.hide(rows[:, None])[:, 0] @ context
        return new if state is None else state.extend("v", new)
