"""All splits of a table at once: one compiled step trains a network for each."""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from backthrough.core import PRNGKey, PyTree
from backthrough.datasets import Regression
from backthrough.natgrad import Fitted, Likelihood, MinibatchMethod, Problem
from backthrough.natgrad.fitted import call_model
from backthrough.train import Batches, Run, fit, over_seeds

CONSTANT = 1e-8  # spread, relative to the largest value, below which a column is constant


class Splits(NamedTuple):
    """Standardised splits of a table.

    Attributes:
        x_train: Features, by the mean and spread of the training part.
        y_train: Targets, likewise.
        x_test: Features of the test part.
        y_test: Targets of the test part.
        y_mean: Mean of the training targets, in the table's units.
        y_scale: Their standard deviation.
    """

    x_train: Float[np.ndarray, "split train feature"]
    y_train: Float[np.ndarray, "split train 1"]
    x_test: Float[np.ndarray, "split test feature"]
    y_test: Float[np.ndarray, "split test 1"]
    y_mean: Float[np.ndarray, "split"]
    y_scale: Float[np.ndarray, "split"]


def mean_and_spread(
    x: Float[np.ndarray, "row feature"],
) -> tuple[Float[np.ndarray, "feature"], Float[np.ndarray, "feature"]]:
    """Of each column; the spread is infinite where it is constant."""
    spread = x.std(0)
    return x.mean(0), np.where(spread <= CONSTANT * np.abs(x).max(0), np.inf, spread)


def standardised_splits(table: Regression, n_splits: int) -> Splits:
    """The first splits of a table; a constant column becomes 0."""
    parts = []
    for train, test in zip(table.train_index[:n_splits], table.test_index[:n_splits], strict=True):
        x, y = table.x[train], table.y[train]
        mean, spread = mean_and_spread(x)
        y_mean, y_scale = y.mean(), y.std()
        parts.append(
            (
                (x - mean) / spread,
                (y[:, None] - y_mean) / y_scale,
                (table.x[test] - mean) / spread,
                (table.y[test][:, None] - y_mean) / y_scale,
                y_mean,
                y_scale,
            )
        )
    return Splits(*(np.stack(own).astype(jnp.result_type(float)) for own in zip(*parts, strict=True)))


class _State(NamedTuple):
    x: Array
    y: Array
    own: PyTree


def fit_splits(
    make_model: Callable[[PRNGKey], Any],
    likelihood: Likelihood,
    splits: Splits,
    *,
    method: MinibatchMethod,
    n_epochs: int,
    batch_size: int,
    prior_var: float = 1.0,
    kl_weight: float = 1.0,
    key: PRNGKey,
    seed: int = 0,
    run: Run | None = None,
    label: str = "training",
) -> Fitted:
    """What `natgrad.fit_weights` finds for each split, stacked along a leading axis.

    Args:
        make_model: Makes a network from a key.
        likelihood: What the outputs say of a target.
        splits: The data.
        method: How the weights are found.
        n_epochs: Passes over the training rows.
        batch_size: Rows in a minibatch.
        prior_var: Variance of the weights' prior.
        kl_weight: Weight of the KL divergence.
        key: Determines weights and draws.
        seed: Determines the order of rows, a different one for each split.
        run: Where metrics and checkpoints go.
        label: Shown beside the progress bar.
    """
    n_splits, n_train = splits.x_train.shape[:2]
    model_key, init_key, fit_key = jax.random.split(key, 3)
    example = jnp.asarray(splits.x_train[0, 0])
    problem = Problem(make_model(model_key), likelihood, call_model, n_train, prior_var, kl_weight, example)
    n_steps = max(1, round(n_epochs * n_train / batch_size))
    training = method.training(problem, n_steps)

    def init(x: Array, y: Array, key: PRNGKey) -> _State:
        model_key, init_key = jax.random.split(key)
        return _State(x, y, training.init(make_model(model_key), key=init_key))

    def step(state: _State, rows: Array, *, key: PRNGKey) -> tuple[_State, dict[str, Array]]:
        own, metrics = training.step(state.own, (state.x[rows], state.y[rows]), key=key)
        return _State(state.x, state.y, own), metrics

    keys = jax.random.split(init_key, n_splits)
    state = eqx.filter_vmap(init)(jnp.asarray(splits.x_train), jnp.asarray(splits.y_train), keys)
    batches = Batches(np.arange(n_train), batch_size, seed=list(range(seed, seed + n_splits)))
    fitted = fit(
        over_seeds(step, n_splits, own_batches=True),
        state,
        batches,
        n_steps=n_steps,
        key=fit_key,
        run=run,
        label=label,
    )
    return eqx.filter_vmap(lambda state: training.finish(state))(fitted.state.own)


@eqx.filter_jit
def predict_splits(fitted: Any, x: Float[Array, "split row feature"], *, n_samples: int, key: PRNGKey) -> Any:
    """The predictive distribution of each split's rows, stacked along a leading axis."""
    keys = jax.random.split(key, x.shape[0])
    return eqx.filter_vmap(lambda own, x, key: own.predict(x, n_samples=n_samples, key=key))(fitted, x, keys)
