"""What each kind of tensor operation does to the labels of `rsprune_lib.pruning.labels`: one rule a family."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import cache

import torch
from torch import Tensor, nn

from rsprune_lib.pruning.labels import LOCK, Label, Labels, split_blocks, vary
from rsprune_lib.pruning.layers import KINDS, channels, kind_of

__all__ = ["norm_rule", "rule_of"]

Values = Tensor | Sequence[Tensor]
Rule = Callable[[Labels, str, Values, tuple, dict], None]


def _same(labels: Labels, name: str, out: Values, args: tuple, kwargs: dict) -> None:
    """What has the shape of its first argument has its labels."""
    labels.set(out, labels.get(args[0]))


def _pointwise(labels: Labels, name: str, out: Values, args: tuple, kwargs: dict) -> None:
    labels.set(out, labels.blend([*args, *kwargs.values()], out.shape))


def _reshape(labels: Labels, name: str, out: Tensor, args: tuple, kwargs: dict) -> None:
    """Where a dimension of channels is cut into several, the largest piece shrinks with the channels."""
    label = labels.get(args[0])
    if label.shape == out.shape:
        return labels.set(out, label)
    before = label.shape
    label = label.reshape(out.shape)
    for old, new in split_blocks(before, out.shape):
        moving = [d for d in new if vary(label, d)]
        if len(moving) > max(1, sum(vary(labels.get(args[0]), d) for d in old)):
            stays = max(moving, key=lambda d: (out.shape[d], d))
            label = labels.level(label, [d for d in moving if d != stays]).expand(out.shape)
    labels.set(out, label)
    return None


def _move(labels: Labels, name: str, out: Tensor, args: tuple, kwargs: dict) -> None:
    """Dimensions change their order, or values are repeated: the labels likewise."""
    function = getattr(torch.ops.aten, name)
    labels.set(out, function(labels.get(args[0]), *args[1:], **kwargs))


def _take(labels: Labels, name: str, out: Tensor, args: tuple, kwargs: dict) -> None:
    """Some values are taken, by their place: harmless, unless the place is that of a channel."""
    label = labels.get(args[0])
    if label is None:  # a labelled index
        return labels.set(out, None)
    if out.shape == label.shape and name == "slice":
        return labels.set(out, label)
    taken = getattr(torch.ops.aten, name)(label, *args[1:], **kwargs)
    dims = {
        "select": lambda: [args[1]],
        "slice": lambda: [args[1] if len(args) > 1 else 0],
        "narrow": lambda: [args[1]],
        "index_select": lambda: [args[1]],
        "gather": lambda: range(label.dim()),
        "flip": lambda: args[1],
        "roll": lambda: args[2] if len(args) > 2 and args[2] else range(label.dim()),
        "unfold": lambda: [args[1]],
        "index": lambda: [d for d, index in enumerate(args[1]) if index is not None],
    }[name]()
    if any(vary(label, d) for d in dims) and not labels.loose(label):
        labels.lock(label, "channels are taken by their number")
    return labels.set(out, taken)


def _parts(labels: Labels, name: str, out: Sequence[Tensor], args: tuple, kwargs: dict) -> None:
    """Equal parts of a dimension of channels shrink in step."""
    label, place = labels.get(args[0]), 1 if name == "unbind" else 2
    dim = kwargs.get("dim", args[place] if len(args) > place else 0) % label.dim()
    if name == "unbind":
        if vary(label, dim) and not labels.loose(label):
            labels.lock(label, "channels are taken by their number")
        for each, own in zip(out, label.unbind(dim), strict=True):
            labels.set(each, own)
        return
    if labels.loose(label):
        for each, own in zip(out, label.split([each.shape[dim] for each in out], dim), strict=True):
            labels.set(each, own)
        return
    if not vary(label, dim):
        label = label.narrow(dim, 0, 1)
    elif len({each.shape[dim] for each in out}) > 1:
        labels.lock(label, "channels are split at fixed places")
        label = torch.full((), LOCK)
    else:
        label = labels.level(label.unflatten(dim, (len(out), -1)), [dim]).squeeze(dim)
    for each in out:
        labels.set(each, label)


def _glu(labels: Labels, name: str, out: Tensor, args: tuple, kwargs: dict) -> None:
    label, dim = labels.get(args[0]), args[1] if len(args) > 1 else -1
    dim %= label.dim()
    labels.set(out, labels.level(label.unflatten(dim, (2, -1)), [dim]).squeeze(dim))


def _cat(labels: Labels, name: str, out: Tensor, args: tuple, kwargs: dict) -> None:
    """Side by side along channels each part keeps its own; along another dimension the parts' channels are tied."""
    dim = kwargs.get("dim", args[1] if len(args) > 1 else 0) % out.dim()
    values = [v for v in args[0] if v.numel()]
    own = [labels.get(v) for v in values]
    if name == "stack":
        values = [v.unsqueeze(dim) for v in values]
        own = [None if lab is None else lab.unsqueeze(dim) for lab in own]
    live = [lab for lab in own if lab is not None]
    if any(vary(lab, d) for lab in live for d in range(out.dim()) if d != dim):
        first, *rest = [labels.level(lab, [dim]) for lab in live]
        for other in rest:
            labels.tie(other, first)
        if len(live) < len(own):
            labels.lock(first, "channels meet values that have none")
        return labels.set(out, first)
    lock = torch.full((), LOCK)
    filled = [(lock if lab is None else lab).expand(v.shape) for lab, v in zip(own, values, strict=True)]
    return labels.set(out, torch.cat(filled, dim))


def _pad(labels: Labels, name: str, out: Tensor, args: tuple, kwargs: dict) -> None:
    """Around channels, padding has a width that the network writes down: these places stay."""
    label, amounts = labels.get(args[0]), args[1]
    zeros = name == "constant_pad_nd" or args[2:3] in ((), ("constant",))
    for number in range(len(amounts) // 2):
        dim, ends = label.dim() - 1 - number, amounts[2 * number : 2 * number + 2]
        if not vary(label, dim):
            label = label.narrow(dim, 0, 1).expand(*label.shape[:dim], out.shape[dim], *label.shape[dim + 1 :])
        elif any(ends):
            if min(ends) < 0 or not zeros:
                labels.lock(label, "channels are cut off or repeated at fixed places")
                return labels.set(out, torch.full((), LOCK))
            low, high = (torch.full((*label.shape[:dim], n, *label.shape[dim + 1 :]), LOCK) for n in ends)
            label = torch.cat([low, label, high], dim)
    return labels.set(out, label)


def _reduce(labels: Labels, name: str, out: Values, args: tuple, kwargs: dict) -> None:
    """Values along some dimensions are brought together (sums, pooling, resizing, transforms)."""
    label = labels.get(args[0])
    first = out[0] if isinstance(out, list | tuple) else out
    dims = [d % label.dim() for d in _reduced(labels, name, label.dim(), args, kwargs)]
    for dim in dims:
        if vary(label, dim):
            labels.lock(label, f"{name} runs over channels")
            label = torch.full((1,) * label.dim(), LOCK)
        label = label.narrow(dim, 0, 1)
    if first.dim() < label.dim():
        label = label.squeeze(tuple(dims)) if first.dim() else label.reshape(-1)[:1].squeeze()
    for each in out if isinstance(out, list | tuple) else [out]:
        labels.set(each, label)


def _placed(labels: Labels, name: str, out: Tensor, args: tuple, kwargs: dict) -> None:
    """Values of each channel go to places, or come from places, that a second tensor holds."""
    label, places = labels.get(args[0]), labels.get(args[1])
    if "unpool" not in name:  # a grid, which holds two numbers of a pixel
        labels.lock(places, "a grid has a fixed number of coordinates")
    elif label is not None and places is not None:  # the indices of a pooling: each channel has its own
        labels.tie(labels.along(label, 1), labels.along(places, 1))
    labels.set(out, None if label is None else labels.level(label, range(2, label.dim())))


def _reduced(labels: Labels, name: str, dims: int, args: tuple, kwargs: dict) -> Sequence[int]:
    if found := re.search(r"([123])d(_|$)", name):
        return range(dims - int(found[1]), dims)
    if "fft" in name:
        given = kwargs.get("dim", args[2] if len(args) > 2 else None)
        default = [-1] if not name.endswith(("2", "n")) else [-2, -1]
        return default if given is None else [given] if isinstance(given, int) else given
    place = {"topk": 2, "norm": 2, "linalg_vector_norm": 2, "renorm": 2, "kthvalue": 2}.get(name, 1)
    given = kwargs.get("dim", args[place] if len(args) > place else None)
    if given is None or given == [] or isinstance(given, bool):
        return range(dims)
    return [given] if isinstance(given, int) else given


def _contract(labels: Labels, name: str, out: Tensor, args: tuple, kwargs: dict) -> None:
    """The matrix product sums over the last dimension of one factor and the last but one of the other."""
    if name in ("addmm", "baddbmm"):
        args = args[1:]
    a, b = args[:2]
    labels.set(out, _product(labels, a, b, out.dim()))


def _product(labels: Labels, a: Tensor, b: Tensor, dims: int) -> Label:
    if min(a.dim(), b.dim()) < 2:
        for each in (a, b):
            labels.lock(labels.get(each), "a product with a vector")
        return None
    la, lb = labels.get(a), labels.get(b)
    va = None if la is None or not vary(la, -1) else labels.along(la, -1)
    vb = None if lb is None or not vary(lb, -2) else labels.along(lb, -2)
    if va is not None and vb is not None:
        labels.tie(va, vb)
    elif a.shape[-1] > 1:
        labels.lock(va if vb is None else vb, "a product with values that have no channels")
    rest = []
    for lab, value, other, dim in ((la, a, va, -1), (lb, b, vb, -2)):
        keep = None if lab is None or other is not None else lab.narrow(dim, 0, 1)
        shape = list(value.shape)
        shape[dim] = 1
        shape = [1] * (dims - len(shape)) + shape
        rest.append((shape, None if keep is None else keep.reshape(shape)))
    live = [(shape, keep) for shape, keep in rest if keep is not None]
    return labels.join(live, dims) if live else None


def _attend(labels: Labels, name: str, out: Tensor, args: tuple, kwargs: dict) -> None:
    """Attention: queries meet keys over their channels; the values keep theirs."""
    q, k, v = (labels.get(each) for each in args[:3])
    for each in (q, k):
        if each is not None and vary(each, -1):
            labels.lock(each, "attention scales by the width of its heads")
    labels.set(out, None if v is None else labels.level(v, [v.dim() - 2]))


def _weighted(labels: Labels, name: str, out: Tensor, args: tuple, kwargs: dict) -> None:
    """Convolutions and linear layers read channels and make new ones."""
    x, weight = args[:2]
    layer, module = labels.layer_of(weight)
    kind, label = kind_of(module), labels.get(x)
    if kind is None or not (KINDS[kind].makes or kind == "depthwise"):
        for each in (label, labels.get(weight)):
            labels.lock(each, "weights of no known layer")
        return labels.set(out, None)
    axis = KINDS[kind].axis
    ins, outs = channels(module, "in"), channels(module, "out")
    if kind == "depthwise":
        return _whole(labels, layer, module, label, out)
    made = labels.slot(layer, "out", axis, outs)
    if label is not None:
        read = labels.slot(layer, "in", axis, ins)
        labels.tie(labels.along(label, axis), read)
        _equal_shares(labels, module, kind, read)
    _equal_shares(labels, module, kind, made)
    bias = labels.get(args[2]) if len(args) > 2 else None
    if bias is not None and bias.dim() == 1:
        labels.tie(bias, made)
    shape = [1] * out.dim()
    shape[axis] = outs
    return labels.set(out, made.view(shape))


def _equal_shares(labels: Labels, module: nn.Module, kind: str, vector: Tensor) -> None:
    if kind == "shares":
        labels.level(vector.view(module.groups, -1), [0])


def _whole(labels: Labels, layer: str, module: nn.Module, label: Label, out: Tensor) -> None:
    """A convolution with many groups: what comes into a group and what it sends on go together."""
    if label is None:
        return labels.set(out, None)
    made, read = labels.slot(layer, "out", 1, module.out_channels), labels.along(label, 1)
    first = labels.level(read.view(module.groups, -1), [1])
    labels.tie(made.view(module.groups, -1), first)
    labels.level(made.view(module.groups, -1), [1])
    shape = [1] * out.dim()
    shape[1] = module.out_channels
    return labels.set(out, made.view(shape))


_weighted.makes = True


def norm_rule(labels: Labels, layer: str, module: nn.Module, x: Tensor, out: Tensor) -> None:
    """Norms and slopes pass channels on; where these stand is seen from the labels."""
    label, kind = labels.get(x), kind_of(module)
    if label is None:
        return labels.set(out, None)
    size, axis = channels(module, "out"), KINDS[kind].axis
    if kind == "layernorm" and not vary(label, -1) and label.dim() == 4 and label.shape[1] == size:
        axis = 1
    vector = labels.along(label, axis)
    own = labels.slot(layer, "out", axis, size)
    labels.tie(vector, own)
    if kind in ("groupnorm", "groupsnorm"):
        labels.level(own.view(module.num_groups, -1), [0 if kind == "groupnorm" else 1])
    shape = [1] * out.dim()
    shape[axis] = size
    return labels.set(out, own.view(shape))


def _norm(labels: Labels, name: str, out: Values, args: tuple, kwargs: dict) -> None:
    """A norm or slope by function: the running module's, or that of its weights."""
    value = out[0] if isinstance(out, tuple) else out
    weights = [a for a in args[1:] if isinstance(a, Tensor)]
    found = [labels.layer_of(w) for w in weights] or [labels.layer_of(None)]
    layer, module = next(((n, m) for n, m in found if kind_of(m) is not None), ("", None))
    if kind_of(module) in (None, "conv", "linear", "deconv", "shares", "depthwise"):
        if name == "prelu" and args[1].numel() == 1:
            return labels.set(value, labels.get(args[0]))
        labels.lock(labels.get(args[0]), f"{name} outside of a layer")
        return labels.set(value, None)
    return norm_rule(labels, layer, module, args[0], value)


def _pixel(labels: Labels, name: str, out: Tensor, args: tuple, kwargs: dict) -> None:
    """Channels turn into pixels, r * r of each, or back."""
    label = labels.along(labels.get(args[0]), 1)
    if name == "pixel_shuffle":
        label = labels.level(label.view(out.shape[1], -1), [1]).reshape(-1)
    else:
        label = label.repeat_interleave(out.shape[1] // len(label))
    labels.set(out, label.view(1, -1, *[1] * (out.dim() - 2)))


def _complex(labels: Labels, name: str, out: Tensor, args: tuple, kwargs: dict) -> None:
    """Real and imaginary part of a value belong to one channel."""
    label = labels.get(args[0])
    if name == "view_as_complex":
        return labels.set(out, labels.level(label, [label.dim() - 1]).squeeze(-1))
    return labels.set(out, label.unsqueeze(-1))


def _family(rule: Rule, *names: str) -> dict[str, Rule]:
    return dict.fromkeys(" ".join(names).split(), rule)


RULES: dict[str, Rule] = {
    **_family(
        _same,
        "clone contiguous detach alias to _to_copy type_as lift_fresh positive resolve_conj requires_grad_ dropout",
        "dropout_ feature_dropout alpha_dropout native_dropout zeros_like ones_like empty_like full_like rand_like",
    ),
    **_family(
        _reshape, "view _unsafe_view reshape _reshape_alias flatten unflatten view_as reshape_as squeeze unsqueeze"
    ),
    **_family(_move, "permute transpose t movedim moveaxis swapaxes swapdims adjoint mT numpy_T expand repeat tile"),
    **_family(_take, "select slice narrow index_select gather flip roll index unfold"),
    **_family(_parts, "split chunk split_with_sizes tensor_split unsafe_chunk unsafe_split unbind"),
    **_family(_cat, "cat concat concatenate stack"),
    **_family(_pad, "pad constant_pad_nd reflection_pad2d replication_pad2d"),
    **_family(
        _reduce,
        "mean sum prod amax amin max min var std var_mean std_mean norm linalg_vector_norm logsumexp cumsum",
        "softmax _softmax log_softmax argmax argmin sort topk",
        "max_pool1d max_pool2d max_pool3d max_pool2d_with_indices avg_pool1d avg_pool2d avg_pool3d",
        "adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d adaptive_max_pool2d",
        "_adaptive_avg_pool2d _adaptive_avg_pool3d upsample_linear1d upsample_nearest2d upsample_bilinear2d",
        "upsample_bicubic2d _upsample_bilinear2d_aa _upsample_nearest_exact2d",
        "fft_fft fft_ifft fft_rfft fft_irfft fft_fft2 fft_ifft2 fft_rfft2 fft_irfft2 fft_rfftn fft_irfftn",
    ),
    **_family(_placed, "max_unpool2d max_unpool3d grid_sampler grid_sampler_2d grid_sampler_3d"),
    **_family(_contract, "matmul mm bmm addmm baddbmm"),
    **_family(_attend, "scaled_dot_product_attention"),
    **_family(_weighted, "linear conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d convolution"),
    **_family(_norm, "batch_norm instance_norm layer_norm group_norm rms_norm prelu _native_batch_norm_legit"),
    **_family(_pixel, "pixel_shuffle pixel_unshuffle"),
    **_family(_glu, "glu"),
    **_family(_complex, "view_as_complex view_as_real"),
    # element by element, though PyTorch does not mark them so
    **_family(
        _pointwise,
        "relu relu6 gelu silu mish elu selu celu leaky_relu hardtanh hardswish hardsigmoid softplus log_sigmoid",
        "sigmoid tanh erf square sqrt exp clamp clip add sub mul div multiply divide subtract true_divide rsub lerp",
        "addcmul where masked_fill copy_",
    ),
}


@cache
def rule_of(name: str, func: object) -> Rule | None:
    """The rule of an operation; None if there is none.

    Args:
        name: such as ``"relu"``; one that works in place has the rule of the one that does not.
        func: the operation; PyTorch marks most that work element by element.
    """
    rule = RULES.get(name, RULES.get(name.removesuffix("_")))
    return _pointwise if rule is None and torch.Tag.pointwise in func.tags else rule
