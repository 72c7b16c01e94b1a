"""Mechanisms that compute more than softmax attention does."""

MECHANISMS = {"selective": "selective:Selective"}
