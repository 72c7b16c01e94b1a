"""Offsets trained on the outputs of a few heads (paper 107)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from saccade.core.edits import Edit, Rewrite, Shift

from .fingerprint import fingerprint
from .headset import HeadError, HeadSet, main_heads
from .sensitivity import Loss, answer_loss

if TYPE_CHECKING:
    from saccade.hosts import Host


@dataclass(frozen=True, eq=False)
class Offsets:
    """A vector added to the output of each of some heads, before the output projection: ``z_h <- z_h + v_h``.

    Args:
        vectors: ``[H, Dv]`` by layer (or site name); rows of heads outside ``heads`` do nothing.
        heads: the heads that are moved.

    Example:
        >>> import torch
        >>> offsets = Offsets({2: torch.ones(4, 8)}, HeadSet({2: [1, 3]}))
        >>> len(offsets), [edit.at for edit in offsets.edits()]
        (16, [{2: [1, 3]}])
    """

    vectors: Mapping[int | str, Tensor]
    heads: HeadSet

    def __post_init__(self) -> None:
        if missing := set(self.heads.by_layer()) - set(self.vectors):
            raise HeadError(f"offsets have no vectors for the layers {sorted(map(str, missing))}.")

    def __len__(self) -> int:
        """Numbers that were trained."""
        return sum(self.vectors[head.layer].shape[-1] for head in self.heads)

    def edits(self) -> tuple[Shift, ...]:
        """One :class:`~saccade.core.edits.Shift` of the outputs for each layer."""
        places = self.heads.by_layer()
        return tuple(Shift("out", self.vectors[layer], at={layer: sorted(heads)}) for layer, heads in places.items())


@dataclass(frozen=True)
class LoFiT:
    """Localised fine-tuning: choose the heads that a task moves most, then train an offset for each of them.

    Both steps leave the model's weights alone and minimise the loss of a labelled set. :meth:`choose` trains a scaling
    of every head with an l1 penalty and ranks heads by its size, :meth:`tune` trains the offsets:

    .. math:: z_h ← (1 + a_h) ∘ z_h, \\; \\min L + λ \\sum_h \\|a_h\\|_1, \\; s_h = \\|a_h\\|_2
        \\qquad\\text{then}\\qquad z_h ← z_h + v_h, \\; \\min L

    Args:
        steps: steps of AdamW in each of the two, a batch of the data each, in turn.
        rate: learning rate.
        penalty: λ.
        loss: loss of each sample, ``loss(lm, batch) -> [B]``; that of the answers by default.
        seed: of the initial scalings and offsets, normal with standard deviation 0.001.

    Source: Yin et al., "LoFiT: Localized Fine-tuning on LLM Representations" (paper 107), section 3; 3 % of the heads
    there. Trained with accelerate, which has to be installed.
    """

    steps: int = 100
    rate: float = 5e-3
    penalty: float = 5e-4
    loss: Loss = answer_loss
    seed: int = 0

    def __post_init__(self) -> None:
        if self.steps < 1 or not self.rate > 0 or self.penalty < 0:
            raise HeadError(f"LoFiT needs steps >= 1, rate > 0 and penalty >= 0, found {self}.")

    def choose(self, lm: Host, data: Sequence[Any], *, among: HeadSet | None = None) -> HeadSet:
        """Every head (or every one of ``among``) with the size of its scaling."""
        heads = main_heads(lm) if among is None else among.check(lm)
        scalings = self._start(lm, heads)
        at = heads.by_layer()
        edits = [
            Rewrite(_scaled(vector, at[layer]), "outputs", {layer: at[layer]}) for layer, vector in scalings.items()
        ]

        def sparse() -> Tensor:
            total = [vector[at[layer]].abs().sum() for layer, vector in scalings.items()]
            return self.penalty * torch.stack(total).sum()

        self._train(lm, data, list(scalings.values()), edits, sparse)
        size = {layer: vector.detach().norm(dim=-1) for layer, vector in scalings.items()}
        return HeadSet([(*h.place, float(size[h.layer][h.head])) for h in heads], "lofit", fingerprint(lm))

    def tune(self, lm: Host, data: Sequence[Any], heads: HeadSet) -> Offsets:
        """Offsets for these heads; ``with lm.steer(offsets): ...`` puts them in."""
        offsets = Offsets(self._start(lm, heads.check(lm)), heads)
        self._train(lm, data, list(offsets.vectors.values()), offsets.edits())
        return Offsets({layer: vector.detach() for layer, vector in offsets.vectors.items()}, heads)

    def _start(self, lm: Host, heads: HeadSet) -> dict[int | str, Tensor]:
        draw, shapes = torch.Generator().manual_seed(self.seed), {}
        model: Any = lm.model

        def shape(operator: Any, values: Tensor) -> Tensor:
            shapes[operator.site] = values.shape[1], values.shape[3]
            return values

        with torch.no_grad(), lm.tap(shape):
            lm(input_ids=torch.zeros(1, 2, dtype=torch.long, device=model.device))  # type: ignore[operator]
        found: dict[int | str, Tensor] = {}
        for layer in heads.by_layer():
            size = next(size for site, size in shapes.items() if layer == (site.layer if site.main else site.name))
            found[layer] = (1e-3 * torch.randn(size, generator=draw)).to(model.device).requires_grad_()
        return found

    def _train(
        self,
        lm: Host,
        data: Sequence[Any],
        parameters: list[Tensor],
        edits: Sequence[Edit],
        penalty: Callable[[], Tensor] | None = None,
    ) -> None:
        try:
            from accelerate import Accelerator
        except ImportError as error:
            raise HeadError("LoFiT trains with accelerate: pip install accelerate") from error
        if not data:
            raise HeadError("LoFiT needs a labelled set, found no batch.")
        model: Any = lm.model
        accelerator = Accelerator(cpu=model.device.type == "cpu")
        optimiser = accelerator.prepare(torch.optim.AdamW(parameters, lr=self.rate, weight_decay=0.0))
        with _frozen(model), torch.enable_grad():
            for step in range(self.steps):
                with lm.steer(*edits):
                    loss = self.loss(lm, data[step % len(data)]).mean()
                accelerator.backward(loss if penalty is None else loss + penalty())
                optimiser.step()
                optimiser.zero_grad()


def _scaled(vector: Tensor, heads: Sequence[int]) -> Callable[[Tensor, Tensor], Tensor]:
    """The scaling of a tile of outputs ``[B, heads, Q, Dv]`` that holds these heads, in rising order."""
    return lambda tile, rows: tile * (1 + vector[sorted(heads)][:, None])


@contextmanager
def _frozen(model: nn.Module) -> Iterator[None]:
    """No parameter of the model asks for gradients in the body."""
    asked = [parameter for parameter in model.parameters() if parameter.requires_grad]
    for parameter in asked:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in asked:
            parameter.requires_grad_(True)
