"""The recipe of the implicit posterior: its quadrature, its measures, and all of it on a few digits."""

import json
import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import multivariate_normal

from backthrough.core import ArgumentError
from backthrough.latent import FactorisedGaussian
from backthrough.recipes.latent.iwae_posterior import pictures, recipe
from backthrough.recipes.latent.iwae_posterior.measures import bound_and_sides
from backthrough.recipes.latent.iwae_posterior.quadrature import (
    covering_grid,
    divergence,
    grid_between,
    log_evidence,
    log_joint,
    square_grid,
)
from backthrough.recipes.latent.iwae_posterior.toys import TOYS
from backthrough.train import Run

SLOPE, NOISE = 0.8, 0.5


class Line(eqx.Module):
    """z ~ N(0, I) in the plane, x | z ~ N(0.8 z, 0.25 I): everything is known."""

    def log_prior(self, z):
        return jax.scipy.stats.norm.logpdf(z).sum()

    def log_likelihood(self, x, z):
        return jax.scipy.stats.norm.logpdf(x, SLOPE * z, NOISE).sum()

    def sample_prior(self, *, key):
        return jax.random.normal(key, (2,))

    def posterior(self, x):
        precision = 1 + (SLOPE / NOISE) ** 2
        return FactorisedGaussian(SLOPE * x / NOISE**2 / precision, jnp.full(2, -0.5 * math.log(precision)))


X = np.array([[0.3, -1.0], [2.0, 0.5], [0.0, 0.0]], np.float32)
EVIDENCE = multivariate_normal(np.zeros(2), np.eye(2) * (SLOPE**2 + NOISE**2)).logpdf(X)


def test_evidence_by_quadrature_and_divergences_are_those_of_gaussians():
    grid = square_grid(6.0, 121)
    joint = np.asarray(log_joint(Line(), jnp.asarray(X), jnp.asarray(grid.points)))
    np.testing.assert_allclose(log_evidence(joint, grid), EVIDENCE, atol=2e-5)
    np.testing.assert_allclose(log_evidence(joint, grid, every=2), EVIDENCE, atol=2e-5)
    scales = np.array([0.5, 2.0])
    exact = 0.5 * (scales**2 + np.array([0.2, -0.1]) ** 2 - 1).sum() - np.log(scales).sum()
    wide = grid_between(np.full(2, -12.0), np.full(2, 12.0), 241)
    log_q = multivariate_normal([0.2, -0.1], np.diag([0.5, 2.0]) ** 2).logpdf(wide.points)
    log_p = multivariate_normal([0.0, 0.0], np.eye(2)).logpdf(wide.points)
    assert divergence(log_q, log_p, wide) == pytest.approx(exact, rel=1e-5)


def test_a_window_shows_nearly_all_of_a_posterior_and_of_q():
    grid = square_grid(6.0, 121)
    log_p = multivariate_normal([1.0, 2.0], np.diag([0.3, 0.1]) ** 2).logpdf(grid.points)
    left, right, bottom, top = covering_grid(log_p, grid, np.zeros(2), np.full(2, 0.2), 30).extent
    assert left < -0.6 < 1.0 + 3 * 0.3 < right
    assert bottom < -0.6 < 2.0 + 3 * 0.1 < top
    assert right - left == pytest.approx(top - bottom, rel=1e-5)
    assert top - bottom < 6


def test_bounds_are_exact_where_q_is_the_posterior():
    model = Line()
    found = bound_and_sides(model, model.posterior, X, k=4, n_draws=3, n_sets=2, key=jax.random.key(0))
    for values in found:
        np.testing.assert_allclose(values, EVIDENCE, atol=1e-5)


@pytest.fixture
def small(monkeypatch):
    sizes = {"TOY_STEPS": 200, "TOY_SIDE": 48, "TOY_DRAWS": 50, "TOY_SETS": 3, "ELBO_DRAWS": 10}
    for name, size in sizes.items():
        monkeypatch.setattr(recipe, name, size)
    monkeypatch.setattr(pictures, "N_SETS", 2)
    monkeypatch.setattr(pictures, "SIDE", 12)


@pytest.mark.usefixtures("small")
def test_a_run(tmp_path, monkeypatch):
    monkeypatch.setattr(recipe, "show_toys", lambda run, *, key: [])
    monkeypatch.setattr(pictures, "SHOWN_K", (10,))
    sizes = {"hidden_size": 8, "n_steps": 3, "n_test": 6, "n_draws": 2, "n_sets": 2, "grid_size": 41}
    recipe.run(recipe.Config(k=4, batch_size=5, **sizes), Run(tmp_path / "run"))
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    numbers = {number["name"]: number for number in result["numbers"]}
    value = {name: number["value"] for name, number in numbers.items()}
    assert value["KL of q"] == pytest.approx(value["test log p(x)"] - value["test ELBO"], abs=1e-9)
    for name, number in numbers.items():
        assert "binarised once; trained with k = 4" in number["what"], name
        assert number["standard_error"] > 0
    figures = {path.name for path in (tmp_path / "run" / "figures").iterdir()}
    assert figures >= {"posteriors.svg", "reconstructions.png"}


@pytest.mark.slow
@pytest.mark.usefixtures("small")
def test_weights_make_q_wide_and_its_draws_right(tmp_path):
    recipe.run(recipe.Config(vae=False), Run(tmp_path / "run"))
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    value = {number["name"]: number["value"] for number in result["numbers"]}
    for toy in TOYS:
        wide, narrow = value[f"KL of q by IWAE(10) ({toy})"], value[f"KL of q by the ELBO ({toy})"]
        assert wide > narrow > value[f"KL of q_EW, k = 100, at most ({toy})"]
    assert (tmp_path / "run" / "figures" / "toys.svg").exists()


def test_refusals(tmp_path):
    for index, (config, message) in enumerate(
        (
            (recipe.Config(k=0), "k must be at least 1, got 0"),
            (recipe.Config(grid_size=3), "grid_size must be at least 21, got 3"),
            (recipe.Config(learning_rate=0.0), "learning_rate must be"),
        )
    ):
        with pytest.raises(ArgumentError, match=message):
            recipe.run(config, Run(tmp_path / str(index)))
