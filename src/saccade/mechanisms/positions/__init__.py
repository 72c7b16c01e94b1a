"""Position schemes, each also a mechanism (softmax attention with that scheme), and RCMHA, which is more than one."""

MECHANISMS: dict[str, str] = {
    "rotary": "rotary:Rotary",
    "alibi": "alibi:ALiBi",
    "t5": "t5:T5Bias",
    "coca": "coca:CoCA",
    "complex": "complex:Complex",
    "cope": "cope:CoPE",
    "fope": "fope:FoPE",
    "music": "music:Music",
    "rcmha": "rcmha:RCMHA",
    "shaw": "shaw:Shaw",
}
