"""Black-box strategies: train once for each setting of the hyperparameters, and choose the next."""

from backthrough.hyper.blackbox.optuna_search import OptunaSearch
from backthrough.hyper.blackbox.random_search import RandomSearch
from backthrough.hyper.blackbox.result import SearchResult
from backthrough.hyper.blackbox.searching import run_search, search
from backthrough.hyper.blackbox.strategy import Proposals, Search

__all__ = ["OptunaSearch", "Proposals", "RandomSearch", "Search", "SearchResult", "run_search", "search"]
