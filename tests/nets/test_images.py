"""Against XLA's convolution and Equinox's group norm, which share no code with ours."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from backthrough.core import ArgumentError
from backthrough.nets import Convolution, GroupNorm

IMAGE = jax.random.normal(jax.random.key(0), (9, 7, 3))


@pytest.mark.parametrize(("kernel_size", "stride", "padding"), [(3, 1, 1), (4, 2, 1), (2, 3, 0), (1, 1, 0)])
def test_a_convolution_is_that_of_xla_and_so_is_its_gradient(kernel_size, stride, padding):
    layer = Convolution(3, 5, kernel_size, stride=stride, padding=padding, key=jax.random.key(1))

    def reference(weight, bias, x):
        return (
            bias
            + jax.lax.conv_general_dilated(
                x[None],
                weight.reshape(kernel_size, kernel_size, 3, 5),
                (stride, stride),
                [(padding, padding)] * 2,
                dimension_numbers=("NHWC", "HWIO", "NHWC"),
                precision="highest",
            )[0]
        )

    def ours(weight, bias, x):
        return eqx.tree_at(lambda own: (own.weight, own.bias), layer, (weight, bias))(x)

    parts = (layer.weight, layer.bias, IMAGE)
    expected = reference(*parts)
    weights = jax.random.normal(jax.random.key(2), expected.shape)
    np.testing.assert_allclose(layer(IMAGE), expected, atol=1e-5)
    found, wanted = (
        jax.grad(lambda *parts, f=f: jnp.sum(weights * f(*parts)), argnums=(0, 1, 2))(*parts)
        for f in (ours, reference)
    )
    for own, other in zip(found, wanted, strict=True):
        np.testing.assert_allclose(own, other, atol=1e-4)


@pytest.mark.parametrize("n_groups", [1, 2, 6])
def test_a_group_norm_is_that_of_equinox(n_groups):
    x = 3 + jax.random.normal(jax.random.key(3), (4, 5, 6))
    scale, shift = jax.random.normal(jax.random.key(4), (2, 6))
    own = eqx.tree_at(lambda norm: (norm.scale, norm.shift), GroupNorm(6, n_groups), (scale, shift))
    other = eqx.nn.GroupNorm(n_groups, 6)
    other = eqx.tree_at(lambda norm: (norm.weight, norm.bias), other, (scale, shift))
    np.testing.assert_allclose(own(x), jnp.moveaxis(other(jnp.moveaxis(x, -1, 0)), 0, -1), atol=1e-5)


def test_bad_input_is_named():
    key = jax.random.key(0)
    with pytest.raises(ArgumentError, match="kernel_size must be at least 1, got 0"):
        Convolution(1, 1, 0, key=key)
    with pytest.raises(ArgumentError, match=r"takes 2 channels, the last axis, got shape \(9, 7, 3\)"):
        Convolution(2, 1, 3, key=key)(IMAGE)
    with pytest.raises(ArgumentError, match=r"shape \(9, 7, 3\) is smaller than the 8 x 8 window"):
        Convolution(3, 1, 8, key=key)(IMAGE)
    with pytest.raises(ArgumentError, match="n_groups must divide the 6 channels, got 4"):
        GroupNorm(6, 4)
