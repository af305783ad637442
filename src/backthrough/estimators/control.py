"""Estimators with a control variate that is differentiated: LAX, REBAR, RELAX (Grathwohl et al. 2018)."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from backthrough.core import ArgumentError, PRNGKey, PyTree, Scalar, check_key
from backthrough.estimators.attach import attach
from backthrough.estimators.estimator import (
    Estimator,
    Problem,
    Properties,
    hold_closure,
    one_number,
    sample_keys,
)
from backthrough.estimators.joint import FAMILY_NAMES, Joint, Parts, read_distribution
from backthrough.estimators.pathwise import RELAXABLE
from backthrough.estimators.reading import check_temperature
from backthrough.estimators.score import scaled

Control = Callable[[Any], Any]


class LAX(Estimator):
    """(f(b) - c(b)) grad log p(b) + grad c(b(params, noise)), for reparameterisable b.

    Grathwohl et al. 2018, eq. 6. Unbiased for every c; c = f is `Reparameterisation`, c = 0 `ScoreFunction`.

    Attributes:
        control: c, an Equinox module that maps one sample to one number.
    """

    control: Control

    def __check_init__(self) -> None:
        check_trainable(self.control)

    @property
    def properties(self) -> Properties:
        """Unbiased, for values of f only."""
        return Properties(True, False, False, ("Normal",))

    def estimate(self, problem: Problem, *, key: PRNGKey, n_samples: int) -> Scalar:
        """The mean over `n_samples` draws."""
        joint, params = problem.joint, problem.fixed_params()
        learned = learned_control(self.control, problem)

        def draw(key: PRNGKey) -> tuple[Scalar, Parts]:
            noise = joint.noise(params, key=key)
            b = joint.relax(params, noise)
            value = problem.value(b)
            of_control, slope = jax.value_and_grad(lambda own: learned(joint.relax(own, noise)))(params)
            advantage = jax.lax.stop_gradient(value) - of_control
            return value, _add(scaled(advantage, joint.score(params, b)), slope)

        values, gradients = jax.vmap(draw)(sample_keys(key, n_samples))
        return attach(values, problem.params, gradients)

    def n_evaluations(self, problem: Problem, n_samples: int) -> int:
        """One a sample."""
        return n_samples


class REBAR(Estimator):
    """RELAX with c(z) = scale * f(soften(z, temperature)) (Tucker et al. 2017).

    Attributes:
        log_temperature: Logarithm of the temperature; trained.
        scale: Trained.
        coupled: Whether the noise behind z given b is chosen so that it equals z, as Tucker et al. do, or is
            drawn independently.
    """

    log_temperature: Scalar
    scale: Scalar
    coupled: bool = eqx.field(static=True)

    def __init__(
        self, temperature: float | Scalar = 0.5, scale: float | Scalar = 1.0, *, coupled: bool = False
    ):
        self.log_temperature = log_of_temperature(temperature)
        self.scale = jnp.asarray(scale, jnp.result_type(float))
        self.coupled = coupled

    @property
    def properties(self) -> Properties:
        """Unbiased; f must be differentiable between the values of b."""
        return Properties(True, True, True, RELAXABLE)

    def estimate(self, problem: Problem, *, key: PRNGKey, n_samples: int) -> Scalar:
        """The mean over `n_samples` draws."""
        control = _relaxed(problem, self.log_temperature, self.scale)
        return relax_estimate(problem, control, self.coupled, key=key, n_samples=n_samples)

    def n_evaluations(self, problem: Problem, n_samples: int) -> int:
        """At the sample, and at two relaxed ones."""
        return 3 * n_samples


class RELAX(Estimator):
    """(f(b) - c(z')) grad log p(b) + grad c(z) - grad c(z'), with z' from p(z | b).

    Grathwohl et al. 2018, eq. 8. Unbiased for every c. Normal variables in a pytree beside discrete ones are
    treated as `LAX` does.

    Attributes:
        control: An Equinox module that maps one z to one number; z has the structure of a sample, with
            unbounded entries (logits with noise). It should have a bias, which becomes the baseline.
        log_temperature: None; or, when a temperature was given, its logarithm: then
            c(z) = scale * f(soften(z, temperature)) + control(z), which needs f between the values of b.
        scale: As for `REBAR`.
        coupled: As for `REBAR`.
    """

    control: Control
    log_temperature: Scalar | None
    scale: Scalar | None
    coupled: bool = eqx.field(static=True)

    def __init__(
        self,
        control: Control,
        *,
        temperature: float | Scalar | None = None,
        scale: float | Scalar = 1.0,
        coupled: bool = False,
    ):
        check_trainable(control)
        self.control = control
        self.log_temperature = None if temperature is None else log_of_temperature(temperature)
        self.scale = None if temperature is None else jnp.asarray(scale, jnp.result_type(float))
        self.coupled = coupled

    @property
    def properties(self) -> Properties:
        """Unbiased; needs f between the values of b only with a temperature."""
        if self.log_temperature is None:
            return Properties(True, False, False, FAMILY_NAMES)
        return Properties(True, True, True, RELAXABLE)

    def estimate(self, problem: Problem, *, key: PRNGKey, n_samples: int) -> Scalar:
        """The mean over `n_samples` draws."""
        learned = learned_control(self.control, problem)
        if self.log_temperature is None or self.scale is None:
            control: Callable[[Parts], Scalar] = learned
        else:
            relaxed = _relaxed(problem, self.log_temperature, self.scale)
            control = lambda z: relaxed(z) + learned(z)  # noqa: E731

        return relax_estimate(problem, control, self.coupled, key=key, n_samples=n_samples)

    def n_evaluations(self, problem: Problem, n_samples: int) -> int:
        """At the sample, and with a temperature at two relaxed ones."""
        return n_samples if self.log_temperature is None else 3 * n_samples


def relax_estimate(
    problem: Problem, control: Callable[[Parts], Scalar], coupled: bool, *, key: PRNGKey, n_samples: int
) -> Scalar:
    """The RELAX estimate for a control variate of z (Grathwohl et al. 2018, alg. 1)."""
    joint, params = problem.joint, problem.fixed_params()

    def draw(key: PRNGKey) -> tuple[Scalar, Parts]:
        noise, other = _two_noises(joint, params, key)
        z = joint.relax(params, noise)
        b = joint.harden(z)
        other = joint.couple(params, z) if coupled else other
        value = problem.value(b)

        def difference(params: Parts) -> tuple[Scalar, Scalar]:
            """c(z) - c(z'), and c(z'); one batched call."""
            pair = (joint.relax(params, noise), joint.condition(params, b, other))
            both = jax.tree_util.tree_map(lambda *own: jnp.stack(own), *pair)
            free, conditional = jax.vmap(control)(both)
            return free - conditional, conditional

        slope, conditional = jax.grad(difference, has_aux=True)(params)
        advantage = jax.lax.stop_gradient(value) - conditional
        return value, _add(scaled(advantage, joint.score(params, b)), slope)

    values, gradients = jax.vmap(draw)(sample_keys(key, n_samples))
    return attach(values, problem.params, gradients)


def relaxation_noise(dist: PyTree, *, key: PRNGKey) -> PyTree:
    """The noise behind the z that `REBAR` and `RELAX` draw with this key, when n_samples is 1.

    For several layers of variables: a control variate of a lower layer that draws the layers above softly,
    with the very noise with which f draws them, follows f far more closely than one with noise of its own.
    The estimate stays unbiased, since that noise is independent of the lower layer's.

        >>> import jax, jax.numpy as jnp, numpyro.distributions as dist
        >>> relaxation_noise(dist.Bernoulli(logits=jnp.zeros(3)), key=jax.random.key(0)).shape
        (3,)

    Args:
        dist: As for `expect`. Only its shape matters: logistic noise for Bernoulli variables, Gumbel noise
            for categories, standard normal noise for normal ones.
        key: The key that `expect` gets.

    Returns:
        Arrays in the structure of a sample.

    Raises:
        ArgumentError: as `expect` for a `dist` that it cannot take.
    """
    check_key(key)
    joint, params = read_distribution(dist)
    return joint.present(_two_noises(joint, params, key)[0])


def _two_noises(joint: Joint, params: Parts, key: PRNGKey) -> tuple[Parts, Parts]:
    """For z, and for z given b."""
    twice = jax.tree_util.tree_map(lambda leaf: jnp.broadcast_to(leaf, (2, *leaf.shape)), params)
    both = joint.noise(twice, key=key)
    return [own[0] for own in both], [own[1] for own in both]


def log_of_temperature(temperature: float | Scalar) -> Scalar:
    """The logarithm of a temperature above 0."""
    check_temperature(temperature)
    return jnp.log(jnp.asarray(temperature, jnp.result_type(float)))


def check_trainable(control: Control) -> None:
    """Refuses a control variate that has nothing to train."""
    if not callable(control):
        raise ArgumentError(f"control must be callable, got {control!r}")
    if not any(eqx.is_inexact_array(leaf) for leaf in jax.tree_util.tree_leaves(control)):
        raise ArgumentError(
            "control has no trainable array, so it cannot learn; make it an Equinox module with parameters "
            "(a plain function and its arrays: eqx.Partial(function, arrays))"
        )


def learned_control(control: Control, problem: Problem) -> Callable[[Parts], Scalar]:
    """A control variate of the parts of z, with what it closes over held fixed."""
    joint, params = problem.joint, problem.fixed_params()
    z = jax.eval_shape(lambda: joint.present(joint.relax(params, joint.noise(params, key=jax.random.key(0)))))
    held = hold_closure("control", control, z)
    return lambda z: one_number("control", held(joint.present(z)))


def _relaxed(problem: Problem, log_temperature: Scalar, scale: Scalar) -> Callable[[Parts], Scalar]:
    """scale * f(soften(z)), with all that f closes over held fixed."""
    fixed = problem.with_fixed_f()
    temperature = jnp.exp(log_temperature)
    return lambda z: scale * fixed.value(problem.joint.soften(z, temperature))


def _add(left: Parts, right: Parts) -> Parts:
    return jax.tree_util.tree_map(jnp.add, left, right)
