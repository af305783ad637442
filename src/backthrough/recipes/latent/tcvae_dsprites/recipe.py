"""Beta-TCVAE and beta-VAE on sprites whose factors are known (Chen et al. 2018, sections 5 and 6)."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pandas as pd
from jaxtyping import Array, Float, Int
from matplotlib.figure import Figure

from backthrough.core import ArgumentError, PRNGKey, Scalar, check_choice, check_integer, check_positive
from backthrough.datasets import sprites
from backthrough.latent import (
    BernoulliModel,
    Codes,
    GaussianEncoder,
    beta_tcvae,
    mig,
    tc_decomposition,
    traverse,
)
from backthrough.recipes.latent.tcvae_dsprites.config import Config
from backthrough.train import Batches, Headline, Number, Run, fit, map_in_chunks, over_seeds

EDGE = 64  # of the pictures that the likelihood is meant for
PARTS = ("ELBO", "total correlation")
FACTORS = ("scale", "orientation", "posX", "posY")
SHOWN = 8  # latents of the traversals
METHODS = ("beta-tcvae", "beta-vae")
COLOURS = dict(zip(METHODS, ("C0", "C1"), strict=True))


class Hearts(NamedTuple):
    """Pictures and the classes of their factors.

    Attributes:
        pixels: Grey, flat.
        classes: Of `FACTORS`.
        times: How often each picture is there.
    """

    pixels: Float[np.ndarray, "picture pixel"]
    classes: Int[np.ndarray, "picture factor"]
    times: Int[np.ndarray, " picture"]


class GreyModel(eqx.Module):
    """A Bernoulli likelihood of grey pixels, each of which counts for those of the full size."""

    inner: BernoulliModel
    weight: float = eqx.field(static=True)

    def log_prior(self, z: Float[Array, " latent"]) -> Scalar:
        """log N(z; 0, I)."""
        return self.inner.log_prior(z)

    def log_likelihood(self, x: Float[Array, " pixel"], z: Float[Array, " latent"]) -> Scalar:
        """The cross-entropy of the pixels, times their weight."""
        return self.weight * self.inner.log_likelihood(x, z)

    def sample_prior(self, *, key: PRNGKey) -> Float[Array, " latent"]:
        """One z of N(0, I)."""
        return self.inner.sample_prior(key=key)

    def mean(self, z: Float[Array, " latent"]) -> Float[Array, " pixel"]:
        """Grey levels."""
        return self.inner.mean(z)


class State(NamedTuple):
    """One training.

    Attributes:
        model: p(x, z).
        encoder: q(z | x).
        optimiser: Of both.
        kl_weight: Of the KL: beta for beta-VAE.
        tc_weight: Of the total correlation beyond that: beta - 1 for beta-TCVAE.
    """

    model: GreyModel
    encoder: GaussianEncoder
    optimiser: optax.OptState
    kl_weight: Scalar
    tc_weight: Scalar


def run(config: Config, run: Run) -> None:
    """Trains all copies at once, then measures MIG, the ELBO and the parts of the KL of each."""
    _check(config)
    hearts = load(config)
    plan = pd.DataFrame(
        [
            {"method": method, "beta": beta, "seed": config.first_seed + seed}
            for method in config.methods
            for beta in config.betas
            for seed in range(config.n_seeds)
        ]
    )
    state = train(config, run, hearts, plan)
    copies = [_copy(state, index) for index in range(len(plan))]
    rows = pd.concat([plan, pd.DataFrame([measure(own, hearts) for own in copies])], axis=1)
    rows.to_csv(run.path / "trainings.csv", index=False)
    draw(config, run, rows, copies, hearts)
    save(config, run, rows)


def _check(config: Config) -> None:
    for name in ("n_seeds", "n_steps", "hidden_size", "latent_size", "every", "size"):
        check_integer(name, getattr(config, name), minimum=1)
    check_integer("batch_size", config.batch_size, minimum=2)
    check_integer("latent_size", config.latent_size, minimum=2)
    check_integer("first_seed", config.first_seed, minimum=0)
    check_positive("learning_rate", config.learning_rate)
    if EDGE % config.size:
        raise ArgumentError(f"size must divide {EDGE}, got {config.size}")
    if config.every > 16:
        raise ArgumentError(f"every must be at most 16, got {config.every}: fewer than two places are left")
    if not config.betas or not config.methods or len(set(config.methods)) < len(config.methods):
        raise ArgumentError("betas and methods must not be empty, and no method named twice")
    for method in config.methods:
        check_choice("method", method, METHODS)
    for beta in config.betas:
        check_positive("betas", beta)
    if len(set(config.betas)) < len(config.betas):
        raise ArgumentError(f"betas must differ from each other, got {config.betas}")


def load(config: Config) -> Hearts:
    """Hearts, drawn at the full size and reduced by averaging."""
    places = range(0, 32, config.every)
    turned = range(0, 39, config.every)  # the last orientation of the 40 is the first again
    drawn = sprites(classes={"shape": [2], "orientation": turned, "posX": places, "posY": places})
    block = EDGE // config.size
    small = drawn.images.reshape(-1, config.size, block, config.size, block).mean((2, 4), dtype=np.float32)
    classes = drawn.classes[:, 1:]
    times = np.ones(len(classes), int)
    if config.correlated != "no":
        scale, place = (classes[:, column] / classes[:, column].max() for column in (0, 2))
        times = np.rint(4 - 3 * np.abs(scale - place)).astype(
            int
        )  # likely where both are small, or both large
    return Hearts(small.reshape(len(small), -1), classes, times)


def train(config: Config, run: Run, hearts: Hearts, plan: pd.DataFrame) -> State:
    """All trainings of the plan, as one program."""
    warm_up = min(200, config.n_steps // 2)
    rate = optax.warmup_cosine_decay_schedule(
        0.0, config.learning_rate, warm_up, config.n_steps, 0.02 * config.learning_rate
    )
    optimiser = optax.adam(rate)
    n_pixels = hearts.pixels.shape[1]
    mean = jnp.asarray(np.average(hearts.pixels, axis=0, weights=hearts.times), jnp.result_type(float))

    def initial(key: PRNGKey, kl_weight: Scalar, tc_weight: Scalar) -> State:
        keys = jax.random.split(key)
        size, hidden = config.latent_size, config.hidden_size
        network = eqx.nn.MLP(n_pixels, 2 * size, hidden, 2, key=keys[0])
        decoder = eqx.nn.MLP(size, n_pixels, hidden, 2, key=keys[1])
        model = GreyModel(BernoulliModel(decoder, size), float(EDGE**2 / n_pixels))
        encoder = GaussianEncoder(network, mean)
        memory = optimiser.init(eqx.filter((model, encoder), eqx.is_inexact_array))
        return State(model, encoder, memory, kl_weight, tc_weight)

    def step(state: State, batch: Array, *, key: PRNGKey) -> tuple[State, dict[str, Array]]:
        def loss(modules: tuple[GreyModel, GaussianEncoder]) -> tuple[Array, tuple[Array, Array]]:
            terms = beta_tcvae(*modules, batch, key=key, beta=state.tc_weight + 1)
            elbo, tc = (terms.log_likelihood - terms.kl).mean(), terms.total_correlation.mean()
            pressed = (state.kl_weight - 1) * terms.kl.mean() + state.tc_weight * tc
            return pressed - elbo, (elbo, tc)

        modules = (state.model, state.encoder)
        (_, (elbo, tc)), gradients = eqx.filter_value_and_grad(loss, has_aux=True)(modules)
        updates, memory = optimiser.update(gradients, state.optimiser)
        model, encoder = eqx.apply_updates(modules, updates)
        metrics = {"ELBO (nats)": elbo, "total correlation in a batch (nats)": tc}
        return State(model, encoder, memory, state.kl_weight, state.tc_weight), metrics

    keys = jnp.stack([jax.random.key(seed) for seed in plan["seed"]])  # the same weights for every method
    is_tc, beta = np.array(plan["method"] == "beta-tcvae"), np.array(plan["beta"])
    weights = (np.where(is_tc, 1.0, beta), np.where(is_tc, beta - 1.0, 0.0))
    state = eqx.filter_vmap(initial)(keys, *(jnp.asarray(own, jnp.result_type(float)) for own in weights))
    repeated = np.repeat(hearts.pixels, hearts.times, axis=0)
    fitted = fit(
        over_seeds(step, len(plan)),
        state,
        Batches(repeated, min(config.batch_size, len(repeated)), seed=config.first_seed),
        n_steps=config.n_steps,
        key=jax.random.key(config.first_seed),
        run=run,
        log_every=max(1, config.n_steps // 200),
        label=f"{len(plan)} VAEs",
    )
    return fitted.state


def _copy(state: State, index: int) -> State:
    arrays, rest = eqx.partition(state, eqx.is_array)
    return eqx.combine(jax.tree_util.tree_map(lambda leaf: leaf[index], arrays), rest)


def measure(state: State, hearts: Hearts) -> dict[str, float]:
    """MIG of each factor, the ELBO, and the parts of the KL, over all pictures."""
    own = Codes.encode(state.encoder, hearts.pixels)
    codes = Codes(own.means, own.scales, weights=hearts.times)
    score = mig(codes, hearts.classes, names=FACTORS)
    parts = tc_decomposition(codes, key=jax.random.key(0), n_samples=1000)
    noise = np.random.default_rng(0).standard_normal(codes.means.shape)
    z = (codes.means + codes.scales * noise).astype(np.float32)
    likelihood = map_in_chunks(
        _likelihoods, state.model, (hearts.pixels, z), at_once=1000, label="likelihood"
    )
    return {
        "MIG": score.mean,
        **{f"MIG of {name}": float(gap) for name, gap in zip(FACTORS, score.gaps, strict=True)},
        "ELBO": float(codes.weights @ likelihood) - parts.kl,
        "total correlation": parts.total_correlation,
        "mutual information": parts.index_code_mi,
        "KL": parts.kl,
    }


def _likelihoods(model: GreyModel, chunk: tuple[Array, Array]) -> Array:
    return jax.vmap(model.log_likelihood)(*chunk)


def draw(config: Config, run: Run, rows: pd.DataFrame, copies: list[State], hearts: Hearts) -> None:
    """MIG against ELBO and total correlation, and traversals of a middling training of each method."""
    figure = Figure(figsize=(9, 4), layout="constrained")
    for axes, across in zip(figure.subplots(1, 2, sharey=True), PARTS, strict=True):
        for method in config.methods:
            own = rows.loc[rows["method"] == method]
            axes.scatter(column(own, across), column(own, "MIG"), color=COLOURS[method], s=14, alpha=0.6)
            middle = [of_beta(rows, method, beta) for beta in config.betas]
            places = [tuple(np.median(column(own, name)) for name in (across, "MIG")) for own in middle]
            axes.plot(*zip(*places, strict=True), "o-", color=COLOURS[method], label=method)
            for beta, place in zip(config.betas, places, strict=True):
                axes.annotate(f"{beta:g}", place, xytext=(4, 4), textcoords="offset points", fontsize=8)
        axes.set(xlabel=f"{across} (nats)")
    figure.axes[0].set(ylabel="MIG, mean of four factors", ylim=(0, None))
    figure.axes[0].legend()
    caption = "Every training, and the medians of each beta (numbers)."
    run.figures.save_plot("mig", figure, caption=caption)
    for method in config.methods:
        beta, _ = best_beta(config, rows, method)
        some = of_beta(rows, method, beta).sort_values("MIG")
        index = some.index.tolist()[(len(some) - 1) // 2]
        model, encoder = copies[index].model, copies[index].encoder
        divergence = jax.vmap(lambda x, encoder=encoder: encoder(x).kl_from_standard_normal())
        used = np.argsort(-np.asarray(divergence(jnp.asarray(hearts.pixels[::37])).mean(0)))[:SHOWN]
        middle = jnp.asarray(hearts.pixels[len(hearts.pixels) // 2])
        walk = np.asarray(traverse(model.mean, encoder(middle).mean, latents=used.tolist()))
        caption = (
            f"{method}, beta {beta:g}, the training of median MIG, {np.median(column(some, 'MIG')):.2f}: a "
            f"row for each of the {len(used)} latents that are used most, from -2.5 to 2.5."
        )
        pictures = walk.reshape(*walk.shape[:2], config.size, config.size)
        run.figures.save_images(f"traversals-{method}", np.clip(pictures, 0, 1), caption=caption)


def of_beta(rows: pd.DataFrame, method: str, beta: float) -> pd.DataFrame:
    """The trainings of one method and beta."""
    return rows.loc[(rows["method"] == method) & (rows["beta"] == beta)]


def column(rows: pd.DataFrame, name: str) -> np.ndarray:
    """Its numbers."""
    return rows[name].to_numpy(float)


def best_beta(config: Config, rows: pd.DataFrame, method: str) -> tuple[float, float]:
    """The beta of the largest median MIG, and that."""
    middle = {beta: float(np.median(column(of_beta(rows, method, beta), "MIG"))) for beta in config.betas}
    beta = max(middle, key=lambda own: middle[own])
    return beta, middle[beta]


def save(config: Config, run: Run, rows: pd.DataFrame) -> None:
    """Medians of each method and beta, the rank correlation, and a headline."""
    numbers = []
    for method in config.methods:
        for beta in config.betas:
            own = of_beta(rows, method, beta)
            name, n = f"{method}, beta {beta:g}", len(own)
            gaps = column(own, "MIG")
            spread = f"median of {n} trainings, from {gaps.min():.3f} to {gaps.max():.3f}"
            numbers.append(Number(f"MIG, {name}", float(np.median(gaps)), "", spread, n=n))
            for quantity, unit in (("MIG of scale", ""), *((part, "nats") for part in PARTS)):
                value = float(np.median(column(own, quantity)))
                numbers.append(Number(f"{quantity}, {name}", value, unit, f"median of {n} trainings", n=n))
    if len(rows) > 2:
        what = "Spearman's, of total correlation and MIG over all trainings"
        ranks = rows[["total correlation", "MIG"]].rank().to_numpy(float)
        rank = float(np.corrcoef(ranks, rowvar=False)[0, 1])
        numbers.append(Number("rank correlation", rank, "", what, n=len(rows)))
    best = {method: best_beta(config, rows, method) for method in config.methods}
    method = max(best, key=lambda own: best[own][1])
    beta, value = best[method]
    sentence = f"The best median MIG is {value:.2f}, of {method} with beta {beta:g}"
    plain = column(rows.loc[rows["beta"] == 1], "MIG")
    sentence += f"; plain VAEs have {np.median(plain):.2f}." if len(plain) else "."
    run.save_result(numbers, headline=Headline(sentence, f"MIG, {method}, beta {beta:g}", "mig.svg"))
