"""Base lines."""

MECHANISMS = {"softmax": "softmax:Softmax"}
