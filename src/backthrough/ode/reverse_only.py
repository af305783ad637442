"""A mark on arrays that only reverse mode may pass, so that forward mode is an error with a name."""

from collections.abc import Sequence
from typing import Any

import jax
from jax.core import ShapedArray
from jax.interpreters import ad
from jaxtyping import Array

from backthrough.core import ArgumentError
from backthrough.ode.programs import Lanes, Program, bind


class _Tangent(Program):
    """A tangent, unchanged; it can be transposed but not computed."""

    def argument_axes(self, n_arguments: int) -> tuple[int, ...]:
        """Where the argument would have its lanes."""
        return (0,)

    def result_axes(self, n_arguments: int) -> tuple[int | None, ...]:
        """Where the result has its lanes."""
        return (0,)

    def shapes(self, avals: Sequence[ShapedArray], lanes: Lanes) -> list[Any]:
        """The shape of the argument."""
        return list(avals)

    def run(self, arguments: Sequence[Any], lanes: Lanes) -> list[Any]:
        """Refuses."""
        raise ArgumentError(
            "a black box has gradients in reverse mode only; for jax.jvp, jax.jacfwd or jax.hessian use a "
            "solver of backthrough.ode with adjoint=Unrolled()"
        )

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any], lanes: Lanes) -> tuple[list, list]:
        """Itself, and itself of the tangent."""
        dots = [ad.instantiate_zeros(dot) for dot in tangents]
        return bind(self, primals, lanes), bind(self, dots, lanes)

    def transpose(self, cotangents: Sequence[Any], arguments: Sequence[Any], lanes: Lanes) -> list[Any]:
        """The cotangent, unchanged."""
        return list(cotangents)


_TANGENT = _Tangent()


@jax.custom_jvp
def reverse_only(x: Array) -> Array:
    """`x`, whose tangent can be pulled back but not pushed forward."""
    return x


@reverse_only.defjvp
def _jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    return primals[0], bind(_TANGENT, list(tangents))[0]
