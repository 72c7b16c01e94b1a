"""Draw docs/img/atoms.svg: one row of attention before and after ``Scale("rule", 5)``, cut into atoms.

python scripts/figure_atoms.py
"""

from pathlib import Path

import torch

import saccade as sc

TARGET = Path(__file__).parents[1] / "docs" / "img" / "atoms.svg"
SPANS = {"rule": (3, 9), "document": (7, 22)}
COLOURS = {(): "#9aa5b1", ("rule",): "#d55e00", ("rule", "document"): "#cc79a7", ("document",): "#0072b2"}
KEYS, STEP, HEIGHT, LEFT = 28, 22, 130, 40


def rows() -> tuple[list[float], list[float], list[list[float]]]:
    """Weights before and after the edit, and the masses on the spans, of the last query."""
    torch.manual_seed(3)
    q, k = torch.randn(1, 1, KEYS, 16), torch.randn(1, 1, KEYS, 16)
    spans = sc.Spans.from_ranges({name: [pair] for name, pair in SPANS.items()}, length=KEYS)
    measures = [sc.Rows((-1,)), sc.Mass()]
    found = [
        sc.attention(q, k, k, causal=True, spans=spans, edits=edits, measures=measures)
        for edits in ([], [sc.Scale("rule", 5.0)])
    ]
    before, after = (r.measures["rows"][0, 0, 0].tolist() for r in found)  # type: ignore[index]
    return before, after, [r.measures["mass"][0, 0, -1].tolist() for r in found]  # type: ignore[index]


def atom(key: int) -> tuple[str, ...]:
    """The spans that hold a key."""
    return tuple(name for name, (start, end) in SPANS.items() if start <= key < end)


def panel(weights: list[float], masses: list[float], title: str, top: int, largest: float) -> str:
    """One row of bars with its title."""
    base = top + HEIGHT
    said = ", ".join(f"{name} {mass:.0%}" for name, mass in zip(SPANS, masses, strict=True))
    parts = [f'<text x="{LEFT}" y="{top - 8}" class="title">{title}: {said}</text>']
    for key, weight in enumerate(weights):
        size = weight / largest * (HEIGHT - 10)
        x = LEFT + key * STEP
        parts.append(
            f'<rect x="{x}" y="{base - size:.1f}" width="{STEP - 4}" height="{size:.1f}" fill="{COLOURS[atom(key)]}"/>'
        )
    parts.append(f'<line x1="{LEFT}" x2="{LEFT + KEYS * STEP}" y1="{base}" y2="{base}" stroke="#52606d"/>')
    return "\n".join(parts)


def main() -> None:
    """Write the figure."""
    before, after, masses = rows()
    largest = max(before + after)
    width, height = LEFT + KEYS * STEP + 20, 2 * HEIGHT + 130
    style = "text{font:13px sans-serif;fill:#323f4b}.title{font-weight:bold}"
    legend = [
        f'<rect x="{LEFT + 150 * index}" y="{height - 32}" width="12" height="12" fill="{colour}"/>'
        f'<text x="{LEFT + 150 * index + 18}" y="{height - 21}">{" + ".join(names) or "no span"}</text>'
        for index, (names, colour) in enumerate(COLOURS.items())
    ]
    body = [
        panel(before, masses[0], "Attention of one query", 36, largest),
        panel(after, masses[1], 'After Scale("rule", 5)', HEIGHT + 76, largest),
        *legend,
    ]
    label = "One row of attention before and after an edit; bars are keys, colours are atoms"
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    TARGET.write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" aria-label="{label}">'
        f'<style>{style}</style><rect width="{width}" height="{height}" fill="#ffffff"/>\n'
        + "\n".join(body)
        + "\n</svg>\n",
        encoding="utf-8",
    )


if __name__ == "__main__":
    main()
