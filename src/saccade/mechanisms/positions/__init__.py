"""Position schemes; each also stands as a mechanism: softmax attention with that scheme."""

MECHANISMS: dict[str, str] = {
    "rotary": "rotary:Rotary",
    "alibi": "alibi:ALiBi",
    "t5": "t5:T5Bias",
}
