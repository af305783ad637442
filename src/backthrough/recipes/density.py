"""The density of the rows of your own table, by a continuous normalising flow."""

from dataclasses import dataclass
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pandas as pd
from jaxtyping import Array, Float
from matplotlib.figure import Figure

from backthrough.core import ArgumentError, DataError, PRNGKey, Scalar, check_integer, check_positive
from backthrough.datasets import read_columns
from backthrough.flows import ContinuousFlow, ExactTrace, Flow, GatedMLP, Hutchinson, StandardNormal
from backthrough.ode import RK4, Dopri5, Unrolled
from backthrough.train import Batches, Best, Number, Run, fit, mean_number, mean_over_shards, schedule

Rows = Float[np.ndarray, "_ column"]
EXACT_TO = 8  # columns up to which the trace is exact in training
SHOWN = 4


@dataclass(frozen=True)
class Config:
    """Splits the rows, trains with early stopping, and measures held-out rows."""

    data: str = ""
    """A CSV file with a header line and numbers in every cell."""
    columns: tuple[str, ...] = ()
    """The columns to model; all of them when none is named."""
    hidden_size: int = 64
    """Width of the three hidden layers of the vector field."""
    n_steps: int = 2000
    """At most so many steps of Adam."""
    batch_size: int = 256
    """Rows in a batch; no more than there are in the training part."""
    learning_rate: float = 3e-3
    """The largest; it falls along half a cosine."""
    patience: int = 8
    """Evaluations on the validation rows without a better one after which training stops."""
    solver_steps: int = 5
    """Runge-Kutta steps of the solve in training; rows are measured by an adaptive one."""
    tolerance: float = 1e-4
    """Of the adaptive solver that measures."""
    n_draws: int = 1000
    """Draws from the density to write down."""
    seed: int = 0
    """Determines split, weights, order and draws."""


SCALES = {"quick": Config(n_steps=500), "full": Config()}
DEMO = None


class Parts(NamedTuple):
    """The rows in their original units, shuffled: 80 % to train, 10 % to validate, 10 % to test."""

    train: Rows
    valid: Rows
    test: Rows


class State(NamedTuple):
    """What training carries."""

    field: GatedMLP
    optimiser: optax.OptState


def run(config: Config, run: Run) -> None:
    """Fits the density, writes what it says of every row, and draws from it."""
    if not config.data:
        raise ArgumentError("density needs a table: --data FILE.csv")
    for name in ("hidden_size", "n_steps", "batch_size", "patience", "solver_steps", "n_draws"):
        check_integer(name, getattr(config, name), minimum=1)
    check_integer("seed", config.seed, minimum=0)
    check_positive("tolerance", config.tolerance)
    names, rows = read_columns(config.data, columns=config.columns)
    parts = split(config.data, names, rows, seed=config.seed)
    mean, scale = parts.train.mean(0), parts.train.std(0)
    field = train(config, run, *((part - mean) / scale for part in parts[:2]))

    def log_density(part: Rows) -> Float[np.ndarray, "row"]:
        return evaluate(config, field, (part - mean) / scale) - np.log(scale).sum()

    measure(run, parts, log_density(parts.test), in_training(config, field, (parts.test - mean) / scale))
    table = pd.DataFrame(rows, columns=list(names)).assign(**{"log density (nats)": log_density(rows)})
    table.to_csv(run.path / "rows.csv", index=False)
    draws = mean + scale * draw(config, field, len(names))
    pd.DataFrame(draws, columns=list(names)).to_csv(run.path / "draws.csv", index=False)
    show(run, names, rows, draws)


def split(source: str, names: tuple[str, ...], rows: Rows, *, seed: int) -> Parts:
    """The parts of the table.

    Raises:
        DataError: if there are fewer than 30 rows, or a column has one value only.
    """
    if len(rows) < 30:
        raise DataError(f"{source} has {len(rows)} rows; a density needs 30 at the least")
    shuffled = rows[np.random.default_rng(seed).permutation(len(rows))]
    n_held = len(rows) // 10
    parts = Parts(shuffled[2 * n_held :], shuffled[n_held : 2 * n_held], shuffled[:n_held])
    for name, spread in zip(names, parts.train.std(0), strict=True):
        if spread == 0:
            raise DataError(f"{source}: column {name!r} has the same value in every row; leave it out")
    return parts


def cheap_trace(size: int) -> ExactTrace | Hutchinson:
    """The trace that training can afford."""
    return ExactTrace() if size <= EXACT_TO else Hutchinson()


def training_flow(config: Config, field: GatedMLP, size: int, trace: ExactTrace | Hutchinson) -> Flow:
    """The standardised density of a field, solved in fixed steps."""
    solver = RK4(config.solver_steps)
    return Flow(StandardNormal(size), ContinuousFlow(field, trace=trace, solver=solver, adjoint=Unrolled()))


def exact_flow(config: Config, field: GatedMLP, size: int, trace: ExactTrace | Hutchinson) -> Flow:
    """The same, solved to the tolerance."""
    solver = Dopri5(rtol=config.tolerance, atol=config.tolerance)
    return Flow(StandardNormal(size), ContinuousFlow(field, trace=trace, solver=solver))


def train(config: Config, run: Run, rows: Rows, valid: Rows) -> GatedMLP:
    """The field that is best on the validation rows."""
    field_key, fit_key = jax.random.split(jax.random.key(config.seed))
    size = rows.shape[1]
    field = GatedMLP(size, (config.hidden_size,) * 3, key=field_key)
    rate = schedule("cosine", config.learning_rate, n_steps=config.n_steps, warm_up=config.n_steps // 20)
    optimiser = optax.adam(rate)
    state = State(field, optimiser.init(eqx.filter(field, eqx.is_inexact_array)))
    name = "log-likelihood (nats, standardised)"

    def likelihood(field: GatedMLP, rows: Array, key: PRNGKey) -> Scalar:
        flow = training_flow(config, field, size, cheap_trace(size))
        keys = jax.random.split(key, len(rows))
        return jax.vmap(lambda x, key: flow.log_prob(x, key=key))(rows, keys).mean()

    def step(state: State, batch: Array, *, key: PRNGKey) -> tuple[State, dict[str, Scalar]]:
        loss, gradients = eqx.filter_value_and_grad(lambda own: -likelihood(own, batch, key))(state.field)
        updates, memory = optimiser.update(mean_over_shards(gradients), state.optimiser)
        return State(eqx.apply_updates(state.field, updates), memory), {f"{name}/train": -loss}

    held = jnp.asarray(valid, jnp.float32)
    follow = eqx.filter_jit(lambda field, key: likelihood(field, held, key))
    fitted = fit(
        step,
        state,
        Batches(rows.astype(np.float32), min(config.batch_size, len(rows)), seed=config.seed),
        n_steps=config.n_steps,
        key=fit_key,
        run=run,
        evaluate=lambda state, *, key: {f"{name}/validation": follow(state.field, jax.random.key(0))},
        evaluate_every=max(1, config.n_steps // 40),
        best=Best(f"{name}/validation", larger_is_better=True, patience=config.patience),
        label="training",
    )
    return fitted.best.field


def evaluate(config: Config, field: GatedMLP, rows: Rows) -> Float[np.ndarray, "row"]:
    """Log-densities of standardised rows, exact up to the tolerance."""
    flow = exact_flow(config, field, rows.shape[1], ExactTrace(most=rows.shape[1]))
    log_prob = eqx.filter_jit(lambda flow, part: jax.vmap(flow.log_prob)(part))
    parts = np.array_split(rows.astype(np.float32), range(1000, len(rows), 1000))
    return np.concatenate([np.asarray(log_prob(flow, jnp.asarray(part))) for part in parts])


def in_training(config: Config, field: GatedMLP, rows: Rows) -> Float[np.ndarray, "row"]:
    """How far the fixed steps of the training are from the exact log-densities of standardised rows."""
    flow = training_flow(config, field, rows.shape[1], ExactTrace(most=rows.shape[1]))
    found = eqx.filter_jit(lambda flow, rows: jax.vmap(flow.log_prob)(rows))(
        flow, jnp.asarray(rows, jnp.float32)
    )
    return np.abs(np.asarray(found) - evaluate(config, field, rows))


def draw(config: Config, field: GatedMLP, size: int) -> Rows:
    """Standardised draws from the density."""
    flow = exact_flow(config, field, size, cheap_trace(size))  # draws don't depend on the trace
    keys = jax.random.split(jax.random.key(config.seed + 1), config.n_draws)
    draws, _ = eqx.filter_jit(jax.vmap(lambda key: flow.sample_and_log_prob(key=key)))(keys)
    return np.asarray(draws, np.float64)


def measure(
    run: Run, parts: Parts, log_density: Float[np.ndarray, "row"], excess: Float[np.ndarray, "row"]
) -> None:
    """Writes the likelihood of the test rows beside that of a Gaussian with a full covariance."""
    mean, covariance = parts.train.mean(0), np.atleast_2d(np.cov(parts.train.T))
    centred = parts.test - mean
    _, log_det = np.linalg.slogdet(2 * np.pi * covariance)
    squares = np.einsum("ri,ij,rj->r", centred, np.linalg.pinv(covariance), centred)
    gaussian = -0.5 * (squares + log_det)
    what = f"mean over {len(parts.test):,} test rows, in the units of the table"
    numbers = [mean_number("log-likelihood", log_density, "nats", what)]
    if np.isfinite(gaussian).all():
        numbers.append(mean_number("log-likelihood of a Gaussian", gaussian, "nats", what))
        numbers.append(mean_number("gain over a Gaussian", log_density - gaussian, "nats", what))
    what = "mean size of what its fixed steps are off by; where it is not small, raise solver_steps"
    numbers.append(mean_number("error of the training's solver", excess, "nats", what))
    numbers.append(Number("rows to train on", float(len(parts.train)), "", "the rest validates and tests"))
    run.save_result(numbers)


def show(run: Run, names: tuple[str, ...], rows: Rows, draws: Rows) -> None:
    """Draws the first columns of the table against each other, and the same of the draws."""
    shown = names[:SHOWN]
    figure = Figure(figsize=(1 + 2 * len(shown), 1 + 2 * len(shown)), layout="constrained")
    axes = figure.subplots(len(shown), len(shown), squeeze=False)
    for i, low in enumerate(shown):
        for j, across in enumerate(shown):
            own = axes[i][j]
            for points, colour, label in ((rows[: len(draws)], "0.55", "table"), (draws, "C0", "draws")):
                if i == j:
                    own.hist(points[:, i], bins=30, density=True, histtype="step", color=colour, label=label)
                else:
                    own.scatter(points[:, j], points[:, i], s=1.5, color=colour, alpha=0.5)
            if i == len(shown) - 1:
                own.set_xlabel(across)
            if j == 0:
                own.set_ylabel(low)
    axes[0][0].legend(fontsize="small")
    more = "" if len(shown) == len(names) else f" The first {len(shown)} of {len(names)} columns."
    caption = f"The rows of the table (grey) and as many draws from the density (blue).{more}"
    run.figures.save_plot("columns", figure, caption=caption)
