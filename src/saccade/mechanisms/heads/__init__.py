"""Mechanisms that change how heads share, route or size their work."""

MECHANISMS: dict[str, str] = {}
