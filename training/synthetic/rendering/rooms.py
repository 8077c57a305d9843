"""Rooms and landscapes, painted from back to front: walls, furniture, people, clutter; sky, trees, ground."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import cv2
import numpy as np

from training.synthetic.geometry.shapes import spline
from training.synthetic.rendering.noise import blend, fractal_noise, scaled, white_noise

PATCH_PX = 192  # longer side of the picture on a thing, at most, before it is laid into the scene
_FINENESS = 4  # pixels of that picture for one of the scene
_GRADIENT_STEP_PX = 8  # slow changes are computed at every eighth pixel
# BGR
SKIN = ((0.63, 0.74, 0.93), (0.50, 0.64, 0.86), (0.38, 0.52, 0.74), (0.24, 0.34, 0.52), (0.14, 0.20, 0.32))
GREENS = ((0.10, 0.30, 0.16), (0.16, 0.42, 0.30), (0.22, 0.46, 0.44), (0.12, 0.22, 0.14), (0.30, 0.42, 0.46))
SKIES = ((0.92, 0.72, 0.48), (0.95, 0.92, 0.90), (0.80, 0.78, 0.76), (0.98, 0.86, 0.70), (0.60, 0.72, 0.95))


def room(rng: np.random.Generator, settings: SimpleNamespace, height: int, width: int) -> np.ndarray:
    """Return a room (height, width, 3) float32 BGR in [0, 1]; `settings` is the group `background`."""
    image = _gradient(rng, height, width, _dull_color(rng), _dull_color(rng) if rng.random() < 0.3 else None)
    if rng.random() < 0.5:
        _seams(rng, image)
    if rng.random() < 0.75:
        _lay_ground(rng, image, _surface(rng, height, width))
    return _filled(rng, image, settings)


def landscape(rng: np.random.Generator, settings: SimpleNamespace, height: int, width: int) -> np.ndarray:
    """Return an outdoor scene (height, width, 3) float32 BGR in [0, 1]; `settings` is the group `background`."""
    sky = np.array(SKIES[rng.integers(len(SKIES))]) * rng.uniform(0.75, 1.05)
    image = _gradient(rng, height, width, sky, np.clip(sky * 1.1, 0, 1))
    clouds = np.clip(fractal_noise(rng, height, width, 5, 2) - np.float32(rng.uniform(0.4, 0.8)), 0, 1)
    image = blend(image, (1, 1, 1), np.clip(3 * clouds, 0, 1) * np.float32(rng.random()))
    for _ in range(rng.integers(1, 5)):
        _tree_line(rng, image)
    if rng.random() < 0.85:
        _lay_ground(rng, image, _earth(rng, height, width))
    return _filled(rng, image, settings)


def _filled(rng, image: np.ndarray, settings: SimpleNamespace) -> np.ndarray:
    """Return the scene with furniture, people and clutter in it, from large and far to small and near."""
    width = image.shape[1]
    for _ in range(_count(rng, settings.furniture)):
        _lay_thing(rng, image, width * rng.uniform(0.2, 0.7))
    for _ in range(_count(rng, settings.people)):
        _lay_person(rng, image)
    for _ in range(_count(rng, settings.clutter)):
        kind = rng.random()
        if kind < 0.7:
            _lay_thing(rng, image, width * np.exp(rng.uniform(np.log(0.02), np.log(0.25))))
        elif kind < 0.9:
            _lay_round(rng, image)
        else:
            _lay_cable(rng, image)
    return np.clip(image, 0, 1)


def _count(rng, limits: tuple[int, int]) -> int:
    return int(rng.integers(limits[0], limits[1] + 1))


def _dull_color(rng) -> np.ndarray:
    """Return a colour (3,), seldom a strong one."""
    grey, strength = rng.uniform(0.05, 0.97), rng.beta(1, 4)
    return np.minimum(np.maximum(grey + strength * rng.uniform(-0.6, 0.6, 3), 0.01), 1)  # quicker than np.clip


def _gradient(rng, height: int, width: int, color: np.ndarray, other: np.ndarray | None = None) -> np.ndarray:
    """Return a surface whose colour changes slowly, from one colour to another or to a darker one."""
    rows, columns = (max(2, side // _GRADIENT_STEP_PX) for side in (height, width))
    mix = fractal_noise(rng, rows, columns, 2, 1)[..., None]
    other = np.asarray(color) * rng.uniform(0.5, 1.0) if other is None else other
    few = np.float32(color) * (1 - mix) + np.float32(other) * mix
    return cv2.resize(few, (width, height), interpolation=cv2.INTER_LINEAR)


def _seams(rng, image: np.ndarray) -> None:
    """Draw the upright seams of panels, door frames and corners in place."""
    height, width = image.shape[:2]
    for _ in range(rng.integers(1, 5)):
        x, lean = rng.uniform(0, width), rng.normal(0, 0.04) * width
        color = tuple(float(v) for v in image[0, int(x)] * rng.uniform(0.4, 1.3))
        ends = ((int(x * 16), 0), (int((x + lean) * 16), height * 16))
        cv2.line(image, *ends, color, int(rng.integers(1, 5)), cv2.LINE_AA, 4)


def _lay_ground(rng, image: np.ndarray, ground: np.ndarray) -> None:
    """Lay a ground (H, W, 3) over the lower part of the image in place, up to a horizon or edge that may lean."""
    height, width = image.shape[:2]
    left = rng.uniform(0.25, 1.05) * height
    right = left + rng.normal(0, 0.12) * height
    outline = np.array([[0, left], [width, right], [width, 2 * height], [0, 2 * height]])
    mask = np.zeros((height, width), np.float32)
    cv2.fillPoly(mask, [np.int32(outline * 16)], 1.0, cv2.LINE_AA, 4)
    image[:] = blend(image, ground, mask)


def _surface(rng, height: int, width: int) -> np.ndarray:
    """Return the paint of a table or a floor: plain, or with the grain of wood."""
    image = _gradient(rng, height, width, _dull_color(rng))
    if rng.random() < 0.4:
        lines = cv2.resize(white_noise(rng, (height // 2, 8), 0.5), (width, height), interpolation=cv2.INTER_CUBIC)
        image = scaled(image, 1 + np.float32(rng.uniform(0.05, 0.3)) * lines)
    return image


def _earth(rng, height: int, width: int) -> np.ndarray:
    """Return grass, soil, gravel or asphalt."""
    color = np.array(GREENS[rng.integers(len(GREENS))]) if rng.random() < 0.5 else rng.uniform(0.2, 0.7) * np.ones(3)
    image = _gradient(rng, height, width, color * rng.uniform(0.8, 1.3))
    rough = fractal_noise(rng, height, width, 4, int(rng.integers(10, 50)), 0.8) - np.float32(0.5)
    return scaled(image, 1 + np.float32(rng.uniform(0.3, 1.6)) * rough)


def _tree_line(rng, image: np.ndarray) -> None:
    """Lay a line of trees, bushes or houses over the image in place."""
    height, width = image.shape[:2]
    top = rng.uniform(0.1, 0.8) * height + height * 0.4 * (fractal_noise(rng, 8, width, 4, 4)[4] - 0.5)
    mask = np.clip(np.arange(height)[:, None] - top[None], 0, 1).astype(np.float32)
    color = np.array(GREENS[rng.integers(len(GREENS))]) * rng.uniform(0.5, 1.3)
    leaves = fractal_noise(rng, height, width, 4, int(rng.integers(8, 30)), 0.8)
    image[:] = blend(image, np.float32(color) * (0.4 + 1.2 * leaves[..., None]), mask)


def _lay_thing(rng, image: np.ndarray, size: float) -> None:
    """Lay one flat, patterned thing into the image in place: a sheet, a screen, a box's side, seen from somewhere."""
    height, width = image.shape[:2]
    sides = size * np.array([1.0, rng.uniform(0.25, 1.0)])
    if rng.random() < 0.4:
        sides = sides[::-1]
    corners = np.array([[-0.5, -0.5], [0.5, -0.5], [0.5, 0.5], [-0.5, 0.5]]) * sides
    corners += rng.normal(0, 0.10, (4, 2)) * sides.min()
    angle = rng.normal(0, 0.15) if rng.random() < 0.6 else rng.uniform(0, 2 * np.pi)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    corners = corners @ turn.T + rng.uniform(-0.05, 1.05, 2) * (width, height)
    longest = np.clip(_FINENESS * sides.max(), PATCH_PX / 4, PATCH_PX)  # of a small thing less can be seen
    shape = np.maximum(8, np.int32(longest * sides / sides.max()))[::-1]
    patch = PATTERNS[rng.choice(len(PATTERNS), p=PATTERN_WEIGHTS)](rng, int(shape[0]), int(shape[1]))
    _lay_patch(image, np.clip(patch * np.float32(rng.uniform(0.5, 1.1)), 0, 1), corners)


def _lay_patch(image: np.ndarray, patch: np.ndarray, corners: np.ndarray) -> None:
    """Draw a patch (h, w, 3) in place, its corners at (4, 2) [px], clockwise from the top left."""
    height, width = image.shape[:2]
    low = np.clip(np.floor(corners.min(0)).astype(int) - 1, 0, (width, height))
    high = np.clip(np.ceil(corners.max(0)).astype(int) + 2, 0, (width, height))
    if (high - low).min() < 2 or not cv2.isContourConvex(np.float32(corners)):
        return
    rows, columns = patch.shape[:2]
    shrink = max(1.0, max(rows, columns) / (np.ptp(corners, 0).max() + 1))
    if shrink > 1.5:  # without what would alias
        patch = cv2.resize(
            patch, (max(2, int(columns / shrink)), max(2, int(rows / shrink))), interpolation=cv2.INTER_AREA
        )
        rows, columns = patch.shape[:2]
    full = np.float32([[0, 0], [columns, 0], [columns, rows], [0, rows]]) - np.float32(0.5)
    projection = cv2.getPerspectiveTransform(full, np.float32(corners - low))
    shape = tuple(int(v) for v in high - low)
    laid = cv2.warpPerspective(patch, projection, shape, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    mask = np.zeros(shape[::-1], np.float32)
    cv2.fillPoly(mask, [np.int32((corners - low) * 16)], 1.0, cv2.LINE_AA, 4)
    region = image[low[1] : high[1], low[0] : high[0]]
    region[:] = blend(region, laid, mask)


def _plain(rng, height: int, width: int) -> np.ndarray:
    return _gradient(rng, height, width, _dull_color(rng))


def _text(rng, height: int, width: int) -> np.ndarray:
    """Return lines of writing, of many sizes and weights."""
    patch = _gradient(rng, height, width, _dull_color(rng) if rng.random() < 0.4 else rng.uniform(0.7, 1, 3))
    ink = tuple(float(v) for v in _dull_color(rng) * rng.uniform(0, 1))
    y = rng.uniform(2, 20)
    while y < height - 4:
        size = rng.uniform(0.2, 0.9)
        words = ''.join(chr(c) for c in rng.integers(33, 123, rng.integers(3, 40)))
        place = (int(rng.uniform(2, 0.3 * width)), int(y + 12 * size))
        cv2.putText(patch, words, place, cv2.FONT_HERSHEY_SIMPLEX, size, ink, int(rng.integers(1, 3)), cv2.LINE_AA)
        y += rng.uniform(14, 34) * size + 3
    return patch


def _keys(rng, height: int, width: int) -> np.ndarray:
    """Return a grid of rounded cells: a keyboard, a vent, window panes, drawers, icons on a screen."""
    patch = _plain(rng, height, width)
    step, gap = np.array([rng.uniform(8, 50), rng.uniform(8, 50)]), rng.uniform(0.06, 0.3)
    first, second = _dull_color(rng), _dull_color(rng) if rng.random() < 0.3 else None
    for y in np.arange(2, height - step[1], step[1]):
        for x in np.arange(2, width - step[0], step[0]):
            color = first * rng.uniform(0.85, 1.15) if second is None or rng.random() < 0.5 else second
            low, high = (x, y) + gap * step, (x, y) + (1 - gap) * step
            cv2.rectangle(patch, *(tuple(int(v) for v in end) for end in (low, high)), tuple(map(float, color)), -1)
    return patch


def _checks(rng, height: int, width: int) -> np.ndarray:
    """Return a checked cloth, tiles or a test chart."""
    step, other = rng.uniform(8, 40), rng.uniform(8, 40)
    step_y = step if rng.random() < 0.6 else other
    cells = (np.arange(width)[None] // step + np.arange(height)[:, None] // step_y) % 2
    return blend(_plain(rng, height, width), _dull_color(rng), cells.astype(np.float32))


def _stripes(rng, height: int, width: int) -> np.ndarray:
    """Return even or uneven stripes: blinds, cloth, books on a shelf."""
    patch = _plain(rng, height, width)
    position, even, color = 0.0, rng.uniform(4, 30) if rng.random() < 0.5 else None, _dull_color(rng)
    while position < width:
        wide = even or rng.uniform(3, 30)
        patch[:, int(position) : int(position + 0.6 * wide)] *= 0.2
        patch[:, int(position) : int(position + 0.6 * wide)] += np.float32(0.8 * (color if even else _dull_color(rng)))
        position += wide
    return patch if rng.random() < 0.6 else cv2.resize(patch.transpose(1, 0, 2), (width, height))


def _nested(rng, height: int, width: int) -> np.ndarray:
    """Return a frame around something: a screen, a window, a picture, a label on a box."""
    patch = _plain(rng, height, width)
    edge = rng.uniform(0.03, 0.15)
    inner = PATTERNS[rng.integers(len(PATTERNS) - 1)](
        rng, max(8, int(height * (1 - 2 * edge))), max(8, int(width * (1 - 2 * edge)))
    )
    top, left = int(edge * height), int(edge * width)
    patch[top : top + inner.shape[0], left : left + inner.shape[1]] = inner[: height - top, : width - left]
    for _ in range(rng.integers(0, 5)):
        low = rng.uniform(0, 0.8, 2) * (width, height)
        high = low + rng.uniform(0.05, 0.5, 2) * (width, height)
        ends = (tuple(int(v) for v in end) for end in (low, high))
        cv2.rectangle(patch, *ends, tuple(map(float, _dull_color(rng))), -1 if rng.random() < 0.7 else 2)
    return patch


def _mottled(rng, height: int, width: int) -> np.ndarray:
    """Return a picture of many soft and hard blots: photos, packages, heaps."""
    patch = _plain(rng, height, width)
    for _ in range(rng.integers(1, 5)):
        field = fractal_noise(rng, height, width, 4, int(rng.integers(1, 8)), 0.6)
        share = np.clip((field - np.float32(rng.uniform(0.35, 0.65))) * np.float32(rng.uniform(2, 40)), 0, 1)
        patch = blend(patch, _dull_color(rng), share)
    return patch


PATTERNS: tuple[Callable[..., np.ndarray], ...] = (_plain, _text, _keys, _checks, _stripes, _mottled, _nested)
PATTERN_WEIGHTS = np.array([0.22, 0.16, 0.14, 0.09, 0.13, 0.14, 0.12])


def _lay_person(rng, image: np.ndarray) -> None:
    """Draw clothes, an arm and perhaps a head in place: enough to be taken for a person behind the object."""
    height, width = image.shape[:2]
    size = rng.uniform(0.25, 0.6) * width
    shoulders = np.array([rng.uniform(0, width), rng.uniform(0.2, 0.8) * height])
    skin = np.array(SKIN[rng.integers(len(SKIN))]) * rng.uniform(0.7, 1.1)
    cloth = (_stripes if rng.random() < 0.4 else _mottled if rng.random() < 0.3 else _plain)(rng, PATCH_PX, PATCH_PX)
    wide = size * rng.uniform(0.35, 0.6)
    outline = np.array([[-0.8, 0], [0.8, 0], [1.1, 3], [-1.1, 3]]) * wide + rng.normal(0, 0.08, (4, 2)) * wide
    _lay_patch(image, cloth, outline + shoulders)
    elbow = shoulders + wide * np.array([rng.choice([-1.2, 1.2]), 1.2])
    hand = rng.uniform(0, 1, 2) * (width, height)
    _limb(image, [shoulders, elbow], 0.35 * wide, cloth.mean((0, 1)) * rng.uniform(0.7, 1.0))
    _limb(image, [elbow, (elbow + hand) / 2, hand], 0.2 * wide, skin)
    if rng.random() < 0.6:
        middle = shoulders - (0, 0.6 * wide)
        _ellipse(image, middle, wide * np.array([0.42, 0.55]), rng.normal(0, 10), skin)
        _ellipse(image, middle - (0, 0.25 * wide), wide * np.array([0.45, 0.4]), 0, rng.uniform(0, 0.5) * skin)


def _limb(image: np.ndarray, points: list[np.ndarray], width: float, color: np.ndarray) -> None:
    """Draw a thick bent line in place, brighter along its middle."""
    path = np.int32(spline(np.array(points), 24) * 16)
    for share, light in ((1.0, 0.75), (0.7, 0.95), (0.4, 1.08)):
        cv2.polylines(
            image, [path], False, tuple(map(float, color * light)), max(1, int(share * width)), cv2.LINE_AA, 4
        )


def _ellipse(image: np.ndarray, centre: np.ndarray, axes: np.ndarray, angle: float, color: np.ndarray) -> None:
    at, reach = (tuple(int(16 * v) for v in pair) for pair in (centre, axes))
    cv2.ellipse(image, at, reach, angle, 0, 360, tuple(map(float, color)), -1, cv2.LINE_AA, 4)


def _lay_round(rng, image: np.ndarray) -> None:
    """Draw a cup, a bottle, a ball or a knob in place."""
    height, width = image.shape[:2]
    at = rng.uniform(0, 1, 2) * (width, height)
    axes = np.exp(rng.uniform(np.log(0.01), np.log(0.09))) * width * np.array([1, rng.uniform(0.4, 1)])
    color, angle = _dull_color(rng), rng.uniform(0, 180)
    for share in (1.0, 0.8, 0.55):
        _ellipse(image, at - (1 - share) * 0.3 * axes, share * axes, angle, np.clip(color * (1.3 - 0.4 * share), 0, 1))


def _lay_cable(rng, image: np.ndarray) -> None:
    height, width = image.shape[:2]
    path = spline(rng.uniform(-0.1, 1.1, (int(rng.integers(3, 7)), 2)) * (width, height), 80)
    color = tuple(map(float, _dull_color(rng) * rng.uniform(0.1, 1)))
    cv2.polylines(image, [np.int32(path * 16)], False, color, int(rng.integers(1, 5)), cv2.LINE_AA, 4)
