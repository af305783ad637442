"""Posteriors side by side, and reconstructions from them."""

from collections.abc import Mapping, Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from backthrough.core import PRNGKey
from backthrough.latent import BernoulliModel, FactorisedGaussian, GaussianEncoder, ImplicitPosterior
from backthrough.recipes.latent.iwae_posterior.measures import Measured
from backthrough.recipes.latent.iwae_posterior.quadrature import Grid, covering_grid, densities, log_joint
from backthrough.train import Run

SHOWN_K = (10, 100)
N_SETS, SIDE = 50, 80


@eqx.filter_jit
def log_density(
    posterior: ImplicitPosterior, points: Float[Array, "point 2"], key: PRNGKey
) -> Float[Array, "point"]:
    """log q_EW at every point, with the same sets of companions at all, so that it is smooth."""
    return jax.vmap(lambda z: posterior.log_prob(z, key=key, n_sets=N_SETS))(points)


@eqx.filter_jit
def log_gaussian(q: FactorisedGaussian, points: Float[Array, "point 2"]) -> Float[Array, "point"]:
    """log q at every point."""
    return jax.vmap(q.log_prob)(points)


def draw_toys(
    run: Run, grid: Grid, shown: Mapping[str, Sequence[Float[np.ndarray, "point"]]], *, toy_k: int
) -> None:
    """A row for each posterior in the plane.

    Args:
        run: Takes the picture.
        grid: Where the densities are.
        shown: By name, log-densities: the true one, those of two Gaussians, and q_EW of the second.
        toy_k: How many weights the bound has that fitted the second.
    """
    figure = Figure(figsize=(6.5, 4.2), layout="constrained")
    titles = ["true", "q by the ELBO", f"q by IWAE({toy_k})", *(f"q_EW, k = {k}" for k in SHOWN_K)]
    rows = figure.subplots(len(shown), len(titles), squeeze=False)
    for (name, pictures), axes in zip(shown.items(), rows, strict=True):
        for place, values in zip(axes, pictures, strict=True):
            _show(place, values, grid)
        axes[0].set_ylabel(name)
    for place, title in zip(rows[0], titles, strict=True):
        place.set_title(title)
    caption = (
        "Three true posteriors in the plane, the Gaussian that the ELBO fits to each, the one that the "
        f"importance-weighted bound with k = {toy_k} fits, and q_EW of the latter; with k = 1 it is q itself."
    )
    run.figures.save_plot("toys", figure, caption=caption)


def draw_posteriors(
    run: Run,
    model: BernoulliModel,
    encoder: GaussianEncoder,
    test: Float[np.ndarray, "image pixel"],
    joint: Float[np.ndarray, "image point"],
    grid: Grid,
    found: Measured,
    shown: Int[np.ndarray, "shown"],
    shape: tuple[int, int],
    *,
    key: PRNGKey,
) -> None:
    """A row for each image shown: itself, its true posterior, q, and q_EW."""
    figure = Figure(figsize=(6.5, 1.35 * len(shown) + 0.3), layout="constrained")
    titles = ["image", "true posterior", "q = q_EW, k = 1", *(f"q_EW, k = {k}" for k in SHOWN_K)]
    rows = figure.subplots(len(shown), len(titles), squeeze=False)
    for index, axes in zip(shown, rows, strict=True):
        x = jnp.asarray(test[index])
        q = encoder(x)
        scale = np.exp(np.asarray(q.log_scale))
        window = covering_grid(joint[index], grid, np.asarray(q.mean), scale, SIDE)
        points = jnp.asarray(window.points)
        axes[0].imshow(1 - test[index].reshape(shape), cmap="gray", vmin=0, vmax=1)
        _bare(axes[0])
        pictures = [np.asarray(log_joint(model, x[None], points)[0]), np.asarray(log_gaussian(q, points))]
        for k in SHOWN_K:
            pictures.append(np.asarray(log_density(ImplicitPosterior(model, q, x, k), points, key)))
        for place, values in zip(axes[1:], pictures, strict=True):
            _show(place, values, window)
        axes[2].set_xlabel(f"KL {found.evidence[index] - found.elbo[index]:.1f} nats", fontsize="small")
    for place, title in zip(rows[0], titles, strict=True):
        place.set_title(title)
    caption = (
        f"The {len(shown)} of {len(test):,} test images whose true posterior over the two latents is most "
        "unlike q. Each row shows one window of the latent plane; densities by quadrature and from "
        f"{N_SETS} sets of companions."
    )
    run.figures.save_plot("posteriors", figure, caption=caption)


def draw_reconstructions(
    run: Run,
    model: BernoulliModel,
    encoder: GaussianEncoder,
    images: Float[np.ndarray, "image pixel"],
    shape: tuple[int, int],
    *,
    k: int,
    key: PRNGKey,
) -> None:
    """Images above what is decoded from q's mean, from a draw of q, and from a draw of q_EW."""

    @eqx.filter_jit
    def of_one(x: Array, key: PRNGKey) -> Array:
        q = encoder(x)
        z, _ = q.sample_and_log_prob(key=key)
        resampled = ImplicitPosterior(model, q, x, k).sample(key=key)
        return jnp.stack([x, model.mean(q.mean), model.mean(z), model.mean(resampled)])

    pictures = jax.vmap(of_one)(jnp.asarray(images), jax.random.split(key, len(images)))
    rows = np.asarray(pictures).transpose(1, 0, 2).reshape(4, len(images), *shape)
    caption = (
        f"The {len(images)} test images whose true posterior is most unlike q; below, what is decoded from "
        f"q's mean, from a draw of q, and from one of q_EW (one of {k} draws from q, chosen by weight)."
    )
    run.figures.save_images("reconstructions", rows, caption=caption)


def _show(axes: Axes, values: Float[np.ndarray, "point"], grid: Grid) -> None:
    axes.imshow(densities(values), origin="lower", extent=grid.extent, cmap="magma")
    _bare(axes)


def _bare(axes: Axes) -> None:
    axes.set(xticks=[], yticks=[])
    axes.grid(False)
    axes.spines[:].set_visible(False)
