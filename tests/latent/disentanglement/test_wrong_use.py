"""Arrays and tables as people have them: nothing is taken for something else, refusals have a cure."""

import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pandas as pd
import pytest

from backthrough.core import ArgumentError, DataError
from backthrough.latent import (
    Codes,
    bernoulli_vae,
    beta_tcvae,
    beta_vae,
    factor_vae,
    log_aggregate,
    metrics,
    mig,
    mig_binned,
    sap,
    tc_decomposition,
)

RNG = np.random.default_rng(0)
LABELS = RNG.integers(0, 3, (60, 2))
MEANS = LABELS + 0.1 * RNG.standard_normal((60, 2))
CODES = Codes(MEANS, np.full(MEANS.shape, 0.1))
KEY = jax.random.key(0)
VAE = bernoulli_vae(np.full(4, 0.5), latent_size=2, hidden_sizes=(3,), key=KEY)
X = jnp.zeros((4, 4))


@pytest.fixture(autouse=True)
def _without_runtime_types(monkeypatch):
    """Which users don't have either, and which refuse some of this first."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


def test_tables_in_another_order_are_refused():
    table = pd.DataFrame(LABELS, columns=["a", "b"])
    turned = table.iloc[::-1]
    with pytest.raises(ArgumentError, match=r"row 0 is called 0 and 59: .*factors.loc\[codes.index\]"):
        metrics(pd.DataFrame(MEANS), turned)
    with pytest.raises(ArgumentError, match="means and scales are tables"):
        Codes(pd.DataFrame(MEANS), pd.DataFrame(MEANS**2).iloc[::-1])
    found = metrics(pd.DataFrame(MEANS), table, only=["MIG, binned"])
    assert found.means == metrics(MEANS, LABELS, only=["MIG, binned"]).means


def test_structured_arrays_have_a_factor_for_each_field():
    fields = np.rec.fromarrays(LABELS.T, names="a,b")
    found = mig(CODES, fields)
    assert found.names == ("a", "b")
    np.testing.assert_array_equal(found.gaps, mig(CODES, LABELS).gaps)


def test_masked_entries_are_missing():
    masked = np.ma.masked_array(LABELS, mask=np.arange(120).reshape(60, 2) == 7)
    with pytest.raises(DataError, match="'factor 1' has no value at example 3"):
        mig(CODES, masked)
    with pytest.raises(DataError, match="means has masked entries"):
        Codes(np.ma.masked_greater(MEANS, 2.0), MEANS**2)
    np.testing.assert_array_equal(mig(CODES, np.ma.asarray(LABELS)).gaps, mig(CODES, LABELS).gaps)


def test_class_numbers_may_be_large():
    far = LABELS * 10**9
    np.testing.assert_array_equal(mig_binned(MEANS, far).per_factor, mig_binned(MEANS, LABELS).per_factor)


def test_codes_cannot_be_written_to():
    with pytest.raises(ValueError, match="read-only"):
        CODES.means[0, 0] = 1.0


def test_a_class_of_one_row_is_named_by_factor_and_value():
    shapes = np.array(["star", "disc"])[LABELS[:, 0] % 2].astype(object)
    shapes[5] = "moon"
    found = metrics(MEANS, {"shape": shapes, "b": LABELS[:, 1]})
    assert "factor 'shape' has the value moon in one row of all" in found.missing["SAP"]
    rows = metrics(MEANS, {"shape": shapes, "b": LABELS[:, 1]}, n_rows=59, random_state=1)
    assert "moon in one row of the 59 rows drawn (n_rows)" in rows.missing["explicitness"]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: mig(MEANS, LABELS), r"mig needs codes with scales, .* got ndarray"),
        (lambda: tc_decomposition(MEANS, key=KEY), "tc_decomposition needs codes with scales"),
        (lambda: log_aggregate(jnp.zeros((4, 2)), CODES, estimator="full"), "got Codes"),
        (lambda: Codes([[1.0, 2.0], [3.0]], MEANS), "rows differ in length"),
        (lambda: Codes(MEANS * 1j, MEANS**2), "must be real numbers, got an array of complex128"),
        (lambda: Codes(MEANS, np.log(MEANS**2) - 9), "if these are logarithms, pass their exp"),
        (lambda: mig_binned(MEANS * 1j, LABELS), "must be real numbers"),
        (lambda: mig_binned(MEANS, LABELS, n_bins=10**9), "at most the number of rows, 60"),
        (lambda: mig_binned(MEANS.T, LABELS), "means has 2 rows and labels 60: transpose means"),
        (lambda: mig(Codes(MEANS.T, MEANS.T**2), LABELS), "transpose means and scales"),
        (lambda: mig(CODES, LABELS, bins=3), "bins must map names"),
        (lambda: mig(CODES, [[1, 2], [3]]), "rows differ in length"),
        (lambda: mig(CODES, pd.DataFrame(LABELS), names=["b", "a"]), "have names already"),
        (lambda: sap(MEANS, LABELS, continuous=0), r"such as \[0\]"),
        (lambda: metrics(CODES, LABELS, only="MIG"), r"such as \['MIG'\], got one word"),
        (lambda: beta_tcvae(*VAE, X, key=KEY, beta=4.0, estimator="full"), "unknown estimator 'full'"),
        (lambda: beta_vae(*VAE, X, key=KEY, beta="4"), "beta must be one number, got '4'"),
        (lambda: beta_vae(*VAE, X, key=KEY, beta=jnp.ones(2)), "beta must be one number"),
        (lambda: factor_vae(*VAE, None, X, key=KEY, gamma=1.0), "discriminator must map .* got NoneType"),
    ],
)
def test_wrong_use_is_named(call, message):
    with pytest.raises((ArgumentError, DataError), match=message):
        call()
