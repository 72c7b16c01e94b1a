"""Scores of heads against dense float64 attention and the definitions, written as loops."""

from __future__ import annotations

import itertools
import math
import statistics

import pytest
import torch
from torch import Tensor

import saccade as sc
from hosts.oracle import oracle
from saccade import tasks, zoo
from saccade.heads import (
    KINDS,
    HeadError,
    HeadSet,
    Sensitivity,
    Shapley,
    ZeroAblation,
    answer_loss,
    find,
    importance,
    labelled,
    likelihood,
    repeats,
)
from steer.conftest import tiny

TEXTS = [
    "<s> [[rule|a b]] c . [[one|d]] a [[two|b]] c a",
    "<s> [[rule|f]] g . [[one|f f]] g [[two|h]]",
    "<s> h [[rule|i j]] k , [[one|h]] [[two|i]] j k h i . j",
]
TEXTS = [text.replace(",", ".") for text in TEXTS]
ANSWERS = ["q r", "s", "t u v"]


@pytest.fixture
def lm():
    with torch.no_grad(), sc.attach(*tiny()) as host:
        yield host


def dense(lm, ids: list[int]) -> dict[int, Tensor]:
    """Weights ``[H, N, N]`` in float64 by layer, of one sequence without padding."""
    found: dict[str, Tensor] = {}

    def keep(path: str, weights: Tensor) -> Tensor:
        found[path] = weights[0]
        return weights

    with oracle(lm.model, weights=keep):
        lm.model(torch.tensor([ids]))
    return {site.layer: found[site.path] for site in lm.sites}


def alone(lm, text: str):
    """A prompt without padding: its ids, and its spans as sets of positions."""
    prompt = lm.prompt(text)
    spans = {name: set(prompt.spans[name][0].nonzero().flatten().tolist()) for name in prompt.spans.names}
    return prompt.input_ids[0].tolist(), spans


def oracle_means(lm, score) -> dict[tuple[int, int], float]:
    """``score(weights, ids, spans) -> values of one head``, pooled over texts, by head."""
    values: dict[tuple[int, int], list[float]] = {}
    for text in TEXTS:
        ids, spans = alone(lm, text)
        for layer, weights in dense(lm, ids).items():
            for head in range(len(weights)):
                values.setdefault((layer, head), []).extend(score(weights[head].tolist(), ids, spans))
    return {place: statistics.fmean(each) for place, each in values.items()}


def agree(found: HeadSet, wanted: dict[tuple[int, int], float], tolerance: float = 1e-5) -> None:
    assert {head.place: head.score for head in found} == pytest.approx(wanted, abs=tolerance)
    assert [head.score for head in found] == sorted((head.score for head in found), reverse=True)


def follows(rows, ids, spans, targets):
    sums = []
    for i in range(len(ids)):
        keys = [j for j in range(len(ids)) if targets(ids, i, j)]
        sums += [sum(rows[i][j] for j in keys)] if keys else []
    return sums


RULES = {
    "induction": lambda ids, i, j: 1 <= j <= i and ids[j - 1] == ids[i] and j - 1 < i,
    "previous-token": lambda ids, i, j: j == i - 1,
    "duplicate-token": lambda ids, i, j: j < i and ids[j] == ids[i],
}


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("kind", RULES)
def test_patterns(lm, kind, side) -> None:
    wanted = oracle_means(lm, lambda rows, ids, spans: follows(rows, ids, spans, RULES[kind]))
    agree(find(lm, kind, [lm.prompt(TEXTS, padding_side=side)]), wanted)
    agree(find(lm, kind, [lm.prompt(text) for text in TEXTS]), wanted)


def test_rows_come_in_tiles(lm, monkeypatch) -> None:
    whole = find(lm, "induction", lm.prompt(TEXTS))
    monkeypatch.setattr("saccade.heads.reading.ENTRIES", 1)
    agree(find(lm, "induction", lm.prompt(TEXTS)), {head.place: head.score for head in whole})


@pytest.mark.parametrize("side", ["left", "right"])
def test_sink(lm, side) -> None:
    for count in (1, 2):
        wanted = oracle_means(lm, lambda rows, ids, _, n=count: [sum(row[:n]) for row in rows[n:]])
        agree(find(lm, "sink", lm.prompt(TEXTS, padding_side=side), tokens=count), wanted)


def test_delimiter(lm) -> None:
    stops = {lm.tokenizer.bos_token_id, lm.tokenizer.convert_tokens_to_ids(".")}

    def score(rows, ids, _, marks=stops):
        return [
            sum(weight for weight, key in zip(row, ids, strict=True) if key in marks)
            for row, query in zip(rows, ids, strict=True)
            if query not in marks
        ]

    agree(find(lm, "delimiter", lm.prompt(TEXTS)), oracle_means(lm, score))
    named = {lm.tokenizer.convert_tokens_to_ids("a")}
    agree(
        find(lm, "delimiter", lm.prompt(TEXTS), tokens=("a",)),
        oracle_means(lm, lambda rows, ids, spans: score(rows, ids, spans, named)),
    )


@pytest.mark.parametrize("side", ["left", "right"])
def test_looks_of_the_last_token(lm, side) -> None:
    batch = lm.prompt(TEXTS, padding_side=side)

    def mass(row, keys):
        return sum(row[j] for j in keys)

    agree(
        find(lm, "false-induction", batch, same="one", other="rule", labels=3),
        oracle_means(lm, lambda rows, _, spans: [mass(rows[-1], spans["one"]) - mass(rows[-1], spans["rule"]) / 2]),
    )
    agree(
        find(lm, "arithmetic", batch, spans=("one", "two")),
        oracle_means(lm, lambda rows, _, spans: [mass(rows[-1], spans["one"] | spans["two"])]),
    )


def test_instruction_is_the_gap_of_the_bounds(lm) -> None:
    per_text: dict[tuple[int, int], list[float]] = {}
    for text in TEXTS:
        ids, spans = alone(lm, text)
        for layer, weights in dense(lm, ids).items():
            for head in range(4):
                per_text.setdefault((layer, head), []).append(float(weights[head, -1, sorted(spans["rule"])].sum()))
    normal, attack = TEXTS[:2], TEXTS[1:]
    wanted = {
        place: (statistics.fmean(s[:2]) - 3 * statistics.stdev(s[:2]))
        - (statistics.fmean(s[1:]) + 3 * statistics.stdev(s[1:]))
        for place, s in per_text.items()
    }
    data = {"normal": lm.prompt(normal), "attack": [lm.prompt(text) for text in attack]}
    agree(find(lm, "instruction", data, k=3.0), wanted)


def test_syntax(lm) -> None:
    prompt = lm.prompt(TEXTS)
    pad = [int((row == 0).sum()) for row in prompt.attention_mask]
    links = [[(4, 2), (8, 1)], [(5, 4)], []]
    wanted = {}
    for layer in range(3):
        for head in range(4):
            hits = []
            for text, pairs in zip(TEXTS, links, strict=True):
                ids, _ = alone(lm, text)
                rows = dense(lm, ids)[layer][head].tolist()
                for i, t in pairs:
                    open_keys = [j for j in range(len(ids)) if j != i and ids[j] not in lm.tokenizer.all_special_ids]
                    hits.append(max(open_keys, key=lambda j: rows[i][j]) == t)
            wanted[layer, head] = sum(hits) / len(hits)
    shifted = [[(i + by, t + by) for i, t in pairs] for pairs, by in zip(links, pad, strict=True)]
    agree(find(lm, "syntax", [(prompt, shifted)]), wanted)


def test_offset(lm) -> None:
    wanted = {}
    for layer, head in itertools.product(range(3), range(4)):
        shares = []
        for d in range(5):
            hits = []
            for text in TEXTS:
                ids, _ = alone(lm, text)
                rows = dense(lm, ids)[layer][head]
                hits += [int(rows[i].argmax()) == i - d for i in range(d, len(ids))]
            shares.append(sum(hits) / len(hits))
        wanted[layer, head] = max(shares)
    agree(find(lm, "offset", lm.prompt(TEXTS), reach=4), wanted)


def copied(lm, text: str, span: str, steps: int) -> tuple[dict[tuple[int, int], float], list[int]]:
    """Retrieval score of each head on one text by decoding without a cache, and what was written."""
    ids, spans = alone(lm, text)
    line, got = list(ids), {}
    for _ in range(steps):
        weights = dense(lm, line)
        new = int(lm.model(torch.tensor([line])).logits[0, -1].argmax())
        for layer, rows in weights.items():
            for head in range(len(rows)):
                best = int(rows[head, -1].argmax())
                got.setdefault((layer, head), set())
                if best in spans[span] and line[best] == new:
                    got[layer, head].add(best)
        line.append(new)
    return {place: len(keys) / len(spans[span]) for place, keys in got.items()}, line[len(ids) :]


def test_retrieval() -> None:
    """On the copier, which copies; two decoded tokens, so that the cache matters."""
    model, tokenizer = zoo.load("copier")
    examples = tasks.get("algorithmic/induction", difficulty=2, seed=3).examples(5)
    with torch.no_grad(), sc.attach(model, tokenizer) as lm:
        texts = [example.marked("gold") for example in examples]
        texts[2] = "be " + texts[2]
        runs = [copied(lm, text, "gold", 2) for text in texts]
        answers = [written for _, written in runs]
        wanted = {place: statistics.fmean(run[place] for run, _ in runs) for place in runs[0][0]}
        assert max(wanted.values()) > 0.5
        agree(find(lm, "retrieval", [(lm.prompt(texts), answers)], span="gold"), wanted)
        answers[0] = [answers[0][0], 0]
        wanted = {place: statistics.fmean(run[place] for run, _ in runs[1:]) for place in wanted}
        agree(find(lm, "retrieval", [(lm.prompt(texts), answers)], span="gold"), wanted)


def test_knock_outs(lm) -> None:
    data = [(lm.prompt(TEXTS), ANSWERS)]
    other = [(lm.prompt(TEXTS), ["v", "q", "r"])]
    plain = likelihood(lm, data) - likelihood(lm, other)
    wanted = {}
    for layer, head in itertools.product(range(3), range(4)):
        with lm.steer(ZeroAblation({layer: [head]})):
            wanted[layer, head] = plain - (likelihood(lm, data) - likelihood(lm, other))
    agree(find(lm, "context", {"context": data, "memory": other}, progress=False), wanted)
    both = {"dated": data, "undated": other}
    agree(find(lm, "temporal", both, tolerance=math.inf, progress=False), wanted)
    costs = {head.place: head.score for head in importance(lm, other, likelihood, progress=False)}
    spared = {place: score for place, score in wanted.items() if costs[place] <= 0.1}
    assert 0 < len(spared) < len(wanted)
    agree(find(lm, "temporal", both, progress=False), spared)
    with pytest.raises(HeadError, match="every head costs the set 'undated' more"):
        find(lm, "temporal", both, tolerance=-9.0, progress=False)
    turned = {place: -score for place, score in wanted.items()}
    agree(find(lm, "memory", {"context": data, "memory": other}, progress=False), turned)


def losses_with_gate(lm, layer: int, head: int, gate: float) -> list[float]:
    """Loss of each text with one head's output times a gate, in dense attention, without padding."""
    path = next(site.path for site in lm.sites if site.layer == layer)

    def scaled(at: str, output: Tensor) -> Tensor:
        factor = torch.ones(output.shape[1], 1, 1, dtype=output.dtype)
        factor[head] = gate if at == path else 1.0
        return output * factor

    found = []
    for text, answer in zip(TEXTS, ANSWERS, strict=True):
        ids, _ = alone(lm, text)
        reply = lm.tokenizer(answer, add_special_tokens=False)["input_ids"]
        with oracle(lm.model, output=scaled):
            logits = lm.model(torch.tensor([ids + reply])).logits[0, len(ids) - 1 : -1]
        found.append(-float(logits.log_softmax(-1)[torch.arange(len(reply)), reply].sum()))
    return found


def test_sensitivity_is_the_slope_of_the_loss() -> None:
    model, tokenizer = tiny()
    with sc.attach(model.double(), tokenizer) as lm:
        data = [(lm.prompt(TEXTS), ANSWERS)]
        slopes = torch.zeros(3, 4, 3, dtype=torch.float64)
        with torch.no_grad():
            for layer, head in itertools.product(range(3), range(4)):
                up, down = (losses_with_gate(lm, layer, head, 1 + by) for by in (1e-2, -1e-2))
                slopes[layer, head] = torch.tensor([(one - other) / 2e-2 for one, other in zip(up, down, strict=True)])
            assert answer_loss(lm, data[0]).tolist() == pytest.approx(losses_with_gate(lm, 0, 0, 1.0), abs=1e-6)
        signed = Sensitivity().gradients(lm, data[0])
        assert torch.allclose(signed.transpose(1, 2).double(), slopes, atol=2e-3)
        plain = slopes.abs().mean(-1)
        divided = plain / plain.norm(dim=1, keepdim=True)
        for normalise, wanted in ((False, plain), (True, divided)):
            found = find(lm, "sensitivity", data, normalise=normalise, progress=False)
            agree(found, {(i, j): float(wanted[i, j]) for i in range(3) for j in range(4)}, 2e-3)
        parts = [(lm.prompt(text), [answer]) for text, answer in zip(TEXTS, ANSWERS, strict=True)]
        agree(find(lm, "sensitivity", parts, normalise=False, progress=False), {
            (i, j): float(plain[i, j]) for i in range(3) for j in range(4)
        }, 2e-3)  # fmt: skip
        twice = {"memorised": parts, "other": parts[:1]}
        first = slopes[..., 0].abs()
        agree(find(lm, "memorisation", twice, progress=False), {
            (i, j): float(plain[i, j] - first[i, j]) for i in range(3) for j in range(4)
        }, 2e-3)  # fmt: skip


SOME = HeadSet([(0, 1), (1, 0), (1, 3), (2, 2)])


def coalition_values(lm, data) -> dict[frozenset, float]:
    """v of every coalition of SOME."""
    places = [head.place for head in SOME]
    values = {}
    for size in range(5):
        for out in itertools.combinations(places, size):
            if out:
                with lm.steer(ZeroAblation(HeadSet(out))):
                    values[frozenset(places) - set(out)] = likelihood(lm, data)
            else:
                values[frozenset(places)] = likelihood(lm, data)
    return values


def test_shapley_values_near_the_exact_ones(lm) -> None:
    data = [(lm.prompt(TEXTS), ANSWERS)]
    v = coalition_values(lm, data)
    places = [head.place for head in SOME]
    exact = {}
    for place in places:
        rest = [other for other in places if other != place]
        exact[place] = sum(
            math.factorial(size)
            * math.factorial(3 - size)
            / math.factorial(4)
            * (v[frozenset({*s, place})] - v[frozenset(s)])
            for size in range(4)
            for s in itertools.combinations(rest, size)
        )
    kind = Shapley(orders=60, truncation=0.0, least=1000, score=likelihood)
    found = kind(lm, data, among=SOME, progress=False)
    spread = max(v.values()) - min(v.values())
    agree(found, exact, 0.15 * spread)
    total = v[frozenset(places)] - v[frozenset()]
    assert sum(head.score for head in found) == pytest.approx(total, abs=1e-5)


def test_shapley_truncates_and_settles(lm) -> None:
    """With a score that counts heads by hand: each of four adds 1, so every marginal effect is 1 until the floor."""
    data = [(lm.prompt(TEXTS), ANSWERS)]
    asked = []

    def score(lm, data) -> float:
        with torch.no_grad(), lm.watch(sc.Entropy()):
            lm(data[0][0])
        asked.append(None)
        return 4.0 - len(asked_out)

    asked_out: list = []
    kind = Shapley(orders=5, truncation=0.5, least=1000, score=score)
    kind_value = Shapley._value

    def value(self, lm, batch, out):
        asked_out[:] = out
        return kind_value(self, lm, batch, out)

    places = [head.place for head in SOME]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Shapley, "_value", value)
        taken = kind.samples(lm, data, places, progress=False)
        assert sorted(effect for effects in taken.values() for effect in effects) == [0.0] * 10 + [1.0] * 10
        assert len(asked) == 2 + 5 * 2
        asked.clear()
        quick = Shapley(orders=50, truncation=0.0, least=3, score=score)
        taken = quick.samples(lm, data, places, progress=False)
        assert all(effects == [1.0] * 3 for effects in taken.values())


def test_repeats_are_distinct_tokens_twice(lm) -> None:
    line = repeats(lm, rows=5, length=6, copies=3, seed=1)
    assert line.shape == (5, 19)
    assert (line[:, 0] == lm.tokenizer.bos_token_id).all()
    assert torch.equal(line[:, 1:7], line[:, 7:13])
    assert all(len(set(row[1:7].tolist())) == 6 for row in line)
    assert not set(line[:, 1:].flatten().tolist()) & set(lm.tokenizer.all_special_ids)
    assert torch.equal(line, repeats(lm, rows=5, length=6, copies=3, seed=1))
    with pytest.raises(HeadError, match="2 copies at least"):
        repeats(lm, length=1000)


def test_labelled_keeps_answers_beside_their_prompts() -> None:
    lm = sc.attach(*zoo.load("copier"))
    examples = tasks.get("algorithmic/induction", difficulty=2).examples(10)
    data = labelled(lm, examples, "gold", batch=4)
    assert [len(prompt) for prompt, _ in data] == [4, 4, 2]
    for prompt, answers in data:
        for sample, answer in enumerate(answers):
            example = next(e for e in examples if e.prompt == prompt.plain[sample])
            assert answer == example.answer
            assert prompt.tokens_of("gold", sample) == (answer,)


def test_among_and_kinds_of_ones_own(lm) -> None:
    data = lm.prompt(TEXTS)
    whole = find(lm, "sink", data)
    assert whole.kind == "sink"
    assert whole.belongs_to(lm)
    some = find(lm, "sink", data, among=SOME)
    assert {head.place for head in some} == {head.place for head in SOME}
    assert all(head in whole.heads for head in some)

    def mine(lm, data, *, among=None, progress=True) -> HeadSet:
        return HeadSet([(0, 0, 1.0)], "mine")

    assert find(lm, mine, data).kind == "mine"
    agree(find(lm, KINDS["sink"](tokens=1), data), {head.place: head.score for head in whole})


@pytest.mark.parametrize(("kind", "data", "options", "message"), [
    ("telepathy", [], {}, "no kind of heads is named 'telepathy'; there are"),
    ("sink", None, {}, "sink needs data"),
    ("sink", [], {}, "needs data, found none"),
    ("sink", ["text"], {}, "found str"),
    ("sink", "prompt", {"token": 1}, "its options are tokens"),
    ("offset", "prompt", {"reach": 0}, "reach >= 1"),
    ("false-induction", "prompt", {}, "needs the spans 'same', 'other'"),
    ("false-induction", "prompt", {"labels": 1}, "2 classes at least"),
    ("instruction", "prompt", {}, 'needs {"normal": prompts'),
    ("instruction", {"normal": "prompt", "attack": "prompt"}, {}, "needs 2 prompts at least"),
    ("retrieval", "prompts", {}, r"reads batches \(prompt, answers\)"),
    ("retrieval", "labelled", {"span": "needle"}, "needs the span 'needle'"),
    ("retrieval", "labelled", {"span": "rule"}, "nothing in the data"),
    ("temporal", {"dated": []}, {}, "needs two labelled sets"),
    ("memorisation", {"dated": []}, {}, "needs two labelled sets"),
    ("shapley", "labelled", {"level": 2.0}, "Shapley needs"),
    ("syntax", "prompts", {}, r"reads batches \(prompt, links\)"),
    ("induction", "float", {}, "integer tensor"),
])  # fmt: skip
def test_wrong_searches(lm, kind, data, options, message) -> None:
    prompt = lm.prompt(TEXTS[0])
    known = {"prompt": prompt, "prompts": [prompt], "labelled": [(prompt, ["s"])], "float": torch.zeros(2, 3)}

    def made(value):
        if isinstance(value, dict):
            return {name: made(part) for name, part in value.items()}
        return known.get(value, value) if isinstance(value, str) else value

    with pytest.raises(HeadError, match=message):
        find(lm, kind, made(data), progress=False, **options)
