"""What is saved draws the same, bit for bit."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from backthrough.core import ArgumentError, DataError
from backthrough.explain.infill import (
    VAEAC,
    Blur,
    Constant,
    GaussianConditional,
    LocalMean,
    Marginal,
    MaskedAutoencoder,
    Mean,
    Noise,
    NumpyInfiller,
    load_infiller,
    save_infiller,
)
from backthrough.train import save_model

RNG = np.random.default_rng(0)
X = RNG.normal(size=(12, 4, 4, 2)).astype(np.float32)
KEY = jax.random.key(0)
MAKERS = {
    "constant": lambda: Constant(X[0]),
    "mean": lambda: Mean.fit(X),
    "noise": lambda: Noise(-2.0, 3.0, std=0.1),
    "blur": lambda: Blur(0.8),
    "local mean": lambda: LocalMean(3, default=4.0),
    "marginal": lambda: Marginal.fit(X, independent=True),
    "gaussian": lambda: GaussianConditional.fit(X, shrinkage=0.1),
    "autoencoder": lambda: MaskedAutoencoder.fit(X, key=KEY, n_steps=1, widths=(2, 3)),
    "vaeac": lambda: VAEAC.fit(X, key=KEY, n_steps=1, width=4, depth=1, n_latent=2),
}


@pytest.mark.parametrize("name", MAKERS)
def test_what_is_read_is_what_was_written(name, tmp_path):
    infiller = MAKERS[name]()
    path = tmp_path / "infill.npz"
    save_infiller(path, infiller)
    again = load_infiller(path)
    assert type(again) is type(infiller)
    assert (again.conditional, again.leaks) == (infiller.conditional, infiller.leaks)
    assert jax.tree_util.tree_structure(again) == jax.tree_util.tree_structure(infiller)
    mask = jnp.asarray(RNG.random(X.shape[1:]) < 0.5)
    first, other = (
        np.asarray(own.sample(jnp.asarray(X[0]), mask, key=KEY, n_samples=2)) for own in (infiller, again)
    )
    np.testing.assert_array_equal(first, other)
    if hasattr(infiller, "check"):
        with pytest.raises(ArgumentError, match="was fitted to"):
            again.check(X + 1000)


def test_a_table_and_its_groups(tmp_path):
    rows = np.hstack([RNG.normal(size=(9, 2)), np.eye(3)[RNG.integers(0, 3, 9)]])
    infiller = VAEAC.fit(rows, key=KEY, one_hot=((2, 3, 4),), n_steps=1, width=4, depth=1, n_latent=2)
    save_infiller(tmp_path / "own.npz", infiller)
    again = load_infiller(tmp_path / "own.npz")
    assert isinstance(again, VAEAC)
    assert again.columns.groups == ((2, 3, 4),)
    np.testing.assert_array_equal(again.seen.low, infiller.seen.low)


def test_what_cannot_be_written_or_read_is_named(tmp_path):
    with pytest.raises(ArgumentError, match="a NumpyInfiller cannot be saved, only Constant, Mean"):
        save_infiller(tmp_path / "a.npz", NumpyInfiller(lambda x, mask, seeds: x))
    with pytest.raises(DataError, match="cannot read"):
        load_infiller(tmp_path / "none.npz")
    save_model(tmp_path / "b.npz", "infiller", settings={"class": "Oracle"}, arrays={})
    with pytest.raises(DataError, match="holds a Oracle, which this version"):
        load_infiller(tmp_path / "b.npz")
    save_model(tmp_path / "c.npz", "infiller", settings={"class": "Mean"}, arrays={"array 0": np.zeros(1)})
    with pytest.raises(DataError, match="holds a Mean of another version"):
        load_infiller(tmp_path / "c.npz")
