"""What goes wrong in a detector."""

from saccade.core.errors import SaccadeError


class DetectError(SaccadeError):
    """A detector was given data that it cannot read, or fitted to data that teach it nothing."""
