"""From clicked frames of a rigid object to all frames between: followed both ways, and adjusted to one body."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from custom_pose_ros.core.geometry.rigid import Rigid
from training.pose_training.footage.body_tracks import FEWEST, Surface, Trail, follow, ideal_places, refined_pose
from training.pose_training.footage.clicked_body import body_from_clicks, click_observations
from training.pose_training.footage.film_camera import FilmCamera
from training.pose_training.footage.keypoint_sight import sight_states, view_direction
from training.pose_training.footage.rigid_adjustment import Observations, RigidBody, adjust, place_covariances

REACH = 150  # frames from a clicked one, within which others are proposed
_EACH = 4  # which frame of those between is adjusted together with the clicked ones
_POINT_PX = 0.5  # standard deviation of a followed point
_FEWEST_SIGHTINGS = 3
_STEPS = 12
FEWEST_SIGHTS = 2  # clicks on a keypoint that tell where it is on the object
_OFF = 3.0  # standard deviations: such a sighting is another thing's
_OUTLIER = 2.5  # standard deviations, above which a click tells nothing of the others


@dataclass(frozen=True, eq=False)
class Proposals:
    """
    What is proposed for the frames of a film.

    Attributes:
        numbers: (F,) of the frames.
        points: (F, K, 3) x, y [px of the film] and state: UNKNOWN (in doubt), ABSENT, HIDDEN or SEEN.
        sigmas: (F, K) expected error of each place [px of the film].
        facing: (F, K) largest cosine at which the hull of the keypoints faces the camera at each of them, below 0 where
            the object itself hides it; None where there is no hull.
    """

    numbers: np.ndarray
    points: np.ndarray
    sigmas: np.ndarray
    facing: np.ndarray | None = None


class RigidPropagation:
    """
    The frames around the clicked ones of one rigid object.

    Attributes:
        body: The clicked frames alone; their order is that of `clicked`.
        click_errors: (C, K) distance of each click from the body [px of the copies]; NaN where there is none. After
            `propose` from the body that explains the frames between as well, which tells a wrong click more surely.
        contradicting: (C, K) whether that is more than is allowed. Such clicks are not part of what `propose` adjusts.
        scale: From pixels of the film to those of the copies.
    """

    def __init__(
        self,
        clicks: Mapping[int, np.ndarray],
        camera: FilmCamera,
        start: tuple[np.ndarray, Rigid] | None = None,
        point_sigma: float = np.inf,
        most_off_px: float = np.inf,
    ):
        """
        Find the body that the clicks show.

        Args:
            clicks: By frame: (K, 3) x, y [px of the film] and state.
            camera: Of the film.
            start: Where the keypoints are on the object (K, 3), and its poses in the sorted frames, where known.
            point_sigma: How well those places are known: standard deviation, in their unit.
            most_off_px: Distance from the body [px of the copies] from which on a click contradicts it.
        """
        self.clicked, self.scale, self._camera = sorted(clicks), camera.scale, camera
        self._most_off_px = most_off_px
        self._states = np.array([clicks[number][:, 2] for number in self.clicked]).astype(int)
        self._located = np.flatnonzero((self._states > 0).sum(0) >= FEWEST_SIGHTS)
        self._kept = len(self._located)
        ideal = [camera.ideal(camera.to_copy(clicks[number][self._located, :2])) for number in self.clicked]
        self._clicks = np.dstack([np.array(ideal), self._states[:, self._located]])
        if start is None:
            self.body = body_from_clicks(self._clicks, camera.focal_px, camera.focal_sigma)
        else:
            focal = camera.focal_px
            points = start[0][self._located]
            known = points if np.isfinite(point_sigma) else None
            body = RigidBody(start[1], points, focal, camera.focal_sigma, focal, known, point_sigma)
            self.body = adjust(body, click_observations(self._clicks, np.arange(len(self.clicked))), self._kept)
        self.click_errors = self._errors_of(self.body, np.arange(len(self.clicked)))

    @property
    def contradicting(self) -> np.ndarray:
        return self.click_errors > self._most_off_px

    def steps_against_flow(self, greys: Mapping[int, np.ndarray]) -> np.ndarray:
        """
        Return how far (C - 1,) the keypoints of each clicked frame are from where the flow carries the frame before it.

        Medians over the keypoints [px of the copies]; NaN where the flow does not reach. Where two clicked frames have
        the object turned differently, each of them fits it: only this tells.
        """
        steps = np.full(len(self.clicked) - 1, np.nan)
        keypoints, focal = self.body.points, self.body.focal_px
        for i, (first, last) in enumerate(zip(self.clicked, self.clicked[1:])):
            order = [number for number in sorted(greys) if first <= number <= last]
            trail = follow(greys, order, {first: self.body.poses.at(i)}, keypoints, focal, self._camera)
            if last in trail.poses:
                carried = ideal_places(trail.poses[last], keypoints, focal)
                own = ideal_places(self.body.poses.at(i + 1), keypoints, focal)
                steps[i] = np.median(np.linalg.norm(carried - own, axis=1))
        return steps

    def propose(self, greys: Mapping[int, np.ndarray]) -> Proposals:
        """Return proposals for the frames that can be reached; greys: copies of the frames by number."""
        trails = self._followed(greys)
        numbers = sorted({number for trail in trails for number in trail.poses})
        keys = [n for i, n in enumerate(numbers) if i % _EACH == 0 or n in self.clicked]
        body, seen, tracks = self._adjusted(trails, keys)
        self.click_errors = self._errors_of(body, np.searchsorted(keys, self.clicked))
        errors = np.sqrt(np.linalg.eigvalsh(place_covariances(body, seen, self._kept))[..., 1].clip(0))
        tried = {number: self._pose(body, tracks, number) for number in numbers}
        found = {number: pose for number, pose in tried.items() if pose is not None}
        for i in np.searchsorted(keys, self.clicked):  # are in the adjustment with their clicks, whatever is around
            found[keys[i]] = body.poses.at(i), np.zeros(self._kept)
        numbers = sorted(found)
        poses, gaps = zip(*(found[number] for number in numbers))
        nearest = np.abs(np.array(numbers)[:, None] - np.array(keys)).argmin(1)
        keypoints = body.points[: self._kept]
        ideal = np.array([ideal_places(pose, keypoints, body.focal_px) for pose in poses])
        shape = (len(numbers), self._states.shape[1])
        places, sigmas, facing = np.zeros((*shape, 2)), np.full(shape, np.inf), np.full(shape, -1.0)
        places[:, self._located] = self._camera.to_film(self._camera.seen(ideal.reshape(-1, 2))).reshape(ideal.shape)
        surface, views = Surface(keypoints), np.array([view_direction(pose) for pose in poses])
        facing[:, self._located] = [surface.facing(pose) for pose in poses]
        states = sight_states(numbers, self.clicked, self._states, facing, views)
        expected = np.maximum(errors[nearest] * self._noise(body, seen), np.array(gaps))
        sigmas[:, self._located] = expected / self._camera.scale
        agreeing = ((self._states > 0) & ~self.contradicting).sum(0)
        sigmas[:, agreeing < FEWEST_SIGHTS] = np.inf
        facing_or_none = facing if len(surface.facets) else None
        return Proposals(np.array(numbers), np.dstack([places, states]), sigmas, facing_or_none)

    def _errors_of(self, body: RigidBody, frames: np.ndarray) -> np.ndarray:
        """Return the (C, K) errors of the clicks; frames: (C,) index of the pose of each clicked frame."""
        errors = np.full(self._states.shape, np.nan)
        seen = click_observations(self._clicks, np.arange(len(self.clicked)))
        places = body.project(frames[seen.frames], seen.points)
        errors[seen.frames, self._located[seen.points]] = np.linalg.norm(seen.places - places, axis=1)
        return errors

    def _followed(self, greys: Mapping[int, np.ndarray]) -> list[Trail]:
        """Follow the body through all frames in reach, both ways; where it is lost, from the next click on."""
        numbers = np.array(sorted(greys))
        known = {number: self.body.poses.at(i) for i, number in enumerate(self.clicked)}
        away = np.abs(numbers[:, None] - np.array(self.clicked)).min(1)
        numbers = numbers[away <= REACH]
        trails = []
        for order in (numbers.tolist(), numbers[::-1].tolist()):
            while any(number in known for number in order):
                start = next(i for i, number in enumerate(order) if number in known)
                keypoints = self.body.points[: self._kept]
                trail = follow(greys, order[start:], known, keypoints, self.body.focal_px, self._camera)
                trails.append(trail)
                order = order[start + len(trail.poses) :]
        return trails

    def _adjusted(
        self, trails: Sequence[Trail], keys: Sequence[int]
    ) -> tuple[RigidBody, Observations, list[_TrailOnBody]]:
        """Return the body with all points in the key frames, its observations, and the trails with its points."""
        frame_of = {number: i for i, number in enumerate(keys)}
        poses = [self._nearest_pose(trails, number) for number in keys]
        points, parts = [self.body.points], []
        starts = []
        for trail in trails:
            starts.append(sum(map(len, points)))
            points.append(np.array(trail.points).reshape(-1, 3))
            for number, (indices, places) in trail.sightings.items():
                if number in frame_of:
                    frames = np.full(len(indices), frame_of[number])
                    parts.append((frames, starts[-1] + indices, places, np.full(len(indices), _POINT_PX)))
        seen = Observations(*map(np.concatenate, zip(*parts)))
        count = np.bincount(seen.points, minlength=sum(map(len, points)))
        often = count >= _FEWEST_SIGHTINGS
        often[: self._kept] = True
        new = np.cumsum(often) - 1
        seen = seen[often[seen.points]]
        clicks = click_observations(self._clicks, np.array([frame_of[number] for number in self.clicked]))
        seen = Observations(
            np.concatenate([clicks.frames, seen.frames]), np.concatenate([clicks.points, new[seen.points]]),
            np.vstack([clicks.places, seen.places]), np.concatenate([clicks.sigmas, seen.sigmas]),
        )  # fmt: skip
        body = replace(self.body, poses=Rigid.stack(poses), points=np.vstack(points)[often])
        body = adjust(body, seen, self._kept, _STEPS)
        allowed = np.where(seen.points < self._kept, self._most_off_px, _OFF * seen.sigmas)
        fits = body.errors(seen) <= allowed
        body, seen = adjust(body, seen[fits], self._kept, _STEPS), seen[fits]
        tracks = [_TrailOnBody(trail, np.where(often, new, -1)[start:]) for trail, start in zip(trails, starts)]
        return body, seen, tracks

    def _nearest_pose(self, trails: Sequence[Trail], number: int) -> Rigid:
        """Return the pose of a frame from the trail that had the shortest way to it from a click."""
        trail = min((trail for trail in trails if number in trail.poses), key=lambda trail: trail.ages[number])
        return trail.poses[number]

    def _pose(self, body: RigidBody, tracks: Sequence[_TrailOnBody], number: int) -> tuple[Rigid, np.ndarray] | None:
        """
        Return the pose in one frame, and how far (K,) the keypoints of either direction alone are from it [px].

        None where too few points are left. What only one direction reaches is checked by nothing but its own points.
        """
        sights = [track.sights(number) for track in tracks if number in track.trail.poses]
        start = self._nearest_pose([track.trail for track in tracks], number)
        indices, places = (np.concatenate(parts) for parts in zip(*sights))
        if len(indices) < FEWEST:
            return None
        pose, _ = refined_pose(start, body.points[indices], places, body.focal_px)
        keypoints = body.points[: self._kept]
        middle = ideal_places(pose, keypoints, body.focal_px)
        gap = np.zeros(self._kept)
        for own, seen in sights if len(sights) > 1 else ():
            if len(own) >= FEWEST:
                alone, _ = refined_pose(pose, body.points[own], seen, body.focal_px)
                there = ideal_places(alone, keypoints, body.focal_px)
                gap = np.maximum(gap, np.linalg.norm(there - middle, axis=1))
        return pose, gap

    def _noise(self, body: RigidBody, seen: Observations) -> float:
        """Return how much less exact the clicks are than they are taken to be; at least 1."""
        clicks = seen[seen.points < self._kept]
        spare = 2 * len(clicks.points) - 3 * self._kept  # the poses are those of all points
        chi2 = np.minimum((body.errors(clicks) / clicks.sigmas) ** 2, _OUTLIER**2).sum()
        return max(1.0, float(np.sqrt(chi2 / max(spare, 1))))


@dataclass(frozen=True, eq=False)
class _TrailOnBody:
    """
    A trail on the adjusted body.

    Attributes:
        trail: What was followed.
        points: (N,) index in the body of each point of the trail; -1 for those that are not in it.
    """

    trail: Trail
    points: np.ndarray

    def sights(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Return indices in the body (M,) and places (M, 2) of what is seen in a frame."""
        indices, places = self.trail.sightings[number]
        known = self.points[indices]
        return known[known >= 0], places[known >= 0]
