"""Optuna's samplers (Akiba et al. 2019); Optuna itself is optional."""

# pyright: reportMissingImports=false

import contextlib
import importlib
import importlib.util
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from backthrough.core import ArgumentError, PRNGKey, check_choice
from backthrough.hyper.blackbox.strategy import check_settings
from backthrough.hyper.engines.descent import RateOfHyper
from backthrough.hyper.space import BoundSpace

Sampler = Literal["tpe", "gp", "cmaes"]
SEPARABLE = 100  # hyperparameters from which CMA-ES adapts variances alone: the whole matrix takes too long
NEEDS = {"tpe": ("optuna",), "gp": ("optuna", "torch", "scipy"), "cmaes": ("optuna", "cmaes")}


@dataclass(frozen=True)
class OptunaSearch:
    """Trains with the hyperparameters that a sampler of Optuna suggests.

    Needs the extra `search`; `gp` needs torch beside it. Optuna sees the coordinates u between their bounds
    (see `Real`), and prints nothing.

    Args:
        sampler: `tpe`, tree-structured Parzen estimators; `gp`, a Gaussian process, the best of them for few
            hyperparameters and slow from about a hundred; `cmaes`, an evolution strategy, from 100
            hyperparameters on its separable form. With thousands a suggestion takes seconds, of `cmaes` half
            a minute.
        trial_steps: Steps of each training.
        learning_rate: Of the weights: an Optax optimiser, the rate of an Adam that falls along half a cosine,
            or a function of the named values that returns an Optax optimiser.

    Raises:
        ArgumentError: for a setting out of range, or if what the sampler needs is not installed.
    """

    sampler: Sampler = "tpe"
    trial_steps: int = 1000
    learning_rate: RateOfHyper = 1e-2

    def __post_init__(self) -> None:
        check_choice("sampler", self.sampler, get_args(Sampler))
        check_settings(self.trial_steps, self.learning_rate)
        missing = [name for name in NEEDS[self.sampler] if importlib.util.find_spec(name) is None]
        if missing:
            extras = "search,torch" if self.sampler == "gp" else "search"
            raise ArgumentError(
                f"OptunaSearch({self.sampler!r}) needs {' and '.join(NEEDS[self.sampler])}; "
                f"{' and '.join(missing)} cannot be found: pip install 'backthrough[{extras}]'"
            )

    def start(self, space: BoundSpace, *, key: PRNGKey) -> "OptunaProposals":
        """A study in memory, its seed drawn by the key."""
        seed = int(jax.random.randint(key, (), 0, 2**31 - 1))
        return OptunaProposals(space, self.sampler, seed)


class OptunaProposals:
    """The suggestions of a study.

    Attributes:
        study: Optuna's, with all trials.
    """

    def __init__(self, space: BoundSpace, sampler: Sampler, seed: int):
        for name in NEEDS[sampler]:
            importlib.import_module(name)  # now, not in the first suggestion
        import optuna

        samplers = {"tpe": "TPESampler", "gp": "GPSampler", "cmaes": "CmaEsSampler"}
        options = {"use_separable_cma": True} if sampler == "cmaes" and space.size >= SEPARABLE else {}
        self._space, self._trial = space, None
        low, high = space.box
        self._distributions = {
            name: optuna.distributions.FloatDistribution(float(least), float(most))
            for name, least, most in zip(space.labels(), low, high, strict=True)
        }
        with silent():
            made = getattr(optuna.samplers, samplers[sampler])(seed=seed, **options)
            self.study: Any = optuna.create_study(sampler=made)

    def ask(self) -> Float[np.ndarray, " hyper"]:
        """The next suggestion."""
        with silent():
            self._trial = self.study.ask(self._distributions)
        params = self._trial.params  # made anew at each access
        u = [params[name] for name in self._distributions]
        return np.asarray(self._space.clip(jnp.asarray(u, self._space.box[0].dtype)))

    def tell(self, valid_loss: float) -> None:
        """Tells the study."""
        with silent():
            self.study.tell(self._trial, valid_loss)


@contextlib.contextmanager
def silent() -> Iterator[None]:
    """Neither Optuna's log nor its warnings, and the caller's settings back afterwards."""
    import optuna

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        optuna.logging.set_verbosity(before)
