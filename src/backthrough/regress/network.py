"""The network behind regressor and classifier: its sizes, how it is fitted, and draws of it as arrays."""

from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from backthrough import natgrad
from backthrough.core import ArgumentError, PRNGKey, check_choice, check_integer, check_positive
from backthrough.natgrad import fit_weights
from backthrough.natgrad.fitted import call_model, outputs_of
from backthrough.train import Run, arrays_of, with_arrays

METHODS = {
    "noisy-kfac": "NoisyKFAC",
    "noisy-ekfac": "NoisyEKFAC",
    "noisy-adam": "NoisyAdam",
    "noisy-full": "NoisyFull",
    "bayes-by-backprop": "BayesByBackprop",
    "mc-dropout": "MCDropout",
    "deep-ensemble": "DeepEnsemble",
    "map": "MAP",
}
"""Names that `method` may have, each with the class of `backthrough.natgrad` that it stands for."""

STEPS, FEWEST_EPOCHS, MOST_EPOCHS = 20_000, 10, 1_000
SMALLEST_BATCH, USUAL_BATCH, LARGEST_BATCH = 10, 100, 512
CHUNK = 512  # rows predicted together, always so many: a prediction depends on its own row alone


class Network(eqx.Module):
    """Linear layers with rectifiers between them.

    Attributes:
        layers: From the features to the outputs.
    """

    layers: tuple[eqx.nn.Linear, ...]

    def __init__(self, n_features: int, hidden_sizes: Sequence[int], n_outputs: int, *, key: PRNGKey):
        sizes = [n_features, *hidden_sizes, n_outputs]
        keys = jax.random.split(key, len(sizes) - 1)
        self.layers = tuple(
            eqx.nn.Linear(n_in, n_out, key=own)
            for n_in, n_out, own in zip(sizes[:-1], sizes[1:], keys, strict=True)
        )

    def __call__(self, x: Float[Array, "feature"]) -> Float[Array, "output"]:
        """The outputs for one example."""
        for layer in self.layers[:-1]:
            x = jax.nn.relu(layer(x))
        return self.layers[-1](x)


def default_batch_size(n_rows: int) -> int:
    """A 50th of the rows, at least 10 and at most 100; of many rows a 500th, at most 512."""
    return max(SMALLEST_BATCH, min(n_rows // 50, USUAL_BATCH), min(n_rows // 500, LARGEST_BATCH))


def default_n_epochs(n_rows: int, batch_size: int) -> int:
    """As many as make 20,000 steps, at most 1,000 and at least 10."""
    return min(max(round(STEPS * batch_size / n_rows), FEWEST_EPOCHS), MOST_EPOCHS)


def chosen_sizes(settings: Any, n_rows: int) -> tuple[int, int]:
    """Epochs and batch size of an estimator for so many rows: as set, or by default."""
    batch_size = min(settings.batch_size or default_batch_size(n_rows), n_rows)
    return settings.n_epochs or default_n_epochs(n_rows, batch_size), batch_size


def check_settings(settings: Any) -> None:
    """Refuses wrong settings of an estimator.

    Raises:
        ArgumentError: naming the setting.
    """
    sizes = settings.hidden_sizes
    if not isinstance(sizes, Sequence) or isinstance(sizes, str):
        raise ArgumentError(f"hidden_sizes must be whole numbers such as (50,), got {sizes!r}")
    for size in sizes:
        check_integer("hidden_sizes", size, minimum=1)
    for name in ("prior_var", "kl_weight"):
        check_positive(name, getattr(settings, name))
    check_integer("n_samples", settings.n_samples, minimum=1)
    for name in ("n_epochs", "batch_size"):
        if getattr(settings, name) is not None:
            check_integer(name, getattr(settings, name), minimum=1)
    if settings.learning_rate is not None:
        check_positive("learning_rate", settings.learning_rate)
    if isinstance(settings.method, str):
        check_choice("method", settings.method, METHODS)
    elif settings.learning_rate is not None:
        raise ArgumentError(f"learning_rate stands beside a method by name; give it to {settings.method!r}")


def method_of(settings: Any, make: Callable[[PRNGKey], Network]) -> Any:
    """The method of an estimator: an object, or what its name stands for; `make` gives untrained networks."""
    if not isinstance(settings.method, str):
        return settings.method
    own = {} if settings.learning_rate is None else {"learning_rate": settings.learning_rate}
    own |= {"make": make} if settings.method == "deep-ensemble" else {}
    return getattr(natgrad, METHODS[settings.method])(**own)


def fit_network(
    x: Float[np.ndarray, "row feature"],
    y: np.ndarray,
    likelihood: natgrad.Likelihood,
    settings: Any,
    *,
    seed: int,
    run: Run | None,
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Fits a network by the settings of an estimator.

    Args:
        x: Standardised features.
        y: Targets as the likelihood takes them.
        likelihood: What the outputs say of a target.
        settings: The estimator, with its parameters as attributes.
        seed: Determines everything.
        run: Where metrics and checkpoints go.

    Returns:
        The arrays of the networks drawn, and of the likelihood's parameters, with a leading axis of draws.
    """
    init_key, fit_key, draw_key = jax.random.split(jax.random.key(seed), 3)
    n_epochs, batch_size = chosen_sizes(settings, len(x))

    def make(key: PRNGKey) -> Network:
        return Network(x.shape[1], settings.hidden_sizes, likelihood.n_outputs, key=key)

    found = fit_weights(
        make(init_key),
        likelihood,
        x,
        y,
        method=method_of(settings, make),
        key=fit_key,
        prior_var=settings.prior_var,
        kl_weight=settings.kl_weight,
        n_epochs=n_epochs,
        batch_size=batch_size,
        batch_seed=seed,
        run=run,
    )
    models, parameters = found.draws(settings.n_samples, key=draw_key)
    return arrays_of(models), arrays_of(parameters)


def outputs_in_chunks(weights: Sequence[np.ndarray], x: Float[np.ndarray, "row feature"]) -> Any:
    """The outputs of all networks drawn, chunk by chunk of rows: (row numbers, outputs) pairs.

    Args:
        weights: The arrays of the networks, weight and bias of each layer, with a leading axis of draws.
        x: Standardised features.

    Yields:
        The rows as a slice, and outputs of shape (draw, `CHUNK`, output), of which the first are those rows'.
    """
    shapes = [array.shape for array in weights[::2]]
    hidden, n_outputs = [shape[1] for shape in shapes[:-1]], shapes[-1][1]
    models = with_arrays(lambda key: Network(shapes[0][2], hidden, n_outputs, key=key), weights)
    for start in range(0, len(x), CHUNK):
        part = x[start : start + CHUNK]
        filled = np.concatenate([part, np.zeros((CHUNK - len(part), x.shape[1]))])
        yield slice(start, start + len(part)), outputs_of(models, jnp.asarray(filled), call_model)
