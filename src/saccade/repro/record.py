"""Saved results: what was measured, with which code, when."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from importlib.resources import files
from pathlib import Path
from typing import Any

from .registry import ClaimError

ROOT = Path(str(files("saccade")))
PUBLISHED = ROOT / "repro" / "published"
FOLDER = Path("repro-results")
"""Where ``saccade repro`` saves unless told otherwise."""


@dataclass(frozen=True)
class Record:
    """One run of a claim, as it is saved and printed.

    Attributes:
        id: number of the paper.
        claim: what was claimed.
        holds: whether every comparison holds.
        metric, baseline, method, effect, interval, bar, units: the main comparison; ``units`` is how many.
        also: the other comparisons, as mappings with the same keys.
        seconds: time that it took.
        details: what else the claim kept.
        quick: whether it was the quick form.
        seeds: seeds that were pooled.
        time: when it ended, in UTC.
        versions: of Python and of libraries.
        modules: what the code hash covers.
        code: hash of the modules.
    """

    id: int
    claim: str
    holds: bool
    metric: str
    baseline: float
    method: float
    effect: float
    interval: list[float]
    bar: float
    units: int
    also: list[dict[str, Any]]
    seconds: float
    details: dict[str, Any]
    quick: bool
    seeds: list[int]
    time: str
    versions: dict[str, str]
    modules: list[str]
    code: str

    @property
    def stale(self) -> bool:
        """Whether the code has changed since."""
        return self.code != code_hash(self.modules)

    @property
    def verdict(self) -> str:
        """In a word or two: holds, does not hold; quick; stale."""
        words = ["holds" if self.holds else "does not hold", *["quick"] * self.quick, *["stale"] * self.stale]
        return ", ".join(words)

    def save(self, folder: Path) -> Path:
        """Write to ``folder``; the full and the quick form have a file each, and the last run of each stays."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{self.id:03d}{'-quick' * self.quick}.json"
        path.write_text(json.dumps(asdict(self), ensure_ascii=False, indent=1) + "\n", "utf-8")
        return path


def read(path: Path) -> Record:
    """A saved record.

    Raises:
        ClaimError: the file is none.
    """
    try:
        return Record(**json.loads(path.read_text("utf-8")))
    except (TypeError, ValueError) as error:
        known = ", ".join(one.name for one in fields(Record))
        raise ClaimError(f"{path} is no saved result: a JSON object with {known} ({error}); delete it.") from error


def latest(folder: Path = FOLDER) -> dict[int, Record]:
    """The last result of each claim: of ``folder``, or else the published one."""
    found: dict[int, Record] = {}
    for place in (PUBLISHED, folder):
        own: dict[int, Record] = {}
        for record in sorted(map(read, place.glob("*.json")), key=lambda one: datetime.fromisoformat(one.time)):
            own[record.id] = record
        found |= own
    return found


def code_hash(modules: Iterable[str]) -> str:
    """Digest of the files of modules, packages and zoo models (``"zoo:reader"``); ``"missing"`` where one is gone."""
    digest = hashlib.sha256()
    for name in modules:
        paths = _files(name)
        if not paths:
            return "missing"
        for path in paths:
            digest.update(path.relative_to(ROOT).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


def _files(name: str) -> list[Path]:
    if name.startswith("zoo:"):
        folder = ROOT / "zoo" / "models" / name.removeprefix("zoo:")
        return sorted(path for path in folder.rglob("*") if path.suffix == ".safetensors" or path.name == "config.json")
    path = ROOT.joinpath(*name.split(".")[1:])
    if path.is_dir():
        return sorted(path.rglob("*.py"))
    return [path.with_suffix(".py")] if path.with_suffix(".py").is_file() else []
