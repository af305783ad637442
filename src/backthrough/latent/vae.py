"""The variational auto-encoder of Burda et al. as two ready-made modules."""

from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from backthrough.core import (
    ArgumentError,
    PRNGKey,
    check_integer,
    check_key,
    check_unit_interval,
    log_odds,
)
from backthrough.latent.bernoulli import BernoulliModel
from backthrough.latent.gaussian import GaussianEncoder


def bernoulli_vae(
    data_mean: Float[np.ndarray, "data"] | Float[Array, "data"],
    *,
    latent_size: int,
    hidden_sizes: Sequence[int] = (200, 200),
    key: PRNGKey,
) -> tuple[BernoulliModel, GaussianEncoder]:
    """A model and an encoder with tanh layers for binary data (Burda et al. 2015, sec. 5).

    Weights are drawn as Glorot and Bengio (2010) do, biases are zero, except that the last bias of the
    decoder is the log-odds of the data's mean clipped to [0.001, 0.999].

    Args:
        data_mean: Mean of the training data, entries in [0, 1].
        latent_size: Length of z.
        hidden_sizes: Widths of the encoder's hidden layers, from the data to z; the decoder's are reversed.
        key: Typed key for the weights.

    Returns:
        `(model, encoder)` for `elbo` and `iwae`.

    Raises:
        ArgumentError: if a size is below 1, or `data_mean` has not one axis.
        DataError: if an entry of `data_mean` is outside [0, 1].
    """
    latent_size = check_integer("latent_size", latent_size, minimum=1)
    for size in hidden_sizes:
        check_integer("hidden_sizes", size, minimum=1)
    check_key(key)
    mean = check_unit_interval("data_mean", np.asarray(data_mean))
    if mean.ndim != 1:
        raise ArgumentError(f"data_mean must have one axis, got shape {mean.shape}")
    mean = jnp.asarray(mean, dtype=jnp.result_type(float))
    encoder_key, decoder_key = jax.random.split(key)
    encoder = _tanh_network([mean.size, *hidden_sizes, 2 * latent_size], key=encoder_key)
    decoder = _tanh_network([latent_size, *reversed(hidden_sizes), mean.size], key=decoder_key)
    bias = log_odds(jnp.clip(mean, 0.001, 0.999))
    decoder = eqx.tree_at(lambda network: network.layers[-1].bias, decoder, bias)
    return BernoulliModel(decoder, latent_size), GaussianEncoder(encoder, mean)


def _tanh_network(sizes: Sequence[int], *, key: PRNGKey) -> eqx.nn.Sequential:
    keys = jax.random.split(key, len(sizes) - 1)
    glorot = jax.nn.initializers.glorot_uniform(in_axis=1, out_axis=0)
    layers = []
    for inputs, outputs, own in zip(sizes[:-1], sizes[1:], keys, strict=True):
        parameters = (glorot(own, (outputs, inputs)), jnp.zeros(outputs))
        layer = eqx.nn.Linear(inputs, outputs, key=own)
        layers.append(eqx.tree_at(lambda linear: (linear.weight, linear.bias), layer, parameters))
        layers.append(eqx.nn.Lambda(jnp.tanh))
    return eqx.nn.Sequential(layers[:-1])
