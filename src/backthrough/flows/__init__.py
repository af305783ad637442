"""Bijections with tractable determinants, continuous ones among them, and the distributions they make."""

from backthrough.flows.bijection import Bijection, Chain, Inverse
from backthrough.flows.continuous import ContinuousFlow, has_estimated_log_det
from backthrough.flows.fields import GatedMLP, PlanarField, VectorField
from backthrough.flows.flow import Flow, StandardNormal
from backthrough.flows.planar import Planar, planar_chain
from backthrough.flows.trace import ExactTrace, Hutchinson, Trace

__all__ = [
    "Bijection",
    "Chain",
    "ContinuousFlow",
    "ExactTrace",
    "Flow",
    "GatedMLP",
    "Hutchinson",
    "Inverse",
    "Planar",
    "PlanarField",
    "StandardNormal",
    "Trace",
    "VectorField",
    "has_estimated_log_det",
    "planar_chain",
]
