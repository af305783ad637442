"""A public variational auto-encoder with fixed weights, on which estimates of log p(x) are compared."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from backthrough.datasets import load
from backthrough.latent import BernoulliModel, GaussianEncoder

N_IMAGES = 100
LATENT_SIZE = 50


class Yardstick(NamedTuple):
    """The auto-encoder, and 100 shuffled test images of binarized-mnist, shape (100, 784)."""

    model: BernoulliModel
    encoder: GaussianEncoder
    x: np.ndarray


def load_yardstick() -> Yardstick:
    """Encoder 784-200-200-2*50 and decoder 50-200-200-784 with ELU; weights and images are data sets."""
    weights = dict(load("bdmc-vae-mnist").arrays)
    for name in ("fc3_weight", "fc3_bias"):  # log variances; ours are log standard deviations
        weights[name] = np.concatenate([weights[name][:LATENT_SIZE], 0.5 * weights[name][LATENT_SIZE:]])
    images = load("binarized-mnist").test
    images = images[np.random.default_rng(0).permutation(len(images))[:N_IMAGES]]
    encoder = GaussianEncoder(_network(weights, ("fc1", "fc2", "fc3")), jnp.zeros(images.shape[1]))
    decoder = _network(weights, ("fc4", "fc5", "fc6"))
    return Yardstick(BernoulliModel(decoder, LATENT_SIZE), encoder, images)


def _network(weights: dict, names: tuple[str, ...]) -> eqx.nn.Sequential:
    layers = []
    for name in names:
        weight, bias = jnp.asarray(weights[f"{name}_weight"]), jnp.asarray(weights[f"{name}_bias"])
        layer = eqx.nn.Linear(weight.shape[1], weight.shape[0], key=jax.random.key(0))
        layers.append(eqx.tree_at(lambda own: (own.weight, own.bias), layer, (weight, bias)))
        layers.append(eqx.nn.Lambda(jax.nn.elu))
    return eqx.nn.Sequential(layers[:-1])
