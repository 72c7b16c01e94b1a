"""Mechanisms that compute more than softmax attention does."""

MECHANISMS: dict[str, str] = {"selective": "selective:Selective"}
