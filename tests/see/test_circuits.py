"""Learned lenses, low-rank heads, entanglement, circuits and repairs, beside plain dense ways to the same numbers."""

import math

import pytest
import torch

import saccade as sc
from hosts.oracle import oracle
from saccade.core.errors import MeasureError
from saccade.see import (
    AttentionLens,
    Compression,
    HeadOutputs,
    Lens,
    Repair,
    Subspace,
    circuit,
    compressed,
    entanglement_profile,
    entropy,
    feed_forward,
    head_rows,
    outputs_at,
    reuse,
    signals,
    suppressors,
)

from .dense import case


def kept_outputs(here):
    """Head outputs by layer ``[B, H, Q, Dv]`` and the logits, by the oracle."""
    kept = []

    def keep(path, output):
        kept.append(output)
        return output

    with torch.no_grad(), oracle(here.model, output=keep):
        logits = here.model(**here.inputs).logits
    return kept, logits


def test_outputs_are_those_of_the_last_real_token_or_of_chosen_ones():
    here = case("llama")
    lm = sc.attach(here.model)
    kept, logits = kept_outputs(here)
    found = outputs_at(lm, **here.inputs)
    torch.testing.assert_close(found.values.double(), torch.stack(kept, 1)[..., -1, :], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(found.logits.double(), logits[:, -1], atol=1e-4, rtol=1e-3)
    some = torch.zeros(2, 11, dtype=torch.bool)
    some[0, 5] = some[1, 2] = some[1, 7] = True
    found = outputs_at(lm, some, **here.inputs)
    expected = torch.stack([torch.stack([layer[b, :, i] for layer in kept]) for b, i in ((0, 5), (1, 2), (1, 7))])
    torch.testing.assert_close(found.values.double(), expected, atol=1e-5, rtol=1e-4)
    with pytest.raises(MeasureError, match=r"found \[2, 3\]"):
        outputs_at(lm, some[:, :3], **here.inputs)


def test_a_lens_starts_as_the_logit_lens():
    here = case("llama")
    lm = sc.attach(here.model)
    seen = outputs_at(lm, **here.inputs)
    found = AttentionLens(steps=0).fit(lm, seen).logits(seen.values)[:, 1, 2]
    o = here.model.model.layers[1].self_attn.o_proj.weight.detach().T.view(4, 8, 32)
    read = (here.model.model.norm.weight * here.model.lm_head.weight).T
    dense = seen.values[:, 1, 2].double() @ o[2] @ read
    ratio = found.double() / dense
    torch.testing.assert_close(ratio, ratio[0, 0].expand_as(ratio), atol=1e-3, rtol=1e-3)
    assert ratio[0, 0] > 0


def test_a_learned_lens_reads_what_is_linear_in_the_head():
    """Where the model's words are a linear map of one head, its lens finds them and the others' do not."""
    lm = sc.attach(case("llama").model)
    draw = torch.Generator().manual_seed(0)
    values = torch.randn(400, 3, 4, 8, generator=draw)
    logits = values[:, 2, 1] @ torch.randn(8, 60, generator=draw)
    teach, fresh = (HeadOutputs(values[part], logits[part]) for part in (slice(300), slice(300, None)))
    lens = AttentionLens(steps=400, rate=0.05).fit(lm, teach)
    far = lens.divergence(fresh).mean(0)
    assert far[2, 1] < 0.3
    assert far.flatten().topk(11).values.min() > 2 * far[2, 1]
    p, said = logits[300:].log_softmax(-1), lens.logits(fresh.values).log_softmax(-1)[:, 0, 3]
    torch.testing.assert_close(lens.divergence(fresh)[:, 0, 3], (p.exp() * (p - said)).sum(-1))
    with pytest.raises(MeasureError, match="head outputs are"):
        AttentionLens().fit(lm, HeadOutputs(values[..., :4], logits))


def test_compressed_heads_are_attention_of_projected_queries_keys_and_values():
    """Keys projected outright, by the definition; grouped heads, padding, two heads of a group, bases of their own."""
    here = case("llama")
    lm = sc.attach(here.model)
    rows = {place: head_rows(lm, place, row=-1, **here.inputs) for place in ((1, 2), (1, 3))}
    some = {place: one.compression(3) for place, one in rows.items()}
    real = here.inputs["attention_mask"].bool()
    calls = {}

    def keep(operator, values):
        if operator.site.layer == 1:
            calls["call"] = operator.call
        return values

    with torch.no_grad(), lm.tap(keep):
        lm(**here.inputs)
    q, k, v = (getattr(calls["call"], name).double() for name in "qkv")

    def hat(subspace, x):
        basis = subspace.basis.double()
        return subspace.centre.double() + (x - subspace.centre.double()) @ basis.T @ basis

    def put(path, output):
        if ".1." not in path:
            return output
        output = output.clone()
        for (_, head), one in some.items():
            logits = hat(one.q, q[:, head, -1])[:, None] @ hat(one.k, k[:, head // 2]).mT / math.sqrt(8)
            weights = logits.masked_fill(~real[:, None], -torch.inf).softmax(-1)
            output[:, head, -1] = (weights @ hat(one.v, v[:, head // 2]))[:, 0]
        return output

    with torch.no_grad():
        with oracle(here.model, output=put):
            expected = here.model(**here.inputs).logits[:, -1]
        with compressed(lm, some, rows=[-1]):
            found = lm(**here.inputs).logits[:, -1]
        torch.testing.assert_close(found.double(), expected, atol=1e-4, rtol=1e-3)
        with compressed(lm, {(1, 2): rows[1, 2].compression(8), (0, 0): Compression()}):
            torch.testing.assert_close(lm(**here.inputs).logits, here.model(**here.inputs).logits, atol=1e-4, rtol=1e-3)


def test_subspaces():
    rows = torch.randn(50, 3) @ torch.randn(3, 8) + 2
    found = Subspace.of(rows, 3)
    assert found.kept > 0.999
    torch.testing.assert_close(found(rows), rows, atol=1e-4, rtol=1e-3)
    other = Subspace.random(rows, 3, seed=1)
    torch.testing.assert_close(other.basis @ other.basis.T, torch.eye(3), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(other.centre, rows.mean(0))
    with pytest.raises(MeasureError, match="found 9"):
        Subspace.of(rows, 9)


def test_entanglement_is_the_entropy_of_singular_values_of_every_unfolding():
    matrix = torch.randn(2, 12, 8, dtype=torch.float64)
    found, room = entanglement_profile(matrix)
    assert found.shape == (2, 5)
    shapes = [(3, 32), (6, 16), (12, 8), (24, 4), (48, 2)]
    for bond, shape in enumerate(shapes):
        assert room[bond] == pytest.approx(math.log(min(shape)))
        for sample in range(2):
            sigma = torch.linalg.svdvals(matrix[sample].reshape(shape))
            p = sigma.square() / sigma.square().sum()
            assert float(found[sample, bond]) == pytest.approx(float(-(p * p.log()).sum()), abs=1e-9)
    torch.testing.assert_close(entropy(matrix), found[:, 2])
    assert float(entropy(torch.outer(torch.rand(6), torch.rand(9)))) == pytest.approx(0, abs=1e-6)
    assert float(entropy(torch.zeros(4, 4))) == 0
    with pytest.raises(MeasureError, match="found 1 x 1"):
        entanglement_profile(torch.ones(1, 1))


def test_reuse_is_the_overlap_of_sets_by_sample():
    a, b = torch.randn(3, 4, 5), torch.randn(3, 4, 5)
    found = reuse(a, b, 4)
    for sample in range(5):
        best = [set(one[..., sample].flatten().argsort(descending=True)[:4].tolist()) for one in (a, b)]
        assert float(found[sample]) == pytest.approx(len(best[0] & best[1]) / 4)
    assert (circuit(a, 4).flatten(0, 1).sum(0) == 4).all()
    with pytest.raises(MeasureError, match="top=13"):
        circuit(a, 13)
    with pytest.raises(MeasureError, match="one shape"):
        reuse(a, b[:2], 4)


def test_a_repair_moves_the_heads_attention_and_nothing_else():
    here = case("llama")
    lm = sc.attach(here.model)
    value = torch.zeros(2, 11, dtype=torch.bool)
    value[0, 5] = value[1, 2] = True

    def move(path, weights):
        if ".1." not in path:
            return weights
        weights = weights.clone()
        own, rest = value.float().to(weights), weights[:, 2, -1] * ~value
        weights[:, 2, -1] = 0.75 * own + 0.25 * rest / rest.sum(-1, keepdim=True)
        return weights

    with torch.no_grad():
        with oracle(here.model, weights=move):
            expected = here.model(**here.inputs).logits
        with lm.steer(Repair({1: [2]}, "value", share=0.75), spans=sc.Spans({"value": value})):
            found = lm(**here.inputs).logits
    torch.testing.assert_close(found[:, -1].double(), expected[:, -1], atol=1e-4, rtol=1e-3)
    with pytest.raises(MeasureError, match="between 0 and 1"):
        Repair({1: [2]}, "value", share=1.5)


def test_signals_are_the_terms_of_the_logit_and_of_its_parts():
    """By whole matrices: the rotation by its formula, singular vectors of the bilinear form, parts through the norm."""
    model = case("llama").model
    ids = torch.randint(3, 60, (6, 11), generator=torch.Generator().manual_seed(4))
    query, key, head = 9, 4, 3
    found = signals(sc.attach(model), 2, head, query, key, input_ids=ids)
    layer = model.model.layers[2]
    with torch.no_grad():
        states = model(input_ids=ids, output_hidden_states=True).hidden_states
        stream = states[2]
        x = layer.input_layernorm(stream)
        cos, sin = model.model.rotary_emb(x, torch.arange(11)[None])

        def turn(position):
            eye = torch.eye(8, dtype=torch.float64)
            half = torch.cat([-eye[:, 4:], eye[:, :4]], 1)
            return eye * cos[0, position].double() + half * sin[0, position].double()

        w_q = layer.self_attn.q_proj.weight.T.view(32, 4, 8)[:, head] @ turn(query)
        w_k = layer.self_attn.k_proj.weight.T.view(32, 2, 8)[:, head // 2] @ turn(key)
        omega = w_q @ w_k.T / math.sqrt(8)
        u, s, v = torch.linalg.svd(omega)
        above = x[:, key] - x[:, : query + 1].mean(1)
        terms = (x[:, query] @ u[:, :8]) * s[:8] * (above @ v[:8].T)
        logit = torch.einsum("bm,mn,bn->b", x[:, query], omega, x[:, key])
        gain = layer.input_layernorm.weight * (stream[:, key].square().mean(-1, keepdim=True) + 1e-6).rsqrt()
        kept = []
        with oracle(model, output=lambda path, output: kept.append(output) or output):
            model(input_ids=ids)
        o = model.model.layers[1].self_attn.o_proj.weight.T.view(4, 8, 32)[2]
        part = (kept[1][:, 2, key] @ o) * gain
        own = (x[:, query] @ u[:, :8]) * s[:8] * (part @ v[:8].T)
    torch.testing.assert_close(found.values.double(), s[:8], atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(found.terms.double(), terms, atol=1e-3, rtol=1e-2)
    torch.testing.assert_close(found.logit.double(), logit, atol=1e-3, rtol=1e-2)
    torch.testing.assert_close(found.parts["L1H2"].double(), own, atol=1e-3, rtol=1e-2)
    assert list(found.parts) == ["embedding", *[f"L{i}H{h}" for i in range(2) for h in range(4)], "rest"]
    turned = found.turned(torch.linalg.qr(torch.randn(8, 8))[0])
    torch.testing.assert_close(turned.terms.sum(-1), found.terms.sum(-1), atol=1e-3, rtol=1e-3)
    for sample, mask in enumerate(found.kept(0.9)):
        ordered, least = found.terms[sample].sort(descending=True).values, 0.9 * float(found.terms[sample].sum())
        count = next(n for n in range(9) if float(ordered[:n].sum()) >= least)
        assert int(mask.sum()) == count
    with pytest.raises(MeasureError, match="no head L2H9"):
        signals(sc.attach(model), 2, 9, query, key, input_ids=ids)
    with pytest.raises(MeasureError, match="more samples"):
        signals(sc.attach(model), 2, head, query, key, input_ids=ids[:1])


def test_feed_forward_layers_are_their_heads_and_the_rest():
    """The module's own output; coefficients by normal equations over stacked samples and dimensions."""
    model = case("llama").model
    ids = torch.randint(3, 60, (9, 11), generator=torch.Generator().manual_seed(5))
    lm, wrote, kept = sc.attach(model), [], []
    handle = model.model.layers[1].mlp.register_forward_hook(lambda m, a, out: wrote.append(out.detach()[:, -1]))
    with torch.no_grad(), oracle(model, output=lambda path, output: kept.append(output) or output):
        model(input_ids=ids)
    handle.remove()
    found = feed_forward(lm, 1, input_ids=ids)
    o = model.model.layers[1].self_attn.o_proj.weight.detach().T.view(4, 8, 32)
    heads = torch.einsum("bhd,hdm->bhm", kept[1][:, :, -1], o)
    torch.testing.assert_close(found.output.double(), wrote[0], atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(found.heads.double(), heads, atol=1e-4, rtol=1e-3)
    a = (heads - heads.mean(0)).transpose(1, 2).reshape(-1, 4)
    b = (wrote[0] - wrote[0].mean(0)).reshape(-1)
    coefficients = torch.linalg.solve(a.T @ a, a.T @ b)
    torch.testing.assert_close(found.coefficients.double(), coefficients, atol=1e-3, rtol=1e-2)
    assert float(found.rest.mean(0).abs().max()) < 1e-3
    with pytest.raises(MeasureError, match="found 3"):
        feed_forward(lm, 1, input_ids=ids[:3])


def test_suppressors_lower_the_answer():
    here = case("llama")
    lens, wanted = Lens.of(sc.attach(here.model), **here.inputs), torch.tensor([7, 9])
    logits = lens.head_logits(2)
    mean = torch.stack([logits[i, :, wanted[i]] - logits[i].mean(-1) for i in range(2)]).mean(0)
    assert suppressors(lens, wanted) == {2: [head for head in range(4) if mean[head] < 0]}
