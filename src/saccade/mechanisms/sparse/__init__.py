"""Mechanisms in which a query sees a few chosen keys."""

MECHANISMS: dict[str, str] = {
    "neighbourhood": "neighbourhood:Neighbourhood",
    "shifted-window": "shifted_window:ShiftedWindow",
}
