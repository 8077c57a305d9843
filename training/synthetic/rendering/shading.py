"""Lighting of a picture, and the fragment shader that adds mirrored windows, grain and wrinkles to VTK's own."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

MAX_WINDOWS = 2


@dataclass(frozen=True, eq=False)
class Lighting:
    """
    Lamps, and what glossy surfaces mirror; everything in the camera frame (x right, y down, z forward).

    Attributes:
        directions: unit vectors (n, 3) towards each lamp.
        colors: (n, 3) red, green, blue in [0, 1].
        intensities: (n,) >= 0.
        ambient: share of a surface's colour that shows without lamps.
        diffuse: share of it that lamps add.
        environment: (3,) red, green, blue, what is mirrored where no window is.
        rim: brightness of the bright edge that curved glass has against the background; 0 = none.
        windows: at most MAX_WINDOWS arrays (4, 3): rows right / half width, down / half height, middle (unit vectors
            divided by the tangent of the window's half angles; middle undivided), and red, green, blue (may exceed 1).
    """

    directions: np.ndarray
    colors: np.ndarray
    intensities: np.ndarray
    ambient: float = 0.4
    diffuse: float = 0.7
    environment: tuple[float, float, float] = (0.4, 0.4, 0.4)
    rim: float = 0.0
    windows: list[np.ndarray] = field(default_factory=list)


def window_towards(direction, angle: float, half_angles, color) -> np.ndarray:
    """
    Return a window for `Lighting.windows`.

    Args:
        direction: (3,) towards its middle.
        angle: its turn about that direction [rad].
        half_angles: (2,), of its width and height [rad].
        color: (3,) red, green, blue.
    """
    middle = np.asarray(direction, float) / np.linalg.norm(direction)
    right = np.cross(middle, [0.3, 0.9, 0.2])
    right /= np.linalg.norm(right)
    down = np.cross(middle, right)
    c, s = np.cos(angle), np.sin(angle)
    wide, high = np.tan(half_angles)
    return np.array([(c * right + s * down) / wide, (c * down - s * right) / high, middle, color])


# VTK declares the uniforms surface (reflectivity, grain, wrinkle), tint, environment, rim, textureScale, objectX,
# objectY, objectZ, objectOrigin and window<i><A..D> itself, because the renderer sets each of them on each actor.
_FUNCTIONS = """
vec3 wave(vec3 x)  // a sine within 0.02; in software cheaper than sin, and many times cheaper than lattice noise
{
  vec3 t = abs(2.0 * fract(0.15915494 * x - 0.25) - 1.0);
  return t * t * (6.0 - 4.0 * t) - 1.0;
}
float noise3(vec3 p)  // smooth, about [-1, 1]
{
  vec3 a = wave(p + 1.7 * wave(p.yzx * 0.73 + 1.3));
  vec3 b = wave(1.93 * p.zxy + 2.1 * a);
  return 0.4 * (a.x * b.y + a.y * b.z + b.x);
}
vec3 bumps3(vec3 p)
{
  vec3 a = wave(p.yzx + 1.9 * wave(0.81 * p.zxy + 0.7));
  return 0.5 * a + 0.35 * wave(2.3 * p.zxy + 2.0 * a);
}
vec3 mirrored(vec3 r, vec3 right, vec3 down, vec3 middle, vec3 color)
{{
  float ahead = dot(r, middle);
  vec2 at = abs(vec2(dot(r, right), dot(r, down))) / max(ahead, 0.001);
  float inside = (ahead > 0.0 ? 1.0 : 0.0) * (1.0 - smoothstep(0.93, 1.0, max(at.x, at.y)));
  float bars = smoothstep(0.03, 0.08, min(at.x, abs(at.y - 0.33)));
  return color * inside * bars;
}}
"""

# VTK's view frame is x right, y up, z backward; ours is x right, y down, z forward.
_BUMPS = """
vec3 seen = vec3(vertexVC.x, -vertexVC.y, -vertexVC.z) - objectOrigin;
vec3 where = textureScale * vec3(dot(seen, objectX), dot(seen, objectY), dot(seen, objectZ));
if (surface.z > 0.0)
{
  normalVCVSOutput = normalize(normalVCVSOutput + 0.45 * surface.z * bumps3(where * 120.0));
}
"""

_GRAIN = """
ambientColor *= tint;
diffuseColor *= tint;
if (surface.y > 0.0)
{
  float factor = 1.0 + 0.8 * surface.y * noise3(where * 80.0);
  ambientColor *= factor;
  diffuseColor *= factor;
}
"""

_MIRRORS = (
    """
if (surface.x > 0.0)
{
  vec3 eye = normalize(vertexVC.xyz);
  vec3 r = reflect(eye, normalVCVSOutput);
  r = vec3(r.x, -r.y, -r.z);
  float slant = 1.0 - abs(dot(eye, normalVCVSOutput));
  float grazing = pow(slant, 4.0);
  vec3 light = environment * (0.75 + 0.55 * sin(5.0 * r.x + 2.0 * sin(4.0 * r.y)) * sin(3.0 * r.y + 1.0));
"""
    + '\n'.join(f'  light += mirrored(r, window{i}A, window{i}B, window{i}C, window{i}D);' for i in range(MAX_WINDOWS))
    + """
  light += rim * smoothstep(0.45, 0.9, slant);
  float share = clamp(surface.x * (0.35 + 0.65 * grazing), 0.0, 1.0);
  float bright = clamp(share * max(light.r, max(light.g, light.b)), 0.0, 1.0);
  float cover = max(fragOutput0.a, bright);
  vec3 body = fragOutput0.rgb * fragOutput0.a * (1.0 - share) + share * light;
  fragOutput0 = vec4(clamp(body / max(cover, 0.001), 0.0, 1.0), cover);
}
"""
)

TEXTURE_NAME = 'print'
# VTK's own code would multiply the finished picture by the texture, highlights too. It reads linear light, as cameras
# average it; colours are lit as the eye sees them (sRGB).
_TEXTURE = f"""
vec3 light = texture({TEXTURE_NAME}, tcoordVCVSOutput).rgb;
vec3 printed = mix(12.92 * light, 1.055 * pow(light, vec3(1.0 / 2.4)) - 0.055, step(0.0031308, light));
ambientColor *= printed;
diffuseColor *= printed;
"""


def shader(textured: bool, mirrors: bool) -> list[tuple[str, str]]:
    """
    Return the code for a kind of surface; software runs all of it, also what a condition rules out.

    Returns:
        Pairs of a place in VTK's fragment shader template and what to put there; what begins with its place follows
        VTK's own code.
    """
    code = [
        ('//VTK::Normal::Dec', '//VTK::Normal::Dec\n' + _FUNCTIONS),
        ('//VTK::Normal::Impl', '//VTK::Normal::Impl\n' + (_TEXTURE if textured else '') + _BUMPS + _GRAIN),
        ('//VTK::Light::Impl', '//VTK::Light::Impl\n' + (_MIRRORS if mirrors else '')),
        ('//VTK::DepthPeeling::Impl', ''),  # VTK's discard here would rule out the early depth test
    ]
    return [*code, ('//VTK::TCoord::Impl', '')] if textured else code
