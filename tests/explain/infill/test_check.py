"""Infillers that are wrong in one way each, and what is said of them."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from backthrough.core import ArgumentError
from backthrough.explain.infill import Blur, Constant, check_infiller

X = np.random.default_rng(0).normal(size=(3, 6)).astype(np.float32)
KEY = jax.random.key(0)


class Faulty(eqx.Module):
    """Fills in zeros, but for its fault."""

    fault: str = eqx.field(static=True)
    leaks: bool = eqx.field(static=True, default=False)
    conditional: bool = eqx.field(default=True, init=False, static=True)

    def sample(self, x, mask, *, key, n_samples):
        filled = jnp.zeros((n_samples, *x.shape), x.dtype)
        hidden = jnp.where(mask, 0, x)
        if self.fault == "leaks":
            filled += 1e-3 * hidden
        if self.fault == "leaks by the mean":
            filled += 1e-6 * x.mean()
        if self.fault == "leaks NaNs":
            filled += jnp.where(jnp.isnan(hidden).any(), 1.0, 0.0)
        if self.fault == "leaks what is large":
            filled += jnp.where(jnp.abs(hidden).max() > 1e6, 1.0, 0.0)
        if self.fault == "is not finite":
            filled += jnp.asarray(0 * jnp.sum(mask) / jnp.sum(mask), x.dtype)
        if self.fault == "one draw too few":
            filled = filled[1:]
        draws = jnp.where(mask, x, filled)
        if self.fault == "changes what is kept":
            draws = jnp.where(mask, x * 1.0000002, draws)
        return draws.astype(jnp.float16) if self.fault == "another type" else draws


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("leaks", "Faulty reads hidden features: with other numbers in their place.*or declare leaks=True"),
        ("leaks by the mean", "Faulty reads hidden features"),
        ("leaks NaNs", "reads hidden features: with NaNs"),
        ("leaks what is large", "reads hidden features: with very large numbers"),
        ("changes what is kept", r"Faulty changes features that are kept.*End with jnp.where\(mask, x"),
        ("is not finite", "drew nan where 0% of the features are kept"),
        ("one draw too few", r"draws of shape \(n_samples, \*x.shape\), here \(2, 6\), got \(1, 6\)"),
        ("another type", "in the type of x, float32, got float16"),
    ],
)
def test_a_fault_is_named(fault, message):
    with pytest.raises(ArgumentError, match=message):
        check_infiller(Faulty(fault), X, key=KEY)


def test_one_without_fault_passes_and_a_leak_may_be_declared():
    check_infiller(Faulty("none"), X, key=KEY)
    check_infiller(Faulty("leaks", leaks=True), X, key=KEY)
    check_infiller(Blur(1.0), np.zeros((1, 4, 4, 1), np.float32), key=KEY)
    with pytest.raises(ArgumentError, match="changes features that are kept"):
        check_infiller(Faulty("changes what is kept", leaks=True), X, key=KEY)


def test_one_that_is_not_pure_is_found():
    calls = []

    class Counting:
        conditional, leaks = False, False

        def sample(self, x, mask, *, key, n_samples):
            calls.append(0)
            number = jax.pure_callback(
                lambda _: np.float32(calls.append(0) or len(calls)),
                jax.ShapeDtypeStruct((), jnp.float32),
                key,
                vmap_method="sequential",
            )
            return jnp.where(mask, x, jnp.broadcast_to(number, (n_samples, *x.shape)))

    with pytest.raises(ArgumentError, match="other draws with the same key: it must be a pure function"):
        check_infiller(Counting(), X, key=KEY)


def test_what_is_no_infiller_and_bad_examples_are_named():
    with pytest.raises(ArgumentError, match=r"lacks conditional, leaks, sample; .*NumpyInfiller\(f\)"):
        check_infiller(lambda x: x, X, key=KEY)
    for x, message in [
        (X[0], "x needs a leading axis"),
        (X.astype(np.int32), r"floating-point numbers.*int32.*astype\(np.float32\) / 255"),
        (np.full((2, 2), np.nan, np.float32), r"x must be finite, but x\[0, 0\] is nan"),
    ]:
        with pytest.raises(ArgumentError, match=message):
            check_infiller(Constant(0.0), x, key=KEY)
