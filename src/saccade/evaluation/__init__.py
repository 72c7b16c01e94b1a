"""How well a model does on a task, as it is and steered."""

from .replies import EvaluationError, Prepared, correct, graded, prepare, replies

__all__ = ["EvaluationError", "Prepared", "correct", "graded", "prepare", "replies"]
