"""Methods that explanations are compared with, behind one door."""

from backthrough.explain.compared.bbmp import BBMP
from backthrough.explain.compared.gradients import Gradient, IntegratedGradients, SmoothGrad
from backthrough.explain.compared.method import Method
from backthrough.explain.compared.occlusion import Occlusion
from backthrough.explain.compared.rise import RISE
from backthrough.explain.compared.saliency import saliency

__all__ = [
    "BBMP",
    "RISE",
    "Gradient",
    "IntegratedGradients",
    "Method",
    "Occlusion",
    "SmoothGrad",
    "saliency",
]
