"""Claims: exact attention engines."""
