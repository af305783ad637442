"""Lotka-Volterra dynamics fitted to the pelts of lynx and hare by gradients through the solver."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float
from matplotlib.figure import Figure

from backthrough.core import Scalar, check_integer, check_positive
from backthrough.datasets import load
from backthrough.ode import Dopri5, odeint
from backthrough.recipes.ode.lynx_hare.config import Config
from backthrough.train import Headline, Number, Run, Stream, fit, schedule

NAMES = ("a", "b", "g", "d", "u0", "v0")
START = (0.5, 0.02, 0.8, 0.02, 30.0, 5.0)  # the orders of magnitude that a look at the data gives


class State(NamedTuple):
    """What training carries."""

    log_parameters: Float[Array, "6"]
    optimiser: optax.OptState


def run(config: Config, run: Run) -> None:
    """Fits the six parameters, writes them with the likelihood, and draws the cycle and its continuation."""
    check_integer("n_steps", config.n_steps, minimum=1)
    check_integer("seed", config.seed, minimum=0)
    check_positive("ahead", config.ahead)
    check_positive("tolerance", config.tolerance)
    pelts = load("lynx-hare")
    times = jnp.asarray(pelts.time - pelts.time[0], jnp.float32)
    columns = [pelts.names.index(name) for name in ("hare", "lynx")]
    observed = jnp.asarray(pelts.values[:, columns], jnp.float32)

    def loss(log_parameters: Float[Array, "6"]) -> Scalar:
        return negative_log_likelihood(log_parameters, times, observed, config.tolerance)

    rate = schedule("cosine", config.learning_rate, n_steps=config.n_steps)
    optimiser = optax.adam(rate)
    start = jnp.log(jnp.array(START)) + 0.1 * jax.random.normal(jax.random.key(config.seed), (len(START),))

    def step(state: State, batch: Array, *, key: Array) -> tuple[State, dict[str, Scalar]]:
        value, gradient = jax.value_and_grad(loss)(state.log_parameters)
        updates, memory = optimiser.update(gradient, state.optimiser)
        moved = eqx.apply_updates(state.log_parameters, updates)
        return State(moved, memory), {"negative log-likelihood": value}

    fitted = fit(
        step,
        State(start, optimiser.init(start)),
        Stream(lambda step: np.zeros(1, np.float32)),
        n_steps=config.n_steps,
        key=jax.random.key(0),
        run=run,
        label="fitting",
    )
    best = fitted.state.log_parameters
    numbers = [Number("negative log-likelihood", float(loss(best)), "nats", "42 log-counts, errors profiled")]
    units = (
        "1/year",
        "1/(thousand pelts year)",
        "1/year",
        "1/(thousand pelts year)",
        *["thousand pelts"] * 2,
    )
    for name, value, unit in zip(NAMES, np.exp(np.asarray(best)).tolist(), units, strict=True):
        numbers.append(Number(name, value, unit, "maximum likelihood"))
    plain = float(log_normal_cost(jnp.log(observed) - jnp.log(observed).mean(0)))
    what = "the same, of constant numbers of both"
    numbers.append(Number("negative log-likelihood of constants", plain, "nats", what))
    show(config, run, best, pelts.time, np.asarray(observed))
    sentence = (
        f"A cycle of six parameters explains twenty years of pelts at {numbers[0].value:.3g} nats, constant "
        f"numbers at {plain:.3g} (less is better)."
    )
    run.save_result(numbers, headline=Headline(sentence, numbers[0].name, "cycle.svg"))


def solve(
    log_parameters: Float[Array, "6"], times: Float[Array, "time"], tolerance: float
) -> Float[Array, "time 2"]:
    """Hare and lynx at the times, in thousands of pelts."""
    rates, first = jnp.exp(log_parameters[:4]), jnp.exp(log_parameters[4:])

    def lotka_volterra(t: Scalar, y: Float[Array, "2"], rates: Float[Array, "4"]) -> Float[Array, "2"]:
        (u, v), (a, b, g, d) = y, rates
        return jnp.stack([a * u - b * u * v, d * u * v - g * v])

    return odeint(lotka_volterra, first, times, rates, solver=Dopri5(rtol=tolerance, atol=tolerance)).ys


def negative_log_likelihood(
    log_parameters: Float[Array, "6"],
    times: Float[Array, "time"],
    observed: Float[Array, "time 2"],
    tolerance: float,
) -> Scalar:
    """Of log-normal errors whose two scales are at their best: sum over k of n/2 (log(2 pi s_k^2) + 1)."""
    return log_normal_cost(jnp.log(observed) - jnp.log(solve(log_parameters, times, tolerance)))


def log_normal_cost(residuals: Float[Array, "time 2"]) -> Scalar:
    """The negative log-likelihood of these differences of logarithms, with the best scale of each column."""
    return 0.5 * len(residuals) * jnp.sum(jnp.log(2 * jnp.pi * jnp.mean(jnp.square(residuals), axis=0)) + 1)


def show(
    config: Config,
    run: Run,
    log_parameters: Float[Array, "6"],
    years: Float[np.ndarray, "time"],
    observed: Float[np.ndarray, "time 2"],
) -> None:
    """Draws counts and solution, beyond the data too."""
    fine = np.linspace(0, years[-1] - years[0] + config.ahead, 600)
    curve = np.asarray(solve(log_parameters, jnp.asarray(fine, jnp.float32), config.tolerance))
    figure = Figure(figsize=(6.5, 3.2), layout="constrained")
    axes = figure.subplots()
    for k, (name, colour) in enumerate((("hare", "C0"), ("lynx", "C1"))):
        axes.plot(years[0] + fine, curve[:, k], color=colour, label=name)
        axes.plot(years, observed[:, k], "o", color=colour, markersize=4)
    axes.axvspan(years[-1], years[0] + fine[-1], color="0.93", zorder=0)
    axes.set(xlabel="year", ylabel="thousand pelts", xlim=(years[0], years[0] + fine[-1]))
    axes.legend(loc="upper right")
    caption = "Pelts of the Hudson's Bay Company (dots), the fitted cycle, and its continuation (grey)."
    run.figures.save_plot("cycle", figure, caption=caption)
