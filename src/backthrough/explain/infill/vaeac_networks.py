"""The three networks of a variational autoencoder with arbitrary conditioning, for rows."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpyro.distributions as dist
from jaxtyping import Array, Float

from backthrough.core import PRNGKey, Scalar

MEAN_REACH, SPREAD_PULL = 1e4, 1e-4  # of the prior's regularisation, as in the paper
LEAST_STD = 1e-3
Vector = Float[Array, "_"]


class Latent(NamedTuple):
    """A Gaussian with independent entries.

    Attributes:
        mean: Of each entry.
        std: Of each entry.
    """

    mean: Float[Array, "*latent"]
    std: Float[Array, "*latent"]

    @classmethod
    def of(cls, outputs: Float[Array, "..."]) -> "Latent":
        """By a network's outputs, whose last axis holds first means and then spreads."""
        mean, spread = jnp.split(outputs, 2, axis=-1)
        return cls(mean, LEAST_STD + jax.nn.softplus(spread))

    def draw(self, key: PRNGKey) -> Float[Array, "*latent"]:
        """One draw, differentiable."""
        return self.mean + self.std * jax.random.normal(key, self.mean.shape)

    def divergence(self, prior: "Latent") -> Scalar:
        """KL(self || prior) in nats."""
        own, other = (dist.Normal(latent.mean, latent.std) for latent in (self, prior))
        return dist.kl_divergence(own, other).sum()

    def pull(self) -> Scalar:
        """The regularisation of a prior, which keeps it from growing without end (Ivanov et al. 2019)."""
        spread = SPREAD_PULL * jnp.sum(jnp.log(self.std) - self.std)
        return spread - jnp.sum(jnp.square(self.mean)) / (2 * MEAN_REACH**2)


class Residual(eqx.Module):
    """x + two layers of x."""

    first: eqx.nn.Linear
    second: eqx.nn.Linear

    def __init__(self, width: int, *, key: PRNGKey):
        first, second = jax.random.split(key)
        self.first, self.second = (eqx.nn.Linear(width, width, key=own) for own in (first, second))

    def __call__(self, x: Vector) -> Vector:
        """The block's output."""
        return x + self.second(jax.nn.relu(self.first(jax.nn.relu(x))))


class Encoder(eqx.Module):
    """From a row with holes to a Gaussian over the latent, and what its layers saw on the way."""

    entry: eqx.nn.Linear
    blocks: tuple[Residual, ...]
    exit: eqx.nn.Linear

    def __init__(self, n_in: int, width: int, depth: int, n_latent: int, *, key: PRNGKey):
        entry, exit, *keys = jax.random.split(key, depth + 2)
        self.entry = eqx.nn.Linear(n_in, width, key=entry)
        self.blocks = tuple(Residual(width, key=own) for own in keys)
        self.exit = eqx.nn.Linear(width, 2 * n_latent, key=exit)

    def __call__(self, x: Vector) -> tuple[Latent, list[Vector]]:
        """The latent, and the output of every block."""
        seen = [self.entry(x)]
        for block in self.blocks:
            seen.append(block(seen[-1]))
        return Latent.of(self.exit(jax.nn.relu(seen[-1]))), seen


class Decoder(eqx.Module):
    """From the latent to what is hidden; each block sees one of the prior network too, the last one first."""

    entry: eqx.nn.Linear
    joins: tuple[eqx.nn.Linear, ...]
    blocks: tuple[Residual, ...]
    exit: eqx.nn.Linear

    def __init__(self, n_latent: int, width: int, depth: int, n_out: int, *, key: PRNGKey):
        entry, exit, join, block = jax.random.split(key, 4)
        self.entry = eqx.nn.Linear(n_latent, width, key=entry)
        self.joins = tuple(
            eqx.nn.Linear(2 * width, width, key=own) for own in jax.random.split(join, depth + 1)
        )
        self.blocks = tuple(Residual(width, key=own) for own in jax.random.split(block, depth + 1))
        self.exit = eqx.nn.Linear(width, n_out, key=exit)

    def __call__(self, z: Vector, seen: list[Vector]) -> Vector:
        """Parameters of the distributions of all features."""
        x = self.entry(z)
        for own, join, block in zip(reversed(seen), self.joins, self.blocks, strict=True):
            x = block(join(jnp.concatenate([x, own])))
        return self.exit(jax.nn.relu(x))


class Networks(eqx.Module):
    """All three.

    Attributes:
        prior: p(z | what is kept).
        proposal: q(z | everything).
        decoder: p(what is hidden | z, what is kept).
    """

    prior: Encoder
    proposal: Encoder
    decoder: Decoder

    def __init__(self, n_in: int, n_out: int, width: int, depth: int, n_latent: int, *, key: PRNGKey):
        prior, proposal, decoder = jax.random.split(key, 3)
        self.prior = Encoder(2 * n_in, width, depth, n_latent, key=prior)
        self.proposal = Encoder(2 * n_in, width, depth, n_latent, key=proposal)
        self.decoder = Decoder(n_latent, width, depth, n_out, key=decoder)
