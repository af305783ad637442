"""Bias, variance, variance gradients and numerics of the estimators, each against an exact answer.

    python benchmarks/estimators_fixture.py

Uses the problems of the tests, whose exact gradients are enumerated in NumPy. The last line is JSON for the
results table.
"""

import json
import sys
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from backthrough.estimators import (
    LAX,
    REBAR,
    RELAX,
    Concrete,
    ReinMax,
    Reparameterisation,
    ScoreFunction,
    StraightThrough,
    StraightThroughGumbel,
    default_estimators,
    expect,
)
from backthrough.estimators.families import BernoulliFamily, OneHotFamily
from estimators.problems import LOGITS, PROBLEMS, draws, exact, quadratic, takes

N_BIAS, N_VARIANCE_GRADIENT, N_NUMERICS = 200_000, 100_000, 20_000
VARIANCES = {"ScoreFunction": 3.56, "LeaveOneOut": 0.384, "ARM": 0.392, "DisARM": 0.312, "REBAR": 0.320}
BIASES = {
    "Concrete": (Concrete(0.5), 0.21),
    "StraightThrough": (StraightThrough(), 0.36),
    "StraightThroughGumbel": (StraightThroughGumbel(1.0), 0.39),
    "ReinMax": (ReinMax(), 0.076),
}


class Bent(eqx.Module):
    """A control variate with curvature, for samples of any structure."""

    scale: jax.Array

    def __call__(self, z):
        """c(z)."""
        leaves = jnp.concatenate([jnp.ravel(leaf) for leaf in jax.tree_util.tree_leaves(z)])
        return self.scale * jnp.sum(jnp.tanh(leaves) ** 2 + 0.3 * leaves)


def unbiased():
    """Every unbiased estimator, with control variates that bend."""
    bent = Bent(jnp.asarray(0.4))
    chosen = {name: own for name, own in default_estimators().items() if own.properties.unbiased}
    return {
        **chosen,
        "LAX": LAX(bent),
        "RELAX": RELAX(bent),
        "RELAX coupled": RELAX(bent, coupled=True),
        "RELAX with f": RELAX(bent, temperature=0.7, scale=0.8),
        "REBAR coupled": REBAR(coupled=True),
    }


def bias_and_variance():
    z_scores, ratios = {}, {}
    for name, estimator in unbiased().items():
        for problem in PROBLEMS:
            if not takes(estimator, problem):
                continue
            sample = draws(problem, estimator, estimator.properties.least_samples, N_BIAS, seed=11)
            error = sample.std(0) / np.sqrt(N_BIAS) + 1e-6
            z_scores[name, problem] = float(np.abs((sample.mean(0) - exact(problem)) / error).max())
            if problem == "bernoulli" and name in VARIANCES:
                ratios[name] = float(sample.var(0).sum() / VARIANCES[name] - 1)
            print(f"{name:<20} {problem:<10} largest |z| {z_scores[name, problem]:.2f}", flush=True)
    for estimator, stated in ((ScoreFunction(), (32.2, 257)), (Reparameterisation(), (6.75, 26.1))):
        variance = draws("normal", estimator, 1, N_BIAS, seed=12).var(0)
        ratios[f"normal {type(estimator).__name__}"] = float(np.abs(variance / np.array(stated) - 1).max())
    return z_scores, ratios


def biases():
    off = {}
    for name, (estimator, stated) in BIASES.items():
        sample, truth = draws("bernoulli", estimator, 1, N_BIAS, seed=13), exact("bernoulli")
        bias = np.linalg.norm(sample.mean(0) - truth) / np.linalg.norm(truth)
        off[name] = float(bias - stated)
        print(f"{name:<20} relative bias {bias:.4f}, stated {stated}", flush=True)
    return off


def variance_gradients():
    """|z| of every entry of the mean gradient against the derivative of the variance.

    z is continuous, so that the variance is no finite sum; the reference is the derivative, by fourth-order
    differences, of the second moment over as many other draws.
    """
    logits = jnp.asarray(LOGITS, jnp.result_type(float))
    network = eqx.nn.MLP(4, "scalar", 3, 1, activation=jnp.tanh, key=jax.random.key(9))
    worst = {}
    for name, estimator in (("REBAR", REBAR()), ("RELAX", RELAX(network, temperature=0.7))):
        arrays, rest = eqx.partition(estimator, eqx.is_inexact_array)
        leaves, structure = jax.tree_util.tree_flatten(arrays)
        sizes = np.cumsum([0, *[leaf.size for leaf in leaves]])

        def rebuild(vector, leaves=leaves, sizes=sizes, structure=structure, rest=rest):
            parts = [
                vector[a:b].reshape(leaf.shape)
                for a, b, leaf in zip(sizes[:-1], sizes[1:], leaves, strict=True)
            ]
            return eqx.combine(jax.tree_util.tree_unflatten(structure, parts), rest)

        def mean(vector, logits, key, rebuild=rebuild):
            d = dist.Bernoulli(logits=logits)
            return expect(quadratic, d, key=key, estimator=rebuild(vector))

        point = jnp.concatenate([jnp.ravel(leaf) for leaf in leaves])
        slopes = jax.jit(jax.vmap(jax.grad(mean), (None, None, 0)))
        ours = np.asarray(
            slopes(point, logits, jax.random.split(jax.random.key(1), N_VARIANCE_GRADIENT)), np.float64
        )

        @jax.jit
        def squares(vector, keys, mean=mean):
            gradients = jax.vmap(jax.grad(mean, 1), (None, None, 0))(vector, logits, keys)
            return jnp.sum(gradients**2, axis=1)

        other = jax.random.split(jax.random.key(2), N_VARIANCE_GRADIENT)
        step, z_scores = 0.02, []
        for index, row in enumerate(jnp.eye(len(point))):
            far = [np.asarray(squares(point + s * step * row, other), np.float64) for s in (1, -1, 2, -2)]
            slope = (8 * (far[0] - far[1]) - (far[2] - far[3])) / (12 * step)  # fourth order
            error = np.hypot(ours[:, index].std(), slope.std()) / np.sqrt(N_VARIANCE_GRADIENT)
            z_scores.append(abs(ours[:, index].mean() - slope.mean()) / (error + 1e-9))
        worst[name] = float(max(z_scores))
        print(
            f"{name:<20} variance gradient, {len(point)} entries: largest |z| {worst[name]:.2f}", flush=True
        )
    return worst


def numerics():
    """Entries that are not finite, or b that z' does not give back, in float32."""
    cases = [
        (BernoulliFamily(), jnp.array([-50, -20, -15, 15, 20, 50], jnp.float32)),
        (OneHotFamily(), jnp.array([[100, -100, 0], [-100, 100, 100], [50, -50, 50]], jnp.float32)),
    ]
    bad = 0
    for family, logits in cases:
        if isinstance(family, BernoulliFamily):
            every = jnp.stack([jnp.zeros_like(logits), jnp.ones_like(logits)])
        else:
            rows = jnp.eye(logits.shape[-1], dtype=logits.dtype)
            every = jnp.stack([jnp.tile(row, (len(logits), 1)) for row in rows])

        def look(key, b, family=family, logits=logits):
            one, two = jax.random.split(key)
            noise, other = family.noise(logits, key=one), family.noise(logits, key=two)

            def total(logits):
                z, conditional = family.relax(logits, noise), family.condition(logits, b, other)
                return jnp.sum(jnp.tanh(z) - jnp.tanh(conditional) ** 2)

            first = jax.grad(total)(logits)
            second = jax.grad(lambda p: jnp.sum(jax.grad(total)(p) ** 2))(logits)
            conditional = family.condition(logits, b, other)
            seen = jnp.stack([conditional, family.relax(logits, noise), first, second])
            return jnp.sum(~jnp.isfinite(seen)) + jnp.sum(family.harden(conditional) != b)

        keys = jax.random.split(jax.random.key(3), N_NUMERICS)
        count = jax.jit(jax.vmap(jax.vmap(look, (None, 0)), (0, None)))(keys, every)
        bad += int(count.sum())
    return bad


def main() -> None:
    z_scores, ratios = bias_and_variance()
    off = biases()
    slopes = variance_gradients()
    worst = max(z_scores, key=lambda pair: z_scores[pair])
    variance = max(ratios, key=lambda name: abs(ratios[name]))
    rows = {
        "estimators.1": {
            "ours": max(z_scores.values()),
            "note": f"{len(z_scores)} pairs of estimator and problem; the largest is {' on '.join(worst)}.",
        },
        "estimators.1-variance": {
            "ours": abs(ratios[variance]),
            "note": "; ".join(f"{name} {ratio:+.3f}" for name, ratio in ratios.items()) + ".",
        },
        "estimators.1-bias": {
            "ours": max(abs(value) for value in off.values()),
            "note": "; ".join(f"{name} {value:+.3f}" for name, value in off.items()) + ".",
        },
        "estimators.2": {
            "ours": max(slopes.values()),
            "note": "; ".join(f"{name} {value:.2f}" for name, value in slopes.items())
            + ". The reference is the derivative of the second moment of 100,000 other draws.",
        },
        "estimators.6": {"ours": numerics()},
    }
    print(json.dumps(rows))


if __name__ == "__main__":
    main()
