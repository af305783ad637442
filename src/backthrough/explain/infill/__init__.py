"""Infillers: what hidden features of an input might be."""

from backthrough.explain.infill.check import check_infiller
from backthrough.explain.infill.gaussian import GaussianConditional
from backthrough.explain.infill.infiller import Infiller
from backthrough.explain.infill.simple import Constant, Marginal, Mean, Noise
from backthrough.explain.infill.smoothing import Blur, LocalMean

__all__ = [
    "Blur",
    "Constant",
    "GaussianConditional",
    "Infiller",
    "LocalMean",
    "Marginal",
    "Mean",
    "Noise",
    "check_infiller",
]
