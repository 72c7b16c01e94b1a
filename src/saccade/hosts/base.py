"""The face that every attached model has, and how open contexts act on one call of attention."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Self

from torch import Tensor, nn

from saccade.core.edits import Edit, Recipe, flatten
from saccade.core.errors import EditError, HostError, MeasureError, SiteError
from saccade.core.measures import Measure
from saccade.core.sites import Site, heads_at
from saccade.core.spans import Spans

from . import axes
from .call import Call
from .localise import check_names
from .operator import Operator
from .plan import ModelPlan, plan_site
from .report import Effect, Seen
from .session import Frame, frames_of, open_frames, opened, run_of
from .work import Work

UNKNOWN = 2**16
SpansLike = Spans | Mapping[str, Spans] | None


class Host:
    """An attached model. Use :func:`saccade.attach`.

    Attributes:
        model: the model, unchanged.
        unreachable: module paths of attention that no context can see or steer.
    """

    model: nn.Module
    unreachable: tuple[str, ...] = ()
    main: str = "text"
    encoder_decoder: bool = False
    image_token: int | None = None

    def __init__(self, model: nn.Module, sites: Iterable[tuple[Site, nn.Module]]) -> None:
        self.model = model
        self._modules = {id(module): (site, module) for site, module in sites}
        self._attached = True

    @property
    def sites(self) -> tuple[Site, ...]:
        """Every attention operator that can be seen and steered.

        Where neither a module nor its configuration states its heads, their number is 0 until its first call.
        """
        return tuple(site for site, _ in self._modules.values())

    def site_of(self, module: nn.Module) -> Site | None:
        """The site that a module is, if it is one of this host's."""
        found = self._modules.get(id(module))
        return found[0] if found else None

    def site(self, name: str) -> Site:
        """The site with this name."""
        for site in self.sites:
            if site.name == name:
                return site
        if name in self.unreachable:
            raise SiteError(f"attention at {name!r} is computed by the module's own code and cannot be reached.")
        raise SiteError(f"there is no site {name!r}; the sites are {[site.name for site in self.sites]}.")

    @contextmanager
    def steer(
        self, *items: Edit | Recipe, spans: SpansLike = None, decoder_spans: Spans | None = None
    ) -> Iterator[Effect]:
        """Edit attention in the body, in this thread.

        Args:
            items: edits and methods, in this order. Edits of outer contexts come first.
            spans: spans of the main axis, or spans by axis or site glob (see :mod:`saccade.hosts.axes`); by default
                those of the prompt that the model is called with.
            decoder_spans: spans of the decoder's own tokens in an encoder-decoder.

        Yields:
            :class:`~saccade.hosts.report.Effect`, the proof.

        Raises:
            EditError: an edit touched nothing by the end of the body.
            SiteError: ``at`` names no site, or one that cannot be reached.
        """
        edits = tuple(flatten(items))
        if not edits:
            raise EditError("steer needs at least one edit, found none.")
        for edit in edits:
            self._check_at(edit)
        effect = Effect(edits)
        span_map = axes.as_map(spans, decoder_spans, self.main)
        frame = Frame(self, span_map, edits=edits, effect=effect)
        self._check_names(edits, span_map)
        with self._open(frame):
            yield effect
        effect.check(frame.called)

    @contextmanager
    def watch(
        self,
        *measures: Measure,
        spans: SpansLike = None,
        decoder_spans: Spans | None = None,
        sites: str | Sequence[str] | None = None,
    ) -> Iterator[Seen]:
        """Measure attention in the body, in this thread, after the edits of every open ``steer``.

        Args:
            measures: what to read.
            spans: as in :meth:`steer`.
            decoder_spans: as in :meth:`steer`.
            sites: site names or globs; all by default.

        Yields:
            :class:`~saccade.hosts.report.Seen`: ``seen["mass"].site("text.0.self")``.
        """
        if not measures:
            raise MeasureError("watch needs at least one measure, found none; for instance watch(Mass(), Entropy()).")
        for measure in measures:
            if not isinstance(measure, Measure):
                hint = f"; write {measure.__name__}() with brackets" if isinstance(measure, type) else ""
                raise MeasureError(f"{measure!r} is not a measure{hint}.")
        names = [measure.name for measure in measures]
        if len(set(names)) < len(names):
            raise MeasureError(f"two measures have the same name: {names}; give one of them another name.")
        seen = Seen(measures)
        chosen = frozenset(self._chosen(sites))
        span_map = axes.as_map(spans, decoder_spans, self.main)
        self._check_names(measures, span_map)
        with self._open(Frame(self, span_map, measures=measures, sites=chosen, seen=seen)):
            yield seen

    @contextmanager
    def tap(
        self, function: Callable[[Operator, Tensor], Tensor], sites: str | Sequence[str] | None = None
    ) -> Iterator[None]:
        """Hand every call of attention in the body to a function, in this thread, after the edits of open contexts.

        Args:
            function: from the call's :class:`~saccade.hosts.operator.Operator` and its values ``[B, Hq, Q, Dv]``,
                before the output projection, to the values that the model goes on with.
            sites: site names or globs; all by default.
        """
        with self._open(Frame(self, {}, sites=frozenset(self._chosen(sites)), tap=function)):
            yield

    def plan(
        self, edits: Sequence[Edit | Recipe] = (), measures: Sequence[Measure] = (), length: int = 1024
    ) -> ModelPlan:
        """Which engine each site would take for one sample of ``length`` tokens, what it would cost, and why."""
        if length < 1:
            raise EditError(f"a plan needs at least one token, found length={length}.")
        todo = flatten(edits)
        for edit in todo:
            self._check_at(edit)
        sites = [site for site in self.sites if site.heads]
        return ModelPlan({s.name: plan_site(s, *self._shape(s), todo, measures, length) for s in sites}, length)

    def _shape(self, site: Site) -> tuple[int, bool]:
        """Width of the heads of a site, and whether it is causal."""
        return 64, False

    def detach(self) -> None:
        """Let the model go. Nothing of Saccade stays in it."""
        if any(frame.host is self for frame in open_frames()):
            raise HostError("the model cannot be detached inside a steer or watch context; leave the context first.")
        self._attached = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.detach()

    def __repr__(self) -> str:
        state = "" if self._attached else ", detached"
        return f"{type(self).__name__}({type(self.model).__name__}: {len(self.sites)} sites{state})"

    def _activate(self) -> None:
        """Make the model call Saccade; called once for every context that opens."""

    def _deactivate(self) -> None:
        """Undo one :meth:`_activate`."""

    def _learn(self, module: nn.Module, heads: int, kv_heads: int) -> Site:
        """The site of a module, with the numbers of heads that it was called with."""
        site, _ = self._modules[id(module)]
        if (site.heads, site.kv_heads) != (heads, kv_heads):
            site = replace(site, heads=heads, kv_heads=kv_heads)
            self._modules[id(module)] = site, module
        return site

    @contextmanager
    def _open(self, frame: Frame) -> Iterator[None]:
        if not self._attached:
            raise HostError("the model was detached; attach it again with saccade.attach(model).")
        self._activate()
        try:
            with opened(frame):
                yield
        finally:
            self._deactivate()

    def _check_names(self, items: Sequence[Edit | Measure], span_map: Mapping[str, Spans]) -> None:
        if self.main in span_map:
            for item in items:
                check_names(item, span_map)

    def _chosen(self, sites: str | Sequence[str] | None) -> tuple[str, ...]:
        if sites is None:
            return tuple(site.name for site in self.sites)
        found: dict[str, None] = {}
        for pattern in (sites,) if isinstance(sites, str) else sites:
            hits = [site.name for site in self.sites if fnmatchcase(site.name, pattern)]
            if not hits:
                self.site(pattern)
            found.update(dict.fromkeys(hits))
        return tuple(found)

    def _check_at(self, edit: Edit) -> None:
        if isinstance(edit.at, str):
            self._chosen(edit.at)
        if isinstance(edit.at, Mapping):
            for key in edit.at:
                if isinstance(key, str):
                    self._chosen(key)
                elif not any(site.main and site.layer == key for site in self.sites):
                    layers = sorted(site.layer for site in self.sites if site.main)
                    raise SiteError(f"there is no layer {key}; the layers of the {self.main} stack are {layers}.")
        if all(heads_at(edit.at, site, site.heads or UNKNOWN) == [] for site in self.sites):
            raise EditError(f"{type(edit).__name__}: at={edit.at!r} picks no head of any site.")

    def _apply(self, call: Call, place: axes.Place, weights: bool = False) -> tuple[Tensor, Tensor | None] | None:
        """A call under the open contexts: values ``[B, Hq, Q, Dv]`` and, if asked for, weights ``[B, Hq, Q, K]``.

        None if no open context concerns the call.
        """
        run = run_of(self)
        if call.site.kind == "self":
            run.lengths[call.site.stack] = place.total
        axis = axes.key_axis(call.site, self.encoder_decoder)
        work = Work(call, place, run)
        for frame in frames_of(self):
            frame.called = True
            span_map = axes.joined(frame, run)
            for item in (*frame.edits, *frame.measures):
                check_names(item, span_map)
            work.add(frame, axes.view(frame, run, call.site, axis, place))
        return work.run(weights)
