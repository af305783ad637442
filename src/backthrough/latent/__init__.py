"""Latent-variable models, posteriors and bounds on log p(x)."""

from backthrough.latent.bernoulli import BernoulliModel
from backthrough.latent.bounds import elbo, iwae, log_weight
from backthrough.latent.evaluation import evaluate_bound
from backthrough.latent.gaussian import FactorisedGaussian, GaussianEncoder
from backthrough.latent.protocols import Encoder, LatentModel, Posterior
from backthrough.latent.vae import bernoulli_vae

__all__ = [
    "BernoulliModel",
    "Encoder",
    "FactorisedGaussian",
    "GaussianEncoder",
    "LatentModel",
    "Posterior",
    "bernoulli_vae",
    "elbo",
    "evaluate_bound",
    "iwae",
    "log_weight",
]
