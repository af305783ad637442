"""The posterior that the importance-weighted bound trains (Cremer et al. 2017, arXiv 1704.02916)."""

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from backthrough.core import PRNGKey, check_integer, check_positive
from backthrough.latent import (
    ELBO,
    IWAE,
    BernoulliModel,
    GaussianEncoder,
    ImplicitPosterior,
    bernoulli_vae,
    elbo,
    evaluate_bound,
    iwae,
)
from backthrough.recipes.digits import Digits, binarise, load_digits
from backthrough.recipes.latent.iwae_posterior.config import Config
from backthrough.recipes.latent.iwae_posterior.measures import Measured, bound_and_sides, two_sides
from backthrough.recipes.latent.iwae_posterior.pictures import (
    SHOWN_K,
    draw_posteriors,
    draw_reconstructions,
    draw_toys,
    log_density,
    log_gaussian,
)
from backthrough.recipes.latent.iwae_posterior.quadrature import (
    Grid,
    divergence,
    log_evidence,
    log_joint,
    square_grid,
)
from backthrough.recipes.latent.iwae_posterior.toys import TOYS, fit_gaussian
from backthrough.train import (
    Batches,
    Headline,
    Number,
    Run,
    fit,
    fitting_batch_size,
    mean_number,
    mean_over_shards,
    schedule,
    three_digits,
)

TEST_SEED = 0  # one binarisation and one order of the test images for every run: figures stay comparable
REACH = 6.0  # of the grid; the prior has 4e-9 of its mass beyond
ELBO_DRAWS = 500
N_FOLLOWED, N_SHOWN, N_RECONSTRUCTED = 100, 4, 12
TOY_K, TOY_STEPS, TOY_REACH, TOY_SIDE = 10, 1000, 3.5, 80
TOY_DRAWS, TOY_SETS = 1000, 20


class State(NamedTuple):
    """What training carries."""

    model: BernoulliModel
    encoder: GaussianEncoder
    optimiser: optax.OptState


def run(config: Config, run: Run) -> None:
    """Fits Gaussians to posteriors in the plane, trains a VAE with two latents, measures and draws both."""
    for name in ("k", "hidden_size", "n_steps", "batch_size", "n_test", "n_draws", "n_sets"):
        check_integer(name, getattr(config, name), minimum=1)
    check_integer("grid_size", config.grid_size, minimum=21)
    check_integer("seed", config.seed, minimum=0)
    check_positive("learning_rate", config.learning_rate)
    toy_key, train_key, measure_key, draw_key = jax.random.split(jax.random.key(config.seed), 4)
    if not config.vae:
        numbers = show_toys(run, key=toy_key)
        run.save_result(numbers, headline=headline_of_toys(numbers))
        return
    digits = load_digits(config.data, seed=config.seed)
    config = replace(config, batch_size=fitting_batch_size(config.batch_size, len(digits.train)))
    test = held_out(digits, config.n_test)
    numbers = show_toys(run, key=toy_key)
    model, encoder = train(config, run, digits, test, key=train_key)
    grid = square_grid(REACH, config.grid_size)
    joint = np.asarray(log_joint(model, jnp.asarray(test), jnp.asarray(grid.points)))
    found = measure(config, model, encoder, test, joint, grid, key=measure_key)
    worst = np.argsort(found.elbo - found.evidence)
    draw_posteriors(
        run, model, encoder, test, joint, grid, found, worst[:N_SHOWN], digits.shape, key=draw_key
    )
    draw_reconstructions(
        run, model, encoder, test[worst[:N_RECONSTRUCTED]], digits.shape, k=config.k, key=draw_key
    )
    report(config, run, found, numbers)


def held_out(digits: Digits, n: int) -> Float[np.ndarray, "image pixel"]:
    """The first `n` of the shuffled test images, binarised once."""
    test = binarise(digits.test, "static", seed=TEST_SEED)
    return test[np.random.default_rng(TEST_SEED).permutation(len(test))[:n]]


def show_toys(run: Run, *, key: PRNGKey) -> list[Number]:
    """Fits Gaussians to posteriors in the plane, draws q_EW of them, and measures how far each is off."""
    grid = square_grid(TOY_REACH, TOY_SIDE)
    points = jnp.asarray(grid.points)
    shown, numbers = {}, []
    for (name, toy), own_key in zip(TOYS.items(), jax.random.split(key, len(TOYS)), strict=True):
        fit_key, sets_key, draws_key = jax.random.split(own_key, 3)
        x = jnp.asarray(toy.x)
        by_elbo = fit_gaussian(toy.model, x, ELBO(), n_steps=TOY_STEPS, key=fit_key)
        by_iwae = fit_gaussian(toy.model, x, IWAE(TOY_K), n_steps=TOY_STEPS, key=fit_key)
        joint = np.asarray(log_joint(toy.model, x[None], points))
        evidence = log_evidence(joint, grid)[0]
        true = joint[0] - evidence
        gaussians = [np.asarray(log_gaussian(q, points)) for q in (by_elbo, by_iwae)]
        for bound, q in zip(("the ELBO", f"IWAE({TOY_K})"), gaussians, strict=True):
            what = f"from the Gaussian that {bound} fits to the true posterior, on a grid"
            numbers.append(Number(f"KL of q by {bound} ({name})", divergence(q, true, grid), "nats", what))
        shown[name] = [true, *gaussians]
        for k in SHOWN_K:
            own = ImplicitPosterior(toy.model, by_iwae, x, k)
            shown[name].append(np.asarray(log_density(own, points, sets_key)))
            sides = two_sides(own, jax.random.split(draws_key, TOY_DRAWS), n_sets=TOY_SETS)
            low = mean_number("", evidence - np.asarray(sides.upper), "nats", "")
            what = (
                f"from q_EW of the Gaussian that IWAE({TOY_K}) fits to the true posterior, at least {low}; "
                f"{TOY_DRAWS:,} draws, each with {TOY_SETS} sets of {k - 1} companions"
            )
            high = evidence - np.asarray(sides.lower)
            numbers.append(mean_number(f"KL of q_EW, k = {k}, at most ({name})", high, "nats", what))
    draw_toys(run, grid, shown, toy_k=TOY_K)
    return numbers


def headline_of_toys(numbers: list[Number]) -> Headline:
    """What the ELBO's Gaussian, the other one, and q_EW of that come to, in words."""
    value = {number.name: number.value for number in numbers}

    def worst(what: str) -> str:
        return three_digits(max(value[f"{what} ({name})"] for name in TOYS))

    k = max(SHOWN_K)
    narrow, wide = worst("KL of q by the ELBO"), worst(f"KL of q by IWAE({TOY_K})")
    sentence = (
        f"Gaussians that the ELBO fits to a banana, two modes and a ring are up to {narrow} nats off, those "
        f"of the importance-weighted bound up to {wide}; choosing one of {k} draws from the latter by weight "
        f"(q_EW) leaves {worst(f'KL of q_EW, k = {k}, at most')}"
    )
    shown = max((f"KL of q_EW, k = {k}, at most ({name})" for name in TOYS), key=lambda name: value[name])
    return Headline(f"{sentence}.", shown, "toys.svg")


def train(
    config: Config, run: Run, digits: Digits, test: Float[np.ndarray, "image pixel"], *, key: PRNGKey
) -> tuple[BernoulliModel, GaussianEncoder]:
    """Maximises the importance-weighted bound, following it on the test images."""
    init_key, fit_key = jax.random.split(key)
    model, encoder = bernoulli_vae(
        digits.train.mean(0),
        latent_size=2,
        hidden_sizes=(config.hidden_size, config.hidden_size),
        key=init_key,
    )
    optimiser = optax.adam(schedule("cosine", config.learning_rate, n_steps=config.n_steps))
    memory = optimiser.init(eqx.filter((model, encoder), eqx.is_inexact_array))
    name = f"IWAE-{config.k} (nats)"
    followed = jnp.asarray(test[:N_FOLLOWED])

    def step(state: State, batch: Array, *, key: PRNGKey) -> tuple[State, dict[str, Array]]:
        binary_key, bound_key = jax.random.split(key)
        x = jax.random.bernoulli(binary_key, batch).astype(batch.dtype)

        def loss(modules: tuple[BernoulliModel, GaussianEncoder]) -> Array:
            return -iwae(*modules, x, key=bound_key, n_samples=config.k).mean()

        modules = (state.model, state.encoder)
        value, gradients = eqx.filter_value_and_grad(loss)(modules)
        gradients = mean_over_shards(gradients)
        updates, memory = optimiser.update(gradients, state.optimiser)
        metrics = {f"{name}/train": -value, "gradient norm": optax.tree.norm(gradients)}
        model, encoder = eqx.apply_updates(modules, updates)
        return State(model, encoder, memory), metrics

    @eqx.filter_jit
    def follow(state: State, key: PRNGKey) -> Array:
        return iwae(state.model, state.encoder, followed, key=key, n_samples=config.k).mean()

    fitted = fit(
        step,
        State(model, encoder, memory),
        Batches(digits.train, config.batch_size, seed=config.seed),
        n_steps=config.n_steps,
        key=fit_key,
        run=run,
        evaluate=lambda state, *, key: {f"{name}/test": follow(state, key)},
        evaluate_every=max(1, config.n_steps // 20),
        log_every=max(1, config.n_steps // 200),
        label="training",
    )
    return fitted.state.model, fitted.state.encoder


def measure(
    config: Config,
    model: BernoulliModel,
    encoder: GaussianEncoder,
    test: Float[np.ndarray, "image pixel"],
    joint: Float[np.ndarray, "image point"],
    grid: Grid,
    *,
    key: PRNGKey,
) -> Measured:
    """Everything that is known of each test image; `joint` is log p(x, z) on the grid."""
    elbo_key, sides_key, draw_key = jax.random.split(key, 3)
    values = evaluate_bound(elbo, model, encoder, test, key=elbo_key, n_samples=ELBO_DRAWS, label="ELBO")
    sides = bound_and_sides(
        model, encoder, test, k=config.k, n_draws=config.n_draws, n_sets=config.n_sets, key=sides_key
    )

    @eqx.filter_jit
    def reconstruction(k: int, x: Array, keys: Array) -> Array:
        """Mean of log p(x | z) over draws of each image."""

        def of_one(x: Array, key: PRNGKey) -> Array:
            own = ImplicitPosterior(model, encoder(x), x, k)
            draws = jax.random.split(key, config.n_draws)
            return jax.vmap(lambda key: model.log_likelihood(x, own.sample(key=key)))(draws).mean()

        return jax.lax.map(lambda pair: of_one(*pair), (x, keys))

    keys = jax.random.split(draw_key, len(test))
    from_q, from_q_ew = (
        np.asarray(reconstruction(k, jnp.asarray(test), keys), np.float64) for k in (1, config.k)
    )
    evidence = log_evidence(joint, grid)
    return Measured(
        evidence=evidence,
        coarser=log_evidence(joint, grid, every=2),
        elbo=values.astype(np.float64),
        sides=sides,
        from_q=from_q,
        from_q_ew=from_q_ew,
    )


def report(config: Config, run: Run, found: Measured, numbers: list[Number]) -> None:
    """Writes what was measured, with standard errors over images, before the `numbers` there are already."""
    k, sides, shown = config.k, found.sides, Path(config.data).name
    over = (
        f"mean over {len(found.evidence):,} test images of {shown}, binarised once; trained with k = {k} and "
        "grey levels binarised anew at each visit"
    )
    error = np.abs(found.coarser - found.evidence).max()
    quadrature = (
        f"trapezoidal rule on {config.grid_size}^2 points of [-{REACH:g}, {REACH:g}]^2; with every second "
        f"point a side it differs by at most {error:.1g}"
    )
    sets = f"{config.n_draws:,} draws an image, each with {config.n_sets:,} sets of {k - 1} companions"
    draws = f"log p(x | z), {config.n_draws:,} draws an image"
    implicit = f"q_EW, k = {k}"

    def number(name: str, values: Float[np.ndarray, "image"], what: str) -> Number:
        return mean_number(name, values, "nats", f"{what}; {over}")

    gap = number("KL of q", found.evidence - found.elbo, "log p(x) - ELBO: from q to the true posterior")
    closer = number(
        f"KL of {implicit}, at most",
        found.evidence - sides.lower,
        f"log p(x) - lower estimate: from q_EW to the true posterior; {sets}",
    )
    own = [
        number("test log p(x)", found.evidence, quadrature),
        number("test ELBO", found.elbo, f"{ELBO_DRAWS:,} draws an image"),
        number(f"test IWAE-{k}", sides.bound, f"{config.n_draws:,} times {k} draws an image"),
        number(f"ELBO of {implicit}, lower", sides.lower, f"estimate that is too low; {sets}"),
        number(f"ELBO of {implicit}, upper", sides.upper, f"estimate that is too high; {sets}"),
        number(
            f"gain of q_EW over IWAE-{k}",
            sides.lower - sides.bound,
            "lower estimate of its ELBO less the bound, from the same draws",
        ),
        gap,
        closer,
        number(
            f"KL of {implicit}, at least", found.evidence - sides.upper, f"log p(x) - upper estimate; {sets}"
        ),
        number("reconstruction from q", found.from_q, draws),
        number(f"reconstruction from {implicit}", found.from_q_ew, draws),
    ]
    verdict = "brings that down to" if closer.value < gap.value else "does not help: it makes that"
    sentence = (
        f"The encoder's Gaussian q is {three_digits(gap.value)} nats from the true posterior of a test image "
        f"of {shown}; choosing one of {k} draws from q by weight (q_EW) {verdict} "
        f"{three_digits(closer.value)} at most"
    )
    run.save_result([*own, *numbers], headline=Headline(f"{sentence}.", closer.name, "posteriors.svg"))
