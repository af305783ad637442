"""Layer statistics against per-example gradients by plain differentiation."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from backthrough.core import ArgumentError
from backthrough.natgrad import find_blocks, pull_back
from backthrough.natgrad.blocks import leaves_of
from backthrough.natgrad.noisy_full import rows_of
from backthrough.nets import Convolution

KEY = jax.random.key(0)


class Mixed(eqx.Module):
    """Dense, convolutional and plain parameters."""

    first: eqx.nn.Conv2d
    second: Convolution
    line: eqx.nn.Conv1d
    last: eqx.nn.Linear
    gain: jax.Array

    def __init__(self, key):
        keys = jax.random.split(key, 4)
        self.first = eqx.nn.Conv2d(1, 2, 3, padding=1, stride=2, key=keys[0])
        self.second = Convolution(2, 3, 2, key=keys[1])
        self.line = eqx.nn.Conv1d(3, 2, 2, use_bias=False, key=keys[2])
        self.last = eqx.nn.Linear(6, 2, key=keys[3])
        self.gain = jnp.ones(2)

    def __call__(self, x):
        x = jnp.tanh(self.first(x[None]))
        x = jnp.tanh(self.second(jnp.moveaxis(x, 0, -1)))
        x = jnp.tanh(self.line(x.reshape(4, 3).T))
        return self.gain * self.last(x.ravel())


class Shared(eqx.Module):
    """A layer that is used at every place of a series, in a scan and in a vmap."""

    cell: eqx.nn.Linear
    place: eqx.nn.Linear
    out: eqx.nn.Linear

    def __init__(self, key):
        keys = jax.random.split(key, 3)
        self.cell = eqx.nn.Linear(4, 3, key=keys[0])
        self.place = eqx.nn.Linear(2, 1, key=keys[1])
        self.out = eqx.nn.Linear(3, 2, key=keys[2])

    def __call__(self, x):
        series = jax.vmap(self.place)(x)

        def step(state, own):
            return jnp.tanh(self.cell(jnp.append(state, own))), None

        return self.out(jax.lax.scan(step, jnp.zeros(3), series)[0])


class Tied(eqx.Module):
    """A layer whose weights are used once more, outside its call."""

    layer: eqx.nn.Linear
    free: eqx.nn.Linear
    unused: eqx.nn.Linear

    def __init__(self, key):
        self.layer = eqx.nn.Linear(3, 3, key=key)
        self.free = eqx.nn.Linear(3, 3, key=jax.random.fold_in(key, 1))
        self.unused = eqx.nn.Linear(3, 3, key=jax.random.fold_in(key, 2))

    def __call__(self, x):
        return self.layer.weight.T @ jnp.tanh(self.layer(self.free(x)))


def by_plain_differentiation(model, x, cotangents):
    def one(x, cotangent):
        return eqx.filter_grad(lambda model: jnp.vdot(model(x), cotangent))(model)

    return leaves_of(jax.vmap(one)(x, cotangents))


@pytest.mark.parametrize(("make", "shape"), [(Mixed, (5, 5)), (Shared, (4, 2)), (Tied, (3,))])
def test_gradients_of_rows_are_exact(make, shape):
    model = make(KEY)
    x = jax.random.normal(jax.random.key(1), (3, *shape))
    cotangents = jax.random.normal(jax.random.key(2), (3, *model(x[0]).shape))
    blocks = find_blocks(model, x[0])
    wanted = by_plain_differentiation(model, x, cotangents)

    @jax.jit
    def ours(arrays, x):
        outputs, pull = pull_back(eqx.combine(arrays, static), blocks, x)
        gradient, seen = pull(cotangents)
        return outputs, gradient, rows_of(seen, blocks)

    arrays, static = eqx.partition(model, eqx.is_inexact_array)
    outputs, gradient, rows = ours(arrays, x)
    np.testing.assert_allclose(outputs, jax.vmap(model)(x), rtol=1e-5, atol=1e-6)
    assert rows.keys() == wanted.keys()
    for path, own in wanted.items():
        scale = max(float(jnp.abs(own).max()), 1e-3)
        np.testing.assert_allclose(rows[path], own, atol=3e-6 * scale, err_msg=path)
        np.testing.assert_allclose(leaves_of(gradient)[path], own.mean(0), atol=3e-6 * scale, err_msg=path)


def test_what_is_no_layer_is_named():
    table = find_blocks(Mixed(KEY), jnp.ones((5, 5))).table()
    assert list(table[table.block == "diagonal"].array) == [".gain"]
    assert list(table.block.unique()) == [
        "conv .first",
        "convolution .second",
        "conv .line",
        "linear .last",
        "diagonal",
    ]
    table = find_blocks(Tied(KEY), jnp.array([1.0, -2.0, 0.5])).table().set_index("array")
    assert table.why[".layer.weight"] == "it is used outside its layer's calls too"
    assert table.why[".unused.bias"] == "no call of its layer is seen, or no gradient comes to it"
    assert table.block[".free.weight"] == "linear .free"


class SharedAndTied(eqx.Module):
    """A layer that is used at several places, and once more outside its calls."""

    layer: eqx.nn.Linear

    def __call__(self, x):
        return self.layer.weight.T @ jnp.tanh(jax.vmap(self.layer)(x).sum(0))


class Stacked(eqx.Module):
    """Layers on top of each other in one array, scanned."""

    layers: eqx.nn.Linear

    def __init__(self, key):
        self.layers = eqx.filter_vmap(lambda key: eqx.nn.Linear(3, 3, key=key))(jax.random.split(key, 2))

    def __call__(self, x):
        arrays, static = eqx.partition(self.layers, eqx.is_array)
        return jax.lax.scan(lambda x, own: (jnp.tanh(eqx.combine(own, static)(x)), None), x, arrays)[0]


def test_what_the_calls_of_a_shared_layer_do_not_explain_is_noticed():
    table = find_blocks(SharedAndTied(eqx.nn.Linear(3, 4, key=KEY)), jnp.ones((2, 3))).table()
    assert set(table.block) == {"diagonal"}
    assert set(table.why) == {"it is used outside its layer's calls too"}


@pytest.mark.slow
def test_a_stack_of_layers_is_named_and_its_gradients_are_exact():
    model, x = Stacked(KEY), jax.random.normal(jax.random.key(4), (2, 3))
    blocks = find_blocks(model, x[0])
    assert set(blocks.table().why) == {"its layer is a stack of layers"}
    _, pull = pull_back(model, blocks, x)
    rows = rows_of(pull(jnp.ones((2, 3)))[1], blocks)
    for path, own in by_plain_differentiation(model, x, jnp.ones((2, 3))).items():
        np.testing.assert_allclose(rows[path], own, rtol=1e-5, atol=1e-6)


def test_layers_that_are_used_several_times_are_known():
    layers = find_blocks(Shared(KEY), jax.random.normal(KEY, (4, 2))).layers
    assert {layer.name: layer.n_uses for layer in layers} == {".cell": 4, ".place": 4, ".out": 1}


@pytest.mark.slow
def test_of_a_shared_layer_the_mean_input_meets_the_summed_gradient():
    model = Shared(KEY)
    x = jax.random.normal(jax.random.key(3), (2, 4, 2))
    _, pull = pull_back(model, find_blocks(model, x[0]), x)
    _, seen = pull(jnp.ones((2, 2)))
    means = jnp.concatenate([x.mean(1), jnp.ones((2, 1))], axis=1)
    np.testing.assert_allclose(seen.inputs[".place"], means, rtol=1e-5)
    exact = by_plain_differentiation(model, x, jnp.ones((2, 2)))
    np.testing.assert_allclose(seen.gradients[".place"], exact[".place.bias"], rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_scalar_layers_and_layers_under_two_vmaps():
    model = eqx.nn.MLP("scalar", 1, 3, 1, key=KEY)
    x = jnp.array([0.5, -1.0])
    blocks = find_blocks(model, x[0])
    assert len(blocks.layers) == 2

    def rows(model):
        _, pull = pull_back(model, blocks, x)
        return rows_of(pull(jnp.ones((2, 1)))[1], blocks)

    models = eqx.filter_vmap(lambda key: eqx.nn.MLP("scalar", 1, 3, 1, key=key))(jax.random.split(KEY, 2))
    found = eqx.filter_vmap(rows)(models)
    arrays, static = eqx.partition(models, eqx.is_array)
    second = eqx.combine(jax.tree_util.tree_map(lambda leaf: leaf[1], arrays), static)
    for path, own in by_plain_differentiation(second, x, jnp.ones((2, 1))).items():
        np.testing.assert_allclose(found[path][1], own, rtol=1e-5, atol=1e-6)


def test_wrong_use_is_refused():
    linear = eqx.nn.Linear(2, 1, key=KEY)
    with pytest.raises(ArgumentError, match="no floating-point arrays"):
        find_blocks(eqx.nn.Lambda(jnp.tanh), jnp.ones(2))
    with pytest.raises(ArgumentError, match="outside jit"):
        jax.jit(lambda x: find_blocks(linear, x))(jnp.ones(2))
    with pytest.raises(ArgumentError, match="a vector"):
        find_blocks(linear, jnp.ones(2), apply=lambda model, x: model(x)[0])
    with pytest.raises(ArgumentError, match="at least one example"):
        pull_back(linear, find_blocks(linear, jnp.ones(2)), jnp.ones((0, 2)))
    norm = eqx.nn.BatchNorm(2, axis_name="batch", mode="batch")
    with pytest.raises(ArgumentError, match="BatchNorm, whose outputs depend on other examples"):
        find_blocks((linear, norm), jnp.ones(2), apply=lambda model, x: model[0](x))
