"""Bijections with tractable determinants, continuous ones among them, and the distributions they make."""

from backthrough.flows.auxiliary import AuxiliaryCoupling, auxiliary_coupling_flow
from backthrough.flows.bijection import Bijection, Chain, Inverse
from backthrough.flows.continuous import ContinuousFlow, has_estimated_log_det
from backthrough.flows.fields import GatedMLP, PlanarField, VectorField
from backthrough.flows.flow import Base, Flow, StandardNormal
from backthrough.flows.from_flowjax import (
    FlowjaxBijection,
    coupling_flow,
    masked_autoregressive_flow,
    spline_coupling_flow,
)
from backthrough.flows.planar import Planar, planar_chain
from backthrough.flows.trace import ExactTrace, Hutchinson, Trace

__all__ = [
    "AuxiliaryCoupling",
    "Base",
    "Bijection",
    "Chain",
    "ContinuousFlow",
    "ExactTrace",
    "Flow",
    "FlowjaxBijection",
    "GatedMLP",
    "Hutchinson",
    "Inverse",
    "Planar",
    "PlanarField",
    "StandardNormal",
    "Trace",
    "VectorField",
    "auxiliary_coupling_flow",
    "coupling_flow",
    "has_estimated_log_det",
    "masked_autoregressive_flow",
    "planar_chain",
    "spline_coupling_flow",
]
