"""Mechanisms that are recurrent networks, or hold one."""

MECHANISMS: dict[str, str] = {"aaren": "aaren:Aaren"}
