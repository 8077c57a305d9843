"""
The PyTorch networks: images -> heatmaps and part affinity fields, both built from the object file.

Legend: N images, K keypoints, L limbs, H, W image size (multiples of 32). Heatmaps are (N, K + 1, H/8, W/8), the last
channel being the background; part affinity fields are (N, 2L, H/8, W/8), channels 2l and 2l + 1 the x and y of limb l.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional

from custom_pose_ros.core.object_model import ObjectModel

Stage = tuple[Tensor, Tensor]  # heatmaps, pafs

_IMAGENET_MEAN_BGR = (0.406 * 255, 0.456 * 255, 0.485 * 255)
_IMAGENET_STD_BGR = (0.225 * 255, 0.224 * 255, 0.229 * 255)
_BACKBONE_BATCH_NORM_EPS = 1e-3  # the value that the published EfficientNet-Lite weights were trained with


class PoseNetwork(nn.Module, ABC):
    """
    Base of the networks: normalises the image, then computes one or more stages of maps.

    Attributes:
        architecture: Name in `build_network` and in checkpoints.
        mean: (1, 3, 1, 1) per channel in BGR order, on the scale 0-255.
        std: The same of the standard deviation.
    """

    architecture = ''
    mean: Tensor
    std: Tensor

    def __init__(self, mean_bgr: Iterable[float], std_bgr: Iterable[float]):
        super().__init__()
        self.register_buffer('mean', torch.tensor(tuple(mean_bgr)).view(1, 3, 1, 1), persistent=False)
        self.register_buffer('std', torch.tensor(tuple(std_bgr)).view(1, 3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> list[Stage]:
        """Return the (heatmaps, pafs) of every stage, best last, of (N, H, W, 3) uint8 BGR images."""
        return self.stages(self.normalise(images))

    def normalise(self, images: Tensor) -> Tensor:
        """Return (N, 3, H, W) float32 with zero mean and unit deviation, still in BGR order."""
        # In this order: of the operations on bytes TensorRT has the conversion to floats only.
        return (images.to(torch.float32).permute(0, 3, 1, 2) - self.mean) / self.std

    @abstractmethod
    def stages(self, x: Tensor) -> list[Stage]:
        """Return the (heatmaps, pafs) of every stage of (N, 3, H, W) normalised images."""

    @abstractmethod
    def backbone(self) -> list[nn.Module]:
        """Return the modules that start from published weights and learn more slowly than the rest."""

    @abstractmethod
    def early_layers(self) -> list[nn.Module]:
        """Return the first modules of the backbone: edges and colours, at the largest and dearest resolutions."""


class InvertedResidual(nn.Module):
    """MobileNet v2 block of EfficientNet-Lite: expand, depthwise, project (Sandler et al. 2018; Tan and Le 2019)."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int):
        super().__init__()
        hidden = inputs * expansion
        self.residual = stride == 1 and inputs == outputs
        if expansion > 1:
            self.expand: nn.Module = _convolution(inputs, hidden, 1)
        else:
            self.expand = nn.Identity()
        self.depthwise = _convolution(hidden, hidden, kernel, stride, groups=hidden)
        self.project = nn.Sequential(
            nn.Conv2d(hidden, outputs, 1, bias=False), nn.BatchNorm2d(outputs, eps=_BACKBONE_BATCH_NORM_EPS)
        )

    def forward(self, x: Tensor) -> Tensor:
        y = self.project(self.depthwise(self.expand(x)))
        return x + y if self.residual else y


class EfficientNetLite0Features(nn.Module):
    """
    The first eleven blocks of EfficientNet-Lite0: features at stride 8 (40 channels) and stride 16 (112 channels).

    Follows the published network exactly, so that its ImageNet weights fit
    (training/pose_training/networks/initial_weights.py); only the order of the input channels is BGR instead of RGB.
    """

    STRIDE_8_BLOCK = 4
    CHANNELS = (40, 112)
    _STAGES = (  # repeats, kernel, stride, expansion, outputs
        (1, 3, 1, 1, 16),
        (2, 3, 2, 6, 24),
        (2, 5, 2, 6, 40),
        (3, 3, 2, 6, 80),
        (3, 5, 1, 6, 112),
    )

    def __init__(self) -> None:
        super().__init__()
        self.stem = _convolution(3, 32, 3, stride=2)
        blocks: list[nn.Module] = []
        inputs = 32
        for repeats, kernel, stride, expansion, outputs in self._STAGES:
            for i in range(repeats):
                blocks.append(InvertedResidual(inputs, outputs, kernel, stride if i == 0 else 1, expansion))
                inputs = outputs
        self.blocks = nn.ModuleList(blocks)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = self.stem(x)
        stride_8 = x
        for i, block in enumerate(self.blocks):
            x = block(x)
            if i == self.STRIDE_8_BLOCK:
                stride_8 = x
        return stride_8, x


class LightNetwork(PoseNetwork):
    """EfficientNet-Lite0 features, fused at stride 8, two residual 5x5 separable convolutions, one pair of maps."""

    architecture = 'light'

    def __init__(self, model: ObjectModel, channels: int = 128):
        super().__init__(_IMAGENET_MEAN_BGR, _IMAGENET_STD_BGR)
        self.features = EfficientNetLite0Features()
        self.reduce = nn.Sequential(
            nn.Conv2d(sum(EfficientNetLite0Features.CHANNELS), channels, 1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(inplace=True),
        )
        self.mix = nn.ModuleList(_separable(channels, channels, kernel=5) for _ in range(2))
        self.heatmaps = nn.Conv2d(channels, model.keypoint_count + 1, 1)
        self.pafs = nn.Conv2d(channels, 2 * model.limb_count, 1)
        _start_at_empty_image(self.heatmaps, self.pafs)

    def stages(self, x: Tensor) -> list[Stage]:
        stride_8, stride_16 = self.features(x)
        upsampled = functional.interpolate(stride_16, scale_factor=2.0, mode='bilinear', align_corners=False)
        x = self.reduce(torch.cat([stride_8, upsampled], 1))
        for mix in self.mix:
            x = x + mix(x)
        return [(self.heatmaps(x), self.pafs(x))]

    def backbone(self) -> list[nn.Module]:
        return [self.features]

    def early_layers(self) -> list[nn.Module]:
        return [self.features.stem, *self.features.blocks[:2]]


class LightweightOpenPose(PoseNetwork):
    """
    MobileNet v1, CPM, an initial and some refinement stages (Osokin, arXiv:1811.12004).

    Layers bear the names of the public implementation, so that its checkpoints load.
    """

    architecture = 'lightweight_openpose'

    def __init__(self, model: ObjectModel, refinement_stages: int = 1, channels: int = 128):
        super().__init__((128.0,) * 3, (256.0,) * 3)
        heatmaps, pafs = model.keypoint_count + 1, 2 * model.limb_count
        self.model = nn.Sequential(
            _conv(3, 32, stride=2, bias=False), *(_separable(*layer) for layer in _MOBILENET_LAYERS)
        )
        self.cpm = _Cpm(_MOBILENET_LAYERS[-1][1], channels)
        trunk = [_conv(channels, channels, norm=False) for _ in range(3)]
        self.initial_stage = _MapsStage(trunk, 512, channels, heatmaps, pafs)
        self.refinement_stages = nn.ModuleList()
        for _ in range(refinement_stages):
            trunk = [_RefinementBlock(channels if i else channels + heatmaps + pafs, channels) for i in range(5)]
            self.refinement_stages.append(_MapsStage(trunk, channels, channels, heatmaps, pafs))
        for stage in (self.initial_stage, *self.refinement_stages):
            _start_at_empty_image(stage.heatmaps[-1][0], stage.pafs[-1][0])

    def stages(self, x: Tensor) -> list[Stage]:
        features = self.cpm(self.model(x))
        stages = [self.initial_stage(features)]
        for refine in self.refinement_stages:
            stages.append(refine(torch.cat([features, *stages[-1]], 1)))
        return stages

    def backbone(self) -> list[nn.Module]:
        return [self.model]

    def early_layers(self) -> list[nn.Module]:
        return [*self.model[:3]]


class DeploymentNetwork(nn.Module):
    """What runs on the robot: (N, H, W, 3) uint8 BGR in, float32 heatmaps and pafs of the last stage out."""

    def __init__(self, network: PoseNetwork):
        super().__init__()
        self.network = network.eval()

    def forward(self, image: Tensor) -> Stage:
        return self.network(image)[-1]


NETWORKS: dict[str, type[PoseNetwork]] = {c.architecture: c for c in (LightNetwork, LightweightOpenPose)}


def build_network(architecture: str, model: ObjectModel, **options: int) -> PoseNetwork:
    """
    Build a network with random weights for an object.

    Args:
        architecture: 'light' or 'lightweight_openpose'.
        model: The object.
        **options: `channels`, and for lightweight_openpose `refinement_stages`.

    Raises:
        ValueError: Unknown architecture, or the object has no skeleton.
    """
    if architecture not in NETWORKS:
        raise ValueError(f'architecture must be one of {", ".join(NETWORKS)}, got {architecture!r}')
    if not model.limb_count:
        raise ValueError(f'object {model.name!r} has no skeleton; a network needs at least one limb')
    return NETWORKS[architecture](model, **options)


class SamePadding(nn.Module):
    """Zero padding of TensorFlow's SAME mode for even sizes at stride 2: the odd pixel goes to the right and below."""

    def __init__(self, kernel: int, stride: int):
        super().__init__()
        total = kernel - stride
        self.padding = [total // 2, total - total // 2] * 2

    def forward(self, x: Tensor) -> Tensor:
        return functional.pad(x, self.padding)


def _convolution(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """EfficientNet-Lite's convolution, batch norm and ReLU6; at stride 2 padded as its weights were trained."""
    padding = kernel // 2 if stride == 1 else 0
    return nn.Sequential(
        *([] if stride == 1 else [SamePadding(kernel, stride)]),
        nn.Conv2d(inputs, outputs, kernel, stride, padding, groups=groups, bias=False),
        nn.BatchNorm2d(outputs, eps=_BACKBONE_BATCH_NORM_EPS),
        nn.ReLU6(inplace=True),
    )


def _separable(inputs: int, outputs: int, stride: int = 1, dilation: int = 1, kernel: int = 3) -> nn.Sequential:
    padding = dilation * (kernel // 2)
    return nn.Sequential(
        nn.Conv2d(inputs, inputs, kernel, stride, padding, dilation, groups=inputs, bias=False),
        nn.BatchNorm2d(inputs),
        nn.ReLU(inplace=True),
        nn.Conv2d(inputs, outputs, 1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


def _start_at_empty_image(heatmaps: nn.Conv2d, pafs: nn.Conv2d) -> None:
    """Initialise the last convolutions so that training starts from 'background everywhere', close to every target."""
    for head in (heatmaps, pafs):
        nn.init.normal_(head.weight, std=1e-3)
        nn.init.zeros_(head.bias)
    with torch.no_grad():
        heatmaps.bias[-1] = 1.0


_MOBILENET_LAYERS = (  # inputs, outputs, stride, dilation
    (32, 64, 1, 1),
    (64, 128, 2, 1),
    (128, 128, 1, 1),
    (128, 256, 2, 1),
    (256, 256, 1, 1),
    (256, 512, 1, 1),
    (512, 512, 1, 2),
    *((512, 512, 1, 1),) * 4,
)


def _conv(
    inputs: int,
    outputs: int,
    kernel: int = 3,
    stride: int = 1,
    dilation: int = 1,
    norm: bool = True,
    relu: bool = True,
    bias: bool = True,
) -> nn.Sequential:
    layers: list[nn.Module] = [
        nn.Conv2d(inputs, outputs, kernel, stride, dilation * (kernel // 2), dilation, bias=bias)
    ]
    if norm:
        layers.append(nn.BatchNorm2d(outputs))
    if relu:
        layers.append(nn.ReLU(inplace=True))
    return nn.Sequential(*layers)


def _separable_elu(channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False),
        nn.ELU(inplace=True),
        nn.Conv2d(channels, channels, 1, bias=False),
        nn.ELU(inplace=True),
    )


def _head(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        _conv(inputs, hidden, kernel=1, norm=False), _conv(hidden, outputs, kernel=1, norm=False, relu=False)
    )


class _Cpm(nn.Module):
    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.align = _conv(inputs, outputs, kernel=1, norm=False)
        self.trunk = nn.Sequential(*(_separable_elu(outputs) for _ in range(3)))
        self.conv = _conv(outputs, outputs, norm=False)

    def forward(self, x: Tensor) -> Tensor:
        x = self.align(x)
        return self.conv(x + self.trunk(x))


class _RefinementBlock(nn.Module):
    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.initial = _conv(inputs, outputs, kernel=1, norm=False)
        self.trunk = nn.Sequential(_conv(outputs, outputs), _conv(outputs, outputs, dilation=2))

    def forward(self, x: Tensor) -> Tensor:
        x = self.initial(x)
        return x + self.trunk(x)


class _MapsStage(nn.Module):
    def __init__(self, trunk: list[nn.Module], hidden: int, channels: int, heatmaps: int, pafs: int):
        super().__init__()
        self.trunk = nn.Sequential(*trunk)
        self.heatmaps = _head(channels, hidden, heatmaps)
        self.pafs = _head(channels, hidden, pafs)

    def forward(self, x: Tensor) -> Stage:
        x = self.trunk(x)
        return self.heatmaps(x), self.pafs(x)
