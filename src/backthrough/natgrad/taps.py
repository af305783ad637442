"""What the layers of a network see and send back for each example, for any Equinox network.

A layer's output passes a function whose backward pass hands out, as the gradients of two arguments that are
zero, the layer's inputs and the gradient of its outputs. One backward pass so gives the ordinary gradient and
the statistics, whatever else the network does with the layer (vmap, scan, branches).
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float

from backthrough.core import ArgumentError, PyTree
from backthrough.natgrad.blocks import Blocks, Layer, Leaf, Leaves, leaves_of, with_leaves
from backthrough.natgrad.fitted import Apply, call_model
from backthrough.nets import Convolution

NOT_CALLED = "no call of its layer is seen, or no gradient comes to it"
CLOSE, CLOSE_IN_HALF = 1e-3, 0.1  # relative difference above which a layer's gradient isn't its calls'


class Seen(eqx.Module):
    """What is known of each row's gradient: of an example, under a draw of the weights.

    Attributes:
        inputs: Inputs of each layer with a 1 behind them where it has a bias: (row, in), or (row, place, in)
            for a convolution. Of a shared layer the mean over its uses.
        gradients: Gradients of each layer's outputs: (row, out) or (row, place, out). Of a shared layer the
            sum over its uses.
        arrays: Each row's gradient of the arrays outside the layers, and of those of shared layers.
    """

    inputs: dict[str, Array]
    gradients: dict[str, Array]
    arrays: Leaves

    def per_row(self, layer: Layer) -> Float[Array, "row in out"]:
        """Each row's exact gradient of a layer's matrix."""
        if layer.n_uses > 1:
            return layer.gather(self.arrays)
        inputs, gradients = self.inputs[layer.name], self.gradients[layer.name]
        if layer.n_places:
            return jnp.einsum("npi,npo->nio", inputs, gradients)
        return inputs[:, :, None] * gradients[:, None, :]

    def map(self, function: Callable[[Array], Array]) -> "Seen":
        """Seen through a function of every array."""
        return jax.tree_util.tree_map(function, self)

    def scaled(self, factor: Any) -> "Seen":
        """Every gradient times a number; inputs are no gradients."""
        gradients, arrays = jax.tree_util.tree_map(
            lambda leaf: (factor * leaf).astype(leaf.dtype), (self.gradients, self.arrays)
        )
        return Seen(self.inputs, gradients, arrays)


@jax.custom_vjp
def _show(inputs: Array, outputs: Array, input_probe: Array, gradient_probe: Array) -> Array:
    """The outputs; backwards, the probes get the inputs and the outputs' gradient."""
    return outputs


def _show_forward(inputs: Array, outputs: Array, input_probe: Array, gradient_probe: Array) -> Any:
    return outputs, inputs


def _show_backward(inputs: Array, gradient: Array) -> Any:
    return jnp.zeros_like(inputs), gradient, inputs, gradient


_show.defvjp(_show_forward, _show_backward)


class Tapped(eqx.Module):
    """A layer that shows its inputs and its outputs' gradients to two probes."""

    layer: Any
    input_probe: Array | None
    gradient_probe: Array | None
    watch: "Watch | None" = eqx.field(static=True, default=None)

    def __call__(self, x: Array, *args: Any, **options: Any) -> Array:
        """What the layer makes of `x`."""
        outputs = self.layer(x, *args, **options)
        inputs, gradient_shape = _as_rows(self.layer, x, outputs)
        if self.watch is not None:
            self.watch.calls.append((inputs, outputs.reshape(gradient_shape)))
        if self.input_probe is None or self.gradient_probe is None:
            return outputs
        if isinstance(self.layer, eqx.nn.Conv):  # channels first
            flat = outputs.reshape(outputs.shape[0], -1).T
            shown = _show(inputs, flat, self.input_probe, self.gradient_probe)
            return shown.T.reshape(outputs.shape)
        flat = outputs.reshape(gradient_shape)
        return _show(inputs, flat, self.input_probe, self.gradient_probe).reshape(outputs.shape)

    def __getattr__(self, name: str) -> Any:
        if self.watch is not None and name in ("weight", "bias"):
            self.watch.is_read = True
        return getattr(self.layer, name)


class Watch:
    """What happens to a layer while the network is traced.

    Attributes:
        calls: Inputs and outputs of each call, as rows.
        is_read: Whether its arrays were asked for outside its calls.
    """

    def __init__(self) -> None:
        self.calls: list[tuple[Array, Array]] = []
        self.is_read = False


def _as_rows(layer: Any, x: Array, outputs: Array) -> tuple[Array, tuple[int, ...]]:
    """The rows that meet the layer's matrix, a 1 behind each, and the shape of the outputs as such rows."""
    if isinstance(layer, eqx.nn.Linear):
        rows = jnp.reshape(x, (-1,))
        return jnp.append(rows, jnp.ones(1, rows.dtype)), (outputs.size,)
    if isinstance(layer, Convolution):
        patches = layer.patches(x)
        patches = patches.reshape(-1, patches.shape[-1])
        n_out = outputs.shape[-1]
    else:
        found = jax.lax.conv_general_dilated_patches(
            x[None],
            layer.kernel_size,
            layer.stride,
            layer.padding,
            rhs_dilation=layer.dilation,
        )[0]
        patches, n_out = found.reshape(found.shape[0], -1).T, outputs.shape[0]
    patches = jnp.concatenate([patches, jnp.ones((len(patches), 1), patches.dtype)], axis=1)
    return patches, (len(patches), n_out)


def _is_layer(node: Any) -> bool:
    return isinstance(node, eqx.nn.Linear | eqx.nn.Conv | Convolution)


def _kind(layer: Any) -> str:
    if isinstance(layer, eqx.nn.Linear):
        return "linear"
    return "convolution" if isinstance(layer, Convolution) else "conv"


def _layers_of(model: PyTree) -> dict[str, Any]:
    """Layers that can be tapped, by path."""
    flat = jax.tree_util.tree_leaves_with_path(model, is_leaf=_is_layer)
    return {jax.tree_util.keystr(path): node for path, node in flat if _is_layer(node)}


def _tap(model: PyTree, make: Callable[[str, Any], Any]) -> PyTree:
    """The model with `make(path, layer)` in place of each layer."""

    def replace(path: Any, node: Any) -> Any:
        return make(jax.tree_util.keystr(path), node) if _is_layer(node) else node

    return jax.tree_util.tree_map_with_path(replace, model, is_leaf=_is_layer)


def pull_back(
    model: PyTree, blocks: Blocks, x: Float[Array, "row ..."], *, apply: Apply = call_model
) -> tuple[Float[Array, "row out"], Callable[[Float[Array, "row out"]], tuple[PyTree, Seen]]]:
    """Outputs for each row, and the way back through the network.

    Args:
        model: The network.
        blocks: Of the network, from `find_blocks`.
        x: Examples.
        apply: `apply(model, x)` gives the outputs for one example.

    Returns:
        The outputs, and `pull(cotangents)`, which takes the gradient of each row's loss by its outputs and
        gives the MEAN over rows of the weights' gradients, in the structure of
        `equinox.filter(model, equinox.is_inexact_array)`, and what is seen of each row's.

    Examples:
        >>> import equinox as eqx, jax, jax.numpy as jnp
        >>> model = eqx.nn.Linear(2, 1, key=jax.random.key(0))
        >>> x = jnp.array([[1.0, 2.0], [3.0, 4.0]])
        >>> outputs, pull = pull_back(model, find_blocks(model, x[0]), x)
        >>> gradient, seen = pull(jnp.ones((2, 1)))
        >>> gradient.weight, seen.inputs[""]
        (Array([[2., 3.]], dtype=float32), Array([[1., 2., 1.],
               [3., 4., 1.]], dtype=float32))
    """
    check_rows(x)
    alone = [leaf.path for leaf in blocks.others]
    alone += [path for layer in blocks.layers if layer.n_uses > 1 for path in layer.leaves]
    found, pull = _pull_back(model, blocks.layers, alone, x, apply)

    def pull_mean(cotangents: Array) -> tuple[PyTree, Seen]:
        gradient, shown, per_row = pull(cotangents.astype(found.dtype))
        gradient = jax.tree_util.tree_map(lambda leaf: leaf / len(x), gradient)
        inputs = {layer.path: shown[layer.path][0] / layer.n_uses for layer in blocks.layers}
        inputs = {layer.path: inputs[layer.path][..., : layer.shape[0]] for layer in blocks.layers}
        gradients = {layer.path: shown[layer.path][1] for layer in blocks.layers}
        return gradient, Seen(inputs, gradients, per_row)

    return found, pull_mean


def _pull_back(
    model: PyTree, layers: Sequence[Layer], alone: Sequence[str], x: Array, apply: Apply
) -> tuple[Array, Callable[[Array], Any]]:
    """Outputs, and the way back: sums of gradients, what the probes got, gradients of arrays row by row."""
    arrays, static = eqx.partition(model, eqx.is_inexact_array)
    leaves = leaves_of(arrays)
    zeros = {path: jnp.zeros((len(x), *leaves[path].shape), leaves[path].dtype) for path in alone}
    probes = {}
    for layer in layers:
        places = (layer.n_places,) if layer.n_places else ()
        shapes = (len(x), *places, layer.n_in + 1), (len(x), *places, layer.n_out)
        probes[layer.path] = tuple(
            jnp.zeros(shape, dtype) for shape, dtype in zip(shapes, layer.dtypes, strict=True)
        )

    def outputs(arrays: PyTree, probes: Any, zeros: Leaves) -> Array:
        leaves = leaves_of(arrays)

        def row(x: Array, probes: Any, zeros: Leaves) -> Array:
            moved = {path: leaves[path] + zero for path, zero in zeros.items()}
            own = eqx.combine(with_leaves(arrays, moved), static)
            return apply(
                _tap(own, lambda path, node: Tapped(node, *probes[path]) if path in probes else node), x
            )

        return jax.vmap(row)(x, probes, zeros)

    return jax.vjp(outputs, arrays, probes, zeros)


def check_rows(x: Array) -> None:
    """Refuses a batch without rows."""
    if x.ndim < 1 or not x.shape[0]:
        raise ArgumentError(f"a batch needs at least one example, got shape {x.shape}")


def find_blocks(model: PyTree, x: Any, *, apply: Apply = call_model) -> Blocks:
    """Finds the layers whose statistics can be had, and names every array that stands outside them.

    `equinox.nn.Linear`, `equinox.nn.Conv` (one group, padding by zeros) and `nets.Convolution` are taken as
    layers, wherever they are in the network and however they are called, if their arrays are used by their
    calls alone. The network runs on `x` a few times to find out.

    Args:
        model: The network.
        x: ONE example.
        apply: `apply(model, x)` gives the outputs for one example.

    Returns:
        Blocks, whose `.table()` tells each array's.

    Raises:
        ArgumentError: if the model has no floating-point arrays, keeps running statistics (as batch
            normalisation does), or its outputs are not a vector.
    """
    x = jnp.asarray(x)
    arrays = eqx.filter(model, eqx.is_inexact_array)
    leaves = leaves_of(arrays)
    if not leaves:
        raise ArgumentError("the model has no floating-point arrays: there are no weights")
    for path, node in jax.tree_util.tree_leaves_with_path(model, is_leaf=_is_stateful):
        if _is_stateful(node):
            raise ArgumentError(
                f"{jax.tree_util.keystr(path)} is a {type(node).__name__}, whose outputs depend on other "
                "examples; use a layer that treats each by itself, such as nets.GroupNorm or "
                "equinox.nn.LayerNorm"
            )
    outputs = eqx.filter_eval_shape(apply, model, x)
    if len(getattr(outputs, "shape", ())) != 1:
        raise ArgumentError(f"the model's outputs for an example must be a vector, got {outputs}")
    whys = {path: "outside any linear or convolutional layer" for path in leaves}
    layers = _uses_seen(model, _candidates(model, x, apply, whys), x, apply, whys)
    inside = {path for layer in layers for path in layer.leaves}
    others = (Leaf(path, leaf.shape, whys[path]) for path, leaf in leaves.items() if path not in inside)
    return Blocks(tuple(layers), tuple(others))


def _is_stateful(node: Any) -> bool:
    return isinstance(node, eqx.nn.StateIndex | eqx.nn.BatchNorm)


def _candidates(model: PyTree, x: Array, apply: Apply, whys: dict[str, str]) -> list[Layer]:
    """Layers as their calls find them; `whys` is told why others are none."""
    watched = {path: Watch() for path in _layers_of(model)}
    eqx.filter_eval_shape(apply, _tap(model, lambda path, layer: Tapped(layer, None, None, watched[path])), x)
    found = []
    for path, node in _layers_of(model).items():
        weight, bias = node.weight, node.bias
        own = [f"{path}.weight"] + ([f"{path}.bias"] if bias is not None else [])
        reason = _unsuitable(node, watched[path])
        if reason:
            whys.update({name: reason for name in own if name in whys})
            continue
        inputs, outputs = watched[path].calls[0]
        found.append(
            Layer(
                path,
                _kind(node),
                own[0],
                own[1] if bias is not None else None,
                n_in=inputs.shape[-1] - 1,
                n_out=outputs.shape[-1],
                weight_shape=weight.shape,
                bias_shape=() if bias is None else bias.shape,
                n_places=inputs.shape[0] if inputs.ndim > 1 else 0,
                dtypes=(str(inputs.dtype), str(outputs.dtype)),
            )
        )
    return found


def _unsuitable(node: Any, watch: Watch) -> str:
    """Why a layer can't be tapped, or nothing."""
    arrays = [node.weight] if node.bias is None else [node.weight, node.bias]
    if not all(eqx.is_inexact_array(own) for own in arrays):
        return "a part of its layer is not floating-point numbers"
    if node.weight.ndim != (2 + node.num_spatial_dims if isinstance(node, eqx.nn.Conv) else 2):
        return "its layer is a stack of layers"
    if not watch.calls:
        return NOT_CALLED
    if watch.is_read:
        return "it is used outside its layer's calls too"
    if isinstance(node, eqx.nn.Conv) and node.groups != 1:
        return "its convolution has groups"
    if isinstance(node, eqx.nn.Conv) and node.padding_mode != "ZEROS":
        return "its convolution is not padded by zeros"
    if len(watch.calls) > 1 and not isinstance(node, eqx.nn.Linear):
        return "its convolution is called several times"
    return ""


def _uses_seen(
    model: PyTree, layers: list[Layer], x: Array, apply: Apply, whys: dict[str, str]
) -> list[Layer]:
    """The layers that are used by their calls alone, with how often; `whys` is told of the others."""
    if isinstance(x, Tracer):
        raise ArgumentError("find_blocks looks at numbers: call it outside jit and vmap")
    outputs, pull = _pull_back(model, layers, (), x[None], apply)
    cotangents = jax.random.normal(jax.random.key(0), outputs.shape, outputs.dtype)
    gradient, shown, _ = pull(cotangents)
    exact, found = leaves_of(gradient), []
    for layer in layers:
        inputs, gradients = (np.asarray(own[0], np.float64) for own in shown[layer.path])
        n_uses = round(float(np.mean(inputs[..., -1])))
        reason = ""
        if n_uses == 0:
            reason = NOT_CALLED
        elif n_uses > 1 and layer.n_places:
            reason = "its convolution is called several times"
        elif n_uses == 1:
            inputs = np.atleast_2d(inputs)[:, : layer.shape[0]]
            product = inputs.T @ np.atleast_2d(gradients)
            wanted = np.asarray(layer.gather(exact), np.float64)
            scale = np.abs(inputs).T @ np.abs(np.atleast_2d(gradients)) + np.abs(wanted)
            tolerance = CLOSE if exact[layer.weight].dtype.itemsize > 2 else CLOSE_IN_HALF
            if np.any(np.abs(product - wanted) > tolerance * scale.max()):
                reason = "it is used outside its layer's calls too"
        if reason:
            whys.update({path: reason for path in layer.leaves})
        else:
            found.append(dataclasses.replace(layer, n_uses=n_uses))
    return found
