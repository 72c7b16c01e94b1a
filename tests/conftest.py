"""Hypothesis profiles: ``default`` for CI, ``deep`` for a long search (pytest --hypothesis-profile=deep)."""

import torch
from hypothesis import HealthCheck, settings

common = {"deadline": None, "suppress_health_check": list(HealthCheck), "print_blob": True}
settings.register_profile("default", max_examples=200, **common)
settings.register_profile("deep", max_examples=50_000, **common)
settings.load_profile("default")
torch.set_num_threads(min(2, torch.get_num_threads()))
