"""Claims: more expressive attention."""
