"""Gradients of parameters, which have no feedback on the adjoint, formed for many stages at once."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from backthrough.ode.onestep import step
from backthrough.ode.points import Points, evaluate
from backthrough.ode.rungekutta import pull_step
from backthrough.ode.setting import Problem, Setting, explicit, forward_field

FEW, WIDE, NARROW_ROWS = 4, 512, 4  # see Sums.rows_at_once


class Sums:
    """Gradients of the wanted leaves, formed for many stages at once."""

    def __init__(self, problem: Problem, setting: Setting, wanted: tuple[int, ...]):
        self.problem = problem
        self.setting = setting
        self.wanted = wanted

    def leaves(self) -> list[Array]:
        """The wanted leaves."""
        return [self.setting.leaves[i] for i in self.wanted]

    def zeros(self) -> list[Array]:
        """A gradient of zero."""
        return [jnp.zeros_like(leaf) for leaf in self.leaves()]

    def replaced(self, leaves: Sequence[Any]) -> Setting:
        """The setting with other values of the wanted leaves."""
        new = list(self.setting.leaves)
        for i, leaf in zip(self.wanted, leaves, strict=True):
            new[i] = leaf
        return self.setting._replace(leaves=tuple(new))

    def rows_at_once(self, adjoint: Array) -> int:
        """Steps whose gradients are formed in one product; 0 to form them at every stage.

        A product over many stages reads and writes the parameters once, but evaluates the field again: it
        pays where a state is narrow beside many parameters.
        """
        n_parameters = sum(leaf.size for leaf in self.leaves())
        return 0 if n_parameters <= FEW * adjoint.size or adjoint.size >= WIDE else NARROW_ROWS

    def pull_explicit(
        self, s: Array, y: Array, h: Array, adjoint: Array, *, with_leaves: bool
    ) -> tuple[Array, Sequence[Array], tuple[Array, Array, Array]]:
        """What `pull_step` makes of a step of a Runge-Kutta method, with the wanted leaves or none."""

        def field(s: Array, y: Array, *leaves: Array) -> Array:
            setting = self.replaced(leaves) if with_leaves else self.setting
            return forward_field(self.problem, setting)(s, y)

        leaves = self.leaves() if with_leaves else []
        return pull_step(field, explicit(self.problem), s, y, h, adjoint, leaves)

    def pull_implicit(self, s: Array, y: Array, h: Array, adjoint: Array) -> Sequence[Array]:
        """The cotangents of state and wanted leaves before a step of a Rosenbrock method."""

        def after(y: Array, *leaves: Array) -> Array:
            return step(forward_field(self.problem, self.replaced(leaves)), self.problem.tableau, s, y, h)

        return jax.vjp(after, y, *self.leaves())[1](adjoint)

    def add(self, gradient: list[Array], times: Array, states: Array, slopes: Array) -> list[Array]:
        """`gradient` plus that of a chunk of stages with the cotangents `slopes`."""

        def at(leaves: list[Array]) -> Array:
            field = forward_field(self.problem, self.replaced(leaves))
            return jax.vmap(jax.vmap(field))(times, states)

        _, pull = jax.vjp(at, self.leaves())
        return [g + new for g, new in zip(gradient, pull(slopes)[0], strict=True)]

    def of_points(self, points: Points, weights: Array) -> tuple[Array, list[Array]]:
        """Cotangents of the states at the beginnings of the steps with save times, and of the leaves."""

        def at(y: Array, leaves: list[Array]) -> Array:
            setting = self.replaced(leaves)
            return evaluate(self.problem, setting, setting.times[:-1], points._replace(y=y), loop=True)

        _, pull = jax.vjp(at, points.y, self.leaves())
        return pull(weights)
