"""Truncated unrolling: through the last steps of training (Shaban et al. 2019)."""

from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import optax

from backthrough.core import PRNGKey, PyTree, Scalar, check_integer
from backthrough.hyper.engines.descent import RateOfHyper, check_rate, falling, is_of_hyper
from backthrough.hyper.engines.engine import Found, Order, Path, Place
from backthrough.hyper.engines.implicit import Trained
from backthrough.hyper.problem import Coordinates, Problem, Weights

EPS_ROOT = 1e-16  # inside Adam's root: at a gradient of 0 the root has no derivative


@dataclass(frozen=True)
class Unroll:
    """Trains plain weights for `train_steps` steps, and differentiates through them.

    ```
    loop:  x_1 .. x_k ~ training data, x' ~ validation data
           w_i = w_(i-1) - a grad_w L_T(w_(i-1), u; x_i),   i = 1 .. k
           u -= b d_u L_V(w_k(u); x')
           w_0 = w_k
    ```

    The only engine that can tune what belongs to the optimiser. What u did before the k steps it does not
    see, so it is biased, towards hyperparameters that help soon; memory grows with k (kept small by
    recomputing).

    Args:
        train_steps: k.
        learning_rate: Of the weights: an Optax optimiser, the rate of an Adam that falls along half a cosine,
            or a function of the named values that returns an Optax optimiser: `lambda hyper:
            optax.sgd(hyper["rate"])`.

    Raises:
        ArgumentError: for a setting out of range.
    """

    train_steps: int = 5
    learning_rate: RateOfHyper = 1e-2
    order: Order = field(default="together", init=False, repr=False)

    def __post_init__(self) -> None:
        check_integer("train_steps", self.train_steps, minimum=1)
        if not is_of_hyper(self.learning_rate):
            check_rate("learning_rate", self.learning_rate)

    @property
    def acts_through(self) -> Path:
        """The training, if the optimiser depends on hyperparameters."""
        return "training" if is_of_hyper(self.learning_rate) else "derivative"

    def init(self, problem: Problem, place: Place, *, key: PRNGKey) -> Trained:
        """The initial weights."""
        w = problem.initial_weights
        return Trained(w, self._optimiser(problem, place.u).init(w), jnp.zeros((0,), w.dtype))

    def fit(
        self, problem: Problem, state: Trained, place: Place, batches: PyTree, *, key: PRNGKey
    ) -> tuple[Trained, Scalar]:
        """The second line of the loop."""
        return self._unroll(problem, state, place, place.u, batches, key)

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
        """The second and third line: the weights move, too."""
        train_key, valid_key = jax.random.split(key)

        def loss(u: Coordinates) -> tuple[Scalar, Trained]:
            after, _ = self._unroll(problem, state, place, u, batches, train_key)
            return problem.valid_loss(after.weights, valid_batch, key=valid_key), after

        (value, after), gradient = jax.value_and_grad(loss, has_aux=True)(place.u)
        return after, Found(value, gradient, jnp.zeros_like(place.log_scale), {})

    def weights(self, problem: Problem, state: Trained, u: Coordinates, centre: Coordinates) -> Weights:
        """The weights as trained: those of the centre, whatever u is."""
        return state.weights

    def _optimiser(self, problem: Problem, u: Coordinates) -> optax.GradientTransformation:
        if isinstance(self.learning_rate, optax.GradientTransformation):
            return self.learning_rate
        rate: Any = self.learning_rate
        if is_of_hyper(rate):
            return rate(problem.space.values(u))
        return optax.adam(rate, eps_root=EPS_ROOT)

    def _unroll(
        self,
        problem: Problem,
        state: Trained,
        place: Place,
        u: Coordinates,
        batches: PyTree,
        key: PRNGKey,
    ) -> tuple[Trained, Scalar]:
        """The state after k steps, as a function of u."""
        rate: Any = self.learning_rate
        scale = 1.0 if is_of_hyper(rate) else falling(rate, place.progress)

        @jax.checkpoint
        def body(state: Trained, inputs: tuple[PyTree, PRNGKey]) -> tuple[Trained, Scalar]:
            batch, key = inputs
            value, gradient = jax.value_and_grad(lambda w: problem.train_loss(w, u, batch, key=key))(
                state.weights
            )
            updates, optimiser = self._optimiser(problem, u).update(gradient, state.optimiser, state.weights)
            w = state.weights + scale * jnp.asarray(updates)
            return Trained(w, optimiser, state.memory), value

        state, losses = jax.lax.scan(body, state, (batches, jax.random.split(key, self.train_steps)))
        return state, losses.mean()
