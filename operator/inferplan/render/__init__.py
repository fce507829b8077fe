"""Write manifests: a plan and how it is to be deployed come in, the objects that make it true go out."""

from inferplan.render.manifest_text import to_yaml
from inferplan.render.renderer import render

__all__ = ["render", "to_yaml"]
