"""Examples with a posterior each, from an encoder or as arrays of their own, checked and ready for chunks."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float

from backthrough.core import ArgumentError, DataError, PRNGKey, PyTree, check_key
from backthrough.latent.bounds import (
    SAMPLES_AT_ONCE,
    check_exact_density,
    check_latent,
    log_weight,
)
from backthrough.latent.checks import check_examples, check_inference_mode
from backthrough.latent.protocols import Data, Encoder, LatentModel, Posterior
from backthrough.train import map_in_chunks, n_examples


class Example(NamedTuple):
    """One example, or many along a leading axis.

    Attributes:
        x: The data.
        arrays: Those of the example's own posterior; None where an encoder makes it.
        key: Typed key.
        z: The exact draw of p(z | x) that x comes with, where it was simulated.
    """

    x: Data
    arrays: PyTree
    key: PRNGKey
    z: Any = None


class Inference(NamedTuple):
    """What turns an example into its posterior, the same for all examples.

    Attributes:
        encoder: Maps x to q(z | x); None where examples have posteriors of their own, or where there is no q.
        rest: What those posteriors are beside their arrays.
    """

    encoder: Encoder | None
    rest: PyTree

    def posterior(self, example: Example) -> Any:
        """q(z | x); None where there is no q."""
        if self.encoder is not None:
            return self.encoder(example.x)
        return None if self.rest is None else eqx.combine(example.arrays, self.rest)


def prepare(
    model: LatentModel, q: Encoder | PyTree | None, x: Data, key: PRNGKey
) -> tuple[Inference, Example]:
    """Checks what can be checked before anything compiles; examples stay on the host.

    Raises:
        ArgumentError: for a wrong key, no examples, more or fewer posteriors than examples, a network in
            training mode, or a latent that is not the model's.
        DataError: if data are not finite or have no likelihood.
    """
    if any(isinstance(leaf, Tracer) for leaf in jax.tree_util.tree_leaves((model, q, x, key))):
        raise ArgumentError(
            "this works through its examples on the host, not under jit, vmap or grad: bound, "
            "local_bound and log_weight can be traced"
        )
    check_key(key)
    for name in ("log_prior", "log_likelihood", "sample_prior"):
        if not hasattr(model, name):
            raise ArgumentError(f"the model needs {name}, and {type(model).__name__} has none")
    n = check_examples(model, x)
    check_inference_mode(model=model, encoder=q)
    inference, arrays = Inference(None, None), None
    if callable(q):
        encoder: Any = q
        inference = Inference(encoder, None)
    elif q is not None:
        arrays, rest = eqx.partition(q, eqx.is_array)
        inference = Inference(None, rest)
        if n_examples("q", arrays) != n:
            raise ArgumentError(
                f"q has posteriors of {n_examples('q', arrays)} examples, and x has {n} examples"
            )
    examples = Example(jax.tree_util.tree_map(np.asarray, x), arrays, jax.random.split(key, n))
    if q is not None:
        _check_vector(model, inference, examples)
    return inference, examples


def over_examples(
    function: Callable[[LatentModel, Inference, Any, Example], PyTree],
    model: LatentModel,
    inference: Inference,
    options: Any,
    examples: Example,
    *,
    label: str,
    at_once: int,
    keep: Path | str | None,
) -> Any:
    """`function(model, inference, options, example)` of every example, as `map_in_chunks` does it.

    What is kept is signed by densities of the first example at fixed draws: other code, fields or global
    constants give other numbers.
    """

    def of_chunk(shared: tuple[LatentModel, Inference, Any], chunk: Example) -> PyTree:
        return jax.vmap(lambda example: function(*shared, example))(chunk)

    def signature() -> list[Any]:
        first = first_of(examples)
        posterior, found = inference.posterior(first), []
        for key in jax.random.split(jax.random.key(0), 3):
            z = model.sample_prior(key=key)
            found += [model.log_prior(z), model.log_likelihood(first.x, z)]
            if posterior is not None:
                z, log_q = posterior.sample_and_log_prob(key=key)
                found += [log_q, model.log_likelihood(first.x, z)]
        return found

    shared = (model, inference, options)
    return map_in_chunks(
        of_chunk, shared, examples, at_once=at_once, label=label, keep=keep, signature=signature
    )


def log_weights(
    model: LatentModel, posterior: Posterior, example: Example, n_samples: int
) -> Float[Array, "sample"]:
    """The logarithms of p(x, z) / q(z | x) of draws of q, at least in single precision."""
    keys = jax.random.split(example.key, n_samples)
    found = jax.lax.map(
        lambda key: log_weight(model, posterior, example.x, key=key), keys, batch_size=SAMPLES_AT_ONCE
    )
    return found.astype(jnp.result_type(found, jnp.float32))


def first_of(examples: Example) -> Example:
    """The first example."""
    return jax.tree_util.tree_map(lambda leaf: jnp.asarray(leaf[0]), examples)


def first_posterior(inference: Inference, examples: Example) -> Posterior:
    """That of the first example."""
    return inference.posterior(first_of(examples))


def check_density(what: str, posterior: Posterior, cure: str) -> None:
    """Refuses a posterior whose density is not known at every z.

    Raises:
        ArgumentError: naming what needs it, and the cure.
    """
    if not hasattr(posterior, "log_prob"):
        raise ArgumentError(
            f"{what} needs the log_prob of q, and {type(posterior).__name__} has none: {cure}"
        )
    check_exact_density(what, posterior)


def check_not_nan(is_nan: np.ndarray) -> None:
    """Refuses a model that gives NaN where q has its mass.

    Raises:
        DataError: naming the first example.
    """
    if is_nan.any():
        raise DataError(
            f"log p(x, z) - log q(z | x) of example {int(np.argmax(is_nan))} is NaN or infinite at draws of "
            "q; look at the model's log_prior and log_likelihood there (where a likelihood of zero is meant, "
            "the ELBO is minus infinity, and importance_log_p can be had)"
        )


def _check_vector(model: LatentModel, inference: Inference, examples: Example) -> None:
    posterior = first_posterior(inference, examples)
    z: Any = eqx.filter_eval_shape(lambda: posterior.sample_and_log_prob(key=jax.random.key(0))[0])
    check_latent(model, z)
    if len(z.shape) != 1 or not jnp.issubdtype(z.dtype, jnp.floating):
        raise ArgumentError(f"z must be a vector of real numbers, got {z.dtype} of shape {z.shape}")
