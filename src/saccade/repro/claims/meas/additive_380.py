"""[380] Recall of a fact is a sum of contributions from its subject and its relation."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from saccade.repro.registry import claim
from saccade.repro.result import Comparison, Result
from saccade.see import Lens
from saccade.tasks.world.facts import RELATIONS, STABLE, stable_facts
from saccade.tasks.world.lexicon import lexicon

from .facts import asked, first_token, reader

SUBJECT, RELATION = 7, 5
"""Places in ``<s> <|user|> what is the RELATION of SUBJECT ? <|end|> <|assistant|>``."""
BAR_SUM, BAR_MOTIF = 0.3, 0.5
"""Of accuracy, and of logits."""


@claim(
    380,
    "what heads write from the subject raises all attributes of the subject, what they write from the relation raises "
    "all values of the relation; neither alone tells the answer, their sum does",
    uses=("saccade.see.lens", "zoo:reader"),
)
def run(quick: bool, seed: int) -> Result:
    """On the model `reader`, facts that its weights hold and that it recalls right; a unit is a fact.

    The final position's direct logit attribution is split by source token, summed over all heads and layers; accuracy
    is that of the largest contribution among all values of all relations. Feed-forward layers are left out.
    """
    lm = reader()
    facts = list(stable_facts())
    order = torch.randperm(len(facts), generator=torch.Generator().manual_seed(seed)).tolist()
    facts = [facts[index] for index in order[: 40 if quick else None]]
    ids = asked(lm, [fact.question for fact in facts])
    answer = torch.tensor([first_token(lm, fact.value) for fact in facts])
    with torch.no_grad():
        known = (lm(input_ids=ids).logits[:, -1].argmax(-1) == answer).tolist()
    facts = [fact for fact, right in zip(facts, known, strict=True) if right]
    ids, answer = ids[known], answer[known]
    lens = Lens.of(lm, input_ids=ids)
    rest = [place for place in range(ids.shape[1]) if place not in (SUBJECT, RELATION)]
    parts = {
        name: written(lens, ids, places)
        for name, places in (("subject", [SUBJECT]), ("relation", [RELATION]), ("other tokens", rest))
    }
    parts["sum"] = parts["subject"] + parts["relation"]
    values = {
        relation: sorted({first_token(lm, v) for v in lexicon().values(RELATIONS[relation])}) for relation in STABLE
    }
    every = torch.tensor(sorted({token for some in values.values() for token in some}))
    own = {
        fact.subject: [first_token(lm, one.value) for one in stable_facts() if one.subject == fact.subject]
        for fact in facts
    }
    right = {name: (every[part[:, every].argmax(-1)] == answer).double() for name, part in parts.items()}

    def raised(part: Tensor, group: list[list[int]]) -> Tensor:
        above = part - part[:, every].mean(-1, keepdim=True)
        return torch.stack([above[i, some].mean() for i, some in enumerate(group)]).double()

    others = [[token for token in own[fact.subject] if token != answer[i]] for i, fact in enumerate(facts)]
    kin = [[token for token in values[fact.relation] if token != answer[i]] for i, fact in enumerate(facts)]
    nothing = torch.zeros(len(facts), dtype=torch.float64)
    return Result(
        Comparison("answers told: subject alone against sum", pair(right["subject"], right["sum"]), BAR_SUM),
        (
            Comparison("answers told: relation alone against sum", pair(right["relation"], right["sum"]), BAR_SUM),
            Comparison(
                "logits of the subject's other attributes, from the subject",
                pair(nothing, raised(parts["subject"], others)),
                BAR_MOTIF,
            ),
            Comparison(
                "logits of the relation's other values, from the relation",
                pair(nothing, raised(parts["relation"], kin)),
                BAR_MOTIF,
            ),
        ),
        {
            "recalled": f"{len(facts)} of {len(known)}",
            "answers told": {name: round(float(share.mean()), 3) for name, share in right.items()},
            "subject's attributes from the relation": round(float(raised(parts["relation"], others).mean()), 3),
            "relation's values from the subject": round(float(raised(parts["subject"], kin).mean()), 3),
        },
    )


def written(lens: Lens, ids: Tensor, places: list[int]) -> Tensor:
    """Logits from what all heads write from some source tokens ``[B, V]``."""
    member = torch.zeros(ids.shape, dtype=torch.bool)
    member[:, places] = True
    layers = range(len(lens.seen.stack()))
    return torch.stack([lens.token_logits(layer, member) for layer in layers]).sum(0)


def pair(baseline: Tensor, method: Tensor) -> Any:
    """Units of two columns."""
    return torch.stack([baseline, method], 1).double().numpy()
