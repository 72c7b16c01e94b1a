"""Attaching a transformers model: sites, contexts, prompts and generation."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from importlib import import_module
from inspect import signature
from typing import Any
from weakref import WeakValueDictionary

from torch import Tensor
from transformers import PreTrainedModel

from saccade.core.errors import HostError
from saccade.core.sites import Site
from saccade.hosts.base import Host
from saccade.hosts.code import WIDTHS, stated
from saccade.hosts.session import Run, running

from . import function, switch
from .hooks import Installed
from .sites import find_sites, image_token, main_axis

_attached: WeakValueDictionary[int, TransformersHost] = WeakValueDictionary()


class TransformersHost(Host):
    """An attached transformers model. Idle, the model is exactly what it was; see :class:`saccade.hosts.base.Host`.

    Args:
        model: a :class:`transformers.PreTrainedModel`.
        tokenizer: for :meth:`prompt` and for text from :meth:`generate`.

    Raises:
        HostError: the architecture computes attention in its own code.
    """

    model: PreTrainedModel

    def __init__(self, model: PreTrainedModel, tokenizer: Any = None) -> None:
        found, self.unreachable = find_sites(model)
        super().__init__(model, found.values())
        self.tokenizer = tokenizer
        self.encoder_decoder = bool(getattr(model.config, "is_encoder_decoder", False))
        self.main = main_axis(model, {site.stack for site in self.sites})
        self._configs = switch.configs_of(model, [module for _, module in found.values()])
        self.image_token = image_token(model.config)
        self._lock = threading.RLock()
        self._users = 0
        switch.register(function.attention, function.mask)

    def prompt(self, text: Any, spans: Any = None, **options: Any) -> Any:
        """Tokens and spans of a text, of chat messages, or of a list of these; see :func:`saccade.prompt.encode`.

        A batch for a model that continues text is padded on the left unless ``padding_side`` says otherwise.
        """
        from saccade.prompt import encode

        if self.tokenizer is None:
            raise HostError("prompt() needs a tokenizer: attach with saccade.attach(model, tokenizer).")
        if self.model.can_generate() and not self.encoder_decoder:
            options.setdefault("padding_side", "left")
        return encode(self.tokenizer, text, spans=spans, **options)

    def __call__(self, prompt: Any = None, **inputs: Any) -> Any:
        """Run the model on a prompt (with its spans), on keyword inputs, or on both."""
        given, spans = self._inputs(prompt)
        with running(self, Run(spans=spans)):
            return self.model(**{**given, **inputs})

    def generate(self, prompt: Any = None, **options: Any) -> Any:
        """Generate from a prompt or from keyword inputs, with every open context acting on every step.

        Returns:
            New text (a list for several sequences) when given a prompt and a tokenizer is known, else what the model's
            own ``generate`` returns.
        """
        given, spans = self._inputs(prompt)
        known = signature(self.model.forward).parameters
        given = {name: value for name, value in given.items() if name in known}
        with running(self, Run(spans=spans, generating=True)):
            out = self.model.generate(**{**given, **options})  # type: ignore[operator]
        if prompt is None or self.tokenizer is None or not isinstance(out, Tensor):
            return out
        new = out if self.encoder_decoder else out[:, given["input_ids"].shape[1] :]
        texts = self.tokenizer.batch_decode(new, skip_special_tokens=True)
        return texts[0] if len(texts) == 1 else texts

    def view(self, prompt: Any, *edits: Any, sites: Any = None, **options: Any) -> Any:
        """Show a prompt in a notebook; with edits, before and after them.

        Needs the extra ``viewer``. Arguments and result are those of :func:`saccade.viewer.widget.view`.
        """
        return import_module("saccade.viewer.widget").view(self, prompt, *edits, sites=sites, **options)

    def _shape(self, site: Site) -> tuple[int, bool]:
        module: Any = next(module for known, module in self._modules.values() if known == site)
        width = stated(module, WIDTHS) or stated(module.config, WIDTHS) or int(module.config.hidden_size) // site.heads
        return width, site.kind == "self" and bool(getattr(module, "is_causal", False))

    def _inputs(self, prompt: Any) -> tuple[dict[str, Any], Mapping[str, Any]]:
        if prompt is None:
            return {}, {}
        if not hasattr(prompt, "inputs"):
            raise HostError(
                f"pass a prompt from lm.prompt(...) or keyword inputs (input_ids=...), found {type(prompt)}."
            )
        device = self.model.device
        given = {
            name: value.to(device) if isinstance(value, Tensor) else value for name, value in prompt.inputs.items()
        }
        spans = prompt.spans
        return given, {} if spans is None else {self.main: spans}

    def _activate(self) -> None:
        with self._lock:
            switch.switch(self._configs)
            self._users += 1
            if self._users == 1:
                self._installed = Installed(self.model, [module for _, module in self._modules.values()])

    def _deactivate(self) -> None:
        with self._lock:
            switch.restore(self._configs)
            self._users -= 1
            if self._users == 0:
                self._installed.remove()


def attach(model: PreTrainedModel, tokenizer: Any = None) -> TransformersHost:
    """Attach a model; a model that is attached already gives the same host again."""
    host = _attached.get(id(model))
    if host is not None and host.model is model and host._attached:
        host.tokenizer = tokenizer if tokenizer is not None else host.tokenizer
        return host
    host = _attached[id(model)] = TransformersHost(model, tokenizer)
    return host


def forget(model: PreTrainedModel) -> None:
    """Have the next :func:`attach` look for sites anew; a host that exists keeps those that it found."""
    _attached.pop(id(model), None)
