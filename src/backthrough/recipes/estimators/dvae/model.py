"""A variational auto-encoder with layers of Bernoulli variables, and its ELBO by any gradient estimator.

The pattern for several layers of discrete variables: the expectation over layer 1 is of a function that is
itself an expectation over layer 2, and so on. Each layer has a control variate of its own, which draws the
layers above it softly, with the noise with which they are drawn for f (Grathwohl et al. 2018, sec. 5.2).
"""

from collections.abc import Callable, Sequence
from itertools import pairwise

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jaxtyping import Array, Float

from backthrough.core import PRNGKey, Scalar, log_odds
from backthrough.estimators import (
    RELAX,
    Concrete,
    DisARM,
    Estimator,
    LeaveOneOut,
    ReinMax,
    ScoreFunction,
    StraightThrough,
    expect,
    relaxation_noise,
)

WIDTH = 200
CONTROLLED = ("REBAR", "RELAX")
SAMPLES = {"leave-one-out": 2, "DisARM": 2}
Bits = Float[Array, "unit"]
Data = Float[Array, "pixel"]


class BernoulliLayers(eqx.Module):
    """p(b_n) p(b_(n-1) | b_n) ... p(x | b_1) and q(b_1 | x) ... q(b_n | b_(n-1)), for one example.

    Attributes:
        encoders: From the data (centred) or the layer below (as +-1) to the logits of a layer.
        decoders: From a layer (as +-1) to the logits of the layer below or of the data, bottom first.
        prior_logits: Of the top layer.
        data_mean: Subtracted from the data.
    """

    encoders: tuple[eqx.nn.Sequential, ...]
    decoders: tuple[eqx.nn.Sequential, ...]
    prior_logits: Bits
    data_mean: Data

    def __init__(
        self, data_mean: Float[np.ndarray, "pixel"], sizes: Sequence[int], n_hidden: int, *, key: PRNGKey
    ):
        widths = [len(data_mean), *sizes]
        keys = jax.random.split(key, 2 * len(sizes))
        pairs = list(pairwise(widths))
        self.encoders = tuple(
            network(a, b, n_hidden, key=k) for (a, b), k in zip(pairs, keys[: len(sizes)], strict=True)
        )
        decoders = [
            network(b, a, n_hidden, key=k) for (a, b), k in zip(pairs, keys[len(sizes) :], strict=True)
        ]
        self.data_mean = jnp.asarray(data_mean, jnp.result_type(float))
        bias = log_odds(jnp.clip(self.data_mean, 0.001, 0.999))
        decoders[0] = eqx.tree_at(lambda own: own.layers[-1].bias, decoders[0], bias)
        self.decoders = tuple(decoders)
        self.prior_logits = jnp.zeros(sizes[-1])

    def posterior_logits(self, x: Data, below: Sequence[Bits]) -> Bits:
        """Logits of q for the layer above the given ones."""
        inputs = 2 * below[-1] - 1 if below else x - jax.lax.stop_gradient(self.data_mean)
        return self.encoders[len(below)](inputs)

    def log_weight(self, x: Data, layers: Sequence[Bits]) -> Scalar:
        """log p(x, b) - log q(b | x), also at soft b."""
        total = log_bernoulli(layers[-1], self.prior_logits)
        for target, decoder, above in zip([x, *layers[:-1]], self.decoders, layers, strict=True):
            total += log_bernoulli(target, decoder(2 * above - 1))
        for index, own in enumerate(layers):
            total -= log_bernoulli(own, self.posterior_logits(x, layers[:index]))
        return total


class Surrogate(eqx.Module):
    """r(x, z, below) of ReLU layers. What the first layer makes of x alone is computed once for z and z'.

    Attributes:
        from_data: The first layer's part for the centred x, with its bias.
        from_layers: Its part for z and the layer below.
        rest: What follows.
    """

    from_data: eqx.nn.Linear
    from_layers: eqx.nn.Linear
    rest: eqx.nn.Sequential

    def __init__(self, n_data: int, n_layers: int, n_hidden: int, *, key: PRNGKey):
        first_key, rest_key = jax.random.split(key)
        first = network(n_data + n_layers, WIDTH, 0, key=first_key).layers[0]
        self.from_data = eqx.tree_at(lambda own: own.weight, first, first.weight[:, :n_data])
        self.from_layers = eqx.nn.Linear(n_layers, WIDTH, use_bias=False, key=key)
        self.from_layers = eqx.tree_at(lambda own: own.weight, self.from_layers, first.weight[:, n_data:])
        self.rest = network(WIDTH, 1, n_hidden - 1, key=rest_key, activation=jax.nn.relu)

    def __call__(self, x: Data, layers: Bits) -> Scalar:
        """r."""
        return self.rest(jax.nn.relu(self.from_data(x) + self.from_layers(layers)))[0]


class LayerControl(eqx.Module):
    """c(z) = scale * (f with this layer and those above drawn softly) + network(x, z, layer below).

    Attributes:
        log_temperature: Of the relaxed variables.
        scale: Of the relaxed f.
        network: None for REBAR.
    """

    log_temperature: Scalar
    scale: Scalar
    network: Surrogate | None

    def __call__(
        self, model: BernoulliLayers, x: Data, below: Sequence[Bits], noise: Sequence[Bits], z: Bits
    ) -> Scalar:
        """c(z) for one example; `noise` is behind the layers above. `model` must be held fixed."""
        temperature = jnp.exp(self.log_temperature)
        layers = [*below, jax.nn.sigmoid(z / temperature)]
        for own in noise:
            logits = model.posterior_logits(x, layers)
            layers.append(jax.nn.sigmoid((logits + own) / temperature))
        total = -self.scale * model.log_weight(x, layers)
        if self.network is not None:
            total += self.network(x - model.data_mean, jnp.concatenate([z, *[2 * b - 1 for b in below[-1:]]]))
        return total


def start_controls(
    name: str, model: BernoulliLayers, n_hidden: int, *, key: PRNGKey
) -> tuple[LayerControl, ...]:
    """The control variates before training, one a layer (temperature 0.5, scale 1); none for others."""
    if name not in CONTROLLED:
        return ()
    controls = []
    sizes = [encoder.layers[-1].out_features for encoder in model.encoders]
    for layer, own in enumerate(jax.random.split(key, len(sizes))):
        inputs = sum(sizes[max(0, layer - 1) : layer + 1])
        net = Surrogate(model.data_mean.size, inputs, n_hidden, key=own) if name == "RELAX" else None
        controls.append(LayerControl(jnp.log(0.5), jnp.ones(()), net))
    return tuple(controls)


def negative_elbo(
    model: BernoulliLayers,
    controls: Sequence[LayerControl],
    x: Data,
    *,
    name: str,
    key: PRNGKey,
    coupled: bool = True,
    shifts: Sequence[Bits] | None = None,
) -> Scalar:
    """-ELBO of one example, with the gradient of the estimator of this name.

    Args:
        model: The layers.
        controls: Those of `start_controls`.
        x: Zeros and ones.
        name: The estimator.
        key: Typed key.
        coupled: Whether REBAR and RELAX couple z and z given b.
        shifts: Added to the logits of each layer of q; zeros, to take gradients with respect to the logits.
    """
    arrays, functions = eqx.partition(model, eqx.is_array)
    fixed = eqx.combine(jax.lax.stop_gradient(arrays), functions)

    sizes = [encoder.layers[-1].out_features for encoder in model.encoders]
    keys = jax.random.split(key, len(sizes)) if len(sizes) > 1 else [key]

    def above(below: list[Bits]) -> Scalar:
        """The expectation over the layers above the given ones."""
        layer = len(below)
        if layer == len(sizes):
            return -model.log_weight(x, below)
        logits = model.posterior_logits(x, below)
        if shifts is not None:
            logits = logits + shifts[layer]
        estimator = make_estimator(name)
        if name in CONTROLLED:
            noise = [
                relaxation_noise(dist.Bernoulli(logits=jnp.zeros(size)), key=own)
                for size, own in zip(sizes[layer + 1 :], keys[layer + 1 :], strict=True)
            ]
            held = jax.lax.stop_gradient(below)
            control = eqx.Partial(controls[layer], fixed, x, held, noise)
            estimator = RELAX(control, coupled=coupled)
        return expect(
            lambda b: above([*below, b]),
            dist.Bernoulli(logits=logits),
            key=keys[layer],
            estimator=estimator,
            n_samples=SAMPLES.get(name, 1),
        )

    return above([])


def make_estimator(name: str) -> Estimator:
    """The estimator of this name, for those without a learned control variate."""
    return {
        "leave-one-out": LeaveOneOut(),
        "DisARM": DisARM(),
        "Concrete": Concrete(0.5),
        "straight-through": StraightThrough(),
        "ReinMax": ReinMax(),
    }.get(name, ScoreFunction())


def log_bernoulli(b: Float[Array, "unit"], logits: Float[Array, "unit"]) -> Scalar:
    """The sum of b l - softplus(l)."""
    return jnp.sum(b * logits - jax.nn.softplus(logits))


def network(
    n_inputs: int,
    n_outputs: int,
    n_hidden: int,
    *,
    key: PRNGKey,
    activation: Callable[[Array], Array] = jnp.tanh,
) -> eqx.nn.Sequential:
    """`n_hidden` layers of 200 units and a linear one; weights after Glorot and Bengio, biases zero."""
    widths = [n_inputs, *[WIDTH] * n_hidden, n_outputs]
    glorot = jax.nn.initializers.glorot_uniform(in_axis=1, out_axis=0)
    layers = []
    for a, b, own in zip(widths[:-1], widths[1:], jax.random.split(key, n_hidden + 1), strict=True):
        linear = eqx.nn.Linear(a, b, key=own)
        values = (glorot(own, (b, a)), jnp.zeros(b))
        layers.append(eqx.tree_at(lambda one: (one.weight, one.bias), linear, values))
        layers.append(eqx.nn.Lambda(activation))
    return eqx.nn.Sequential(layers[:-1])
