"""Linear-time mechanisms."""

MECHANISMS: dict[str, str] = {
    "based": "based:Based",
    "based-window": "window:Window",
    "efficient": "efficient:Efficient",
    "fast": "fast:Fast",
    "gated-slots": "slots:GatedSlots",
    "hedgehog": "hedgehog:Hedgehog",
    "latte": "latte:Latte",
    "lightning": "lightning:Lightning",
    "transnormer": "transnormer:TransNormer",
}
