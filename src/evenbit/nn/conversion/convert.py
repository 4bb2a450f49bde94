"""Makes an existing network binary: replaces its real layers one by one.

    Conv2d, Conv1d, Linear              BinaryActivation, then BinaryConv2d or BinaryLinear with the same weights as
                                        latent weights, then a batch normalization if none follows
    ReLU, ReLU6 that a sign reads       the method's activation, such as RPReLU, or nothing if it has none
    everything else                     stays

docs/bring-your-own-network.md says why, and which layers stay real.
"""

from __future__ import annotations

import copy
import dataclasses
import fnmatch
import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from evenbit.errors import BinarizeError
from evenbit.nn.activation import BinaryActivation
from evenbit.nn.block import (
    BinaryLayer,
    BinarySequenceLayer,
    BinaryTokensLayer,
    for_vectors,
    make_activation,
    make_binarizer,
)
from evenbit.nn.conv import BinaryConv2d, BinaryLinear
from evenbit.nn.conversion.record import Conversion, Conversions
from evenbit.nn.conversion.structure import Call, Structure, changes_for_others, is_changed_beside_its_source
from evenbit.nn.method import Method, resolve_method
from evenbit.nn.ops import pair
from evenbit.nn.trace import buffers_kept, image_size, in_eval_mode, module_path, place, zeros

FIRST, LAST, BRIDGES = KINDS = "first", "last", "bridges"


class Binarized(NamedTuple):
    """A binary network, and a table of what became of each layer."""

    network: nn.Module
    table: Conversions


def binarize(
    module: nn.Module,
    example: Tensor,
    *,
    method: str | Method = "fd",
    keep: Sequence[str] = (FIRST, LAST),
    also: Sequence[str] = (),
) -> Binarized:
    """Makes a binary network from a real one, trained or not; it has to be trained before it is useful.

    Convolutions and dense layers get binary weights and inputs, except those that `keep` names and those that cannot or
    should not be binary: depthwise and other grouped convolutions, dilated ones, 1x1 convolutions in shortcuts, the
    gates of squeeze-and-excitation, layers whose class has a forward of its own, and those that the logits do not need.

    Args:
        module: A network from images to logits, or to something that holds them under the name `logits`. `torch.export`
            has to be able to trace it. It is not changed.
        example: Images `[N, C, H, W]` or sequences `[N, C, L]`, of which only the sizes after N count.
        method: The way to binarize, or its name in `evenbit.METHODS`.
        keep: What stays real: "first" (layers that read the images), "last" (layers that make the logits), "bridges"
            (layers that no path leads around, so that all information would pass through their signs), or paths of
            modules, each with everything inside it; `*` in a path stands for anything.
        also: Paths of convolutions that become binary although they have groups or are dilated.

    Returns:
        The binary network, in the same mode (training or not) as the real one, and a table of its layers.

    Raises:
        CaptureError: If the network cannot be traced.
        BinarizeError: If nothing can be binarized, an entry of `keep` names nothing, a layer's weights are all zero or
            not all finite, or the network does not call what its layers are replaced by.
        RecipeError: If the method is unknown.
    """
    chosen = resolve_method(method, {}) if isinstance(method, str) else method
    if not chosen.binary:
        raise BinarizeError(f"method '{chosen.name}' is not binary; choose another one")
    if isinstance(keep, str):
        raise BinarizeError(f"keep should be a sequence of names, but is the string '{keep}'")
    for path, part in module.named_modules():
        _check_tensors(path, part)
    network = copy.deepcopy(module)
    with in_eval_mode(network):
        structure = Structure(network, image_size(example))
        fixed = set() if chosen.activation == "relu" else changes_for_others(network, image_size(example))
    conversion = _Conversion(network, structure, fixed, chosen, tuple(keep), tuple(also))
    binarized = conversion.run()
    conversion.check_calls(image_size(example))
    return binarized


def _tensors_in(value: Any) -> Iterator[Tensor]:
    """The tensors that an attribute is, or holds in lists, tuples and dictionaries."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, list | tuple | dict):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _tensors_in(item)


def _check_tensors(path: str, part: nn.Module) -> None:
    """Refuses a module that holds a tensor which it has computed: torch cannot copy it."""
    for name, value in vars(part).items():
        if name in ("_parameters", "_buffers", "_modules"):
            continue
        if any(not tensor.is_leaf for tensor in _tensors_in(value)):
            if any(f"{name}_{end}" in part._parameters for end in ("orig", "g")):
                raise BinarizeError(
                    f"module '{path}': its {name} is computed from other tensors, by pruning or the old weight_norm; "
                    "call prune.remove or remove_weight_norm first"
                )
            raise BinarizeError(
                f"{place(path)}: its attribute '{name}' is or holds a tensor that it has computed, which cannot be "
                "copied; set it to None first"
            )


class _Conversion:
    """Replaces the modules of one network."""

    def __init__(
        self,
        network: nn.Module,
        structure: Structure,
        fixed: set[str],
        method: Method,
        keep: tuple[str, ...],
        also: tuple[str, ...],
    ) -> None:
        self.network, self.structure, self.method, self.keep, self.also = network, structure, method, keep, also
        self.fixed = fixed  # activations that have to stay
        self.modules = dict(network.named_modules(remove_duplicate=False))
        self.calls: dict[str, list[Call]] = {}
        first = {id(part): path for path, part in reversed(self.modules.items())}  # of the paths that a part has
        for call in structure.calls:
            self.calls.setdefault(first[id(self.modules[call.path])], []).append(call)
        self.replaced: dict[int, tuple[nn.Module, nn.Module]] = {}  # by id of the real module, which is kept alive

    def run(self) -> Binarized:
        """The network after all replacements."""
        self._check_keep()
        reasons = {path: self._reason(path) for path in self.calls}
        binary = [path for path, reason in reasons.items() if not reason]
        if not binary:
            listed = "; ".join(f"'{path}' {reason}" for path, reason in reasons.items())
            raise BinarizeError(f"no layer of the network can be binarized: {listed or 'it has none'}")
        activations = self._activations(
            call.node.args[0] for path in binary for call in self.calls[path] if not self._reads_tokens(path)
        )
        at_least_zero = self.structure.at_least_zero(activations.values())
        rows = []
        for path, calls in self.calls.items():
            was, became = _describe(self.modules[path], calls[0]), "float"
            if path in binary:
                never_negative = any(call.node.args[0] in at_least_zero for call in calls)
                became = self._replace_layer(path, calls, never_negative)
            macs = sum(call.macs for call in calls if call.is_needed)
            rows.append(Conversion(path, was, became, reasons[path], macs))
        rows += [self._replace_activation(path, node.meta["val"].shape[1]) for path, node in activations.items()]
        rows += self._never_called()
        order = {path: index for index, path in enumerate(self._paths())}
        rows.sort(key=lambda row: order.get(row.path, len(order)))
        for path, part in self.modules.items():
            if id(part) in self.replaced:
                self._put(path, self.replaced[id(part)][1])
            if isinstance(part, nn.TransformerEncoderLayer):
                part.activation_relu_or_gelu = 0  # else torch goes past its dense layers and reads their weights itself
        return Binarized(self.network, Conversions(rows))

    def _paths(self) -> list[str]:
        """Paths of the modules in the order of their first call."""
        return list(
            dict.fromkeys(module_path(node) for node in self.structure.graph.nodes if node.op == "call_function")
        )

    def _check_keep(self) -> None:
        for name, entries in (("keep", self.keep), ("also", self.also)):
            for entry in entries:
                is_kind = name == "keep" and entry in KINDS
                if not is_kind and not any(_matches(entry, path) for path in self.calls):
                    known = ", ".join(f"'{path}'" for path in list(self.calls)[:3])
                    raise BinarizeError(
                        f"{name} names '{entry}', which is not a layer of the network; it has {known}, ..."
                    )

    def _reason(self, path: str) -> str:
        """Why the layer stays float; empty if it does not."""
        module, calls = self.modules[path], self.calls[path]
        if not any(call.is_needed for call in calls):
            return "is not needed for the logits"
        if FIRST in self.keep and any(call.is_first for call in calls):
            return "reads the images"
        if LAST in self.keep and any(call.is_last for call in calls):
            return "makes the logits"
        if any(_matches(entry, path) for entry in self.keep if entry not in KINDS):
            return "is named in keep"
        if any(call.is_gate for call in calls):
            return "gates a map"
        if any(call.is_shortcut for call in calls):
            return "is a 1x1 shortcut"
        if isinstance(module, nn.Conv2d | nn.Conv1d) and _is_plain_conv(type(module)):
            reason = _reason_of_conv(module, asked=any(_matches(entry, path) for entry in self.also))
        elif isinstance(module, nn.Linear) and type(module).forward is nn.Linear.forward:
            reason = ""
        else:
            return f"is called by the forward of {type(module).__name__}"
        if not reason and not isinstance(module._parameters.get("weight"), nn.Parameter):
            reason = "has a parametrized weight"
        if not reason and _has_hooks(module):
            reason = "has hooks"
        if not reason and BRIDGES in self.keep and any(call.is_bridge for call in calls):
            reason = "is a bridge"
        return reason

    def _activations(self, read: Iterable[Any]) -> dict[str, torch.fx.Node]:
        """ReLU modules that keep negative values from a sign and can be replaced: their nodes, by path."""
        if self.method.activation == "relu":
            return {}
        called: dict[int, int] = {}
        for node in self.structure.graph.nodes:
            if node.op == "call_function":
                part: Any = self.modules.get(module_path(node))
                called[id(part)] = called.get(id(part), 0) + 1
        sources = self.structure.at_least_zero(())
        values = [value for value in read if value in sources]
        found = {}
        for node in sorted({source for value in values for source in sources[value]}):
            path = module_path(node)
            part = self.modules.get(path)
            if type(part) not in (nn.ReLU, nn.ReLU6) or called[id(part)] > 1 or path in self.fixed or _has_hooks(part):
                continue
            if not part.inplace and self._leaves_out_activations() and is_changed_beside_its_source(node):
                continue
            if self.structure.keeps_channels(node, [value for value in values if node in sources[value]], sources):
                found[path] = node
        return found

    def _leaves_out_activations(self) -> bool:
        return isinstance(make_activation(1, self.method), nn.Identity)

    def _replace_layer(self, path: str, calls: list[Call], never_negative: bool) -> str:
        module = self.modules[path]
        assert isinstance(module, nn.Conv2d | nn.Conv1d | nn.Linear)
        weight = module.weight
        assert isinstance(weight, nn.Parameter)
        if not weight.isfinite().all():
            raise BinarizeError(f"module '{path}': holds a weight that is not finite")
        if not weight.any():
            raise BinarizeError(f"module '{path}': its weights are all zero, so they have no signs")
        method = _fitted(self.method, calls, never_negative)
        layer: nn.Module
        if isinstance(module, nn.Conv2d | nn.Conv1d):
            layer = BinaryConv2d(
                module.in_channels,
                module.out_channels,
                _of_map(module.kernel_size, 1),
                make_binarizer(method),
                stride=_of_map(module.stride, 1),
                padding=_padding(module),
                centred=method.two_values,
                groups=module.groups,
                dilation=_of_map(module.dilation, 1),
            )
            norm: nn.Module = nn.BatchNorm2d(module.out_channels)
        else:
            sizes = (module.in_features, module.out_features)
            layer = BinaryLinear(*sizes, make_binarizer(method), centred=method.two_values)
            norm = nn.BatchNorm1d(module.out_features)
        name = type(layer).__name__
        if all(call.is_normalized for call in calls):
            norm = nn.Identity()
        else:
            name += f", {type(norm).__name__}"
            if module.bias is not None:
                norm.bias = nn.Parameter(module.bias.detach().clone())
        inputs = module.in_features if isinstance(module, nn.Linear) else module.in_channels
        kind = BinarySequenceLayer if isinstance(module, nn.Conv1d) else BinaryLayer
        kind = BinaryTokensLayer if self._reads_tokens(path) else kind
        made = kind(BinaryActivation(inputs, method), layer, norm, module)
        made = made.to(weight.device, weight.dtype).train(module.training)
        if isinstance(module, nn.Conv1d):
            layer.weight = nn.Parameter(weight.detach().unsqueeze(2).clone(), weight.requires_grad)
        else:
            layer.weight = weight  # the parameter itself, so that it stays shared where it was
        self.replaced[id(module)] = (module, made)
        return name

    def _reads_tokens(self, path: str) -> bool:
        """Whether it is a dense layer along the last axis of more than vectors."""
        return isinstance(self.modules[path], nn.Linear) and any(len(call.input) != 2 for call in self.calls[path])

    def _replace_activation(self, path: str, channels: int) -> Conversion:
        module = self.modules[path]
        made = make_activation(channels, self.method).train(module.training)
        reference = next(self.network.parameters())
        self.replaced[id(module)] = (module, made.to(reference.device, reference.dtype))
        return Conversion(path, type(module).__name__, type(made).__name__, "is read by a sign", 0)

    def _never_called(self) -> list[Conversion]:
        weighted = (path for path, part in self.modules.items() if isinstance(part, nn.Conv2d | nn.Conv1d | nn.Linear))
        return [
            Conversion(path, _describe(self.modules[path]), "float", "is never called itself", 0)
            for path in weighted
            if path not in self.calls and id(self.modules[path]) not in self.replaced
        ]

    def _put(self, path: str, made: nn.Module) -> None:
        if not path:
            self.network = made
            return
        parent, _, name = path.rpartition(".")
        self.modules[parent]._modules[name] = made

    def check_calls(self, size: tuple[int, ...]) -> None:
        """Computes the network once, and refuses it if its forward does not call the new layers."""
        old, new = set[int](), set[int]()  # what is called: replaced modules, and those whose replacements are
        with ExitStack() as hooks:
            for key, (was, made) in self.replaced.items():
                hooks.callback(was.register_forward_pre_hook(lambda *_, key=key: old.add(key)).remove)
                hooks.callback(made.register_forward_pre_hook(lambda *_, key=key: new.add(key)).remove)
            try:
                with in_eval_mode(self.network), buffers_kept(self.network), torch.no_grad():
                    self.network(zeros(self.network, size))
            except Exception as error:
                raise BinarizeError(f"the binary network cannot be computed: {error}") from error
        missed = old | (self.replaced.keys() - new)
        if missed:
            paths = {id(part): path for path, part in reversed(self.modules.items()) if id(part) in missed}
            listed = ", ".join(f"'{path}'" for path in reversed(paths.values()))
            raise BinarizeError(
                f"forward does not call what replaces {listed}; it should reach its layers as attributes, or by "
                "nn.ModuleList or nn.ModuleDict, but not by a plain list, tuple or dict"
            )


def _is_plain_conv(kind: type[nn.Conv2d | nn.Conv1d]) -> bool:
    """Whether a class computes what torch's convolutions do."""
    forwards, inner = (nn.Conv2d.forward, nn.Conv1d.forward), (nn.Conv2d._conv_forward, nn.Conv1d._conv_forward)
    return kind.forward in forwards and kind._conv_forward in inner


def _has_hooks(module: nn.Module) -> bool:
    return bool(module._forward_hooks or module._forward_pre_hooks)


def _matches(entry: str, path: str) -> bool:
    return fnmatch.fnmatchcase(path, entry) or fnmatch.fnmatchcase(path, f"{entry}.*")


def _reason_of_conv(module: nn.Conv2d | nn.Conv1d, *, asked: bool) -> str:
    """Why a convolution cannot or, unless it is asked for, should not be binary; empty if it is to be."""
    if module.groups > 1 and not asked:
        return "is depthwise" if module.groups == module.in_channels else f"has {module.groups} groups"
    if pair(module.dilation) != (1, 1) and not asked:
        return "is dilated"
    if pair(module.dilation) != (1, 1) and pair(module.stride) != (1, 1):
        return "is dilated and has a stride"
    if module.padding_mode != "zeros":
        return f"has the padding mode '{module.padding_mode}'"
    if module.padding == "same" and not all(size % 2 for size in module.kernel_size):
        return "is padded by more on one side than on the other"
    return ""


def _padding(module: nn.Conv2d | nn.Conv1d) -> tuple[int, int]:
    if isinstance(module.padding, str):
        height, width = _of_map(module.kernel_size, 1)
        down, right = _of_map(module.dilation, 1)
        return (height // 2 * down, width // 2 * right) if module.padding == "same" else (0, 0)
    return _of_map(module.padding, 0)


def _of_map(setting: Any, of_row: int) -> tuple[int, int]:
    """Vertical and horizontal of a convolution's setting; that of a sequence, which is one row, has one number."""
    return (of_row, setting[0]) if len(setting) == 1 else pair(setting)


def _fitted(method: Method, calls: list[Call], never_negative: bool) -> Method:
    """The method for one layer.

    Its numbers of groups divide the channels, vectors get no excitation, and an input that cannot be negative gets an
    adjustment, since its sign would be +1 everywhere.
    """
    is_dense = calls[0].node.target == torch.ops.aten.linear.default
    channels = calls[0].input[-1 if is_dense else 1]
    has_maps = not is_dense and all(math.prod(call.input[2:]) > 1 for call in calls)
    if not has_maps:
        method = for_vectors(method)
    return dataclasses.replace(
        method,
        adjustment="channel" if method.adjustment == "none" and never_negative else method.adjustment,
        adjustment_groups=math.gcd(method.adjustment_groups, channels),
        excitation_groups=math.gcd(method.excitation_groups, channels) if method.excitation_groups else 0,
    )


def _describe(module: nn.Module, call: Call | None = None) -> str:
    """A layer in a few words."""
    if isinstance(module, nn.Linear):
        return f"Linear {module.in_features} to {module.out_features}"
    if isinstance(module, nn.Conv2d | nn.Conv1d):
        kernel = "x".join(map(str, module.kernel_size))
        kind = "Conv1d" if isinstance(module, nn.Conv1d) else "Conv2d"
        return f"{kind} {kernel} {module.in_channels} to {module.out_channels}"
    return "dense layer" if call is None or len(call.input) == 2 else "convolution"
