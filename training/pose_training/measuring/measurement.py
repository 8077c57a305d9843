"""The shape of a rigid object and its lenses from labels, with what they leave open and the labels that contradict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations, islice

import numpy as np

from custom_pose_ros.core.errors import DatasetError
from custom_pose_ros.core.geometry.rigid import Rigid
from custom_pose_ros.core.measuring.bundle import (
    LENS,
    Adjustment,
    Bundle,
    Priors,
    Views,
    adjust,
    gauge_directions,
    robust_noise,
)
from custom_pose_ros.core.orientation.pnp import PointSet, initial_poses
from training.pose_training.measuring.first_shapes import first_bundles
from training.pose_training.measuring.views_of_labels import LabelledViews

MIN_KEYPOINTS = 4  # in one view: three tell nothing but its pose
_FOCALS = (0.6, 1.0, 1.8, 3.5)  # guesses, of the longer side of the image
_LENS_SPREAD = (1.0, 0.15, 0.02)  # of log f about 1.2 longer sides, of k1, of the principal point in longer sides
_USUAL_FOCAL = 1.2
_ROBUST = 0.02  # of the object's size in the picture: errors of labels that are not yet mistakes
_LEAST_ROBUST_PX = 1.0
_TIGHT = 3.0  # times the noise of the best fit: in the second round, which decides between fits
_MISTAKE = 4.0  # standard deviations; chance reaches them once in 3000 labels
_ROUNDS = 6  # of taking out mistakes
_FORGIVEN = 1  # mistakes in a view: with more it is left out whole, as the rest may be wrong together
_MOST_MISTAKES = 0.25  # of all labels, or the object is none that is rigid
_NOT_RIGID = 0.06  # of the object's size: usual error of labels above which it is not rigid
_SPARE = 6  # numbers more than are looked for, so that the labels check each other
LEAST_NOISE_PX = 0.25  # nobody labels better; where labels agree by more, they were computed
_RIVAL = 9.0  # difference of chi-square below which another shape may as well be the right one
_FIRST_STEPS = 25  # of the adjustment from each start
_KEPT = 5  # solutions that are looked at closely
_SAME_SHAPE = 0.01  # of the object's size: differences of fits that go to one solution
_OTHER_SHAPE = 0.03  # of the object's size: root mean square difference of shapes that are not the same
_NEAR_COST = 3.0  # times the robust cost of the best start: worth a second look
_ROUGH = 0.1  # of the object's size: points less exact than that are not known
_BLURRED_FOCAL = 0.2  # standard deviation of log f above which it cannot be told: from 0.67 to 1.5 of it
_BLURRED_K1 = 0.1  # of k1, of which lenses have 0.4 at most
_TRIED = 70  # choices of four keypoints: all of those of eight
_HELD = 1e12  # inverse variance of shapes that are not to change
_INTERVAL = 1.96  # standard deviations on both sides: 95 %


@dataclass(frozen=True)
class Contradiction:
    """A label that misses where the rigid body of all others would have it."""

    image: str
    annotation: str
    keypoint: str
    error_px: float
    guess: str = ''


@dataclass(frozen=True, eq=False)
class Interval:
    """A number, its standard deviation, and the 95 % interval; `known` where the labels tell it."""

    value: float
    deviation: float
    low: float
    high: float
    known: bool


@dataclass(frozen=True, eq=False)
class Measurement:
    """
    What the labels say.

    Attributes:
        points: (K, 3) of any size, place and attitude; NaN for keypoints that were not measured.
        covariance: (3 K, 3 K) of the measured ones, zero elsewhere.
        focals_px: of each lens.
        k1: of each lens.
        centres_px: (C, 2) principal points from the middle of the image.
        noise_px: standard deviation of a coordinate of a label.
        contradictions: worst first.
        advice: what more to photograph.
        views: how many were used.
    """

    points: np.ndarray
    covariance: np.ndarray
    focals_px: list[Interval]
    k1: list[Interval]
    centres_px: np.ndarray
    noise_px: float
    contradictions: list[Contradiction]
    advice: list[str]
    views: int


def measure(labelled: LabelledViews, seed: int = 0) -> Measurement:
    """
    Measure the shape of the object and its lenses.

    Raises:
        DatasetError: the labels do not tell the shape; the text says why and what would.
    """
    return _Measuring(labelled).run(np.random.default_rng(seed))


class _Measuring:
    """One measurement: which views and keypoints are used, and what is known of the lenses beforehand."""

    def __init__(self, labelled: LabelledViews):
        self._labelled = labelled
        weights = labelled.views.weights.copy()
        while True:  # a keypoint needs two views, a view needs four of these keypoints
            self._rows = (weights > 0).sum(1) >= MIN_KEYPOINTS
            weights[~self._rows] = 0.0
            self._columns = (weights > 0).sum(0) >= 2
            if not (weights[:, ~self._columns] > 0).any():
                break
            weights[:, ~self._columns] = 0.0
        used = np.ix_(self._rows, self._columns)
        views = labelled.views
        self._lenses, lens = np.unique(views.lens[self._rows], return_inverse=True)
        self._views = Views(views.pixels[used], weights[used], lens)
        self._names = [name for name, used in zip(labelled.names, self._columns) if used]
        self._numbers = np.flatnonzero(self._rows)
        self._require_enough()
        self._sides = np.array([max(labelled.sizes[c]) for c in self._lenses], float)
        self._priors = self._known_of_lenses()
        self._size_px = float(np.median(_extents(self._views)))

    def _require_enough(self) -> None:
        views = self._views
        V, K = views.weights.shape
        if V < 2 or K < MIN_KEYPOINTS:
            raise DatasetError(
                f'cannot tell the shape: wanted two pictures or more with the same {MIN_KEYPOINTS} keypoints, '
                f'got {V} usable; label more pictures'
            )
        unknown = 6 * V + 3 * K - 7 + (0 if self._labelled.focals_px is not None else len(self._lenses))
        if views.count < unknown + _SPARE:
            raise DatasetError(
                f'cannot tell the shape: {views.count} coordinates are labelled in {V} pictures, and the shape of '
                f'{K} keypoints, the poses and the lens are {unknown} unknown numbers, so that wrong shapes explain '
                f'them as well; {self._enough_pictures(K)}'
            )

    def _enough_pictures(self, keypoints: int) -> str:
        """Say how many pictures, or that more keypoints, would do."""
        per_view = 2 * keypoints - 6
        wanted = int(np.ceil((3 * keypoints - 6 + _SPARE) / per_view))
        more = f'label {max(wanted, len(self._views.lens) + 2)} pictures or more from different sides'
        return f'{more}, or more keypoints of the same body' if keypoints < 6 else more

    def _known_of_lenses(self) -> Priors:
        count, focals = len(self._lenses), self._labelled.focals_px
        lenses, weights = np.zeros((count, LENS)), np.full((count, LENS), np.inf)
        if focals is not None:
            lenses[:, 0] = np.log([focals[c] for c in self._lenses])
        else:
            lenses[:, 0] = np.log(_USUAL_FOCAL * self._sides)
            deviations = np.tile([*_LENS_SPREAD, _LENS_SPREAD[2]], (count, 1))
            deviations[:, 2:] *= self._sides[:, None]
            weights = deviations**-2.0
        return Priors(lenses, weights)

    def run(self, rng: np.random.Generator) -> Measurement:
        """Fit, take out mistakes, look for other shapes that would do, and collect the result."""
        robust_px = max(_LEAST_ROBUST_PX, _ROBUST * self._size_px)
        loose = replace(self._views, weights=self._views.weights / robust_px**2)
        found = _different(self._fits(loose, robust_px, rng))
        tight_px = _TIGHT * min(_robust_noise(fit, self._views.weights, self._views.weights > 0) for fit in found)
        if tight_px < robust_px:
            tight = replace(self._views, weights=self._views.weights / tight_px**2)
            found = [adjust(fit.bundle, tight, self._priors, tight_px) for fit in found]
        found.sort(key=lambda fit: fit.cost)
        best, views, noise_px = self._without_mistakes(found[0], loose)
        for other in found[1:]:
            if other.cost < _NEAR_COST * found[0].cost + _RIVAL:
                rival = adjust(other.bundle, views, self._priors)
                if rival.cost < best.cost:
                    best, rival = rival, best
                if rival.cost < best.cost + _RIVAL and self._differs(best, rival):
                    self._refuse_two_shapes(best)
        return self._result(best, views, noise_px)

    def _fits(self, views: Views, robust_px: float, rng: np.random.Generator) -> list[Adjustment]:
        focals = np.array([guess * self._sides for guess in _FOCALS])
        if self._labelled.focals_px is not None:
            focals = np.exp(self._priors.lenses[None, :, 0])
        starts = first_bundles(views, focals, rng)
        return [adjust(start, views, self._priors, robust_px, _FIRST_STEPS) for start in starts]

    def _without_mistakes(self, fit: Adjustment, views: Views) -> tuple[Adjustment, Views, float]:
        """Return the fit by least squares to all labels but those far off, these with their noise, and the noise."""
        labels = self._views.weights
        kept = labels > 0
        noise_px = _robust_noise(fit, labels, kept)
        for _ in range(_ROUNDS):
            before = kept
            error_px = np.sqrt(labels * (fit.residuals**2).sum(-1))
            kept = (labels > 0) & (error_px <= _MISTAKE * noise_px)
            count = kept.sum(1)
            kept &= ((count >= MIN_KEYPOINTS) & (count >= (labels > 0).sum(1) - _FORGIVEN))[:, None]
            if (kept.sum(0) < 2).any():
                break
            views = replace(self._views, weights=np.where(kept, labels, 0.0) / noise_px**2)
            fit = adjust(fit.bundle, views, self._priors)
            noise_px = max(LEAST_NOISE_PX, self._noise(fit, labels, kept))
            if (kept == before).all():
                break
        self._require_rigid(kept, noise_px)
        views = replace(views, weights=np.where(kept, labels, 0.0) / noise_px**2)
        return adjust(fit.bundle, views, self._priors), views, noise_px

    def _noise(self, fit: Adjustment, labels: np.ndarray, kept: np.ndarray) -> float:
        squares = float((np.where(kept, labels, 0.0) * (fit.residuals**2).sum(-1)).sum())
        seen = kept.any(1).sum()
        unknown = 6 * seen + 3 * labels.shape[1] - 7 + len(self._lenses)
        return float(np.sqrt(squares / max(2 * kept.sum() - unknown, 1)))

    def _require_rigid(self, kept: np.ndarray, noise_px: float) -> None:
        labelled = self._views.weights > 0
        share = 1.0 - kept.sum() / labelled.sum()
        if share > _MOST_MISTAKES or noise_px > _NOT_RIGID * self._size_px or (kept.sum(0) < 2).any():
            raise DatasetError(
                f'cannot tell the shape: no rigid body explains the labels: {100 * share:.0f} % of them contradict the '
                f'others, which agree to {noise_px:.2g} px, {100 * noise_px / self._size_px:.0f} % of the size of the '
                'object in the pictures; is it rigid, are left and right always its own, and is it the same object?'
            )

    def _differs(self, one: Adjustment, other: Adjustment) -> bool:
        points, others = one.bundle.points, other.bundle.points
        return aligned_difference(points, others) > max(_OTHER_SHAPE, 3.0 * _rms_deviation(one))

    def _refuse_two_shapes(self, fit: Adjustment) -> None:
        raise DatasetError(
            'cannot tell the shape: two shapes, as an object and its mirror image, explain the labels as well as each '
            f'other; {"; ".join(self._advice(fit)) or "photograph it from nearer, where near parts look larger"}'
        )

    def _result(self, fit: Adjustment, views: Views, noise_px: float) -> Measurement:
        deviation = _rms_deviation(fit)
        advice = self._advice(fit)
        if deviation > _ROUGH:
            raise DatasetError(
                f'cannot tell the shape: the labels leave its keypoints open by {100 * deviation:.0f} % of its size; '
                f'{"; ".join(advice) or "label more pictures from different sides"}'
            )
        K, measured = len(self._labelled.names), np.repeat(self._columns, 3)
        covariance = np.linalg.inv(fit.information)
        shape_count = 3 * len(self._names)
        points, full = np.full((K, 3), np.nan), np.zeros((3 * K, 3 * K))
        points[self._columns] = fit.bundle.points
        full[np.ix_(measured, measured)] = covariance[:shape_count, :shape_count]
        lenses = self._lens_intervals(fit, np.sqrt(np.diag(covariance)[shape_count:]).reshape(-1, LENS))
        centres = np.zeros((len(self._labelled.sizes), 2))
        centres[self._lenses] = fit.bundle.lenses[:, 2:]
        return Measurement(
            points, full, *lenses, centres, noise_px, self._contradictions(fit, views, noise_px),
            advice if deviation > _OTHER_SHAPE or not all(focal.known for focal in lenses[0]) else [],
            len(self._views.lens),
        )  # fmt: skip

    def _lens_intervals(self, fit: Adjustment, deviations: np.ndarray) -> tuple[list[Interval], list[Interval]]:
        """Return focal length and k1 of every lens, also of those without a usable view."""
        nothing = Interval(np.nan, np.inf, np.nan, np.nan, False)
        focals, k1s = ([nothing] * len(self._labelled.sizes) for _ in range(2))
        for c, lens, spread in zip(self._lenses, fit.bundle.lenses, deviations):
            (log_focal, k1), (log_deviation, deviation) = lens[:2], spread[:2]
            reach = _INTERVAL * log_deviation  # pictures tell perspective, which goes with the inverse of f
            low, high = np.exp(log_focal) / (1 + reach), np.exp(log_focal) / max(1 - reach, 1e-9)
            known = log_deviation < _BLURRED_FOCAL
            focals[c] = Interval(np.exp(log_focal), log_deviation, low, high, bool(known))
            reach = _INTERVAL * deviation
            k1s[c] = Interval(k1, deviation, k1 - reach, k1 + reach, bool(deviation < _BLURRED_K1))
        return focals, k1s

    def _contradictions(self, fit: Adjustment, views: Views, noise_px: float) -> list[Contradiction]:
        known = Priors(fit.bundle.lenses, np.full(fit.bundle.lenses.shape, np.inf), fit.bundle.points, _HELD)
        everything = replace(self._views, weights=self._views.weights / noise_px**2)
        poses = Rigid(*(part.copy() for part in fit.bundle.poses))
        for v in np.flatnonzero(~(views.weights > 0).any(1)):
            poses.rotation[v], poses.translation[v] = _likely_pose(fit.bundle, self._views, v, _TIGHT * noise_px)
        fit = adjust(replace(fit.bundle, poses=poses), everything, known, _TIGHT * noise_px)
        error_px = np.linalg.norm(fit.residuals, axis=-1)
        wrong = (views.weights == 0) & (np.sqrt(self._views.weights) * error_px > _MISTAKE * noise_px)
        found = []
        for v, k in zip(*np.nonzero(wrong)):
            expected = self._views.pixels[v, k] - fit.residuals[v, k]
            away = np.linalg.norm(self._views.pixels[v] - expected, axis=-1)
            away[self._views.weights[v] == 0] = np.inf
            nearest = int(away.argmin())
            is_other = nearest != k and away[nearest] < max(_MISTAKE * noise_px, 0.3 * error_px[v, k])
            guess = f'exchanged with {self._names[nearest]}?' if is_other and wrong[v, nearest] else ''
            number = self._numbers[v]
            found.append(
                Contradiction(
                    self._labelled.images[number], self._labelled.annotations[number], self._names[k],
                    float(error_px[v, k]), guess,
                )
            )  # fmt: skip
        return sorted(found, key=lambda label: -label.error_px)

    def _advice(self, fit: Adjustment) -> list[str]:
        """Say what more to photograph, for a geometry that leaves something open."""
        said = []
        R, t = fit.bundle.poses
        directions = (R.transpose(0, 2, 1) @ t[..., None])[..., 0] / np.linalg.norm(t, axis=1)[:, None]
        spread = np.degrees(np.arccos(np.clip((directions @ directions.T).min(), -1, 1)))
        if spread < 40:
            said.append(f'photograph it from other sides: all pictures show it from within {spread:.0f} degrees')
        extent = np.linalg.norm(np.ptp(fit.bundle.points, axis=0))
        distance = float(np.median(np.linalg.norm(t, axis=1)) / extent)
        if distance > 4:
            said.append(
                f'photograph it from nearer: the pictures are taken from about {distance:.0f} times its size away, and '
                'what tells shape and lens apart is that near parts look larger; 2 to 3 times is good'
            )
        flat = np.linalg.svd(fit.bundle.points - fit.bundle.points.mean(0), compute_uv=False)
        if flat[2] < 0.05 * flat[0]:
            said.append('its keypoints are nearly in one plane: label one or two off it')
        counts = (self._views.weights > 0).sum(0)
        few = [name for name, count in zip(self._names, counts) if count < 4]
        if few:
            said.append(f'label {", ".join(few)} in more pictures: fewer than four have it')
        if len(self._views.lens) < 8:
            said.append(f'label more pictures: these are {len(self._views.lens)}')
        return said


def _different(fits: Sequence[Adjustment]) -> list[Adjustment]:
    """Return the best of the fits, each solution once."""
    kept: list[Adjustment] = []
    for fit in sorted(fits, key=lambda fit: fit.cost):
        if len(kept) < _KEPT and all(
            aligned_difference(fit.bundle.points, other.bundle.points) > _SAME_SHAPE for other in kept
        ):
            kept.append(fit)
    return kept


def _extents(views: Views) -> np.ndarray:
    """Return the (V,) diagonals of the boxes around the keypoints [px]."""
    seen = (views.weights > 0)[..., None]
    low = np.where(seen, views.pixels, np.inf).min(1)
    high = np.where(seen, views.pixels, -np.inf).max(1)
    return np.linalg.norm(high - low, axis=-1)


def _robust_noise(fit: Adjustment, labels: np.ndarray, kept: np.ndarray) -> float:
    """Return the noise by the median error, for fits in which some labels are far off [px]."""
    squared = (labels * (fit.residuals**2).sum(-1))[kept]
    return max(LEAST_NOISE_PX, robust_noise(squared, 6 * len(labels) + 3 * labels.shape[1]))


def aligned_difference(one: np.ndarray, other: np.ndarray) -> float:
    """Return the root mean square distance of shapes (K, 3) after alignment, without mirroring, as a share of size."""
    a, b = one - one.mean(0), other - other.mean(0)
    a, b = (p / np.sqrt((p**2).sum(1).mean()) for p in (a, b))
    left, sizes, right = np.linalg.svd(a.T @ b)
    sizes[2] *= np.sign(np.linalg.det(left @ right))
    scale = sizes.sum() / len(a)
    return float(np.sqrt(max(1.0 - scale**2, 0.0)) / 2.0)  # the size is about twice the root mean square radius


def _likely_pose(bundle: Bundle, views: Views, v: int, robust_px: float) -> Rigid:
    """Return the pose in view v that agrees with most of its keypoints, of the poses that four of them give."""
    lens, seen = bundle.lenses[views.lens[v]], np.flatnonzero(views.weights[v] > 0)
    points, focal = bundle.points[seen], np.exp(lens[0])
    directions = (views.pixels[v, seen] - lens[2:]) / focal
    best, least = bundle.poses.at(int(v)), np.inf
    for chosen in islice(combinations(range(len(seen)), MIN_KEYPOINTS), _TRIED):
        poses = initial_poses(PointSet(points[list(chosen)]), directions[list(chosen)])
        for pose in map(poses.at, range(len(poses.rotation))):
            x, y, z = pose.apply(points).T
            if z.min() > 0:
                miss = focal * (np.column_stack([x / z, y / z]) - directions)
                cost = np.log1p((miss**2).sum(1) / robust_px**2).sum()
                best, least = (pose, cost) if cost < least else (best, least)
    return best


def _rms_deviation(fit: Adjustment) -> float:
    """Return the root mean square uncertainty of the points as a share of the object's size."""
    count = fit.bundle.points.size
    covariance = np.linalg.inv(fit.information)[:count, :count]
    gauge = gauge_directions(fit.bundle.points)
    inner = covariance - gauge @ (gauge.T @ covariance)
    variance = float(np.trace(inner - (inner @ gauge) @ gauge.T))
    extent = np.linalg.norm(np.ptp(fit.bundle.points, axis=0))
    return float(np.sqrt(max(variance, 0.0) / (count / 3)) / extent)
