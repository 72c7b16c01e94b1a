"""Small trained models that show the phenomena of attention, and the recipes that train them."""

from saccade.zoo.recipe import ZooError
from saccade.zoo.store import load, names, path

__all__ = ["ZooError", "load", "names", "path"]
