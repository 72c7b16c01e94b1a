"""Write docs/choose.md and its figures from the results of `saccade bench mechanisms`.

python scripts/choose_page.py
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from statistics import fmean
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from saccade.bench.cost import LENGTHS, efficiency_length
from saccade.bench.learn import SETTINGS, fits
from saccade.bench.problems import PROBLEMS
from saccade.bench.run import RESULTS, load, path
from saccade.bench.table import COSTS, LEARNED, costs, learned
from saccade.mechanisms import info, names

DOCS = Path(__file__).parents[1] / "docs"
PAGE, IMAGES = DOCS / "choose.md", DOCS / "img"
SETTING = SETTINGS["small"]
LAYERS = SETTING.layers[0]
LONG, SHOWN = LENGTHS[-1], 4

HEAD = """# Choose a mechanism

Every mechanism in the same small host, trained alike, on the same problems; beside it, what a layer of it costs. The
page and its figures are written by `python scripts/choose_page.py` from results that one command makes:

```text
saccade bench mechanisms --size small --folder src/saccade/bench/results    # goes on where it was stopped
```

**{setting}** Scores are means over {seeds} seeds on fresh data, in percent; text is in nats a character
(less is better). Chance is {chance}. Nothing here says what a large model would do: it says what a mechanism can learn
quickly, what it cannot hold, and what it costs.
"""

STEPS = """## First, what must stay

1. **A trained model, its behaviour kept.** Few replacements keep what was learned: `grouped-query`, `weighted-groups`,
   `key-driven` (fewer keys and values in the cache), `mixture-of-heads` (fewer heads a token), `hedgehog` (linear, by
   distillation), `gated-slots` (a state of fixed size). See [Swap](swap.md). Everything else wants training.
2. **Generation.** `decode` in `sc.mechanisms.info(name)` says whether a mechanism decodes with a state of constant
   size (`recurrent`), with a cache of keys and values (`cache`), or not at all (`none`: encoders only).
3. **Positions only.** `cope`, `shaw`, `music`, `complex`, `fope`, `coca`, `alibi`, `t5`, `rotary` change how places are
   told and compose with what is scored by products of queries and keys.
4. **Length.** Where the table says *never* under "faster from", fused softmax was the faster at every length measured.
"""

FOOT = """## What this does not say

- The hosts are {dim} wide with {layers} layers and were trained for {steps} steps: what is learned late is missing. A
  mechanism that stays at chance here was not shown to be unable to learn the problem.
- A learning rate was chosen from {rates} on {tuning} steps; a finer search may move a row by more than its spread.
- Those that cannot decode were trained to fill in what is hidden, with all other symbols in sight. Their numbers
  compare with each other, not with those that foretell.
- Times are of one layer, 256 wide with 4 heads, batch 1, float32, without gradients, on {threads} cores of one machine;
  ratios to fused softmax (`F.scaled_dot_product_attention` in the same layer, in turn with it) travel better than
  milliseconds. No mechanism here has a kernel of its own.
"""

Found = dict[str, dict[str, Any]]


def results() -> Found:
    """What has been measured, by mechanism."""
    read = {name: load(path(RESULTS, SETTING, name)) for name in names() if fits(name)}
    return {name: one for name, one in read.items() if one["learn"] or one["cost"]}


def score(one: dict[str, Any], problem: str, stretch: int = 1) -> float | None:
    """Mean over seeds, larger is better; None where it was not measured."""
    held = one["learn"].get(f"{problem}/{LAYERS}")
    if not held:
        return None
    mean = fmean(held["scores"][str(stretch)])
    return mean if held["metric"] == "accuracy" else -mean


def ratio(one: dict[str, Any], length: int = LONG) -> float | None:
    """Time beside fused softmax, negative so that larger is better."""
    found = one["cost"].get("lengths", {}).get(str(length), {}).get("ratio")
    return None if found is None else -found


def state(one: dict[str, Any]) -> float | None:
    """Bytes that decoding keeps after the longest sequence, negative."""
    found = one["cost"].get("lengths", {}).get(str(LONG), {}).get("state")
    return None if found is None else -found


Measure = Callable[[dict[str, Any]], float | None]
NEEDS: tuple[tuple[str, str, Callable[[str], bool], Measure, str], ...] = (
    ("text, generated", "next character", lambda n: info(n).causal, lambda o: score(o, "text"), "{:.2f} nats"),
    (
        "text, in a state of constant size",
        "next character",
        lambda n: info(n).decode == "recurrent",
        lambda o: score(o, "text"),
        "{:.2f} nats",
    ),
    ("recall from the context", "recall", lambda n: info(n).causal, lambda o: score(o, "recall"), "{:.0%}"),
    (
        "recall, in a state of constant size",
        "recall",
        lambda n: info(n).decode == "recurrent",
        lambda o: score(o, "recall"),
        "{:.0%}",
    ),
    ("to copy what came before", "induction", lambda n: info(n).causal, lambda o: score(o, "induction"), "{:.0%}"),
    (
        "sequences longer than those of training",
        "induction at 4×",
        lambda n: info(n).causal,
        lambda o: score(o, "induction", 4),
        "{:.0%}",
    ),
    (
        "to remember what was written last",
        "flip-flop",
        lambda n: info(n).causal,
        lambda o: score(o, "flip-flop"),
        "{:.1%}",
    ),
    ("to count", "counting", lambda n: info(n).causal, lambda o: score(o, "counting"), "{:.0%}"),
    ("an encoder", "filling in characters", lambda n: not info(n).causal, lambda o: score(o, "text"), "{:.2f} nats"),
    ("speed at 16k, generated", "time beside fused softmax", lambda n: info(n).causal, ratio, "{:.2f}×"),
    ("speed at 16k, an encoder", "time beside fused softmax", lambda n: not info(n).causal, ratio, "{:.2f}×"),
    (
        "a small cache, exact attention",
        "bytes kept at 16k",
        lambda n: info(n).decode == "cache",
        state,
        "{:,.0f}",
    ),
)


def needs(found: Found) -> str:
    """For each need the best few, with softmax beside them where it qualifies."""
    rows = ["| you need | by | the best measured | softmax |", "|---|---|---|---|"]
    for need, by, serves, measure, how in NEEDS:
        ranked = sorted(
            ((value, name) for name, one in found.items() if serves(name) and (value := measure(one)) is not None),
            reverse=True,
        )
        best = ", ".join(f"`{name}` {how.format(abs(value))}" for value, name in ranked[:SHOWN])
        plain = next((how.format(abs(value)) for value, name in ranked if name == "softmax"), "")
        rows.append(f"| {need} | {by} | {best} | {plain} |")
    return "\n".join(rows) + "\n"


def table(columns: tuple[str, ...], rows: list[list[str]]) -> str:
    """Markdown."""
    lines = [f"| {' | '.join(columns)} |", f"|---|{'---:|' * (len(columns) - 1)}"]
    return "\n".join([*lines, *(f"| `{row[0]}` | {' | '.join(row[1:])} |" for row in rows)]) + "\n"


def overtaking(found: Found) -> str:
    """From which length linear mechanisms are faster than fused softmax."""
    linear = {
        name: efficiency_length(one["cost"]["lengths"])
        for name, one in found.items()
        if info(name).cost == 1 and "lengths" in one["cost"]
    }
    if not linear:
        return "Costs have not been measured.\n"
    faster = sorted((length, name) for name, length in linear.items() if length)
    never = sorted(name for name, length in linear.items() if not length)
    text = (
        f"Of {len(linear)} mechanisms whose work grows linearly {len(faster)} overtake fused softmax at or below "
        f"{LONG:,} tokens: " + ", ".join(f"`{name}` from {length:,}" for length, name in faster) + "."
    )
    if never:
        text += (
            f" These do not: {', '.join(f'`{name}`' for name in never)}. They are written as many small operations "
            "over memory, and fused softmax does more work in fewer passes; on this machine memory is what counts."
        )
    return text + "\n"


def spread(found: Found) -> str:
    """The largest and the usual distance between seeds, accuracies only."""
    ranges = [
        max(values) - min(values)
        for one in found.values()
        for held in one["learn"].values()
        if held["metric"] == "accuracy" and len(values := held["scores"]["1"]) > 1
    ]
    if not ranges:
        return ""
    ranges.sort()
    return (
        f"Between seeds a score moves by {100 * ranges[len(ranges) // 2]:.0f} points in the median and by "
        f"{100 * ranges[9 * len(ranges) // 10]:.0f} in one row of ten: smaller differences say nothing.\n"
    )


def page(found: Found) -> str:
    """The page."""
    causal = {name: one for name, one in found.items() if info(name).causal}
    others = {name: one for name, one in found.items() if not info(name).causal}
    threads = next((one["cost"]["threads"] for one in found.values() if "threads" in one["cost"]), "?")
    setting = (
        f"Small setting: {LAYERS} layers, {SETTING.dim} wide, {SETTING.heads} heads, {SETTING.steps} steps of "
        f"{SETTING.rows} sequences."
    )
    chance = "2% for recall, 50% for flip-flop, 1% for induction, about 10% for counting"
    stated = {
        "dim": SETTING.dim,
        "layers": LAYERS,
        "steps": SETTING.steps,
        "tuning": SETTING.tuning,
        "rates": ", ".join(f"{rate:g}" for rate in SETTING.rates),
        "threads": threads,
    }
    return "\n".join(
        [
            HEAD.format(setting=setting, seeds=SETTING.seeds, chance=chance),
            "## In short\n",
            needs(found),
            spread(found),
            STEPS,
            "## What was learned: those that foretell\n",
            table(LEARNED, [learned(name, one, LAYERS) for name, one in causal.items()]),
            "## What was learned: those that fill in\n",
            table(LEARNED, [learned(name, one, LAYERS) for name, one in others.items()]),
            "![recall beside the state that decoding keeps](img/choose-recall.svg)\n",
            "![induction at lengths beyond training](img/choose-induction.svg)\n",
            "## What a layer costs\n",
            overtaking(found),
            "![time of a layer beside fused softmax, by length](img/choose-time.svg)\n",
            table(COSTS, [costs(name, one) for name, one in found.items() if one["cost"]]),
            FOOT.format(**stated),
        ]
    )


def draw_time(found: Found) -> None:
    """Time beside fused softmax by length."""
    figure, axes = plt.subplots(figsize=(8, 5))
    for name, one in found.items():
        lengths = one["cost"].get("lengths", {})
        points = [(int(n), held["ratio"]) for n, held in lengths.items() if "ratio" in held]
        if info(name).cost == 1 and points:
            points.sort()
            axes.plot(*zip(*points, strict=True), marker="o", markersize=3, linewidth=1)
            axes.annotate(name, points[-1], fontsize=6, xytext=(4, 0), textcoords="offset points", va="center")
    axes.axhline(1, color="black", linewidth=1, linestyle="--")
    axes.set(xscale="log", yscale="log", xlabel="tokens", ylabel="time / time of fused softmax")
    axes.set_xlim(LENGTHS[0] * 0.9, LONG * 2.2)
    axes.set_title("Mechanisms of linear cost: below the line is faster")
    save(figure, "choose-time.svg")


def draw_recall(found: Found) -> None:
    """Recall beside bytes of state."""
    figure, axes = plt.subplots(figsize=(8, 5))
    for name, one in found.items():
        kept, right = state(one), score(one, "recall")
        if kept and right is not None and info(name).causal:
            axes.scatter(-kept, right, s=14, color="#d55e00" if info(name).decode == "recurrent" else "#0072b2")
            axes.annotate(name, (-kept, right), fontsize=6, xytext=(3, 2), textcoords="offset points")
    axes.set(xscale="log", xlabel=f"bytes kept while decoding, after {LONG:,} tokens", ylabel="recall")
    axes.set_title("Recall and memory: constant state (orange), cache (blue)")
    save(figure, "choose-recall.svg")


def draw_induction(found: Found) -> None:
    """Induction by length, the best few labelled."""
    figure, axes = plt.subplots(figsize=(8, 5))
    stretches = PROBLEMS["induction"].stretches
    causal = {n: o for n, o in found.items() if info(n).causal and score(o, "induction") is not None}
    best = sorted(causal, key=lambda name: -(score(causal[name], "induction", 4) or 0))[:8]
    for name, one in causal.items():
        line = [score(one, "induction", n) for n in stretches]
        shown = name in best or name == "softmax"
        axes.plot(stretches, line, color=None if shown else "#cccccc", linewidth=1.5 if shown else 0.6,
                  label=name if shown else None, zorder=2 if shown else 1)  # fmt: skip
    axes.set(xscale="log", xlabel="length / length of training", ylabel="accuracy", xticks=stretches)
    axes.set_xticklabels([f"{n}×" for n in stretches])
    axes.legend(fontsize=7)
    axes.set_title("Copying what came before, at lengths beyond training")
    save(figure, "choose-induction.svg")


def save(figure: Any, name: str) -> None:
    """The same bytes each time."""
    figure.tight_layout()
    figure.savefig(IMAGES / name, metadata={"Date": None})
    plt.close(figure)


if __name__ == "__main__":
    matplotlib.rcParams["svg.hashsalt"] = "saccade"
    measured = results()
    if not measured:
        sys.exit("there are no results; run: saccade bench mechanisms --size small --folder src/saccade/bench/results")
    for draw in (draw_time, draw_recall, draw_induction):
        draw(measured)
    PAGE.write_text(page(measured), "utf-8")
