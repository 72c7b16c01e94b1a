"""Draw docs/img/masses.svg: what the demo's encoder attends to, as it is and with one clause emphasised.

python scripts/figure_masses.py
"""

from html import escape
from pathlib import Path

import torch

import saccade as sc
from saccade.cli.models import load
from saccade.demo import REVIEWS, STRENGTH

TARGET = Path(__file__).parents[1] / "docs" / "img" / "masses.svg"
EMPHASISED = "breakfast"
WIDTH, CHARACTER, LINE, LEFT, BAR = 760, 8.2, 26, 20, 420
STYLE = "font-family:ui-monospace,Menlo,Consolas,monospace;font-size:13px"


def measure() -> tuple[tuple[str, ...], list[list[float]], list[list[float]]]:
    """Tokens; then, as it is and with the clause emphasised, attention received by each, and mass on each clause."""
    lm = load("minilm").host
    review, last = REVIEWS[0], lm.sites[-1].name
    prompt = lm.prompt(review.text, spans=review.clauses)
    received, masses = [], []

    def look() -> None:
        measures = sc.Received(), sc.Mass(tuple(review.clauses))
        with torch.no_grad(), lm.watch(*measures, sites=last) as seen:
            lm(prompt)
        received.append((seen["received"].site(last)[0].mean(0) / prompt.input_ids.shape[1]).tolist())
        masses.append(seen["mass"].site(last)[0].mean((0, 1)).tolist())

    look()
    with lm.steer(sc.Scale(EMPHASISED, STRENGTH, at=last)):
        look()
    return prompt.tokens[0], received, masses


def strip(tokens: tuple[str, ...], weights: list[float], top: float, y: float) -> tuple[list[str], float]:
    """Tokens on a ground as dark as the attention they receive, wrapped; and where the next thing can stand."""
    out, x = [], float(LEFT)
    for token, weight in zip(tokens, weights, strict=True):
        width = CHARACTER * len(token) + 8
        if x + width > WIDTH - LEFT:
            x, y = float(LEFT), y + LINE
        share = weight / top
        ink = "#fff" if share > 0.55 else "#123"
        box = f'<rect x="{x:.1f}" y="{y - 16:.1f}" width="{width:.1f}" height="22" rx="3" fill="#08519c"'
        out.append(f'{box} fill-opacity="{share:.3f}"/>')
        out.append(f'<text x="{x + 4:.1f}" y="{y:.1f}" fill="{ink}">{escape(token)}</text>')
        x += width + 2
    return out, y + LINE + 14


def draw() -> str:
    """The figure."""
    tokens, received, masses = measure()
    top = max(max(row) for row in received)
    body, y = [], 30.0
    titles = "Attention received by each token, last layer", f"the same with sc.Scale({EMPHASISED!r}, {STRENGTH:g})"
    for title, weights in zip(titles, received, strict=True):
        body.append(f'<text x="{LEFT}" y="{y:.1f}" font-weight="bold" fill="#123">{escape(title)}</text>')
        more, y = strip(tokens, weights, top, y + LINE)
        body += more
    body.append(f'<text x="{LEFT}" y="{y:.1f}" font-weight="bold" fill="#123">Mass on each clause</text>')
    for name, before, after in zip(REVIEWS[0].clauses, *masses, strict=True):
        y += LINE
        body.append(f'<text x="{LEFT}" y="{y:.1f}" fill="#123">{name}</text>')
        for mass, dy, colour in ((before, -11, "#9ecae1"), (after, -3, "#08519c")):
            size = BAR * mass / 0.4
            body.append(f'<rect x="120" y="{y + dy:.1f}" width="{size:.1f}" height="7" fill="{colour}"/>')
        body.append(f'<text x="{140 + BAR}" y="{y:.1f}" fill="#123">{before:.3f} -> {after:.3f}</text>')
    height = y + 20
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height:.0f}" style="{STYLE}">'
    return "\n".join([head, f'<rect width="{WIDTH}" height="{height:.0f}" fill="#fff"/>', *body, "</svg>", ""])


if __name__ == "__main__":
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    TARGET.write_text(draw(), encoding="utf-8")
