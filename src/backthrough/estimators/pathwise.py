"""Estimators that differentiate f: along a reparameterised sample, a relaxed one, or straight through."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from backthrough.core import PRNGKey, Scalar
from backthrough.estimators.attach import first_derivative_only
from backthrough.estimators.estimator import Estimator, Problem, Properties, sample_keys
from backthrough.estimators.joint import Parts
from backthrough.estimators.reading import check_temperature

RELAXABLE = ("Bernoulli", "OneHotCategorical", "Normal")
Values = Float[Array, "..."]


class Reparameterisation(Estimator):
    """The derivative of f(loc + scale * noise) at fixed noise (Kingma and Welling 2014)."""

    @property
    def properties(self) -> Properties:
        """Unbiased; f must be differentiable."""
        return Properties(True, True, False, ("Normal",))

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
        return Properties(False, True, True, RELAXABLE)

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
        return Properties(False, True, False, RELAXABLE)

    def estimate(self, problem: Problem, *, key: PRNGKey, n_samples: int) -> Scalar:
        """The mean over `n_samples` draws."""

        def stand_in(logits: Parts, z: Parts, b: Parts) -> Parts:
            return problem.joint.soften(logits, jnp.ones(()))

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
        return Properties(False, True, False, RELAXABLE)

    def estimate(self, problem: Problem, *, key: PRNGKey, n_samples: int) -> Scalar:
        """The mean over `n_samples` draws."""

        def stand_in(logits: Parts, z: Parts, b: Parts) -> Parts:
            return problem.joint.soften(z, jnp.asarray(self.temperature))

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
        return Properties(False, True, False, RELAXABLE)

    def estimate(self, problem: Problem, *, key: PRNGKey, n_samples: int) -> Scalar:
        """The mean over `n_samples` draws."""
        joint = problem.joint

        def stand_in(logits: Parts, z: Parts, b: Parts) -> Parts:
            flat = joint.soften(logits, jnp.asarray(self.temperature))
            plain = joint.soften(logits, jnp.ones(()))
            shifted = [
                own if not family.discrete else _as_softmax(family.name, 0.5 * (soft + hard), own)
                for family, soft, hard, own in zip(joint.families, flat, b, logits, strict=True)
            ]
            return [
                new if not family.discrete else 2 * new - 0.5 * own
                for family, new, own in zip(joint.families, shifted, plain, strict=True)
            ]

        return _through(problem, key, n_samples, stand_in)

    def n_evaluations(self, problem: Problem, n_samples: int) -> int:
        """One a sample."""
        return n_samples


def _as_softmax(family: str, value: Values, logits: Values) -> Values:
    """`value` in value; in derivative the softmax (or sigmoid) of logits that has this value."""
    fixed = jax.lax.stop_gradient(value)
    if family == "Bernoulli":
        slope = fixed * (1 - fixed)
        return fixed + slope * (logits - jax.lax.stop_gradient(logits))
    change = logits - jax.lax.stop_gradient(logits)
    return fixed + fixed * (change - jnp.sum(fixed * change, axis=-1, keepdims=True))


def _through(problem: Problem, key: PRNGKey, n_samples: int, stand_in: Callable[..., Parts]) -> Scalar:
    """The mean of f at samples whose derivative is that of `stand_in(logits, z, b)`."""
    joint, params = problem.joint, first_derivative_only(problem.params)

    def draw(key: PRNGKey) -> Scalar:
        z = joint.relax(params, joint.noise(params, key=key))
        b = joint.harden(z)
        # a Normal variable is its own stand-in: it is reparameterised
        middle = [
            own if family.discrete else place
            for family, own, place in zip(joint.families, params, z, strict=True)
        ]
        soft = stand_in(middle, z, b)
        through = jax.tree_util.tree_map(lambda h, s: jax.lax.stop_gradient(h - s) + s, b, soft)
        return problem.value(through)

    return jax.vmap(draw)(sample_keys(key, n_samples)).mean()
