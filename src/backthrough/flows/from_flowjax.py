"""Ordinary bijections come from the library flowjax, which is imported when the first one is made."""

from typing import Any

import jax.numpy as jnp

from backthrough.core import ArgumentError, PRNGKey, Scalar, check_integer, check_key, check_positive
from backthrough.flows.bijection import Bijection, Condition, Point, check_condition, check_point


class FlowjaxBijection(Bijection):
    """A bijection of flowjax as one of ours.

    Its parameters are trained as all others are; those that flowjax wraps in `NonTrainable` stay as they are.
    A method that flowjax lacks, such as the inverse of its planar flow with tanh, raises its
    NotImplementedError.

    Attributes:
        bijection: A `flowjax.bijections.AbstractBijection` of points of shape (size,), with or without a
            condition; `key` is ignored.

    Raises:
        ArgumentError: if it is anything else.
    """

    bijection: Any

    def __check_init__(self) -> None:
        from flowjax.bijections import AbstractBijection

        if not isinstance(self.bijection, AbstractBijection):
            raise ArgumentError(
                f"FlowjaxBijection takes a bijection of flowjax, got {type(self.bijection).__name__}; "
                "of a flowjax distribution `Transformed` take `.bijection`"
            )
        if len(self.bijection.shape) != 1:
            raise ArgumentError(
                f"FlowjaxBijection takes bijections of points of shape (size,), this one has shape "
                f"{self.bijection.shape}; put it into flowjax.bijections.Reshape or Vmap"
            )

    def transform_and_log_det(
        self, x: Point, condition: Condition = None, *, key: PRNGKey | None = None
    ) -> tuple[Point, Scalar]:
        """y = T(x) and log |det dy/dx|."""
        self._check(x, condition)
        return self.bijection.transform_and_log_det(x, condition)

    def inverse_and_log_det(
        self, y: Point, condition: Condition = None, *, key: PRNGKey | None = None
    ) -> tuple[Point, Scalar]:
        """x = T^-1(y) and log |det dx/dy|."""
        self._check(y, condition)
        return self.bijection.inverse_and_log_det(y, condition)

    def _check(self, x: Point, condition: Condition) -> None:
        check_point(x, self.bijection.shape[0])
        check_condition(condition, self.bijection.cond_shape or (0,))


def coupling_flow(
    size: int, depth: int = 8, *, hidden_size: int = 50, condition_size: int = 0, key: PRNGKey
) -> FlowjaxBijection:
    """Affine couplings: half of a point scales and shifts the other half (Dinh et al. 2017, sec. 3.2).

    Between couplings the entries are permuted. Both directions cost the same.

    Args:
        size: Entries of a point; at least 2, or 1 with a condition.
        depth: Couplings.
        hidden_size: Width of the hidden layer (tanh) of each coupling's network.
        condition_size: Entries of the condition, a vector; 0 for none.
        key: Typed key for the weights.

    Raises:
        ArgumentError: if a size is too small.
    """
    from flowjax.flows import coupling_flow

    return FlowjaxBijection(
        coupling_flow(**_layers(size, depth, hidden_size, condition_size, key), invert=False).bijection
    )


def spline_coupling_flow(
    size: int,
    depth: int = 8,
    *,
    knots: int = 8,
    interval: float = 4.0,
    hidden_size: int = 50,
    condition_size: int = 0,
    key: PRNGKey,
) -> FlowjaxBijection:
    """Couplings by monotone rational-quadratic splines (Durkan et al. 2019, eqs. 4-5).

    A spline changes what lies in [-interval, interval] and leaves the rest as it is, so data should be
    standardised first.

    Args:
        size: Entries of a point; at least 2, or 1 with a condition.
        depth: Couplings.
        knots: Inner knots of each spline.
        interval: Where splines differ from the identity.
        hidden_size: Width of the hidden layer (tanh) of each coupling's network.
        condition_size: Entries of the condition, a vector; 0 for none.
        key: Typed key for the weights.

    Raises:
        ArgumentError: if a size is too small.
    """
    from flowjax.bijections import RationalQuadraticSpline
    from flowjax.flows import coupling_flow

    layers = _layers(size, depth, hidden_size, condition_size, key)
    spline = RationalQuadraticSpline(
        knots=check_integer("knots", knots, minimum=1), interval=check_positive("interval", interval)
    )
    return FlowjaxBijection(coupling_flow(**layers, transformer=spline, invert=False).bijection)


def masked_autoregressive_flow(
    size: int, depth: int = 8, *, hidden_size: int = 50, condition_size: int = 0, key: PRNGKey
) -> FlowjaxBijection:
    """Each entry is scaled and shifted by those before it (Papamakarios et al. 2017, sec. 3.1).

    The inverse, and with it the density, takes one pass of the networks; a transform takes `size`. Turned
    round, `Inverse(masked_autoregressive_flow(...))`, it is the inverse autoregressive flow of Kingma et
    al. 2016, whose draws are cheap.

    Args:
        size: Entries of a point; at least 2, or 1 with a condition.
        depth: Autoregressive maps; between them the entries are permuted.
        hidden_size: Width of the hidden layer (tanh) of each map's network.
        condition_size: Entries of the condition, a vector; 0 for none.
        key: Typed key for the weights.

    Raises:
        ArgumentError: if a size is too small.
    """
    from flowjax.flows import masked_autoregressive_flow

    layers = _layers(size, depth, hidden_size, condition_size, key)
    return FlowjaxBijection(masked_autoregressive_flow(**layers, invert=True).bijection)


def _layers(size: int, depth: int, hidden_size: int, condition_size: int, key: PRNGKey) -> dict[str, Any]:
    """The arguments that flowjax's flows share, checked; without a condition it divides by size - 1."""
    from flowjax.distributions import Normal

    check_key(key)
    check_integer("condition_size", condition_size, minimum=0)
    check_integer("size", size, minimum=1)
    if size == 1 and not condition_size:
        raise ArgumentError("size must be at least 2 where there is no condition, got 1")
    return {
        "key": key,
        "base_dist": Normal(jnp.zeros(size)),
        "cond_dim": condition_size or None,
        "flow_layers": check_integer("depth", depth, minimum=1),
        "nn_width": check_integer("hidden_size", hidden_size, minimum=1),
        "nn_activation": jnp.tanh,
    }
