"""[341] Gated slots from a pretrained model."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from saccade.mechanisms import Info, Layer, Projected, State, View, merge_heads, split_heads, upcast
from saccade.mechanisms.gated import chunked_gated
from saccade.mechanisms.view import where_tokens
from saccade.repro.claims.mech_head.shared import converted, held, taking_over, train_on
from saccade.repro.claims.mech_lin.lookup import USES as TASK
from saccade.repro.claims.mech_lin.lookup import Lookup
from saccade.repro.claims.mech_pos.shared import MEASURED, RATES, USES, data, fitted, host, right
from saccade.repro.host import Host, Sizes
from saccade.repro.registry import claim
from saccade.repro.result import Comparison, Result
from saccade.repro.statistics import Units, gain, saving

SHARPNESS = 16.0
TASKED = Lookup(keys=8, pairs=6, asked=6)
SIZES = Sizes(TASKED.vocabulary, dim=32, heads=2)
FURTHER = 3e-3
BETTER, RECOVERED = 0.1, 0.9


class GatedLinear(Layer):
    """o_t = q_t · M_t with M_t = diag(α_t) M_{t−1} + k_tᵀ v_t and α = σ(W x + b)^(1/16); y = W_o RMSNorm(o).

    Gated linear attention (Yang et al., 2023) without its output gate: the state of a head is D × D.
    """

    info = Info(
        name="gated-linear",
        summary="keys and values summed in a state that forgets by a gate",
        papers=(),
        family="linear",
        patterns=("self-causal",),
        cost=1,
        decode="recurrent",
        parameters="a gate and the scale of a norm",
        fast="chunks",
    )

    def build(self) -> None:
        shape = self.shape
        self.q, self.k, self.v = (nn.Linear(shape.dim, shape.dim, bias=False) for _ in range(3))
        self.gate = nn.Linear(shape.dim, shape.dim)
        self.norm = nn.RMSNorm(shape.dim, eps=1e-5)
        self.out = nn.Linear(shape.dim, shape.dim, bias=False)

    def fast(self, x: Tensor, context: Tensor, view: View, state: State | None) -> Tensor:
        width = self.shape.head_dim
        q, k, v = upcast(*(split_heads(p(x), width) for p in (self.q, self.k, self.v)))
        log = where_tokens(split_heads(F.logsigmoid(self.gate(x)) / SHARPNESS, width), view.mask)
        o, memory = chunked_gated(q * width**-0.5, k, v, log, None if state is None else state.get("memory"))
        if state is not None:
            state["memory"] = memory
        y: Tensor = self.out(self.norm(merge_heads(o).to(x.dtype)))
        return y


def gated(layer: Projected) -> Layer:
    """Gated linear attention with the projections of ``layer``."""
    made = GatedLinear(layer.shape)
    made.load_state_dict(layer.state_dict(), strict=False)
    return made


@torch.no_grad()
def remembered(model: Host, tokens: int = 32) -> int:
    """Bytes of the states of all layers."""
    states = [State() for _ in model.blocks]
    for block, state in zip(model.blocks, states, strict=True):
        block.mix(torch.zeros(1, tokens, SIZES.dim), state=state)
    return sum(held(state) for state in states)


@claim(
    341,
    "a trained softmax model whose layers become gated slots recalls again after a short further training, and more "
    "than one whose layers become gated linear attention with a state as large",
    uses=(*USES, *TASK, "saccade.mechanisms.gated", "saccade.mechanisms.baseline.softmax"),
)
def run(quick: bool, seed: int) -> Result:
    """Share of keys whose value the converted models recall; a unit is one trained model and what is made of it.

    Both take over the projections of the trained model and train further on the same data.
    """
    runs, steps, further = (3, 100, 40) if quick else (5, 250, 80)
    fresh = data(replace(TASKED, rows=512), MEASURED + seed)
    slots = SIZES.dim // SIZES.heads // 2
    recall, states = [], []
    for i in range(runs):
        number = 1000 * seed + i
        before = fitted(host(SIZES, "softmax"), TASKED, steps, RATES[0], number)
        assert isinstance(before, Host)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(number)
            models = [converted(before, change) for change in (gated, taking_over("gated-slots", slots=slots))]
        for model in models:
            train_on(model, TASKED, further, FURTHER, 10_000 + number)
        recall.append([right(model, fresh) for model in (before, *models)])
        states.append([float(remembered(model)) for model in models])
    return Result(
        Comparison("recall, gated linear attention and gated slots", [row[1:] for row in recall], BETTER, gain),
        (
            Comparison("share of the recall of the trained model", [row[::2] for row in recall], RECOVERED, kept),
            Comparison("bytes of the state, gated linear attention over gated slots", states, 1.0, saving),
        ),
        {"steps": [steps, further], "recall: softmax, gated linear, gated slots": recall},
    )


def kept(units: Units) -> tuple[float, float, float]:
    """What the model did, what the converted one does, and the ratio."""
    before, after = units.mean(0).tolist()
    return before, after, after / before
