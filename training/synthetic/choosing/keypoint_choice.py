"""KeypointChoice: points of a surface that can be found again, and those of them that together tell the pose best."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
from scipy.spatial import cKDTree

from custom_pose_ros.core.command_line import progress_bar
from custom_pose_ros.core.geometry.rigid import Rigid
from custom_pose_ros.core.limits import MAX_KEYPOINTS
from custom_pose_ros.core.orientation.pnp import linearise
from training.synthetic.choosing.mesh_symmetry import Twin
from training.synthetic.choosing.sliding import Sliding
from training.synthetic.choosing.surface_views import SurfaceViews

MOST_CANDIDATES = 300
_APART = 0.04  # of two candidates, as a share of the object's size
_SPREAD = (0.12, 0.08, 0.05)  # of two keypoints, likewise: the widest with which there are enough
_TO_VERTEX = (0.02, 0.05)  # how far a candidate moves to the vertex that is the corner there, likewise; in a hollow
_STANDS_OUT, _END = 0.15, 0.46  # of such a vertex; of a tip. It is 0 in a plain face, 0.3 on an edge, 0.5 at a corner
_BENT = 0.9  # length of the mean normal, below which the surface there is no plain face
_SAME_FACE = 0.001  # how far a place may lie above or below what was seen of the face that it is on, of the size again
_ON_SURFACE = 0.012  # a point farther from all that was seen of the surface is not on it, likewise
_WEAKEST = 0.4  # strength of a candidate, as a share of that of the strong ones
_STRONG = 8  # how many the strong ones are
_LEAST_SEEN = 0.1  # share of the views
_SIDE_COSINE = 0.5  # between the direction of a side and one that is still seen from there
_RINGS = (0.0, 0.02, 0.04, 0.07)  # around a point, likewise, in which its look is told
_ALIKE, _CONFUSED = 0.08, 0.25  # largest difference of looks that are alike; how near (likewise) they are confused
_NOISE = 1 / 300  # of a keypoint [rad]: 1.3 % of the object's size, as networks do, four sizes away
_ANYWHERE_RAD = 1.27  # standard deviation about each axis of an attitude nothing is known about


class KeypointChoice:
    """
    Candidates for keypoints on a surface, strongest first.

    Args:
        views: of the object.
        vertices: (V, 3) of its mesh [m].
        twins: its symmetries; what they exchange is chosen together or not at all.
        seen_from: (S, 3) unit vectors from the object to where it will be seen from; anywhere without one.

    Attributes:
        places: (N, 3) of the candidates [m].
        seen: (V, N) bool, in the views from there.
        noise: (N,) of finding each in a picture, as a multiple of that of the best.
        groups: indices of candidates that are exchanged.
    """

    def __init__(
        self,
        views: SurfaceViews,
        vertices: np.ndarray,
        twins: Sequence[Twin] = (),
        seen_from: Sequence[np.ndarray] = (),
    ):
        self._views = views
        towards = np.array([-pose.rotation[2] for pose in views.poses])
        counts = [(towards @ side >= _SIDE_COSINE) for side in seen_from] or [np.ones(len(towards), bool)]
        self._counting = np.flatnonzero(np.any(counts, axis=0))
        self._poses = Rigid.stack(views.poses).at(self._counting)
        self._cameras = np.array([views.poses[v].inverse().translation for v in self._counting])
        self._vertices, self._surface = cKDTree(vertices), views.points.tree
        groups = self._groups(self._strong_places(), twins)
        groups = [group for group in groups if self._seen(group).mean(0).min() >= _LEAST_SEEN]
        self.places = np.concatenate([np.zeros((0, 3)), *groups])
        ends = np.cumsum([0, *map(len, groups)]).tolist()
        self.groups = [list(range(start, end)) for start, end in zip(ends, ends[1:])]
        self.seen = self._seen(self.places)
        strength = np.maximum(views.corner_strength(self.places), 1e-9)
        self.noise = np.clip(np.quantile([1e-9, *strength], 0.9) / strength, 1, 4) * np.sqrt(1 + self._alike())
        for group in self.groups:
            self.noise[group] = self.noise[group].mean()

    def choose(self, count: int) -> list[int]:
        """
        Return up to `count` candidates.

        Greedy, then by exchange: the largest drop of the expected error of the rotation over all views, for each
        keypoint.
        """
        chosen: list[int] = []
        for spread in _SPREAD:
            chosen = self._chosen(count, spread * self._views.size)
            if len(chosen) == count:
                break
        return chosen

    def larger_count(self, count: int) -> int | None:
        """Return the smallest number above `count` of which more keypoints can be chosen, where there is one."""
        found = len(self.choose(count))
        for larger in sorted({found + len(group) for group in self.groups}):
            if larger > count and (more := len(self.choose(larger))) > max(found, count):
                return more
        return None

    def _seen(self, places: np.ndarray) -> np.ndarray:
        """Return (V, N) bool: of places of a plate, not from behind, however thin it is."""
        facing = [self._facing(place) for place in places]
        return self._views.seen(places)[self._counting] & np.reshape(facing, (-1, len(self._counting))).T

    def _facing(self, place: np.ndarray) -> np.ndarray:
        """Return (V,) bool: in which views a face that a place (3,) is on is turned to the camera."""
        points = self._views.points
        near = np.array(self._surface.query_ball_point(place, _TO_VERTEX[0] * self._views.size), int)
        above = ((points.places[near] - place) * points.normals[near]).sum(1)
        normals = points.normals[near[np.abs(above) <= _SAME_FACE * self._views.size]]
        if not len(normals):
            return np.ones(len(self._counting), bool)
        return ((self._cameras - place) @ normals.T).max(1) > 0

    def _strong_places(self) -> np.ndarray:
        """Return the places (N, 3) of the surface that stand out most among those around them, tips first."""
        places, apart = self._views.points.places, _APART * self._views.size
        strength = self._views.corner_strength(places)
        free, found = np.ones(len(places), bool), []
        directions = np.array([d for d in itertools.product((-1, 0, 1), repeat=3) if any(d)])
        tips = (places @ directions.T).argmax(0)
        for index in dict.fromkeys([*tips.tolist(), *np.argsort(-strength, kind='stable').tolist()]):
            if free[index]:
                found.append(index)
                free[self._surface.query_ball_point(places[index], apart)] = False
                if len(found) == MOST_CANDIDATES:
                    break
        sliding, ends = Sliding(self._views.points, self._views.size), self._protrusion(places[found]) > _END
        found = [index for index, end in zip(found, ends) if end or not sliding.along_an_edge(places[index])]
        if not found:
            return np.zeros((0, 3))
        least = _WEAKEST * np.sort(strength[found])[-_STRONG:].mean()
        strong = [places[index] for index in found if strength[index] >= least]
        return np.array([self._settled(place) for place in progress_bar('places', len(strong), 'place', strong)])

    def _settled(self, place: np.ndarray) -> np.ndarray:
        """Return a place (3,) moved to the corner of shape or print beside it, a vertex where there is one."""
        sharp = self._views.sharpened(place)
        limit = _ON_SURFACE * self._views.size
        around = self._surface.query_ball_point(place, _RINGS[2] * self._views.size)
        of_shape = bool(np.linalg.norm(self._views.points.normals[around].mean(0)) < _BENT)
        least_seen = self._views.seen(place[None]).mean() / 2  # vertices that are seen more seldom are inside
        for reach in _TO_VERTEX if of_shape else _TO_VERTEX[:1]:
            vertices = self._vertices.data[self._vertices.query_ball_point(sharp, reach * self._views.size)]
            vertices = np.unique(vertices[self._views.seen(vertices).mean(0) >= least_seen], axis=0)
            protrusion = self._protrusion(vertices)
            stands_out = (protrusion > _STANDS_OUT) | (of_shape and len(vertices) == 1)  # alone, in a hollow too
            if stands_out.any():
                vertices, protrusion = vertices[stands_out], protrusion[stands_out]
                away = np.linalg.norm(vertices - sharp, axis=1) / (_RINGS[2] * self._views.size)
                return vertices[np.argmax(protrusion - away / 2)]
        return sharp if self._surface.query(sharp)[0] <= limit else place

    def _protrusion(self, places: np.ndarray) -> np.ndarray:
        """Return how far (N,) each place (N, 3) stands out of the surface around it, as a share of its radius."""
        around = self._surface.query_ball_point(places, _RINGS[2] * self._views.size)
        counts = np.array([len(near) for near in around], int)
        which = np.repeat(np.arange(len(places)), counts)
        near = self._views.points.places[np.concatenate([np.zeros(0, int), *around]).astype(int)]
        sums = np.stack([np.bincount(which, axis, len(places)) for axis in near.T], 1)
        out = np.linalg.norm(sums / np.maximum(counts, 1)[:, None] - places, axis=1)
        return np.where(counts > 0, out / (_RINGS[2] * self._views.size), 0)

    def _groups(self, places: np.ndarray, twins: Sequence[Twin]) -> list[np.ndarray]:
        """Return each place (of N, 3) with its images by all combinations of twins, (M, 3), none near those before."""
        apart, limit = _APART * self._views.size, _ON_SURFACE * self._views.size
        taken, groups = np.zeros((0, 3)), []
        for place in places:
            group = _images(place, twins, apart)
            if group is None or np.linalg.norm(group - place, axis=1).min() > limit:
                continue
            on_surface = self._surface.query(group)[0].max() <= limit
            if on_surface and (not len(taken) or cKDTree(taken).query(group)[0].min() > apart):
                groups.append(group)
                taken = np.vstack([taken, group])
        return groups

    def _alike(self) -> np.ndarray:
        """Return (N,) how many other candidates near each one look like it."""
        points, size = self._views.points, self._views.size
        looks = []
        for place in self.places:
            around = np.array(self._surface.query_ball_point(place, _RINGS[-1] * size), int)
            distance = np.linalg.norm(points.places[around] - place, axis=1) / size
            look = []
            for inner, outer in zip(_RINGS, _RINGS[1:]):
                ring = around[(distance >= inner) & (distance < outer)]
                if not len(ring):
                    look += [0.0] * 5
                    continue
                colors, normals = points.colors[ring], points.normals[ring]
                look += [*colors.mean(0), colors.std(0).max(), np.linalg.norm(normals.mean(0))]
            looks.append(look)
        looks_alike = (
            np.abs(np.array(looks)[:, None] - np.array(looks)).max(2) < _ALIKE if looks else np.zeros((0, 0), bool)
        )
        apart = np.linalg.norm(self.places[:, None] - self.places, axis=2)
        return (looks_alike & (apart < _CONFUSED * size)).sum(1) - 1

    def _chosen(self, count: int, spread_m: float) -> list[int]:
        """Return the candidates chosen with at least a distance [m] between any two keypoints."""
        apart = np.linalg.norm(self.places[:, None] - self.places, axis=2) + 1e9 * np.eye(len(self.places))
        groups = [group for group in self.groups if len(group) == 1 or apart[np.ix_(group, group)].min() >= spread_m]
        information = [self._information(group) for group in groups]
        chosen: list[int] = []

        def best(rest: list[int]) -> int | None:
            """Return the group that helps most beside the rest; None when none has room."""
            taken = [index for g in rest for index in groups[g]]
            fits = [
                g for g, group in enumerate(groups)
                if g not in rest and len(taken) + len(group) <= count
                and (not taken or apart[np.ix_(group, taken)].min() >= spread_m)
            ]  # fmt: skip
            if not fits:
                return None
            known = sum((information[g] for g in rest), np.zeros((len(self.seen), 6, 6)))
            before = self._cost(known)
            gains = [(before - self._cost(known + information[g])) / len(groups[g]) for g in fits]
            return fits[int(np.argmax(gains))]

        while (found := best(chosen)) is not None:
            chosen.append(found)
        for _ in range(2):
            for place in range(len(chosen)):
                rest = chosen[:place] + chosen[place + 1 :]
                other = best(rest)
                if other is not None and self._total(information, [*rest, other]) < self._total(information, chosen):
                    chosen[place] = other
            while (found := best(chosen)) is not None:
                chosen.append(found)
        return [index for g in chosen for index in groups[g]]

    def _total(self, information: list[np.ndarray], chosen: list[int]) -> float:
        return self._cost(sum((information[g] for g in chosen), np.zeros((len(self.seen), 6, 6))))

    def _information(self, group: list[int]) -> np.ndarray:
        """Return (views, 6, 6) what a group tells about the pose in each view."""
        points = self.places[group]
        whiten = np.eye(2) / (_NOISE * self.noise[group, None, None])
        _, jacobian, _ = linearise(self._poses, points, np.zeros((len(group), 2)), whiten)
        jacobian = jacobian.reshape(len(self.seen), len(group), 2, 6) * self.seen[:, group, None, None]
        jacobian = jacobian.reshape(len(self.seen), 2 * len(group), 6)
        return jacobian.transpose(0, 2, 1) @ jacobian

    def _cost(self, information: np.ndarray) -> float:
        """Return the root mean square error of the rotation [rad] to expect in the views."""
        distance = self._poses.translation[0, 2]
        prior = np.diag(np.repeat([distance, _ANYWHERE_RAD], 3) ** -2.0)
        variance = np.diagonal(np.linalg.inv(information + prior), axis1=1, axis2=2)
        return float(np.sqrt(variance[:, 3:].sum(1).mean()))


def _images(place: np.ndarray, twins: Sequence[Twin], apart: float) -> np.ndarray | None:
    """Return (M, 3) a place (3,) and its images; those nearer than `apart` [m] are one; None for too many."""
    if any(twin.fold == 0 and np.linalg.norm(np.cross(place - twin.centre, twin.axis)) > apart / 2 for twin in twins):
        return None  # a round object has no point but on its axis
    group = [place]
    for image in group:
        for twin in twins:
            moved = twin.moved(image[None])[0]
            near = [k for k, other in enumerate(group) if np.linalg.norm(other - moved) < apart]
            if not near:
                group.append(moved)
            if len(group) > MAX_KEYPOINTS:
                return None
    if len(twins) == 0:
        return np.array(group)
    images = np.concatenate([[at] + [twin.moved(at[None])[0] for twin in twins] for at in group])
    nearest = np.linalg.norm(images[:, None] - np.array(group), axis=2).argmin(1)
    return np.array([images[nearest == k].mean(0) for k in range(len(group))])
