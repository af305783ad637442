"""Responses: the paper's parameter counts, and what each can follow."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from backthrough.core import ArgumentError
from backthrough.hyper import MLP, CentredLinear, Elementwise, Factorised, HyperSpace, Linear, Real

KEY = jax.random.key(0)


def made(response, real, shape=(785, 10)):
    bound = HyperSpace(decay=real).bind(jnp.zeros(shape))
    return bound, response.init(bound, jnp.arange(float(np.prod(shape))), key=KEY)


def count(function):
    return sum(leaf.size for leaf in jax.tree_util.tree_leaves(eqx.filter(function, eqx.is_inexact_array)))


@pytest.mark.parametrize(
    ("response", "real", "n"),
    [
        (MLP(50), Real(log=True), 400_450),
        (Linear(), Real(log=True), 15_700),
        (Linear(), Real(log=True, per="output", output_axis=1), 86_350),
        (Factorised(10), Real(log=True, per="weight"), 164_860),
        (Elementwise(), Real(log=True, per="weight"), 15_700),
    ],
)
def test_parameter_counts_are_those_of_the_paper(response, real, n):
    bound, function = made(response, real)
    assert count(function) == n
    u = bound.initial + 0.5
    np.testing.assert_array_equal(function(u, bound.initial), np.arange(7850.0))


def test_no_gradient_goes_through_the_centre_and_some_goes_through_u():
    bound, function = made(CentredLinear(), Real(log=True, per="weight"), (2, 3))
    function = eqx.tree_at(lambda own: own.matrix, function, jnp.eye(6))

    def total(u, centre):
        return jnp.sum(function(u, centre))

    by_u, by_centre = jax.grad(total, (0, 1))(bound.initial, bound.initial)
    assert np.all(by_u == 1)
    assert np.all(by_centre == 0)


def test_elementwise_follows_every_hyperparameter_of_a_weight():
    space = HyperSpace(decay=Real(log=True, per="weight"), layer=Real(log=True, per="layer"), all=Real())
    bound = space.bind({"w": jnp.zeros((2, 2)), "b": jnp.zeros(2)})
    function = Elementwise().init(bound, jnp.zeros(6), key=KEY)
    function = eqx.tree_at(lambda own: own.slopes, function, jnp.ones_like(function.slopes))
    jacobian = jax.jacobian(function)(bound.initial, bound.initial)
    np.testing.assert_array_equal(jacobian[:, :6], np.eye(6))
    np.testing.assert_array_equal(jacobian[:, 6:], np.ones((6, 2)))


def test_elementwise_refuses_what_belongs_to_no_weights():
    with pytest.raises(ArgumentError, match="use CentredLinear"):
        made(Elementwise(), Real(shape=(3,)))


def test_settings_are_checked():
    for make in (lambda: MLP(0), lambda: Factorised(0)):
        with pytest.raises(ArgumentError, match="at least 1"):
            make()
