"""The network for images, and the masks that it learns from."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from backthrough.core import ArgumentError
from backthrough.explain.infill import MaskedAutoencoder, check_infiller
from backthrough.explain.infill.masks import image_mask, subset_mask
from backthrough.explain.infill.unet import UNet

KEY = jax.random.key(0)


def waves(n, height=9, width=6, seed=0):
    """Images of one wave each: a few kept pixels tell all others."""
    rng = np.random.default_rng(seed)
    phase = rng.uniform(0, 2 * np.pi, size=(n, 1, 1))
    rows, columns = np.mgrid[:height, :width]
    return (3 + np.sin(0.7 * rows + 0.4 * columns + phase)).astype(np.float32)


def test_it_reads_nothing_hidden_and_takes_sides_of_any_length():
    infiller = MaskedAutoencoder.fit(waves(8), key=KEY, channels=None, n_steps=2, widths=(4, 6))
    check_infiller(infiller, waves(3), key=KEY, n_masks=3)
    with pytest.raises(ArgumentError, match="the infiller was fitted to values from 2"):
        infiller.check(waves(2) - 50)
    with pytest.raises(ArgumentError, match=r"channels=None an example is \(height, width\)"):
        infiller.sample(jnp.zeros((9, 6, 1)), jnp.ones((9, 6, 1), bool), key=KEY, n_samples=1)


def test_layouts_are_the_same_image():
    network_key = jax.random.key(1)
    images = np.stack([waves(4, 8, 8), waves(4, 8, 8, seed=1)], axis=-1)
    last = MaskedAutoencoder.fit(images, key=network_key, n_steps=1, widths=(4, 6))
    moved = np.moveaxis(images, -1, 1)
    first = MaskedAutoencoder.fit(moved, key=network_key, n_steps=1, widths=(4, 6), channels="first")
    mask = np.random.default_rng(0).random((8, 8, 2)) < 0.5
    found = last.sample(jnp.asarray(images[0]), jnp.asarray(mask), key=KEY, n_samples=1)
    other = first.sample(jnp.asarray(moved[0]), jnp.asarray(np.moveaxis(mask, -1, 0)), key=KEY, n_samples=1)
    np.testing.assert_allclose(np.moveaxis(np.asarray(other), 1, -1), found, atol=1e-5)


def test_half_precision_comes_back():
    infiller = MaskedAutoencoder.fit(waves(8), key=KEY, channels=None, n_steps=2, widths=(4, 6))
    x = jnp.asarray(waves(1)[0], jnp.float16)
    mask = jnp.asarray(np.random.default_rng(0).random((9, 6)) < 0.5)
    found = infiller.sample(x, mask, key=KEY, n_samples=2)
    assert found.dtype == jnp.float16
    np.testing.assert_array_equal(np.asarray(found[1])[np.asarray(mask)], np.asarray(x)[np.asarray(mask)])


def test_bad_options_are_named():
    with pytest.raises(ArgumentError, match="X must have 4 axes"):
        MaskedAutoencoder.fit(waves(4), key=KEY)
    with pytest.raises(ArgumentError, match="pictures of uint8"):
        MaskedAutoencoder.fit(waves(4).astype(np.uint8), key=KEY, channels=None)
    with pytest.raises(ArgumentError, match="widths must be at least 1, got 0"):
        MaskedAutoencoder.fit(waves(4), key=KEY, channels=None, widths=(0,))


def test_a_network_of_one_resolution_is_a_network():
    found = UNet(2, 1, (4,), key=KEY)(jnp.ones((5, 3, 2)))
    assert found.shape == (5, 3, 1)


def test_masks_range_from_nothing_to_everything():
    masks = np.asarray(jax.vmap(lambda key: image_mask(key, 12, 9))(jax.random.split(KEY, 2000)))
    kept = masks.mean((1, 2))
    assert kept.min() == 0
    assert kept.max() > 0.99
    assert abs(kept.mean() - 0.5) < 6 * 0.35 / 2000**0.5
    alone = np.asarray(jax.vmap(lambda key: subset_mask(key, 7))(jax.random.split(KEY, 2000)))
    counts = np.bincount(alone.sum(1), minlength=8)  # uniform from 0 to 7
    assert ((counts - 250) ** 2 / 250).sum() < 60  # chi-square with 7 degrees: beyond it once in 1e10


@pytest.mark.slow
def test_it_learns_what_kept_pixels_tell():
    infiller = MaskedAutoencoder.fit(waves(500, 12, 12), key=KEY, channels=None, n_steps=600, widths=(16, 32))
    fresh = waves(40, 12, 12, seed=1)
    mask = np.ones((12, 12), bool)
    mask[2:9, 3:10] = False
    found = np.stack(
        [
            np.asarray(infiller.sample(jnp.asarray(x), jnp.asarray(mask), key=KEY, n_samples=1))[0]
            for x in fresh
        ]
    )
    error = ((found - fresh)[:, ~mask] ** 2).mean()
    assert error < 0.02 * fresh.var()
