import json

from .conftest import LAYERS


def plan(saccade, model, *more):
    done = saccade("plan", model, "--json", *more)
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_a_plan_covers_every_site_and_says_why(saccade, decoder):
    found = plan(saccade, decoder, "--length", 2048, "--span-count", 4, "--measure", "mass", "--measure", "topk")
    assert found["length"] == 2048
    assert [site["site"] for site in found["sites"]] == [f"text.{layer}.self" for layer in range(LAYERS)]
    for site in found["sites"]:
        assert site["engine"] == "fused"
        assert all(step["why"] for step in site["steps"])
        assert any("tiles" in step["how"] for step in site["steps"])


def test_more_work_costs_more(saccade, decoder):
    idle, masses, entropy = (
        plan(saccade, decoder, "--edit", "none", "--measure", name)["ratio"] for name in ("none", "mass", "entropy")
    )
    assert idle == 1.0
    assert masses < entropy
    assert entropy > 1.5


def test_no_weights_are_needed(saccade, decoder, tmp_path):
    (tmp_path / "config.json").write_text((decoder / "config.json").read_text())
    assert plan(saccade, tmp_path) == plan(saccade, decoder) | {"model": str(tmp_path)}


def test_the_terminal_shows_every_step(saccade):
    done = saccade("plan", "minilm", "--length", 512, "--measure", "entropy")
    assert "H = lse - E_A[logit]" in done.stdout
    assert "6 sites, 512 tokens" in done.stdout
