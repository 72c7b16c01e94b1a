"""Every benchmark runs at tiny size and writes its JSON; times are never asserted."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CASES = {"engine": 30, "padded": 4, "model": 5, "long": 1, "decode": 10, "see": 6}
PEERS = ("transformer_lens", "nnsight")


def run(folder, *arguments):
    command = [sys.executable, "-m", "benchmarks", "--quick", "--threads", "1", "--out", str(folder), *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return {file.stem: json.loads(file.read_text()) for file in Path(folder).glob("*.json")}


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    return run(tmp_path_factory.mktemp("results"), "--no-peers")


@pytest.mark.parametrize("case", CASES)
def test_writes_its_result(results, case):
    result = results[case]
    assert result["quick"]
    assert len(result["rows"]) == CASES[case]
    assert {"python", "torch", "transformers"} <= set(result["versions"])
    assert "/" not in json.dumps(result["machine"])
    for row in result["rows"]:
        assert 0 < row["low"] <= row["ratio"] <= row["high"]
        assert row["repeats"] >= 1


def test_one_question_has_one_answer(results):
    rows = results["model"]["rows"]
    differences = {row["name"]: row["difference"] for row in rows if row["difference"] is not None}
    assert {"transformers, output_attentions", "transformers, eager with hooks", "PASTA's mask"} == set(differences)
    assert all(difference < 1e-6 for difference in differences.values())


def test_memory_of_a_fresh_process(results):
    for row in (*results["model"]["rows"], *results["long"]["rows"]):
        memory = row["memory"]
        assert memory["libraries"] > 0
        assert memory["before"] <= memory["peak"]


def test_peak_is_seen():
    code = (
        "import torch; from benchmarks import memory; before = memory.resident();"
        "_, peak = memory.peak_of(lambda: torch.ones(2**24).sum()); assert 2**26 <= peak - before < 2**26 + 2**24"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_page_and_readme(results, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT))
    from benchmarks import render

    ordered = [results[name] for name in CASES]
    page = render.page(ordered)
    assert all(result["title"] in page for result in ordered)
    assert all(row["name"] in page for result in ordered for row in result["rows"])
    section = render.summary(ordered)
    readme = f"before\n{render.BEGIN}\nold\n{render.END}\nafter\n"
    new = render.insert(readme, section)
    assert new.startswith("before\n")
    assert new.endswith("\nafter\n")
    assert section in new
    assert "old" not in new
    assert render.insert(new, section) == new
    with pytest.raises(SystemExit, match="no section"):
        render.insert("nothing", section)


def test_a_missed_bar_is_said(results, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT))
    from benchmarks import render

    row = {**results["model"]["rows"][0], "bar": 1.15, "ratio": 2.3}
    assert "missed by 100 %" in render.table([row])
    assert "missed by 100 %" not in render.table([{**row, "ratio": 1.15}])


@pytest.mark.slow
@pytest.mark.parametrize("peer", PEERS)
def test_peers_answer_the_same(tmp_path, peer):
    if not (ROOT / "benchmarks" / ".envs" / peer).exists():
        pytest.skip(f"{peer} is not installed; python -m benchmarks.envs {peer}")
    rows = run(tmp_path, "--only", "model")["model"]["rows"]
    label = {"transformer_lens": "TransformerLens", "nnsight": "nnsight"}[peer]
    mine = [row for row in rows if row["name"].startswith(label)]
    assert mine
    assert all(row["difference"] < 1e-6 for row in mine)
