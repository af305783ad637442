"""Bayesian linear regression, whose posterior is known, and what a noisy natural gradient finds on it."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from backthrough.natgrad import FixedNoise, Gaussian, expected_gradient, find_blocks, posterior

N_DATA, N_FEATURES, NOISE, PRIOR_VAR = 200, 7, 0.5, 0.3
GENERATOR = np.random.default_rng(0)
X = GENERATOR.normal(size=(N_DATA, N_FEATURES)) * np.linspace(0.5, 2, N_FEATURES)
X[:, 1] += 0.8 * X[:, 0]
Y = (X @ GENERATOR.normal(size=N_FEATURES) + NOISE * GENERATOR.normal(size=N_DATA))[:, None]
WITH_ONE = np.column_stack([X, np.ones(N_DATA)])
PRECISION = WITH_ONE.T @ WITH_ONE / NOISE**2 + np.eye(N_FEATURES + 1) / PRIOR_VAR
MEAN = np.linalg.solve(PRECISION, WITH_ONE.T @ Y[:, 0] / NOISE**2)
LIKELIHOOD = Gaussian(FixedNoise(NOISE))
MODEL = eqx.nn.Linear(N_FEATURES, 1, key=jax.random.key(0))
BLOCKS = find_blocks(MODEL, jnp.asarray(X[0], MODEL.weight.dtype))


def found_by(make, *, steps=300, wrap=lambda transform: transform, **settings):
    """The posterior after steps on all data; the expected gradient of a linear model is that at the mean."""
    transform = wrap(
        make(BLOCKS, n_data=N_DATA, prior_var=PRIOR_VAR, learning_rate=0.2, decay=0.9, **settings)
    )
    x, y = jnp.asarray(X, MODEL.weight.dtype), jnp.asarray(Y, MODEL.weight.dtype)

    @jax.jit
    def run(model):
        def step(carry, _):
            model, state = carry
            models = jax.tree_util.tree_map(lambda leaf: leaf[None], model)
            parameters = LIKELIHOOD.init()[None]
            found = expected_gradient(models, BLOCKS, LIKELIHOOD, parameters, x, y, key=jax.random.key(0))
            updates, state = transform.update(found.gradient, state, model, curvature=found.curvature)
            return (eqx.apply_updates(model, updates), state), None

        return jax.lax.scan(step, (model, transform.init(model)), length=steps)[0]

    model, state = run(MODEL)
    return posterior(state, model)


def as_vector(model):
    return np.append(np.asarray(model.weight, np.float64)[0], np.asarray(model.bias, np.float64))


def covariance_of(q):
    """Dense; a bias of its own block stands last."""
    (precision,) = q.precision_blocks().values()
    return np.linalg.inv(np.asarray(precision, np.float64))


def divergence(mean, covariance):
    """KL(q || the true posterior), nats."""
    delta = mean - MEAN
    product = PRECISION @ covariance
    return 0.5 * (np.trace(product) - len(mean) - np.linalg.slogdet(product)[1] + delta @ PRECISION @ delta)


def factored():
    """The covariance of noisy K-FAC with factored damping, by its formula."""
    a, s = WITH_ONE.T @ WITH_ONE / N_DATA, NOISE**-2
    damping = 1 / (N_DATA * PRIOR_VAR)
    pi = np.sqrt(np.trace(a) / len(a) / s)
    u = np.linalg.inv(a + pi * np.sqrt(damping) * np.eye(len(a))) / N_DATA
    return u / (s + np.sqrt(damping) / pi)
