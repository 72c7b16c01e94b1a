"""[205] Attention without softmax learns the solution operator of a differential equation."""

from __future__ import annotations

import math
from functools import partial

import torch
from torch import nn

from saccade.mechanisms import mechanism
from saccade.repro.claims.mech_lin.fields import USES, Draw, Field, Pairs, relative, solved
from saccade.repro.host import Sizes
from saccade.repro.registry import claim
from saccade.repro.result import Comparison, Result
from saccade.repro.statistics import saving
from saccade.testing import counted

POINTS, MODES, WAVES = 32, 6, 4
RATE, MEASURED, LONG = 1e-2, 2**30, 4096
SIZES = Sizes(1, dim=32, heads=2, layers=2, causal=False)
BETTER, NEAR, SAME, LESS = 1.0, 0.9, 0.8, 10.0


def loaded(rows: int = 16, points: int = POINTS) -> Draw:
    """A string under a random load: −u″ = f on [0, 1], u(0) = u(1) = 0, f a sum of ``MODES`` sines.

    Given at each point: f, and ``WAVES`` sines and cosines of where it is; to be found: u, which is known exactly.
    """
    x, waves = (torch.arange(points) + 0.5) / points, math.pi * torch.arange(1, MODES + 1)
    sines, cosines = (waves[:, None] * x).sin(), (waves[:, None] * x).cos()
    place = torch.cat([sines[:WAVES], cosines[:WAVES]]).T

    def draw(generator: torch.Generator) -> Pairs:
        strength = torch.randn(rows, MODES, generator=generator)
        f, u = strength @ sines, (strength / waves.square()) @ sines
        return torch.cat([f[..., None], place.expand(rows, -1, -1)], dim=-1), u

    return draw


def work() -> list[float]:
    """Operations of a layer on ``LONG`` points: softmax attention, Galerkin attention."""
    x = torch.zeros(1, LONG, SIZES.dim)
    layers = [mechanism(kind, SIZES.dim, SIZES.heads) for kind in ("softmax", "galerkin")]
    return [float(counted(partial(layer, x, causal=False)).flops) for layer in layers]


@torch.no_grad()
def error(model: nn.Module, pairs: Pairs) -> float:
    """Relative error of a model."""
    given, wanted = pairs
    return relative(model(given), wanted).item()


@claim(
    205,
    "Galerkin attention, without softmax, learns the displacement of a loaded string with a smaller error than softmax "
    "attention, also on a grid four times as fine, at a cost linear in the points; Fourier attention is no worse",
    uses=(*USES, "saccade.mechanisms.baseline.softmax"),
)
def run(quick: bool, seed: int) -> Result:
    """Relative error of two-layer models on new loads; targets are not normalised.

    A unit is a training run of all three on the same data.
    """
    runs, steps = (2, 120) if quick else (3, 400)
    kinds = ("softmax", "galerkin", "fourier")
    fresh = loaded(256)(torch.Generator().manual_seed(MEASURED + seed))
    fine = loaded(64, 4 * POINTS)(torch.Generator().manual_seed(MEASURED + seed))
    errors, finer = [], []
    for i in range(runs):
        models = [
            solved(partial(Field, SIZES, kind, 1 + 2 * WAVES), loaded(), relative, steps, RATE, 1000 * seed + i)
            for kind in kinds
        ]
        errors.append([error(model, fresh) for model in models])
        finer.append([error(model, fine) for model in models])
    both = [[one[1], other[1]] for one, other in zip(errors, finer, strict=True)]
    return Result(
        Comparison("relative error, softmax over Galerkin", [row[:2] for row in errors], BETTER, saving),
        (
            Comparison("relative error, softmax over Fourier", [row[::2] for row in errors], NEAR, saving),
            Comparison("relative error of Galerkin, as trained over four times as fine", both, SAME, saving),
            Comparison(f"operations of a layer on {LONG} points", [work(), work()], LESS, saving),
        ),
        {"steps": steps, "errors": errors, "errors on the finer grid": finer},
    )
