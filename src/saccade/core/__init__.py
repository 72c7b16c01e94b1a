"""Attention on tensors: spans, edits, measures and the engines. Knows no model."""
