"""`fit_weights`: one door to every way of finding a distribution over weights."""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, runtime_checkable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from backthrough.core import (
    ArgumentError,
    DataError,
    PRNGKey,
    PyTree,
    check_integer,
    check_key,
    check_positive,
)
from backthrough.natgrad.fitted import Apply, Draws, Fitted, call_model
from backthrough.natgrad.likelihoods import Likelihood
from backthrough.train import Batches, Run, fit


class Problem(NamedTuple):
    """What is to be fitted, apart from the data.

    Attributes:
        model: A network, whose floating-point arrays are the weights.
        likelihood: What its outputs say of a target.
        apply: `apply(model, x)` gives the outputs for one example.
        n_data: Examples in the whole data set.
        prior_var: Variance of the weights' Gaussian prior around 0.
        kl_weight: Weight of the KL divergence; 1 for the ELBO.
        example: One example.
    """

    model: Any
    likelihood: Likelihood
    apply: Apply
    n_data: int
    prior_var: float
    kl_weight: float
    example: Array


class Training(NamedTuple):
    """How a method trains, in pure functions, so that many copies can be trained at once by vmap.

    Attributes:
        init: `init(model, *, key)` gives the state to start from.
        step: `step(state, batch, *, key)` gives the next state and a dict of scalars; a batch is (x, y).
        finish: `finish(state)` gives what was found.
    """

    init: Callable[..., PyTree]
    step: Callable[..., tuple[PyTree, dict[str, Array]]]
    finish: Callable[[PyTree], Fitted | Draws]


@runtime_checkable
class MinibatchMethod(Protocol):
    """A method that trains on minibatches."""

    def training(self, problem: Problem, n_steps: int) -> Training:
        """How it trains for `n_steps` steps."""
        ...


@runtime_checkable
class WholeDataMethod(Protocol):
    """A method that sees all data at every step, such as a Markov chain."""

    def draws(self, problem: Problem, x: Array, y: Array, *, key: PRNGKey) -> Draws:
        """What it finds."""
        ...


def fit_weights(
    model: Any,
    likelihood: Likelihood,
    x: Any,
    y: Any,
    *,
    method: MinibatchMethod | WholeDataMethod,
    key: PRNGKey,
    prior_var: float = 1.0,
    kl_weight: float = 1.0,
    n_epochs: int = 100,
    batch_size: int = 32,
    batch_seed: int = 0,
    apply: Apply = call_model,
    run: Run | None = None,
    label: str = "training",
) -> Fitted | Draws:
    """Finds a distribution over the weights of a network.

    Args:
        model: A network for one example; its floating-point arrays are the weights, and the start.
        likelihood: `Gaussian`, `Bernoulli` or `Categorical`.
        x: Examples, shape (row, ...).
        y: Targets, a row for each.
        method: Such as `NoisyKFAC()`, `BayesByBackprop()` or `NUTS()`.
        key: Determines every draw.
        prior_var: Variance of the weights' Gaussian prior around 0.
        kl_weight: Weight of the KL divergence; 1 for the ELBO, less for a "cold" posterior.
        n_epochs: Passes over the data; of no meaning for a Markov chain.
        batch_size: Examples in a minibatch, at most; no more than there are.
        batch_seed: Determines the order of the examples.
        apply: `apply(model, x)` gives the outputs for one example.
        run: Where metrics and checkpoints go; with one, training can be stopped and resumed.
        label: Shown beside the progress bar.

    Returns:
        What was found; `.predict(x, key=key)` gives the predictive distribution.

    Raises:
        ArgumentError: for a wrong setting or shape, or a network without weights.
        DataError: for examples or targets that are not finite, naming row and column.
        DivergenceError: if a number becomes NaN or infinite in training.
    """
    check_key(key)
    n_epochs = check_integer("n_epochs", n_epochs, minimum=1)
    batch_size = check_integer("batch_size", batch_size, minimum=1)
    x, y = checked_data(model, likelihood, x, y, apply=apply)
    problem = Problem(
        model,
        likelihood,
        apply,
        len(x),
        check_positive("prior_var", prior_var),
        check_positive("kl_weight", kl_weight),
        jnp.asarray(x[0]),
    )
    if isinstance(method, type):
        raise ArgumentError(f"method must be an object: {method.__name__}(), with its settings")
    if isinstance(method, WholeDataMethod):
        return method.draws(problem, jnp.asarray(x), jnp.asarray(y), key=key)
    if not isinstance(method, MinibatchMethod):
        raise ArgumentError(f"method must be one such as NoisyKFAC(), got {method!r}")
    batches = Batches((x, y), min(batch_size, len(x)), seed=batch_seed)
    n_steps = max(1, round(n_epochs * len(x) / batches.batch_size))
    training = method.training(problem, n_steps)
    init_key, fit_key = jax.random.split(key)
    state = training.init(model, key=init_key)
    fitted = fit(training.step, state, batches, n_steps=n_steps, key=fit_key, run=run, label=label)
    return training.finish(fitted.state)


def checked_data(
    model: Any, likelihood: Likelihood, x: Any, y: Any, *, apply: Apply = call_model
) -> tuple[np.ndarray, np.ndarray]:
    """Examples and targets as floats (or classes), if they fit the network and each other.

    Raises:
        ArgumentError: for a wrong shape, or a network without weights.
        DataError: for examples or targets that are not finite, naming row and column.
    """
    x, y = np.asarray(x), likelihood.check_targets(y)
    if x.dtype.kind not in "biufV":
        raise DataError(f"x must be numbers, got {x.dtype}")
    if x.ndim < 1 or len(x) == 0:
        raise DataError(f"x needs at least one example, got shape {x.shape}")
    if len(x) != len(y):
        raise ArgumentError(f"there are {len(x)} examples in x and {len(y)} targets in y")
    x = x.astype(jnp.result_type(float))
    bad = ~np.isfinite(x)
    if bad.any():
        index = tuple(int(i) for i in np.argwhere(bad)[0])
        where = f"column {index[1]} of row {index[0]}" if x.ndim == 2 else f"entry {index}"
        raise DataError(f"{where} of x is {x[index]}; examples must be finite numbers")
    if not jax.tree_util.tree_leaves(eqx.filter(model, eqx.is_inexact_array)):
        raise ArgumentError("the model has no floating-point arrays: there are no weights to fit")
    found = eqx.filter_eval_shape(apply, model, jax.ShapeDtypeStruct(x.shape[1:], x.dtype))
    if getattr(found, "shape", None) != (likelihood.n_outputs,):
        raise ArgumentError(
            f"the model must give {likelihood.n_outputs} outputs for an example, of shape "
            f"({likelihood.n_outputs},); it gives {found}"
        )
    y = y.astype(jnp.result_type(float)) if y.dtype.kind == "f" else y
    return x, y
