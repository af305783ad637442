"""The local hypernetwork (Lorraine and Duvenaud 2018, Algorithm 3), with the scale of MacKay et al. 2019."""

from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
from jax.lax import stop_gradient

from backthrough.core import ArgumentError, PRNGKey, PyTree, Scalar, check_integer, check_positive
from backthrough.hyper.engines.descent import Rate, check_rate
from backthrough.hyper.engines.engine import Found, Order, Path, Place
from backthrough.hyper.engines.hypernet import (
    Hypernet,
    check_response,
    start,
    through_response,
    train_response,
)
from backthrough.hyper.problem import Coordinates, Problem, Weights
from backthrough.hyper.responses import CentredLinear, Response


@dataclass(frozen=True)
class LocalHypernet:
    """Learns the best response around where the hyperparameters stand, and moves them, in turns.

    ```
    loop:  x ~ training data, u ~ N(u^, scale^2)
           phi -= a grad_phi L_T(w_phi(u), u; x)
           x' ~ validation data
           u^ -= b grad_u L_V(w_phi(u^); x')
    return u^, w_phi(u^)
    ```

    Samples come in pairs on both sides of u^, so that what is learned at u^ itself is not biased to first
    order.

    Args:
        response: w_phi: `CentredLinear()` up to about a hundred hyperparameters, `Elementwise()` for one a
            weight.
        learning_rate: Of phi: an Optax optimiser, or the rate of an Adam that falls along half a cosine.
        n_samples: Hyperparameters drawn in each training step; even.
        train_steps: Training steps before each step of the hyperparameters.
        entropy: None keeps the scale. A weight, 1e-5 to 1e-3, makes it follow L_V(w_phi(u)) - entropy *
            sum(log scale), u drawn as in training (MacKay et al. 2019, eq. 12): wide where the validation
            loss bears it.

    Raises:
        ArgumentError: for a setting out of range.
    """

    response: Response = field(default_factory=CentredLinear)
    learning_rate: Rate = 1e-2
    n_samples: int = 2
    train_steps: int = 1
    entropy: float | None = None
    order: Order = field(default="turns", init=False, repr=False)
    acts_through: Path = field(default="loss", init=False, repr=False)

    def __post_init__(self) -> None:
        check_response(self.response)
        check_rate("learning_rate", self.learning_rate)
        check_integer("train_steps", self.train_steps, minimum=1)
        if check_integer("n_samples", self.n_samples, minimum=2) % 2:
            raise ArgumentError(f"n_samples must be even, samples come in pairs, got {self.n_samples}")
        if self.entropy is not None:
            check_positive("entropy", self.entropy)

    def init(self, problem: Problem, place: Place, *, key: PRNGKey) -> Hypernet:
        """phi before the first step."""
        return start(self.response, self.learning_rate, problem, key=key)

    def fit(
        self, problem: Problem, state: Hypernet, place: Place, batches: PyTree, *, key: PRNGKey
    ) -> tuple[Hypernet, Scalar]:
        """The first two lines of the loop, `train_steps` times."""

        def body(state: Hypernet, inputs: tuple[PyTree, PRNGKey]) -> tuple[Hypernet, Scalar]:
            batch, key = inputs
            draw_key, loss_key = jax.random.split(key)
            us = self._draw(problem, place, draw_key)
            half = jax.random.split(loss_key, self.n_samples // 2)  # a pair sees the same noise
            keys = jnp.concatenate([half, half])
            return train_response(self.learning_rate, problem, state, us, place, batch, keys=keys)

        state, losses = jax.lax.scan(body, state, (batches, jax.random.split(key, self.train_steps)))
        return state, losses.mean()

    def hypergradient(
        self,
        problem: Problem,
        state: Hypernet,
        place: Place,
        batches: PyTree,
        valid_batch: PyTree,
        *,
        key: PRNGKey,
    ) -> tuple[Hypernet, Found]:
        """The gradient of the last two lines."""
        if self.entropy is None:
            return state, through_response(problem, state, place, valid_batch, key=key)
        centre, entropy = stop_gradient(place.u), self.entropy
        draw_key, loss_key = jax.random.split(key)

        def loss(place: Place) -> tuple[Scalar, Scalar]:
            us = self._draw(problem, place, draw_key)
            each = jax.vmap(
                lambda u: problem.valid_loss(state.response(u, centre), valid_batch, key=loss_key)
            )(us)
            value = jnp.mean(each)
            return value - entropy * jnp.sum(place.log_scale), value

        (_, value), gradient = jax.value_and_grad(loss, has_aux=True)(place)
        return state, Found(value, gradient.u, gradient.log_scale, {})

    def weights(self, problem: Problem, state: Hypernet, u: Coordinates, centre: Coordinates) -> Weights:
        """w_phi(u)."""
        return state.response(u, centre)

    def _draw(self, problem: Problem, place: Place, key: PRNGKey) -> jax.Array:
        """Samples around u, those of the second half opposite to those of the first."""
        noise = jax.random.normal(key, (self.n_samples // 2, place.u.size), place.u.dtype)
        noise = jnp.exp(place.log_scale) * noise
        return jax.vmap(problem.space.clip)(place.u + jnp.concatenate([noise, -noise]))
