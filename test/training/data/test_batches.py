"""Batches: the order of the images, shared memory, the parts of several processes."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from training_samples import batch_of

from training.pose_training.data.batches import TicketBatches, affordable_workers, size_of_batch


def batches(count, *arguments, **options):
    return list(itertools.islice(TicketBatches(*arguments, **options), count))


def test_every_image_comes_once_before_any_comes_again():
    tickets = [t for batch in batches(6, [12], [1.0], 4) for t in batch]
    assert sorted(t.image for t in tickets[:12]) == list(range(12))
    assert sorted(t.image for t in tickets[12:]) == list(range(12))
    assert [t.number for t in tickets] == list(range(24))


def test_sources_are_mixed_by_weight():
    tickets = [t for batch in batches(250, [100, 3], [0.9, 0.1], 8) for t in batch]
    share = np.mean([t.source == 1 for t in tickets])
    assert share == pytest.approx(0.1, abs=0.033)  # five sigma of 2000 draws


def test_a_resumed_stream_goes_on_where_it_was():
    whole = batches(10, [12, 5], [1, 1], 4, seed=7)
    assert batches(6, [12, 5], [1, 1], 4, seed=7, first=4) == whole[4:]


def test_several_processes_share_the_stream():
    whole = batches(4, [12], [1.0], 8)
    parts = [batches(4, [12], [1.0], 4, rank=rank, world=2) for rank in range(2)]
    for number in range(4):
        assert sorted(parts[0][number] + parts[1][number]) == sorted(whole[number])


@pytest.mark.parametrize('weights', [[1.0], [0.0, 0.0], [-1.0, 2.0]])
def test_wrong_weights_are_refused(weights):
    with pytest.raises(ValueError, match='weights must be 2 numbers'):
        TicketBatches([3, 3], weights, 4)


@pytest.mark.parametrize(
    ('workers', 'megabytes', 'wanted'),
    [(4, 2, (4, 2)), (4, 8, (4, 1)), (4, 12, (2, 1)), (4, 30, (0, None)), (0, 1, (0, None))],
)
def test_workers_leave_room_in_shared_memory(workers, megabytes, wanted):
    assert affordable_workers(workers, megabytes * 1e6) == wanted


def test_the_size_of_a_batch_is_that_of_its_arrays(dots_folder, dots):
    assert size_of_batch(dots, 8, 64) == sum(part.nbytes for part in batch_of(dots_folder, dots, 8))
