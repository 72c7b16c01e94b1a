"""Write docs/papers.md: the catalogue in numbers, what works or is partly there, and what each claim gave."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from saccade.repro import FAMILIES, STATUSES, Paper, papers
from saccade.repro.record import PUBLISHED, Record, latest

PAGE = Path(__file__).parents[1] / "docs" / "papers.md"

HEAD = """# Papers

402 papers on attention, each with the claim that is to be shown at our scale. A paper **works** when its claim ran
here in full and holds: the whole 95% bootstrap interval of the effect reaches a bar that is written in the claim, and
so do its controls. It is **partial** when part of it is here; the note says which part is missing, what the claim gave
where it does not hold, or which part of a definition is a guess. This page is written by `scripts/papers_page.py`.

```text
saccade papers induction             # the catalogue, with the last result of each claim
saccade repro 132 --quick            # run a claim in its small form, under a minute on one core
saccade repro --all --seeds 3        # all claims in full, three seeds pooled
```

```python
import saccade as sc

print(sc.papers[187].claim, sc.papers[187].where)
print(len(sc.papers.search(family="MECH", status="partial")))
```

A claim is a function in a file of its own, `src/saccade/repro/claims/<family>/<name>_<number>.py`:

```text
@claim(132, "a prefix leaves the relative attention of the content as it was ...", uses=("saccade.core.attention",))
def run(quick: bool, seed: int) -> Result: ...
```

It returns comparisons of a baseline with a method on units that are independent of each other: fresh examples, or runs
of training. The verdict is computed from the units and the bar. What is chosen (heads, learning rates) is chosen on
other data than that which measures. Results carry seeds, versions, time and a hash of the code of `uses`; where that
code has changed since, a result shows as stale.
"""


def page() -> str:
    """The page, from the catalogue and the published results."""
    results = latest(PUBLISHED)
    return "\n".join([HEAD, counts(), "## Claims that ran\n", claims(results), "## Here in part\n", partial()])


def counts() -> str:
    """A table of families by status."""
    number = Counter((paper.family, paper.status) for paper in papers)
    rows = [f"| | | {' | '.join(STATUSES)} |", f"|---|---|{'---:|' * len(STATUSES)}"]
    for family, what in FAMILIES.items():
        rows.append(f"| {family} | {what} | {' | '.join(str(number[family, s] or '') for s in STATUSES)} |")
    total = papers.counts()
    rows.append(f"| | **all {len(papers)}** | {' | '.join(f'**{total[s]}**' for s in STATUSES)} |")
    return "\n".join(rows) + "\n"


def claims(results: dict[int, Record]) -> str:
    """Every published result, controls included."""
    rows = [
        "| paper | claim and metric | baseline | method | effect | 95% interval | bar | holds | n | seconds |",
        "|---|---|---:|---:|---:|---:|---:|---|---:|---:|",
    ]
    for number, record in sorted(results.items()):
        paper = papers[number]
        main = {**vars(record), "holds": record.interval[0] >= record.bar}
        for place, one in enumerate((main, *record.also)):
            low, high = one["interval"]
            name = f"[{number}] {paper.title}" if not place else ""
            told = f"{record.claim}: *{one['metric']}*" if not place else f"control: *{one['metric']}*"
            numbers = " | ".join(f"{one[key]:.3g}" for key in ("baseline", "method", "effect"))
            verdict = "yes" if one["holds"] else "**no**"
            seconds = f"{record.seconds:.0f}" if not place else ""
            rows.append(
                f"| {name} | {told} | {numbers} | {low:.3g} to {high:.3g} | {one['bar']:g} | {verdict} "
                f"| {one['units']} | {seconds} |"
            )
    return "\n".join(rows) + "\n"


def partial() -> str:
    """Papers of which part is here."""
    rows = ["| paper | where | what is missing |", "|---|---|---|"]
    rows += [_row(paper) for paper in papers.search(status="partial")]
    return "\n".join(rows) + "\n"


def _row(paper: Paper) -> str:
    return f"| [{paper.id}] {paper.title} | `{paper.where}` | {paper.note} |"


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
