"""Linear-time mechanisms."""

MECHANISMS: dict[str, str] = {
    "agent": "agent:Agent",
    "based": "based:Based",
    "based-window": "window:Window",
    "chela": "chela:Chela",
    "dydila": "dydila:DyDiLA",
    "efficient": "efficient:Efficient",
    "fast": "fast:Fast",
    "flow": "flow:Flow",
    "fourier": "galerkin:Fourier",
    "galerkin": "galerkin:Galerkin",
    "gated-slots": "slots:GatedSlots",
    "hedgehog": "hedgehog:Hedgehog",
    "inline": "inline:InLine",
    "l2vit": "l2vit:L2ViT",
    "latte": "latte:Latte",
    "lightning": "lightning:Lightning",
    "log-normal": "log_normal:LogNormal",
    "transnormer": "transnormer:TransNormer",
}
