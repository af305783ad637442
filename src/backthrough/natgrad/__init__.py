"""Posteriors over a network's weights at the price of an optimiser (Zhang et al. 2018)."""

from backthrough.natgrad.agreement import Agreement, variance_correlation
from backthrough.natgrad.blocks import Blocks
from backthrough.natgrad.compared import (
    MAP,
    NUTS,
    BayesByBackprop,
    DeepEnsemble,
    MCDropout,
    r_hat,
)
from backthrough.natgrad.expected_gradient import ExpectedGradient, expected_gradient
from backthrough.natgrad.fit import (
    MinibatchMethod,
    Problem,
    Training,
    WholeDataMethod,
    fit_weights,
)
from backthrough.natgrad.fitted import Draws, Fitted, WeightPosterior
from backthrough.natgrad.likelihoods import (
    Bernoulli,
    Categorical,
    Gaussian,
    Likelihood,
)
from backthrough.natgrad.methods import NoisyAdam, NoisyEKFAC, NoisyFull, NoisyKFAC
from backthrough.natgrad.noise import FixedNoise, GammaNoise, GammaPosterior
from backthrough.natgrad.noisy_adam import noisy_adam
from backthrough.natgrad.noisy_ekfac import noisy_ekfac
from backthrough.natgrad.noisy_full import noisy_full
from backthrough.natgrad.noisy_kfac import noisy_kfac
from backthrough.natgrad.posterior import NaturalPosterior, load_posterior, posterior
from backthrough.natgrad.predictive import ClassPredictive, GaussianPredictive
from backthrough.natgrad.rotated import RotatedNormal
from backthrough.natgrad.taps import Seen, find_blocks, pull_back
from backthrough.natgrad.transformation import Curvature

__all__ = [
    "MAP",
    "NUTS",
    "Agreement",
    "BayesByBackprop",
    "Bernoulli",
    "Blocks",
    "Categorical",
    "ClassPredictive",
    "Curvature",
    "DeepEnsemble",
    "Draws",
    "ExpectedGradient",
    "Fitted",
    "FixedNoise",
    "GammaNoise",
    "GammaPosterior",
    "Gaussian",
    "GaussianPredictive",
    "Likelihood",
    "MCDropout",
    "MinibatchMethod",
    "NaturalPosterior",
    "NoisyAdam",
    "NoisyEKFAC",
    "NoisyFull",
    "NoisyKFAC",
    "Problem",
    "RotatedNormal",
    "Seen",
    "Training",
    "WeightPosterior",
    "WholeDataMethod",
    "expected_gradient",
    "find_blocks",
    "fit_weights",
    "load_posterior",
    "noisy_adam",
    "noisy_ekfac",
    "noisy_full",
    "noisy_kfac",
    "posterior",
    "pull_back",
    "r_hat",
    "variance_correlation",
]
