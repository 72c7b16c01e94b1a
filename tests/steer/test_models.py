"""The methods in a model: padding, caches, generated tokens, and the proof of effect."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from transformers import BertConfig, BertModel

import saccade as sc
from hosts.oracle import oracle
from saccade.steer import PASTA, SplitSoftmax, TargetShare, ZeroTuning
from steer.dense import emphasised, moved, tuned

HEADS = sc.HeadSet([(0, 1), (1, 0), (1, 3), (2, 2)])
TEXTS = ["<s> a b c [[rule|d e f]] g h", "<s> [[rule|k]] l", "<s> q r [[rule|s t]] . u v w x"]
METHODS = {
    "PASTA out": (PASTA("rule", at=HEADS), emphasised(("rule", "generated"), 0.01)),
    "PASTA in": (PASTA("rule", strength=30.0, at=HEADS), emphasised(("rule", "generated"), 1 / 30)),
    "PASTA scaled": (PASTA("rule", at=HEADS, new_tokens="scaled"), emphasised(("rule",), 0.01)),
    "SplitSoftmax": (SplitSoftmax(0.4, "rule", at=HEADS), moved(("rule",), lambda p: p**0.4)),
    "TargetShare": (TargetShare("rule", 0.3, at=HEADS), moved(("rule",), lambda p: torch.full_like(p, 0.3))),
    "ZeroTuning": (ZeroTuning(4.0, at=HEADS), tuned("bos", 4.0)),
}
BATCHED = pytest.mark.parametrize("name", METHODS)
GENERATE = {"max_new_tokens": 5, "do_sample": False, "output_logits": True, "return_dict_in_generate": True}


def close(found: Tensor, wanted: Tensor) -> None:
    assert float((found - wanted).abs().max() / wanted.abs().max().clamp_min(1.0)) <= 1e-5


def steps(lm, prompt, method, **options) -> tuple[Tensor, sc.hosts.Effect | None]:
    if method is None:
        return torch.stack(lm.generate(prompt, **GENERATE, **options).logits, dim=1), None
    with lm.steer(method) as effect:
        out = lm.generate(prompt, **GENERATE, **options)
    return torch.stack(out.logits, dim=1), effect


@BATCHED
def test_a_left_padded_batch_with_new_tokens_equals_the_dense_recomputation(lm, name) -> None:
    method, equation = METHODS[name]
    prompt = lm.prompt(TEXTS, padding_side="left")
    new = torch.tensor([[9, 10], [11, 12], [13, 14]])
    ids = torch.cat([prompt.input_ids, new], dim=1)
    mask = torch.cat([prompt.attention_mask, torch.ones_like(new)], dim=1)
    generated = torch.arange(ids.shape[1]) >= prompt.input_ids.shape[1]
    spans = prompt.spans.resize(ids.shape[1]) | sc.Spans({"generated": generated.expand(3, -1)})
    member = {span: spans[span][:, None, None, :] for span in spans.names}
    picked = {site.path: HEADS.heads_at(site) for site in lm.sites}

    def edit(path: str, weights: Tensor) -> Tensor:
        new = weights.clone()
        new[:, picked[path]] = equation(weights, member)[:, picked[path]]
        return new

    inputs = {"input_ids": ids, "attention_mask": mask}
    real = mask.bool()
    plain = lm.model(**inputs).logits
    with oracle(lm.model, weights=edit):
        wanted = lm.model(**inputs).logits
    with lm.steer(method, spans=spans) as effect:
        found = lm(**inputs).logits
    close(found[real], wanted[real])
    assert float((found - plain)[real].abs().max()) > 1e-3
    assert effect.calls == len(HEADS.by_layer())


@BATCHED
def test_generation_with_a_cache_equals_generation_without(lm, name) -> None:
    method, _ = METHODS[name]
    prompt = lm.prompt(TEXTS, padding_side="left")
    cached, effect = steps(lm, prompt, method, use_cache=True)
    close(cached, steps(lm, prompt, method, use_cache=False)[0])
    plain, _ = steps(lm, prompt, None)
    assert float((cached[:, 0] - plain[:, 0]).abs().max()) > 1e-3
    assert effect.calls == 5 * len(HEADS.by_layer())


@BATCHED
def test_a_left_padded_batch_equals_one_by_one(lm, name) -> None:
    method, _ = METHODS[name]
    together, _ = steps(lm, lm.prompt(TEXTS, padding_side="left"), method)
    for row, text in enumerate(TEXTS):
        close(together[row : row + 1], steps(lm, lm.prompt(text), method)[0])


def test_the_initial_token_of_a_padded_batch_is_the_first_real_one(lm) -> None:
    prompt = lm.prompt(TEXTS, padding_side="left")
    first = prompt.attention_mask.long().argmax(dim=1)
    assert prompt.spans["bos"].long().argmax(dim=1).tolist() == first.tolist()
    assert prompt.spans["bos"].sum(dim=1).tolist() == [1, 1, 1]
    assert len(set(first.tolist())) > 1


@pytest.mark.parametrize(
    ("method", "rows", "sign"),
    [
        (PASTA("rule", strength=5.0, at=HEADS), 5, 1),
        (PASTA("rule", at=HEADS), 9, -1),
        (ZeroTuning(3.0, at=HEADS), 9, 1),
        (ZeroTuning(0.3, at=HEADS), 9, -1),
    ],
)
def test_the_effect_proves_how_many_rows_and_which_way(lm, method, rows, sign) -> None:
    """The prompt has 9 tokens, and ``rule`` is what the last 5 can see."""
    with lm.steer(method) as effect:
        lm(lm.prompt(TEXTS[0]))
    assert effect[0].rows == rows * len(HEADS)
    assert sign * (effect[0].after - effect[0].before) > 1e-3


def test_watched_masses_show_the_target(lm) -> None:
    prompt = lm.prompt(TEXTS[0])
    masses = sc.Mass(("rule",)), sc.Mass(("rule",), edited=False)
    with lm.steer(TargetShare("rule", 0.3, at=HEADS)), lm.watch(*masses) as seen:
        lm(prompt)
    for site in lm.sites:
        after, before = seen["mass"].site(site.name), seen["mass_before"].site(site.name)
        inside = torch.tensor(HEADS.heads_at(site))
        assert float((after[:, inside, -1] - 0.3).abs().max()) <= 1e-5
        others = [head for head in range(site.heads) if head not in HEADS.heads_at(site)]
        close(after[:, others], before[:, others])


def test_methods_compose_and_undo(lm) -> None:
    prompt = lm.prompt(TEXTS[0])
    plain = lm(prompt).logits
    with lm.steer(PASTA("rule", at=HEADS), ZeroTuning(2.0)) as effect:
        together = lm(prompt).logits
    with lm.steer(PASTA("rule", at=HEADS)), lm.steer(ZeroTuning(2.0)):
        nested = lm(prompt).logits
    assert len(effect) == 2
    close(together, nested)
    assert torch.equal(lm(prompt).logits, plain)


def test_an_encoder_has_no_new_tokens() -> None:
    torch.manual_seed(0)
    config = BertConfig(hidden_size=16, intermediate_size=16, num_hidden_layers=2, num_attention_heads=4, vocab_size=40)
    spans = sc.Spans.from_ranges({"rule": [(2, 5)]}, length=9)
    ids = torch.arange(9)[None]
    with sc.attach(BertModel(config).eval()) as lm:
        outputs = []
        for tokens in ("kept", "scaled"):
            with lm.steer(PASTA("rule", new_tokens=tokens), spans=spans) as effect:
                outputs.append(lm(input_ids=ids).last_hidden_state)
            assert effect[0].rows == 2 * 4 * 9
    assert torch.equal(*outputs)


def test_a_span_that_the_prompt_lacks_raises(lm) -> None:
    with pytest.raises(sc.SpanError, match="system"), lm.steer(SplitSoftmax(0.5)):
        lm(lm.prompt(TEXTS[0]))


def test_a_chat_has_the_default_span(lm) -> None:
    chat = lm.prompt([{"role": "system", "content": "a b c"}, {"role": "user", "content": "d e f g"}])
    with lm.steer(SplitSoftmax(0.5)), lm.watch(sc.Mass(("system",)), sc.Mass(("system",), edited=False)) as seen:
        lm(chat)
    site = lm.sites[0].name
    before, after = seen["mass_before"].site(site), seen["mass"].site(site)
    rows = before[0, 0, :, 0] > 0
    assert float((after - before.sqrt())[:, :, rows].abs().max()) <= 1e-5
    assert float(rows.sum()) >= 7
