"""All estimators, for messages that name those that would work."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from backthrough.core import PyTree, Scalar
from backthrough.estimators.antithetic import ARM, DisARM
from backthrough.estimators.control_variates import LAX, REBAR, RELAX, RODEO, DoubleCV
from backthrough.estimators.dice import DiCE
from backthrough.estimators.estimator import Estimator, Properties
from backthrough.estimators.exact import MOST_OUTCOMES, Enumeration
from backthrough.estimators.families import read_distribution
from backthrough.estimators.measure_valued import MeasureValued
from backthrough.estimators.numpy_function import NumpyFunction
from backthrough.estimators.pathwise import (
    Concrete,
    ReinMax,
    Reparameterisation,
    StraightThrough,
    StraightThroughGumbel,
)
from backthrough.estimators.score import LeaveOneOut, ScoreFunction
from backthrough.estimators.stick_breaking import CategoricalDisARM


class Constant(eqx.Module):
    """The simplest control variate: one learned number, which is a baseline."""

    value: Scalar

    def __call__(self, z: PyTree) -> Scalar:
        """The number."""
        return self.value


class Shrunk(eqx.Module):
    """A control variate for RODEO: minus the Taylor term for f, times a learned number."""

    scale: Scalar

    def __call__(self, pair: Float[Array, "2"]) -> Float[Array, "2"]:
        """h for f, h for the result."""
        return -self.scale * jnp.stack([pair[0], jnp.zeros_like(pair[0])])


def default_estimators() -> dict[str, Estimator]:
    """One of each, by name, with default settings and, where one is needed, a constant control variate."""
    constant = Constant(jnp.zeros(()))
    estimators = (
        Enumeration(),
        LeaveOneOut(),
        DisARM(),
        CategoricalDisARM(),
        DoubleCV(),
        RODEO(Shrunk(jnp.ones(()))),
        ARM(),
        RELAX(constant),
        REBAR(),
        LAX(constant),
        Reparameterisation(),
        ScoreFunction(),
        MeasureValued(),
        DiCE(),
        Concrete(),
        ReinMax(),
        StraightThrough(),
        StraightThroughGumbel(),
    )
    return {type(estimator).__name__: estimator for estimator in estimators}


def suitable_estimators(f: Callable[[Any], Any], dist: PyTree) -> dict[str, Estimator]:
    """Those of `default_estimators` that can work for this f and distribution.

    >>> import numpyro.distributions as dist
    >>> names = suitable_estimators(jnp.sum, dist.Normal(jnp.zeros(2), 1.0)).keys()
    >>> "Reparameterisation" in names, "DisARM" in names
    (True, False)
    """
    joint, params = read_distribution(dist)
    opaque = isinstance(f, NumpyFunction)
    suitable = {}
    for name, estimator in default_estimators().items():
        able = estimator.properties
        fits = able.take(joint) and not (opaque and able.needs_gradient)
        if fits and not (isinstance(estimator, Enumeration) and joint.n_outcomes(params) > MOST_OUTCOMES):
            suitable[name] = estimator
    return suitable


def names_of_those_that(suit: Callable[[Properties], bool]) -> str:
    """The names of the estimators whose properties suit, biased ones marked."""
    names = []
    for name, estimator in default_estimators().items():
        if suit(estimator.properties):
            names.append(name if estimator.properties.unbiased else f"{name} (biased)")
    return ", ".join(names) or "none"
