"""The door to every method: data that are refused, the same bits again, a stop and a resume."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from backthrough.core import ArgumentError, DataError
from backthrough.natgrad import Categorical, Draws, Gaussian, NoisyAdam, NoisyKFAC, fit_weights
from backthrough.natgrad.blocks import leaves_of
from backthrough.train import Run

KEY = jax.random.key(0)
X = np.linspace(-1, 1, 24)[:, None]
Y = np.sin(3 * X[:, 0])


def network(n_out=1):
    return eqx.nn.MLP(1, n_out, 6, 1, activation=jnp.tanh, key=KEY)


def fitted(**options):
    defaults = {"method": NoisyKFAC(n_samples=2), "n_epochs": 3, "batch_size": 8, "key": KEY}
    return fit_weights(network(), Gaussian(), X, Y, **{**defaults, **options})


def same(a, b):
    a, b = (leaves_of(own.weights.sample(key=KEY)) for own in (a, b))
    return all(np.array_equal(own, b[path]) for path, own in a.items())


def test_the_same_key_gives_the_same_bits_and_a_resumed_run_too(tmp_path):
    first = fitted()
    assert same(first, fitted())
    assert not same(first, fitted(key=jax.random.key(1)))
    run = Run(tmp_path / "run", config={})
    assert same(first, fitted(run=run))
    assert same(first, fitted(run=Run(tmp_path / "run", config={}, resume=True)))


@pytest.mark.slow
def test_shards_agree_on_one_state(tmp_path):
    """Each shard draws weights of its own; statistics, gradients and noise are their means."""
    found = fitted(run=Run(tmp_path, config={}, shards=2))
    assert np.isfinite(found.weights.kl())
    assert not same(found, fitted())


@pytest.mark.slow
def test_it_learns_a_sine_and_knows_where_it_has_no_data():
    found = fitted(method=NoisyKFAC(learning_rate=0.03), n_epochs=300)
    p = found.predict(jnp.asarray(X, jnp.float32), key=KEY)
    assert float(jnp.sqrt(jnp.mean((p.mean[:, 0] - Y) ** 2))) < 0.4  # the targets' deviation is .7
    away = found.predict(jnp.array([[4.0]]), key=KEY)
    assert float(away.epistemic[0, 0]) > 2 * float(p.epistemic.mean())


@pytest.mark.slow
def test_classes_are_learned():
    y = (X[:, 0] > 0).astype(int)
    found = fit_weights(
        network(2),
        Categorical(2),
        X,
        y,
        method=NoisyAdam(learning_rate=0.1),
        n_epochs=100,
        batch_size=8,
        key=KEY,
    )
    p = found.predict(jnp.asarray(X, jnp.float32), key=KEY)
    assert float(jnp.mean(jnp.argmax(p.mean, axis=1) == y)) > 0.9


@pytest.mark.slow
def test_predictions_do_not_depend_on_other_rows_or_on_their_number(monkeypatch):
    found = fitted()
    x = jnp.asarray(X, jnp.float32)
    whole = found.predict(x, n_samples=3, key=KEY)
    part = found.predict(x[5:7], n_samples=3, key=KEY)
    np.testing.assert_allclose(part.means, whole.means[:, 5:7], rtol=1e-5, atol=1e-6)
    monkeypatch.setattr("backthrough.natgrad.fitted.ROWS_AT_ONCE", 10)
    jax.clear_caches()
    np.testing.assert_allclose(
        found.predict(x, n_samples=3, key=KEY).means, whole.means, rtol=1e-5, atol=1e-6
    )


def test_a_finite_number_of_draws_is_used_whole_or_thinned():
    models = eqx.filter_vmap(lambda key: eqx.nn.MLP(1, 1, 2, 1, key=key))(jax.random.split(KEY, 9))
    draws = Draws(models, jnp.arange(9.0)[:, None] + 1, Gaussian())
    assert draws.n_draws == 9
    assert draws.predict(jnp.zeros((4, 1))).means.shape == (9, 4, 1)
    np.testing.assert_allclose(draws.draws(3)[1][:, 0], [1, 5, 9])


BAD = {
    "NaN in x": ({"x": np.where(X > 0.9, np.nan, X)}, DataError, "column 0 of row 22 of x is nan"),
    "text": ({"x": np.array([["a"]] * 24)}, DataError, "x must be numbers"),
    "no rows": ({"x": X[:0], "y": Y[:0]}, DataError, "at least one example"),
    "other lengths": ({"y": Y[:5]}, ArgumentError, "24 examples in x and 5 targets"),
    "wide y": ({"y": np.stack([Y, Y], 1)}, ArgumentError, r"shape \(row, 1\), got \(24, 2\)"),
    "outputs": ({"model": network(2)}, ArgumentError, "the model must give 1 outputs"),
    "no weights": ({"model": eqx.nn.Lambda(jnp.tanh)}, ArgumentError, "no weights to fit"),
    "prior_var": ({"prior_var": 0.0}, ArgumentError, "prior_var must be finite and greater than zero"),
    "kl_weight": ({"kl_weight": -1.0}, ArgumentError, "kl_weight must be finite"),
    "n_epochs": ({"n_epochs": 0}, ArgumentError, "n_epochs must be at least 1"),
    "learning_rate": (
        {"method": NoisyKFAC(learning_rate=-1.0)},
        ArgumentError,
        "learning_rate must be finite and greater than zero",
    ),
    "n_samples": ({"method": NoisyKFAC(n_samples=0)}, ArgumentError, "n_samples must be at least 1"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_refused(name):
    change, error, message = BAD[name]
    given = {"model": network(), "x": X, "y": Y, "method": NoisyKFAC(), **change}
    model, x, y = (given.pop(part) for part in ("model", "x", "y"))
    with pytest.raises(error, match=message):
        fit_weights(model, Gaussian(), x, y, key=KEY, **given)


@pytest.mark.slow
def test_integers_are_numbers_and_a_batch_is_never_larger_than_the_data():
    found = fit_weights(
        network(),
        Gaussian(),
        np.arange(3)[:, None],
        [1, 2, 4],
        method=NoisyKFAC(n_samples=1),
        n_epochs=1,
        key=KEY,
    )
    assert found.predict(jnp.ones((2, 1)), n_samples=1, key=KEY).mean.shape == (2, 1)
