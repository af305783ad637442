"""Latent-variable models, posteriors and bounds on log p(x)."""

from backthrough.latent.bernoulli import BernoulliModel
from backthrough.latent.bounds import ELBO, IWAE, bound, elbo, iwae, log_weight
from backthrough.latent.evaluation import evaluate_bound
from backthrough.latent.flow_posteriors import AuxiliaryFlow, AuxiliaryFlowEncoder, FlowEncoder
from backthrough.latent.gaps import (
    Annealing,
    GapReport,
    LogLikelihood,
    Optimisation,
    Optimised,
    Sandwich,
    Simulated,
    annealed_log_p,
    bdmc,
    importance_log_p,
    inference_gaps,
    optimise_posteriors,
    simulate,
)
from backthrough.latent.gaussian import FactorisedGaussian, FullGaussian, FullGaussianEncoder, GaussianEncoder
from backthrough.latent.implicit import ImplicitPosterior, TwoSided
from backthrough.latent.latent_ode import LatentODE
from backthrough.latent.local import local_bound, local_posteriors
from backthrough.latent.observations import Observations, pad_series
from backthrough.latent.protocols import Encoder, LatentModel, Posterior
from backthrough.latent.recurrent import RecurrentEncoder
from backthrough.latent.vae import bernoulli_vae

__all__ = [
    "ELBO",
    "IWAE",
    "Annealing",
    "AuxiliaryFlow",
    "AuxiliaryFlowEncoder",
    "BernoulliModel",
    "Encoder",
    "FactorisedGaussian",
    "FlowEncoder",
    "FullGaussian",
    "FullGaussianEncoder",
    "GapReport",
    "GaussianEncoder",
    "ImplicitPosterior",
    "LatentModel",
    "LatentODE",
    "LogLikelihood",
    "Observations",
    "Optimisation",
    "Optimised",
    "Posterior",
    "RecurrentEncoder",
    "Sandwich",
    "Simulated",
    "TwoSided",
    "annealed_log_p",
    "bdmc",
    "bernoulli_vae",
    "bound",
    "elbo",
    "evaluate_bound",
    "importance_log_p",
    "inference_gaps",
    "iwae",
    "local_bound",
    "local_posteriors",
    "log_weight",
    "optimise_posteriors",
    "pad_series",
    "simulate",
]
