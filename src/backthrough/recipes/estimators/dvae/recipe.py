"""A VAE with Bernoulli layers, trained by several gradient estimators (Grathwohl et al. 2018, sec. 5.2)."""

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float
from matplotlib.figure import Figure

from backthrough.core import ArgumentError, PRNGKey, PyTree, Scalar, check_integer, check_positive
from backthrough.recipes.digits import load_binary
from backthrough.recipes.estimators.dvae.config import Config
from backthrough.recipes.estimators.dvae.model import (
    BernoulliLayers,
    LayerControl,
    negative_elbo,
    start_controls,
)
from backthrough.train import (
    Batches,
    Headline,
    Number,
    Run,
    fit,
    fitting_batch_size,
    mean_number,
    mean_over_shards,
    over_seeds,
)

TIMED_STEPS = 20


class Copy(NamedTuple):
    """One training by one estimator."""

    model: BernoulliLayers
    controls: tuple[LayerControl, ...]
    memory: optax.OptState


def run(config: Config, run: Run) -> None:
    """Trains, follows ELBO and variance, draws them against steps and seconds."""
    for name in ("n_layers", "control_hidden", "batch_size", "n_steps", "n_seeds", "n_variance"):
        check_integer(name, getattr(config, name), minimum=1)
    for name in ("n_hidden", "seed"):
        check_integer(name, getattr(config, name), minimum=0)
    if not config.estimators:
        raise ArgumentError("estimators must name at least one")
    optimiser = optax.adam(check_positive("learning_rate", config.learning_rate), b2=0.99999)
    train, held_out = load_binary(config.data, seed=config.seed)
    seeds = [config.seed + copy for copy in range(config.n_seeds)]
    config = replace(config, batch_size=fitting_batch_size(config.batch_size, len(train)))
    batches = Batches(train, config.batch_size, seed=seeds)
    start_key, fit_key, test_key, time_key = jax.random.split(jax.random.key(config.seed), 4)
    mean = train.mean(0)
    keys = jax.random.split(start_key, config.n_seeds)  # the same weights for every estimator
    state = {
        name: eqx.filter_vmap(lambda key, name=name: start(config, name, mean, optimiser, key))(keys)
        for name in config.estimators
    }

    def step(state: dict[str, Copy], batch: Array, *, key: PRNGKey) -> tuple[dict[str, Copy], dict[str, Any]]:
        new, metrics = {}, {}
        for name in config.estimators:
            new[name], value = advance(config, name, optimiser, state[name], batch, key)
            metrics[f"train ELBO (nats)/{name}"] = value
        return new, metrics

    shown = jnp.asarray(held_out)

    @eqx.filter_jit
    def follow(state: dict[str, Copy], key: PRNGKey) -> dict[str, Array]:
        found = {}
        for name in config.estimators:
            measure = eqx.filter_vmap(lambda copy, name=name: look(config, name, copy, shown, key))
            elbo, variance = measure(state[name])
            found[f"held-out ELBO (nats)/{name}"] = elbo
            found[f"log10 variance of the gradient of the logits/{name}"] = variance
        return found

    fitted = fit(
        over_seeds(step, config.n_seeds, own_batches=True),
        state,
        batches,
        n_steps=config.n_steps,
        key=fit_key,
        run=run,
        evaluate=lambda state, *, key: follow(state, key),
        evaluate_every=max(1, config.n_steps // 20),
        log_every=max(1, config.n_steps // 200),
        label="training",
    )
    seconds = {
        name: seconds_a_step(config, name, optimiser, fitted.state[name], train, time_key)
        for name in config.estimators
    }
    draw(config, run, fitted.metrics, seconds)
    found = numbers(config, fitted.state, fitted.metrics, shown, test_key)
    run.save_result(found, headline=headline(config, found))


def start(
    config: Config,
    name: str,
    mean: Float[np.ndarray, "pixel"],
    optimiser: optax.GradientTransformation,
    key: PRNGKey,
) -> Copy:
    """A copy before training."""
    model_key, control_key = jax.random.split(key)
    model = BernoulliLayers(mean, [200] * config.n_layers, config.n_hidden, key=model_key)
    controls = start_controls(name, model, config.control_hidden, key=control_key)
    return Copy(model, controls, optimiser.init(eqx.filter((model, controls), eqx.is_inexact_array)))


def advance(
    config: Config,
    name: str,
    optimiser: optax.GradientTransformation,
    copy: Copy,
    batch: Float[Array, "image pixel"],
    key: PRNGKey,
) -> tuple[Copy, Scalar]:
    """One step of model and control variates, from one gradient; and the batch's ELBO."""

    def loss(modules: tuple[BernoulliLayers, tuple[LayerControl, ...]]) -> Scalar:
        keys = jax.random.split(key, len(batch))
        return jax.vmap(lambda x, own: negative_elbo(*modules, x, name=name, key=own))(batch, keys).mean()

    modules = (copy.model, copy.controls)
    value, (to_model, to_controls) = eqx.filter_value_and_grad(loss)(modules)
    # the control variates' gradient carries 1 / batch^2; the decay is meant for a mean over the batch
    to_controls = jax.tree_util.tree_map(lambda leaf: leaf * len(batch), to_controls)
    to_controls, to_model = mean_over_shards((decay(config, copy.controls, to_controls), to_model))
    updates, memory = optimiser.update((to_model, to_controls), copy.memory)
    model, controls = eqx.apply_updates(modules, updates)
    return Copy(model, controls, memory), -value


def decay(config: Config, controls: PyTree, gradients: PyTree) -> PyTree:
    """Gradients with weight decay of the networks' matrices."""
    return jax.tree_util.tree_map(
        lambda leaf, own: leaf + config.control_decay * own if own.ndim == 2 else leaf,
        gradients,
        eqx.filter(controls, eqx.is_inexact_array),
    )


def look(
    config: Config, name: str, copy: Copy, images: Float[Array, "image pixel"], key: PRNGKey
) -> tuple[Scalar, Scalar]:
    """The ELBO of the images, and log10 of the variance of an example's gradient on the logits of q."""
    elbo_key, variance_key = jax.random.split(key)
    elbo = mean_elbo(copy.model, images, elbo_key)
    zeros = [jnp.zeros_like(own.layers[-1].bias) for own in copy.model.encoders]

    def slope(x: Array, key: PRNGKey) -> list[Array]:
        def shifted(shifts: list[Array]) -> Scalar:
            return negative_elbo(copy.model, copy.controls, x, name=name, key=key, shifts=shifts)

        return jax.grad(shifted)(zeros)

    def variance(x: Array, key: PRNGKey) -> Scalar:
        slopes = jax.vmap(slope, (None, 0))(x, jax.random.split(key, 40))
        return sum(jnp.sum(jnp.var(own, axis=0, ddof=1)) for own in slopes)  # type: ignore[return-value]

    keys = jax.random.split(variance_key, config.n_variance)
    spread = jax.lax.map(lambda own: variance(*own), (images[: config.n_variance], keys))
    return elbo, jnp.log10(spread.mean())


def mean_elbo(model: BernoulliLayers, images: Float[Array, "image pixel"], key: PRNGKey) -> Scalar:
    """One draw for each image."""
    keys = jax.random.split(key, len(images))
    return -jax.vmap(lambda x, own: negative_elbo(model, (), x, name="REINFORCE", key=own))(
        images, keys
    ).mean()


def seconds_a_step(
    config: Config,
    name: str,
    optimiser: optax.GradientTransformation,
    copies: Copy,
    train: Float[np.ndarray, "image pixel"],
    key: PRNGKey,
) -> float:
    """Of one copy alone, on this machine: the median of several."""
    copy = jax.tree_util.tree_map(lambda leaf: leaf[0] if eqx.is_array(leaf) else leaf, copies)
    batch = jnp.asarray(train[: config.batch_size])
    step = eqx.filter_jit(lambda copy, key: advance(config, name, optimiser, copy, batch, key))
    taken = []
    for own in jax.random.split(key, TIMED_STEPS + 1):
        started = time.perf_counter()
        jax.block_until_ready(eqx.filter(step(copy, own), eqx.is_array))
        taken.append(time.perf_counter() - started)
    return float(np.median(taken[1:]))


def draw(config: Config, run: Run, metrics: Sequence[dict[str, Any]], seconds: dict[str, float]) -> None:
    """Held-out ELBO against steps and against seconds, and the variance against steps."""
    figure = Figure(figsize=(6.5, 8.4), layout="constrained")
    left, middle, right = figure.subplots(3, 1)
    lows = []
    for name in config.estimators:
        rows = [row for row in metrics if f"held-out ELBO (nats)/{name}" in row]
        steps = np.array([row["step"] for row in rows])
        elbo = np.array([np.mean(row[f"held-out ELBO (nats)/{name}"]) for row in rows])
        variance = [np.mean(row[f"log10 variance of the gradient of the logits/{name}"]) for row in rows]
        lows.append(elbo[len(elbo) // 4])
        left.plot(steps, elbo, label=name)
        middle.plot(steps * seconds[name], elbo)
        right.plot(steps, variance)
    for axes in (left, middle):
        axes.set(ylabel="held-out ELBO (nats)")
        axes.set_ylim(bottom=max(lows) - 15 if max(lows) - 15 > min(lows) else min(lows) - 2)
    left.set(xlabel="step")
    left.legend(frameon=False)
    middle.set(xlabel="seconds of one training alone")
    right.set(xlabel="step", ylabel="log10 variance of the gradient")
    run.figures.save_plot(
        "estimators",
        figure,
        caption=f"ELBO of held-out images against steps (above) and the time of as many steps on this "
        f"machine (middle); variance of an image's gradient on the logits of q (below). Means of "
        f"{config.n_seeds} seeds.",
    )


def numbers(
    config: Config,
    state: dict[str, Copy],
    metrics: Sequence[dict[str, Any]],
    held_out: Float[Array, "image pixel"],
    key: PRNGKey,
) -> list[Number]:
    """ELBOs after training and the variance over the last quarter."""
    found = []
    over = f"{Path(config.data).name}, {config.n_layers} layers, {config.n_steps:,} steps, mean over seeds"
    keys = jax.random.split(key, 10)
    evaluate = eqx.filter_jit(
        eqx.filter_vmap(lambda model: jax.lax.map(lambda own: mean_elbo(model, held_out, own), keys).mean())
    )
    late = [row for row in metrics if row["step"] > 0.75 * config.n_steps]
    for name in config.estimators:
        elbo = np.asarray(evaluate(state[name].model))
        what = f"{len(held_out):,} held-out images of {over}, 10 draws an image"
        found.append(mean_number(f"held-out ELBO ({name})", elbo, "nats", what))
        for quantity, title, unit in (
            ("train ELBO (nats)", "train ELBO", "nats"),
            ("log10 variance of the gradient of the logits", "log10 variance", ""),
        ):
            rows = np.array([row[f"{quantity}/{name}"] for row in late if f"{quantity}/{name}" in row])
            what = f"mean over the last quarter of the steps; {over}"
            found.append(mean_number(f"{title} ({name})", rows.mean(0), unit, what))
    return found


def headline(config: Config, found: Sequence[Number]) -> Headline:
    """Which estimator has brought the ELBO of held-out images furthest, and the others."""
    elbo = {name: next(n for n in found if n.name == f"held-out ELBO ({name})") for name in config.estimators}
    order = sorted(elbo, key=lambda name: -elbo[name].value)
    sentence = f"After {config.n_steps:,} steps held-out images have an ELBO of " + ", ".join(
        f"{elbo[name].value:.4g} nats by {name}" for name in order
    )
    return Headline(f"{sentence}.", elbo[order[0]].name, "estimators.svg")
