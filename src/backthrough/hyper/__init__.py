"""Hyperparameters, thousands of them, tuned inside one training run (Lorraine and Duvenaud 2018)."""

from backthrough.hyper.blackbox import OptunaSearch, Proposals, RandomSearch, Search, SearchResult, search
from backthrough.hyper.comparison import Comparison, compare
from backthrough.hyper.engines import (
    CG,
    Direct,
    Engine,
    GlobalHypernet,
    Implicit,
    LocalHypernet,
    Neumann,
    SimplifiedHypernet,
    Unroll,
)
from backthrough.hyper.gap import BestResponseGap, best_response_gap
from backthrough.hyper.hypergradient import Hypergradient, hypergradient
from backthrough.hyper.penalty import weighted_l2
from backthrough.hyper.problem import Problem
from backthrough.hyper.real import Real
from backthrough.hyper.responses import MLP, CentredLinear, Elementwise, Factorised, Linear, Response
from backthrough.hyper.result import TuneResult
from backthrough.hyper.schedule import Schedule, replay
from backthrough.hyper.space import BoundSpace, HyperSpace
from backthrough.hyper.tuner import Tuner, TuneState
from backthrough.hyper.tuning import tune

__all__ = [
    "CG",
    "MLP",
    "BestResponseGap",
    "BoundSpace",
    "CentredLinear",
    "Comparison",
    "Direct",
    "Elementwise",
    "Engine",
    "Factorised",
    "GlobalHypernet",
    "HyperSpace",
    "Hypergradient",
    "Implicit",
    "Linear",
    "LocalHypernet",
    "Neumann",
    "OptunaSearch",
    "Problem",
    "Proposals",
    "RandomSearch",
    "Real",
    "Response",
    "Schedule",
    "Search",
    "SearchResult",
    "SimplifiedHypernet",
    "TuneResult",
    "TuneState",
    "Tuner",
    "Unroll",
    "best_response_gap",
    "compare",
    "hypergradient",
    "replay",
    "search",
    "tune",
    "weighted_l2",
]
