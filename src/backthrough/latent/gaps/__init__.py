"""How good inference is: log p(x) by several ways, the best posteriors, and the gaps between."""

from backthrough.latent.gaps.annealing import Annealing
from backthrough.latent.gaps.bdmc import Sandwich, Simulated, bdmc, simulate
from backthrough.latent.gaps.inference_gaps import inference_gaps
from backthrough.latent.gaps.likelihood import LogLikelihood, annealed_log_p, importance_log_p
from backthrough.latent.gaps.optimise import Optimisation, Optimised, optimise_posteriors
from backthrough.latent.gaps.report import GapReport

__all__ = [
    "Annealing",
    "GapReport",
    "LogLikelihood",
    "Optimisation",
    "Optimised",
    "Sandwich",
    "Simulated",
    "annealed_log_p",
    "bdmc",
    "importance_log_p",
    "inference_gaps",
    "optimise_posteriors",
    "simulate",
]
