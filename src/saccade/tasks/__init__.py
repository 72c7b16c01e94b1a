"""Synthetic tasks with known answers and gold spans.

>>> from saccade import tasks
>>> e = tasks.get("world/instructions", difficulty=1).example(0)
>>> e.texts("rule")[0] in e.messages[0]["content"]
True
"""

from saccade.tasks import algorithmic, world
from saccade.tasks.example import Example, Message, Place, Script, TaskError, normalise
from saccade.tasks.task import Task, get, names, register

__all__ = [
    "Example",
    "Message",
    "Place",
    "Script",
    "Task",
    "TaskError",
    "algorithmic",
    "get",
    "names",
    "normalise",
    "register",
    "world",
]
