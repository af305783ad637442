"""A continuous flow fitted to standardised rows by maximum likelihood, and what it says of others."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from backthrough.core import PRNGKey, Scalar
from backthrough.flows import ContinuousFlow, ExactTrace, Flow, GatedMLP, Hutchinson, StandardNormal
from backthrough.ode import RK4, Dopri5, Unrolled
from backthrough.train import Batches, Best, Run, fit, mean_over_shards, schedule

EXACT_TO = 8  # columns up to which the trace is exact in training
LAYERS = 3
CHUNK = 256  # rows that are solved together, always so many: a figure depends on its own row alone
METRIC = "log-likelihood (nats, standardised)"

Rows = Float[np.ndarray, "_ column"]


class State(NamedTuple):
    """What training carries."""

    field: GatedMLP
    optimiser: optax.OptState


def make_field(n_columns: int, hidden_size: int, *, key: PRNGKey) -> GatedMLP:
    """The vector field before training."""
    return GatedMLP(n_columns, (hidden_size,) * LAYERS, key=key)


def train_field(
    rows: Rows,
    valid: Rows,
    *,
    key: PRNGKey,
    hidden_size: int = 64,
    n_steps: int = 2000,
    batch_size: int = 256,
    learning_rate: float = 3e-3,
    patience: int = 8,
    solver_steps: int = 5,
    batch_seed: int = 0,
    run: Run | None = None,
) -> GatedMLP:
    """The vector field whose flow gives standardised rows the greatest likelihood.

    Args:
        rows: To train on, each column of mean 0 and standard deviation 1.
        valid: To stop early by; the field that is best on them is returned.
        key: Determines weights and noise.
        hidden_size: Width of the three hidden layers.
        n_steps: At most so many steps of Adam.
        batch_size: Rows in a batch, at most; no more than there are.
        learning_rate: The largest; it falls along half a cosine.
        patience: Evaluations on `valid`, forty in all, without a better one after which training stops.
        solver_steps: Runge-Kutta steps of the solve.
        batch_seed: Determines the order of the rows.
        run: Where metrics and checkpoints go.
    """
    field_key, fit_key = jax.random.split(key)
    n_columns = rows.shape[1]
    field = make_field(n_columns, hidden_size, key=field_key)
    rate = schedule("cosine", learning_rate, n_steps=n_steps, warm_up=n_steps // 20)
    optimiser = optax.adam(rate)
    state = State(field, optimiser.init(eqx.filter(field, eqx.is_inexact_array)))
    trace = _affordable_trace(n_columns)

    def likelihood(field: GatedMLP, rows: Array, key: PRNGKey) -> Scalar:
        flow = _fixed_step_flow(field, n_columns, trace, solver_steps)
        keys = jax.random.split(key, len(rows))
        return jax.vmap(lambda x, key: flow.log_prob(x, key=key))(rows, keys).mean()

    def step(state: State, batch: Array, *, key: PRNGKey) -> tuple[State, dict[str, Scalar]]:
        loss, gradients = eqx.filter_value_and_grad(lambda own: -likelihood(own, batch, key))(state.field)
        updates, memory = optimiser.update(mean_over_shards(gradients), state.optimiser)
        return State(eqx.apply_updates(state.field, updates), memory), {f"{METRIC}/train": -loss}

    held = jnp.asarray(valid, jnp.float32)
    follow = eqx.filter_jit(lambda field, key: likelihood(field, held, key))
    fitted = fit(
        step,
        state,
        Batches(rows.astype(np.float32), min(batch_size, len(rows)), seed=batch_seed),
        n_steps=n_steps,
        key=fit_key,
        run=run,
        evaluate=lambda state, *, key: {f"{METRIC}/validation": follow(state.field, jax.random.key(0))},
        evaluate_every=max(1, n_steps // 40),
        best=Best(f"{METRIC}/validation", larger_is_better=True, patience=patience),
        label="training",
    )
    return fitted.best.field


def log_density(field: GatedMLP, rows: Rows, *, tolerance: float = 1e-4) -> Float[np.ndarray, "_"]:
    """Log-densities of standardised rows in nats, exact up to the tolerance of an adaptive solver."""
    n_columns = rows.shape[1]
    return _evaluate(_adaptive_flow(field, n_columns, ExactTrace(most=n_columns), tolerance), rows)


def solver_error(
    field: GatedMLP, rows: Rows, *, solver_steps: int = 5, tolerance: float = 1e-4
) -> Float[np.ndarray, "_"]:
    """How far the fixed steps of training are from the exact log-densities of standardised rows, in nats."""
    n_columns = rows.shape[1]
    flow = _fixed_step_flow(field, n_columns, ExactTrace(most=n_columns), solver_steps)
    return np.abs(_evaluate(flow, rows) - log_density(field, rows, tolerance=tolerance))


def draw_rows(
    field: GatedMLP, n_samples: int, n_columns: int, *, key: PRNGKey, tolerance: float = 1e-4
) -> Rows:
    """Standardised draws from the density."""
    flow = _adaptive_flow(field, n_columns, _affordable_trace(n_columns), tolerance)  # draws need no trace
    draws, _ = _sample(flow, jax.random.split(key, n_samples))
    return np.asarray(draws, np.float64)


def _affordable_trace(n_columns: int) -> ExactTrace | Hutchinson:
    return ExactTrace() if n_columns <= EXACT_TO else Hutchinson()


def _fixed_step_flow(
    field: GatedMLP, n_columns: int, trace: ExactTrace | Hutchinson, solver_steps: int
) -> Flow:
    solve = ContinuousFlow(field, trace=trace, solver=RK4(solver_steps), adjoint=Unrolled())
    return Flow(StandardNormal(n_columns), solve)


def _adaptive_flow(field: GatedMLP, n_columns: int, trace: ExactTrace | Hutchinson, tolerance: float) -> Flow:
    solver = Dopri5(rtol=tolerance, atol=tolerance)
    return Flow(StandardNormal(n_columns), ContinuousFlow(field, trace=trace, solver=solver))


def _evaluate(flow: Flow, rows: Rows) -> Float[np.ndarray, "_"]:
    """Log-densities, in parts of one size so that one program serves tables of all lengths."""
    filler = np.repeat(rows[:1], -len(rows) % CHUNK, axis=0)
    parts = np.concatenate([rows, filler]).astype(np.float32).reshape(-1, CHUNK, rows.shape[1])
    found = np.concatenate([np.asarray(_log_prob(flow, jnp.asarray(part)), np.float64) for part in parts])
    return found[: len(rows)]


@eqx.filter_jit
def _log_prob(flow: Flow, rows: Array) -> Array:
    return jax.vmap(flow.log_prob)(rows)


@eqx.filter_jit
def _sample(flow: Flow, keys: Array) -> tuple[Array, Array]:
    return jax.vmap(lambda key: flow.sample_and_log_prob(key=key))(keys)
