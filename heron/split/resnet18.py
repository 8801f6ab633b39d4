"""ResNet-18 for 32x32 images (He et al., CVPR 2016, in its CIFAR form: 3x3 stem with stride 1, no max pooling), cut.

HERON-SFL (Kou et al., arXiv 2601.09076, Sec. 5) cuts it after the second BatchNorm2d: conv-bn-relu-conv-bn, z is
(B, 64, 32, 32). This cut is in the middle of the first residual block, whose shortcut would cross the cut as a second
tensor. Here the first block's shortcut starts at the cut tensor instead, so that only one tensor crosses the cut
(docs/decisions/0004-resnet-cut.md):

    relu(norm(conv(relu(z))) + z)     in place of     relu(norm(conv(relu(z))) + x)     with z = norm(conv(x))

`B` examples, `W` width.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from heron.errors import SplitError
from heron.ranges import NonNegativeInt, PositiveInt
from heron.split.arguments import check_count
from heron.split.bottleneck import with_bottleneck
from heron.split.cut import cut
from heron.split.family import ModelFamily
from heron.split.heads import linear_head, pooled_linear_head
from heron.split.model import SplitModel

Norm = Literal["batch", "group"]

# (channels as a multiple of the width, stride) of block2 to block8
_BLOCKS = ((1, 1), (2, 2), (2, 1), (4, 2), (4, 1), (8, 2), (8, 1))


@dataclass(frozen=True)
class ResNet18(ModelFamily):
    """CIFAR ResNet-18.

    Attributes:
        model: `resnet18`.
        cut: layer after which the network is cut; `norm2` is the paper's.
        width: channels of the first stage; 64 is the paper's.
        norm: `batch` or `group`.
        bottleneck_channels: channels of a 1x1 bottleneck at the cut; 0 for none.
        bottleneck_stride: side of the windows it averages first.
    """

    model: Literal["resnet18"] = "resnet18"
    cut: str = "norm2"
    width: PositiveInt = 64
    norm: Norm = "batch"
    bottleneck_channels: NonNegativeInt = 0
    bottleneck_stride: PositiveInt = 1

    def network(self, *, random_weights: bool = False) -> SplitModel:  # noqa: ARG002 - all are random
        """Make the cut network. Arguments as of `ModelFamily.network`."""
        return resnet18(
            width=self.width,
            norm=self.norm,
            cut_layer=self.cut,
            bottleneck_channels=self.bottleneck_channels,
            bottleneck_stride=self.bottleneck_stride,
        )

    def neighbours(self, count: int) -> Sequence[str] | Sequence[int]:
        """List other places for the cut. Arguments as of `ModelFamily.neighbours`."""
        if self.bottleneck_channels:  # it moves with the cut: its layers are no places for one
            return replace(self, bottleneck_channels=0, bottleneck_stride=1).neighbours(count)
        return super().neighbours(count)


def resnet18(
    *,
    width: int = 64,
    norm: Norm = "batch",
    cut_layer: str = "norm2",
    bottleneck_channels: int = 0,
    bottleneck_stride: int = 1,
    num_classes: int = 10,
) -> SplitModel:
    """CIFAR ResNet-18, cut, with the paper's auxiliary network: 2x2 average pooling and one fully connected layer.

    Layers in order: conv1, norm1, relu1, conv2, norm2, block1 (the rest of the first residual block), block2 to
    block8, pool, flatten, fc. At width 64 and 10 classes it has the 11,173,962 parameters of the CIFAR ResNet-18.

    Args:
        width: number of channels of the first stage (W), at least 1; 64 is the paper's.
        norm: `"batch"`, or `"group"` for GroupNorm, which does not couple the examples of a batch.
        cut_layer: last layer of the client part, conv1 to flatten; `"norm2"` is the paper's.
        bottleneck_channels: if not 0, a 1x1 convolution to this number of channels ends the client part (`narrow`), and
            one back begins the server part (`widen`), for small smashed data.
        bottleneck_stride: side of the windows that `narrow` averages before it convolves, at least 1; the server
            continues with the smaller map.
        num_classes: C, at least 1.

    Returns:
        The cut network; inputs of shape (B, 3, 32, 32), outputs (B, C).

    Raises:
        SplitError: if an argument is out of range, or the cut layer has no map and a bottleneck is requested.
    """
    _check(width, norm, bottleneck_channels, bottleneck_stride, num_classes)
    layers, channels = _layers(width, norm, cut_layer, num_classes)
    if bottleneck_channels and cut_layer not in channels:
        raise SplitError(
            f"expected a cut_layer with a map for the bottleneck, one of {', '.join(channels)}, found {cut_layer!r}"
        )

    def auxiliary(shape: torch.Size) -> nn.Module:
        is_map = len(shape) == 3 and min(shape[1:]) > 1
        return pooled_linear_head(shape, num_classes) if is_map else linear_head(shape, num_classes)

    network, example = nn.Sequential(layers), torch.zeros(1, 3, 32, 32)
    if not bottleneck_channels:
        return cut(network, after=cut_layer, example=example, auxiliary=auxiliary)
    wide = cut(network, after=cut_layer, example=example)
    return with_bottleneck(wide, channels=bottleneck_channels, stride=bottleneck_stride, auxiliary=auxiliary)


def _layers(
    width: int, norm: Norm, cut_layer: str, num_classes: int
) -> tuple[OrderedDict[str, nn.Module], dict[str, int]]:
    """All layers in order, and the number of channels after each layer whose output is a map."""
    layers: OrderedDict[str, nn.Module] = OrderedDict(
        conv1=_conv(3, width),
        norm1=_norm(norm, width),
        # In place wherever no other layer needs the input: with 64 channels a map is a client's largest tensor.
        relu1=nn.ReLU(inplace=cut_layer != "norm1"),
        conv2=_conv(width, width),
        norm2=_norm(norm, width),
        block1=_RestOfFirstBlock(width, norm),
    )
    channels = dict.fromkeys(layers, width)
    for number, (multiple, stride) in enumerate(_BLOCKS, start=2):
        name, before = f"block{number}", channels[f"block{number - 1}"]
        layers[name] = _BasicBlock(before, multiple * width, stride, norm)
        channels[name] = multiple * width
    layers["pool"] = nn.AdaptiveAvgPool2d(1)
    layers["flatten"] = nn.Flatten()
    layers["fc"] = nn.Linear(8 * width, num_classes)
    return layers, channels


class _RestOfFirstBlock(nn.Module):
    """relu(norm(conv(relu(z))) + z): (B, W, H, H) to the same shape; its input is only read."""

    def __init__(self, channels: int, norm: Norm) -> None:
        super().__init__()
        self.conv = _conv(channels, channels)
        self.norm = _norm(norm, channels)

    def forward(self, smashed: Tensor) -> Tensor:
        outputs: Tensor = self.norm(self.conv(smashed.relu()))
        # Neither BatchNorm nor GroupNorm nor an addition needs its output for its gradient: in place is safe.
        outputs += smashed
        return outputs.relu_()


class _BasicBlock(nn.Module):
    """Two convolutions and a shortcut: (B, channels_in, H, H) to (B, channels, H / stride, H / stride)."""

    def __init__(self, channels_in: int, channels: int, stride: int, norm: Norm) -> None:
        super().__init__()
        self.conv1 = _conv(channels_in, channels, stride)
        self.norm1 = _norm(norm, channels)
        self.conv2 = _conv(channels, channels)
        self.norm2 = _norm(norm, channels)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or channels_in != channels:
            projection = nn.Conv2d(channels_in, channels, 1, stride=stride, bias=False)
            self.shortcut = nn.Sequential(OrderedDict(conv=projection, norm=_norm(norm, channels)))

    def forward(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = self.norm1(self.conv1(inputs)).relu_()
        outputs = self.norm2(self.conv2(outputs))
        outputs += self.shortcut(inputs)
        return outputs.relu_()


def _conv(channels_in: int, channels: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(channels_in, channels, 3, stride=stride, padding=1, bias=False)


def _norm(norm: Norm, channels: int) -> nn.Module:
    if norm == "batch":
        return nn.BatchNorm2d(channels)
    most = max(1, min(32, channels // 4))
    groups = max(divisor for divisor in range(1, most + 1) if channels % divisor == 0)
    return nn.GroupNorm(groups, channels)


def _check(width: int, norm: Norm, bottleneck_channels: int, bottleneck_stride: int, num_classes: int) -> None:
    check_count("width", width)
    check_count("bottleneck_channels", bottleneck_channels, minimum=0)
    check_count("bottleneck_stride", bottleneck_stride)
    check_count("num_classes", num_classes)
    if norm not in get_args(Norm):
        raise SplitError(f"expected norm to be one of {', '.join(map(repr, get_args(Norm)))}, found {norm!r}")
    if bottleneck_stride > 1 and bottleneck_channels == 0:
        raise SplitError(
            f"bottleneck_stride = {bottleneck_stride} has no effect without a bottleneck; set bottleneck_channels too"
        )
