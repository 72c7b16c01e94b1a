"""Linear-time mechanisms."""

MECHANISMS: dict[str, str] = {
    "based": "based:Based",
    "based-window": "window:Window",
    "efficient": "efficient:Efficient",
    "fast": "fast:Fast",
    "flow": "flow:Flow",
    "fourier": "galerkin:Fourier",
    "galerkin": "galerkin:Galerkin",
    "gated-slots": "slots:GatedSlots",
    "hedgehog": "hedgehog:Hedgehog",
    "latte": "latte:Latte",
    "lightning": "lightning:Lightning",
    "log-normal": "log_normal:LogNormal",
    "transnormer": "transnormer:TransNormer",
}
