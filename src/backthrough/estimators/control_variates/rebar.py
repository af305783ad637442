"""REBAR: RELAX whose control variate is f itself, at a relaxed sample.

Tucker et al. 2017, in the form of Grathwohl et al. 2018, eq. 8: c(z) = scale * f(soften(z, temperature)).
"""

import equinox as eqx
import jax.numpy as jnp

from backthrough.core import PRNGKey, Scalar
from backthrough.estimators.control_variates.control import log_of_temperature, relaxed_control
from backthrough.estimators.control_variates.relax import relax_estimate
from backthrough.estimators.estimator import Estimator, Problem, Properties
from backthrough.estimators.families import ReparameterisedFamily, SoftFamily


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
        families = (SoftFamily, ReparameterisedFamily)
        return Properties(unbiased=True, families=families, needs_gradient=True, needs_relaxed=True)

    def estimate(self, problem: Problem, *, key: PRNGKey, n_samples: int) -> Scalar:
        """The mean over `n_samples` draws."""
        control = relaxed_control(problem, self.log_temperature, self.scale)
        return relax_estimate(problem, control, self.coupled, key=key, n_samples=n_samples)

    def n_evaluations(self, problem: Problem, n_samples: int) -> int:
        """At the sample, and at two relaxed ones."""
        return 3 * n_samples
