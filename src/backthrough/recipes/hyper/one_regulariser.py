"""The paper's problem of one regulariser: few pictures, a Gaussian likelihood, a norm as penalty."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from matplotlib.axes import Axes

from backthrough.core import PRNGKey, Scalar
from backthrough.hyper import HyperSpace, Problem, Real, TuneResult
from backthrough.hyper.plain import train_plain
from backthrough.recipes.hyper.ridge import Ridge, Split, digits, mnist

STD = 0.1  # of the Gaussian likelihood


def nll(split: Split, w: Float[Array, "feature class"]) -> Scalar:
    """Mean negative log-likelihood of the labels, in nats."""
    return split.loss(w) / (2 * STD**2) + jnp.log(STD) + 0.5 * jnp.log(2 * jnp.pi)


def train_loss(split: Split, w: Float[Array, "feature class"], hyper: Any) -> Scalar:
    """The likelihood and lambda times the NORM of all weights: that is what the published code has."""
    return nll(split, w) + hyper["penalty"] * jnp.sqrt(jnp.sum(jnp.square(w)) + 1e-12)


def load(data: str, n_train: int, n_valid: int) -> Ridge:
    """The pictures."""
    return digits(n_train) if data == "digits" else mnist(n_train, name=data, n_valid=n_valid)


def space(start: float) -> HyperSpace:
    """log lambda between -6 and 5, from a start."""
    return HyperSpace(
        penalty=Real(float(np.exp(-6)), float(np.exp(5)), log=True, initial=float(np.exp(start)))
    )


@dataclass(frozen=True, eq=False)
class Curves:
    """Losses for many log lambda: of refits, and of a learned response.

    Attributes:
        logs: log lambda.
        refit_train: L_T of refits.
        refit_valid: L_V of refits.
        train: L_T of the learned response.
        valid: L_V of the learned response.
    """

    logs: Float[np.ndarray, " setting"]
    refit_train: Float[np.ndarray, " setting"]
    refit_valid: Float[np.ndarray, " setting"]
    train: Float[np.ndarray, " setting"]
    valid: Float[np.ndarray, " setting"]

    @property
    def best_refit(self) -> float:
        """log lambda at the smallest L_V of a refit."""
        return float(self.logs[np.argmin(self.refit_valid)])

    @property
    def best(self) -> float:
        """log lambda at the smallest L_V of the learned response."""
        return float(self.logs[np.argmin(self.valid)])

    def plot(self, axes: Axes, found: TuneResult) -> None:
        """Both losses of both, and where the run has ended, as in the paper's figures 2 and 4."""
        axes.plot(self.logs, self.train, color="C0", label="training, hypernetwork")
        axes.plot(self.logs, self.refit_train, "x", color="C0", label="training, refits")
        axes.plot(self.logs, self.valid, color="C1", label="validation, hypernetwork")
        axes.plot(self.logs, self.refit_valid, "x", color="C1", label="validation, refits")
        axes.axvline(float(found.u[0]), color="0.4", linestyle="--", label="found")
        low, high = self.refit_valid.min(), np.quantile(self.refit_train, 0.8)
        axes.set_ylim(min(self.refit_train.min(), low) - 0.3, max(high, low + 2))
        axes.set_xlabel("log lambda")
        axes.set_ylabel("loss (nats)")
        axes.legend(frameon=False, fontsize="small")


def curves(found: TuneResult, logs: Float[np.ndarray, " setting"], *, n_steps: int, key: PRNGKey) -> Curves:
    """Refits at each log lambda from the initial weights, and the learned response there."""
    problem, engine, state = found.tuner.problem, found.tuner.engine, found.state
    us = jnp.asarray(logs, jnp.float32)[:, None]
    starts = jnp.tile(problem.initial_weights, (len(us), 1))
    plain = train_plain(
        problem,
        starts,
        lambda progress: us,
        n_steps=n_steps,
        key=key,
        learning_rate=3e-3,
        label="refitting",
    )
    learned = jax.jit(jax.vmap(lambda u: engine.weights(problem, state.engine, u, state.u)))(us)
    return Curves(
        np.asarray(logs),
        *_losses(problem, plain.weights, us, key),
        *_losses(problem, learned, us, key),
    )


def _losses(problem: Problem, ws: Array, us: Array, key: PRNGKey) -> tuple[np.ndarray, np.ndarray]:
    train = jax.jit(jax.vmap(lambda w, u: problem.train_loss(w, u, None, key=key)))(ws, us)
    return np.asarray(train), np.asarray([problem.valid_loss(w, None, key=key) for w in ws])
