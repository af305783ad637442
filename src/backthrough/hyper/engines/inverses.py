"""The inverse of the training loss's Hessian, applied to a vector."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import jax.scipy.sparse.linalg
from jaxtyping import Array, Float

from backthrough.core import ArgumentError, Scalar, check_integer, check_positive

Vector = Float[Array, " weight"]
Product = Callable[[Vector], Vector]
POWER_STEPS = 3  # of the power iteration, in each step of a run that carries the vector along
SAFETY = 1.5  # times the largest eigenvalue found, which lies below the true one


@runtime_checkable
class Inverse(Protocol):
    """One way to x = (H + damping)^-1 b."""

    @property
    def damping(self) -> float:
        """Added to the Hessian's diagonal."""
        ...

    def start(self, w: Vector) -> Vector:
        """What it remembers before the first call."""
        ...

    def solve(self, product: Product, b: Vector, memory: Vector) -> tuple[Vector, Vector, dict[str, Scalar]]:
        """x, what to remember for the next call, and numbers to watch.

        Args:
            product: v -> (H + damping) v.
            b: Right-hand side, shape (D,).
            memory: A vector of length D: of `start` at first, then what the last call gave back.
        """
        ...


@dataclass(frozen=True)
class CG:
    """Conjugate gradients (JAX's), `n_steps` of them at most, from the solution of the step before.

    The problem moves little from step to step, so a few are as good as many after a while.

    Args:
        n_steps: Products with the Hessian.
        damping: Added to the Hessian's diagonal.
        rtol: Ends earlier at this relative residual.

    Raises:
        ArgumentError: for a setting out of range.
    """

    n_steps: int = 20
    damping: float = 0.0
    rtol: float = 1e-6

    def __post_init__(self) -> None:
        check_integer("n_steps", self.n_steps, minimum=1)
        check_damping(self.damping)
        check_positive("rtol", self.rtol)

    def start(self, w: Vector) -> Vector:
        """Nothing."""
        return jnp.zeros_like(w)

    def solve(self, product: Product, b: Vector, memory: Vector) -> tuple[Vector, Vector, dict[str, Scalar]]:
        """x after the last step, from the last call's x."""
        x, _ = jax.scipy.sparse.linalg.cg(product, b, memory, tol=self.rtol, maxiter=self.n_steps)
        return x, x, {}


@dataclass(frozen=True)
class Neumann:
    """The Neumann series a sum over i of (1 - a H)^i b (Lorraine et al. 2020): n steps of unrolling.

    The series needs a < 2 / (largest eigenvalue of H). It is found by power iteration as the run goes on.

    Args:
        n_steps: Terms after the first.
        step: a; None finds it.
        damping: Added to the Hessian's diagonal.

    Raises:
        ArgumentError: for a setting out of range.
    """

    n_steps: int = 20
    step: float | None = None
    damping: float = 0.0

    def __post_init__(self) -> None:
        check_integer("n_steps", self.n_steps, minimum=1)
        check_damping(self.damping)
        if self.step is not None:
            check_positive("step", self.step)

    def start(self, w: Vector) -> Vector:
        """Where the power iteration begins."""
        return jnp.ones_like(w)

    def solve(self, product: Product, b: Vector, memory: Vector) -> tuple[Vector, Vector, dict[str, Scalar]]:
        """The sum; the memory is the eigenvector. A step that is too long makes "Neumann step" NaN."""

        def power(v: Vector, _: None) -> tuple[Vector, Scalar]:
            image = product(v / jnp.linalg.norm(v))
            return image, jnp.linalg.norm(image)

        memory, norms = jax.lax.scan(power, memory, length=POWER_STEPS)
        largest = norms[-1]
        step = 1 / (SAFETY * largest) if self.step is None else jnp.asarray(self.step, b.dtype)

        def term(carry: tuple[Vector, Vector], _: None) -> tuple[tuple[Vector, Vector], None]:
            v, total = carry
            v = v - step * product(v)
            return (v, total + v), None

        (_, total), _ = jax.lax.scan(term, (b, b), length=self.n_steps)
        name = (
            "Neumann step (not below 2 / the largest eigenvalue of the Hessian: give a smaller one, or None)"
        )
        return step * total, memory, {name: jnp.where(step * largest < 2, step, jnp.nan)}


@dataclass(frozen=True)
class Direct:
    """The whole Hessian, solved. For D up to a few thousand, and to check the others.

    Args:
        damping: Added to the Hessian's diagonal.
    """

    damping: float = 0.0

    def __post_init__(self) -> None:
        check_damping(self.damping)

    def start(self, w: Vector) -> Vector:
        """Nothing."""
        return jnp.zeros_like(w)

    def solve(self, product: Product, b: Vector, memory: Vector) -> tuple[Vector, Vector, dict[str, Scalar]]:
        """x."""
        return jnp.linalg.solve(jax.vmap(product, out_axes=1)(jnp.eye(b.size, dtype=b.dtype)), b), memory, {}


def check_damping(damping: float) -> None:
    """Raises `ArgumentError` below 0."""
    if not damping >= 0:
        raise ArgumentError(f"damping must be 0 or more, got {damping!r}")
