"""Black-box strategies: train once for each setting of the hyperparameters, and choose the next."""

from backthrough.hyper.search.optuna_search import OptunaSearch
from backthrough.hyper.search.random_search import RandomSearch
from backthrough.hyper.search.result import SearchResult
from backthrough.hyper.search.searching import run_search, search
from backthrough.hyper.search.strategy import Proposals, Search

__all__ = ["OptunaSearch", "Proposals", "RandomSearch", "Search", "SearchResult", "run_search", "search"]
