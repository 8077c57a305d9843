"""Damaged files: what lies before, between and behind the damage is read, and nothing hangs."""

from __future__ import annotations

import contextlib
import os
import random
import sqlite3
import struct
from pathlib import Path

import lz4.frame
import pytest
from bag_maker import IMAGE, ROS1, TRUTH, Messages, tiny_entries, trajectory, write_bag, write_ros1_bag
from hypothesis import given, settings
from hypothesis import strategies as st
from rosbags.rosbag2 import storage_mcap

from custom_pose_ros.core.errors import DatasetError
from custom_pose_ros.core.limits import MAX_BAG_BLOCK_BYTES, MAX_BAG_BLOCK_RECORDS, MAX_SQLITE_TOPICS
from custom_pose_ros.evaluation.bags import salvage, storage
from custom_pose_ros.evaluation.bags.reader import Bag
from custom_pose_ros.evaluation.bags.salvage import scan
from custom_pose_ros.evaluation.bags.salvage_mcap import MCAP_MAGIC
from custom_pose_ros.evaluation.bags.stored import unpack, zstd
from custom_pose_ros.evaluation.notes import Notes

FRAMES = 20


@pytest.fixture(scope='module')
def files(tmp_path_factory) -> dict[str, Path]:
    """One file of each kind with the same messages."""
    folder = tmp_path_factory.mktemp('files')
    entries = tiny_entries(trajectory(FRAMES), compressed='.png')
    mcap = write_bag(folder / 'm', entries) / 'm.mcap'
    sqlite = write_bag(folder / 's', entries, 'sqlite3') / 's.db3'
    ros1 = write_ros1_bag(folder / 'r.bag', tiny_entries(trajectory(FRAMES), Messages(ROS1), '.png'))
    return {'mcap': mcap, 'sqlite3': sqlite, 'ros1': ros1}


def count(path: Path, topic: str = IMAGE + '/compressed') -> tuple[int, Notes]:
    with Bag([path]) as bag:
        return sum(m.topic.name == topic for m in bag.messages()), bag.notes


@pytest.mark.parametrize('kind', ['mcap', 'sqlite3', 'ros1'])
def test_record_by_record_gives_the_same_as_the_index(files, kind):
    notes = Notes()
    scanned = sorted((m.time_ns, m.topic.name, m.data) for m in scan(files[kind], notes))
    with Bag([files[kind]]) as bag:
        indexed = sorted((m.time_ns, m.topic.name, m.data) for m in bag.messages())
    assert scanned == indexed
    assert not notes.lines()


@pytest.mark.parametrize('kind', ['mcap', 'ros1'])
def test_a_file_cut_in_the_middle_gives_the_first_half(files, kind, tmp_path):
    data = files[kind].read_bytes()
    cut = tmp_path / files[kind].name
    cut.write_bytes(data[: len(data) // 2])

    found, notes = count(cut)

    # One chunk, whose messages lie in the order of time: half of the bytes are about half of the images.
    assert FRAMES * 0.4 <= found <= FRAMES * 0.55
    assert any('is cut off' in line for line in notes.lines(damaged=True))


def test_a_cut_sqlite_file_gives_what_its_tree_still_reaches(files, tmp_path):
    data = files['sqlite3'].read_bytes()
    cut = tmp_path / 'cut.db3'
    cut.write_bytes(data[: int(len(data) * 0.8)])

    found, notes = count(cut)

    assert found > 0
    assert any('cut.db3' in line for line in notes.lines(damaged=True))


def test_a_recording_that_was_never_closed_is_read(files, tmp_path):
    """A ROS 1 bag without an index (index_pos is 0) and an mcap without a footer, as a crash leaves them."""
    data = bytearray(files['ros1'].read_bytes())
    at = data.index(b'index_pos=') + len(b'index_pos=')
    data[at : at + 8] = bytes(8)
    crashed = tmp_path / 'crashed.bag'
    crashed.write_bytes(data)
    mcap = tmp_path / 'crashed.mcap'
    mcap.write_bytes(files['mcap'].read_bytes()[:-37])

    assert count(crashed)[0] == FRAMES
    assert 'reindex' in count(crashed)[1].lines()[0]
    assert count(mcap)[0] == FRAMES


def chunked_mcap(path: Path) -> tuple[Path, list[int]]:
    """Raw images make an mcap of several chunks; returns it and the places of its chunks."""
    file = write_bag(path, tiny_entries(trajectory(FRAMES))) / f'{path.name}.mcap'
    data, starts, position = file.read_bytes(), [], len(MCAP_MAGIC)
    while data[position] not in (0x02, 0x0F):
        if data[position] == 0x06:
            starts.append(position)
        position += 9 + struct.unpack('<Q', data[position + 1 : position + 9])[0]
    assert len(starts) >= 4
    return file, starts


def test_behind_a_damaged_chunk_reading_goes_on(tmp_path):
    file, starts = chunked_mcap(tmp_path / 'bag')
    data = bytearray(file.read_bytes())
    data[starts[1] : starts[1] + 9] = b'\xff' * 9  # neither its kind nor its length can be read
    file.write_bytes(data)

    notes = Notes()
    found = sum(message.topic.name == IMAGE for message in scan(file, notes))

    # At most the images of one chunk of 1 MB (four of 246 kB, and one on either edge) are lost.
    assert FRAMES - 6 <= found < FRAMES
    assert 'is cut off or damaged after' in notes.lines(damaged=True)[0]


def test_descriptions_lost_with_the_first_chunk_are_taken_from_the_summary(tmp_path):
    file, starts = chunked_mcap(tmp_path / 'bag')
    data = bytearray(file.read_bytes())
    data[starts[0] : starts[0] + 9] = b'\xff' * 9  # schemas and channels lie in the first chunk
    file.write_bytes(data)

    names = [message.topic.name for message in scan(file, Notes())]
    assert names.count(IMAGE) >= FRAMES - 6
    assert TRUTH in names


def test_nothing_is_read_twice_when_the_index_fails_in_the_middle(files, tmp_path):
    from custom_pose_ros.evaluation.bags.storage import StorageFile

    class Failing(StorageFile):
        def _indexed_messages(self, *args):
            for number, message in enumerate(super()._indexed_messages(*args)):
                if number == 25:
                    raise KeyError('damage')
                yield message

    with Failing(files['mcap'], Notes()) as broken, StorageFile(files['mcap'], Notes()) as whole:
        names = {topic.name for topic in whole.topics()}
        pairs = zip(broken.messages(names), whole.messages(names), strict=True)
        assert all((a.topic.name, a.time_ns, a.data) == (b.topic.name, b.time_ns, b.data) for a, b in pairs)
        assert not broken.indexed


@pytest.mark.timeout(60)
def test_a_tree_that_runs_in_circles_ends(files, tmp_path):
    """Random damage to the pages of sqlite files; each is given up in bounded time."""
    source = files['sqlite3'].read_bytes()
    for seed in range(15):
        rng, data = random.Random(seed), bytearray(source)
        for _ in range(rng.randrange(1, 300)):
            data[rng.randrange(4096, len(data))] = rng.randrange(256)
        broken = tmp_path / 'broken.db3'
        broken.write_bytes(data)
        assert count(broken)[0] <= FRAMES + 1


def test_a_file_of_another_kind_is_named(tmp_path):
    path = tmp_path / 'x.mcap'
    path.write_bytes(b'hello' * 100)
    notes = Notes()
    assert list(scan(path, notes)) == []
    (line,) = notes.lines(damaged=True)
    assert 'x.mcap' in line and 'neither' in line


@settings(max_examples=60, deadline=None)
@given(data=st.binary(max_size=400), magic=st.sampled_from([MCAP_MAGIC, b'#ROSBAG V2.0\n', b'']))
def test_any_bytes_are_read_without_an_exception(tmp_path_factory, data, magic):
    path = tmp_path_factory.mktemp('wild') / 'wild.mcap'
    path.write_bytes(magic + data)
    assert isinstance(list(scan(path, Notes())), list)


@settings(max_examples=40, deadline=None)
@given(cut=st.integers(0, 2000), compression=st.sampled_from(['zstd', 'lz4', 'bz2', 'none', 'unknown']))
def test_a_cut_block_gives_a_prefix_of_what_it_held(cut, compression):
    import bz2

    import lz4.frame
    from backports import zstd

    content = bytes(random.Random(1).randbytes(700)) * 3
    pack = {'zstd': zstd.compress, 'lz4': lz4.frame.compress, 'bz2': bz2.compress}.get(compression, bytes)
    assert content.startswith(unpack(pack(content)[:cut], compression)[0])
    if compression != 'unknown':
        assert unpack(pack(content), compression) == (content, True)
        assert unpack(pack(content)[:-1], compression)[1] == (compression == 'none')


def mcap_record(kind: int, *fields: bytes) -> bytes:
    content = b''.join(fields)
    return struct.pack('<BQ', kind, len(content)) + content


def mcap_text(text: str) -> bytes:
    return struct.pack('<I', len(text)) + text.encode()


def test_a_ros1_recording_in_an_mcap_is_read(tmp_path):
    """As converters write it: profile, encoding and definitions of ROS 1, no index."""
    entries = [e for e in tiny_entries(trajectory(FRAMES), Messages(ROS1)) if e[0] == TRUTH]
    kind = entries[0][1]
    definition = mcap_text(ROS1.generate_msgdef(kind)[0])
    records = [
        mcap_record(0x01, mcap_text('ros1'), mcap_text('a converter')),
        mcap_record(
            0x03, struct.pack('<H', 1), mcap_text('geometry_msgs/PoseStamped'), mcap_text('ros1msg'), definition
        ),
        mcap_record(0x04, struct.pack('<HH', 1, 1), mcap_text(TRUTH), mcap_text('ros1'), struct.pack('<I', 0)),
    ]
    for _, _, time_ns, message in entries:
        data = bytes(ROS1.serialize_ros1(message, kind))
        records.append(mcap_record(0x05, struct.pack('<HIQQ', 1, 0, time_ns, time_ns), data))
    file = tmp_path / 'old.mcap'
    file.write_bytes(MCAP_MAGIC + b''.join(records) + mcap_record(0x0F, struct.pack('<I', 0)))
    with Bag([file]) as bag:
        read = [(m.time_ns, bag.decode(m).pose.position.x) for m in bag.messages([TRUTH])]
    assert read == [(time_ns, message.pose.position.x) for _, _, time_ns, message in entries]
    (line,) = bag.notes.lines()
    assert 'old.mcap' in line and "profile 'ros1'" in line
    assert not bag.notes.damaged


def bomb(path: Path, compression: str, inside: bytes, stated: int) -> Path:
    """Write an mcap with one compressed chunk that holds `inside` and states its size as `stated`."""
    packed = {'zstd': zstd.compress, 'lz4': lz4.frame.compress}[compression](inside)
    name = compression.encode()
    chunk = struct.pack('<QQQII', 0, 0, stated, 0, len(name)) + name + struct.pack('<Q', len(packed)) + packed
    header = struct.pack('<I', 4) + b'ros2' + struct.pack('<I', 0)
    records = b''.join(
        bytes([kind]) + struct.pack('<Q', len(content)) + content
        for kind, content in [(1, header), (6, chunk), (0x0F, bytes(4)), (2, bytes(20))]
    )
    path.write_bytes(MCAP_MAGIC + records + MCAP_MAGIC)
    return path


@pytest.mark.parametrize('compression', ['zstd', 'lz4'])
def test_a_chunk_that_unpacks_to_more_than_it_says_is_left_out(compression, tmp_path):
    path = bomb(tmp_path / 'a.mcap', compression, bytes(1 << 22), 1 << 20)
    found, notes = count(path)
    assert found == 0
    assert any('damaged chunk' in line for line in notes.lines(damaged=True))


@pytest.mark.parametrize('record', [bytes(9), b'\x80' + bytes(8)], ids=['zeros', 'empty records of a private kind'])
def test_a_chunk_of_more_records_than_anybody_writes_is_left(record, tmp_path):
    inside = record * (MAX_BAG_BLOCK_RECORDS + 10)
    path = bomb(tmp_path / 'a.mcap', 'zstd', inside, len(inside))
    found, notes = count(path)
    assert found == 0
    assert any('the chunk at byte' in line for line in notes.lines(damaged=True))
    with pytest.raises(ValueError, match='records do not fit'):
        storage_mcap.decompress(zstd.compress(inside), 'zstd', len(inside), 0)


@pytest.mark.parametrize('magic', [MCAP_MAGIC, b'#ROSBAG V2.0\n'], ids=['mcap', 'ros1'])
def test_a_sparse_file_is_not_walked_to_its_end(magic, tmp_path):
    """Of 12 GB of zeros, each 8 or 9 bytes are an empty record; half an hour of them."""
    path = tmp_path / 'sparse'
    path.write_bytes(magic)
    os.truncate(path, 12 << 30)
    notes = Notes()
    assert list(scan(path, notes)) == []
    assert any('is cut off or damaged after' in line for line in notes.lines(damaged=True))


def test_of_very_many_topics_those_with_messages_are_read(files, tmp_path):
    path = tmp_path / 'a.db3'
    path.write_bytes(files['sqlite3'].read_bytes())
    with contextlib.closing(sqlite3.connect(path)) as database:
        names = [row[1] for row in database.execute('PRAGMA table_info(topics)') if row[1] not in ('id', 'name')]
        rest = ', '.join(names)
        numbers = f'WITH RECURSIVE r(i) AS (SELECT 100 UNION ALL SELECT i + 1 FROM r LIMIT {MAX_SQLITE_TOPICS})'
        database.execute(
            f'INSERT INTO topics(id, name, {rest}) SELECT * FROM ({numbers} SELECT i, "/x" || i FROM r), '
            f'(SELECT {rest} FROM topics LIMIT 1)'
        )
        database.commit()
    found, notes = count(path)
    assert found == FRAMES
    assert any('it has more than 10000 topics' in line for line in notes.lines(damaged=True))


def test_a_summary_of_zeros_is_not_walked_to_its_end(tmp_path):
    path = tmp_path / 'a.mcap'
    footer = b'\x02' + struct.pack('<QQQI', 20, 20, 0, 0) + MCAP_MAGIC
    path.write_bytes(MCAP_MAGIC + bytes(12))
    os.truncate(path, MAX_BAG_BLOCK_BYTES - 100)
    with path.open('ab') as file:
        file.write(footer)
    assert list(scan(path, Notes())) == []


def test_rosbags_unpacks_no_more_than_the_index_states(tmp_path):
    for name in ('zstd', 'lz4'):
        packed = {'zstd': zstd.compress, 'lz4': lz4.frame.compress}[name](bytes(1 << 22))
        with pytest.raises(ValueError, match='more than 1000 bytes unpacked'):
            storage_mcap.DECOMPRESSORS[name](packed, 1000)
        with pytest.raises(ValueError, match='more than 268435456 bytes unpacked|records do not fit'):
            storage_mcap.DECOMPRESSORS[name](packed, 1 << 40)


def test_a_packed_file_is_unpacked_as_far_as_a_recording_would_go(files, tmp_path, monkeypatch):
    monkeypatch.setattr(storage, 'MAX_UNPACKED_BYTES', 1 << 20)
    monkeypatch.setattr(storage, 'MAX_UNPACKED_RATIO', 1)
    packed = tmp_path / 'a.mcap.zstd'
    packed.write_bytes(zstd.compress(files['mcap'].read_bytes() + bytes(1 << 24)))
    _, notes = count(packed)
    assert any('is larger than a recording would be' in line for line in notes.lines(damaged=True))


ENDLESS = 'WITH RECURSIVE r(id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM r)'


@pytest.mark.parametrize(
    'change',
    [
        f'ALTER TABLE messages RENAME TO m; CREATE VIEW messages AS {ENDLESS} '
        'SELECT id, 1 AS topic_id, id AS timestamp, zeroblob(10) AS data FROM r',
        f'ALTER TABLE topics RENAME TO t; CREATE VIEW topics AS {ENDLESS} SELECT id, "/a" AS name, "b" AS type FROM r',
        f'DROP TABLE schema; CREATE VIEW schema AS {ENDLESS} SELECT id AS schema_version FROM r',
        'ALTER TABLE messages ADD COLUMN more BLOB GENERATED ALWAYS AS (zeroblob(900000000))',
    ],
    ids=['messages', 'topics', 'schema', 'computed column'],
)
def test_a_view_that_never_ends_is_no_bag(change, files, tmp_path):
    path = tmp_path / 'a.db3'
    path.write_bytes(files['sqlite3'].read_bytes())
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.executescript(change)
    found, notes = count(path)
    assert found == 0
    assert any('is no table as rosbag2 writes it' in line for line in notes.lines(damaged=True))


def test_a_tree_with_more_rows_than_the_file_has_bytes_is_not_walked_to_its_end(files, tmp_path):
    """Eleven pages name the next one fifty times each, and so stand for 50^11 rows."""
    path = tmp_path / 'a.db3'
    path.write_bytes(files['sqlite3'].read_bytes())
    with contextlib.closing(sqlite3.connect(path)) as database:
        ((root,),) = database.execute("SELECT rootpage FROM sqlite_master WHERE name = 'messages'").fetchall()
    data = bytearray(path.read_bytes())
    page_bytes = int.from_bytes(data[16:18], 'big')
    pages = len(data) // page_bytes
    leaf = next(i for i in range(2, pages) if data[i * page_bytes] == 0x0D) + 1
    data[(root - 1) * page_bytes : root * page_bytes] = tree_page(page_bytes, pages + 1)
    for i in range(1, 11):
        data += tree_page(page_bytes, pages + 1 + i if i < 10 else leaf)
    data[28:32] = struct.pack('>I', pages + 10)
    path.write_bytes(data)

    with pytest.raises(sqlite3.OperationalError, match='interrupted'):
        salvage.check_sqlite(path)
    _, notes = count(path)
    assert any('its index cannot be used (interrupted)' in line for line in notes.lines(damaged=True))


def tree_page(size: int, child: int, children: int = 50) -> bytes:
    """Return an interior page of a table (SQLite file format, section 1.6) that names one page again and again."""
    cells = (struct.pack('>I', child) + b'\x7f') * children
    starts = [size - len(cells) + 5 * i for i in range(children)]
    head = struct.pack('>BHHHBI', 5, 0, children, starts[0], 0, child) + struct.pack(f'>{children}H', *starts)
    return head + bytes(size - len(head) - len(cells)) + cells


@pytest.mark.parametrize('name', ['a#b', 'a?b', 'a%20b', 'a%b', os.fsdecode(b'a\xff'), 'a b', '\u00b2', 'a\nb'])
@pytest.mark.parametrize('kind', ['sqlite3', 'mcap', 'ros1'])
def test_a_bag_may_have_any_name(name, kind, files, tmp_path):
    folder = tmp_path / name
    folder.mkdir()
    path = folder / (name + files[kind].suffix)
    path.write_bytes(files[kind].read_bytes())
    found, notes = count(path)
    assert (found, notes.lines()) == (FRAMES, [])
    assert count(folder)[0] == FRAMES
    assert len([m for m in scan(path, notes) if m.topic.name == IMAGE + '/compressed']) == FRAMES


@pytest.mark.parametrize('kind', ['indexed', 'scanned'])
def test_endless_yaml_of_the_quality_of_service_is_not_read(kind, files, tmp_path):
    """Forty aliases of each other, seven lines of which fill the memory when they are written out."""
    lines = ['- &a0 {history: 1}'] + [f'- &a{i} [{", ".join([f"*a{i - 1}"] * 10)}]' for i in range(1, 40)]
    path = tmp_path / 'a.db3'
    path.write_bytes(files['sqlite3'].read_bytes())
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute('UPDATE topics SET offered_qos_profiles = ?', ('\n'.join(lines),))
        database.commit()
    if kind == 'scanned':
        assert {message.topic.qos for message in scan(path, Notes())} == {()}
    else:
        assert (count(path)[0], count(path)[1].lines()) == (FRAMES, [])


def test_a_pipe_named_like_a_part_of_a_bag_holds_nobody_up(files, tmp_path):
    os.mkfifo(tmp_path / 'metadata.yaml')
    os.mkfifo(tmp_path / 'b.mcap')
    (tmp_path / 'a.mcap').write_bytes(files['mcap'].read_bytes())
    found, notes = count(tmp_path)
    assert found == FRAMES
    assert any('metadata.yaml is damaged' in line for line in notes.lines(damaged=True))
    with pytest.raises(DatasetError, match='is not a bag'):
        count(tmp_path / 'b.mcap')
