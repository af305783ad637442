"""What the outputs of a network say about a target, and what the Fisher information needs of it."""

from typing import Any, Protocol, runtime_checkable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from backthrough.core import ArgumentError, DataError, PRNGKey, PyTree, Scalar, check_integer
from backthrough.natgrad.noise import FixedNoise, GammaNoise
from backthrough.natgrad.predictive import ClassPredictive, GaussianPredictive


@runtime_checkable
class Likelihood(Protocol):
    """p(y | outputs, parameters) of ONE example; the parameters, such as a noise, may have a posterior.

    Attributes:
        n_outputs: Numbers that the network must give for an example.
    """

    n_outputs: int

    def init(self) -> PyTree:
        """The posterior of the likelihood's own parameters before it has seen data; `()` without any."""
        ...

    def draw(self, state: PyTree, *, key: PRNGKey) -> PyTree:
        """Parameters drawn from their posterior."""
        ...

    def log_prob(self, outputs: Float[Array, "out"], y: Array, parameters: PyTree) -> Scalar:
        """log p(y | outputs, parameters)."""
        ...

    def sample(self, outputs: Float[Array, "out"], parameters: PyTree, *, key: PRNGKey) -> Array:
        """A target drawn from the likelihood."""
        ...

    def fisher_factors(self, outputs: Float[Array, "out"], parameters: PyTree) -> Float[Array, "factor out"]:
        """Rows c whose products c c^T add up to the Fisher information of the outputs."""
        ...

    def learn(
        self,
        state: PyTree,
        outputs: Float[Array, "sample example out"],
        y: Array,
        *,
        n_data: Any,
        kl_weight: Any,
    ) -> PyTree:
        """The posterior of the parameters after a minibatch, seen through draws of the weights."""
        ...

    def kl(self, state: PyTree) -> Scalar:
        """KL divergence of the parameters' posterior from their prior, nats."""
        ...

    def predictive(self, outputs: Float[Array, "sample row out"], parameters: PyTree) -> Any:
        """What is predicted by draws of outputs and parameters, the leading axis being that of draws."""
        ...

    def check_targets(self, y: Any) -> np.ndarray:
        """Targets as the other methods take them, a row for each example.

        Raises:
            DataError: naming the row of a target that is none.
            ArgumentError: for a wrong shape.
        """
        ...


class Gaussian(eqx.Module):
    """y = outputs + noise, the noise Gaussian and independent for each output.

    Attributes:
        noise: `FixedNoise` or `GammaNoise`.
        n_outputs: Outputs, and entries of y.

    Examples:
        >>> import jax.numpy as jnp
        >>> likelihood = Gaussian(FixedNoise(1.0))
        >>> round(float(likelihood.log_prob(jnp.zeros(1), jnp.zeros(1), likelihood.init())), 4)
        -0.9189
    """

    noise: FixedNoise | GammaNoise
    n_outputs: int = eqx.field(static=True)

    def __init__(self, noise: FixedNoise | GammaNoise | None = None, n_outputs: int = 1):
        self.noise = GammaNoise() if noise is None else noise
        self.n_outputs = check_integer("n_outputs", n_outputs, minimum=1)
        self.noise.init(n_outputs)  # refuses scales for another number of outputs

    def init(self) -> PyTree:
        """The precision of each output, or the posterior of what is to be learned."""
        return self.noise.init(self.n_outputs)

    def draw(self, state: PyTree, *, key: PRNGKey) -> Float[Array, "out"]:
        """Precisions of the outputs."""
        return self.noise.draw(state, self.n_outputs, key=key)

    def log_prob(
        self, outputs: Float[Array, "out"], y: Float[Array, "out"], parameters: Float[Array, "out"]
    ) -> Scalar:
        """The sum over outputs, nats."""
        _check_same_shape(outputs, y)
        squares = parameters * jnp.square(y - outputs)
        return 0.5 * jnp.sum(jnp.log(parameters) - squares - jnp.log(2 * jnp.pi))

    def sample(
        self, outputs: Float[Array, "out"], parameters: Float[Array, "out"], *, key: PRNGKey
    ) -> Float[Array, "out"]:
        """A noisy target."""
        return outputs + jax.random.normal(key, outputs.shape, outputs.dtype) / jnp.sqrt(parameters)

    def fisher_factors(
        self, outputs: Float[Array, "out"], parameters: Float[Array, "out"]
    ) -> Float[Array, "factor out"]:
        """The square roots of the precisions, on a diagonal."""
        return jnp.diag(jnp.sqrt(parameters))

    def learn(
        self,
        state: PyTree,
        outputs: Float[Array, "sample example out"],
        y: Float[Array, "example out"],
        *,
        n_data: Any,
        kl_weight: Any,
    ) -> PyTree:
        """q(precision) after a minibatch; a fixed noise stays what it is."""
        _check_same_shape(outputs[0], y)
        squares = jnp.mean(jnp.square(outputs - y), axis=(0, 1))
        return self.noise.learn(state, squares, n_data / (2 * kl_weight))

    def kl(self, state: PyTree) -> Scalar:
        """That of the Gamma posteriors from their prior; 0 for a fixed noise."""
        return self.noise.kl(state)

    def predictive(
        self, outputs: Float[Array, "sample row out"], parameters: Float[Array, "sample out"]
    ) -> GaussianPredictive:
        """A mixture of one Gaussian for each draw."""
        return GaussianPredictive(outputs, parameters**-0.5)

    def check_targets(self, y: Any) -> np.ndarray:
        """Targets of shape (row, output); a vector is taken where there is one output."""
        y = _numbers(y)
        y = y[:, None] if y.ndim == 1 and self.n_outputs == 1 else y
        if y.ndim != 2 or y.shape[1] != self.n_outputs:
            raise ArgumentError(f"targets must have shape (row, {self.n_outputs}), got {y.shape}")
        bad = ~np.isfinite(y)
        if bad.any():
            row, column = np.argwhere(bad)[0]
            raise DataError(f"target {column} of row {row} is {y[row, column]}; targets must be finite")
        return y.astype(float)


class Bernoulli(eqx.Module):
    """One bit, whose log-odds are the network's only output; targets are 0 or 1.

    Attributes:
        n_outputs: 1.
    """

    n_outputs: int = eqx.field(static=True, default=1, init=False)

    def init(self) -> PyTree:
        """Nothing to learn."""
        return ()

    def draw(self, state: PyTree, *, key: PRNGKey) -> PyTree:
        """Nothing."""
        return ()

    def log_prob(self, outputs: Float[Array, "1"], y: Int[Array, ""], parameters: PyTree) -> Scalar:
        """log p of the bit, nats; NaN for what is none."""
        _check_scalar(y)
        found = jnp.where(y == 1, jax.nn.log_sigmoid(outputs[0]), jax.nn.log_sigmoid(-outputs[0]))
        return jnp.where((y == 0) | (y == 1), found, jnp.nan)

    def sample(self, outputs: Float[Array, "1"], parameters: PyTree, *, key: PRNGKey) -> Int[Array, ""]:
        """A bit."""
        return jax.random.bernoulli(key, jax.nn.sigmoid(outputs[0])).astype(int)

    def fisher_factors(self, outputs: Float[Array, "1"], parameters: PyTree) -> Float[Array, "1 1"]:
        """The bit's standard deviation."""
        return jnp.exp(0.5 * (jax.nn.log_sigmoid(outputs) + jax.nn.log_sigmoid(-outputs)))[None]

    def learn(
        self,
        state: PyTree,
        outputs: Float[Array, "sample example 1"],
        y: Int[Array, "example"],
        *,
        n_data: Any,
        kl_weight: Any,
    ) -> PyTree:
        """Nothing to learn."""
        return state

    def kl(self, state: PyTree) -> Scalar:
        """0."""
        return jnp.zeros(())

    def predictive(self, outputs: Float[Array, "sample row 1"], parameters: PyTree) -> ClassPredictive:
        """Probabilities of 0 and 1."""
        both = jnp.concatenate([-outputs, outputs], axis=-1)
        return ClassPredictive(jax.nn.log_sigmoid(both))

    def check_targets(self, y: Any) -> np.ndarray:
        """Bits as integers, shape (row,)."""
        return _checked_classes(y, 2)


class Categorical(eqx.Module):
    """One of several classes, whose logits are the outputs; targets are the classes' numbers from 0.

    Attributes:
        n_outputs: Classes.
    """

    n_outputs: int = eqx.field(static=True)

    def __init__(self, n_classes: int):
        self.n_outputs = check_integer("n_classes", n_classes, minimum=2)

    def init(self) -> PyTree:
        """Nothing to learn."""
        return ()

    def draw(self, state: PyTree, *, key: PRNGKey) -> PyTree:
        """Nothing."""
        return ()

    def log_prob(self, outputs: Float[Array, "out"], y: Int[Array, ""], parameters: PyTree) -> Scalar:
        """log p of the class, nats; NaN for what is none."""
        _check_scalar(y)
        return jnp.where((y >= 0) & (y < self.n_outputs), jax.nn.log_softmax(outputs)[y], jnp.nan)

    def sample(self, outputs: Float[Array, "out"], parameters: PyTree, *, key: PRNGKey) -> Int[Array, ""]:
        """A class."""
        return jax.random.categorical(key, outputs)

    def fisher_factors(self, outputs: Float[Array, "out"], parameters: PyTree) -> Float[Array, "factor out"]:
        """sqrt(p_c) (e_c - p), whose products add up to diag(p) - p p^T."""
        p = jax.nn.softmax(outputs)
        return jnp.sqrt(p)[:, None] * (jnp.eye(self.n_outputs, dtype=p.dtype) - p)

    def learn(
        self,
        state: PyTree,
        outputs: Float[Array, "sample example out"],
        y: Int[Array, "example"],
        *,
        n_data: Any,
        kl_weight: Any,
    ) -> PyTree:
        """Nothing to learn."""
        return state

    def kl(self, state: PyTree) -> Scalar:
        """0."""
        return jnp.zeros(())

    def predictive(self, outputs: Float[Array, "sample row out"], parameters: PyTree) -> ClassPredictive:
        """Probabilities of the classes."""
        return ClassPredictive(jax.nn.log_softmax(outputs))

    def check_targets(self, y: Any) -> np.ndarray:
        """Classes as integers, shape (row,)."""
        return _checked_classes(y, self.n_outputs)


def _check_same_shape(outputs: Array, y: Array) -> None:
    """Refuses shapes that would be broadcast, such as (n, 1) against (n,) to (n, n)."""
    if outputs.shape != y.shape:
        raise ArgumentError(
            f"outputs have shape {outputs.shape} and targets {y.shape}; they must be the same"
        )


def _check_scalar(y: Array) -> None:
    if y.shape != ():
        raise ArgumentError(f"the class of one example is one integer, got shape {y.shape}")


def _numbers(y: Any) -> np.ndarray:
    y = np.asarray(y)
    if y.dtype.kind not in "biufV":
        raise DataError(f"targets must be numbers, got {y.dtype}")
    return y


def _checked_classes(y: Any, n_classes: int) -> np.ndarray:
    y = _numbers(y)
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.ndim != 1:
        raise ArgumentError(f"classes must have shape (row,), got {y.shape}")
    bad = ~((y >= 0) & (y < n_classes) & (y == np.floor(y)))
    if bad.any():
        row = int(np.argmax(bad))
        raise DataError(
            f"the class of row {row} is {y[row]}; it must be a whole number from 0 to {n_classes - 1}"
        )
    return y.astype(np.int32)
