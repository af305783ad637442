"""Spaces: transforms both ways, shapes that broadcast, and what is refused."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from backthrough.core import ArgumentError
from backthrough.hyper import HyperSpace, Real, weighted_l2

NETWORK = eqx.nn.MLP(4, 3, 5, 1, key=jax.random.key(0))
SIZES = {"all": 1, "layer": 2, "output": 5 + 3, "weight": 4 * 5 + 5 + 5 * 3 + 3}


@pytest.mark.parametrize(
    ("real", "values"),
    [
        (Real(log=True), [1e-9, 0.3, 1e6]),
        (Real(1e-6, 10.0, log=True), [1e-6, 1e-3, 10.0]),
        (Real(0.01, 0.99, logit=True), [0.01, 0.3, 0.99]),
        (Real(-2.0, 6.0), [-2.0, 0.0, 6.0]),
        (Real(low=1.0), [1.0, 50.0]),
        (Real(), [-1e4, 0.0, 3.0]),
    ],
)
def test_values_come_back_from_their_coordinates(real, values):
    back = real.from_line(jnp.asarray(real.to_line(values), jnp.float32))
    np.testing.assert_allclose(back, values, rtol=1e-5, atol=1e-6)
    assert np.all(np.diff(real.to_line(values)) > 0)


def test_a_unit_is_a_factor_a_unit_of_odds_or_a_quarter():
    np.testing.assert_allclose(Real(log=True).from_line(1.0), np.e, rtol=1e-6)
    odds = Real(logit=True).from_line(jnp.array([0.0, 1.0]))
    np.testing.assert_allclose(odds[1] / (1 - odds[1]), np.e * odds[0] / (1 - odds[0]), rtol=1e-5)
    np.testing.assert_allclose(Real(2.0, 10.0).from_line(jnp.array([0.0, 1.0, 4.0])), [2, 4, 10], rtol=1e-6)


@pytest.mark.parametrize("per", SIZES)
def test_entries_broadcast_with_the_parameters(per):
    bound = HyperSpace(decay=Real(1e-3, 1.0, log=True, per=per)).bind(NETWORK)
    assert bound.size == SIZES[per] == len(bound.labels()) == len(set(bound.labels()))
    u = bound.initial + 0.1 * jnp.arange(bound.size) / bound.size
    values = bound.values(u)["decay"]
    arrays = eqx.filter(NETWORK, eqx.is_inexact_array)
    by_hand = sum(
        float(jnp.sum(np.broadcast_to(own, w.shape) * w**2))
        for own, w in zip(
            jax.tree_util.tree_leaves(values) if per != "all" else [values] * 4,
            jax.tree_util.tree_leaves(arrays),
            strict=True,
        )
    )
    np.testing.assert_allclose(weighted_l2(NETWORK, values), by_hand, rtol=1e-5)
    np.testing.assert_allclose(bound.coordinates({"decay": values}), u, rtol=1e-5, atol=1e-5)
    # Each weight's owner is the entry that its penalty moves with.
    owners = bound.owners()[:, 0]
    gradient = jax.jacobian(lambda u: _flat_penalties(bound.values(u)["decay"]))(u)
    np.testing.assert_array_equal(np.abs(gradient).argmax(1), owners)


def _flat_penalties(values):
    arrays = eqx.filter(NETWORK, eqx.is_inexact_array)
    if jax.tree_util.tree_structure(values) != jax.tree_util.tree_structure(arrays):
        values = jax.tree_util.tree_map(lambda _: values, arrays)
    each = jax.tree_util.tree_map(lambda w, own: jnp.broadcast_to(own, w.shape).reshape(-1), arrays, values)
    return jnp.concatenate(jax.tree_util.tree_leaves(each))


def test_a_layer_shares_one_entry_and_an_output_goes_with_its_bias():
    layers = HyperSpace(decay=Real(log=True, per="layer")).bind(NETWORK)
    values = layers.values(jnp.array([0.0, 1.0]))["decay"]
    assert values.layers[1].weight.shape == (1, 1)
    assert float(values.layers[1].weight[0, 0]) == float(values.layers[1].bias[0]) != 1.0
    columns = HyperSpace(decay=Real(log=True, per="output", output_axis=1)).bind(jnp.zeros((4, 3)))
    assert columns.values(columns.initial)["decay"].shape == (1, 3)


def test_several_hyperparameters_stand_side_by_side():
    space = HyperSpace(
        decay=Real(0.1, 1.0, per="layer"), dropout=Real(0.1, 0.9), noise=Real(0.0, 1.0, shape=(3,))
    )
    bound = space.bind(NETWORK)
    values = bound.values(bound.uniform(key=jax.random.key(0)))
    assert bound.size == 2 + 1 + 3
    assert values["dropout"].shape == ()
    assert values["noise"].shape == (3,)
    with pytest.raises(ArgumentError, match="noise has 3 entries that belong to no weights"):
        bound.owners()
    assert list(bound.table(bound.initial)["entries"]) == [2, 1, 3]


def test_draws_lie_between_the_bounds_and_clipping_stops_there():
    bound = HyperSpace(decay=Real(1e-4, 1.0, log=True, per="weight")).bind(NETWORK)
    u = jax.vmap(lambda key: bound.uniform(key=key))(jax.random.split(jax.random.key(1), 50))
    low, high = bound.box
    assert np.all((u >= low) & (u <= high))
    np.testing.assert_array_equal(bound.clip(u[0] + 100), high)
    assert int(bound.at_bound(bound.clip(u[0] + 100)).sum()) == bound.size


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: HyperSpace(), "the space is empty"),
        (lambda: HyperSpace(decay=0.1), "decay must be a Real"),
        (lambda: Real(1.0, 1.0), "low must be below high"),
        (lambda: Real(0.0, 1.0, log=True), "log=True needs low > 0"),
        (lambda: Real(0.0, 0.5, logit=True), "logit=True needs bounds inside"),
        (lambda: Real(np.nan, 1.0), "low must be a finite number"),
        (lambda: Real(0.0, 1.0, initial=2.0), r"initial must lie in \[0, 1\], got 2"),
        (lambda: Real(log=True, initial=0.0), "above 0, for log=True"),
        (lambda: Real(initial=np.inf), "initial must lie in"),
        (lambda: Real(log=True, logit=True), "log or logit, not both"),
        (lambda: Real(per="weights"), "did you mean 'weight'"),
        (lambda: Real(per="weight", shape=(2,)), "belongs to no weights"),
        (lambda: HyperSpace(decay=Real()).bind({"n": 3}), "no array of floating-point numbers"),
        (lambda: HyperSpace(decay=Real(shape=(3,), initial=[1.0, 2.0])).bind(NETWORK), "3 entries: give one"),
        (lambda: HyperSpace(decay=Real(per="output", output_axis=1)).bind(NETWORK), "has no axis 1"),
        (
            lambda: HyperSpace(decay=Real(per="output")).bind({"w": jnp.zeros((2, 3)), "b": jnp.zeros(3)}),
            "say output_axis",
        ),
    ],
)
def test_what_cannot_be_is_refused_by_name(make, message):
    with pytest.raises(ArgumentError, match=message):
        make()


def test_coordinates_of_another_type_are_refused():
    bound = HyperSpace(decay=Real()).bind(NETWORK)
    for wrong in (jnp.zeros(1, jnp.float16), jnp.zeros(1, jnp.bfloat16), jnp.zeros(1, int)):
        with pytest.raises(ArgumentError, match="must be float32 or float64"):
            bound.values(wrong)
    with pytest.raises(ArgumentError, match="there are 1 coordinates"):
        bound.values(jnp.zeros(2))
    with pytest.raises(ArgumentError, match="must have the names decay"):
        bound.coordinates({"decoy": 0.1})
