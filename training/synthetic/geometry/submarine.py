"""
The built-in example: a parametric mini submarine, drawn after photos, in the frame of config/submarine/object.yaml.

Origin at the hub of the stern propeller, x forward to the tip of the dome, y left, z up; metres. Proportions were
measured in photos; whatever differs between days (cables, tape, floats, the look of the dome) is drawn at random.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from trimesh.creation import box

from training.synthetic.geometry.parts import Material, Part
from training.synthetic.geometry.shapes import (
    X_FROM_Z,
    annulus,
    blob,
    cap,
    cone,
    cylinder,
    lathe,
    plate,
    spline,
    tube,
    turn,
)

HEAD_X = 0.53
ENGINE_X = 0.37
ENGINE_Y = 0.14
TUBE_RADIUS = 0.051
TUBE_FRONT = 0.478
TUBE_BACK = 0.152
RAIL_Y = 0.0555
RING_RADIUS = 0.0525

YELLOW = Material((0.88, 0.65, 0.13), 0.45, grain=0.12)
BLACK_TAPE = Material((0.020, 0.020, 0.024), 0.45, reflectivity=0.06, wrinkle=0.6, grain=0.3)
BLACK = Material((0.022, 0.022, 0.026), 0.4)
BLUE_TAPE = Material((0.05, 0.33, 0.74), 0.32, reflectivity=0.16, wrinkle=0.6, grain=0.1)
WHITE = Material((0.78, 0.76, 0.76), 0.5, grain=0.1)
WOOD = Material((0.66, 0.48, 0.34), 0.85, grain=0.3)
RUBBER = Material((0.020, 0.020, 0.024), 0.55)
RED = Material((0.66, 0.03, 0.08), 0.4)
ALUMINIUM = Material((0.34, 0.35, 0.36), 0.35, grain=0.2)
STEEL = Material((0.55, 0.56, 0.57), 0.15, reflectivity=0.5)
ORANGE = Material((0.93, 0.53, 0.08), 0.5)
FABRIC = Material((0.66, 0.55, 0.49), 0.95, grain=0.6, wrinkle=0.8)


def build_submarine(rng: np.random.Generator) -> list[Part]:
    """Return the parts of one variant of the submarine; the same generator state gives the same variant."""
    side_ring_tilt = rng.uniform(-0.12, 0.12, 2)
    collar_front = rng.uniform(0.474, 0.490)  # wide, so that only the dome itself tells where its tip is
    parts = [*_hull(rng), *_inside(rng), *_tape_bands(rng, collar_front), *_clamp_and_mast(rng)]
    parts += [*_dome(rng, collar_front), *_end_flange(rng)]
    for side, tilt in ((1, side_ring_tilt[0]), (-1, side_ring_tilt[1])):
        lean = turn('x', -side * rng.uniform(-0.05, 0.25)) @ turn('y', tilt)
        parts += _thruster(rng, lean, (ENGINE_X, side * ENGINE_Y, 0.0))
        parts += _side_arm(rng, side)
    parts += _thruster(rng, turn('y', rng.uniform(-0.35, 0.15)) @ turn('x', rng.uniform(-0.15, 0.15)), (0, 0, 0))
    parts += [*_stern_bracket(rng), *_cables(rng)]
    if rng.random() < 0.75:
        parts += _float_blocks(rng)
    if rng.random() < 0.7:
        parts.append(_tether(rng))
    return parts


def _laid(name: str, mesh, x: float, material: Material) -> Part:
    """Return a shape about z as a part about the hull's axis, centred at x."""
    return Part.from_mesh(name, mesh, material).moved(X_FROM_Z, (x, 0, 0))


def _placed(name: str, mesh, position, material: Material, rotation=None) -> Part:
    return Part.from_mesh(name, mesh, material).moved(rotation, position)


def _sleeve(
    rng, name: str, back: float, front: float, radius: float, material: Material, fray: float, wide: float = 1.0
) -> Part:
    """Return a band of tape about the hull, uneven, `wide` times wider than high (it runs over the rails)."""
    sections, rows = 72, 6
    height = np.linspace(-(front - back) / 2, (front - back) / 2, rows)
    bumps = fray * rng.uniform(-0.6, 1.0, (rows, sections))
    mesh = lathe(np.c_[np.full(rows, radius), height], sections, (bumps + np.roll(bumps, 1, 1)) / 2)
    grid = mesh.vertices.reshape(sections, rows, 3)
    edge = np.interp(np.arange(sections), np.linspace(0, sections, 9), np.r_[(ends := rng.uniform(-1, 1, 8)), ends[0]])
    grid[:, :2, 2] += 1.5 * fray * np.roll(edge, rng.integers(sections))[:, None]
    grid[:, -2:, 2] += 1.5 * fray * edge[:, None]
    grid[..., 1] *= wide
    return replace(_laid(name, mesh, (back + front) / 2, material), two_sided=True)


def _hull(rng) -> list[Part]:
    glass = Material((0.50, 0.53, 0.54), 0.08, opacity=rng.uniform(0.12, 0.42), reflectivity=rng.uniform(0.3, 0.8))
    tube_wall = lathe([(TUBE_RADIUS, TUBE_BACK - 0.32), (TUBE_RADIUS, TUBE_FRONT - 0.32)], 56)
    parts = [_laid('hull', tube_wall, 0.32, glass)]
    rail_width, rail_height = rng.uniform(0.010, 0.015), rng.uniform(0.018, 0.028)
    for side in (-1, 1):
        length = 0.30 + rng.uniform(-0.01, 0.03)
        position = (0.162 + length / 2, side * RAIL_Y, rng.uniform(-0.012, -0.004))
        parts.append(_placed('rail', box((length, rail_width, rail_height)), position, ALUMINIUM))
        rod = _laid('rod', cylinder(0.0035, 0.18, 10), 0.38, STEEL if rng.random() < 0.6 else YELLOW)
        parts.append(rod.moved(translation=(0, side * 0.034, rng.uniform(0.0, 0.025))))
    return parts


def _inside(rng) -> list[Part]:
    """Return what shows through the glass: striped ballast behind, a bundle of cloth and coloured things in front."""
    parts, x, dark = [], 0.164, True
    while x < 0.258:
        length = rng.uniform(0.009, 0.020) if dark else rng.uniform(0.006, 0.011)
        disc = cylinder(TUBE_RADIUS - rng.uniform(0.008, 0.013), length, 28)
        parts.append(_laid('ballast', disc, x + length / 2, BLACK_TAPE if dark else WOOD))
        x, dark = x + length, not dark
    position = (0.207, rng.uniform(-0.01, 0.01), 0.042)
    parts.append(_placed('board', box((0.03, 0.018, 0.002)), position, RED if rng.random() < 0.3 else BLUE_TAPE))
    for _ in range(rng.integers(1, 4)):
        position = (rng.uniform(0.17, 0.25), rng.uniform(-0.02, 0.02), 0.042)
        parts.append(_placed('label', box((0.008, 0.018, 0.004)), position, WHITE))
    cloth = blob((rng.uniform(0.022, 0.034), rng.uniform(0.022, 0.036), 0.03), 0.5, rng)
    parts.append(_placed('cloth', cloth, (0.377 + rng.uniform(-0.01, 0.02), rng.uniform(-0.012, 0.012), 0), FABRIC))
    for color in ((0.02, 0.2, 0.6), (0.85, 0.35, 0.25), (0.3, 0.06, 0.08)):
        thing = box(rng.uniform(0.012, 0.03, 3))
        position = (rng.uniform(0.392, 0.447), rng.uniform(-0.025, 0.025), rng.uniform(-0.015, 0.02))
        parts.append(_placed('thing', thing, position, Material(color, 0.7, grain=0.3), turn('z', rng.uniform(0, 3))))
    parts.append(_laid('bulkhead', cylinder(TUBE_RADIUS - 0.004, 0.006, 32), 0.277, BLACK))
    stained = Material((0.25, 0.12, 0.12), 0.6, grain=0.6)
    return [*parts, _laid('front_bulkhead', cylinder(TUBE_RADIUS - 0.010, 0.006, 32), 0.460, stained)]


def _tape_bands(rng, collar_front: float) -> list[Part]:
    shift = rng.uniform(-0.006, 0.006, 3)
    front_blue = _sleeve(rng, 'blue_front', 0.457 + shift[0], collar_front - 0.007, 0.0535, BLUE_TAPE, 0.0030, 1.03)
    second_blue = _sleeve(rng, 'blue_second', 0.427 + shift[1], 0.450 + shift[1], 0.0545, BLUE_TAPE, 0.0030, 1.13)
    wide_blue = _sleeve(rng, 'blue_wide', 0.292, 0.340 + shift[2] + rng.uniform(0, 0.012), 0.060, BLUE_TAPE, 0.004, 1.2)
    collar = _sleeve(rng, 'collar', collar_front - rng.uniform(0.007, 0.014), collar_front, 0.0530, BLACK_TAPE, 0.0030)
    collar_end = _laid('collar_end', cylinder(0.0530, 0.002, 40), collar_front - 0.002, BLACK_TAPE)
    path = spline(np.c_[np.linspace(0.447, 0.472, 3), rng.uniform(-0.03, 0.03, 3), np.full(3, 0.054)], 8)
    strip = Part.from_mesh('strip', tube(path, 0.006, 0.3), BLUE_TAPE)
    return [front_blue, second_blue, wide_blue, collar, collar_end, strip]


def _clamp_and_mast(rng) -> list[Part]:
    parts = [_sleeve(rng, 'clamp', 0.258, rng.uniform(0.284, 0.294), 0.0575, BLACK_TAPE, 0.0025, 1.1)]
    for side in (-1, 1):
        position = (0.273, side * 0.072, rng.uniform(-0.008, 0.006))
        parts.append(_placed('ear', box((0.020, 0.030, 0.034)), position, BLACK))
        for z in (0.0175, -0.0175):
            position = (0.273 + rng.uniform(-0.005, 0.005), side * 0.078, z)
            parts.append(_placed('screw', cylinder(0.0022, 0.004, 8), position, STEEL))
    parts.append(_placed('mast_foot', box((0.02, 0.022, 0.012)), (0.276, 0, 0.062), BLACK))
    lean = turn('x', rng.uniform(-0.3, 0.3)) @ turn('y', rng.uniform(-0.3, 0.35))
    length = rng.uniform(0.05, 0.075)
    mast = [_placed('mast', cylinder(0.0052, length, 12), (0, 0, length / 2), ORANGE)]
    mast.append(_placed('mast_head', cone(0.0105, 0.02, 12), (0, 0, length + 0.008), ORANGE))
    mast.append(_placed('mast_neck', cone(0.0105, 0.012, 12), (0, 0, length - 0.008), ORANGE, turn('x', np.pi)))
    return parts + [part.moved(lean, (0.275, 0, 0.060)) for part in mast]


def _dome(rng, collar_front: float) -> list[Part]:
    """Return the dome with its tip exactly at HEAD_X: silver, clear over a lens, or dull glass."""
    radius, base = rng.uniform(0.038, 0.047), collar_front - rng.uniform(0.0, 0.005)
    kind = rng.choice(['silver', 'clear', 'milky'], p=[0.5, 0.3, 0.2])
    grey = rng.uniform(0.38, 0.85)
    material = {
        'silver': Material(
            (grey, grey, grey * 1.02), 0.12, rng.uniform(0.85, 1), reflectivity=rng.uniform(0.5, 0.95), grain=0.5
        ),
        'clear': Material((0.62, 0.64, 0.65), 0.05, rng.uniform(0.18, 0.45), reflectivity=rng.uniform(0.5, 1.0)),
        'milky': Material(
            (grey + 0.15, grey + 0.17, grey + 0.17), 0.15, rng.uniform(0.45, 0.8), reflectivity=rng.uniform(0.3, 0.8)
        ),
    }[str(kind)]
    parts = [_laid('lens', cylinder(rng.uniform(0.008, 0.016), 0.012, 20), base + 0.007, BLACK)]
    rim = STEEL if rng.random() < 0.7 else Material((0.5, 0.06, 0.08), 0.3)
    parts.append(_laid('lens_rim', annulus(0.017, 0.030, 0.004, 28), base + 0.005, rim))
    parts.append(_laid('dome_rim', annulus(radius - 0.002, radius + 0.003, 0.004, 40), base + 0.004, STEEL))
    for share in rng.uniform(0.2, 0.8, rng.integers(0, 3)):  # moulded ridges, and the mirrored rim seen in the glass
        inside = 0.97 * radius * np.sqrt(1 - share**2)
        ridge = annulus(inside - rng.uniform(0.001, 0.003), inside, 0.001, 40)
        parts.append(_laid('dome_ridge', ridge, base + share * (HEAD_X - base), STEEL))
    parts.append(_laid('dome', cap(radius, HEAD_X - base), base, material))
    return parts


def _end_flange(rng) -> list[Part]:
    acrylic = Material((0.60, 0.62, 0.62), 0.15, opacity=rng.uniform(0.45, 0.75), reflectivity=0.4, grain=0.3)
    teeth = 0.0016 * np.sign(np.sin(np.arange(96) * 2 * np.pi / 8))
    wall = lathe([(0.030, -0.007), (0.064, -0.007), (0.064, 0.007), (0.030, 0.007)], 96, np.outer([0, 1, 1, 0], teeth))
    parts = [_laid('flange', wall, 0.147, acrylic)]
    parts.append(_laid('rear_plate', cylinder(0.046, 0.010, 36), 0.150, ALUMINIUM if rng.random() < 0.5 else BLACK))
    parts.append(_laid('rear_seal', annulus(0.046, 0.0535, 0.008, 40), 0.162, BLACK))
    for angle in np.linspace(0, 2 * np.pi, 8, endpoint=False) + rng.uniform(0, 0.7):
        material = RED if rng.random() < 0.55 else (BLACK if rng.random() < 0.6 else STEEL)
        gland = cylinder(rng.uniform(0.006, 0.009), rng.uniform(0.018, 0.030), 8)
        around = (0, 0.031 * np.cos(angle), 0.031 * np.sin(angle))
        parts.append(_laid('gland', gland, 0.132, material).moved(None, around))
    lamp = (rng.uniform(0.114, 0.138), rng.uniform(-0.008, 0.012), rng.uniform(0.035, 0.048))
    parts.append(_placed('lamp', blob((0.011, 0.011, 0.011), 0, rng, 18, 10), lamp, STEEL))
    position = (0.105, rng.uniform(-0.01, 0.015), rng.uniform(0.01, 0.03))
    return [*parts, _placed('plug', cylinder(0.012, 0.04, 14), position, BLACK_TAPE, X_FROM_Z)]


def _thruster(rng, lean: np.ndarray, position) -> list[Part]:
    """Return ring, taped hub and propeller flags of one thruster; the hub is centred at `position`."""
    width = rng.uniform(0.017, 0.025)
    radius = RING_RADIUS * rng.uniform(0.96, 1.05)
    wall = annulus(radius - rng.uniform(0.0022, 0.0035), radius, width, 56)
    off_centre = (*rng.uniform(-0.006, 0.006, 2), rng.uniform(-0.008, 0.004))
    hub_radius, top, bottom = rng.uniform(0.0185, 0.0225), rng.uniform(0.008, 0.022), -rng.uniform(0.018, 0.026)
    radii = [0, 0.015, hub_radius, hub_radius, hub_radius - 0.004, 0]
    dents = np.outer([0, 1, 1, 1, 1, 0], 0.0012 * rng.uniform(-1, 1, 24))
    hub = lathe(np.c_[radii, [bottom, bottom, -0.004, top - 0.004, top, top]], 24, dents)
    parts = [_placed('ring', wall, off_centre, YELLOW), Part.from_mesh('hub', hub, BLACK_TAPE)]
    spin = turn('z', rng.uniform(0, 2 * np.pi))
    for k in range(3):
        parts.append(_flag(rng).moved(spin @ turn('z', 2 * np.pi * k / 3 + rng.uniform(-0.2, 0.2))))
    line = rng.uniform(0, np.pi)
    for offset, size in ((-0.009, 0.0024), (0.0, 0.0014), (0.009, 0.0024)):
        spot = (offset * np.cos(line), offset * np.sin(line), top + 0.0005)
        parts.append(_placed('screw', cylinder(size, 0.001, 9), spot, WHITE))
    return [part.moved(lean, position) for part in parts]


def _flag(rng) -> Part:
    """Return one propeller blade wrapped in tape: a crooked plate from the hub outwards along x."""
    reach, half = rng.uniform(0.036, 0.044), rng.uniform(0.006, 0.010)
    outline = np.array([
        (0.012, -half * 0.8),
        (reach - rng.uniform(0, 0.007), -half * rng.uniform(0.8, 1.4)),
        (reach, half * rng.uniform(0.5, 1.3)),
        (0.012, half),
    ])
    blade = Part.from_mesh('blade', plate(outline, 0.0022), BLACK_TAPE)
    return blade.moved(turn('x', rng.uniform(-0.9, 0.9)), (0, 0, rng.uniform(-0.006, 0.012)))


def _side_arm(rng, side: int) -> list[Part]:
    low = rng.uniform(-0.016, -0.010)
    x = ENGINE_X + rng.uniform(0.004, 0.012)
    parts = [_placed('arm', box((0.017, ENGINE_Y - 0.058, 0.004)), (x, side * (ENGINE_Y + 0.058) / 2, low), WHITE)]
    parts.append(_placed('arm_foot', box((0.017, 0.012, 0.024)), (x, side * 0.084, low + 0.008), WHITE))
    parts.append(_placed('joint', cylinder(0.011, 0.016, 18), (x, side * 0.068, -0.004), WHITE, turn('x', np.pi / 2)))
    parts.append(_placed('joint_bolt', cylinder(0.005, 0.02, 8), (x, side * 0.068, -0.002), STEEL))
    parts.append(_placed('ring_clip', box((0.019, 0.006, 0.016)), (x, side * (ENGINE_Y - RING_RADIUS), -0.004), YELLOW))
    for offset in (-0.005, 0.005):
        parts.append(_placed('hole', cylinder(0.002, 0.001, 8), (x + offset, side * 0.103, low + 0.0026), RUBBER))
    return parts


def _stern_bracket(rng) -> list[Part]:
    height = rng.uniform(-0.012, 0.004)
    parts = []
    x, y, drop = np.array([(0.165, 0.057, 0), (0.125, 0.055, 0), (0.085, 0.036, 0.004), (0.055, 0, 0.008)]).T
    for side in (-1, 1):
        arc = spline(np.c_[x, side * y, height - drop], 20)
        parts.append(Part.from_mesh('bracket', tube(arc, 0.004, 2.6, 8), WHITE))
        stem = spline([(0.165, side * 0.057, height), (0.155, side * 0.057, height)], 4)
        parts.append(Part.from_mesh('bracket_foot', tube(stem, 0.006, 1.8, 8), WHITE))
    parts.append(_placed('stern_arm', box((0.075, 0.016, 0.005)), (0.036, 0, -0.016), WHITE))
    if rng.random() < 0.5:
        torch = Material((0.02, 0.16, 0.18), 0.3, reflectivity=0.2)
        parts.append(_placed('torch', cylinder(0.012, 0.04, 16), (0.095, -0.05, -0.035), torch, X_FROM_Z))
    return parts


def _cables(rng) -> list[Part]:
    parts = []
    for side in (-1, 1):
        bend = rng.uniform(-0.010, 0.010, (2, 3))
        path = [
            (ENGINE_X - 0.012, side * ENGINE_Y, -0.012),
            (0.325, side * 0.125, -0.012) + bend[0],
            (0.275, side * 0.090, -0.012) + bend[1],
            (0.235, side * 0.066, -0.004),
            (0.170, side * 0.062, 0.0),
        ]
        parts.append(Part.from_mesh('cable', tube(spline(path, 36), 0.0029), RUBBER))
        angles = np.linspace(0, 2 * np.pi, 36)
        radius = rng.uniform(0.019, 0.027)
        level = np.c_[radius * np.cos(angles), radius * np.sin(angles), 0.004 * np.sin(angles)]
        loop = level @ turn('x', rng.uniform(-0.5, 0.5)).T
        centre = (rng.uniform(0.205, 0.235), side * (0.066 + radius), rng.uniform(-0.008, 0.008))
        parts.append(Part.from_mesh('cable_loop', tube(loop + centre, 0.0027), RUBBER))
        parts.append(_placed('tie', box((0.005, 0.020, 0.008)), (centre[0], side * 0.06, 0.012), RUBBER))
    for _ in range(rng.integers(4, 8)):  # the tangle between the end flange and the stern
        start = [(0.145, rng.uniform(-0.035, 0.035), rng.uniform(-0.02, 0.035))]
        middle = np.c_[rng.uniform(0.045, 0.14, 4), rng.uniform(-0.05, 0.05, 4), rng.uniform(-0.025, 0.045, 4)]
        end = [(rng.uniform(0.012, 0.04), rng.uniform(-0.018, 0.018), rng.uniform(-0.022, -0.008))]
        parts.append(Part.from_mesh('tangle', tube(spline(np.concatenate([start, middle, end]), 48), 0.0029), RUBBER))
    return parts


def _float_blocks(rng) -> list[Part]:
    """Return the wooden floats tied behind the stern."""
    yaw = rng.uniform(-0.5, 0.5)
    near = np.array((0.034, 0.055, 0.028)) * rng.uniform(0.8, 1.15)
    far = np.array((0.042, 0.040, 0.028)) * rng.uniform(0.8, 1.15)
    behind = (-0.037, rng.uniform(-0.012, 0.012), -0.004)
    parts = [Part.from_mesh('block', box(near), WOOD)]
    turned = turn('z', rng.uniform(-0.4, 0.4))
    parts.append(_placed('block', box(far), behind, WOOD, turned))
    parts.append(_placed('strap', box((0.004, far[1] + 0.003, far[2] + 0.003)), behind, RUBBER, turned))
    for y in (-0.013, 0.012):
        parts.append(_placed('strap', box((near[0] + 0.003, 0.004, near[2] + 0.003)), (0, y, 0), RUBBER))
        parts.append(_placed('strap', box((0.024, 0.003, 0.003)), (0.017, y, 0.004), RUBBER))
    position = (-0.066 + rng.uniform(-0.010, 0.006), rng.uniform(-0.025, 0.025), rng.uniform(-0.010, 0.006))
    return [part.moved(turn('z', yaw), position) for part in parts]


def _tether(rng) -> Part:
    """Return the yellow line that leaves the stern."""
    away = rng.normal(0, 1, 2)
    step = 0.16 * away / (np.linalg.norm(away) + 1e-9)
    points = [np.array([0.11, 0.01, 0.0])]
    points.append(np.array([0.05, rng.uniform(-0.03, 0.03), -0.03]))
    for k in range(rng.integers(3, 6)):
        points.append(np.array([*(step * (k + 1) + rng.normal(0, 0.05, 2)), -0.05 - 0.03 * k]))
    line = tube(spline(points, 60), rng.uniform(0.0012, 0.0022))
    return Part.from_mesh('tether', line, Material((0.82, 0.70, 0.06), 0.5), belongs=False)
