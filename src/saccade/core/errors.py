"""Every error Saccade raises on purpose. Each message says what was wrong, what was found, and what to do."""


class SaccadeError(ValueError):
    """Base of all errors that Saccade raises on purpose."""


class ShapeError(SaccadeError):
    """Tensors whose shapes, dtypes or devices do not fit together."""


class SpanError(SaccadeError):
    """A span that is missing, malformed, or does not fit the keys."""


class EditError(SaccadeError):
    """An edit that is malformed, touches nothing, or leaves a row with nothing to attend to."""


class MeasureError(SaccadeError):
    """A measure that is malformed or was not asked for."""


class EngineError(SaccadeError):
    """An engine that was asked for by name and cannot serve the request."""


class SiteError(SaccadeError):
    """A layer, head or site name that the model does not have."""


class HostError(SaccadeError):
    """A model that cannot be attached, or an attached model used in a way that cannot work."""


class PromptError(SaccadeError):
    """Text, chat messages or image regions that cannot be turned into spans."""


class MechanismError(SaccadeError):
    """A mechanism that is unknown, or asked for something that it does not serve."""
