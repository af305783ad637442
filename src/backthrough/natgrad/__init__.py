"""Posteriors over a network's weights at the price of an optimiser (Zhang et al. 2018)."""

from backthrough.natgrad.fit import (
    MinibatchMethod,
    Problem,
    Training,
    WholeDataMethod,
    checked_data,
    fit_weights,
)
from backthrough.natgrad.fitted import Draws, Fitted, WeightPosterior
from backthrough.natgrad.likelihoods import (
    Bernoulli,
    Categorical,
    FixedNoise,
    GammaNoise,
    GammaPosterior,
    Gaussian,
    Likelihood,
)
from backthrough.natgrad.predictive import ClassPredictive, GaussianPredictive

__all__ = [
    "Bernoulli",
    "Categorical",
    "ClassPredictive",
    "Draws",
    "Fitted",
    "FixedNoise",
    "GammaNoise",
    "GammaPosterior",
    "Gaussian",
    "GaussianPredictive",
    "Likelihood",
    "MinibatchMethod",
    "Problem",
    "Training",
    "WeightPosterior",
    "WholeDataMethod",
    "checked_data",
    "fit_weights",
]
