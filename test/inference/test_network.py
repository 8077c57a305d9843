"""Networks: shapes from the object file, published layer names, the order of colours, refusals."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip('torch')

from custom_pose_ros.core.object_model import ObjectModel  # noqa: E402
from custom_pose_ros.inference.network import (  # noqa: E402
    NETWORKS,
    DeploymentNetwork,
    LightNetwork,
    LightweightOpenPose,
    build_network,
)


def chain(count: int) -> ObjectModel:
    names = [f'k{i}' for i in range(count)]
    return ObjectModel.from_dict({
        'name': 'chain',
        'keypoints': names,
        'skeleton': [[a, b] for a, b in zip(names[:-1], names[1:])],
    })


@pytest.mark.parametrize('architecture', NETWORKS)
@pytest.mark.parametrize('keypoints', [2, 18])
def test_maps_have_the_channels_of_the_object_at_stride_8(architecture, keypoints):
    network = DeploymentNetwork(build_network(architecture, chain(keypoints)))
    with torch.inference_mode():
        heatmaps, pafs = network(torch.zeros(2, 64, 96, 3, dtype=torch.uint8))
    assert heatmaps.shape == (2, keypoints + 1, 8, 12)
    assert pafs.shape == (2, 2 * (keypoints - 1), 8, 12)
    assert heatmaps.dtype == torch.float32


@pytest.mark.parametrize('architecture', NETWORKS)
def test_training_starts_at_an_empty_image(architecture):
    torch.manual_seed(0)
    with torch.inference_mode():
        heatmaps, pafs = build_network(architecture, chain(3)).eval()(torch.zeros(1, 64, 64, 3, dtype=torch.uint8))[-1]
    # The last layers start with weights of 1e-3: their outputs stay within a few hundredths of the bias.
    assert torch.allclose(heatmaps[:, -1], torch.ones(1, 8, 8), atol=0.1)
    assert torch.allclose(heatmaps[:, :-1], torch.zeros(1, 3, 8, 8), atol=0.1)
    assert torch.allclose(pafs, torch.zeros(1, 4, 8, 8), atol=0.1)


def test_light_network_has_the_documented_size():
    count = sum(p.numel() for p in LightNetwork(chain(4)).parameters())
    assert count == pytest.approx(0.76e6, rel=0.01)


def test_light_network_normalises_each_channel_by_imagenets_figures_in_bgr_order():
    network = LightNetwork(chain(2))
    mean_bgr = np.array([0.406, 0.456, 0.485]) * 255
    std_bgr = np.array([0.225, 0.224, 0.229]) * 255
    image = np.array([10, 100, 200], np.uint8).reshape(1, 1, 1, 3)
    got = network.normalise(torch.from_numpy(image)).numpy().reshape(3)
    np.testing.assert_allclose(got, (np.array([10, 100, 200]) - mean_bgr) / std_bgr, rtol=1e-5)


def test_lightweight_openpose_normalises_as_published():
    image = torch.tensor([0, 128, 255], dtype=torch.uint8).view(1, 1, 1, 3)
    got = LightweightOpenPose(chain(2)).normalise(image).flatten().tolist()
    assert got == [-0.5, 0.0, 127 / 256]


def test_lightweight_openpose_has_one_stage_more_than_refinements():
    network = build_network('lightweight_openpose', chain(3), refinement_stages=2).eval()
    with torch.inference_mode():
        stages = network(torch.zeros(1, 32, 32, 3, dtype=torch.uint8))
    assert len(stages) == 3


@pytest.mark.parametrize(
    'name, shape',
    [  # from the public implementation for 18 keypoints and 19 limbs
        ('model.0.0.weight', (32, 3, 3, 3)),
        ('model.7.0.weight', (512, 1, 3, 3)),
        ('model.11.4.running_var', (512,)),
        ('cpm.align.0.weight', (128, 512, 1, 1)),
        ('cpm.trunk.2.2.weight', (128, 128, 1, 1)),
        ('initial_stage.heatmaps.1.0.weight', (19, 512, 1, 1)),
        ('initial_stage.pafs.1.0.bias', (38,)),
        ('refinement_stages.0.trunk.0.initial.0.weight', (128, 185, 1, 1)),
        ('refinement_stages.0.trunk.4.trunk.1.1.weight', (128,)),
    ],
)
def test_lightweight_openpose_has_the_published_layer_names(name, shape):
    names = [f'k{i}' for i in range(18)]
    limbs = [[names[i], names[(i + step) % 18]] for step in (1, 2) for i in range(18)][:19]
    model = ObjectModel.from_dict({'name': 'human', 'keypoints': names, 'skeleton': limbs})
    assert tuple(LightweightOpenPose(model).state_dict()[name].shape) == shape


def fill(network):
    """Give every tensor fixed pseudo-random values by its place, the same in any implementation with these layers."""
    with torch.no_grad():
        for i, (name, tensor) in enumerate(network.state_dict().items()):
            if tensor.is_floating_point():
                wave = torch.sin(torch.arange(tensor.numel(), dtype=torch.float64) * 12.9898 + i) * 43758.5453
                noise = ((wave - wave.floor()) - 0.5).reshape(tensor.shape)
                if name.endswith('running_var'):
                    tensor.copy_(1 + noise)
                elif tensor.ndim == 4:
                    tensor.copy_(noise * (24.0 / tensor[0].numel()) ** 0.5)
                else:
                    tensor.copy_(0.2 * noise + (1.0 if name.endswith('weight') else 0.0))


def test_lightweight_openpose_gives_the_numbers_of_the_public_implementation():
    """The figures were computed with PoseEstimationWithMobileNet of the public repository, filled the same way."""
    network = build_network('lightweight_openpose', ObjectModel.load('human18')).eval()
    fill(network)
    image = torch.sin(torch.arange(3 * 64 * 96, dtype=torch.float64) * 0.05).reshape(1, 3, 64, 96).float()
    with torch.inference_mode():
        maps = [one for stage in network.stages(image) for one in stage]
    published = (  # mean of |x|, first map at (2, 3), last map at (2, 7)
        (1.968968, -5.324076, -2.281698),
        (1.812284, -4.403150, -1.610322),
        (13.556199, 23.113884, 24.335215),
        (12.625978, 29.143337, -5.744983),
    )
    for got, (mean, first, last) in zip(maps, published):
        # float32 through 40 layers, on another CPU in another order: one part in 10,000.
        assert float(got.abs().mean()) == pytest.approx(mean, rel=1e-4)
        assert float(got[0, 0, 2, 3]) == pytest.approx(first, rel=1e-4, abs=1e-3)
        assert float(got[0, -1, 2, 7]) == pytest.approx(last, rel=1e-4, abs=1e-3)


def test_the_dilated_layer_keeps_the_map_size():
    layer = LightweightOpenPose(chain(2)).model[7][0]
    assert (layer.dilation, layer.padding) == ((2, 2), (2, 2))


def test_strided_convolutions_are_padded_right_and_below():
    network = LightNetwork(chain(2)).eval()
    one = torch.zeros(1, 3, 32, 32)
    one[0, :, 31, 31] = 1.0
    touched = (network.features.stem[1](network.features.stem[0](one)) != 0).any(1)[0]
    assert touched.nonzero().tolist() == [[15, 15]]  # the kernel of cell 15 covers pixels 30, 31 and the padding


def test_an_unknown_architecture_is_refused():
    with pytest.raises(ValueError, match="architecture must be one of light, lightweight_openpose, got 'resnet'"):
        build_network('resnet', chain(2))


def test_an_object_without_skeleton_is_refused():
    model = ObjectModel.from_dict({'name': 'dots', 'keypoints': ['a', 'b'], 'skeleton': []})
    with pytest.raises(ValueError, match="object 'dots' has no skeleton"):
        build_network('light', model)
