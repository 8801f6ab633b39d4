"""The CIFAR ResNet-18 of the paper's vision task (He et al., CVPR 2016; 3x3 stem, no max-pooling), ready to be cut.

The paper cuts after the second BatchNorm2d (conv-bn-relu-conv-bn) and sends one 64x32x32 tensor. In a standard ResNet
that cut lies inside the first block, whose shortcut would have to be sent too. Here the shortcut of the first
block starts at the cut tensor instead: same layers, parameters and FLOPs, one tensor (docs/decisions/0004).
"""

from collections import OrderedDict
from typing import Literal

import torch
from torch import Tensor, nn

from heron.errors import SplitError
from heron.split.cut import cut
from heron.split.heads import linear_head, pooled_linear_head
from heron.split.model import SplitModel

Norm = Literal["batch", "group"]


class _SecondHalf(nn.Module):
    """The rest of the first block: relu-conv-norm of z, plus z."""

    def __init__(self, channels: int, norm: Norm) -> None:
        super().__init__()
        self.conv = _conv3x3(channels, channels)
        self.norm = _norm(norm, channels)

    def forward(self, smashed: Tensor) -> Tensor:
        # Not in place: the smashed data belongs to the client and the wire as well.
        return torch.relu_(self.norm(self.conv(torch.relu(smashed))) + smashed)


class _BasicBlock(nn.Module):
    def __init__(self, channels_in: int, channels: int, stride: int, norm: Norm) -> None:
        super().__init__()
        self.conv1 = _conv3x3(channels_in, channels, stride)
        self.norm1 = _norm(norm, channels)
        self.conv2 = _conv3x3(channels, channels)
        self.norm2 = _norm(norm, channels)
        self.shortcut = nn.Sequential()
        if stride != 1 or channels_in != channels:
            self.shortcut = nn.Sequential(
                nn.Conv2d(channels_in, channels, 1, stride=stride, bias=False), _norm(norm, channels)
            )

    def forward(self, inputs: Tensor) -> Tensor:
        outputs = self.norm2(self.conv2(torch.relu_(self.norm1(self.conv1(inputs)))))
        return torch.relu_(outputs + self.shortcut(inputs))


def resnet18(
    *,
    width: int = 64,
    norm: Norm = "batch",
    cut_layer: str = "norm2",
    bottleneck_channels: int = 0,
    bottleneck_stride: int = 1,
    num_classes: int = 10,
) -> SplitModel:
    """ResNet-18 for 32x32 images, cut after one of its layers.

    Args:
        width: channels of the first stage, >= 1; later stages have 2, 4 and 8 times as many.
        norm: `"batch"`, or `"group"` where micro-batches are wanted.
        cut_layer: `conv1`, `norm1`, `relu1`, `conv2`, `norm2` (the paper's), `block1` to `block8`, or `pool`.
        bottleneck_channels: channels of a 1x1 convolution that ends the client and is undone by one that begins the
            server, so that smashed data is narrow; 0 for none.
        bottleneck_stride: stride of the narrowing convolution, >= 1.
        num_classes: C.

    Returns:
        Inputs (3, 32, 32); the auxiliary network is 2x2 pooling and one fully connected layer.

    Raises:
        SplitError: if a value is out of range or the cut layer does not exist.
    """
    if width < 1 or bottleneck_channels < 0 or bottleneck_stride < 1 or norm not in {"batch", "group"}:
        raise SplitError(
            f"expected width >= 1, bottleneck_channels >= 0, bottleneck_stride >= 1 and norm batch or group, found "
            f"{width}, {bottleneck_channels}, {bottleneck_stride}, {norm!r}"
        )
    example = torch.zeros(1, 3, 32, 32)
    network = _network(width, norm, num_classes)
    if bottleneck_channels:
        network = _with_bottleneck(network, cut_layer, bottleneck_channels, bottleneck_stride, example)
        cut_layer = "narrow"
    return cut(network, cut_layer, example=example, auxiliary=lambda shape: _head(shape, num_classes))


def _network(width: int, norm: Norm, num_classes: int) -> nn.Sequential:
    layers: OrderedDict[str, nn.Module] = OrderedDict(
        conv1=_conv3x3(3, width),
        norm1=_norm(norm, width),
        relu1=nn.ReLU(inplace=True),
        conv2=_conv3x3(width, width),
        norm2=_norm(norm, width),
        block1=_SecondHalf(width, norm),
    )
    channels_in = width
    for number in range(2, 9):
        channels = width * 2 ** ((number - 1) // 2)
        stride = 2 if number in {3, 5, 7} else 1
        layers[f"block{number}"] = _BasicBlock(channels_in, channels, stride, norm)
        channels_in = channels
    layers |= {"pool": nn.AdaptiveAvgPool2d(1), "flatten": nn.Flatten(), "fc": nn.Linear(channels_in, num_classes)}
    return nn.Sequential(layers)


def _with_bottleneck(
    network: nn.Sequential, cut_layer: str, channels: int, stride: int, example: Tensor
) -> nn.Sequential:
    wide = cut(network, cut_layer, example=example)
    with torch.no_grad():
        shape = wide.client.eval()(example).shape
    wide.client.train()
    if len(shape) != 4:
        raise SplitError(
            f"a bottleneck needs a cut at a feature map, found shape {tuple(shape[1:])} after {cut_layer!r}"
        )
    narrow = nn.Conv2d(shape[1], channels, 1, stride=stride)
    widen = nn.Conv2d(channels, shape[1], 1)
    return nn.Sequential(
        OrderedDict(
            [*wide.client.named_children(), ("narrow", narrow), ("widen", widen), *wide.server.named_children()]
        )
    )


def _head(shape: torch.Size, num_classes: int) -> nn.Module:
    if len(shape) == 3 and min(shape[1:]) >= 2:
        return pooled_linear_head(shape, num_classes)
    return linear_head(shape, num_classes)


def _conv3x3(channels_in: int, channels: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(channels_in, channels, 3, stride=stride, padding=1, bias=False)


def _norm(norm: Norm, channels: int) -> nn.Module:
    if norm == "batch":
        return nn.BatchNorm2d(channels)
    if channels < 4:
        return nn.GroupNorm(1, channels)
    # As many groups as possible, up to 32, of at least four channels each.
    groups = max(count for count in range(1, min(32, channels // 4) + 1) if channels % count == 0)
    return nn.GroupNorm(groups, channels)
