"""The conformance suite: what every mechanism must satisfy, for those of the library and for your own.

>>> from saccade.testing import checks, conform
>>> sorted(checks("lightning"))[:3]
['batch', 'causality', 'contract']
>>> conform("lightning", only=["saving"])

With pytest::

    @pytest.mark.parametrize("check", checks(MyMechanism))
    def test_conforms(check):
        conform(MyMechanism, only=[check])
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from saccade.core.errors import MechanismError
from saccade.mechanisms import Layer, Mechanism, Position
from saccade.testing import equations, order, padding, promises
from saccade.testing.cost import Counter, counted, exponent
from saccade.testing.subject import Case, Subject
from saccade.testing.swapped import check_swap

__all__ = ["CHECKS", "Case", "Counter", "Subject", "checks", "conform", "counted", "exponent"]

Target = str | type[Mechanism] | type[Position] | Layer | Subject
Applies = Callable[[Any], bool]

CHECKS: dict[str, tuple[Callable[[Subject], None], Applies]] = {
    "contract": (promises.check_contract, lambda info: True),
    "reference": (equations.check_reference, lambda info: bool(info.fast)),
    "gradients": (equations.check_gradients, lambda info: True),
    "precision": (equations.check_precision, lambda info: True),
    "groups": (equations.check_groups, lambda info: info.groups),
    "degenerate": (equations.check_degenerate, lambda info: True),
    "learning": (equations.check_every_part_learns, lambda info: True),
    "causality": (order.check_causality, lambda info: info.causal),
    "decoding": (order.check_decoding, lambda info: info.decode != "none"),
    "state-size": (order.check_state_size, lambda info: info.decode == "recurrent"),
    "step-cost": (promises.check_step_cost, lambda info: info.decode == "recurrent"),
    "batch": (padding.check_batch, lambda info: True),
    "padding": (padding.check_padding, lambda info: "full" not in info.needs),
    "empty-rows": (padding.check_empty_rows, lambda info: "full" not in info.needs),
    "no-padding": (padding.check_no_padding, lambda info: "full" in info.needs),
    "parameters": (promises.check_extra_parameters, lambda info: True),
    "repeatable": (promises.check_repeatable, lambda info: True),
    "saving": (promises.check_saving, lambda info: True),
    "cost": (promises.check_cost, lambda info: True),
    "swap": (check_swap, lambda info: info.patterns != ("cross",) and "grid" not in info.needs),
}


def checks(target: Target) -> list[str]:
    """Names of the checks that apply to a mechanism: a name, a class, an instance or a Subject."""
    info = Subject.of(target).info
    return [name for name, (_, applies) in CHECKS.items() if applies(info)]


def conform(target: Target, only: Iterable[str] | None = None, **options: Any) -> None:
    """Run the checks on a mechanism; AssertionError names the first promise that it breaks.

    ``only`` chooses checks by name; ``options`` are the mechanism's, beside those of its ``trial``.
    """
    subject = Subject.of(target, **options)
    for name in checks(subject) if only is None else only:
        if name not in CHECKS:
            raise MechanismError(f"no check is called {name!r}; the checks are {', '.join(CHECKS)}")
        CHECKS[name][0](subject)
