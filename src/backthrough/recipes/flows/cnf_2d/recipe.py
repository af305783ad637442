"""A continuous flow fitted by maximum likelihood to points in the plane (Chen et al. 2018, sec. 4)."""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float
from matplotlib.figure import Figure
from scipy.stats import multivariate_normal

from backthrough.core import PRNGKey, Scalar, check_choice, check_integer, check_positive
from backthrough.flows import ContinuousFlow, Flow, GatedMLP, PlanarField, StandardNormal, VectorField
from backthrough.ode import RK4, Discrete, Dopri5, Unrolled
from backthrough.recipes.flows.cnf_2d.config import Config
from backthrough.recipes.flows.cnf_2d.densities import TOYS, draw_points
from backthrough.train import Headline, Run, Stream, fit, mean_number, mean_over_shards, schedule

TEST_SEED = 10**6
GAUSSIAN_POINTS = 20_000
FRAMES = 5


class State(NamedTuple):
    """What training carries."""

    field: GatedMLP | PlanarField
    optimiser: optax.OptState


def run(config: Config, run: Run) -> None:
    """Trains, measures the likelihood of fresh points and draws the density as it forms."""
    check_choice("data", config.data, TOYS)
    for name in ("hidden_size", "n_steps", "batch_size", "solver_steps", "n_test"):
        check_integer(name, getattr(config, name), minimum=1)
    check_integer("seed", config.seed, minimum=0)
    check_positive("tolerance", config.tolerance)
    model_key, fit_key = jax.random.split(jax.random.key(config.seed))
    field = train(config, run, make_field(config, key=model_key), key=fit_key)
    test = draw_points(config.data, config.n_test, seed=TEST_SEED)
    likelihood = evaluate(config, field, test)
    draw(config, run, field, test)
    what = f"mean over {config.n_test:,} fresh points; Dopri5 at tolerance {config.tolerance:g}"
    ours = mean_number("negative log-likelihood", -likelihood, "nats", what)
    seen = draw_points(config.data, GAUSSIAN_POINTS, seed=config.seed)
    gaussian = multivariate_normal(seen.mean(0), np.cov(seen.T)).logpdf(test)  # type: ignore[arg-type]
    what = f"mean over the same points; fitted to {GAUSSIAN_POINTS:,} others"
    plain = mean_number("negative log-likelihood of a Gaussian", -gaussian, "nats", what)
    learned = "so it has" if ours.value < plain.value else "it has not yet"
    sentence = (
        f"Fresh points of {config.data} cost {ours.value:.3g} nats each under the flow and {plain.value:.3g} "
        f"under the best Gaussian: {learned} learned their shape."
    )
    run.save_result([ours, plain], headline=Headline(sentence, ours.name, "density.svg"))


def make_field(config: Config, *, key: PRNGKey) -> GatedMLP | PlanarField:
    """The field before training."""
    if config.field == "planar":
        return PlanarField(2, config.hidden_size, key=key)
    return GatedMLP(2, (config.hidden_size,) * 3, key=key)


def exact_flow(config: Config, field: VectorField) -> Flow:
    """The flow, solved to the tolerance that bounds are measured at."""
    solver = Dopri5(rtol=config.tolerance, atol=config.tolerance)
    return Flow(StandardNormal(2), ContinuousFlow(field, solver=solver, adjoint=Discrete()))


def train(config: Config, run: Run, field: GatedMLP | PlanarField, *, key: PRNGKey) -> GatedMLP | PlanarField:
    """Maximises the likelihood of fresh points."""
    warm_up = min(50, config.n_steps // 10)
    rate = schedule("cosine", config.learning_rate, n_steps=config.n_steps, warm_up=warm_up)
    optimiser = optax.adam(rate)
    state = State(field, optimiser.init(eqx.filter(field, eqx.is_inexact_array)))

    def step(state: State, batch: Array, *, key: PRNGKey) -> tuple[State, dict[str, Scalar]]:
        def loss(field: GatedMLP | PlanarField) -> Scalar:
            solve = ContinuousFlow(field, solver=RK4(config.solver_steps), adjoint=Unrolled())
            return -jax.vmap(Flow(StandardNormal(2), solve).log_prob)(batch).mean()

        value, gradients = eqx.filter_value_and_grad(loss)(state.field)
        gradients = mean_over_shards(gradients)
        updates, memory = optimiser.update(gradients, state.optimiser)
        metrics = {"negative log-likelihood (nats)/train": value, "gradient norm": optax.tree.norm(gradients)}
        return State(eqx.apply_updates(state.field, updates), memory), metrics

    def batch(step: int, rows: slice) -> Any:
        return draw_points(config.data, config.batch_size, seed=[config.seed, step])[rows]

    batches = Stream(batch, batch_size=config.batch_size)
    log_every = max(1, config.n_steps // 200)
    fitted = fit(
        step, state, batches, n_steps=config.n_steps, key=key, run=run, log_every=log_every, label="training"
    )
    return fitted.state.field


def evaluate(
    config: Config, field: GatedMLP | PlanarField, points: Float[np.ndarray, "point 2"]
) -> Float[np.ndarray, "point"]:
    """Log-densities of points (nats), at the tolerance of the configuration."""
    log_prob = eqx.filter_jit(lambda flow, points: jax.vmap(flow.log_prob)(points))
    return np.asarray(log_prob(exact_flow(config, field), jnp.asarray(points)))


def draw(config: Config, run: Run, field: GatedMLP | PlanarField, test: Float[np.ndarray, "point 2"]) -> None:
    """Draws the data, the density, draws from it, and the density on its way from the base."""
    reach = 1.1 * float(np.abs(test).max())
    axis = np.linspace(-reach, reach, 80, dtype=np.float32)
    grid = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    keys = jax.random.split(jax.random.key(config.seed), len(test))

    @eqx.filter_jit
    def frame(part: Scalar) -> Array:
        flow = exact_flow(config, Slowed(field, part))
        return jax.vmap(flow.log_prob)(jnp.asarray(grid))

    frames = [np.exp(np.asarray(frame(jnp.asarray(i / (FRAMES - 1))))) for i in range(FRAMES)]
    flow = exact_flow(config, field)
    draws, _ = eqx.filter_jit(jax.vmap(lambda key: flow.sample_and_log_prob(key=key)))(keys)
    figure = Figure(figsize=(6.5, 2.5), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    left.scatter(*test.T, s=1.5, color="black", alpha=0.5)
    left.set_title("data")
    middle.imshow(frames[-1].reshape(80, 80), origin="lower", extent=(-reach, reach) * 2, cmap="magma")
    middle.set_title("density")
    right.scatter(*np.asarray(draws).T, s=1.5, color="black", alpha=0.5)
    right.set_title("draws from the flow")
    for axes in (left, middle, right):
        axes.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal")
        axes.set_axis_off()
    caption = f"Fresh points of {config.data}, the density that the flow has learned, and draws from it."
    run.figures.save_plot("density", figure, caption=caption)
    figure = Figure(figsize=(6.5, 1.7), layout="constrained")
    for index, (axes, values) in enumerate(zip(figure.subplots(1, FRAMES), frames, strict=True)):
        axes.imshow(values.reshape(80, 80), origin="lower", extent=(-reach, reach) * 2, cmap="magma")
        axes.set_title(f"t = {index / (FRAMES - 1):.2f}")
        axes.set_axis_off()
    caption = "The density on its way from the standard normal (t = 0) to the data (t = 1)."
    run.figures.save_plot("formation", figure, caption=caption)


class Slowed(eqx.Module):
    """A field that is followed for only a part of its time, in the same span.

    Attributes:
        field: The field.
        part: How much of its time, from 0 to 1.
    """

    field: GatedMLP | PlanarField
    part: Scalar

    def __call__(self, t: Scalar, x: Float[Array, "size"], condition: Any = None) -> Float[Array, "size"]:
        """part * field(part * t, x)."""
        return self.part * self.field(self.part * t, x, condition)
