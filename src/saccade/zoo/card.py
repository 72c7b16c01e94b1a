"""The card of a model: how it was made, what it cost, and what it can and cannot do, all measured."""

from __future__ import annotations

import inspect
import json
import platform
import shutil
import textwrap
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
import transformers

from saccade.zoo.recipe import Measurement, Recipe, ZooError
from saccade.zoo.store import MODELS

LIMIT = 8 * 2**20


def read_log(folder: Path) -> list[dict[str, float]]:
    """The rows of a run's log."""
    file = folder / "log.jsonl"
    if not file.exists():
        raise ZooError(f"{folder} holds no training run (no log.jsonl): train first")
    return [json.loads(line) for line in file.read_text().splitlines()]


def plot_losses(log: list[dict[str, float]], file: Path) -> None:
    """Training loss over tokens, as a PNG."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ZooError("the card's loss curve needs matplotlib: pip install matplotlib") from error
    rows = [(r["tokens"] / 1e6, r["loss"]) for r in log if "loss" in r]
    figure = Figure(figsize=(6, 3), dpi=100, layout="tight")
    axes = figure.subplots()
    axes.plot(*zip(*rows, strict=True), linewidth=0.8)
    axes.set(xlabel="million tokens", ylabel="weighted training loss (nats)", yscale="log")
    axes.grid(alpha=0.3)
    figure.savefig(file)


def table(rows: list[Measurement]) -> str:
    """The measurements as a Markdown table."""
    lines = ["| measured | value | chance | n |", "|---|---:|---:|---:|"]
    for r in rows:
        chance = "" if r.chance is None else f"{r.chance:.3f}"
        lines.append(f"| {r.what} | {r.value:.3f} | {chance} | {r.count} |")
    return "\n".join(lines)


def probe_checkpoints(recipe: Recipe, folder: Path, tokenizer: Any) -> list[dict[str, float]]:
    """The recipe's quick measurements of every checkpoint, with the tokens that it had seen."""
    rows = []
    for number, snapshot in enumerate(sorted((folder / "snapshots").glob("*/config.json"))):
        tokens = recipe.schedule.tokens * number / (recipe.snapshots - 1)
        with torch.no_grad():
            rows.append({"checkpoint": number, "tokens": tokens, **recipe.probe(_load(snapshot.parent), tokenizer)})
    return rows


def probe_table(rows: list[dict[str, float]]) -> str:
    """The checkpoints as a Markdown table."""
    lines = [f"| {' | '.join(rows[0])} |", "|" + "---:|" * len(rows[0])]
    for row in rows:
        cells = (f"{v:.3f}" if name not in ("checkpoint", "tokens") else f"{v:,.0f}" for name, v in row.items())
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _load(folder: Path) -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, local_files_only=True).eval()


def write_card(recipe: Recipe, folder: Path) -> Path:
    """Measure the model in `folder`/final and write README.md, loss.png and measured.json beside its weights."""
    from transformers import AutoTokenizer

    final = folder / "final"
    log = read_log(folder)
    tokenizer = AutoTokenizer.from_pretrained(final, local_files_only=True)
    model = _load(final)
    rows = recipe.measure(model, tokenizer)
    checkpoints = probe_checkpoints(recipe, folder, tokenizer)
    plot_losses(log, final / "loss.png")
    facts: dict[str, Any] = {
        "parameters": sum(p.numel() for p in model.parameters()),
        "tokens": int(log[-1]["tokens"]),
        "steps": int(log[-1]["step"]),
        "minutes of wall clock": round(log[-1]["seconds"] / 60, 1),
        "seed": recipe.seed,
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "python": platform.python_version(),
    }
    measured = {**facts, "measured": [asdict(r) for r in rows], "checkpoints": checkpoints}
    (final / "measured.json").write_text(json.dumps(measured, indent=2) + "\n")
    (final / "README.md").write_text(text(recipe, measured))
    return final / "README.md"


def text(recipe: Recipe, measured: dict[str, Any]) -> str:
    """The card in Markdown, from the recipe's docstring and what was measured."""
    about = textwrap.fill(" ".join(inspect.getdoc(type(recipe)).split()), 110)  # type: ignore[union-attr]
    facts = {k: v for k, v in measured.items() if k not in ("measured", "checkpoints")}
    listed = "\n".join(f"- {k}: {v:,}" if isinstance(v, int) else f"- {k}: {v}" for k, v in facts.items())
    rows = table([Measurement(**row) for row in measured["measured"]])
    card = (
        f"---\nlibrary_name: transformers\nlicense: apache-2.0\n---\n\n# {recipe.name}\n\n{about}\n\n"
        f"Load it with `saccade.zoo.load({recipe.name!r})`; "
        f"make it with `python -m saccade.zoo train {recipe.name}`.\n\n"
        f"## Training\n\n{listed}\n\n![training loss](loss.png)\n\n"
        f"## What it does\n\nMeasured on fresh data that training never saw; replies are greedy.\n\n{rows}\n"
    )
    checkpoints = measured["checkpoints"]
    return card + (f"\n## Checkpoints\n\n{probe_table(checkpoints)}\n" if checkpoints else "")


def publish(recipe: Recipe, folder: Path) -> Path:
    """Copy the finished model, its card and its checkpoints into the package."""
    target = MODELS / recipe.name
    if target.exists():
        shutil.rmtree(target)
    shutil.copytree(folder / "final", target)
    for number, snapshot in enumerate(sorted((folder / "snapshots").glob("*/model.safetensors"))):
        place = target / "checkpoints" / f"{number:02d}"
        place.mkdir(parents=True)
        shutil.copy(snapshot, place)
        shutil.copy(snapshot.parent / "config.json", place)
    size = sum(p.stat().st_size for p in target.rglob("*.safetensors"))
    if size > LIMIT:
        raise ZooError(
            f"{recipe.name} takes {size / 2**20:.1f} MiB of weights, more than {LIMIT // 2**20}: make it smaller"
        )
    return target
