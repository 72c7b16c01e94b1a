"""Mechanisms that compute more than softmax attention does."""

MECHANISMS: dict[str, str] = {
    "cog": "cog:Cog",
    "context-broadcasting": "broadcasting:Broadcasting",
    "differential": "differential:Differential",
    "dual": "dual:Dual",
    "keyless": "keyless:Keyless",
    "kronecker": "kronecker:Kronecker",
    "kronecker-linear": "kronecker_linear:KroneckerLinear",
    "kv-shifting": "kv_shifting:KVShifting",
    "neural": "neural:Neural",
    "optimised": "optimised:Optimised",
    "selective": "selective:Selective",
    "simplicial": "simplicial:Simplicial",
    "softplus": "softplus:Softplus",
    "super": "super:Super",
}
