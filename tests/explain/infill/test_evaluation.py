"""Errors of held-out features, and infillers by name."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from backthrough.core import ArgumentError
from backthrough.explain.infill import Mean, NumpyInfiller, evaluate_infiller, fit_infiller

RNG = np.random.default_rng(0)
ROWS = RNG.normal(size=(60, 4)) * [1, 10, 100, 1000]
KEY = jax.random.key(0)


def test_the_mean_is_off_by_itself_and_the_truth_by_nothing():
    found = evaluate_infiller(Mean.fit(ROWS), ROWS, ROWS, key=KEY, one_hot=((1, 2),))
    np.testing.assert_array_equal(found.kept[:, 1], found.kept[:, 2])
    (
        own,
        plain,
    ) = (number.value for number in found.numbers())
    np.testing.assert_allclose(own, plain, rtol=1e-5)
    squares = ((ROWS - ROWS.mean(0)) / ROWS.std(0)) ** 2
    each = [row[~kept].mean() for row, kept in zip(squares, found.kept, strict=True)]
    np.testing.assert_allclose(plain, np.mean(each), rtol=1e-4)
    assert "no clear difference from filling in their mean" in found.headline("it", "").sentence
    leaking = NumpyInfiller(lambda x, mask, seeds: x, leaks=True)
    perfect = evaluate_infiller(leaking, ROWS, ROWS, key=KEY)
    assert perfect.numbers()[0].value < 1e-9
    assert "100% less than when their mean is filled in" in perfect.headline("it", "").sentence
    wild = evaluate_infiller(NumpyInfiller(lambda x, mask, seeds: x + 1e5), ROWS, ROWS, key=KEY)
    assert "use the mean" in wild.headline("it", "").sentence
    assert perfect.plot().axes


def test_images_are_shown_and_filled():
    images = RNG.random((12, 6, 5)).astype(np.float32)
    found = evaluate_infiller(Mean.fit(images), images, images, key=KEY)
    assert found.draws.shape == (12, 16, 6, 5)
    assert len(found.plot().axes) == 32


@pytest.mark.parametrize("method", ["gaussian", "marginal", "mean"])
def test_infillers_by_name(method):
    infiller = fit_infiller(ROWS, method=method, key=KEY)
    found = infiller.sample(jnp.asarray(ROWS[0], jnp.float32), jnp.ones(4, bool), key=KEY, n_samples=1)
    np.testing.assert_array_equal(found[0], ROWS[0].astype(np.float32))


@pytest.mark.parametrize(
    ("shape", "options", "message"),
    [
        ((4, 3), {"method": "unet"}, "unet fills in images; for rows of a table use vaeac"),
        ((4, 50, 50), {"method": "gaussian"}, "up to 2,000 features, these are 2,500"),
        ((4, 3), {"method": "mean", "n_steps": 3}, "mean is not trained step by step: it has no n_steps"),
        ((4, 3), {"method": "mean", "one_hot": ((0, 1),)}, "only vaeac draws one-hot columns"),
    ],
)
def test_methods_that_do_not_suit_are_named(shape, options, message):
    with pytest.raises(ArgumentError, match=message):
        fit_infiller(np.zeros(shape), key=KEY, **options)
