"""`compare`: bias, variance and time of several estimators on one problem."""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float
from matplotlib.axes import Axes

from backthrough.core import ArgumentError, PRNGKey, PyTree, Scalar, check_integer, check_key
from backthrough.estimators.estimator import Estimator, Problem
from backthrough.estimators.exact import MOST_OUTCOMES, Enumeration
from backthrough.estimators.expectation import make_problem
from backthrough.estimators.families import FiniteFamily, Parts
from backthrough.estimators.score import LeaveOneOut
from backthrough.train import ProgressBar

NUMBERS_AT_ONCE = 4_000_000  # of gradients held in memory
REFERENCE = LeaveOneOut()
REFERENCE_SAMPLES = 8
ROUNDING = 1e-6  # of f, in single precision: what a difference of two of its values may be off by


@dataclass(frozen=True)
class Comparison:
    """How several estimators do on one problem; one entry for each.

    Attributes:
        names: What the caller calls them.
        unbiased: What they declare.
        samples: Samples for one gradient.
        bias_z: The largest |mean - reference| / error of a coordinate, its standard error and what rounding f
            to single precision makes. Above 6 is bias; below is no proof of its absence.
        relative_bias: |mean - reference| / |reference|, Euclidean norms; noise when `bias_z` is small.
        variance: Sum over the coordinates of the gradient's variance.
        evaluations: How often f is evaluated for one gradient.
        microseconds: Time of one gradient within a compiled batch of them on this machine.
        reference: What `bias_z` is against.
        n_samples: Gradients that each was tried with.
    """

    names: tuple[str, ...]
    unbiased: tuple[bool, ...]
    samples: tuple[int, ...]
    bias_z: Float[np.ndarray, "estimator"]
    relative_bias: Float[np.ndarray, "estimator"]
    variance: Float[np.ndarray, "estimator"]
    evaluations: tuple[int, ...]
    microseconds: Float[np.ndarray, "estimator"]
    reference: str
    n_samples: int

    def table(self) -> pd.DataFrame:
        """One row an estimator, the smallest variance first."""
        columns = {
            "unbiased": self.unbiased,
            "samples": self.samples,
            "bias z": self.bias_z,
            "relative bias": self.relative_bias,
            "variance": self.variance,
            "evaluations": self.evaluations,
            "microseconds": self.microseconds,
        }
        rows = pd.DataFrame(columns, index=pd.Index(self.names, name="estimator"))
        return rows.sort_values("variance")

    def plot(self, axes: Axes) -> Axes:
        """Variance against the time of a gradient, numbered by variance; biased ones are hollow."""
        for rank, index in enumerate(np.argsort(self.variance), start=1):
            place = (self.microseconds[index], self.variance[index])
            face = "C0" if self.unbiased[index] else "none"
            axes.plot(*place, "o", color="C0", markerfacecolor=face, label=f"{rank} {self.names[index]}")
            axes.annotate(str(rank), place, xytext=(5, 3), textcoords="offset points", fontsize=8)
        axes.set(xscale="log", yscale="log", xlabel="microseconds a gradient", ylabel="total variance")
        axes.legend(
            loc="upper left", bbox_to_anchor=(1, 1), frameon=False, fontsize=8, title="hollow: biased"
        )
        axes.margins(0.2)
        return axes


def compare(
    estimators: Mapping[str, Estimator | tuple[Estimator, int]],
    f: Callable[[Any], Any],
    dist: PyTree,
    *,
    key: PRNGKey,
    n_samples: int,
) -> Comparison:
    """Measures the gradients of E[f(b)] on the distribution's parameters by several estimators.

    The reference is exact where there are at most 4,096 outcomes; otherwise the mean of as many leave-one-out
    gradients of 8 samples, whose own error is taken into account.

        >>> import jax.numpy as jnp, numpyro.distributions as dist
        >>> from backthrough.estimators import DisARM, StraightThrough
        >>> found = compare(
        ...     {"DisARM": DisARM(), "straight-through": StraightThrough()},
        ...     lambda b: jnp.sum((b - 0.45) ** 2) + b[0] * b[1],
        ...     dist.Bernoulli(logits=jnp.zeros(2)),
        ...     key=jax.random.key(0),
        ...     n_samples=2000,
        ... )
        >>> list(found.table().columns[:2]), found.reference
        (['unbiased', 'samples'], 'enumeration')

    Args:
        estimators: Estimators by name; with the samples for one gradient, `(DisARM(), 4)`, or the fewest that
            it works with.
        f: As for `expect`.
        dist: As for `expect`.
        key: Typed key.
        n_samples: Gradients drawn from each, at least 100.

    Raises:
        ArgumentError: if one of them cannot work here (see `expect`), or f or a gradient is not finite.
    """
    check_key(key)
    n_samples = check_integer("n_samples", n_samples, minimum=100)
    if not estimators:
        raise ArgumentError("estimators is empty: give at least one, as in {'DisARM': DisARM()}")
    chosen = {name: _with_samples(name, own) for name, own in estimators.items()}
    problems = {name: make_problem(f, dist, estimator) for name, (estimator, _) in chosen.items()}
    keys = jax.random.split(key, len(chosen) + 1)
    truth, truth_variance, reference = _reference(next(iter(problems.values())), keys[-1], n_samples)
    rows = []
    with ProgressBar("comparing", len(chosen)) as bar:
        for index, (name, (estimator, samples)) in enumerate(chosen.items()):
            mean, variance, seconds, largest = _measure(
                name, problems[name], estimator, samples, keys[index], n_samples
            )
            rounding = ROUNDING * max(largest, float(np.abs(truth).max()))
            error = np.sqrt(variance / n_samples + truth_variance + rounding**2)
            difference = np.abs(mean - truth)
            z = difference / np.maximum(error, 1e-30)
            rows.append((z.max(), np.linalg.norm(difference), variance.sum(), 1e6 * seconds / n_samples))
            bar.update(index + 1)
    z, bias, variance, microseconds = (np.array(column) for column in zip(*rows, strict=True))
    return Comparison(
        names=tuple(chosen),
        unbiased=tuple(estimator.properties.unbiased for estimator, _ in chosen.values()),
        samples=tuple(samples for _, samples in chosen.values()),
        bias_z=z,
        relative_bias=bias / max(float(np.linalg.norm(truth)), 1e-30),
        variance=variance,
        evaluations=tuple(own.n_evaluations(problems[name], n) for name, (own, n) in chosen.items()),
        microseconds=microseconds,
        reference=reference,
        n_samples=n_samples,
    )


def _with_samples(name: str, own: Estimator | tuple[Estimator, int]) -> tuple[Estimator, int]:
    estimator, n_samples = (own, None) if isinstance(own, Estimator) else own
    return estimator, estimator.properties.check_n_samples(name, n_samples)


def _reference(
    problem: Problem, key: PRNGKey, n_samples: int
) -> tuple[Float[np.ndarray, "parameter"], Float[np.ndarray, "parameter"] | float, str]:
    """The gradient, the variance of its error, and how it was found."""
    if all(isinstance(family, FiniteFamily) for family in problem.joint.families):
        n_outcomes = problem.joint.n_outcomes(problem.params)
        if n_outcomes <= MOST_OUTCOMES:
            gradient = jax.jit(_gradient(problem, Enumeration(), 1))
            return np.asarray(gradient(problem.params, key)[1], np.float64), 0.0, "enumeration"
    samples = REFERENCE_SAMPLES
    mean, variance, _, _ = _measure("the reference", problem, REFERENCE, samples, key, n_samples)
    return mean, variance / n_samples, f"mean of {n_samples:,} LeaveOneOut gradients of {samples} samples"


def _gradient(
    problem: Problem, estimator: Estimator, samples: int
) -> Callable[[Parts, PRNGKey], tuple[Scalar, Float[Array, "parameter"]]]:
    """The value and the gradient, as one vector, on the distribution's parameters."""

    def one(params: Parts, key: PRNGKey) -> tuple[Scalar, Float[Array, "parameter"]]:
        def mean(params: Parts) -> Scalar:
            own = Problem(problem.f, problem.joint, params, (None,) * len(params))
            return estimator.estimate(own, key=key, n_samples=samples)

        value, gradient = jax.value_and_grad(mean)(params)
        return value, ravel_pytree(gradient)[0]

    return one


def _measure(
    name: str, problem: Problem, estimator: Estimator, samples: int, key: PRNGKey, n_samples: int
) -> tuple[Float[np.ndarray, "parameter"], Float[np.ndarray, "parameter"], float, float]:
    """Mean and variance of `n_samples` gradients, the seconds they took compiled, and the largest |f|."""
    size = ravel_pytree(problem.params)[0].size
    together = max(1, min(n_samples, NUMBERS_AT_ONCE // (size * samples)))
    gradients = jax.jit(jax.vmap(_gradient(problem, estimator, samples)))
    # parameters for each, so that nothing is computed once for all
    params = jax.tree_util.tree_map(
        lambda leaf: jnp.tile(leaf, (together,) + (1,) * leaf.ndim), problem.params
    )
    jax.block_until_ready(gradients(params, jax.random.split(key, together)))  # compiles
    total = squares = shift = None
    seconds = largest = 0.0
    for start, count in _pieces(n_samples, together):
        keys = jax.random.split(jax.random.fold_in(key, start), together)
        started = time.perf_counter()
        values, found = jax.block_until_ready(gradients(params, keys))
        seconds += (time.perf_counter() - started) * count / together
        values, found = np.asarray(values)[:count], np.asarray(found, np.float64)[:count]
        bad = ~(np.isfinite(values) & np.isfinite(found).all(axis=1))
        if bad.any():
            at = int(np.argmax(bad))
            raise ArgumentError(
                f"{name}: f or its gradient is not finite in draw {start + at} of {n_samples}: mean of f "
                f"{values[at]:g}, gradient {found[at][:5]}"
            )
        largest = max(largest, float(np.abs(values).max()))
        shift = found.mean(0) if shift is None else shift
        moved = found - shift
        total = moved.sum(0) if total is None else total + moved.sum(0)
        squares = (moved**2).sum(0) if squares is None else squares + (moved**2).sum(0)
    assert shift is not None and total is not None and squares is not None  # noqa: PT018 n_samples >= 100
    mean = total / n_samples
    return shift + mean, (squares - n_samples * mean**2) / (n_samples - 1), seconds, largest


def _pieces(total: int, size: int) -> Iterator[tuple[int, int]]:
    """Starts and lengths."""
    for start in range(0, total, size):
        yield start, min(size, total - start)
