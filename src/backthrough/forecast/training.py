"""Training on windows, and forecasts of what comes after the context of others."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from backthrough.core import PRNGKey, Scalar
from backthrough.forecast.model import Networks
from backthrough.forecast.windows import Scale, Window, stack_windows
from backthrough.latent import Observations, elbo
from backthrough.train import Batches, Run, fit, mean_over_shards, schedule


class State(NamedTuple):
    """What training carries."""

    networks: Networks
    optimiser: optax.OptState


class Bands(NamedTuple):
    """What comes after the context of some windows, in the units of the table.

    Attributes:
        mean: Of the draws.
        low: Lower end of the band.
        high: Upper end.
    """

    mean: Float[np.ndarray, "window time column"]
    low: Float[np.ndarray, "window time column"]
    high: Float[np.ndarray, "window time column"]


def train_networks(
    networks: Networks,
    windows: Observations,
    *,
    key: PRNGKey,
    n_steps: int = 1500,
    batch_size: int = 32,
    learning_rate: float = 5e-3,
    batch_seed: int = 0,
    run: Run | None = None,
) -> Networks:
    """Maximises the ELBO of what comes after the context, under a posterior that sees the context.

    Args:
        networks: Before training.
        windows: Scaled windows, as `stack_windows` makes them.
        key: Determines the noise.
        n_steps: Steps of Adam.
        batch_size: Windows in a batch, at most; no more than there are.
        learning_rate: The largest; it falls along half a cosine.
        batch_seed: Determines the order of the windows.
        run: Where metrics and checkpoints go.
    """
    n_context = networks.model.n_context
    rate = schedule("cosine", learning_rate, n_steps=n_steps, warm_up=n_steps // 20)
    optimiser = optax.chain(optax.clip_by_global_norm(10.0), optax.adam(rate))
    state = State(networks, optimiser.init(eqx.filter(networks, eqx.is_inexact_array)))

    def step(state: State, batch: Any, *, key: PRNGKey) -> tuple[State, dict[str, Scalar]]:
        def loss(networks: Networks) -> Scalar:
            return -elbo(networks.model, networks.encoder, Observations(*batch), key=key).mean()

        value, gradients = eqx.filter_value_and_grad(loss)(state.networks)
        n_observed = jnp.mean(jnp.sum(batch[2][:, n_context:], axis=(1, 2)))
        scaled = jax.tree_util.tree_map(lambda leaf: leaf / n_observed, mean_over_shards(gradients))
        updates, memory = optimiser.update(scaled, state.optimiser)
        return State(eqx.apply_updates(state.networks, updates), memory), {
            "ELBO (nats an observation)/train": -value / n_observed
        }

    fitted = fit(
        step,
        state,
        Batches(tuple(windows), min(batch_size, len(windows.times)), seed=batch_seed),
        n_steps=n_steps,
        key=key,
        run=run,
        log_every=max(1, n_steps // 200),
        label="training",
    )
    return fitted.state.networks


def predict_windows(
    networks: Networks,
    windows: Sequence[Window],
    scale: Scale,
    *,
    key: PRNGKey,
    n_draws: int = 200,
    level: float = 0.8,
) -> Bands:
    """Means and bands of what comes after the context of each window.

    Args:
        networks: Trained.
        windows: Of one length; the values after the context are not looked at.
        scale: What the training windows were scaled by.
        key: Determines the draws, the same for each window.
        n_draws: Draws behind mean and band.
        level: Probability that the band should hold.
    """
    n_context = networks.model.n_context
    batch = stack_windows(windows, scale, n_context)
    keys = jax.random.split(key, n_draws)
    ends = (0.5 - level / 2, 0.5 + level / 2)
    parts = []
    for index, window in enumerate(windows):
        x = Observations(*(jnp.asarray(leaf[index]) for leaf in batch))
        means, noisy = map(np.asarray, _paths(networks, x, keys))
        centre = scale.centre(window, n_context)
        rows = [means.mean(0), *np.quantile(noisy, ends, axis=0)]
        parts.append([centre + scale.spread * part for part in rows])
    return Bands(*(np.stack(own) for own in zip(*parts, strict=True)))


@eqx.filter_jit
def _paths(networks: Networks, x: Observations, keys: Array) -> tuple[Array, Array]:
    """Paths of the mean, and the same with the noise of an observation, one for each key."""
    model, encoder = networks
    posterior = encoder(x)

    def one(key: PRNGKey) -> tuple[Array, Array]:
        z_key, noise_key = jax.random.split(key)
        z, _ = posterior.sample_and_log_prob(key=z_key)
        means = model.latent_ode.means(z, model.after(x).times)
        noise = jax.random.normal(noise_key, means.shape)
        return means, means + jnp.exp(model.latent_ode.log_scale) * noise

    return jax.vmap(one)(keys)
