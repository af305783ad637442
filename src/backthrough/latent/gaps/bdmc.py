"""Bidirectional Monte Carlo: log p(x) between two estimates, for data that the model has made itself.

Grosse, Ancha and Roy 2016; Wu, Burda, Salakhutdinov and Grosse 2017.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import equinox as eqx
import jax
import numpy as np
import pandas as pd
from jaxtyping import Array, Float

from backthrough.core import ArgumentError, PRNGKey, PyTree, check_integer, check_key, log_mean_exp
from backthrough.latent.gaps.annealing import Annealing, backward_chains, forward_chains
from backthrough.latent.gaps.examples import Example, Inference, check_not_nan, over_examples
from backthrough.latent.gaps.likelihood import flag, prepare_chains
from backthrough.latent.protocols import Data, Encoder, LatentModel
from backthrough.train import n_examples


class Simulated(NamedTuple):
    """Data and the latents they were drawn with, each along a leading axis.

    Attributes:
        x: From p(x | z).
        z: From p(z): with its x, an exact draw of p(z | x).
    """

    x: Data
    z: Float[Array, "example latent"]


@dataclass(frozen=True)
class Sandwich:
    """log p(x) of each example, from both sides.

    All chains of an upper estimate start at the one exact draw, so an example's own error is not known; that
    of means over examples is, by their spread.

    Attributes:
        lower: Its expectation is no larger than log p(x).
        upper: Its expectation is no smaller.
        acceptance: Of the Hamiltonian proposals, the mean of both directions.
        flags: What is wrong with an example's estimates; "" where nothing is.
        method: In words.
    """

    lower: Float[np.ndarray, "example"]
    upper: Float[np.ndarray, "example"]
    acceptance: Float[np.ndarray, "example"]
    flags: tuple[str, ...]
    method: str

    @property
    def width(self) -> Float[np.ndarray, "example"]:
        """What the method may be off by; single ones can be negative, by noise."""
        return self.upper - self.lower

    def table(self) -> pd.DataFrame:
        """One row an example."""
        columns = {
            "lower": self.lower,
            "upper": self.upper,
            "acceptance": self.acceptance,
        }
        rows = pd.DataFrame(columns, index=pd.RangeIndex(len(self.lower), name="example"))
        return rows.assign(flag=self.flags)

    def __str__(self) -> str:
        """Both means over examples, and the mean width with its standard error."""
        n = len(self.lower)
        error = f" ± {self.width.std(ddof=1) / np.sqrt(n):.3f}" if n > 1 else ""
        return (
            f"{self.lower.mean():.3f} <= log p(x) <= {self.upper.mean():.3f} nats, width "
            f"{self.width.mean():.3f}{error}, means of {n:,} simulated examples by {self.method}"
        )


def simulate(model: LatentModel, n_examples: int, *, key: PRNGKey) -> Simulated:
    """Examples that the model draws, with their latents.

    Raises:
        ArgumentError: if the model has no `sample_x(z, *, key)`, or `n_examples` is below 1.
    """
    n_examples = check_integer("n_examples", n_examples, minimum=1)
    check_key(key)
    sample_x: Any = getattr(model, "sample_x", None)
    if sample_x is None:
        raise ArgumentError(
            f"simulate needs sample_x(z, *, key) of the model, and {type(model).__name__} has none"
        )

    def one(key: PRNGKey) -> Simulated:
        z_key, x_key = jax.random.split(key)
        z = model.sample_prior(key=z_key)
        return Simulated(sample_x(z, key=x_key), z)

    return eqx.filter_jit(jax.vmap(one))(jax.random.split(key, n_examples))


def bdmc(
    model: LatentModel,
    simulated: Simulated | Data,
    q: Encoder | PyTree | None = None,
    *,
    key: PRNGKey,
    annealing: Annealing | None = None,
    at_once: int = 100,
    keep: Path | str | None = None,
) -> Sandwich:
    """log p(x) from both sides: by chains to the posterior, and by chains back from an exact draw of it.

    How close they are says what the same annealing is worth on other data that are like these.

    Args:
        model: p(x, z) for one example, differentiable in z.
        simulated: What `simulate` returns. Other data have no exact draw of p(z | x), and no upper estimate.
        q: As for `annealed_log_p`; None with `Annealing(start="prior")`.
        key: Typed key; the result does not depend on `at_once`.
        annealing: `Annealing()` by default.
        at_once: Examples at once; memory grows with it, times chains.
        keep: A folder for finished chunks, from which a stopped call goes on.

    Raises:
        ArgumentError: for data without their latents, a wrong argument, a network in training mode, or a q
            without an exact `log_prob`.
        DataError: if a weight is NaN.
    """
    if not isinstance(simulated, Simulated):
        raise ArgumentError(
            "bdmc needs an exact draw of p(z | x) for each example, which only data that the model has drawn "
            f"have: pass simulate(model, n, key=key), not {type(simulated).__name__}"
        )
    annealing = Annealing() if annealing is None else annealing
    inference, examples = prepare_chains(model, q, simulated.x, key, annealing)
    if n_examples("z", simulated.z) != len(examples.key):
        raise ArgumentError(f"simulated has {len(examples.key)} examples and {len(simulated.z)} latents")
    examples = examples._replace(z=np.asarray(simulated.z))
    options = {"label": "bidirectional annealing", "at_once": at_once, "keep": keep}
    found = over_examples(_both_ways, model, inference, annealing, examples, **options)
    check_not_nan(found["is_nan"])
    return Sandwich(
        found["lower"],
        found["upper"],
        found["acceptance"],
        flag("step size at its lower limit", found["at_limit"]),
        f"bidirectional Monte Carlo ({annealing})",
    )


def _both_ways(
    model: LatentModel, inference: Inference, annealing: Annealing, example: Example
) -> dict[str, Array]:
    posterior = inference.posterior(example)
    keys = jax.random.split(example.key)
    there = forward_chains(model, posterior, example.x, annealing, key=keys[0])
    back = backward_chains(model, posterior, example.x, example.z, annealing, key=keys[1])
    return {
        "lower": log_mean_exp(there.log_weights),
        "upper": -log_mean_exp(-back.log_weights),
        "acceptance": 0.5 * (there.acceptance + back.acceptance),
        "at_limit": there.at_limit | back.at_limit,
        "is_nan": there.is_nan | back.is_nan,
    }
