from .checks import (
    check_binary,
    check_choice,
    check_finite,
    check_integer,
    check_key,
    check_positive,
    check_unit_interval,
)
from .errors import (
    ArgumentError,
    BackthroughError,
    CheckpointError,
    DamagedCheckpointError,
    DataError,
    DivergenceError,
    Interrupted,
    RunError,
)
from .files import write_atomically
from .numerics import log1mexp, log_mean_exp, log_odds, safe_norm
from .seeds import seed_of
from .types import PRNGKey, PyTree, Scalar

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
    "check_binary",
    "check_choice",
    "check_finite",
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
