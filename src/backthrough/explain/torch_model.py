"""torch modules as functions of one example that JAX can differentiate; torch itself is optional."""

# pyright: reportMissingImports=false

import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from backthrough.core import ArgumentError
from backthrough.explain.adapt import Bound, bind_host, checked
from backthrough.explain.host import call_host
from backthrough.explain.score import Outputs
from backthrough.explain.units import MOST_CHANNELS


@dataclass(frozen=True, eq=False)
class TorchModel:
    """A `torch.nn.Module` from a batch to outputs of shape (example, output), as torch has it.

    It is evaluated in evaluation mode (dropout off, batch normalisation by what it has learned), with a
    warning where a part of it was in training mode. Nothing in it is changed: every `training` flag is put
    back, no `.grad` and no running statistic is written, `requires_grad` stays as it is. Inputs go to the
    module's device and take the type of its parameters.

    Attributes:
        module: The module.
        outputs: What it returns.
        device: Where its inputs go; the device of its parameters when None.

    Example:
        >>> import torch  # doctest: +SKIP
        >>> module = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 3)).eval()  # doctest: +SKIP
        >>> TorchModel(module).bind(jnp.zeros((5, 3, 2, 2))).outputs.shape  # doctest: +SKIP
        (5, 3)
    """

    module: Any
    outputs: Outputs = "logits"
    device: Any = None

    def bind(self, x: Float[Array, "example ..."]) -> Bound:
        """See `Adapter`. A module that gradients do not flow through is a black box."""
        training = [name or "the module" for name, own in self.module.named_modules() if own.training]
        if training:
            warnings.warn(
                f"{type(self.module).__name__} is in training mode ({training[0]}); it is explained in "
                "evaluation mode, and its flags stay as they are: call module.eval() to say so yourself",
                stacklevel=2,
            )
        host = Host(self.module, self.device)
        rows = np.asarray(x)
        values = host.values(rows)
        outputs = call_host(lambda _: values, rows, host.name)
        if not host.has_gradient(rows[:1]):
            return bind_host(host.values, x, self.outputs, name=host.name)
        function = TorchFunction(host, outputs.shape[1])
        return checked(function, outputs, self.outputs, len(rows), differentiable=True)


@dataclass(frozen=True, eq=False)
class Host:
    """What is asked of the module on the host, in NumPy; calls wait for each other, since flags change.

    Attributes:
        module: The module.
        device: As in `TorchModel`.
        lock: Held during a call.
    """

    module: Any
    device: Any = None
    lock: Any = field(default_factory=threading.Lock)

    @property
    def name(self) -> str:
        """Whom errors name."""
        return type(self.module).__name__

    def values(self, rows: np.ndarray) -> np.ndarray:
        """The outputs for a batch."""
        import torch

        with self.in_evaluation(), torch.no_grad():
            return on_host(self.call(self.tensor(rows)))

    def pulled_back(self, rows: np.ndarray, cotangents: np.ndarray) -> np.ndarray:
        """The derivative, by the rows, of the sum of all outputs times their cotangents."""
        import torch

        with self.in_evaluation(), torch.enable_grad():
            inputs = self.tensor(rows).requires_grad_()
            outputs = self.call(inputs)
            weights = torch.tensor(np.array(cotangents)).to(outputs.device, outputs.dtype)
            (gradient,) = torch.autograd.grad(outputs, inputs, weights, allow_unused=True)
        return np.zeros(rows.shape, np.float32) if gradient is None else on_host(gradient)

    def has_gradient(self, rows: np.ndarray) -> bool:
        """Whether outputs depend on inputs in a way that torch can differentiate."""
        import torch

        with self.in_evaluation(), torch.enable_grad():
            inputs = self.tensor(rows).requires_grad_()
            outputs = self.call(inputs)
            if not outputs.requires_grad:
                return False
            (gradient,) = torch.autograd.grad(outputs.sum(), inputs, allow_unused=True)
        return gradient is not None

    def call(self, inputs: Any) -> Any:
        """The module's outputs, as a tensor.

        Raises:
            ArgumentError: if it raises, or returns anything else; it names the cure for channels in
                torch's order.
        """
        import torch

        shape = tuple(inputs.shape)
        try:
            outputs = self.module(inputs)
        except Exception as error:
            cure = ""
            if len(shape) == 4 and shape[3] <= MOST_CHANNELS < shape[1]:
                cure = (
                    f". torch takes channels first: give x of shape {(shape[0], shape[3], *shape[1:3])}, "
                    "x.transpose(0, 3, 1, 2), and units with channels='first'"
                )
            raise ArgumentError(
                f"{self.name}, called with examples of shape {shape}, raised {type(error).__name__}: "
                f"{error}{cure}"
            ) from error
        if not isinstance(outputs, torch.Tensor):
            raise ArgumentError(
                f"{self.name} must return a tensor of shape (example, output), got "
                f"{type(outputs).__name__}: wrap it in a module that picks one"
            )
        return outputs

    def tensor(self, rows: np.ndarray) -> Any:
        """A copy of the rows as the module takes them."""
        import torch

        own = [*self.module.parameters(), *self.module.buffers()]
        device = self.device or (own[0].device if own else "cpu")
        dtype = next((one.dtype for one in own if one.is_floating_point()), torch.float32)
        return torch.tensor(np.array(rows, np.promote_types(rows.dtype, np.float32))).to(device, dtype)

    @contextmanager
    def in_evaluation(self) -> Iterator[None]:
        """Sets every part to evaluation mode, without the module's own `train`, and puts the flags back."""
        with self.lock:
            flags = [(own, own.training) for own in self.module.modules() if own.training]
            for own, _ in flags:
                own.training = False
            try:
                yield
            finally:
                for own, flag in flags:
                    own.training = flag


class TorchFunction(eqx.Module):
    """The module as a function of one example; under `vmap`, also nested, it is called once.

    Attributes:
        host: What calls it.
        n_outputs: How many each example has.
    """

    host: Host = eqx.field(static=True)
    n_outputs: int = eqx.field(static=True)

    def __call__(self, x: Float[Array, "..."]) -> Float[Array, "output"]:
        """The outputs of one example."""
        return _evaluated(self.host, self.n_outputs, x)


def on_host(tensor: Any) -> np.ndarray:
    """A tensor as an array of single or double precision."""
    import torch

    tensor = tensor.detach().cpu()
    return (tensor if tensor.dtype == torch.float64 else tensor.float()).numpy()


def _evaluate(host: Host, n_outputs: int, x: Array) -> Array:
    def call(rows: np.ndarray) -> np.ndarray:
        found = call_host(host.values, rows, host.name)
        if found.shape[1] != n_outputs:
            raise ArgumentError(f"{host.name} returned {found.shape[1]} outputs, and {n_outputs} before")
        return found

    shape = jax.ShapeDtypeStruct((n_outputs,), jnp.promote_types(x.dtype, jnp.float32))
    return _batched(call, shape, x)


_evaluated = jax.custom_vjp(_evaluate, nondiff_argnums=(0, 1))


def _forward(host: Host, n_outputs: int, x: Array) -> tuple[Array, Array]:
    return _evaluate(host, n_outputs, x), x


def _backward(host: Host, n_outputs: int, x: Array, cotangent: Array) -> tuple[Array]:
    shape = jax.ShapeDtypeStruct(x.shape, jnp.promote_types(x.dtype, jnp.float32))
    return (_batched(host.pulled_back, shape, x, cotangent).astype(x.dtype),)


_evaluated.defvjp(_forward, _backward)


def _batched(call: Callable[..., np.ndarray], shape: jax.ShapeDtypeStruct, *arguments: Array) -> Array:
    """A call on the host, once for all examples, however many axes `vmap` has put before them."""
    ndims = tuple(argument.ndim for argument in arguments)

    def flat(*given: Any) -> np.ndarray:
        arrays = [np.asarray(one) for one in given]
        batch = arrays[0].shape[: arrays[0].ndim - ndims[0]]
        rows = [array.reshape(-1, *array.shape[len(batch) :]) for array in arrays]
        return call(*rows).astype(shape.dtype).reshape(*batch, *shape.shape)

    return jax.pure_callback(flat, shape, *arguments, vmap_method="broadcast_all")
