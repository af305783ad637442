"""Families of distributions, and what estimators may ask of them."""

from backthrough.estimators.families.bernoulli import BernoulliFamily
from backthrough.estimators.families.categorical import CategoricalFamily, OneHotFamily
from backthrough.estimators.families.family import (
    Family,
    FiniteFamily,
    RelaxedFamily,
    ReparameterisedFamily,
    SoftFamily,
    WeakDerivativeFamily,
)
from backthrough.estimators.families.joint import Joint, Parts
from backthrough.estimators.families.normal import NormalFamily
from backthrough.estimators.families.one_hot import OneHotCategorical
from backthrough.estimators.families.parameters import at_least_single, check_temperature
from backthrough.estimators.families.registry import (
    names_of,
    read_distribution,
    read_given_probs,
    register_family,
)

__all__ = [
    "BernoulliFamily",
    "CategoricalFamily",
    "Family",
    "FiniteFamily",
    "Joint",
    "NormalFamily",
    "OneHotCategorical",
    "OneHotFamily",
    "Parts",
    "RelaxedFamily",
    "ReparameterisedFamily",
    "SoftFamily",
    "WeakDerivativeFamily",
    "at_least_single",
    "check_temperature",
    "names_of",
    "read_distribution",
    "read_given_probs",
    "register_family",
]
