"""Claims: where documents stand."""
