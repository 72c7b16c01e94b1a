"""Base lines."""

MECHANISMS: dict[str, str] = {"softmax": "softmax:Softmax"}
