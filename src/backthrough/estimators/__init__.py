"""Gradients of expectations through samples, discrete ones and black boxes included."""

from backthrough.estimators.antithetic import ARM, DisARM
from backthrough.estimators.catalogue import default_estimators, suitable_estimators
from backthrough.estimators.comparison import Comparison, compare
from backthrough.estimators.control import LAX, REBAR, RELAX, relaxation_noise
from backthrough.estimators.dice import DiCE
from backthrough.estimators.double_cv import DoubleCV
from backthrough.estimators.estimator import Estimator, Properties
from backthrough.estimators.exact import Enumeration
from backthrough.estimators.expectation import Auxiliary, expect, value_and_grad
from backthrough.estimators.measure_valued import MeasureValued
from backthrough.estimators.multi_sample import vimco
from backthrough.estimators.numpy_function import NumpyFunction, numpy_function
from backthrough.estimators.one_hot import OneHotCategorical
from backthrough.estimators.pathwise import (
    Concrete,
    ReinMax,
    Reparameterisation,
    StraightThrough,
    StraightThroughGumbel,
)
from backthrough.estimators.rodeo import RODEO
from backthrough.estimators.score import LeaveOneOut, MovingAverage, ScoreFunction
from backthrough.estimators.stick_breaking import CategoricalDisARM

__all__ = [
    "ARM",
    "LAX",
    "REBAR",
    "RELAX",
    "RODEO",
    "Auxiliary",
    "CategoricalDisARM",
    "Comparison",
    "Concrete",
    "DiCE",
    "DisARM",
    "DoubleCV",
    "Enumeration",
    "Estimator",
    "LeaveOneOut",
    "MeasureValued",
    "MovingAverage",
    "NumpyFunction",
    "OneHotCategorical",
    "Properties",
    "ReinMax",
    "Reparameterisation",
    "ScoreFunction",
    "StraightThrough",
    "StraightThroughGumbel",
    "compare",
    "default_estimators",
    "expect",
    "numpy_function",
    "relaxation_noise",
    "suitable_estimators",
    "value_and_grad",
    "vimco",
]
