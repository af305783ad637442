"""What noisy natural gradient is compared with, through the same door."""

from backthrough.natgrad.compared.bayes_by_backprop import BayesByBackprop, FactorisedGaussian
from backthrough.natgrad.compared.dropout import DroppedWeights, MCDropout
from backthrough.natgrad.compared.ensemble import DeepEnsemble
from backthrough.natgrad.compared.map import MAP, PointWeights
from backthrough.natgrad.compared.nuts import NUTS, r_hat

__all__ = [
    "MAP",
    "NUTS",
    "BayesByBackprop",
    "DeepEnsemble",
    "DroppedWeights",
    "FactorisedGaussian",
    "MCDropout",
    "PointWeights",
    "r_hat",
]
