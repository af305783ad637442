"""Gradients in four precisions against enumeration in double precision, rare bits and categories included."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist

from backthrough.estimators import OneHotCategorical, default_estimators, expect
from backthrough.estimators.families import read_distribution

N_GRADIENTS = 50_000
DTYPES = ("float16", "bfloat16", "float32", "float64")
WEIGHTS = np.array([0.5, -1.0, 2.0])
PROBLEMS = {
    "bits": (np.array([-6.0, -1.0, 0.5]), lambda own: dist.Bernoulli(logits=own)),
    "categories": (np.array([[-7.0, 0.0, 1.0]]), lambda own: OneHotCategorical(logits=own)),
}


def f(b):
    """A function with an interaction, in the type of b."""
    weights = jnp.asarray(WEIGHTS, b.dtype)
    return jnp.sum(weights * b) + jnp.prod(1 + b)


def exact(name):
    """The gradient by enumeration in double precision, in NumPy."""
    logits, _ = PROBLEMS[name]

    def value(b):
        return float((WEIGHTS * b).sum() + np.prod(1 + b))

    if name == "categories":
        p = np.exp(logits[0]) / np.exp(logits[0]).sum()
        values = np.array([value(np.eye(3)[k]) for k in range(3)])
        return (p * (values - p @ values))[None]
    p = 1 / (1 + np.exp(-logits))
    gradient = np.zeros(3)
    for code in range(8):
        b = np.array([code >> i & 1 for i in range(3)], float)
        gradient += np.prod(np.where(b > 0, p, 1 - p)) * value(b) * (b - p)
    return gradient


def largest_z(name, estimator, dtype):
    """|mean - exact| over its standard error and what the type rounds off, the largest of all entries."""
    logits, make = PROBLEMS[name]
    own = jnp.asarray(logits, dtype)
    truth = exact(name)
    n = estimator.properties.least_samples

    @jax.jit
    @jax.vmap
    def gradients(key):
        return jax.grad(lambda own: expect(f, make(own), key=key, estimator=estimator, n_samples=n))(own)

    found = np.asarray(gradients(jax.random.split(jax.random.key(1), N_GRADIENTS)))
    assert found.dtype == own.dtype
    found = found.astype(np.float64)
    mean = found[0] + (found - found[0]).mean(0)  # a sum of equal numbers would be rounded 50,000 times
    error = found.std(0, ddof=1) / np.sqrt(N_GRADIENTS)
    rounding = float(jnp.finfo(dtype).eps) * (np.abs(found).mean(0) + np.abs(truth))
    return float(np.max(np.abs(mean - truth) / np.sqrt(error**2 + rounding**2)))


def main():
    found = {}
    with jax.enable_x64(True):
        for dtype in DTYPES:
            for problem in PROBLEMS:
                logits, make = PROBLEMS[problem]
                joint, _ = read_distribution(make(jnp.asarray(logits)))
                for name, estimator in default_estimators().items():
                    able = estimator.properties
                    if able.unbiased and able.take(joint):
                        found[f"{name}, {problem}, {dtype}"] = largest_z(problem, estimator, jnp.dtype(dtype))
                        print(
                            f"{name:<20} {problem:<12} {dtype:<9} {found[f'{name}, {problem}, {dtype}']:.2f}"
                        )
    worst = max(found, key=lambda name: found[name])
    note = f"{len(found)} cases of {N_GRADIENTS:,} gradients each; the largest is {worst}."
    print(json.dumps({"estimators.dtypes": {"ours": round(found[worst], 2), "note": note}}))


if __name__ == "__main__":
    main()
