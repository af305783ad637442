"""Rows whose conditional distributions are known."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from backthrough.core import ArgumentError, DataError
from backthrough.explain.infill import VAEAC, check_infiller
from backthrough.explain.infill.columns import Columns
from backthrough.explain.infill.fitted import Seen
from backthrough.explain.infill.vaeac import vaeac_bound

KEY = jax.random.key(0)
RHO = 0.8
TABLE = np.array([[0.25, 0.05, 0.0], [0.05, 0.2, 0.15], [0.1, 0.0, 0.2]])  # P(first, second)


def gaussian_rows(n, seed=0):
    rng = np.random.default_rng(seed)
    first = rng.normal(size=n)
    second = RHO * first + (1 - RHO**2) ** 0.5 * rng.normal(size=n)
    return np.column_stack([5 + 2 * first, -1 + 0.1 * second]).astype(np.float32)


def categorical_rows(n, seed=0):
    chosen = np.random.default_rng(seed).choice(9, size=n, p=TABLE.ravel())
    return np.hstack([np.eye(3)[chosen // 3], np.eye(3)[chosen % 3]]).astype(np.float32)


@eqx.filter_jit
def draw(infiller, x, mask, key, n_samples):
    return infiller.sample(x, mask, key=key, n_samples=n_samples)


@pytest.fixture(scope="module")
def mixed():
    rows = np.hstack([gaussian_rows(200), categorical_rows(200)])
    one_hot = ((2, 3, 4), (5, 6, 7))
    return rows, VAEAC(Columns.of(rows, one_hot), Seen.of(rows), (8, 1, 2), key=KEY)


def test_it_reads_nothing_hidden_and_draws_whole_categories(mixed):
    rows, infiller = mixed
    check_infiller(infiller, rows[:3], key=KEY)
    nothing = jnp.zeros(8, bool)
    draws = np.asarray(draw(infiller, jnp.asarray(rows[0]), nothing, KEY, 50))
    for group in (draws[:, 2:5], draws[:, 5:]):
        assert set(np.unique(group)) == {0.0, 1.0}
        np.testing.assert_array_equal(group.sum(1), 1)
    assert len(np.unique(draws[:, 0])) == 50
    part = nothing.at[2].set(True)
    halves = np.asarray(draw(infiller, jnp.asarray(rows[0]), part, KEY, 50))
    np.testing.assert_array_equal(halves[:, 2], rows[0, 2])
    np.testing.assert_array_equal(np.delete(halves, 2, axis=1), np.delete(draws, 2, axis=1))


def test_half_precision_comes_back(mixed):
    rows, infiller = mixed
    x = jnp.asarray(rows[0], jnp.bfloat16)
    mask = jnp.arange(8) < 2
    found = draw(infiller, x, mask, KEY, 1)
    assert found.dtype == jnp.bfloat16
    np.testing.assert_array_equal(np.asarray(found[0, :2], np.float32), np.asarray(x[:2], np.float32))


def test_log_probabilities_are_those_of_scipy():
    rows = np.hstack([gaussian_rows(50), categorical_rows(50)])
    columns = Columns.of(rows, ((2, 3, 4), (5, 6, 7)))
    outputs = np.random.default_rng(0).normal(size=10)
    row = np.array([0.3, -0.7, 0, 1, 0, 0, 0, 1.0])
    found = columns.log_prob(jnp.asarray(outputs, jnp.float32), jnp.asarray(row, jnp.float32))
    stds = 0.01 + np.log1p(np.exp(outputs[8:]))
    expected = [
        *scipy.stats.norm.logpdf(row[:2], outputs[:2], stds),
        outputs[3] - np.log(np.exp(outputs[2:5]).sum()),
        outputs[7] - np.log(np.exp(outputs[5:8]).sum()),
    ]
    np.testing.assert_allclose(found, expected, atol=1e-5)
    units = jnp.array([True, False, False, True])
    mask = columns.feature_mask(units)
    assert mask.tolist() == [True, False, False, False, False, True, True, True]
    assert columns.unit_mask(mask).tolist() == units.tolist()


def test_bad_groups_are_named():
    rows = categorical_rows(20)
    for one_hot, error, message in [
        (((0, 1, 2), (2, 3)), ArgumentError, "feature 2 twice"),
        (((4, 5, 6),), ArgumentError, "feature 6, but there are 6, from 0"),
        (((1,),), ArgumentError, "two features or more"),
        (((0, 3),), DataError, r"features \(0, 3\).*row \d+ holds"),
    ]:
        with pytest.raises(error, match=message):
            VAEAC.fit(rows, key=KEY, one_hot=one_hot, n_steps=1)


@pytest.mark.slow
def test_numbers_are_drawn_from_their_conditional_distribution():
    rows = gaussian_rows(20_000)
    infiller = VAEAC.fit(rows, key=KEY, n_steps=3000)
    n = 20_000
    for place in (-1.5, 0.0, 1.5):
        x = jnp.array([5 + 2 * place, 99.0], jnp.float32)
        found = np.asarray(draw(infiller, x, jnp.array([True, False]), KEY, n))[:, 1]
        standardised = (found + 1) / 0.1
        assert abs(standardised.mean() - RHO * place) < 0.1 + 5 * 0.6 / n**0.5
        assert abs(standardised.std() - (1 - RHO**2) ** 0.5) < 0.08 + 5 * 0.6 / (2 * n) ** 0.5
    whole = np.asarray(draw(infiller, x, jnp.zeros(2, bool), KEY, n))
    assert abs(np.corrcoef(whole.T)[0, 1] - RHO) < 0.06


@pytest.mark.slow
def test_the_bound_is_below_the_conditional_likelihood_and_near_it():
    infiller = VAEAC.fit(gaussian_rows(20_000), key=KEY, n_steps=3000)
    fresh = gaussian_rows(4000, seed=1)
    columns = infiller.columns
    rows = jnp.asarray((fresh - np.asarray(columns.mean)) / np.asarray(columns.std))
    units = jnp.array([True, False])

    @eqx.filter_jit
    def bounds(networks, rows, keys):
        return jax.vmap(lambda row, key: vaeac_bound(networks, columns, row, units, key=key)[0])(rows, keys)

    found = np.asarray(bounds(infiller.networks, rows, jax.random.split(KEY, len(rows))), np.float64)
    std = (1 - RHO**2) ** 0.5
    z = ((fresh[:, 1] + 1) / 0.1 - RHO * (fresh[:, 0] - 5) / 2) / std
    exact = scipy.stats.norm.logpdf(z) - np.log(std / (float(columns.std[1]) / 0.1))
    difference = exact - found
    error = difference.std() / len(difference) ** 0.5
    assert -5 * error < difference.mean() < 0.05 + 5 * error


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(6,), (2, 3)])
def test_categories_are_drawn_from_their_conditional_distribution(shape):
    rows = categorical_rows(20_000).reshape(-1, *shape)
    one_hot = "last" if len(shape) == 2 else ((0, 1, 2), (3, 4, 5))
    infiller = VAEAC.fit(rows, key=KEY, one_hot=one_hot, n_steps=2000)
    n = 20_000
    mask = jnp.asarray(np.arange(6) < 3).reshape(shape)
    for first in range(3):
        x = jnp.asarray(np.concatenate([np.eye(3)[first], np.zeros(3)]), jnp.float32).reshape(shape)
        found = np.asarray(draw(infiller, x, mask, KEY, n)).reshape(n, 6)[:, 3:]
        expected = TABLE[first] / TABLE[first].sum()
        assert np.abs(found.mean(0) - expected).max() < 0.03 + 5 * 0.5 / n**0.5
