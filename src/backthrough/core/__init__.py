"""Types, numerics, argument checks and error classes; knows no method."""

from backthrough.core.checks import (
    check_choice,
    check_integer,
    check_key,
    check_positive,
    check_unit_interval,
)
from backthrough.core.errors import (
    ArgumentError,
    BackthroughError,
    CheckpointError,
    DamagedCheckpointError,
    DataError,
    DivergenceError,
    Interrupted,
    RunError,
)
from backthrough.core.files import write_atomically
from backthrough.core.numerics import log1mexp, log_mean_exp, log_odds, safe_norm
from backthrough.core.seeds import seed_of
from backthrough.core.types import PRNGKey, PyTree, Scalar

__all__ = [
    "ArgumentError",
    "BackthroughError",
    "CheckpointError",
    "DamagedCheckpointError",
    "DataError",
    "DivergenceError",
    "Interrupted",
    "PRNGKey",
    "PyTree",
    "RunError",
    "Scalar",
    "check_choice",
    "check_integer",
    "check_key",
    "check_positive",
    "check_unit_interval",
    "log1mexp",
    "log_mean_exp",
    "log_odds",
    "safe_norm",
    "seed_of",
    "write_atomically",
]
