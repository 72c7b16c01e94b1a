"""Hosting transformers models."""

from .attach import TransformersHost, attach

__all__ = ["TransformersHost", "attach"]
