"""Explanations against what can be enumerated: gradients, optima and closed forms.

    python benchmarks/explain_exact.py

A forest of 50 trees on the first 10 columns of breast_cancer, hidden columns filled in with their conditional
mean under a Gaussian; all 1,024 sets of columns are evaluated. The last line is JSON for the results table.
"""

import itertools
import json
import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import optax
from jaxtyping import Array
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split

from backthrough.estimators import RELAX, Concrete, DisARM, Enumeration, LeaveOneOut, expect
from backthrough.explain import Columns, Grid, NumpyModel, Pixels, Positions, Search, explain
from backthrough.explain.infill import Constant, GaussianConditional, Mean
from backthrough.explain.learning import TEMPERATURE, Control
from backthrough.explain.objective import Objective, Question
from backthrough.explain.score import Score

N_COLUMNS, N_ROWS, AREA_COST = 10, 50, 5.0
N_SAMPLES, N_REPEATS, N_STEPS = 8, 25_000, 500
SETS = np.array(list(itertools.product([False, True], repeat=N_COLUMNS)))


def scores_of_sets(
    forest: RandomForestClassifier, infill: GaussianConditional, row: np.ndarray
) -> np.ndarray:
    """The score of the second class with each set kept, and the rest filled in."""

    @jax.jit
    def fill(kept: Array) -> Array:
        x = jnp.asarray(row)
        return jax.vmap(lambda own: infill.sample(x, own, key=jax.random.key(0), n_samples=1)[0])(kept)

    p = np.asarray(forest.predict_proba(np.asarray(fill(jnp.asarray(SETS)))))[:, 1]
    p = np.clip(p, 1e-6, 1 - 1e-6)
    return np.log(p) - np.log1p(-p)


def look_up(values: np.ndarray):
    """f of a set, by a table of all sets."""
    weights = 2.0 ** np.arange(N_COLUMNS - 1, -1, -1)
    table = jnp.asarray(values, jnp.float32)
    return lambda selected: table[jnp.round(selected @ jnp.asarray(weights, jnp.float32)).astype(int)]


def gradients(f, logits: Array, estimator, key, n: int) -> np.ndarray:
    """n independent estimates, one a row."""

    def loss(logits: Array, key: Array) -> Array:
        return expect(f, dist.Bernoulli(logits=logits), key=key, estimator=estimator, n_samples=N_SAMPLES)

    keys = jax.random.split(key, n)
    return np.asarray(jax.jit(jax.vmap(jax.grad(loss), in_axes=(None, 0)))(logits, keys))


def trained_relax(f, logits: Array) -> RELAX:
    """RELAX whose control variate has seen 500 steps at these logits."""
    estimator = RELAX(Control(N_COLUMNS, key=jax.random.key(5)))
    optimiser = optax.adam(1e-2)
    trained, fixed = eqx.partition(estimator, eqx.is_inexact_array)

    def loss(own: tuple, key: Array) -> Array:
        whole = eqx.combine(own[1], fixed)
        return expect(f, dist.Bernoulli(logits=own[0]), key=key, estimator=whole, n_samples=N_SAMPLES)

    def step(state: tuple, key: Array) -> tuple:
        trained, memory = state
        control = jax.grad(loss)((logits, trained), key)[1]
        updates, memory = optimiser.update(control, memory)
        return (eqx.apply_updates(trained, updates), memory), None

    keys = jax.random.split(jax.random.key(6), N_STEPS)
    (trained, _), _ = jax.lax.scan(step, (trained, optimiser.init(trained)), keys)
    return eqx.combine(trained, fixed)


def of_estimators(values: np.ndarray) -> dict[str, dict]:
    """Bias and variance at random logits of one row's table of scores."""
    f, logits = look_up(values), jax.random.normal(jax.random.key(1), (N_COLUMNS,))
    exact = np.asarray(
        jax.grad(
            lambda own: expect(f, dist.Bernoulli(logits=own), key=jax.random.key(0), estimator=Enumeration())
        )(logits)
    )
    found, z, variance = {}, {}, {}
    estimators = {"loo": LeaveOneOut(), "disarm": DisARM(), "relax": trained_relax(f, logits)}
    for number, (name, estimator) in enumerate(estimators.items()):
        found[name] = gradients(f, logits, estimator, jax.random.key(10 + number), N_REPEATS)
        error = found[name].std(axis=0, ddof=1) / math.sqrt(N_REPEATS)
        z[name] = float(np.abs((found[name].mean(axis=0) - exact) / error).max())
        variance[name] = float(found[name].var(axis=0, ddof=1).sum())
    print("z", z, "variance", variance, flush=True)
    each = ", ".join(f"{name} {value:.2f}" for name, value in z.items())
    spread = ", ".join(f"{name} {math.sqrt(value / N_COLUMNS):.3f}" for name, value in variance.items())
    return {
        "explain.A1": {
            "ours": round(max(z.values()), 2),
            "note": f"{N_REPEATS:,} gradients of {N_SAMPLES} samples; |z|: {each}. Standard deviation of a "
            f"gradient's entry: {spread}.",
        },
        "explain.A1-relax": {"ours": round(variance["relax"] / variance["loo"], 3), "note": ""},
    }


def of_the_relaxed_gradient() -> dict[str, dict]:
    """The mean of relaxed gradients against enumeration: linear log-odds, pairs with a correlation of .9."""
    d, rho = 8, 0.9
    generator = np.random.default_rng(0)
    pairs = generator.normal(size=(20_000, d // 2, 2))
    pairs[..., 1] = rho * pairs[..., 0] + math.sqrt(1 - rho**2) * pairs[..., 1]
    data = pairs.reshape(-1, d).astype(np.float32)
    weights, logits = (jnp.asarray(generator.normal(size=d), jnp.float32) for _ in range(2))
    question = Question(jnp.asarray(data[0]), jnp.asarray(1), jnp.asarray(False), jnp.asarray(jnp.inf))
    errors, wrong = {}, {}
    for name, infill in (
        ("conditional mean", GaussianConditional.fit(data, draws=False)),
        ("mean", Mean.fit(data)),
    ):
        objective = Objective(
            Score(lambda own: jnp.stack([jnp.zeros(()), own @ weights])), infill, jnp.arange(d),
            jnp.full(d, 1 / d), jnp.asarray(0.0),
        )  # fmt: skip

        def f(selected: Array, objective: Objective = objective) -> Array:
            return objective.effect(question, selected, key=jax.random.key(0), n_draws=1)

        exact = gradients(f, logits, Enumeration(), jax.random.key(0), 1)[0]
        relaxed = gradients(f, logits, Concrete(TEMPERATURE), jax.random.key(1), N_REPEATS).mean(axis=0)
        errors[name] = float(np.linalg.norm(relaxed - exact) / np.linalg.norm(exact))
        wrong[name] = int((np.sign(relaxed) != np.sign(exact)).sum())
    note = (
        f"Temperature {TEMPERATURE}; with the mean, which does not depend on the mask, "
        f"{errors['mean']:.3f}. Of {d} entries {wrong['conditional mean']} have the wrong sign."
    )
    return {"explain.A1-biased": {"ours": round(errors["conditional mean"], 3), "note": note}}


def of_optima(forest, infill, rows: np.ndarray) -> dict[str, dict]:
    """How many rows have both regions at the enumerated optimum."""
    found = explain(
        forest, rows, target=1, infill=infill, units=Columns(), area_cost=AREA_COST, key=jax.random.key(2),
            search=Search(bounded=False),
    )  # fmt: skip
    area = SETS.mean(axis=1)
    good = np.ones(len(rows), bool)
    exactly = 0
    for i, row in enumerate(rows):
        kept = scores_of_sets(forest, infill, row)
        best = {"ssr": (-kept + AREA_COST * area).min(), "sdr": (kept + AREA_COST * (1 - area)).min()}
        for region in found.regions:
            gap = region.loss[i] - best[region.kind]
            exactly += gap <= 1e-4
            good[i] &= gap <= 0.02 * abs(best[region.kind]) + 1e-4
    calls = found.regions[0].n_model_calls
    note = (
        f"{exactly} of {2 * len(rows)} regions are the optimum itself; {calls} calls for each, of 1,024 sets."
    )
    return {"explain.A2": {"ours": int(good.sum()), "note": note}}


def of_linear_models() -> dict[str, dict]:
    """Units in which sets differ from {u : effect of u > its price}."""
    generator = np.random.default_rng(3)
    wrong = {}
    weights, x = generator.normal(size=12), generator.normal(size=(5, 12)).astype(np.float32)
    fitted = LogisticRegression().fit(generator.normal(size=(50, 12)), np.arange(50) % 2)
    fitted.coef_, fitted.intercept_ = weights[None], np.zeros(1)
    models = {
        "JAX": lambda own: jnp.stack([jnp.zeros(()), own @ jnp.asarray(weights, jnp.float32)]),
        "scikit-learn": fitted,
        "NumPy": NumpyModel(lambda own: np.stack([np.zeros(len(own)), own @ weights], axis=1), "logits"),
    }
    for name, model in models.items():
        found = explain(
            model, x, target=1, infill=Constant(0.0), units=Columns(), area_cost=6.0, key=jax.random.key(0),
            search=Search(n_rounds=128, bounded=False),
        )  # fmt: skip
        wrong[name] = sum(int((own.selected != (x * weights > 0.5)).sum()) for own in found.regions)
    picture, filter_ = (generator.normal(size=(8, 8, 2)).astype(np.float32) for _ in range(2))
    effect = (picture * filter_).sum(axis=2)
    shapes: dict[str, tuple] = {"pixels": (Pixels(), picture, filter_, effect > 8 / 64)}
    cells = effect.reshape(4, 2, 4, 2).sum(axis=(1, 3)) > 8 / 16
    shapes["grid"] = (Grid(4, 4), picture, filter_, np.kron(cells, np.ones((2, 2), bool)))
    row = (picture[0] * filter_[0]).sum(axis=1)
    shapes["positions"] = (Positions(), picture[0], filter_[0], row > 8 / 8)
    for name, (units, own, weight, expected) in shapes.items():
        found = explain(
            lambda x, weight=weight: jnp.stack([jnp.zeros(()), jnp.sum(x * weight)]), own[None], target=1,
            infill=Constant(0.0), units=units, area_cost=8.0, key=jax.random.key(0),
            search=Search(n_rounds=256, bounded=False),
        )  # fmt: skip
        wrong[name] = sum(int((found.mask(kind)[0] != expected).sum()) for kind in ("ssr", "sdr"))
    return {"explain.A3": {"ours": sum(wrong.values()), "note": f"By kind: {wrong}."}}


def main() -> None:
    data, labels = load_breast_cancer(return_X_y=True)
    train, test, y, _ = train_test_split(data[:, :N_COLUMNS], labels, test_size=0.3, random_state=0)
    forest = RandomForestClassifier(50, random_state=0).fit(train, y)
    infill = GaussianConditional.fit(np.asarray(train, np.float32), draws=False)
    rows = np.asarray(test[:N_ROWS], np.float32)
    result = of_linear_models() | of_the_relaxed_gradient()
    print(result, flush=True)
    result |= of_estimators(scores_of_sets(forest, infill, rows[0])) | of_optima(forest, infill, rows)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
