"""A page on its own: the module and the captures in one HTML file that needs no network."""

from __future__ import annotations

import base64
from html import escape
from importlib.resources import files

from .base import ViewError
from .capture import Capture
from .pack import pack

MODULE = files("saccade.viewer").joinpath("static", "viewer.js")


def module() -> str:
    """The source of the viewer, one ES module.

    Raises:
        ViewError: it was not built.
    """
    if not MODULE.is_file():
        raise ViewError("the viewer's module is missing from this installation; build it: cd viewer && npm run build.")
    return MODULE.read_text("utf-8")


def page(*captures: Capture, title: str | None = None) -> str:
    """One HTML document that shows a capture, or two side by side: before and after an edit, or two models.

    Raises:
        ViewError: no capture or more than two, or the module is missing.
    """
    if not 1 <= len(captures) <= 2:
        raise ViewError(f"a page shows one capture, or compares two; found {len(captures)}.")
    opening = '<script type="application/octet-stream" class="saccade-capture">'
    data = "".join(f"{opening}{base64.b64encode(pack(one)).decode()}</script>" for one in captures)
    source = module().replace("</script", "<\\/script")
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title or captures[0].model)}</title></head><body>"
        f'<main id="saccade"></main>{data}<script type="module">{source}</script></body></html>'
    )
