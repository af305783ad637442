"""A variational auto-encoder on binarised digits (Kingma and Welling 2014; Burda et al. 2015)."""

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from backthrough.core import PRNGKey, RunError, check_integer, check_positive
from backthrough.latent import (
    BernoulliModel,
    GaussianEncoder,
    bernoulli_vae,
    elbo,
    evaluate_bound,
    iwae,
    traverse,
)
from backthrough.recipes.configs import with_saved
from backthrough.recipes.digits import Digits, binarise, load_digits
from backthrough.recipes.latent.vae_mnist.config import Config
from backthrough.train import (
    Batches,
    Headline,
    Run,
    fit,
    fitting_batch_size,
    mean_number,
    mean_over_shards,
    read_config,
    restore,
    schedule,
)

TEST_SEED = 0  # one binarisation and one order of the test images for every run: figures stay comparable


class State(NamedTuple):
    """What training carries."""

    model: BernoulliModel
    encoder: GaussianEncoder
    optimiser: optax.OptState


def run(config: Config, run: Run) -> None:
    """Trains, then measures bounds on the test images and draws samples, reconstructions and traversals."""
    for name in ("n_samples", "n_followed", "n_deep", "hidden_size", "latent_size", "batch_size"):
        check_integer(name, getattr(config, name), minimum=1)
    check_integer("seed", config.seed, minimum=0)
    digits = load_digits(config.data, seed=config.seed)
    config = replace(config, batch_size=fitting_batch_size(config.batch_size, len(digits.train)))
    test, words = test_images(config, digits)
    _, fit_key, test_key, draw_key = jax.random.split(jax.random.key(config.seed), 4)
    model, encoder = train(config, run, digits, test, key=fit_key)
    draw(run, model, encoder, test, digits.shape, key=draw_key)
    measure(config, run, model, encoder, test, words, mean=digits.train.mean(0), key=test_key)


def load_trained(path: str | Path) -> tuple[BernoulliModel, GaussianEncoder]:
    """The model and the encoder that a run of this recipe has trained.

    Raises:
        RunError: if the directory holds no run of this recipe, or none that has saved a state.
    """
    config = read_config(path)
    if config.get("recipe") != "vae-mnist":
        raise RunError(f"{path} holds no run of vae-mnist")
    own = with_saved(Config(), config)
    state, _, _ = start(own, load_digits(own.data, seed=own.seed))
    state = restore(path, state)
    return state.model, state.encoder


def trained_problem(path: str | Path) -> tuple[BernoulliModel, GaussianEncoder, np.ndarray, str]:
    """Model, encoder, the test images and what they are, for `backthrough gaps`.

    Raises:
        RunError: as `load_trained` does.
    """
    model, encoder = load_trained(path)
    config = with_saved(Config(), read_config(path))
    test, words = test_images(config, load_digits(config.data, seed=config.seed))
    return model, encoder, test, words


def test_images(config: Config, digits: Digits) -> tuple[Float[np.ndarray, "image pixel"], str]:
    """The test images as bits, shuffled since files may be sorted by class; and what they are, in words."""
    rule = "threshold" if config.binarisation == "threshold" else "static"
    test = binarise(digits.test, rule, seed=TEST_SEED)
    words = "cut at one half" if rule == "threshold" else "binarised once"
    test = test[np.random.default_rng(TEST_SEED).permutation(len(test))]
    return test, f"test images of {Path(config.data).name}, {words}"


def start(config: Config, digits: Digits) -> tuple[State, optax.GradientTransformation, int]:
    """The state before training, the optimiser, and the number of steps.

    The ladder is that of Burda et al. 2015, section 5.
    """
    learning_rate = check_positive("learning_rate", config.learning_rate)
    stages = check_integer("ladder_stages", config.ladder_stages, minimum=1)
    batch_size = check_integer("batch_size", config.batch_size, minimum=1)
    passes = np.cumsum([3**i for i in range(stages)])
    ends = np.rint(passes * len(digits.train) / batch_size).astype(int).tolist()
    if config.schedule == "ladder":
        rates = [optax.constant_schedule(learning_rate * 10 ** (-i / 7)) for i in range(stages)]
        rate = optax.join_schedules(rates, ends[:-1])
    else:
        rate = schedule(config.schedule, learning_rate, n_steps=ends[-1])
    optimiser = optax.adam(rate, eps=1e-4)
    model, encoder = bernoulli_vae(
        digits.train.mean(0),
        latent_size=config.latent_size,
        hidden_sizes=(config.hidden_size, config.hidden_size),
        key=jax.random.split(jax.random.key(config.seed), 4)[0],
    )
    memory = optimiser.init(eqx.filter((model, encoder), eqx.is_inexact_array))
    return State(model, encoder, memory), optimiser, ends[-1]


def train(
    config: Config, run: Run, digits: Digits, test: Float[np.ndarray, "image pixel"], *, key: PRNGKey
) -> tuple[BernoulliModel, GaussianEncoder]:
    """Maximises the bound, following it on some of the test images."""
    dynamic = config.binarisation == "dynamic"
    images = digits.train
    if config.binarisation != "dynamic":
        images = binarise(images, config.binarisation, seed=config.seed + 1)
    batches = Batches(images, config.batch_size, seed=config.seed)
    state, optimiser, n_steps = start(config, digits)
    bound = {"elbo": elbo, "iwae": iwae}[config.objective]
    name = f"{config.objective.upper()} (nats)"
    followed = jnp.asarray(test[: config.n_followed])

    def step(state: State, batch: Array, *, key: PRNGKey) -> tuple[State, dict[str, Array]]:
        binary_key, bound_key = jax.random.split(key)
        x = jax.random.bernoulli(binary_key, batch).astype(batch.dtype) if dynamic else batch

        def loss(modules: tuple[BernoulliModel, GaussianEncoder]) -> Array:
            return -bound(*modules, x, key=bound_key, n_samples=config.n_samples).mean()

        modules = (state.model, state.encoder)
        value, gradients = eqx.filter_value_and_grad(loss)(modules)
        gradients = mean_over_shards(gradients)
        updates, memory = optimiser.update(gradients, state.optimiser)
        model, encoder = eqx.apply_updates(modules, updates)
        metrics = {f"{name}/train": -value, "gradient norm": optax.tree.norm(gradients)}
        return State(model, encoder, memory), metrics

    @eqx.filter_jit
    def follow(state: State, key: PRNGKey) -> Array:
        values = bound(state.model, state.encoder, followed, key=key, n_samples=config.n_samples)
        return values.mean()

    fitted = fit(
        step,
        state,
        batches,
        n_steps=n_steps,
        key=key,
        run=run,
        evaluate=lambda state, *, key: {f"{name}/test": follow(state, key)},
        evaluate_every=max(1, n_steps // 20),
        log_every=max(1, n_steps // 200),
        label="training",
    )
    return fitted.state.model, fitted.state.encoder


def measure(
    config: Config,
    run: Run,
    model: BernoulliModel,
    encoder: GaussianEncoder,
    test: Float[np.ndarray, "image pixel"],
    words: str,
    *,
    mean: Float[np.ndarray, "pixel"],
    key: PRNGKey,
) -> None:
    """Writes the ELBO and the importance-weighted bounds of the test images, and what needs no latents."""
    deep = test[: config.n_deep]
    numbers = []
    for name, bound, images, n_samples in (
        ("test ELBO", elbo, test, 50),
        ("test IWAE-50", iwae, test, 50),
        ("test IWAE-5000", iwae, deep, 5000),
    ):
        values = evaluate_bound(bound, model, encoder, images, key=key, n_samples=n_samples, label=name)
        what = (
            f"mean over {len(images):,} {words}; {n_samples:,} draws an image; trained with "
            f"{config.binarisation} binarisation"
        )
        numbers.append(mean_number(name, values, "nats", what))
    plain = independent_pixels(test, mean)
    what = (
        f"log-likelihood, mean over {len(test):,} test images; each pixel with its mean over training images"
    )
    numbers.append(mean_number("independent pixels", plain, "nats", what))
    bound, shown = numbers[1], Path(config.data).name
    sentence = (
        f"Test images of {shown} have a log-likelihood of at least {bound.value:.4g} nats (50 draws), "
        f"against {plain.mean():.4g} with independent pixels"
    )
    run.save_result(numbers, headline=Headline(f"{sentence}.", bound.name, "samples.png"))


def independent_pixels(
    test: Float[np.ndarray, "image pixel"], mean: Float[np.ndarray, "pixel"]
) -> Float[np.ndarray, "image"]:
    """Log-likelihood of images with independent pixels, each on with its mean, at least one in 10,000."""
    p = np.clip(mean.astype(np.float64), 1e-4, 1 - 1e-4)
    return test @ np.log(p) + (1 - test) @ np.log1p(-p)


def draw(
    run: Run,
    model: BernoulliModel,
    encoder: GaussianEncoder,
    test: Float[np.ndarray, "image pixel"],
    shape: tuple[int, int],
    *,
    key: PRNGKey,
) -> None:
    """Draws samples from the prior, reconstructions, and walks along the most used latents."""
    z = jax.vmap(lambda key: model.sample_prior(key=key))(jax.random.split(key, 60))
    samples = jax.vmap(model.mean)(z).reshape(5, 12, *shape)
    run.figures.save_images(
        "samples", np.asarray(samples), caption="Means of p(x|z) at 60 draws of z from the prior."
    )
    shown = jnp.asarray(test[:12])
    posterior = jax.vmap(encoder)(shown)
    back = jax.vmap(model.mean)(posterior.mean)
    pairs = np.stack([shown, back]).reshape(2, -1, *shape)
    run.figures.save_images(
        "reconstructions", pairs, caption="Test images (above) and their reconstructions (below)."
    )
    divergences = jax.vmap(lambda x: encoder(x).kl_from_standard_normal())(jnp.asarray(test[:500]))
    used = np.argsort(-np.asarray(divergences.mean(0)))[:8]
    walks = traverse(model.mean, posterior.mean[0], latents=used.tolist())
    images = walks.reshape(*walks.shape[:2], *shape)
    run.figures.save_images(
        "traversals",
        np.asarray(images),
        caption=f"One test image with one latent at a time moved from -2.5 to 2.5; a row for each of the "
        f"{len(used)} latents that the encoder uses most.",
    )
