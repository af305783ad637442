"""Estimators with control variates, of which all but their form can be learned."""

from backthrough.estimators.control_variates.double_cv import DoubleCV
from backthrough.estimators.control_variates.lax import LAX
from backthrough.estimators.control_variates.rebar import REBAR
from backthrough.estimators.control_variates.relax import RELAX, relaxation_noise
from backthrough.estimators.control_variates.rodeo import RODEO

__all__ = ["LAX", "REBAR", "RELAX", "RODEO", "DoubleCV", "relaxation_noise"]
