"""Latent-variable models, posteriors and bounds on log p(x)."""

from backthrough.latent.bernoulli import BernoulliModel
from backthrough.latent.bounds import ELBO, IWAE, bound, elbo, iwae, log_weight
from backthrough.latent.evaluation import evaluate_bound
from backthrough.latent.gaussian import FactorisedGaussian, FullGaussian, FullGaussianEncoder, GaussianEncoder
from backthrough.latent.implicit import ImplicitPosterior, TwoSided
from backthrough.latent.latent_ode import LatentODE
from backthrough.latent.observations import Observations, pad_series
from backthrough.latent.protocols import Encoder, LatentModel, Posterior
from backthrough.latent.recurrent import RecurrentEncoder
from backthrough.latent.vae import bernoulli_vae

__all__ = [
    "ELBO",
    "IWAE",
    "BernoulliModel",
    "Encoder",
    "FactorisedGaussian",
    "FullGaussian",
    "FullGaussianEncoder",
    "GaussianEncoder",
    "ImplicitPosterior",
    "LatentModel",
    "LatentODE",
    "Observations",
    "Posterior",
    "RecurrentEncoder",
    "TwoSided",
    "bernoulli_vae",
    "bound",
    "elbo",
    "evaluate_bound",
    "iwae",
    "log_weight",
    "pad_series",
]
