"""See, steer and swap attention in any transformer, at the speed of the fused kernel."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
