"""[132] Prefix-tuning cannot change the relative attention of the content."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from saccade.core.attention import attention
from saccade.core.measures import Rows
from saccade.mechanisms import Projected, mechanism, split_heads
from saccade.repro.registry import claim
from saccade.repro.result import Comparison, Result
from saccade.repro.statistics import drop

DIM, TOKENS, ROWS, BAR = 16, 12, 64, 0.5
SAME = -1e-5


def layer() -> Projected:
    """A single-head attention layer whose attention is far from uniform."""
    made = mechanism("softmax", DIM, heads=1)
    assert isinstance(made, Projected)
    nn.init.normal_(made.q.weight, std=0.5)
    nn.init.normal_(made.k.weight, std=0.5)
    return made


def relative(of: Projected, x: Tensor, context: Tensor, skipped: int) -> Tensor:
    """Attention of the queries x to the content, the ``skipped`` keys before it left out, as shares of 1."""
    q, k, v = (split_heads(project(t), DIM) for project, t in ((of.q, x), (of.k, context), (of.v, context)))
    rows = attention(q, k, v, measures=[Rows(range(x.shape[1]))])["rows"]
    assert isinstance(rows, Tensor)
    content = rows[..., skipped:]
    return content / content.sum(-1, keepdim=True)


def one(seed: int, steps: int) -> dict[str, float]:
    """Errors on fresh inputs of a prefix and of tuned queries, both fitted to a layer that attends otherwise."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        given, wanted = layer(), layer()
        wanted.load_state_dict({**given.state_dict(), "q.weight": wanted.q.weight.detach()})
        prefix = nn.Parameter(torch.randn(1, DIM, DIM))
        queries = nn.Parameter(given.q.weight.detach().clone())
        for frozen in (*given.parameters(), *wanted.parameters()):
            frozen.requires_grad_(False)

        def prefixed(x: Tensor) -> Tensor:
            out: Tensor = given(x, context=torch.cat([prefix.expand(len(x), -1, -1), x], 1), causal=False)
            return out

        def tuned(x: Tensor) -> Tensor:
            out: Tensor = torch.func.functional_call(given, {"q.weight": queries}, (x,), {"causal": False})
            return out

        def error(made: Tensor, x: Tensor) -> Tensor:
            target = wanted(x, causal=False)
            scaled: Tensor = (made - target).square().mean() / target.var(unbiased=False)
            return scaled

        optimiser = torch.optim.Adam([prefix, queries], lr=0.03)
        for _ in range(steps):
            x = torch.randn(ROWS, TOKENS, DIM)
            optimiser.zero_grad()
            (error(prefixed(x), x) + error(tuned(x), x)).backward()
            optimiser.step()
        with torch.no_grad():
            x = torch.randn(512, TOKENS, DIM)
            before = relative(given, x, x, 0)
            after = relative(given, x, torch.cat([prefix.expand(len(x), -1, -1), x], 1), DIM)
            moved = {"prefix": error(prefixed(x), x).item(), "queries": error(tuned(x), x).item()}
            moved["untouched"] = error(given(x, causal=False), x).item()
            given.q.weight.copy_(queries)
            moved["share moved by prefix"] = (after - before).abs().sum(-1).mean().item() / 2
            moved["share moved by queries"] = (relative(given, x, x, 0) - before).abs().sum(-1).mean().item() / 2
            return moved


@claim(
    132,
    "a prefix leaves the relative attention of the content as it was, so it cannot fit a layer that attends otherwise; "
    "tuning as many parameters of the queries can",
    uses=("saccade.core.attention", "saccade.mechanisms.baseline.softmax"),
)
def run(quick: bool, seed: int) -> Result:
    """Errors are relative to the variance of the target; a unit is one random pair of layers."""
    pairs, steps = (4, 400) if quick else (16, 1500)
    found = [one(1000 * seed + i, steps) for i in range(pairs)]
    errors = [[pair["prefix"], pair["queries"]] for pair in found]
    moved = [[0.0, pair["share moved by prefix"]] for pair in found]
    means = {name: sum(pair[name] for pair in found) / pairs for name in found[0]}
    return Result(
        Comparison("relative squared error on fresh inputs: prefix against queries", errors, BAR, drop),
        (Comparison("relative attention moved by the prefix (total variation)", moved, SAME, drop),),
        {"steps": steps, "parameters of each": DIM * DIM, "means": means},
    )
