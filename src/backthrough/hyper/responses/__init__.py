"""Responses: how weights are computed from hyperparameters, w_phi(u)."""

from backthrough.hyper.responses.elementwise import Elementwise
from backthrough.hyper.responses.linear import CentredLinear, Factorised, Linear
from backthrough.hyper.responses.mlp import MLP
from backthrough.hyper.responses.response import Response, ResponseFunction

__all__ = ["MLP", "CentredLinear", "Elementwise", "Factorised", "Linear", "Response", "ResponseFunction"]
