"""RELAX: a learned control variate for discrete variables.

Grathwohl et al. 2018, eq. 8 and alg. 1, with z = z(theta, noise), b = H(z), and z' from p(z | H(z) = b):

    g = (f(b) - c(z')) d/dtheta log p(b; theta) + d/dtheta c(z) - d/dtheta c(z')
"""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp

from backthrough.core import ArgumentError, PRNGKey, PyTree, Scalar, check_key
from backthrough.estimators.attach import attach
from backthrough.estimators.control_variates.control import (
    Control,
    check_trainable,
    learned_control,
    log_of_temperature,
    relaxed_control,
)
from backthrough.estimators.estimator import Estimator, Problem, Properties, sample_keys, scaled
from backthrough.estimators.families import (
    Joint,
    Parts,
    RelaxedFamily,
    ReparameterisedFamily,
    SoftFamily,
    names_of,
    read_distribution,
)

WITH_Z = (RelaxedFamily, ReparameterisedFamily)


class RELAX(Estimator):
    """(f(b) - c(z')) grad log p(b) + grad c(z) - grad c(z'), with z' from p(z | b).

    Grathwohl et al. 2018, eq. 8. Unbiased for every c. Normal variables in a pytree beside discrete ones are
    treated as `LAX` does.

    Attributes:
        control: An Equinox module that maps one z to one number; z has the structure of a sample, with
            unbounded entries (logits with noise). It should have a bias, which becomes the baseline. Its
            arrays are trained by the gradient of the variance; what it closes over is held fixed.
        log_temperature: None; or, when a temperature was given, its logarithm: then
            c(z) = scale * f(soften(z, temperature)) + control(z), which needs f between the values of b.
            Trained.
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
            return Properties(unbiased=True, families=WITH_Z)
        families = (SoftFamily, ReparameterisedFamily)
        return Properties(unbiased=True, families=families, needs_gradient=True, needs_relaxed=True)

    def estimate(self, problem: Problem, *, key: PRNGKey, n_samples: int) -> Scalar:
        """The mean over `n_samples` draws."""
        learned = learned_control(self.control, problem)
        if self.log_temperature is None or self.scale is None:
            return relax_estimate(problem, learned, self.coupled, key=key, n_samples=n_samples)
        relaxed = relaxed_control(problem, self.log_temperature, self.scale)
        both = lambda z: relaxed(z) + learned(z)  # noqa: E731
        return relax_estimate(problem, both, self.coupled, key=key, n_samples=n_samples)

    def n_evaluations(self, problem: Problem, n_samples: int) -> int:
        """At the sample, and with a temperature at two relaxed ones."""
        return n_samples if self.log_temperature is None else 3 * n_samples


def relax_estimate(
    problem: Problem, control: Callable[[Parts], Scalar], coupled: bool, *, key: PRNGKey, n_samples: int
) -> Scalar:
    """The RELAX estimate for a control variate of the parts of z."""
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
        score_part = scaled(advantage, joint.score(params, b))
        return value, jax.tree_util.tree_map(jnp.add, score_part, slope)

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
        ArgumentError: as `expect` for a `dist` that it cannot take, or that has no such noise.
    """
    check_key(key)
    joint, params = read_distribution(dist)
    for family in joint.families:
        if not isinstance(family, WITH_Z):
            raise ArgumentError(f"{family.name} variables have no relaxation noise; {names_of(WITH_Z)} have")
    return joint.present(_two_noises(joint, params, key)[0])


def _two_noises(joint: Joint, params: Parts, key: PRNGKey) -> tuple[Parts, Parts]:
    """For z, and for z given b."""
    twice = jax.tree_util.tree_map(lambda leaf: jnp.broadcast_to(leaf, (2, *leaf.shape)), params)
    both = joint.noise(twice, key=key)
    return [own[0] for own in both], [own[1] for own in both]
