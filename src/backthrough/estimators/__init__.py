"""Gradients of expectations through samples, discrete ones and black boxes included."""

from backthrough.estimators.antithetic import ARM, DisARM
from backthrough.estimators.attach import attach
from backthrough.estimators.catalogue import default_estimators, suitable_estimators
from backthrough.estimators.comparison import Comparison, compare
from backthrough.estimators.control_variates import LAX, REBAR, RELAX, RODEO, DoubleCV, relaxation_noise
from backthrough.estimators.dice import DiCE
from backthrough.estimators.estimator import Estimator, Problem, Properties, sample_keys, scaled
from backthrough.estimators.exact import Enumeration
from backthrough.estimators.expectation import Auxiliary, expect, n_evaluations, value_and_grad
from backthrough.estimators.families import (
    BernoulliFamily,
    CategoricalFamily,
    Family,
    FiniteFamily,
    Joint,
    NormalFamily,
    OneHotCategorical,
    OneHotFamily,
    RelaxedFamily,
    ReparameterisedFamily,
    SoftFamily,
    WeakDerivativeFamily,
    register_family,
)
from backthrough.estimators.measure_valued import MeasureValued
from backthrough.estimators.multi_sample import vimco
from backthrough.estimators.numpy_function import NumpyFunction, numpy_function
from backthrough.estimators.pathwise import (
    Concrete,
    ReinMax,
    Reparameterisation,
    StraightThrough,
    StraightThroughGumbel,
)
from backthrough.estimators.score import LeaveOneOut, MovingAverage, ScoreFunction
from backthrough.estimators.stick_breaking import CategoricalDisARM

__all__ = [
    "ARM",
    "LAX",
    "REBAR",
    "RELAX",
    "RODEO",
    "Auxiliary",
    "BernoulliFamily",
    "CategoricalDisARM",
    "CategoricalFamily",
    "Comparison",
    "Concrete",
    "DiCE",
    "DisARM",
    "DoubleCV",
    "Enumeration",
    "Estimator",
    "Family",
    "FiniteFamily",
    "Joint",
    "LeaveOneOut",
    "MeasureValued",
    "MovingAverage",
    "NormalFamily",
    "NumpyFunction",
    "OneHotCategorical",
    "OneHotFamily",
    "Problem",
    "Properties",
    "ReinMax",
    "RelaxedFamily",
    "Reparameterisation",
    "ReparameterisedFamily",
    "ScoreFunction",
    "SoftFamily",
    "StraightThrough",
    "StraightThroughGumbel",
    "WeakDerivativeFamily",
    "attach",
    "compare",
    "default_estimators",
    "expect",
    "n_evaluations",
    "numpy_function",
    "register_family",
    "relaxation_noise",
    "sample_keys",
    "scaled",
    "suitable_estimators",
    "value_and_grad",
    "vimco",
]
