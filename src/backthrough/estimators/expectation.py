"""`expect`: the mean of a function of samples, with a gradient through the samples."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import equinox as eqx
import jax
from jax.core import Tracer

from backthrough.core import ArgumentError, PRNGKey, PyTree, Scalar, check_key
from backthrough.estimators.catalogue import names_of_those_that
from backthrough.estimators.estimator import Estimator, Problem
from backthrough.estimators.families import (
    CategoricalFamily,
    names_of,
    read_distribution,
    read_given_probs,
)
from backthrough.estimators.host_checks import check_parameter, plain_errors, watched
from backthrough.estimators.numpy_function import NumpyFunction


def expect(
    f: Callable[[Any], Any],
    dist: PyTree,
    *,
    key: PRNGKey,
    estimator: Estimator,
    n_samples: int | None = None,
    checked: bool = False,
) -> Scalar:
    """A Monte Carlo mean of f(b), b ~ dist, whose `jax.grad` is the estimator's.

    The gradient reaches the parameters of `dist`, whatever `f` closes over, and the arrays of a learned
    control variate or baseline: the latter get the gradient of the estimate's variance. What a control
    variate or baseline closes over gets none, nor do parameters of `dist` that are passed to it; what else
    was computed from parameters must be passed as `jax.lax.stop_gradient(...)`.

    Composes with `jit`, `vmap`, `scan` and `grad`; make `dist` inside a vmapped function.

        >>> import jax, jax.numpy as jnp, numpyro.distributions as dist
        >>> from backthrough.estimators import Enumeration
        >>> f = lambda b: jnp.sum((b - 0.45) ** 2)
        >>> loss = lambda l: expect(
        ...     f, dist.Bernoulli(logits=l), key=jax.random.key(0), estimator=Enumeration()
        ... )
        >>> [round(float(slope), 4) for slope in jax.grad(loss)(jnp.zeros(2))]
        [0.025, 0.025]

    Args:
        f: Maps one sample, an array or a pytree as `dist` is, to one number: a JAX function, or a batched
            NumPy one wrapped by `numpy_function`.
        dist: A `numpyro.distributions` Bernoulli, Categorical or Normal, a `OneHotCategorical`, or a pytree
            of these, independent of each other. All entries of a batch shape are variables of one sample.
        key: Typed key.
        estimator: How the gradient is estimated.
        n_samples: Samples that are averaged over; by default the fewest that it works with.
        checked: Whether values of f and parameters are looked at while a compiled program runs, at the price
            of a call to the host for each. JAX raises what is found as its own error, which carries the
            message.

    Returns:
        The mean of f, in its type; that of the relaxed problem for `Concrete`, the exact one for
        `Enumeration`. NaN if a parameter is, and so is the gradient of that parameter. What is in half
        precision is drawn and averaged in single precision.

    Raises:
        ArgumentError: if the estimator cannot work for `f` or `dist`, naming those that can; or if a
            parameter or the value of f is not as it should be: always for shapes and types, with `checked`
            also for a value of f that is not finite, naming the sample, and for a parameter that is nan.
    """
    check_key(key)
    problem = make_problem(f, dist, estimator, checked=checked)
    n_samples = estimator.properties.check_n_samples(type(estimator).__name__, n_samples)
    estimator = hold_parameters(estimator, dist)
    with plain_errors():
        return problem.finished(estimator.estimate(problem, key=key, n_samples=n_samples))


def n_evaluations(
    f: Callable[[Any], Any], dist: PyTree, *, estimator: Estimator, n_samples: int | None = None
) -> int:
    """How often `expect` with these arguments calls f; nothing is computed.

        >>> import jax.numpy as jnp, numpyro.distributions as dist
        >>> from backthrough.estimators import LeaveOneOut
        >>> n_evaluations(jnp.sum, dist.Bernoulli(logits=jnp.zeros(3)), estimator=LeaveOneOut(), n_samples=8)
        8

    Raises:
        ArgumentError: if the estimator cannot work for `f` or `dist`, or with so many samples.
    """
    problem = make_problem(f, dist, estimator)
    n_samples = estimator.properties.check_n_samples(type(estimator).__name__, n_samples)
    return estimator.n_evaluations(problem, n_samples)


class Auxiliary(NamedTuple):
    """What `value_and_grad` returns besides value and gradient.

    Attributes:
        control_grads: An estimator with, in place of each of its arrays, the gradient of the squared norm of
            the whole gradient; None elsewhere.
    """

    control_grads: PyTree


def value_and_grad(
    f: Callable[[Any], Any],
    dist_fn: Callable[[PyTree], PyTree],
    params: PyTree,
    *,
    key: PRNGKey,
    estimator: Estimator,
    n_samples: int | None = None,
    checked: bool = False,
) -> tuple[Scalar, PyTree, Auxiliary]:
    """The mean of f and its gradient, with the variance taken on `params` instead of the distribution's own.

        >>> import jax, jax.numpy as jnp, numpyro.distributions as dist
        >>> from backthrough.estimators import REBAR
        >>> value, grads, aux = value_and_grad(
        ...     lambda b: jnp.sum((b - 0.45) ** 2),
        ...     lambda params: dist.Bernoulli(logits=params["weight"] @ jnp.ones(3)),
        ...     {"weight": jnp.zeros((2, 3))},
        ...     key=jax.random.key(0),
        ...     estimator=REBAR(),
        ... )
        >>> grads["weight"].shape, aux.control_grads.scale.shape
        ((2, 3), ())

    Args:
        f: As for `expect`; what it closes over is a constant here.
        dist_fn: Makes the distribution from `params`.
        params: A pytree; its floating-point arrays get gradients.
        key: Typed key.
        estimator: How the gradient is estimated.
        n_samples: Samples that are averaged over; by default the fewest that it works with.
        checked: As for `expect`.

    Returns:
        `(value, grads, aux)`: grads as `params`, None for what is no floating-point array; in
        `aux.control_grads` the gradient of |grads|^2 with respect to the estimator's arrays (Grathwohl et al.
        2018, eq. 9).

    Raises:
        ArgumentError: as `expect`.
    """
    trained, fixed = eqx.partition(estimator, eqx.is_inexact_array)

    def gradient(trained: PyTree) -> tuple[PyTree, Scalar]:
        own = eqx.combine(trained, fixed)

        def mean(params: PyTree) -> Scalar:
            distribution = dist_fn(params)
            return expect(f, distribution, key=key, estimator=own, n_samples=n_samples, checked=checked)

        value, grads = eqx.filter_value_and_grad(mean)(params)
        return grads, value

    grads, pull, value = jax.vjp(gradient, trained, has_aux=True)
    (control_grads,) = pull(jax.tree_util.tree_map(lambda leaf: 2 * leaf, grads))
    return value, grads, Auxiliary(control_grads)


def hold_parameters(estimator: Estimator, dist: PyTree) -> Estimator:
    """The estimator; those of its arrays that are parameters of `dist` are not trained by the variance."""
    leaves = jax.tree_util.tree_leaves(dist)

    def held(leaf: Any) -> Any:
        traced = isinstance(leaf, Tracer)  # else there is no gradient, and arrays may well be shared
        return jax.lax.stop_gradient(leaf) if traced and any(leaf is own for own in leaves) else leaf

    return jax.tree_util.tree_map(held, estimator)


def make_problem(
    f: Callable[[Any], Any], dist: PyTree, estimator: Estimator, *, checked: bool = False
) -> Problem:
    """The expectation, when this estimator can work on it.

    Raises:
        ArgumentError: if it cannot, naming those that can.
    """
    if not isinstance(estimator, Estimator):
        raise ArgumentError(f"estimator must be an estimator such as DisARM(), got {estimator!r}")
    if not callable(f):
        raise ArgumentError(f"f must be a function of one sample, got {f!r}")
    joint, params = read_distribution(dist)
    able, name = estimator.properties, type(estimator).__name__
    if not able.take(joint):
        got = sorted({family.name for family in joint.families})
        others = names_of_those_that(lambda own: own.take(joint))
        if able.needs_relaxed and any(isinstance(family, CategoricalFamily) for family in joint.families):
            others += "; or give a OneHotCategorical, whose samples can be relaxed"
        raise ArgumentError(
            f"{name} works for {names_of(able.families)} variables, got {', '.join(got)}. For these there "
            f"are {others}"
        )
    if isinstance(f, NumpyFunction) and able.needs_gradient:
        others = names_of_those_that(lambda own: own.take(joint) and not own.needs_gradient)
        raise ArgumentError(
            f"{name} needs the gradient of f, which a NumPy function has not. Without it work {others}"
        )
    if checked:
        params = [
            jax.tree_util.tree_map(partial(watched, partial(check_parameter, family.name)), own)
            for family, own in zip(joint.families, params, strict=True)
        ]
    return Problem(f, joint, params, read_given_probs(dist), checked)
