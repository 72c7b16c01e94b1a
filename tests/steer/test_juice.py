"""JUICE against two runs by hand: hooks before the output projections, no cache, one prompt at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch

import saccade as sc
from saccade.heads import HeadError
from saccade.steer import JUICE

WIDTH = 8
PROMPTS = ["a b c d e", "<s> f g", "h i j k l m n o"]
ENLARGE, SUPPRESS = sc.HeadSet([(0, 1), (1, 3), (2, 0)]), sc.HeadSet([(0, 2), (2, 3)])
FIRST, SECOND = {0: {1: 2.0, 2: -0.5}, 1: {3: 2.0}, 2: {0: 2.0, 3: -0.5}}, JUICE(ENLARGE, SUPPRESS, 2.0, 0.5)


@contextmanager
def before_projections(model, act) -> Iterator[None]:
    """``act(layer, z)`` may change the heads' outputs z [1, Q, heads * WIDTH] of each layer."""
    handles = [
        layer.self_attn.o_proj.register_forward_pre_hook(lambda _, args, number=number: (act(number, args[0]),))
        for number, layer in enumerate(model.model.layers)
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def ids_of(lm, text: str) -> torch.Tensor:
    return lm.tokenizer(text, return_tensors="pt")["input_ids"]


def logits_by_hand(lm, ids: torch.Tensor, factors, twice: bool = True) -> torch.Tensor:
    kept: dict[int, torch.Tensor] = {}

    def keep(layer, z):
        kept[layer] = z.clone()
        return z

    def lend(layer, z):
        z = z.clone()
        given = (kept[layer] if twice else z.clone()) if factors.get(layer) else z
        for head, factor in factors.get(layer, {}).items():
            part = slice(head * WIDTH, (head + 1) * WIDTH)
            z[..., part] += factor * given[..., part]
        return z

    with before_projections(lm.model, keep):
        lm.model(ids)
    with before_projections(lm.model, lend):
        return lm.model(ids).logits[:, -1]


def test_a_padded_batch_is_two_runs_of_each_prompt(lm) -> None:
    found = SECOND.logits(lm, lm.prompt(PROMPTS))
    wanted = torch.cat([logits_by_hand(lm, ids_of(lm, text), FIRST) for text in PROMPTS])
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)


def test_once_scales_what_heads_give_now(lm) -> None:
    prompt = lm.prompt(PROMPTS[0])
    with lm.steer(*SECOND.once()):
        found = lm(prompt).logits[:, -1]
    ids = ids_of(lm, PROMPTS[0])
    torch.testing.assert_close(found, logits_by_hand(lm, ids, FIRST, twice=False), rtol=1e-4, atol=1e-4)
    assert float((found - logits_by_hand(lm, ids, FIRST)).abs().max()) > 1e-2


def test_heads_of_the_first_layer_are_the_same_in_one_run_as_in_two(lm) -> None:
    juice = JUICE(enlarge=sc.HeadSet([(0, 1), (0, 3)]), more=3.0)
    prompt = lm.prompt(PROMPTS)
    with lm.steer(*juice.once()):
        once = lm.generate(prompt, max_new_tokens=1, output_logits=True, return_dict_in_generate=True).logits[0]
    torch.testing.assert_close(juice.logits(lm, prompt), once, rtol=1e-4, atol=1e-4)


def test_it_writes_what_running_everything_twice_for_each_token_writes(lm) -> None:
    found = SECOND.generate(lm, lm.prompt(PROMPTS), max_new_tokens=6)
    plain = lm.generate(lm.prompt(PROMPTS), max_new_tokens=6, do_sample=False)
    for text, reply in zip(PROMPTS, found, strict=True):
        ids = ids_of(lm, text)
        length = ids.shape[1]
        for _ in range(6):
            ids = torch.cat([ids, logits_by_hand(lm, ids, FIRST).argmax(-1, keepdim=True)], 1)
        assert reply == lm.tokenizer.decode(ids[0, length:], skip_special_tokens=True)
    assert found != plain
    assert SECOND.generate(lm, lm.prompt(PROMPTS[2]), max_new_tokens=6) == found[2]


def test_other_edits_act_in_both_runs(lm) -> None:
    prompt = lm.prompt("a b [[rule|c d]] e")
    nothing = JUICE(enlarge=ENLARGE, more=1e-12)
    with lm.steer(sc.Scale("rule", 20.0)):
        alone = lm(prompt).logits[:, -1]
        torch.testing.assert_close(nothing.logits(lm, prompt), alone, rtol=1e-4, atol=1e-4)
    assert float((nothing.logits(lm, prompt) - alone).abs().max()) > 1e-2


@pytest.mark.parametrize("side", [128, 7])
def test_reliable_heads_help_in_every_situation(lm, monkeypatch, side) -> None:
    monkeypatch.setattr("saccade.steer.juice.SIDE_BY_SIDE", side)
    raised, lowered = (1.0, 4.0), (1.0, 2.0)
    situations = {
        "conflict": [(lm.prompt(PROMPTS), [7, 9, 11])],
        "clean": [(lm.prompt("p q r"), [8]), (lm.prompt(["s", "t u v w"]), [12, 20])],
    }
    up, down = JUICE.find(lm, situations, raised=raised, lowered=lowered, progress=False)
    texts = {
        "conflict": list(zip(PROMPTS, [7, 9, 11], strict=True)),
        "clean": [("p q r", 8), ("s", 12), ("t u v w", 20)],
    }

    def change(head, factors) -> list[float]:
        gains = []
        for rows in texts.values():
            each = [
                float(
                    (
                        logits_by_hand(lm, ids_of(lm, text), {head[0]: {head[1]: f}}).softmax(-1)
                        - logits_by_hand(lm, ids_of(lm, text), {}).softmax(-1)
                    )[0, token]
                )
                for f in factors
                for text, token in rows
            ]
            gains.append(sum(each) / len(each))
        return gains

    for found, factors in ((up, raised), (down, [-f for f in lowered])):
        gains = {(layer, head): change((layer, head), factors) for layer in range(3) for head in range(4)}
        wanted = {place: sum(each) for place, each in gains.items() if min(each) > 0}
        assert {head.place: head.score for head in found} == pytest.approx(wanted, abs=1e-6)
        assert found.belongs_to(lm)


def test_no_reliable_head_is_an_error(lm, monkeypatch) -> None:
    monkeypatch.setattr(
        "saccade.steer.juice._gains", lambda lm, prompt, wanted, variants, _: torch.zeros(len(variants), 1)
    )
    rows = {"here": [(lm.prompt("a b c"), [8])], "there": [(lm.prompt("d"), [9])]}
    with pytest.raises(HeadError, match=r"no head helps the wanted answer in all of \['here', 'there'\]"):
        JUICE.find(lm, rows, progress=False)


WRONG = [
    (JUICE, "nothing to change"),
    (lambda: JUICE(enlarge=ENLARGE, more=0.0), "nothing to change"),
    (lambda: JUICE(enlarge=ENLARGE, more=-1.0), "more is a number of at least 0, found -1.0"),
    (lambda: JUICE(suppress=SUPPRESS, less=True), "less is a number of at least 0, found True"),
]


@pytest.mark.parametrize(("make", "message"), WRONG)
def test_wrong_factors_and_no_heads(make, message) -> None:
    with pytest.raises(sc.EditError, match=message):
        make()


def test_sampling_is_refused(lm) -> None:
    with pytest.raises(sc.EditError, match="decodes greedily"):
        SECOND.generate(lm, lm.prompt("a b"), do_sample=True)
