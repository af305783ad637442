"""Estimators that differentiate f: along a reparameterised sample, a relaxed one, or straight through."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from backthrough.core import PRNGKey, Scalar
from backthrough.estimators.attach import first_derivative_only
from backthrough.estimators.estimator import Estimator, Problem, Properties, sample_keys
from backthrough.estimators.families import ReparameterisedFamily, SoftFamily, check_temperature

SOFT = (SoftFamily, ReparameterisedFamily)
Values = Float[Array, "..."]


class Reparameterisation(Estimator):
    """The derivative of f(loc + scale * noise) at fixed noise (Kingma and Welling 2014)."""

    @property
    def properties(self) -> Properties:
        """Unbiased; f must be differentiable."""
        return Properties(unbiased=True, families=(ReparameterisedFamily,), needs_gradient=True)

    def estimate(self, problem: Problem, *, key: PRNGKey, n_samples: int) -> Scalar:
        """The mean over `n_samples` draws; it has derivatives of every order."""
        joint, params = problem.joint, problem.params

        def draw(key: PRNGKey) -> Scalar:
            return problem.value(joint.relax(params, joint.noise(params, key=key)))

        return jax.vmap(draw)(sample_keys(key, n_samples)).mean()

    def n_evaluations(self, problem: Problem, n_samples: int) -> int:
        """One a sample."""
        return n_samples


class Concrete(Estimator):
    """f at a relaxed sample, soften(z / temperature): the Gumbel-softmax trick.

    Jang et al. 2017; Maddison et al. 2017. Value and gradient are those of the relaxed problem, so both are
    biased, less so at low temperature, where the variance grows.

    Attributes:
        temperature: Above 0.
    """

    temperature: float | Scalar = 0.5

    def __check_init__(self) -> None:
        check_temperature(self.temperature)

    @property
    def properties(self) -> Properties:
        """Biased; f must be differentiable between the values of b."""
        return Properties(unbiased=False, families=SOFT, needs_gradient=True, needs_relaxed=True)

    def estimate(self, problem: Problem, *, key: PRNGKey, n_samples: int) -> Scalar:
        """The mean over `n_samples` relaxed draws."""
        joint, params = problem.joint, problem.params

        def draw(key: PRNGKey) -> Scalar:
            z = joint.relax(params, joint.noise(params, key=key))
            return problem.value(joint.soften(z, jnp.asarray(self.temperature)))

        return jax.vmap(draw)(sample_keys(key, n_samples)).mean()

    def n_evaluations(self, problem: Problem, n_samples: int) -> int:
        """One a sample."""
        return n_samples


class StraightThrough(Estimator):
    """f at a sample; its gradient goes on to the probabilities (Bengio et al. 2013). Biased."""

    @property
    def properties(self) -> Properties:
        """Biased; f must be differentiable."""
        return Properties(unbiased=False, families=SOFT, needs_gradient=True)

    def estimate(self, problem: Problem, *, key: PRNGKey, n_samples: int) -> Scalar:
        """The mean over `n_samples` draws."""

        def stand_in(family: SoftFamily, logits: Values, z: Values, b: Values) -> Values:
            return family.soften(logits, jnp.ones(()))

        return _through(problem, key, n_samples, stand_in)

    def n_evaluations(self, problem: Problem, n_samples: int) -> int:
        """One a sample."""
        return n_samples


class StraightThroughGumbel(Estimator):
    """f at a sample; its gradient goes on to the relaxed sample (Jang et al. 2017, sec. 2.2). Biased.

    Attributes:
        temperature: Above 0.
    """

    temperature: float | Scalar = 1.0

    def __check_init__(self) -> None:
        check_temperature(self.temperature)

    @property
    def properties(self) -> Properties:
        """Biased; f must be differentiable."""
        return Properties(unbiased=False, families=SOFT, needs_gradient=True)

    def estimate(self, problem: Problem, *, key: PRNGKey, n_samples: int) -> Scalar:
        """The mean over `n_samples` draws."""

        def stand_in(family: SoftFamily, logits: Values, z: Values, b: Values) -> Values:
            return family.soften(z, jnp.asarray(self.temperature))

        return _through(problem, key, n_samples, stand_in)

    def n_evaluations(self, problem: Problem, n_samples: int) -> int:
        """One a sample."""
        return n_samples


class ReinMax(Estimator):
    """Straight-through, correct to second order (Liu et al. 2023, alg. 2). Biased, but less.

    With p = softmax(l), p' = (softmax(l / temperature) + b) / 2, the gradient is that of 2 p' - p / 2, where
    p' is differentiated as a softmax that takes this value.

    Attributes:
        temperature: At least 1.
    """

    temperature: float | Scalar = 1.0

    def __check_init__(self) -> None:
        check_temperature(self.temperature, minimum=1)

    @property
    def properties(self) -> Properties:
        """Biased; f must be differentiable."""
        return Properties(unbiased=False, families=SOFT, needs_gradient=True)

    def estimate(self, problem: Problem, *, key: PRNGKey, n_samples: int) -> Scalar:
        """The mean over `n_samples` draws."""

        def stand_in(family: SoftFamily, logits: Values, z: Values, b: Values) -> Values:
            flat = family.soften(logits, jnp.asarray(self.temperature))
            value = jax.lax.stop_gradient(0.5 * (flat + b))
            # zero, with derivatives; an infinite logit has none
            moved = jnp.where(jnp.isfinite(logits), logits - jax.lax.stop_gradient(logits), 0)
            shifted = value + family.soften_tangent(value, moved)
            return 2 * shifted - 0.5 * family.soften(logits, jnp.ones(()))

        return _through(problem, key, n_samples, stand_in)

    def n_evaluations(self, problem: Problem, n_samples: int) -> int:
        """One a sample."""
        return n_samples


def _through(problem: Problem, key: PRNGKey, n_samples: int, stand_in: Callable[..., Values]) -> Scalar:
    """The mean of f at samples whose derivative is that of `stand_in(family, logits, z, b)`.

    A reparameterised variable needs none.
    """
    joint, params = problem.joint, first_derivative_only(problem.params)

    def draw(key: PRNGKey) -> Scalar:
        z = joint.relax(params, joint.noise(params, key=key))
        b = joint.harden(z)
        through = []
        for family, *own in zip(joint.families, params, z, b, strict=True):
            hard = own[-1]
            if isinstance(family, SoftFamily):
                soft = stand_in(family, *own)
                hard = jax.lax.stop_gradient(hard - soft) + soft
            through.append(hard)
        return problem.value(through)

    return jax.vmap(draw)(sample_keys(key, n_samples)).mean()
