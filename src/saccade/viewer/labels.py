"""[137] Heads beside labels of tokens: parts of speech, speakers, kinds of token, whatever a person knows of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from saccade.core.spans import Spans

from .base import Array, ViewError

PREFIX = "label "


def label_spans(labels: Sequence[str], length: int) -> Spans:
    """The tokens of each label as a span ``label <name>``; an empty label is none.

    Raises:
        ViewError: not one label for each token, or no label at all.

    >>> label_spans(["noun", "", "noun"], 3)
    Spans(label noun: [2] of 3 keys)
    """
    if isinstance(labels, str) or len(labels) != length:
        raise ViewError(f"labels are one string for each of the {length} tokens, '' for none; found {len(labels)}.")
    names = list(dict.fromkeys(filter(None, labels)))
    if not names:
        raise ViewError("no token has a label; leave labels out, or label some tokens.")
    return Spans({f"{PREFIX}{name}": torch.tensor([label == name for label in labels]) for name in names})


def label_measures(mass: Array, names: Sequence[str], labels: Sequence[str]) -> dict[str, Array]:
    """From the mass ``[.., N, S]`` on spans, two kinds of measure of a head.

    ``label <name>`` is the mean over query rows of the mass on the tokens of that label; ``same label`` the mean, over
    the rows that have a label, of the mass on tokens of the row's own label. A head that reads evenly gets the share
    of tokens with that label, and a token's weight on itself counts.

    Source: Wang et al., "Dodrio" (paper 137), whose overview compares heads with a parse; here any labels are given,
    and masses count every weight instead of the largest.

    >>> label_measures(np.array([[0.25, 0.75], [1.0, 0.0]]), ["label a", "label b"], ["a", "b"])["same label"]
    array(0.125)
    """
    found = {name: mass[..., i].mean(-1) for i, name in enumerate(names) if name.startswith(PREFIX)}
    rows = [row for row, label in enumerate(labels) if label]
    own = mass[..., rows, [list(names).index(f"{PREFIX}{labels[row]}") for row in rows]]
    return found | {"same label": np.asarray(own.mean(-1))}
