"""Mechanisms that are recurrent networks, or hold one."""

MECHANISMS = {"aaren": "aaren:Aaren"}
