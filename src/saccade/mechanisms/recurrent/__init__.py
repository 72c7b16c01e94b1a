"""Mechanisms that are recurrent networks, or hold one."""

MECHANISMS: dict[str, str] = {
    "aaren": "aaren:Aaren",
    "gmu": "gmu:GMU",
    "mega": "mega:Mega",
    "mega-chunk": "mega_chunk:MegaChunk",
    "rat": "rat:RAT",
    "sha": "sha:SHA",
}
