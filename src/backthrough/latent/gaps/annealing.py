"""Annealed importance sampling (Neal 2001), started at q or at the prior."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from backthrough.core import (
    ArgumentError,
    PRNGKey,
    Scalar,
    check_choice,
    check_integer,
)
from backthrough.latent.gaps.hmc import Bridge, Point, hmc_step
from backthrough.latent.protocols import Data, Latent, LatentModel, Posterior

WHITENING_DRAWS = 100
TARGET_ACCEPTANCE = 0.8
FIRST_STEP, STEP_LIMITS = 0.2, (1e-4, 2.0)


@dataclass(frozen=True)
class Annealing:
    """How chains go from a base distribution to the posterior.

    Attributes:
        temperatures: How many there are after 0, the last one being 1; or the temperatures themselves, which
            increase from 0 to 1.
        n_chains: Chains an example, each of which gives one weight.
        n_leapfrog: Leapfrog steps of each Hamiltonian transition; there is one at each temperature.
        schedule: "linear", or "sigmoid", which goes slowly at both ends (Wu et al. 2017, with delta = 4).
        start: "posterior": the chains start from q, and the densities between are q^(1-t) p(x, z)^t; few
            temperatures suffice where q is near. "prior": from p(z), as most papers do.
        n_pilot: Chains that find the step sizes, one for each temperature, and are thrown away.
    """

    temperatures: int | Sequence[float] = 60
    n_chains: int = 8
    n_leapfrog: int = 10
    schedule: Literal["linear", "sigmoid"] = "linear"
    start: Literal["posterior", "prior"] = "posterior"
    n_pilot: int = 4

    def __post_init__(self) -> None:
        for name in ("n_chains", "n_leapfrog", "n_pilot"):
            check_integer(f"{name} of Annealing", getattr(self, name), minimum=1)
        check_choice("schedule of Annealing", self.schedule, ("linear", "sigmoid"))
        check_choice("start of Annealing", self.start, ("posterior", "prior"))
        if np.ndim(self.temperatures):
            values = tuple(np.asarray(self.temperatures, float).tolist())
            if len(values) < 2 or values[0] != 0 or values[-1] != 1 or not (np.diff(values) > 0).all():
                raise ArgumentError(
                    f"temperatures of Annealing must increase from 0 to 1, both included, got {values}"
                )
            object.__setattr__(self, "temperatures", values)
        else:
            check_integer("temperatures of Annealing", self.temperatures, minimum=1)

    def __str__(self) -> str:
        """In the words of a table."""
        n = len(self.ladder()) - 1
        start = {"posterior": "q", "prior": "the prior"}[self.start]
        return f"{n} temperatures, {self.n_chains} chains, {self.n_leapfrog} leapfrog steps, from {start}"

    def ladder(self) -> Float[np.ndarray, "temperature"]:
        """All temperatures, from 0 to 1."""
        if isinstance(self.temperatures, tuple):
            return np.array(self.temperatures)
        steps = np.linspace(0.0, 1.0, int(self.temperatures) + 1)  # pyright: ignore[reportArgumentType]
        if self.schedule == "linear":
            return steps
        curve = np.tanh(4.0 * (2 * steps - 1) / 2)
        ladder = (curve - curve[0]) / (curve[-1] - curve[0])
        ladder[0], ladder[-1] = 0.0, 1.0
        return ladder


class Prior(NamedTuple):
    """p(z) in the place of a posterior."""

    model: LatentModel

    def sample_and_log_prob(self, *, key: PRNGKey) -> tuple[Latent, Scalar]:
        """One draw and its log-density."""
        z = self.model.sample_prior(key=key)
        return z, self.model.log_prior(z)

    def log_prob(self, z: Latent) -> Scalar:
        """log p(z)."""
        return self.model.log_prior(z)


class Chains(NamedTuple):
    """What the chains of one example gave.

    Attributes:
        log_weights: Shape (chain,).
        acceptance: Mean over chains and temperatures.
        at_limit: Whether a step size came to its lower limit. At the upper one more is accepted than need be.
        is_nan: Whether log p(x, z) was NaN where a chain started.
    """

    log_weights: Float[Array, "chain"]
    acceptance: Scalar
    at_limit: Array
    is_nan: Array


def forward_chains(
    model: LatentModel, posterior: Posterior | None, x: Data, options: Annealing, *, key: PRNGKey
) -> Chains:
    """Weights whose mean is p(x): chains from the base to the posterior, for one example."""
    whiten_key, pilot_key, draw_key, chain_key = jax.random.split(key, 4)
    bridge = make_bridge(model, posterior, x, options, key=whiten_key)
    step_sizes = pilot(bridge, options, key=pilot_key)
    starts = draw(bridge, options.n_chains, key=draw_key)
    return run(bridge, starts, step_sizes, options, key=chain_key)


def backward_chains(
    model: LatentModel, posterior: Posterior | None, x: Data, z: Latent, options: Annealing, *, key: PRNGKey
) -> Chains:
    """Weights such that the mean of 1 / w is 1 / p(x): chains from an exact draw of p(z | x) to the base."""
    whiten_key, pilot_key, chain_key = jax.random.split(key, 3)
    bridge = make_bridge(model, posterior, x, options, key=whiten_key)
    step_sizes = pilot(bridge, options, key=pilot_key)
    start = bridge.at_z(z)
    starts = jax.tree_util.tree_map(lambda leaf: jnp.stack([leaf] * options.n_chains), start)
    return run(bridge, starts, step_sizes, options, key=chain_key, is_reversed=True)


def make_bridge(
    model: LatentModel, posterior: Posterior | None, x: Data, options: Annealing, *, key: PRNGKey
) -> Bridge:
    """Whitened by the moments of draws of their own, which leaves the chains' weights exact."""
    base: Any = Prior(model) if posterior is None or options.start == "prior" else posterior
    keys = jax.random.split(key, WHITENING_DRAWS)
    draws = jax.vmap(lambda key: base.sample_and_log_prob(key=key)[0])(keys)
    return Bridge(model, x, base, draws.mean(0), draws.std(0))


def draw(bridge: Bridge, n: int, *, key: PRNGKey) -> Point:
    """Points where `n` chains start, drawn from the base."""

    def one(key: PRNGKey) -> Point:
        z, _ = bridge.base.sample_and_log_prob(key=key)
        return bridge.at_z(z)

    return jax.vmap(one)(jax.random.split(key, n))


def pilot(bridge: Bridge, options: Annealing, *, key: PRNGKey) -> Float[Array, "inner"]:
    """A step size for each temperature between 0 and 1, at which about 8 in 10 proposals are accepted.

    Chains of their own find them: a step that depended on a chain's own past would bias its weight.
    """
    inner = jnp.asarray(options.ladder()[1:-1], jnp.result_type(float))
    draw_key, steps_key = jax.random.split(key)
    points = draw(bridge, options.n_pilot, key=draw_key)

    def go(carry: tuple[Point, Scalar], row: tuple[Scalar, PRNGKey]) -> tuple[tuple[Point, Scalar], Scalar]:
        points, log_step = carry
        temperature, key = row
        points, chances = _move(bridge, points, temperature, jnp.exp(log_step), options, key=key)
        bounds = [math.log(limit) for limit in STEP_LIMITS]
        moved = jnp.clip(log_step + 0.5 * (chances.mean() - TARGET_ACCEPTANCE), *bounds)
        return (points, moved), log_step

    rows = (inner, jax.random.split(steps_key, len(inner)))
    start = jnp.asarray(math.log(FIRST_STEP), inner.dtype)
    _, log_steps = jax.lax.scan(go, (points, start), rows)
    return jnp.exp(log_steps)


def run(
    bridge: Bridge,
    starts: Point,
    step_sizes: Float[Array, "inner"],
    options: Annealing,
    *,
    key: PRNGKey,
    is_reversed: bool = False,
) -> Chains:
    """Moves chains along the ladder; log w grows by (t' - t) log (p(x, z) / q(z)) before each move.

    There is no move at temperature 1 (nor 0, backwards): it would not change a weight.
    """
    ladder = jnp.asarray(options.ladder(), step_sizes.dtype)
    gains, inner = jnp.diff(ladder), ladder[1:-1]
    if is_reversed:
        gains, inner, step_sizes = gains[::-1], inner[::-1], step_sizes[::-1]

    def go(carry: tuple[Point, Array], row: tuple) -> tuple[tuple[Point, Array], Scalar]:
        points, log_weights = carry
        gain, temperature, step_size, key = row
        log_weights = log_weights + gain * points.log_weight
        points, chances = _move(bridge, points, temperature, step_size, options, key=key)
        return (points, log_weights), chances.mean()

    rows = (gains[:-1], inner, step_sizes, jax.random.split(key, len(inner)))
    (points, log_weights), chances = jax.lax.scan(go, (starts, jnp.zeros_like(starts.log_base)), rows)
    return Chains(
        log_weights + gains[-1] * points.log_weight,
        chances.mean() if len(inner) else jnp.ones(()),
        (step_sizes <= 1.001 * STEP_LIMITS[0]).any(),
        jnp.isnan(starts.log_weight).any(),
    )


def _move(
    bridge: Bridge, points: Point, temperature: Scalar, step_size: Scalar, options: Annealing, *, key: PRNGKey
) -> tuple[Point, Float[Array, "chain"]]:
    def one(point: Point, key: PRNGKey) -> tuple[Point, Scalar]:
        return hmc_step(bridge, point, temperature, step_size, options.n_leapfrog, key=key)

    return jax.vmap(one)(points, jax.random.split(key, points.log_base.size))
