"""Mechanisms side by side: what they learn in the same small host, and what they cost."""
