"""Writes browser/page.html: two sites of two heads over eight tokens, where head 1 of site 0 reads the token before.

Its queries stand in a row on the left half of their plane, its keys on the right; rollout is a half, a quarter ...
Its paths: half of what a token has stays, half comes from the token before.
"""

from pathlib import Path

import numpy as np

from saccade.viewer import Capture, page

N, LINKS = 8, 2


def made() -> Capture:
    """A capture with a known pattern."""
    maps = np.full((2, 2, N, N), 0.0)
    rows = np.arange(N)
    for site in range(2):
        for head in range(2):
            maps[site, head] = np.tril(np.ones((N, N))) / (rows + 1)[:, None]
    maps[0, 1] = 0
    maps[0, 1, rows, np.maximum(rows - 1, 0)] = 1
    keys = np.argsort(-maps, -1, kind="stable")[..., :LINKS]
    weights = np.take_along_axis(maps, keys, -1)
    plane = np.full((2, 2, 2, N, 2), 32768)
    plane[0, 1, 0, :, 0] = 4000 * rows
    plane[0, 1, 1, :, 0] = 65535 - 4000 * rows
    return Capture(
        "planted",
        tuple(f"word{i}" for i in range(N)),
        {"rule": [1, 2]},
        (("text.0.self", 0), ("text.1.self", 1)),
        {
            "largest weight": maps.max(-1).mean(-1).astype(np.float32),
            "same label": np.array([[0.1, 0.2], [0.9, 0.3]], np.float32),
        },
        np.rint(maps * 255).astype(np.uint8),
        np.ones((2, 2), np.float32),
        np.rint(maps.mean(-2) * 65535).astype(np.uint16),
        keys.astype(np.uint16),
        np.rint(weights * 65535).astype(np.uint16),
        plane.astype(np.uint16),
        np.full((2, 2), 0.5, np.float32),
        (0.5 ** (rows[::-1] + 1)).astype(np.float32),
        paths(),
    )


def paths() -> np.ndarray:
    """Two layers, all tokens, from the last one."""
    mix = 0.5 * np.eye(N) + 0.5 * np.eye(N, k=-1)
    mix[0, 0] = 1
    nodes = [np.eye(N)[-1]]
    for _ in range(2):
        nodes.insert(0, nodes[0] @ mix)
    edges = [nodes[layer + 1][:, None] * mix for layer in range(2)]
    return np.concatenate([[2, N], np.arange(N), *nodes, *(edge.ravel() for edge in edges)]).astype(np.float32)


if __name__ == "__main__":
    Path(__file__).with_name("page.html").write_text(page(made()), "utf-8")
