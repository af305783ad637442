"""Infillers without training, against NumPy and SciPy."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage

from backthrough.core import ArgumentError, DataError
from backthrough.explain.infill import Blur, Constant, LocalMean, Marginal, Mean, Noise, check_infiller
from backthrough.explain.infill.layout import check_channels

RNG = np.random.default_rng(0)
X = RNG.uniform(-1, 1, size=(40, 7, 6, 3)).astype(np.float32)
IMAGE, MASK = jnp.asarray(X[0]), jnp.asarray(RNG.random((7, 6, 3)) < 0.6)
KEY = jax.random.key(3)
EACH = {
    "constant": Constant(0.25),
    "mean": Mean.fit(X),
    "noise": Noise(-1.0, 1.0),
    "blur": Blur(1.3),
    "local mean": LocalMean(3),
    "marginal": Marginal.fit(X),
    "independent marginal": Marginal.fit(X, independent=True),
}


def fill(infiller, x=IMAGE, mask=MASK, n_samples=1, key=KEY):
    return np.asarray(infiller.sample(x, mask, key=key, n_samples=n_samples))


@pytest.mark.parametrize("name", EACH)
def test_each_passes_its_own_test_and_is_the_same_compiled_and_over_lanes(name):
    infiller = EACH[name]
    check_infiller(infiller, X[:2], key=KEY, n_masks=2)

    @eqx.filter_jit
    def lanes(infiller, x, masks, keys):
        return jax.vmap(lambda mask, key: infiller.sample(x, mask, key=key, n_samples=2))(masks, keys)

    masks, keys = jnp.stack([MASK, ~MASK]), jax.random.split(KEY, 2)
    together = lanes(infiller, IMAGE, masks, keys)
    alone = [fill(infiller, mask=mask, key=key, n_samples=2) for mask, key in zip(masks, keys, strict=True)]
    np.testing.assert_allclose(together, np.stack(alone), atol=1e-6)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
@pytest.mark.parametrize("name", EACH)
def test_half_precision_comes_back_with_its_bits(name, dtype):
    x = IMAGE.astype(dtype)
    found = EACH[name].sample(x, MASK, key=KEY, n_samples=1)
    assert found.dtype == dtype
    kept = np.asarray(MASK)
    np.testing.assert_array_equal(
        np.asarray(found[0])[kept].view(np.uint16), np.asarray(x)[kept].view(np.uint16)
    )


def test_the_mean_is_that_of_the_examples():
    hidden = ~np.asarray(MASK)
    np.testing.assert_allclose(fill(EACH["mean"])[0][hidden], X.mean(0)[hidden], atol=1e-6)


@pytest.mark.parametrize("channels", ["last", "first", None])
def test_a_local_mean_is_the_ratio_of_two_uniform_filters(channels):
    move = {"last": lambda a: a, "first": lambda a: np.moveaxis(a, -1, 0), None: lambda a: a[..., 0]}[
        channels
    ]
    size = {"last": (5, 5, 1), "first": (1, 5, 5), None: (5, 5)}[channels]
    x, mask = move(X[1]), move(np.asarray(MASK))
    infiller = LocalMean(5, default=9.0, channels=channels)
    found = fill(infiller, jnp.asarray(x), jnp.asarray(mask))[0]
    sums, counts = (
        scipy.ndimage.uniform_filter(part.astype(np.float64), size, mode="constant")
        for part in (x * mask, mask)
    )
    expected = np.where(counts > 1e-9, sums / np.maximum(counts, 1e-9), 9.0)
    np.testing.assert_allclose(found, np.where(mask, x, expected), atol=1e-5)
    nothing = fill(infiller, jnp.asarray(x), jnp.zeros(x.shape, bool))
    np.testing.assert_array_equal(nothing, np.full((1, *x.shape), 9.0))


@pytest.mark.parametrize("sigma", [0.7, 4.0])
def test_a_blur_is_that_of_scipy(sigma):
    found = fill(Blur(sigma), mask=jnp.zeros_like(MASK))[0]
    expected = scipy.ndimage.gaussian_filter(X[0].astype(np.float64), (sigma, sigma, 0), mode="nearest")
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_row_of_the_marginal_is_one_example_unless_features_are_independent():
    rows = np.arange(12.0).reshape(4, 3)
    nothing = jnp.zeros(3, bool)
    whole = fill(Marginal.fit(rows), jnp.zeros(3), nothing, n_samples=64)
    assert {tuple(row) for row in whole} == {tuple(row) for row in rows}
    mixed = fill(Marginal.fit(rows, independent=True), jnp.zeros(3), nothing, n_samples=64)
    assert len({tuple(row) for row in mixed}) > 4
    for column, own in zip(mixed.T, rows.T, strict=True):
        assert set(column) == set(own)


def test_noise_has_one_colour_an_image_and_stays_in_its_range():
    x, nothing = jnp.zeros((20, 20, 3)), jnp.zeros((20, 20, 3), bool)
    draws = fill(Noise(-1.0, 1.0, std=0.01), x, nothing, n_samples=50)
    assert np.abs(draws).max() <= 1
    colours = draws.mean((1, 2))
    inner = np.abs(colours) < 0.8
    assert draws.std((1, 2))[inner].max() < 0.03  # .02 of noise, by 400 pixels
    assert colours.std() > 0.4  # uniform on [-1, 1]: .58
    assert np.abs(np.corrcoef(colours.T)[0, 1]) < 0.7  # channels have colours of their own
    draws = fill(Noise(), x, nothing, n_samples=2)
    assert draws.min() >= 0
    assert draws.max() <= 1


def test_bad_data_and_settings_are_named():
    with pytest.raises(ArgumentError, match=r"pictures of uint8.*astype\(np.float32\) / 255"):
        Mean.fit((X * 100).astype(np.uint8))
    with pytest.raises(ArgumentError, match="two or more axes"):
        Mean.fit(np.zeros(3))
    with pytest.raises(DataError, match=r"entry \(1, 0\) is nan"):
        Marginal.fit(np.array([[1.0], [np.nan]]))
    with pytest.raises(DataError, match="two examples or more, got 1"):
        Mean.fit(np.ones((1, 2)))
    with pytest.raises(ArgumentError, match="real numbers"):
        Mean.fit(np.array([["a"], ["b"]]))
    with pytest.raises(ArgumentError, match="window must be odd"):
        LocalMean(4)
    with pytest.raises(ArgumentError, match="low must be less than high"):
        Noise(1.0, 0.0)
    with pytest.raises(ArgumentError, match="with channels='last' an example is"):
        fill(Blur(1.0), jnp.zeros((3, 3)), jnp.zeros((3, 3), bool))
    with pytest.raises(ArgumentError, match="does not fit x"):
        fill(Constant(np.zeros(5)))
    with pytest.raises(ArgumentError, match="did you mean 'last'"):
        check_channels("lasst")


def test_examples_unlike_those_seen_are_refused():
    infiller = Mean.fit(X)
    infiller.check(X[:3] * 1.5)
    with pytest.raises(
        ArgumentError, match=r"x\[0, 0, 0, 0\].*fitted to values from -0.9996 to 0.9991: scale x"
    ):
        infiller.check(np.full((1, 7, 6, 3), 128.0, np.float32))
    with pytest.raises(ArgumentError, match=r"examples of shape \(7, 6, 3\), these have \(3, 7, 6\)"):
        infiller.check(np.zeros((1, 3, 7, 6)))
    table = Marginal.fit(np.column_stack([np.arange(5.0), 1000 * np.arange(5.0), np.full(5, 3.0)]))
    table.check(np.array([[5.0, -1000.0, 4.0]]))
    with pytest.raises(ArgumentError, match=r"x\[0, 0\] is 40, but .* from 0 to 4"):
        table.check(np.array([[40.0, 0.0, 3.0]]))
