"""What every gradient estimator offers."""

import abc
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Key

from backthrough.core import ArgumentError, PRNGKey, PyTree, Scalar, check_integer
from backthrough.estimators.families import Family, Joint, Parts, at_least_single
from backthrough.estimators.host_checks import check_value_of_f, watched
from backthrough.estimators.numpy_function import NumpyFunction


@dataclass(frozen=True, kw_only=True)
class Properties:
    """What an estimator is and what it asks for.

    Attributes:
        unbiased: Whether its expectation is the gradient of E[f(b)].
        families: Classes of families; it works for distributions whose family is of one of them.
        needs_gradient: Whether f must be differentiable.
        needs_relaxed: Whether f must have a meaning between the values of a discrete b.
        least_samples: The fewest samples of one gradient.
        in_pairs: Whether the number of samples must be even.
    """

    unbiased: bool
    families: tuple[type[Family], ...]
    needs_gradient: bool = False
    needs_relaxed: bool = False
    least_samples: int = 1
    in_pairs: bool = False

    def take(self, joint: Joint) -> bool:
        """Whether all families are of those that it works for."""
        return all(isinstance(family, self.families) for family in joint.families)

    def check_n_samples(self, name: str, n_samples: int | None) -> int:
        """How many samples are drawn: the fewest that work if no number is given.

        Raises:
            ArgumentError: if it cannot work with so many, naming whose properties these are.
        """
        if n_samples is None:
            return self.least_samples
        n_samples = check_integer("n_samples", n_samples, minimum=1)
        if n_samples < self.least_samples or (self.in_pairs and n_samples % 2):
            even = "an even n_samples" if self.in_pairs else "n_samples"
            raise ArgumentError(f"{name} needs {even} of {self.least_samples} or more, got {n_samples}")
        return n_samples


class Problem(eqx.Module):
    """The expectation of f(b), b from `joint` with parameters `params`.

    Attributes:
        f: The caller's function of one sample.
        joint: The variables.
        params: Their parameters, which the caller differentiates.
        given_probs: For each distribution the probabilities that it was made from, or None.
        checked: Whether every value of f is looked at while the program runs.
    """

    f: Callable[[Any], Any]
    joint: Joint
    params: Parts
    given_probs: tuple[Any, ...]
    checked: bool = eqx.field(static=True, default=False)

    def value(self, b: Parts) -> Scalar:
        """f at one sample, in single precision at the least, differentiable in what f closes over.

        Raises:
            ArgumentError: if f does not return one floating-point number.
        """
        value = one_number("f", self.f(self.joint.present_sample(b)))
        return watched(check_value_of_f, value) if self.checked else value

    def fixed_params(self) -> Parts:
        """The parameters, held fixed."""
        return jax.lax.stop_gradient(self.params)

    def with_fixed_f(self) -> "Problem":
        """The same with f's closed-over arrays held fixed; f stays differentiable in b."""
        if isinstance(self.f, NumpyFunction):
            return self
        converted = eqx.filter_closure_convert(self.f, self.example())
        arrays, rest = eqx.partition(converted, eqx.is_inexact_array)
        fixed = eqx.combine(jax.lax.stop_gradient(arrays), rest)
        return Problem(fixed, self.joint, self.params, self.given_probs, self.checked)

    def example(self) -> PyTree:
        """Shapes and types of a sample for f."""
        joint, key = self.joint, jax.random.key(0)
        return jax.eval_shape(lambda: joint.present_sample(joint.sample(self.params, key=key)))

    def fault(self) -> Scalar:
        """0; NaN if a parameter is NaN, as what is no probability makes it."""
        leaves = jax.tree_util.tree_leaves(self.fixed_params())
        wrong = jnp.stack([jnp.isnan(leaf).any() for leaf in leaves]).any()
        return jnp.where(wrong, jnp.nan, 0.0).astype(leaves[0].dtype)

    def finished(self, value: Scalar) -> Scalar:
        """The estimate in the type of f; NaN where a parameter is.

        The types of f are looked up only for distributions of half precision, where they may be smaller than
        those that the estimate was computed in.
        """
        value = value + self.fault().astype(value.dtype)
        if all(dtype.itemsize >= 4 for dtype in self.joint.dtypes):
            return value
        of_f = jax.eval_shape(lambda b: jnp.asarray(self.f(b)), self.example())
        return value.astype(of_f.dtype)


class Estimator(eqx.Module):
    """An estimate of E[f(b)] whose derivative is an estimate of the derivative.

    To write one, derive from this class; its arrays are trained by the gradient of the variance if they take
    part in the gradients that `attach` gets.
    """

    @property
    @abc.abstractmethod
    def properties(self) -> Properties:
        """What it is and asks for."""

    @abc.abstractmethod
    def estimate(self, problem: Problem, *, key: PRNGKey, n_samples: int) -> Scalar:
        """The Monte Carlo mean of f, with the estimator's gradient.

        Args:
            problem: What is estimated; its families are of those in `properties`.
            key: Typed key.
            n_samples: A number of samples that `properties` allow.
        """

    @abc.abstractmethod
    def n_evaluations(self, problem: Problem, n_samples: int) -> int:
        """How often f is evaluated for one gradient, forward passes only."""


def sample_keys(key: PRNGKey, n_samples: int) -> Key[Array, "sample"]:
    """A key for each sample. A single one takes the key as it is: a split costs as much as its draw."""
    return key[None] if n_samples == 1 else jax.random.split(key, n_samples)


def hold_closure(name: str, function: Callable[..., Any], *example: PyTree) -> Callable[..., Any]:
    """The function with what it closes over held fixed; arrays of its own, as of a module, stay trained.

    Else the gradient of the variance would reach, say, the logits of the distribution through a function that
    uses them, and be added to theirs.

    Raises:
        ArgumentError: if it does not work at what it is called with, `example`: arrays or their shapes.
    """
    arrays, rest = eqx.partition(function, eqx.is_inexact_array)

    def call(arrays: PyTree, *arguments: PyTree) -> Any:
        return eqx.combine(arrays, rest)(*arguments)

    try:
        converted = eqx.filter_closure_convert(call, arrays, *example)
    except (TypeError, ValueError, IndexError, KeyError, AttributeError) as error:
        shapes = ", ".join(str(leaf.shape) for leaf in jax.tree_util.tree_leaves(example))
        raise ArgumentError(
            f"{name} does not work for one sample at a time, which it gets with shape {shapes}: "
            f"{type(error).__name__}: {error}"
        ) from error
    consts, code = eqx.partition(converted, eqx.is_inexact_array)
    held = eqx.combine(jax.lax.stop_gradient(consts), code)
    return lambda *arguments: held(arrays, *arguments)


def one_number(name: str, value: Any) -> Scalar:
    """The value as a scalar array, in single precision at the least.

    Raises:
        ArgumentError: if it is not one floating-point number.
    """
    if value is None:
        raise ArgumentError(f"{name} returned None instead of one number; is its `return` missing?")
    if isinstance(value, (tuple, list, dict)):
        raise ArgumentError(
            f"{name} must return one number, got a {type(value).__name__} of {len(value)}; an expectation "
            "has no place for what else it computes: return the number alone"
        )
    try:
        array = jnp.asarray(value)
    except (TypeError, ValueError):
        raise ArgumentError(f"{name} must return one number, got {value!r}") from None
    if array.shape != ():
        raise ArgumentError(
            f"{name} must return one number for one sample, got shape {array.shape}; it sees one sample at a "
            "time, without a leading axis of samples"
        )
    if not jnp.issubdtype(array.dtype, jnp.floating):
        raise ArgumentError(f"{name} must return a floating-point number, got {array.dtype}")
    return at_least_single(array)


def scaled(factor: Scalar, parts: Parts) -> Parts:
    """Every array times a number."""
    return jax.tree_util.tree_map(lambda leaf: factor * leaf, parts)
