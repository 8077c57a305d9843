"""Strength of the random changes of training samples."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Augmentation:
    """
    Strength of every random change. `p_` are probabilities.

    Attributes:
        rotation_deg: Largest rotation to either side.
        scale: Smallest and largest factor on the natural scale (the one that inference uses), log-uniform.
        object_size: Smallest and largest object extent as a share of the input height, instead of `scale`; log-uniform.
        shear: Largest entry of the random shear matrix.
        shift: Largest distance of the object's centre from the crop's centre, as a share of the crop.
        p_cover: Probability of each visible keypoint to be covered.
    """

    rotation_deg: float = 180.0
    scale: tuple[float, float] = (0.6, 1.5)
    object_size: tuple[float, float] | None = None
    shear: float = 0.15
    shift: float = 0.25
    p_flip: float = 0.5
    gain: float = 0.35
    tint: float = 0.15
    gamma: float = 0.3
    p_grey: float = 0.05
    p_blur: float = 0.25
    p_motion_blur: float = 0.25
    p_noise: float = 0.35
    p_cutout: float = 0.3
    p_cover: float = 0.06
    p_haze: float = 0.25
    p_shade: float = 0.3
    p_glare: float = 0.25
    p_jpeg: float = 0.15

    @classmethod
    def named(cls, name: str) -> Augmentation:
        """
        Return 'strong' (few images), 'normal' (many), 'rendered', 'covered', or 'none' (a plain crop).

        Raises:
            ValueError: There is no such name.
        """
        if name not in _NAMED:
            raise ValueError(f'augmentation must be one of {", ".join(STRENGTHS)}, got {name!r}')
        return _NAMED[name]


_NORMAL = Augmentation(
    scale=(0.75, 1.35), shear=0.05, gain=0.25, tint=0.05, gamma=0.15, p_grey=0.0, p_blur=0.1, p_motion_blur=0.1,
    p_cutout=0.1, p_cover=0.01, p_haze=0.05, p_shade=0.1, p_glare=0.05, p_jpeg=0.0,
)  # fmt: skip
_NAMED = {
    'strong': Augmentation(),
    'normal': _NORMAL,
    'rendered': replace(_NORMAL, rotation_deg=20.0),  # renderings show all attitudes, lights and covers asked for
    'covered': Augmentation(p_cover=0.25),  # exact labels are worth learning from where a person sees no point either
    'none': Augmentation(
        rotation_deg=0.0, scale=(1.0, 1.0), shear=0.0, shift=0.0, p_flip=0.0, gain=0.0, tint=0.0, gamma=0.0, p_grey=0.0,
        p_blur=0.0, p_motion_blur=0.0, p_noise=0.0, p_cutout=0.0, p_cover=0.0, p_haze=0.0, p_shade=0.0, p_glare=0.0,
        p_jpeg=0.0,
    ),
}  # fmt: skip
STRENGTHS = tuple(_NAMED)
