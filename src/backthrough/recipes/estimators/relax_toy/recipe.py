"""The toy problem of RELAX: minimise E[(b - t)^2] over one logit (Grathwohl et al. 2018, sec. 5.1)."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import optax
from jaxtyping import Array, Float
from matplotlib.figure import Figure

from backthrough.core import ArgumentError, PRNGKey, PyTree, Scalar, check_integer, check_positive
from backthrough.estimators import REBAR, RELAX, DisARM, Estimator, LeaveOneOut, ScoreFunction, expect
from backthrough.recipes.estimators.relax_toy.config import Config
from backthrough.train import Headline, Number, Run, Stream, fit, mean_over_shards, over_seeds

SAMPLES = {"leave-one-out": 2, "DisARM": 2}
SOLVED = 0.05


class Surrogate(eqx.Module):
    """c(z) = network(2 sigmoid(z / temperature) - 1), with ten tanh units."""

    network: eqx.nn.MLP
    log_temperature: Scalar

    def __call__(self, z: Scalar) -> Scalar:
        """c(z)."""
        relaxed = jax.nn.sigmoid(z * jnp.exp(-self.log_temperature))
        return self.network(2 * relaxed - 1)


class Copy(NamedTuple):
    """One training by one estimator."""

    logit: Scalar
    estimator: Estimator
    memory: optax.OptState
    steps: Scalar
    solved_after: Scalar
    """Steps until theta was first below 0.05; infinite before."""


def run(config: Config, run: Run) -> None:
    """Trains all copies, draws the paper's plot and writes the numbers."""
    for name in ("n_steps", "n_seeds", "n_draws"):
        check_integer(name, getattr(config, name), minimum=1)
    check_integer("seed", config.seed, minimum=0)
    if not config.estimators or not config.targets:
        raise ArgumentError("estimators and targets must name at least one")
    optimiser = optax.adam(check_positive("learning_rate", config.learning_rate))
    start_key, fit_key = jax.random.split(jax.random.key(config.seed))
    cases = [(target, name) for target in config.targets for name in config.estimators]
    keys = jax.random.split(start_key, len(cases) * config.n_seeds).reshape(len(cases), -1)
    state = {
        label(*case): eqx.filter_vmap(lambda key, name=case[1]: start(name, optimiser, key))(own)
        for case, own in zip(cases, keys, strict=True)
    }

    def step(state: dict[str, Copy], batch: Array, *, key: PRNGKey) -> tuple[dict[str, Copy], dict[str, Any]]:
        own_keys = jax.random.split(key, len(cases))
        new = {
            label(*case): advance(state[label(*case)], case, optimiser, own)
            for case, own in zip(cases, own_keys, strict=True)
        }
        return new, {f"theta (t = {t:g})/{n}": jax.nn.sigmoid(new[label(t, n)].logit) for t, n in cases}

    @eqx.filter_jit
    def measure(state: dict[str, Copy], key: PRNGKey) -> dict[str, Array]:
        found = {}
        for index, (target, name) in enumerate(cases):
            own_keys = jax.random.split(jax.random.fold_in(key, index), config.n_seeds)
            variance = eqx.filter_vmap(
                lambda copy, key, t=target, n=name: spread(copy, t, n, key, config.n_draws)
            )
            copies = state[label(target, name)]
            found[f"theta (t = {target:g})/{name} at the step"] = jax.nn.sigmoid(copies.logit)
            found[f"log variance (t = {target:g})/{name}"] = variance(copies, own_keys)
        return found

    fitted = fit(
        over_seeds(step, config.n_seeds),
        state,
        Stream(lambda step: np.zeros(1, np.float32)),
        n_steps=config.n_steps,
        key=fit_key,
        run=run,
        evaluate=lambda state, *, key: measure(state, key),
        evaluate_every=max(1, config.n_steps // 20),
        log_every=max(1, config.n_steps // 200),
        label=f"{len(cases)} x {config.n_seeds} trainings",
    )
    draw(config, run, fitted.metrics)
    found = numbers(config, fitted.state, fitted.metrics)
    run.save_result(found, headline=headline(config, found))


def label(target: float, name: str) -> str:
    """Of one target and estimator."""
    return f"{name} t={target:g}"


def start(name: str, optimiser: optax.GradientTransformation, key: PRNGKey) -> Copy:
    """A copy before training: logit 0, temperature 0.5, scale 1."""
    network = eqx.nn.MLP("scalar", "scalar", 10, 1, activation=jnp.tanh, key=key)
    estimator = {
        "REINFORCE": lambda: ScoreFunction(),
        "leave-one-out": lambda: LeaveOneOut(),
        "DisARM": lambda: DisARM(),
        "REBAR": lambda: REBAR(temperature=0.5, scale=1.0),
        "RELAX": lambda: RELAX(Surrogate(network, jnp.log(0.5))),
    }[name]()
    logit = jnp.zeros(())
    memory = optimiser.init(eqx.filter((logit, estimator), eqx.is_inexact_array))
    return Copy(logit, estimator, memory, jnp.zeros(()), jnp.asarray(jnp.inf))


def objective(logit: Scalar, estimator: Estimator, target: float, name: str, key: PRNGKey) -> Scalar:
    """E[(b - t)^2], with the estimator's gradient."""
    return expect(
        lambda b: (b - target) ** 2,
        dist.Bernoulli(logits=logit),
        key=key,
        estimator=estimator,
        n_samples=SAMPLES.get(name, 1),
    )


def advance(
    copy: Copy, case: tuple[float, str], optimiser: optax.GradientTransformation, key: PRNGKey
) -> Copy:
    """One step of Adam for the logit and for the control variate, from one gradient."""

    def loss(trained: tuple[Scalar, Estimator]) -> Scalar:
        return objective(*trained, *case, key)

    trained = (copy.logit, copy.estimator)
    slopes = mean_over_shards(eqx.filter_grad(loss)(trained))
    updates, memory = optimiser.update(slopes, copy.memory)
    logit, estimator = eqx.apply_updates(trained, updates)
    steps = copy.steps + 1
    newly = (jax.nn.sigmoid(logit) < SOLVED) & jnp.isinf(copy.solved_after)
    return Copy(logit, estimator, memory, steps, jnp.where(newly, steps, copy.solved_after))


def spread(copy: Copy, target: float, name: str, key: PRNGKey, n_draws: int) -> Scalar:
    """Natural logarithm of the variance of the logit's gradient."""
    slope = jax.grad(lambda logit, key: objective(logit, copy.estimator, target, name, key))
    slopes = jax.vmap(slope, (None, 0))(copy.logit, jax.random.split(key, n_draws))
    return jnp.log(jnp.var(slopes) + jnp.finfo(slopes.dtype).tiny)


def draw(config: Config, run: Run, metrics: Sequence[dict[str, Any]]) -> None:
    """The paper's plot: loss and logarithm of the variance against the step, median and 10 to 90 %."""
    figure = Figure(figsize=(7, 3 * len(config.targets)), layout="constrained")
    rows = figure.subplots(len(config.targets), 2, squeeze=False, sharex=True)
    for (left, right), target in zip(rows, config.targets, strict=True):
        for colour, name in enumerate(config.estimators):
            steps, theta = curve(metrics, f"theta (t = {target:g})/{name}")
            band(left, steps, theta * (1 - target) ** 2 + (1 - theta) * target**2, name, f"C{colour}")
            band(right, *curve(metrics, f"log variance (t = {target:g})/{name}"), name, f"C{colour}")
        left.axhline(min(target, 1 - target) ** 2, color="0.6", linewidth=0.8, linestyle=":")
        left.set(ylabel=f"loss, t = {target:g}")
        right.set(ylabel="log variance of the gradient")
    for axes in rows[-1]:
        axes.set(xlabel="step")
    rows[0][0].legend(frameon=False)
    run.figures.save_plot(
        "toy",
        figure,
        caption=f"Expected loss (left; dotted: the least there is) and logarithm of the gradient's variance "
        f"(right) of {config.n_seeds} copies: median and 10 to 90 % band.",
    )


def curve(
    metrics: Sequence[dict[str, Any]], name: str
) -> tuple[Float[np.ndarray, "row"], Float[np.ndarray, "row copy"]]:
    """Steps and values of a metric."""
    rows = [row for row in metrics if name in row]
    return np.array([row["step"] for row in rows], float), np.array([row[name] for row in rows], float)


def band(axes: Any, steps: np.ndarray, values: np.ndarray, name: str, colour: str) -> None:
    """Median and 10 to 90 % over copies."""
    low, middle, high = np.quantile(values, (0.1, 0.5, 0.9), axis=1)
    axes.plot(steps, middle, color=colour, label=name)
    axes.fill_between(steps, low, high, color=colour, alpha=0.2, linewidth=0)


def numbers(config: Config, state: PyTree, metrics: Sequence[dict[str, Any]]) -> list[Number]:
    """Quantiles of theta half-way and at the end, the variance half-way, and steps until theta < 0.05."""
    found = []
    half = config.n_steps // 2
    over = f"over {config.n_seeds} seeds"
    for target in config.targets:
        for name in config.estimators:
            case = f"{name}, t = {target:g}"
            copies = state[label(target, name)]
            theta = 1 / (1 + np.exp(-np.asarray(copies.logit, np.float64)))
            steps, values = curve(metrics, f"log variance (t = {target:g})/{name}")
            nearest = int(np.argmin(np.abs(steps - half)))
            _, thetas = curve(metrics, f"theta (t = {target:g})/{name} at the step")
            quantities = {
                "median theta": (
                    np.median(theta),
                    f"probability that the bit is on, after {config.n_steps:,} steps, {over}",
                ),
                "90 % of theta": (np.quantile(theta, 0.9), f"after {config.n_steps:,} steps, {over}"),
                "median theta half-way": (
                    np.median(thetas[nearest]),
                    f"after {steps[nearest]:,.0f} steps, {over}",
                ),
                "log variance half-way": (
                    np.median(values[nearest]),
                    f"natural logarithm of the gradient's variance, median {over}, after "
                    f"{steps[nearest]:,.0f} steps",
                ),
            }
            after = np.median(np.asarray(copies.solved_after, np.float64))
            if np.isfinite(after):
                what = f"median {over} of the steps until theta was first below {SOLVED}"
                quantities["steps to theta < 0.05"] = (after, what)
            found += [Number(f"{key} ({case})", float(v), "", what) for key, (v, what) in quantities.items()]
    return found


def headline(config: Config, found: Sequence[Number]) -> Headline:
    """What the best estimator has made of the hardest target, beside the first one."""
    target = min(config.targets, key=lambda t: abs(t - 0.5))
    by_name = {number.name: number.value for number in found}

    def of(quantity: str, name: str) -> float:
        return by_name[f"{quantity} ({name}, t = {target:g})"]

    best = min(config.estimators, key=lambda name: of("median theta", name))
    plain = config.estimators[0]
    sentence = (
        f"A random bit, on with probability theta, is best off: after {config.n_steps:,} steps {best} has "
        f"brought theta to {of('median theta', best):.2g}"
    )
    if best != plain:
        log_ratio = of("log variance half-way", best) - of("log variance half-way", plain)
        sentence += (
            f", {plain} to {of('median theta', plain):.2g}; half-way its gradient had "
            f"{np.exp(log_ratio):.2g} times the variance"
        )
    return Headline(f"{sentence}.", f"median theta ({best}, t = {target:g})", "toy.svg")
