"""Looking at attention: one picture of a forward pass, in a notebook, a page on its own, or a local server."""

from .base import ViewError
from .capture import Capture, capture
from .pack import pack, unpack
from .page import page

__all__ = ["Capture", "ViewError", "capture", "pack", "page", "unpack"]
