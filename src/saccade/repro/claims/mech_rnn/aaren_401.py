"""[401] Aaren: softmax attention that is updated in constant memory."""

from __future__ import annotations

import torch

from saccade.mechanisms import Layer, State, mechanism
from saccade.repro.claims.mech_pos.shared import MEASURED, RATES, USES, Draw, data, host, right, trained
from saccade.repro.host import IGNORED, Batch, Sizes
from saccade.repro.registry import claim
from saccade.repro.result import Comparison, Result
from saccade.repro.statistics import drop, gain, saving
from saccade.testing import counted

SYMBOLS, CLASSES, LENGTH, FIRST = 16, 4, 48, 8
MEMORY_BAR, STEP_BAR, EXACT, BEHIND = 50.0, 10.0, -1e-5, 0.05
DIM, HEADS = 32, 2


def series(seed: int, rows: int = 32) -> Draw:
    """Series of noisy symbols, to be classified at every token from the ``FIRST`` on.

    Each class has its own symbols with probabilities that overlap, drawn from ``seed``.
    """
    odds = torch.randn(CLASSES, SYMBOLS, generator=torch.Generator().manual_seed(seed)).softmax(-1)

    def draw(generator: torch.Generator) -> Batch:
        label = torch.randint(CLASSES, (rows, 1), generator=generator)
        tokens = torch.multinomial(odds[label[:, 0]], LENGTH, replacement=True, generator=generator)
        wanted = label.expand(-1, LENGTH).clone()
        wanted[:, :FIRST] = IGNORED
        return tokens, wanted

    return draw


def held(state: State) -> int:
    """Bytes of floating-point numbers in a state."""
    return sum(t.numel() * t.element_size() for t in state.tensors.values() if t.is_floating_point()) + sum(
        held(child) for child in state.children.values()
    )


@torch.no_grad()
def decoding(layer: Layer, tokens: torch.Tensor) -> tuple[float, float]:
    """Bytes remembered of all tokens but the last, and operations that the last one takes."""
    state = State()
    layer(tokens[:, :-1], state=state)
    bytes_held = held(state)
    return float(bytes_held), float(counted(lambda: layer(tokens[:, -1:], state=state)).flops)


@claim(
    401,
    "attention as a recurrent network gives the outputs of its parallel form from a state of constant size, at "
    "constant cost a token, and classifies series as well as attention with a cache does",
    uses=(*USES, "saccade.mechanisms.scan"),
)
def run(quick: bool, seed: int) -> Result:
    """Memory and work of decoding after some thousands of tokens, counted; accuracy after the same training.

    Units: of costs and exactness an input, of accuracy a training run of both on the same data.
    """
    length = 1024 if quick else 4096
    memory, work, exact = [], [], []
    for i in range(3):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1000 * seed + i)
            cached, constant = (mechanism(name, DIM, HEADS).eval() for name in ("softmax", "aaren"))
            tokens = torch.randn(1, length, DIM)
        (cache, reading), (state, updating) = (decoding(layer, tokens) for layer in (cached, constant))
        memory.append([cache, state])
        work.append([reading, updating])
        with torch.no_grad():
            short, carried = tokens[:, :256], State()
            steps = torch.cat([constant(t, state=carried) for t in short.split(1, dim=1)], dim=1)
            parallel = constant.double()(short.double(), path="reference")
        exact.append([0.0, (steps - parallel).abs().max().item()])
    runs, updates = 3, 60 if quick else 150
    sizes = Sizes(SYMBOLS, dim=DIM, heads=HEADS, layers=1)
    makes = {"softmax": host(sizes, "softmax"), "aaren": host(sizes, "aaren")}
    models, rates = trained(makes, series(seed), updates, RATES, runs, seed)
    fresh = data(series(seed, 512), MEASURED + seed)
    accuracies = [[right(model, fresh) for model in pair.values()] for pair in models]
    return Result(
        Comparison(f"bytes remembered of {length} tokens", memory, MEMORY_BAR, saving),
        (
            Comparison(f"operations for the token after {length - 1}", work, STEP_BAR if not quick else 3.0, saving),
            Comparison("largest difference of steps from the parallel form in float64", exact, EXACT, drop),
            Comparison("accuracy on series", accuracies, -BEHIND, gain),
        ),
        {"updates": updates, "rates": rates},
    )
