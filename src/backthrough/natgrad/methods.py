"""The noisy natural gradients as methods of `fit_weights`."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import equinox as eqx
import jax
import optax
from jaxtyping import Array

from backthrough.core import PRNGKey, PyTree, check_choice, check_integer, check_positive
from backthrough.natgrad.blocks import Blocks
from backthrough.natgrad.expected_gradient import FISHERS, Fisher, expected_gradient
from backthrough.natgrad.fit import Problem, Training
from backthrough.natgrad.fitted import Fitted
from backthrough.natgrad.noisy_adam import noisy_adam
from backthrough.natgrad.noisy_ekfac import noisy_ekfac
from backthrough.natgrad.noisy_full import noisy_full
from backthrough.natgrad.noisy_kfac import noisy_kfac
from backthrough.natgrad.posterior import posterior
from backthrough.natgrad.taps import find_blocks
from backthrough.train import mean_over_shards


class State(NamedTuple):
    """What training carries.

    Attributes:
        model: The network with the mean weights.
        optimiser: State of the transformation.
        noise: State of the likelihood.
    """

    model: Any
    optimiser: Any
    noise: PyTree


@dataclass(frozen=True)
class NoisyKFAC:
    """Noisy K-FAC: a matrix-variate Gaussian for each layer (Zhang et al. 2018).

    Attributes:
        learning_rate: Of the natural gradient; it falls to a tenth half-way, as in the paper's experiments.
        damping: Extrinsic damping.
        damping_style: "factored" or "exact"; see `noisy_kfac`.
        momentum: Of the gradient's moving average.
        decay: Of the Fisher information's moving average.
        refresh_every: Steps between eigendecompositions.
        n_samples: Draws of the weights for each minibatch.
        fisher: "exact", "mc" or "empirical"; see `expected_gradient`.
    """

    learning_rate: float = 1e-2
    damping: float = 0.0
    damping_style: Literal["factored", "exact"] = "factored"
    momentum: float = 0.9
    decay: float = 0.99
    refresh_every: int = 10
    n_samples: int = 10
    fisher: Fisher = "exact"

    def transformation(self, blocks: Blocks, **settings: Any) -> optax.GradientTransformationExtraArgs:
        """The transformation with these settings."""
        return noisy_kfac(
            blocks, damping_style=self.damping_style, refresh_every=self.refresh_every, **settings
        )

    def training(self, problem: Problem, n_steps: int) -> Training:
        """How it trains."""
        return _training(self, problem, n_steps)


@dataclass(frozen=True)
class NoisyEKFAC:
    """Noisy EK-FAC: K-FAC's frame with eigenvalues that are right in it (Bae et al. 2018).

    Attributes:
        learning_rate: Of the natural gradient; it falls to a tenth half-way, as in the paper's experiments.
        damping: Extrinsic damping.
        momentum: Of the gradient's moving average.
        decay: Of the Fisher information's moving average.
        refresh_every: Steps between eigendecompositions.
        n_samples: Draws of the weights for each minibatch.
        fisher: "exact", "mc" or "empirical"; see `expected_gradient`.
    """

    learning_rate: float = 1e-2
    damping: float = 0.0
    momentum: float = 0.9
    decay: float = 0.99
    refresh_every: int = 50
    n_samples: int = 10
    fisher: Fisher = "exact"

    def transformation(self, blocks: Blocks, **settings: Any) -> optax.GradientTransformationExtraArgs:
        """The transformation with these settings."""
        return noisy_ekfac(blocks, refresh_every=self.refresh_every, **settings)

    def training(self, problem: Problem, n_steps: int) -> Training:
        """How it trains."""
        return _training(self, problem, n_steps)


@dataclass(frozen=True)
class NoisyAdam:
    """Noisy Adam: a factorised posterior (Zhang et al. 2018).

    Attributes:
        learning_rate: Of the natural gradient; it falls to a tenth half-way, as in the paper's experiments.
        damping: Extrinsic damping.
        momentum: Of the gradient's moving average.
        decay: Of the Fisher information's moving average.
        n_samples: Draws of the weights for each minibatch.
        fisher: "exact", "mc" or "empirical"; see `expected_gradient`.
    """

    learning_rate: float = 1e-2
    damping: float = 0.0
    momentum: float = 0.9
    decay: float = 0.99
    n_samples: int = 10
    fisher: Fisher = "exact"

    def transformation(self, blocks: Blocks, **settings: Any) -> optax.GradientTransformationExtraArgs:
        """The transformation with these settings."""
        return noisy_adam(blocks, **settings)

    def training(self, problem: Problem, n_steps: int) -> Training:
        """How it trains."""
        return _training(self, problem, n_steps)


@dataclass(frozen=True)
class NoisyFull:
    """The noisy natural gradient with a full covariance, for networks of at most 5,000 weights.

    Attributes:
        learning_rate: Of the natural gradient; it falls to a tenth half-way, as in the paper's experiments.
        damping: Extrinsic damping.
        momentum: Of the gradient's moving average.
        decay: Of the Fisher information's moving average.
        refresh_every: Steps between eigendecompositions.
        n_samples: Draws of the weights for each minibatch.
        fisher: "exact", "mc" or "empirical"; see `expected_gradient`.
    """

    learning_rate: float = 1e-2
    damping: float = 0.0
    momentum: float = 0.9
    decay: float = 0.99
    refresh_every: int = 10
    n_samples: int = 10
    fisher: Fisher = "exact"

    def transformation(self, blocks: Blocks, **settings: Any) -> optax.GradientTransformationExtraArgs:
        """The transformation with these settings."""
        return noisy_full(blocks, refresh_every=self.refresh_every, **settings)

    def training(self, problem: Problem, n_steps: int) -> Training:
        """How it trains."""
        return _training(self, problem, n_steps)


def falling_late(learning_rate: float, n_steps: int) -> Callable[[Any], Any]:
    """The paper's schedule: constant for half of the steps, then a tenth."""
    return optax.piecewise_constant_schedule(learning_rate, {max(1, n_steps // 2): 0.1})


def _training(method: Any, problem: Problem, n_steps: int) -> Training:
    check_integer("n_samples", method.n_samples, minimum=1)
    check_positive("learning_rate", method.learning_rate)
    check_choice("fisher", method.fisher, FISHERS)
    blocks = find_blocks(problem.model, problem.example, apply=problem.apply)
    likelihood, apply = problem.likelihood, problem.apply
    transformation = method.transformation(
        blocks,
        n_data=problem.n_data,
        learning_rate=falling_late(method.learning_rate, n_steps),
        prior_var=problem.prior_var,
        kl_weight=problem.kl_weight,
        damping=method.damping,
        momentum=method.momentum,
        decay=method.decay,
    )

    def init(model: Any, *, key: PRNGKey) -> State:
        optimiser = transformation.init(eqx.filter(model, eqx.is_inexact_array))
        return State(model, optimiser, likelihood.init())

    def step(state: State, batch: Any, *, key: PRNGKey) -> tuple[State, dict[str, Array]]:
        x, y = batch
        draw_key, fisher_key = jax.random.split(key)
        q = posterior(state.optimiser, state.model)
        models, parameters = Fitted(q, state.noise, likelihood, apply).draws(method.n_samples, key=draw_key)
        found = expected_gradient(
            models,
            blocks,
            likelihood,
            parameters,
            x,
            y,
            key=fisher_key,
            fisher=method.fisher,
            apply=apply,
        )
        gradient, weights = mean_over_shards((found.gradient, found.curvature.weights))
        curvature = found.curvature._replace(weights=weights)
        updates, optimiser = transformation.update(gradient, state.optimiser, curvature=curvature)
        noise = mean_over_shards(
            likelihood.learn(
                state.noise, found.outputs, y, n_data=problem.n_data, kl_weight=problem.kl_weight
            )
        )
        kl = q.kl() + likelihood.kl(state.noise)
        return State(eqx.apply_updates(state.model, updates), optimiser, noise), {
            "log-likelihood (nats an example)/train": -found.loss,
            "KL divergence (nats an example)/train": kl / problem.n_data,
        }

    def finish(state: State) -> Fitted:
        return Fitted(posterior(state.optimiser, state.model), state.noise, likelihood, apply)

    return Training(init, step, finish)
