"""The training loop of the zoo: a token budget, checkpoints, resume, and a log of losses."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from accelerate import Accelerator
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from torch import Tensor, nn
from torch.nn import functional as F

from saccade.zoo.attention import use_short_attention
from saccade.zoo.recipe import Batch, Recipe, Schedule


@dataclass
class State:
    """How far a run has come."""

    step: int = 0
    tokens: int = 0
    pool: int = 0
    batch: int = 0
    pool_progress: float = 0.0
    seconds: float = 0.0
    snapshots: int = 0


def loss_of(logits: Tensor, batch: Batch) -> Tensor:
    """Weighted mean cross-entropy of the next token, in nats, computed in float32."""
    targets, weights = batch.ids[:, 1:], batch.weights[:, 1:]
    losses = F.cross_entropy(logits[:, :-1].float().flatten(0, 1), targets.flatten(), reduction="none")
    return (losses * weights.flatten()).sum() / weights.sum()


def optimizers(model: nn.Module, schedule: Schedule) -> list[torch.optim.Optimizer]:
    """Muon for the matrices inside the layers, AdamW for embeddings, norms and biases."""
    matrices: list[nn.Parameter] = []
    others: list[nn.Parameter] = []
    trained = ((n, p) for n, p in model.named_parameters() if p.requires_grad)
    for name, parameter in trained:
        (matrices if parameter.ndim == 2 and "embed" not in name and "head" not in name else others).append(parameter)
    return [
        torch.optim.Muon(matrices, lr=schedule.rate, weight_decay=0.05, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(others, lr=schedule.rate, betas=(0.9, 0.98), weight_decay=0.0),
    ]


class Run:
    """A training run in a folder: `log.jsonl`, `state/` to resume from, `snapshots/`, and `final/` when it is done."""

    def __init__(self, recipe: Recipe, folder: Path, device: str = "cpu") -> None:
        self.recipe, self.folder = recipe, folder
        folder.mkdir(parents=True, exist_ok=True)
        torch.manual_seed(recipe.seed)
        self.accelerator = Accelerator(cpu=device == "cpu", mixed_precision="bf16")
        self.tokenizer = recipe.tokenizer()
        self.model = recipe.model(self.tokenizer)
        self.device = device
        self.state = State()
        prepared = self.accelerator.prepare(self.model, *optimizers(self.model, recipe.schedule))
        self.wrapped, self.optimizers = prepared[0], list(prepared[1:])
        if (folder / "state" / "progress.json").exists():
            self.accelerator.load_state(str(folder / "state"))
            self.state = State(**json.loads((folder / "state" / "progress.json").read_text()))

    @property
    def progress(self) -> float:
        return min(1.0, self.state.tokens / self.recipe.schedule.tokens)

    def save(self) -> None:
        self.accelerator.save_state(str(self.folder / "state"))
        (self.folder / "state" / "progress.json").write_text(json.dumps(asdict(self.state)))

    def export(self, folder: Path) -> None:
        """Write model and tokenizer in Hugging Face format, weights in bfloat16."""
        model = self.accelerator.unwrap_model(self.wrapped)
        kept = {k: v.to(torch.bfloat16) for k, v in model.state_dict().items()}
        model.save_pretrained(folder, state_dict=kept)
        settings = json.loads((folder / "config.json").read_text()) | {"dtype": "bfloat16"}
        (folder / "config.json").write_text(json.dumps(settings, indent=2) + "\n")
        self.tokenizer.save_pretrained(folder)

    def log(self, **values: float) -> None:
        with (self.folder / "log.jsonl").open("a") as out:
            out.write(json.dumps({**asdict(self.state), **values}) + "\n")

    def batches(self) -> Iterator[Batch]:
        while self.state.tokens < self.recipe.schedule.tokens:
            if self.state.batch == 0:
                self.state.pool_progress = self.progress
            pool = self.recipe.pool(self.state.pool, self.state.pool_progress, self.tokenizer)
            while self.state.batch < len(pool):
                self.state.batch += 1
                yield pool[self.state.batch - 1]
            self.state.pool, self.state.batch = self.state.pool + 1, 0

    def step(self, batch: Batch) -> float:
        batch = Batch(batch.ids.to(self.accelerator.device), batch.weights.to(self.accelerator.device))
        rate = self.recipe.schedule.rate * self.recipe.schedule.factor(self.progress)
        loss = loss_of(self.wrapped(input_ids=batch.ids, use_cache=False).logits, batch)
        self.accelerator.backward(loss)
        self.accelerator.clip_grad_norm_(self.wrapped.parameters(), 1.0)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate
            optimizer.step()
            optimizer.zero_grad()
        self.state.step += 1
        self.state.tokens += batch.ids.numel()
        return float(loss.detach())

    def train(self, minutes: float | None = None, every: float = 180.0) -> bool:
        """Train until the token budget is spent (gives True) or for some minutes (False: run again to go on)."""
        self.fast(True)
        began = marked = saved = time.monotonic()
        running: list[float] = []
        columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn())
        with Progress(*columns) as bar:
            task = bar.add_task(self.recipe.name, total=self.recipe.schedule.tokens, completed=self.state.tokens)
            for batch in self.batches():
                self.snapshot()
                running.append(self.step(batch))
                now = time.monotonic()
                self.state.seconds, marked = self.state.seconds + now - marked, now
                bar.update(task, completed=self.state.tokens, description=f"{self.recipe.name} loss {running[-1]:.3f}")
                if self.state.step % 20 == 0:
                    self.log(loss=sum(running) / len(running))
                    running.clear()
                if now - saved > every:
                    self.save()
                    self.probe()
                    saved = marked = time.monotonic()
                if minutes is not None and now - began > 60 * minutes:
                    self.save()
                    return False
        if running:
            self.log(loss=sum(running) / len(running))
        self.snapshot()
        self.save()
        self.probe()
        self.export(self.folder / "final")
        return True

    def fast(self, on: bool) -> None:
        """On a CPU, train with `short_attention`, which takes no padding mask, and measure without."""
        if self.device == "cpu" and on:
            use_short_attention(self.model)
        else:
            self.model.set_attn_implementation("sdpa")

    def probe(self) -> None:
        self.model.eval()
        self.fast(False)
        with torch.no_grad():
            self.log(**self.recipe.probe(self.accelerator.unwrap_model(self.wrapped), self.tokenizer))
        self.model.train()
        self.fast(True)

    def snapshot(self) -> None:
        """Export when the share of the budget that the next snapshot stands for has been reached."""
        if self.state.snapshots < self.recipe.snapshots:
            due = self.state.snapshots / max(self.recipe.snapshots - 1, 1)
            if self.progress >= due:
                self.export(self.folder / "snapshots" / f"{self.state.snapshots:02d}")
                self.state.snapshots += 1
