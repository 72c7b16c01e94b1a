"""Write docs/img/viewer.png and viewer-edit.png: the viewer's page of the zoo's reader, plain and against an edit.

Needs Chromium.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

import saccade as sc
from saccade import tasks, zoo
from saccade.viewer import capture, page

OUT = Path(__file__).parents[1] / "docs" / "img"
STRENGTH, WIDTH = 8.0, 1240


def shoot(html: str, name: str, height: int) -> None:
    """A picture of a page, so many pixels high."""
    browser = next(
        (found for each in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(each))), None
    )
    if browser is None:
        raise SystemExit("Chromium is not installed; on Debian: apt install chromium.")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "page.html"
        file.write_text(html, "utf-8")
        flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--hide-scrollbars"]
        shot = f"--screenshot={OUT / name}"
        subprocess.run(
            [browser, *flags, f"--window-size={WIDTH},{height}", shot, file.as_uri()], check=True, capture_output=True
        )


def main() -> None:
    """Both pictures, of the same prompt."""
    model, tokenizer = zoo.load("reader")
    example = tasks.get("world/instructions", difficulty=2, seed=5).example(0)
    with sc.attach(model, tokenizer) as lm:
        prompt = lm.prompt(list(example.messages), spans=example.selectors("rule", "gold"))
        plain = capture(lm, prompt, name="reader", space=True, rollout=True)
        with lm.steer(sc.Scale("rule", STRENGTH)):
            steered = capture(lm, prompt, name=f"reader with the rule scaled by {STRENGTH:g}")
    shoot(page(plain), "viewer.png", 1440)
    shoot(page(plain, steered), "viewer-edit.png", 900)


if __name__ == "__main__":
    main()
