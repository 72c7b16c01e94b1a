"""Linear-time mechanisms."""

MECHANISMS = {"lightning": "lightning:Lightning"}
