"""Linear-time mechanisms."""

MECHANISMS: dict[str, str] = {
    "based": "based:Based",
    "based-window": "window:Window",
    "efficient": "efficient:Efficient",
    "fast": "fast:Fast",
    "hedgehog": "hedgehog:Hedgehog",
    "lightning": "lightning:Lightning",
}
