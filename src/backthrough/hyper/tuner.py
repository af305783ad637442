"""One step of tuning as a pure function, and its state: what `tune` runs, and what own loops can run."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from backthrough.core import ArgumentError, PRNGKey, PyTree, Scalar, check_integer, check_key, check_positive
from backthrough.hyper.batches import first_batch
from backthrough.hyper.engines import Engine, Found, Place
from backthrough.hyper.engines.descent import Rate, check_rate, move, optimiser_of
from backthrough.hyper.problem import Coordinates, Problem, Weights

MOST_KEPT = 200  # places of the schedule
MOST_NUMBERS = 4_000_000  # of the schedule, in all


class TuneState(NamedTuple):
    """All that changes while tuning: one pytree.

    Attributes:
        engine: State of the engine.
        u: Coordinates of the hyperparameters.
        log_scale: Logarithm of the standard deviation of the engine's samples around u.
        optimiser: State of the hyperparameters' optimiser.
        step: Steps made.
        schedule: Coordinates after every `schedule_every` steps, and at the start.
    """

    engine: PyTree
    u: Coordinates
    log_scale: Float[Array, " hyper"]
    optimiser: Any
    step: Int[Array, ""]
    schedule: Float[Array, "kept hyper"]


class Tuner:
    """A problem, an engine, and how the hyperparameters move.

    `init` and `step` are pure: they can be jitted, scanned, and mapped over keys with `jax.vmap`.

    Args:
        problem: What is tuned.
        engine: How hypergradients are found.
        n_steps: Steps of the whole run.
        hyper_rate: Of the hyperparameters: the rate of an Adam that falls along half a cosine, in coordinates
            u (see `Real`), or an Optax optimiser.
        warm_up: Steps of training before the hyperparameters begin to move. An engine that trains first
            (`GlobalHypernet`) has two thirds of all steps by default, others a tenth.
        scale: Standard deviation of the engine's samples around u, at the start if the engine learns it.

    Attributes:
        schedule_every: Steps between the places of the schedule.

    Raises:
        ArgumentError: for a setting out of range.
    """

    def __init__(
        self,
        problem: Problem,
        engine: Any,
        *,
        n_steps: int,
        hyper_rate: Rate = 0.02,
        warm_up: int | None = None,
        scale: float = 0.3,
    ):
        if isinstance(engine, type) or not isinstance(engine, Engine):
            raise ArgumentError(f"engine must be an engine such as LocalHypernet(), got {engine!r}")
        check_rate("hyper_rate", hyper_rate)
        self.problem, self.engine, self.hyper_rate = problem, engine, hyper_rate
        self.n_steps = check_integer("n_steps", n_steps, minimum=1)
        if warm_up is None:
            warm_up = 2 * n_steps // 3 if engine.order == "first" else n_steps // 10
        self.warm_up = check_integer("warm_up", warm_up, minimum=0)
        if self.warm_up >= n_steps:
            raise ArgumentError(
                f"warm_up={warm_up} leaves no step of n_steps={n_steps} in which the hyperparameters move"
            )
        if engine.order == "first" and self.warm_up == 0:
            raise ArgumentError(f"{type(engine).__name__} trains in the warm-up alone: it must not be 0")
        self.scale = check_positive("scale", scale)
        most = max(2, min(MOST_KEPT, MOST_NUMBERS // problem.space.size))
        self.schedule_every = -(-n_steps // (most - 1))

    def init(self, *, key: PRNGKey) -> TuneState:
        """The state before the first step.

        Raises:
            ArgumentError: if the engine cannot work with this space.
        """
        check_key(key)
        u = self.problem.space.initial
        log_scale = jnp.full_like(u, jnp.log(self.scale))
        place = Place(u, log_scale, jnp.zeros(()))
        return TuneState(
            self.engine.init(self.problem, place, key=key),
            u,
            log_scale,
            optimiser_of(self.hyper_rate).init((u, log_scale)),
            jnp.zeros((), jnp.int32),
            jnp.tile(u, (1 + self.n_steps // self.schedule_every, 1)),
        )

    def step(
        self, state: TuneState, batch: tuple[PyTree, PyTree], *, key: PRNGKey
    ) -> tuple[TuneState, dict[str, Scalar]]:
        """Trains, and moves the hyperparameters.

        Args:
            state: Where the run stands.
            batch: Training batches, `engine.train_steps` of them along the leading axis, and a validation
                batch; (None, None) for losses without batches.
            key: For samples and for the losses.

        Returns:
            The next state and what there is to watch.
        """
        batches, valid_batch = batch
        problem, engine = self.problem, self.engine
        train_key, valid_key = jax.random.split(key)
        place = self._place(state)
        is_warm_up = state.step < self.warm_up

        def train(inner: PyTree) -> tuple[PyTree, Scalar]:
            return engine.fit(problem, inner, place, batches, key=train_key)

        def only_look(inner: PyTree) -> tuple[PyTree, Scalar]:
            w = engine.weights(problem, inner, place.u, place.u)
            return inner, problem.train_loss(w, place.u, first_batch(batches), key=train_key)

        def find(inner: PyTree) -> tuple[PyTree, Found]:
            return engine.hypergradient(problem, inner, place, batches, valid_batch, key=valid_key)

        def wait(inner: PyTree) -> tuple[PyTree, Found]:
            w = engine.weights(problem, inner, place.u, place.u)
            zeros = jax.tree_util.tree_map(lambda own: jnp.zeros(own.shape, own.dtype), found_shape)
            return inner, zeros._replace(valid_loss=problem.valid_loss(w, valid_batch, key=valid_key))

        trains = {"first": is_warm_up, "turns": jnp.array(True), "together": is_warm_up}[engine.order]
        inner, train_loss = jax.lax.cond(trains, train, only_look, state.engine)
        _, found_shape = jax.eval_shape(find, inner)
        inner, found = jax.lax.cond(is_warm_up, wait, find, inner)

        def keep(_: Found) -> tuple[Coordinates, Coordinates, Any]:
            return state.u, state.log_scale, state.optimiser

        def advance(found: Found) -> tuple[Coordinates, Coordinates, Any]:
            gradient, variables = (found.by_u, found.by_log_scale), (state.u, state.log_scale)
            (u, log_scale), optimiser = move(
                self.hyper_rate, gradient, variables, state.optimiser, place.progress
            )
            return problem.space.clip(u), log_scale, optimiser

        u, log_scale, optimiser = jax.lax.cond(is_warm_up, keep, advance, found)
        step = state.step + 1
        row = step // self.schedule_every
        schedule = jnp.where(
            step % self.schedule_every == 0,
            jax.lax.dynamic_update_slice(state.schedule, u[None], (row, jnp.zeros_like(row))),
            state.schedule,
        )
        metrics = {
            "train loss": train_loss,
            "valid loss": found.valid_loss,
            **{
                f"hypergradient of {name}": jnp.linalg.norm(part.of(found.by_u))
                for name, part in problem.space.parts.items()
            },
            "at a bound": jnp.sum(problem.space.at_bound(u)).astype(u.dtype),
            **found.metrics,
        }
        if getattr(engine, "entropy", None) is not None:
            metrics["scale"] = jnp.exp(log_scale).mean()
        return TuneState(inner, u, log_scale, optimiser, step, schedule), metrics

    def _place(self, state: TuneState) -> Place:
        """Where the run stands; progress is counted in each phase if the engine trains first."""
        done = state.step.astype(state.u.dtype)
        if self.engine.order != "first":
            return Place(state.u, state.log_scale, done / self.n_steps)
        after = (done - self.warm_up) / (self.n_steps - self.warm_up)
        return Place(state.u, state.log_scale, jnp.where(after < 0, done / self.warm_up, after))

    def weights(self, state: TuneState) -> Weights:
        """The engine's weights where the hyperparameters stand."""
        return self.engine.weights(self.problem, state.engine, state.u, state.u)
