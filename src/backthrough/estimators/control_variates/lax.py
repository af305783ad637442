"""LAX: a learned control variate for variables that can be reparameterised.

Grathwohl et al. 2018, eq. 6, with b = b(theta, noise):

    g = (f(b) - c(b)) d/dtheta log p(b; theta) + d/dtheta c(b(theta, noise))
"""

import jax
import jax.numpy as jnp

from backthrough.core import PRNGKey, Scalar
from backthrough.estimators.attach import attach
from backthrough.estimators.control_variates.control import Control, check_trainable, learned_control
from backthrough.estimators.estimator import Estimator, Problem, Properties, sample_keys, scaled
from backthrough.estimators.families import Parts, ReparameterisedFamily


class LAX(Estimator):
    """(f(b) - c(b)) grad log p(b) + grad c(b(params, noise)), for reparameterisable b.

    Grathwohl et al. 2018, eq. 6. Unbiased for every c; c = f is `Reparameterisation`, c = 0 `ScoreFunction`.

    Attributes:
        control: c, an Equinox module that maps one sample to one number. Its arrays are trained by the
            gradient of the variance; what it closes over is held fixed.
    """

    control: Control

    def __check_init__(self) -> None:
        check_trainable(self.control)

    @property
    def properties(self) -> Properties:
        """Unbiased, for values of f only."""
        return Properties(unbiased=True, families=(ReparameterisedFamily,))

    def estimate(self, problem: Problem, *, key: PRNGKey, n_samples: int) -> Scalar:
        """The mean over `n_samples` draws."""
        joint, params = problem.joint, problem.fixed_params()
        control = learned_control(self.control, problem)

        def draw(key: PRNGKey) -> tuple[Scalar, Parts]:
            noise = joint.noise(params, key=key)
            b = joint.relax(params, noise)
            value = problem.value(b)
            of_control, slope = jax.value_and_grad(lambda own: control(joint.relax(own, noise)))(params)
            advantage = jax.lax.stop_gradient(value) - of_control
            score_part = scaled(advantage, joint.score(params, b))
            return value, jax.tree_util.tree_map(jnp.add, score_part, slope)

        values, gradients = jax.vmap(draw)(sample_keys(key, n_samples))
        return attach(values, problem.params, gradients)

    def n_evaluations(self, problem: Problem, n_samples: int) -> int:
        """One a sample."""
        return n_samples
