"""The command line: ``saccade --help``."""

from .app import app, main

__all__ = ["app", "main"]
