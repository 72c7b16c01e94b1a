"""The viewer in a notebook: Jupyter, VS Code, marimo, Colab."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from saccade.core.errors import SaccadeError

from .base import ViewError
from .capture import Capture, capture, rows_of
from .flow import paths_of, rollout_of
from .neurons import products_of
from .pack import pack
from .page import MODULE, module
from .selection import Selection
from .space import qk_of

if TYPE_CHECKING:
    from saccade.core.edits import Edit
    from saccade.core.spans import Spans
    from saccade.hosts.transformers.attach import TransformersHost
    from saccade.prompt import Prompt

try:
    import anywidget
    import traitlets
except ImportError as error:
    raise ViewError("views in a notebook need anywidget: pip install 'saccade[viewer]'.") from error


class View(anywidget.AnyWidget):
    """A view of one prompt, or of the same prompt before and after an edit.

    Exact rows, planes and rollout are measured when they are looked at. What is selected in the browser comes back as
    :attr:`picked`.
    """

    _esm = module() if MODULE.is_file() else ""
    captures = traitlets.List(traitlets.Bytes()).tag(sync=True)
    selection = traitlets.Dict().tag(sync=True)

    def __init__(self, lm: TransformersHost, prompt: Prompt, *captures: Capture, edits: tuple[Any, ...] = ()) -> None:
        module()
        super().__init__(captures=[pack(one) for one in captures])
        self._lm, self._prompt, self._edits, self._length = lm, prompt, edits, len(prompt.tokens[0])
        self.on_msg(self._answer)

    @property
    def picked(self) -> Selection:
        """Words and heads selected in the browser."""
        return Selection.of(self.selection) if self.selection else Selection()

    def edits(self) -> tuple[Edit, ...]:
        """The edit that was made by mouse: ``lm.steer(*view.edits(), spans=view.spans())``."""
        return self.picked.edits()

    def spans(self) -> Spans:
        """The selected words as the span ``picked``."""
        return self.picked.spans(self._length)

    def _answer(self, _: Any, content: dict[str, Any], __: Any) -> None:
        """Measure what the browser asks for, with the edits where it is that of the second capture."""
        edited = self._edits if content["capture"] == len(self.captures) - 1 else ()
        try:
            with self._lm.steer(*edited) if edited else nullcontext():
                found = self._measure(content)
        except SaccadeError as error:
            self.send({"id": content["id"], "error": str(error)}, [])
        else:
            self.send({"id": content["id"]}, [found])

    def _measure(self, content: dict[str, Any]) -> bytes:
        match content["what"]:
            case "rows":
                return rows_of(self._lm, self._prompt, content["site"], [content["query"]])[:, 0].tobytes()
            case "space":
                return qk_of(self._lm, self._prompt, content["site"])[0].tobytes()
            case "rollout":
                return rollout_of(self._lm, self._prompt, content["query"]).tobytes()
            case "paths":
                return paths_of(self._lm, self._prompt, content["query"], content["by"]).tobytes()
            case "neurons":
                return products_of(self._lm, self._prompt, content["site"], content["query"], content["key"]).tobytes()
            case other:
                raise ViewError(f"a view answers rows, space, rollout, paths and neurons; found {other!r}.")


def view(
    lm: TransformersHost, prompt: Prompt, *edits: Any, sites: str | list[str] | None = None, **options: Any
) -> View:
    """Show one prompt in a notebook; with edits, before and after them.

    Args:
        lm: the attached model.
        prompt: one prompt.
        edits: edits or methods to compare with the model as it is.
        sites: as in :func:`~saccade.viewer.capture.capture`.
        options: ``limit``, ``name`` and ``labels`` of the capture.
    """
    captures = [capture(lm, prompt, sites, **options)]
    if edits:
        with lm.steer(*edits):
            captures.append(capture(lm, prompt, sites, **options))
    return View(lm, prompt, *captures, edits=edits)
