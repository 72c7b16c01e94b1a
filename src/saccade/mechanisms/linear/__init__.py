"""Linear-time mechanisms."""

MECHANISMS: dict[str, str] = {"lightning": "lightning:Lightning"}
