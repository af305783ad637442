"""A value that carries a gradient of its own: what every score-function estimator returns."""

from typing import Any, NoReturn

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero
from jaxtyping import Array, Float

from backthrough.core import ArgumentError, PyTree, Scalar


def attach(values: Float[Array, "sample"], params: PyTree, gradients: PyTree) -> Scalar:
    """The mean of `values`, whose gradient with respect to `params` is the mean of `gradients`.

    One `jax.grad` of the result gives, with c the cotangent of the mean,

    - to `params` c times the mean gradient;
    - to the values c, and so to whatever they depend on otherwise;
    - to what the gradients depend on, such as a control variate, c^2 times the gradient of the variance of
      the mean gradient (Grathwohl et al. 2018, sec. 3.1), whatever the sign of c.

    The last is right if the rows of `gradients` are independent of each other, and their expectation does not
    depend on the control variate: then it is the gradient of sum |row|^2 / rows^2, without the products of
    two rows, which add only noise. Estimates that depend on each other are averaged first, to one row.

    Args:
        values: One value for each sample, computed at `stop_gradient(params)`.
        params: Arrays that the gradient is for.
        gradients: For each array of `params` one of its shape behind an axis of independent estimates.

    Raises:
        ArgumentError: when a second derivative is asked for that would miss what `params` contribute.
    """
    leaves = jax.tree_util.tree_leaves(gradients)
    variance = sum(jnp.sum(jnp.square(leaf)) / len(leaf) ** 2 for leaf in leaves)
    mean = jax.tree_util.tree_map(lambda own, leaf: leaf.mean(0).astype(own.dtype), params, gradients)
    return _attach(values.mean(), params, mean, variance)


@jax.custom_vjp
def _attach(value: Scalar, params: PyTree, gradient: PyTree, variance: Scalar) -> Scalar:
    return value


def _forward(value: Any, params: PyTree, gradient: PyTree, variance: Any) -> tuple[Scalar, PyTree]:
    """Each array comes as a pair: its `value`, and whether it is `perturbed`, differentiated at all."""
    moved = any(leaf.perturbed for leaf in jax.tree_util.tree_leaves(params))
    fixed = jax.tree_util.tree_map(lambda leaf: leaf.value, (value, params, gradient))
    # what is not needed is None: a flag would be traced
    return value.value, (*fixed[:2], fixed[2] if moved else None, fixed[0] if variance.perturbed else None)


def _backward(residuals: PyTree, cotangent: Any) -> tuple[Scalar, PyTree, None, Scalar | None]:
    value, params, gradient, trained = residuals
    if isinstance(cotangent, SymbolicZero):
        cotangent = jnp.zeros_like(value)
    to_value = cotangent + _once_only(params).astype(cotangent.dtype)
    to_params = to_variance = None
    if gradient is not None:
        zero = _once_only((value, params))
        to_params = jax.tree_util.tree_map(lambda own: (cotangent * own + zero).astype(own.dtype), gradient)
    if trained is not None:
        to_variance = jnp.square(cotangent) + _once_only((trained, params)).astype(cotangent.dtype)
    return to_value, to_params, None, to_variance


_attach.defvjp(_forward, _backward, symbolic_zeros=True)


@jax.custom_vjp
def first_derivative_only(params: PyTree) -> PyTree:
    """`params`, unchanged, whose gradient cannot be differentiated again."""
    return params


def _pass_on(params: PyTree, cotangent: PyTree) -> tuple[PyTree]:
    zero = _once_only(params)
    return (jax.tree_util.tree_map(lambda own: own + zero.astype(own.dtype), cotangent),)


first_derivative_only.defvjp(lambda params: (params, params), _pass_on)


@jax.custom_jvp
def _once_only(held: PyTree) -> Scalar:
    """Zero. Where it is added to a gradient, to differentiate that with respect to `held` is an error.

    The samples are drawn at fixed parameters, so that such a derivative would be zero instead of right.
    """
    return jnp.zeros(())


@_once_only.defjvp
def _refuse(primals: PyTree, tangents: PyTree) -> NoReturn:
    raise ArgumentError(
        "the second derivative of this estimate was asked for; it would silently miss what the samples' "
        "distribution contributes. Use DiCE or Enumeration, which have derivatives of every order"
    )
