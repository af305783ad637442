"""A value that carries a gradient of its own: the primitive under every score-function estimator."""

from typing import NoReturn

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from backthrough.core import ArgumentError, PyTree, Scalar


def attach(values: Float[Array, "sample"], params: PyTree, gradients: PyTree) -> Scalar:
    """The mean of `values`, with the mean of `gradients` as its gradient with respect to `params`.

    One `jax.grad` of the result gives (with c the cotangent of the mean)

    - c times the mean gradient to `params`,
    - c to the values, and so to whatever they depend on otherwise,
    - c^2 times the gradient of the mean of |gradients|^2 to whatever the gradients depend on. Where the
      gradients are unbiased for every control variate, this is the gradient of the variance (Grathwohl et al.
      2018, sec. 3.1), whatever the sign of c.

    Args:
        values: One value for each sample, computed at `stop_gradient(params)`.
        params: Arrays that the gradient is for.
        gradients: For each array of `params` one of its shape behind the axis of samples.

    Raises:
        ArgumentError: when the result is differentiated twice with respect to what it depends on.
    """
    squares = sum(jnp.sum(jnp.square(leaf)) for leaf in jax.tree_util.tree_leaves(gradients))
    mean = jax.tree_util.tree_map(lambda own, leaf: leaf.mean(0).astype(own.dtype), params, gradients)
    return _attach(values.mean(), params, mean, squares / len(values))


@jax.custom_vjp
def _attach(value: Scalar, params: PyTree, gradient: PyTree, squares: Scalar) -> Scalar:
    return value


def _forward(value: Scalar, params: PyTree, gradient: PyTree, squares: Scalar) -> tuple[Scalar, PyTree]:
    return value, (value, params, gradient, squares)


def _backward(residuals: PyTree, cotangent: Scalar) -> tuple[Scalar, PyTree, None, Scalar]:
    value, params, gradient, squares = residuals
    zero = _refuse_second_derivatives(value, params)
    to_params = jax.tree_util.tree_map(lambda own: (cotangent * own + zero).astype(own.dtype), gradient)
    return cotangent, to_params, None, jnp.square(cotangent).astype(squares.dtype)


_attach.defvjp(_forward, _backward)


def first_derivative_only(params: PyTree) -> PyTree:
    """`params`, unchanged, whose gradient cannot be differentiated again."""
    return _once(params)


@jax.custom_vjp
def _once(params: PyTree) -> PyTree:
    return params


def _once_backward(params: PyTree, cotangent: PyTree) -> tuple[PyTree]:
    zero = _refuse_second_derivatives(jnp.zeros(()), params)
    return (jax.tree_util.tree_map(lambda own: own + zero.astype(own.dtype), cotangent),)


_once.defvjp(lambda params: (params, params), _once_backward)


@jax.custom_jvp
def _refuse_second_derivatives(value: Scalar, params: PyTree) -> Scalar:
    """Zero; its derivative is an error. Here the derivative would silently miss the samples' part."""
    return jnp.zeros_like(value)


@_refuse_second_derivatives.defjvp
def _refuse(primals: PyTree, tangents: PyTree) -> NoReturn:
    raise ArgumentError(
        "the second derivative of this estimate was asked for; it would silently miss what the samples' "
        "distribution contributes. Use DiCE or Enumeration, which have derivatives of every order"
    )
