"""The synthetic world: documents in a small language whose every fact is known."""

from saccade.tasks.world.absent import Absent
from saccade.tasks.world.arithmetic import Arithmetic
from saccade.tasks.world.conflict import Conflict
from saccade.tasks.world.context import Context
from saccade.tasks.world.dialogue import Dialogue
from saccade.tasks.world.documents import Documents
from saccade.tasks.world.facts import Fact
from saccade.tasks.world.fewshot import FewShot
from saccade.tasks.world.forms import Form
from saccade.tasks.world.injection import Injection
from saccade.tasks.world.instructions import Instructions
from saccade.tasks.world.lexicon import Lexicon, lexicon
from saccade.tasks.world.lists import Lists
from saccade.tasks.world.memory import Memory
from saccade.tasks.world.reading import Reading
from saccade.tasks.world.years import Years

__all__ = [
    "Absent", "Arithmetic", "Conflict", "Context", "Dialogue", "Documents", "Fact", "FewShot", "Form", "Injection",
    "Instructions", "Lexicon", "Lists", "Memory", "Reading", "Years", "lexicon",
]  # fmt: skip
