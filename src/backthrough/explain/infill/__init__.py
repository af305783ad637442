"""Infillers: what hidden features of an input might be."""

from backthrough.explain.infill.infiller import Infiller

__all__ = ["Infiller"]
