"""A problem on two levels: training with hyperparameters, validation without."""

import inspect
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

from backthrough.core import ArgumentError, PRNGKey, PyTree, Scalar
from backthrough.hyper.space import BoundSpace, HyperSpace

Coordinates = Float[Array, " hyper"]
Weights = Float[Array, " weight"]
PROBE = 0.5  # of a unit of u


class Problem:
    """Two losses over one pytree of parameters, and the space of what the first depends on beside them.

    lambda* = argmin L_V(w*(lambda)), where w*(lambda) = argmin over w of L_T(w, lambda) is the best response.
    Inside, weights and hyperparameters are flat vectors w and u.

    Args:
        train_loss: L_T: `train_loss(params, hyper)`, or with the batch as a third argument if batches are
            given to whoever trains; `hyper` is the dict of `BoundSpace.values`. With `key` among its
            arguments it gets one. It may close over anything.
        valid_loss: L_V: `valid_loss(params)`, or with a batch; without hyperparameters, without penalties.
        params: Any pytree with the weights to train, at their start: an Equinox module, a dict, an array.
        space: The hyperparameters.

    Attributes:
        space: Laid onto the parameters.
        n_weights: D, the number of weights.

    Raises:
        ArgumentError: if a loss is no function, or the space does not fit the parameters.
    """

    def __init__(
        self,
        train_loss: Any,
        valid_loss: Any,
        params: PyTree,
        space: Any,
    ):
        for name, function in (("train_loss", train_loss), ("valid_loss", valid_loss)):
            if not callable(function):
                raise ArgumentError(f"{name} must be a function, got {function!r}")
        if not isinstance(space, HyperSpace):
            raise ArgumentError(f"space must be a HyperSpace, got {space!r}")
        self._train_loss, self._valid_loss = _Loss("train_loss", train_loss), _Loss("valid_loss", valid_loss)
        self.space: BoundSpace = space.bind(params)
        arrays, self._static = eqx.partition(params, eqx.is_inexact_array)
        flat, unravel = ravel_pytree(arrays)
        self._unravel = lambda w: unravel(w.astype(flat.dtype))  # weights of fewer bits are moved in float32
        self.initial_weights: Weights = flat.astype(jnp.promote_types(flat.dtype, jnp.float32))
        self.n_weights = flat.size

    def params(self, w: Weights) -> PyTree:
        """The pytree of parameters that the flat vector of weights stands for."""
        return eqx.combine(self._unravel(w), self._static)

    def flat(self, params: PyTree) -> Weights:
        """The flat vector of a pytree of parameters."""
        return ravel_pytree(eqx.filter(params, eqx.is_inexact_array))[0].astype(self.initial_weights.dtype)

    def train_loss(self, w: Weights, u: Coordinates, batch: PyTree, *, key: PRNGKey) -> Scalar:
        """L_T(w, lambda) on a batch (None without batches)."""
        return self._train_loss((self.params(w), self.space.values(u)), batch, key)

    def valid_loss(self, w: Weights, batch: PyTree, *, key: PRNGKey) -> Scalar:
        """L_V(w) on a batch (None without batches)."""
        return self._valid_loss((self.params(w),), batch, key)

    def check(self, train_batch: PyTree, valid_batch: PyTree, *, key: PRNGKey, acts_through: str) -> None:
        """Refuses, before anything is trained, what would go wrong silently.

        Args:
            train_batch: A batch of the training data, or None.
            valid_batch: A batch of the validation data, or None.
            key: For the losses.
            acts_through: What each hyperparameter must change, see `Engine`.

        Raises:
            ArgumentError: if a loss is no finite number at the start, or a hyperparameter has no influence.
        """
        w, u = self.initial_weights, self.space.initial
        losses = {
            "train_loss": jax.eval_shape(
                lambda: self._train_loss((self.params(w), self.space.values(u)), train_batch, key)
            ),
            "valid_loss": jax.eval_shape(lambda: self._valid_loss((self.params(w),), valid_batch, key)),
        }
        for name, shape in losses.items():
            if getattr(shape, "shape", None) != () or not jnp.issubdtype(shape.dtype, jnp.floating):
                raise ArgumentError(
                    f"{name} must return one number, got {shape.dtype} of shape {shape.shape}"
                )
        # Weights that are all zero hide every penalty: look a little beside them.
        w = w + 0.01 * jax.random.normal(key, w.shape, w.dtype)

        @jax.jit
        def at(w: Weights, u: Coordinates) -> Any:  # with w inside, XLA would compute much of it beforehand
            return jax.value_and_grad(lambda w: self.train_loss(w, u, train_batch, key=key))(w)

        first, first_gradient = at(w, u)
        valid = jax.jit(lambda w: self.valid_loss(w, valid_batch, key=key))(w)
        for name, value in (("train_loss", first), ("valid_loss", valid)):
            if not np.isfinite(value):
                raise ArgumentError(
                    f"{name} is {float(value)} at the initial parameters: are the data empty, or not finite?"
                )
        if acts_through == "training":
            return
        paths = acts_through == "derivative"
        direction = jax.random.normal(jax.random.fold_in(key, 1), w.shape, w.dtype)
        felt = jax.jit(jax.grad(lambda u, w: jnp.vdot(at(w, u)[1], direction)))(u, w) if paths else u
        _, high = self.space.box
        for name, part in self.space.parts.items():
            own = slice(part.start, part.start + part.size)
            up = jnp.where(u + PROBE <= jnp.asarray(high), u + PROBE, u - PROBE)
            moved = self.space.clip(u.at[own].set(up[own]))
            value, gradient = at(w, moved)
            if value == first and bool(jnp.all(gradient == first_gradient)):
                raise ArgumentError(
                    f"{name} does not change the training loss. If it belongs to the optimiser (a learning "
                    "rate, a momentum), nothing but Unroll(learning_rate=lambda hyper: ...) can tune it"
                )
            if paths and not bool(jnp.any(felt[own] != 0)):
                raise ArgumentError(
                    f"the training loss has no derivative by {name} that the weights feel (a sampled mask, a "
                    "rounded value): implicit differentiation and unrolling see nothing of it; a "
                    "hypernetwork (LocalHypernet) does"
                )


class _Loss:
    """A loss of the user, called with what it asks for."""

    def __init__(self, name: str, function: Callable[..., Any]):
        self._name, self._function = name, function
        try:
            parameters = inspect.signature(function).parameters.values()
        except (TypeError, ValueError):  # written in C
            parameters = []
        self._takes_key = any(own.name == "key" for own in parameters)

    def __call__(self, arguments: tuple[Any, ...], batch: PyTree, key: PRNGKey) -> Any:
        batches = () if batch is None else (batch,)
        keys = {"key": key} if self._takes_key else {}
        return self._function(*arguments, *batches, **keys)
