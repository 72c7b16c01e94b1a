"""Claims about linear attention."""
