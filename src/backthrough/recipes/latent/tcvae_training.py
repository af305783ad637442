"""Beta-VAEs and beta-TCVAEs of grey pictures, all weights and seeds as one program."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pandas as pd
from jaxtyping import Array, Float, Int
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from backthrough.core import PRNGKey, Scalar
from backthrough.latent import (
    BernoulliModel,
    Codes,
    Decomposition,
    GaussianEncoder,
    beta_tcvae,
    tc_decomposition,
    traverse,
)
from backthrough.recipes.latent.tcvae_setting import METHODS, Setting
from backthrough.train import Batches, Run, fit, map_in_chunks, over_seeds

COLOURS = dict(zip(METHODS, ("C0", "C1"), strict=True))
SHOWN = 8  # latents of the traversals


class Pictures(NamedTuple):
    """What is learnt from.

    Attributes:
        pixels: Grey, flat.
        times: How often each picture is there.
        weight: How many pixels each of these stands for.
        shape: Height and width.
    """

    pixels: Float[np.ndarray, "picture pixel"]
    times: Int[np.ndarray, " picture"]
    weight: float
    shape: tuple[int, int]


class GreyModel(eqx.Module):
    """A Bernoulli likelihood of grey pixels, each of which counts for those that it stands for."""

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


class Trained(NamedTuple):
    """All trainings.

    Attributes:
        plan: Method, beta and seed of each row, and the number of its `training`: plain VAEs are those of
            both methods.
        copies: The trainings.
    """

    plan: pd.DataFrame
    copies: list[State]


def train(config: Setting, run: Run, pictures: Pictures) -> Trained:
    """Every method with every beta and seed; weights, batches and noise of a seed are the same for all."""
    plan = pd.DataFrame(
        [
            {"method": method, "beta": beta, "seed": config.first_seed + seed}
            for method in config.methods
            for beta in config.betas
            for seed in range(config.n_seeds)
        ]
    )
    is_tc, beta = np.array(plan["method"] == "beta-tcvae"), plan["beta"].to_numpy(float)
    columns = np.c_[plan["seed"].to_numpy(float), np.where(is_tc, 1, beta), np.where(is_tc, beta - 1, 0)]
    unique, plan["training"] = np.unique(columns, axis=0, return_inverse=True)
    warm_up = min(200, config.n_steps // 2)
    rate = optax.warmup_cosine_decay_schedule(
        0.0, config.learning_rate, warm_up, config.n_steps, 0.02 * config.learning_rate
    )
    optimiser = optax.adam(rate)
    n_pixels = pictures.pixels.shape[1]
    mean = jnp.asarray(np.average(pictures.pixels, axis=0, weights=pictures.times), jnp.result_type(float))

    def initial(key: PRNGKey, kl_weight: Scalar, tc_weight: Scalar) -> State:
        keys = jax.random.split(key)
        size, hidden = config.latent_size, config.hidden_size
        network = eqx.nn.MLP(n_pixels, 2 * size, hidden, 2, key=keys[0])
        decoder = eqx.nn.MLP(size, n_pixels, hidden, 2, key=keys[1])
        model = GreyModel(BernoulliModel(decoder, size), pictures.weight)
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

    keys = jnp.stack([jax.random.key(seed) for seed in unique[:, 0].astype(int)])
    weights = (jnp.asarray(own, jnp.result_type(float)) for own in unique[:, 1:].T)
    repeated = np.repeat(pictures.pixels, pictures.times, axis=0)
    fitted = fit(
        over_seeds(step, len(unique), at_once=1 if jax.default_backend() == "cpu" else None),
        eqx.filter_vmap(initial)(keys, *weights),
        Batches(repeated, min(config.batch_size, len(repeated)), seed=config.first_seed),
        n_steps=config.n_steps,
        key=jax.random.key(config.first_seed),
        run=run,
        log_every=max(1, config.n_steps // 200),
        label=f"{len(unique)} VAEs",
    )
    arrays, rest = eqx.partition(fitted.state, eqx.is_array)
    copies = [
        eqx.combine(jax.tree_util.tree_map(lambda leaf, index=index: leaf[index], arrays), rest)
        for index in range(len(unique))
    ]
    return Trained(plan, copies)


def codes_of(state: State, pictures: Pictures) -> Codes:
    """The codes of all pictures, as often as each is there."""
    own = Codes.encode(state.encoder, pictures.pixels)
    return Codes(own.means, own.scales, weights=pictures.times)


def measure(state: State, pictures: Pictures, codes: Codes) -> dict[str, float]:
    """The ELBO and the parts of the KL over all pictures, in nats."""
    parts: Decomposition = tc_decomposition(codes, key=jax.random.key(0), n_samples=1000)
    noise = np.random.default_rng(0).standard_normal(codes.means.shape)
    z = (codes.means + codes.scales * noise).astype(np.float32)
    likelihood = map_in_chunks(
        _likelihoods, state.model, (pictures.pixels, z), at_once=1000, label="likelihood"
    )
    return {
        "ELBO": float(codes.weights @ likelihood) - parts.kl,
        "total correlation": parts.total_correlation,
        "mutual information": parts.index_code_mi,
        "KL": parts.kl,
    }


def _likelihoods(model: GreyModel, chunk: tuple[Array, Array]) -> Array:
    return jax.vmap(model.log_likelihood)(*chunk)


def of_beta(rows: pd.DataFrame, method: str, beta: float) -> pd.DataFrame:
    """The trainings of one method and beta."""
    return rows.loc[(rows["method"] == method) & (rows["beta"] == beta)]


def column(rows: pd.DataFrame, name: str) -> np.ndarray:
    """Its numbers."""
    return rows[name].to_numpy(float)


def plot_betas(axes: Axes, config: Setting, rows: pd.DataFrame, across: str, up: str) -> None:
    """One quantity over another: every training, and a line through the medians of each method's betas."""
    for method in config.methods:
        own = rows.loc[rows["method"] == method]
        colour = COLOURS[method]
        axes.scatter(column(own, across), column(own, up), color=colour, s=14, alpha=0.6)
        middle = [of_beta(rows, method, beta) for beta in config.betas]
        x, y = ([float(np.median(column(some, name))) for some in middle] for name in (across, up))
        axes.plot(x, y, "o-", color=colour, label=method)
        for beta, *place in zip(config.betas, x, y, strict=True):
            axes.annotate(f"{beta:g}", (place[0], place[1]), (4, 4), textcoords="offset points", fontsize=8)
    axes.set_ylim(0, None)


def draw_traversals(
    trained: Trained, rows: pd.DataFrame, chosen: int, pictures: Pictures, picture: int
) -> tuple[Figure, str]:
    """Traversals of one training, and of that of every other method whose ELBO is nearest; and a caption.

    Args:
        trained: All trainings.
        rows: The plan with the ELBO and total correlation of each.
        chosen: A row.
        pictures: What was learnt from.
        picture: The one whose code the walks cross.
    """
    methods, betas, elbos = rows["method"].tolist(), column(rows, "beta"), column(rows, "ELBO")
    beside = [chosen]
    for method in sorted(set(methods) - {methods[chosen]}):
        others = [index for index, own in enumerate(methods) if own == method and betas[index] != 1]
        if others:
            beside.append(min(others, key=lambda index: abs(elbos[index] - elbos[chosen])))
    height, width = pictures.shape
    numbers = rows["training"].tolist()
    walks = [_walk(trained.copies[numbers[index]], pictures, picture) for index in beside]
    n_rows, n_steps = walks[0][1].shape[:2]
    size = 5.0 if len(beside) > 1 else 7.0
    figure = Figure(figsize=(len(beside) * size, size * n_rows / n_steps + 0.4), layout="constrained")
    for axes, (latents, walk), index in zip(
        figure.subplots(1, len(beside), squeeze=False)[0], walks, beside, strict=True
    ):
        tiles = walk.reshape(n_rows, n_steps, height, width).transpose(0, 2, 1, 3)
        axes.imshow(tiles.reshape(n_rows * height, n_steps * width), vmin=0, vmax=1, cmap="gray")
        axes.grid(False)
        axes.set_xticks([])
        axes.set_yticks(height * (np.arange(n_rows) + 0.5) - 0.5, [str(latent) for latent in latents])
        axes.set_ylabel("latent")
        words = f"ELBO {elbos[index]:.1f}, TC {column(rows, 'total correlation')[index]:.2f}"
        axes.set_title(f"{methods[index]}, beta {betas[index]:g}: {words}", fontsize=10)
    caption = (
        f"A row for each of the {n_rows} latents that are used most, from -2.5 to 2.5; ELBO and total "
        "correlation (TC) in nats."
    )
    if len(beside) > 1:
        caption += " On the right the training of the other method whose ELBO is nearest."
    return figure, caption


def _walk(
    state: State, pictures: Pictures, picture: int
) -> tuple[list[int], Float[np.ndarray, "latent step pixel"]]:
    """The latents that are used most, and what walks along each show."""
    model, encoder = state.model, state.encoder
    some = jnp.asarray(pictures.pixels[:: max(1, len(pictures.pixels) // 1000)])
    divergence = jax.vmap(lambda x: encoder(x).kl_from_standard_normal())(some)
    used = np.argsort(-np.asarray(divergence.mean(0)))[:SHOWN].tolist()
    z = encoder(jnp.asarray(pictures.pixels[picture])).mean
    return used, np.asarray(traverse(model.mean, z, latents=used))
