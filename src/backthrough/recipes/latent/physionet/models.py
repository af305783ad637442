"""The models of the PhysioNet recipe: readers that classify, and latent models that also reconstruct."""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Bool, Float

from backthrough.core import PRNGKey, Scalar
from backthrough.latent import LatentODE, Observations, RecurrentEncoder
from backthrough.ode import Unrolled


class Case(NamedTuple):
    """One stay, or a batch: what is read, what is to be reconstructed, and how it ended."""

    seen: Observations
    target: Observations
    died: Bool[Array | np.ndarray, "*batch"]


class Field(eqx.Module):
    """dh/dt, the same at all times."""

    network: eqx.nn.MLP

    def __init__(self, size: int, width: int, *, key: PRNGKey):
        self.network = eqx.nn.MLP(size, size, width, 2, jnp.tanh, key=key)

    def __call__(self, t: Scalar, state: Float[Array, "state"], args: None) -> Float[Array, "state"]:
        """dh/dt."""
        return self.network(state)


def turned(x: Observations) -> Observations:
    """The series with its time turned round: 1 becomes 0. An encoder that reads backwards then reads on."""
    return Observations(1.0 - x.times[::-1], x.values[::-1], x.mask[::-1])


class Reader(eqx.Module):
    """A recurrent network over the whole stay, and the log-odds of death from its last state."""

    encoder: RecurrentEncoder
    head: eqx.nn.MLP

    def logit(self, seen: Observations) -> Scalar:
        """Log-odds of death."""
        return self.head(self.encoder.summary(turned(seen)))

    def loss(self, case: Case, *, key: PRNGKey) -> Scalar:
        """Cross-entropy of the label; no class is weighted, so the log-odds are those of the data."""
        return cross_entropy(self.logit(case.seen), case.died)


class Reconstructor(eqx.Module):
    """An encoder, a latent model of the series, and (for classification) log-odds of death from z0.

    Attributes:
        encoder: q(z0 | what is seen).
        model: p(z0) and p(target | z0).
        head: From z0 to the log-odds, or None.
        label_weight: Of the cross-entropy beside the ELBO of one observed value; 100 in the authors' code.
    """

    encoder: RecurrentEncoder
    model: Any  # a LatentModel with means(z, times)
    head: eqx.nn.MLP | None
    label_weight: float = eqx.field(static=True)

    def logit(self, seen: Observations) -> Scalar:
        """Log-odds of death at the mean of q."""
        assert self.head is not None
        return self.head(self.encoder(seen).mean)

    def loss(self, case: Case, *, key: PRNGKey) -> Scalar:
        """Minus the ELBO an observed value (one draw), and the weighted cross-entropy of the label."""
        z, log_q = self.encoder(case.seen).sample_and_log_prob(key=key)
        bound = self.model.log_prior(z) + self.model.log_likelihood(case.target, z) - log_q
        loss = -bound / jnp.maximum(jnp.sum(jnp.asarray(case.target.mask)), 1)
        if self.head is not None:
            loss += self.label_weight * cross_entropy(self.head(z), case.died)
        return loss

    def means(self, case: Case) -> Float[Array, "time channel"]:
        """The reconstruction at the target's times, from the mean of q."""
        return self.model.means(self.encoder(case.seen).mean, case.target.times)


class RecurrentDecoder(eqx.Module):
    """p(x | z0) by a GRU that starts at z0 and is told only how time goes on: the RNN-VAE's.

    Attributes:
        start: From z0 to the first state.
        cell: The update; it sees the time and the time since the one before.
        decoder: From the state to the mean of each channel.
        log_scale: Log standard deviations of the channels.
    """

    start: eqx.nn.Linear
    cell: eqx.nn.GRUCell
    decoder: eqx.nn.MLP
    log_scale: Float[Array, "channel"]

    def log_prior(self, z: Float[Array, "latent"]) -> Scalar:
        """log N(z0; 0, I)."""
        return jax.scipy.stats.norm.logpdf(z).sum()

    def log_likelihood(self, x: Observations, z: Float[Array, "latent"]) -> Scalar:
        """log p(x | z0) of what was observed."""
        means, mask = self.means(z, x.times), jnp.asarray(x.mask)
        values = jnp.where(mask, x.values, means)
        each = jax.scipy.stats.norm.logpdf(values, means, jnp.exp(self.log_scale))
        return jnp.sum(jnp.where(mask, each, 0.0))

    def means(
        self, z: Float[Array, "latent"], times: Float[Array | np.ndarray, "time"]
    ) -> Float[Array, "time channel"]:
        """The mean of every channel at increasing times from 0 on."""
        times = jnp.asarray(times)

        def step(state: Array, row: Array) -> tuple[Array, Array]:
            state = self.cell(row, state)
            return state, state

        rows = jnp.stack([times, jnp.diff(times, prepend=0.0)], axis=1)
        states = jax.lax.scan(step, jnp.tanh(self.start(z)), rows)[1]
        return jax.vmap(self.decoder)(states)


def cross_entropy(
    logit: Float[Array, "*stay"], label: Bool[Array | np.ndarray, "*stay"]
) -> Float[Array, "*stay"]:
    """Minus the log-probability of a label whose log-odds are `logit`."""
    return optax.losses.sigmoid_binary_cross_entropy(logit, jnp.asarray(label, logit.dtype))


class Sizes(NamedTuple):
    """What the networks are built from.

    Attributes:
        spread: Standard deviation of each channel, from which the scales of the likelihood start.
        solver: Fixed steps from one time to the next, of the recurrent state and of z.
    """

    n_channels: int
    latent: int
    hidden: int
    width: int
    spread: Float[np.ndarray, "channel"]
    solver: Any
    label_weight: float


def build(name: str, sizes: Sizes, *, classify: bool, key: PRNGKey) -> Reader | Reconstructor:
    """The model of this name before training.

    Args:
        name: `ode-rnn`, `gru` (both only classify), `latent-ode`, `latent-ode-rnn` (the encoder is a GRU) or
            `rnn-vae`.
        sizes: Of its networks.
        classify: Whether a latent model has log-odds too.
        key: Typed key.
    """
    keys = iter(jax.random.split(key, 7))
    n_channels, latent, hidden, width = sizes[:4]
    field = Field(hidden, width, key=next(keys)) if name in ("ode-rnn", "latent-ode") else None
    encoder = RecurrentEncoder(
        n_channels, latent, hidden_size=hidden, field=field, solver=sizes.solver, key=next(keys)
    )
    reads = name in ("ode-rnn", "gru")
    head = eqx.nn.MLP(hidden if reads else latent, "scalar", width, 1, key=next(keys))
    if reads:
        return Reader(encoder, head)
    log_scale = jnp.log(jnp.asarray(sizes.spread, jnp.float32))
    if name == "rnn-vae":
        decoder = eqx.nn.MLP(hidden, n_channels, width, 1, jnp.tanh, key=next(keys))
        start, cell = eqx.nn.Linear(latent, hidden, key=next(keys)), eqx.nn.GRUCell(2, hidden, key=next(keys))
        model: Any = RecurrentDecoder(start, cell, decoder, log_scale)
    else:
        decoder = eqx.nn.MLP(latent, n_channels, width, 1, jnp.tanh, key=next(keys))
        dynamics = Field(latent, width, key=next(keys))
        model = LatentODE(
            dynamics,
            decoder,
            latent_size=latent,
            log_scale=log_scale,
            solver=sizes.solver,
            adjoint=Unrolled(),
        )
    return Reconstructor(encoder, model, head if classify else None, sizes.label_weight)
