"""Implicit differentiation of the best response (Lorraine, Vicol and Duvenaud 2020)."""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from backthrough.core import ArgumentError, PRNGKey, PyTree, Scalar, check_integer
from backthrough.hyper.engines.descent import Rate, check_rate, descend, optimiser_of
from backthrough.hyper.engines.engine import Found, Order, Path, Place
from backthrough.hyper.engines.inverses import CG, Inverse
from backthrough.hyper.problem import Coordinates, Problem, Weights

CURVATURE = "curvature along the solution (not positive: the Hessian is indefinite here, raise the damping)"


class Trained(NamedTuple):
    """Weights in training.

    Attributes:
        weights: w, flat.
        optimiser: State of their optimiser.
        memory: What the inverse remembers.
    """

    weights: Weights
    optimiser: Any
    memory: Weights


@dataclass(frozen=True)
class Implicit:
    """Trains plain weights, and differentiates the condition that holds where training ends.

    ```
    loop:  x ~ training data, x' ~ validation data
           w -= a grad_w L_T(w, u; x)                               `train_steps` times
           u -= b (d_u L_V - d_u d_w L_T  H^-1  d_w L_V),           H = d_w d_w L_T
    ```

    Exact where w is the best response and H its Hessian; before, it is the gradient of a problem nearby. It
    has the memory of one training step, however long the training.

    Args:
        inverse: How H^-1 is applied.
        learning_rate: Of the weights: an Optax optimiser, or the rate of an Adam that falls along half a
            cosine.
        train_steps: Training steps before each step of the hyperparameters.

    Raises:
        ArgumentError: for a setting out of range.
    """

    inverse: Inverse = field(default_factory=CG)
    learning_rate: Rate = 1e-2
    train_steps: int = 1
    order: Order = field(default="turns", init=False, repr=False)
    acts_through: Path = field(default="derivative", init=False, repr=False)

    def __post_init__(self) -> None:
        if isinstance(self.inverse, type) or not isinstance(self.inverse, Inverse):
            raise ArgumentError(f"inverse must be CG(), Neumann() or Direct(), got {self.inverse!r}")
        check_rate("learning_rate", self.learning_rate)
        check_integer("train_steps", self.train_steps, minimum=1)

    def init(self, problem: Problem, place: Place, *, key: PRNGKey) -> Trained:
        """The initial weights."""
        w = problem.initial_weights
        return Trained(w, optimiser_of(self.learning_rate).init(w), self.inverse.start(w))

    def fit(
        self, problem: Problem, state: Trained, place: Place, batches: PyTree, *, key: PRNGKey
    ) -> tuple[Trained, Scalar]:
        """The second line of the loop."""

        def body(state: Trained, inputs: tuple[PyTree, PRNGKey]) -> tuple[Trained, Scalar]:
            batch, key = inputs
            w, optimiser, value = descend(
                self.learning_rate,
                lambda w: problem.train_loss(w, place.u, batch, key=key),
                state.weights,
                state.optimiser,
                place.progress,
            )
            return Trained(w, optimiser, state.memory), value

        state, losses = jax.lax.scan(body, state, (batches, jax.random.split(key, self.train_steps)))
        return state, losses.mean()

    def hypergradient(
        self,
        problem: Problem,
        state: Trained,
        place: Place,
        batches: PyTree,
        valid_batch: PyTree,
        *,
        key: PRNGKey,
    ) -> tuple[Trained, Found]:
        """The gradient in the third line, H on the last of the training batches."""
        train_key, valid_key = jax.random.split(key)
        batch = jax.tree_util.tree_map(lambda array: array[-1], batches)
        w = state.weights

        def gradient(w: Weights, u: Coordinates) -> Weights:
            return jax.grad(lambda w: problem.train_loss(w, u, batch, key=train_key))(w)

        _, hessian = jax.linearize(lambda w: gradient(w, place.u), w)

        def product(v: Weights) -> Weights:
            return hessian(v) + self.inverse.damping * v

        value, by_w = jax.value_and_grad(lambda w: problem.valid_loss(w, valid_batch, key=valid_key))(w)
        x, memory, metrics = self.inverse.solve(product, by_w, state.memory)
        _, mixed = jax.vjp(lambda u: gradient(w, u), place.u)
        image = product(x)
        curvature = jnp.vdot(x, image)
        norm = jnp.linalg.norm(by_w)
        metrics = {
            **metrics,
            CURVATURE: jnp.where((curvature > 0) | (norm == 0), curvature, jnp.nan),
            "residual": jnp.linalg.norm(image - by_w) / jnp.where(norm > 0, norm, 1.0),
        }
        by_u = -mixed(x)[0]
        return state._replace(memory=memory), Found(value, by_u, jnp.zeros_like(place.log_scale), metrics)

    def weights(self, problem: Problem, state: Trained, u: Coordinates, centre: Coordinates) -> Weights:
        """The weights as trained: those of the centre, whatever u is."""
        return state.weights
