"""Controls, curves and weighted maps equal what they say, run by run."""

import pytest
import torch

import saccade as sc
from hosts.oracle import oracle
from saccade.core.errors import MeasureError
from saccade.see import (
    Deletion,
    Gradient,
    Occlusion,
    ValueWeighted,
    ValueZeroing,
    agreement,
    norm_map,
    projections,
    targets,
    trace,
    writers,
)

from .dense import SIZES, case, made

TARGET = targets.logit(torch.tensor([7, 9]), position=5)


def without(here, gone):
    """The target where no token but itself sees the tokens ``gone [B, N]``."""

    def hide(path, logits):
        other = ~torch.eye(logits.shape[-1], dtype=torch.bool) if logits.shape[-1] == logits.shape[-2] else True
        return logits.masked_fill(gone[:, None, None] & other, -torch.inf)

    with oracle(here.model, logits=hide), torch.no_grad():
        return TARGET(here.model(**here.inputs))


@pytest.mark.parametrize("kind", ["llama", "bert"])
def test_occlusion_by_attention(kind):
    here = case(kind)
    found = Occlusion(chunk=4).explain(sc.attach(here.model), target=TARGET, **here.inputs)
    whole = without(here, torch.zeros(2, 11, dtype=torch.bool))
    for j in range(11):
        gone = torch.zeros(2, 11, dtype=torch.bool)
        gone[:, j] = True
        fall = (whole - without(here, gone)) * here.inputs["attention_mask"][:, j]
        torch.testing.assert_close(found[:, j].double(), fall, atol=1e-5, rtol=1e-4)


def test_occlusion_in_an_encoder_decoder():
    here = case("bart")
    target = targets.logit(torch.tensor([7, 9]), position=2)
    found = Occlusion().explain(sc.attach(here.model), target=target, **here.inputs)

    def hide(path, logits):
        if logits.shape[-1] != 11:
            return logits
        own = torch.eye(11, dtype=torch.bool) if logits.shape[-2] == 11 else torch.zeros(1, 11, dtype=torch.bool)
        return logits.masked_fill((torch.arange(11) == 3) & ~own, -torch.inf)

    with torch.no_grad():
        with oracle(here.model):
            whole = target(here.model(**here.inputs))
        with oracle(here.model, logits=hide):
            left = target(here.model(**here.inputs))
    torch.testing.assert_close(found[:, 3].double(), whole - left, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("by", ["embedding", "token"])
def test_occlusion_of_the_input(by):
    here = case("bert")
    found = Occlusion(by, token_id=5 if by == "token" else None).explain(
        sc.attach(here.model), target=TARGET, **here.inputs
    )
    ids = here.inputs["input_ids"].clone()
    with torch.no_grad():
        whole = TARGET(here.model(**here.inputs))
        ids[:, 4] = 5
        embedded = here.model.get_input_embeddings()(here.inputs["input_ids"])
        embedded[:, 4] = 0
        changed = {"input_ids": ids} if by == "token" else {"inputs_embeds": embedded}
        left = TARGET(here.model(**changed, attention_mask=here.inputs["attention_mask"]))
    torch.testing.assert_close(found[:, 4].double(), whole - left, atol=1e-5, rtol=1e-4)


def test_occlusion_skips():
    here = case("bert")
    skip = torch.zeros(2, 11, dtype=torch.bool)
    skip[:, 0] = True
    found = Occlusion(skip=skip).explain(sc.attach(here.model), target=TARGET, **here.inputs)
    assert (found[:, 0] == 0).all()
    assert (found[0, 1:] != 0).all()


@pytest.mark.parametrize("insertion", [False, True])
def test_curves_follow_the_order(insertion):
    here = case("llama")
    order = torch.randn(2, 11, generator=torch.Generator().manual_seed(3))
    real = here.inputs["attention_mask"].bool()
    curve = Deletion(points=4, insertion=insertion).curve(sc.attach(here.model), order, target=TARGET, **here.inputs)
    for point in range(5):
        gone = torch.zeros(2, 11, dtype=torch.bool)
        for sample in range(2):
            places = order[sample].masked_fill(~real[sample], -torch.inf).argsort(descending=True)
            gone[sample, places[: round(int(real[sample].sum()) * point / 4)]] = True
        gone = real & ~gone if insertion else gone
        torch.testing.assert_close(curve.values[:, point].double(), without(here, gone), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(curve.area, torch.trapezoid(curve.values, torch.linspace(0, 1, 5)))


def test_value_zeroing():
    here = case("bert")
    maps = ValueZeroing(chunk=3).maps(sc.attach(here.model), **here.inputs)
    with torch.no_grad():
        plain = here.model(**here.inputs, output_hidden_states=True).hidden_states[2]
        rows = []
        for j in range(11):

            def zero(path, weights, j=j):
                return torch.where(torch.arange(11) == j, 0.0, weights) if ".1." in path else weights

            with oracle(here.model, weights=zero):
                states = here.model(**here.inputs, output_hidden_states=True).hidden_states[2]
            rows.append(1 - torch.cosine_similarity(states, plain, dim=-1))
    expected = torch.stack(rows, -1).clamp_min(0)
    real = here.inputs["attention_mask"].bool()
    expected = expected / expected.sum(-1, keepdim=True)
    torch.testing.assert_close(maps[1][real].double(), expected[real], atol=1e-4, rtol=1e-3)


def test_gradients():
    here = case("llama")
    embedded = here.model.get_input_embeddings()(here.inputs["input_ids"]).detach()
    mask = here.inputs["attention_mask"]

    def slope(share):
        leaf = (share * embedded).requires_grad_()
        score = TARGET(here.model(inputs_embeds=leaf, attention_mask=mask)).sum()
        return torch.autograd.grad(score, leaf)[0]

    lm = sc.attach(here.model)
    explain = lambda **kw: Gradient(**kw).explain(lm, target=TARGET, **here.inputs).double()
    close = lambda a, b: torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-3)
    close(explain(), slope(1.0).norm(dim=-1))
    close(explain(reduce="input"), (slope(1.0) * embedded).sum(-1))
    way = torch.stack([slope((i + 0.5) / 8) for i in range(8)]).mean(0)
    close(explain(reduce="integrated", steps=8), (way * embedded).sum(-1))


def test_integrated_gradients_add_up():
    here = case("bert")
    lm = sc.attach(here.model)
    found = Gradient("integrated", steps=400).explain(lm, target=TARGET, **here.inputs).sum(-1).double()
    with torch.no_grad():
        whole = TARGET(here.model(**here.inputs))
        nothing = torch.zeros_like(here.model.get_input_embeddings()(here.inputs["input_ids"]))
        start = TARGET(here.model(inputs_embeds=nothing, attention_mask=here.inputs["attention_mask"]))
    torch.testing.assert_close(found, whole - start, atol=0.05, rtol=0.05)


@pytest.mark.parametrize("kind", ["llama", "bert"])
def test_norms(kind):
    here = case(kind)
    lm = sc.attach(here.model)
    seen = trace(lm, **here.inputs)
    matrix = here.dense()[1][1]
    v = seen.steps[1].operator.call.v.repeat_interleave(4 // seen.steps[1].operator.call.v.shape[1], 1)
    layers = here.model.model.layers if kind == "llama" else here.model.bert.encoder.layer
    module = layers[1].self_attn.o_proj if kind == "llama" else layers[1].attention.output.dense
    written = torch.einsum("bhkd,hdm->bhkm", v, module.weight.detach().T.view(4, 8, 32))
    every = torch.einsum("bhik,bhkm->bikm", matrix, written).norm(dim=-1)
    found = norm_map(seen, writers(lm, **here.inputs)["text.1.self"], layer=1).double()
    real = here.inputs["attention_mask"].bool()
    torch.testing.assert_close(found[real], every[real], atol=1e-4, rtol=1e-3)
    token = 0 if kind == "bert" else -1
    torch.testing.assert_close(
        ValueWeighted(layer=1).explain(lm, token=token, **here.inputs).double(), every[:, token], atol=1e-4, rtol=1e-3
    )
    by_values = (matrix[:, :, token] * v.norm(dim=-1)).mean(1)
    found = ValueWeighted(1, "values").explain(lm, token=token, **here.inputs)
    torch.testing.assert_close(found.double(), by_values, atol=1e-5, rtol=1e-4)


GPT2 = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64, "vocab_size": 60}
NEOX = {**SIZES, "num_hidden_layers": 2}


@pytest.mark.parametrize(
    ("cls", "config"),
    [
        ("LlamaForCausalLM", {**SIZES, "num_key_value_heads": 2}),
        ("GPT2LMHeadModel", GPT2),
        ("GPTNeoXForCausalLM", NEOX),
        ("BertForMaskedLM", SIZES),
    ],
)
def test_projections_are_found_in_any_architecture(cls, config):
    model = made(cls, config).float()
    found = projections(sc.attach(model))
    assert [one.rsplit(".", 2)[0] for one in found] == ["text"] * len(found)
    state = dict(model.named_modules())
    if cls == "LlamaForCausalLM":
        layer = state["model.layers.1.self_attn"]
        torch.testing.assert_close(found["text.1.self"].q[3], layer.q_proj.weight[24:32].T)
        torch.testing.assert_close(
            found["text.1.self"].ov(3), (layer.o_proj.weight[:, 24:] @ layer.v_proj.weight[8:]).T
        )
        torch.testing.assert_close(found["text.1.self"].qk(3), layer.q_proj.weight[24:].T @ layer.k_proj.weight[8:])
    if cls == "GPT2LMHeadModel":
        fused = state["transformer.h.1.attn.c_attn"]
        torch.testing.assert_close(found["text.1.self"].v[1], fused.weight[:, 64 + 8 : 64 + 16])
        torch.testing.assert_close(
            found["text.1.self"].writer.weight[1], state["transformer.h.1.attn.c_proj"].weight[8:16]
        )
    if cls == "GPTNeoXForCausalLM":
        fused = state["gpt_neox.layers.1.attention.query_key_value"]
        torch.testing.assert_close(found["text.1.self"].k[1], fused.weight[24 + 8 : 24 + 16].T)
    if cls == "BertForMaskedLM":
        layer = state["bert.encoder.layer.2.attention"]
        torch.testing.assert_close(found["text.2.self"].writer.weight[0], layer.output.dense.weight[:, :8].T)
        torch.testing.assert_close(found["text.2.self"].q_bias[1], layer.self.query.bias[8:16])


def test_agreement_against_scipy():
    from scipy.stats import kendalltau, spearmanr

    draw = torch.Generator().manual_seed(0)
    a, b = (torch.randint(0, 5, (3, 12), generator=draw).float() for _ in range(2))
    real = torch.ones(3, 12, dtype=torch.bool)
    real[0, 9:] = False
    found = agreement({"a": a, "b": b}, real)
    pairs = [(a[i][real[i]].numpy(), b[i][real[i]].numpy()) for i in range(3)]
    assert found.kendall[0, 1] == pytest.approx(sum(kendalltau(x, y).statistic for x, y in pairs) / 3)
    assert found.spearman[0, 1] == pytest.approx(sum(spearmanr(x, y).statistic for x, y in pairs) / 3)
    assert "not quality" in str(found)


def test_what_does_not_fit_is_refused():
    with pytest.raises(MeasureError, match="needs token_id"):
        Occlusion("token")
    with pytest.raises(MeasureError, match="two or more"):
        agreement({"a": torch.ones(1, 2)})
    with pytest.raises(MeasureError, match="found 'all'"):
        Gradient("all")
