"""Mechanisms that compute more than softmax attention does."""

MECHANISMS: dict[str, str] = {
    "cog": "cog:Cog",
    "context-broadcasting": "broadcasting:Broadcasting",
    "differential": "differential:Differential",
    "kv-shifting": "kv_shifting:KVShifting",
    "selective": "selective:Selective",
    "softplus": "softplus:Softplus",
}
