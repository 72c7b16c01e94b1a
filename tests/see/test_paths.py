"""Paths and co-attention equal their definitions on whole matrices."""

import pytest
import torch
from torch import nn

import saccade as sc
from saccade.core.errors import MeasureError
from saccade.see import CoRelevance, Relevance, Rollout, paths, targets

from .dense import case

TOKEN = {"llama": -1, "bert": 0}


def alone(kind):
    """One sample of a case: with padding on the left (llama), or without (bert's first)."""
    here = case(kind)
    here.inputs.update({name: value[:1] for name, value in here.inputs.items()})
    return here


def wanted(matrices, start, kind):
    """Levels and edges of all tokens, in float64."""
    eye = torch.eye(matrices[0].shape[-1], dtype=torch.float64)
    mixes = [0.5 * m + 0.5 * eye if kind == "rollout" else m + eye for m in matrices]
    levels = [start]
    for mix in reversed(mixes):
        levels.insert(0, levels[0] @ mix)
    edges = [levels[i + 1][:, None] * mix / levels[i].sum() for i, mix in enumerate(mixes)]
    return torch.stack([level / level.sum() for level in levels]), torch.stack(edges)


@pytest.mark.parametrize("by", ["rollout", "relevance"])
@pytest.mark.parametrize("kind", ["llama", "bert"])
def test_paths(kind, by):
    here = alone(kind)
    real = here.inputs["attention_mask"][0].bool()
    place = int(real.nonzero()[TOKEN[kind]])

    def target(output):
        return output.logits[:, place, 3]

    _, matrices, slopes = here.dense(target)
    pairs = zip(matrices, slopes, strict=True)
    mixing = [(a.mean(1) if by == "rollout" else (a * g).clamp_min(0).mean(1))[0] for a, g in pairs]
    start = torch.zeros(len(real), dtype=torch.float64)
    start[place] = 1
    nodes, edges = wanted(mixing, start, by)
    method = Rollout() if by == "rollout" else Relevance()
    found = paths(
        sc.attach(here.model),
        token=TOKEN[kind],
        by=method,
        most=5,
        target=target if by == "relevance" else None,
        **here.inputs,
    )
    chosen = found.tokens
    assert chosen.tolist() == sorted(nodes.amax(0).topk(5).indices.tolist())
    torch.testing.assert_close(found.nodes.double(), nodes[:, chosen], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(found.edges.double(), edges[:, chosen][:, :, chosen], atol=1e-5, rtol=1e-4)
    assert len(found.tobytes()) == 4 * (2 + 5 + found.nodes.numel() + found.edges.numel())


def test_paths_of_the_predicted_token_and_what_is_refused():
    here = alone("llama")
    lm = sc.attach(here.model)
    index = int(here.model(**here.inputs).logits[0, -1].argmax())
    both = [paths(lm, by=Relevance(), target=target, **here.inputs) for target in (None, targets.logit(index))]
    torch.testing.assert_close(both[0].edges, both[1].edges)
    with pytest.raises(MeasureError, match="one prompt, found 2"):
        paths(lm, **case("llama").inputs)
    with pytest.raises(MeasureError, match="mean over heads"):
        paths(lm, by=Rollout(fusion="max"), **here.inputs)
    bart = case("bart")
    with pytest.raises(MeasureError, match="one stack"):
        paths(sc.attach(bart.model), **bart.inputs)


class Attention(nn.Module):
    """Multi-head attention that can also be asked for its whole weights."""

    def __init__(self, dim, heads):
        super().__init__()
        self.heads, self.q, self.k, self.v = heads, nn.Linear(dim, dim), nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.dense = None

    def forward(self, x, context=None):
        context = x if context is None else context
        parts = (self.q(x), self.k(context), self.v(context))
        q, k, v = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in parts)
        if self.dense is None:
            out = nn.functional.scaled_dot_product_attention(q, k, v)
        else:
            weights = (q @ k.mT / q.shape[-1] ** 0.5).softmax(-1)
            weights.retain_grad()
            self.dense.append(weights)
            out = weights @ v
        return x + out.transpose(1, 2).flatten(2)


class TwoStreams(nn.Module):
    """Layers in which each stream reads itself, then both read each other at once."""

    def __init__(self, layers=2, dim=16, heads=4):
        super().__init__()
        make = lambda: nn.ModuleList(Attention(dim, heads) for _ in range(layers))
        self.text, self.image, self.text_cross, self.image_cross = make(), make(), make(), make()
        self.head = nn.Linear(dim, 3)

    def forward(self, text, image):
        for layer in range(len(self.text)):
            text, image = self.text[layer](text), self.image[layer](image)
            text, image = self.text_cross[layer](text, image), self.image_cross[layer](image, text)
        return self.head(text[:, 0])


STREAMS = {
    "text.*": ("text", "text"),
    "image.*": ("image", "image"),
    "text_cross.*": ("text", "image"),
    "image_cross.*": ("image", "text"),
}


def by_hand(model, text, image):
    """The rules, step by step on whole matrices in float64."""
    calls = []
    for module in model.modules():
        if isinstance(module, Attention):
            module.dense = []
    logits = model(text, image)
    logits[:, 1].sum().backward()
    for layer in range(len(model.text)):
        for name in ("text", "image", "text_cross", "image_cross"):
            weights = getattr(model, name)[layer].dense[0]
            slope = torch.zeros_like(weights) if weights.grad is None else weights.grad
            calls.append((name, (weights * slope).clamp_min(0).mean(1).detach()))
    n, m = text.shape[1], image.shape[1]
    tt, ii = torch.eye(n).double().repeat(2, 1, 1), torch.eye(m).double().repeat(2, 1, 1)
    ti, it = torch.zeros(2, n, m).double(), torch.zeros(2, m, n).double()

    def normal(r):
        eye = torch.eye(r.shape[-1], dtype=r.dtype)
        total = (r - eye).sum(-1, keepdim=True)
        return eye + torch.where(total > 0, (r - eye) / total, torch.zeros_like(r))

    for start in range(0, len(calls), 4):
        a_t, a_i, a_ti, a_it = (one for _, one in calls[start : start + 4])
        tt, ti = tt + a_t @ tt, ti + a_t @ ti
        ii, it = ii + a_i @ ii, it + a_i @ it
        add_ti, add_tt = normal(tt).mT @ a_ti @ normal(ii), a_ti @ it
        add_it, add_ii = normal(ii).mT @ a_it @ normal(tt), a_it @ ti
        ti, tt, it, ii = ti + add_ti, tt + add_tt, it + add_it, ii + add_ii
    return {"text": tt[:, 0], "image": ti[:, 0]}


def test_co_attention():
    torch.manual_seed(0)
    model = TwoStreams().double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3)
    text, image = torch.randn(2, 5, 16).double(), torch.randn(2, 7, 16).double()
    lm = sc.attach(model)
    found = CoRelevance(STREAMS).explain(lm, target=lambda out: out[:, 1], stream="text", text=text, image=image)
    for name, expected in by_hand(model, text, image).items():
        torch.testing.assert_close(found[name].double(), expected, atol=1e-5, rtol=1e-4)
        assert float(expected.max()) > 1e-3


def test_co_attention_says_what_is_missing():
    model = TwoStreams()
    given = {"target": lambda out: out[:, 1], "text": torch.randn(1, 5, 16), "image": torch.randn(1, 7, 16)}
    lm = sc.attach(model)
    for streams, stream, says in (
        ({**STREAMS, "text_cross.*": ("text", "text")}, "text", "'text' had 5 tokens, here it has 7"),
        ({"text.*": ("text", "text"), "x": ("text", "image")}, "text", "image.0 fits none of"),
        (STREAMS, "sound", "the streams are text, image"),
    ):
        with pytest.raises(MeasureError, match=says):
            CoRelevance(streams).explain(lm, stream=stream, **given)
    with pytest.raises(MeasureError, match="up to 6 tokens"):
        CoRelevance(STREAMS, limit=6).explain(lm, stream="text", **given)
    with pytest.raises(MeasureError, match="has 5 tokens; found token 5"):
        CoRelevance(STREAMS).explain(lm, stream="text", token=5, **given)
    with pytest.raises(MeasureError, match="one or two streams"):
        CoRelevance()
