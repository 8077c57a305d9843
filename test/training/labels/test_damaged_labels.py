"""Real exports and 500 damaged files: sound, repaired, or refused in one line that names the file."""

from __future__ import annotations

import json
import random
from pathlib import Path

import cv2
import pytest
from label_files import DEEPLABCUT, coco, label_studio_task, picture

from training.prepare_dataset import main


def values_of(content):
    """Every place (container, key) of a JSON value."""
    for key in list(content) if isinstance(content, dict) else range(len(content)):
        yield content, key
        if isinstance(content[key], (dict, list)):
            yield from values_of(content[key])


def damaged(text: str, numbers: random.Random) -> bytes:
    """Return the file with one to three faults: letters replaced, the end cut off, values exchanged or removed."""
    swaps = ['null', '-1', '"x"', '[]', '{}', '1e999', 'NaN', 'true', '[[[]]]', '"\\u0000"', '"\\ud800"', '', ',', '\n']
    values = [None, -1, 'x', [], {}, 1e308, 10**30, True, [[]], '\0', '', 1, 2.5, 'a.jpg', '..', '/', [None], 'é' * 999]
    for _ in range(numbers.randint(1, 3)):
        fault = numbers.random()
        if fault < 0.5 and text.startswith(('{', '[')):
            try:
                content = json.loads(text)
            except ValueError:
                continue
            if places := list(values_of(content)) if isinstance(content, (dict, list)) else []:
                place, key = numbers.choice(places)
                place[key] = numbers.choice(values)
                if numbers.random() < 0.3:
                    del place[key]
            text = json.dumps(content)
        elif fault < 0.85:
            start = numbers.randrange(len(text) + 1)
            text = text[:start] + numbers.choice(swaps) + text[start + numbers.randint(1, 12) :]
        else:
            text = text[: numbers.randrange(len(text) + 1)]
    content = bytearray(text.encode())
    if content and numbers.random() < 0.1:
        content[numbers.randrange(len(content))] = numbers.randrange(256)
    return bytes(content)


def assert_500_damaged_files_are_answered(folder: Path, originals: list[tuple[str, str]], capsys) -> None:
    """Run the command on damaged files: it ends well, or with one line that names the file; never otherwise."""
    numbers, ends = random.Random(0), []
    for number in range(500):
        name, text = originals[number % len(originals)]
        (folder / name).write_bytes(damaged(text, numbers))
        way = ['--check'] if number % 5 else ['--out', str(folder / f'out{number}')]  # to write takes most of the time
        path = folder / 'data.yaml' if name.endswith('.txt') else folder / name
        ends.append(main([str(path), '--images', str(folder / 'photos'), *way, '--leave-out']))
        shown = capsys.readouterr()
        (shown.out + shown.err).encode()
        if ends[-1]:
            assert shown.err.count('\n') == 1
            assert shown.err.startswith(f'error: {path}: ')
    assert ends.count(1) > 100  # the damage was felt
    assert ends.count(0) > 20  # and not every file was refused at its first letter


def test_500_damaged_files_of_each_format_never_end_in_a_traceback(tmp_path, capsys):
    for i, name in enumerate(('a.jpg', 'clip/img001.png', 'clip/img002.png', 'clip/img003.png')):
        picture(tmp_path / 'photos' / name, 99, 99, seed=i)
    points = {'keypoints': [1, 1, 2, 5, 5, 2]}
    cvat = coco([('a.jpg', 99, 99)], [{'image_id': 1, **points, 'segmentation': [], 'attributes': {'occluded': False}}])
    cvat.update(licenses=[{'name': '', 'id': 0, 'url': ''}], info={'year': ''})
    originals = [
        ('labels.json', json.dumps(cvat)),
        ('labels.json', json.dumps([label_studio_task('a.jpg', ('head', 1, 1), ('tail', 2, 2), parent=['r', 'r'])])),
        ('table.csv', DEEPLABCUT),
    ]
    assert_500_damaged_files_are_answered(tmp_path, originals, capsys)


def test_500_damaged_files_of_other_tools_never_end_in_a_traceback(tmp_path, capsys):
    for i, name in enumerate('abc'):
        picture(tmp_path / 'photos' / f'{name}.jpg', 99, 99, seed=i)
    places = {'head': (30, 40), 'tail': (50, 60)}
    points = ''.join(f'<points label="{n}" outside="0" occluded="1" points="{x},{y}"/>' for n, (x, y) in places.items())
    boxes = '<box label="fish" xtl="1" ytl="1" xbr="60" ybr="70" group_id="1"/>'
    cvat = '<annotations><image id="0" name="a.jpg" width="99" height="99">{}</image></annotations>'
    track = f'<track id="0" label="fish"><skeleton frame="0" keyframe="1">{points}</skeleton></track>'
    shapes = [{'label': n, 'points': [p], 'group_id': 1, 'shape_type': 'point'} for n, p in places.items()]
    via = {
        f'{picture_name}1': {
            'filename': picture_name,
            'regions': [
                {'shape_attributes': {'name': 'point', 'cx': x, 'cy': y}, 'region_attributes': {'kp': n}}
                for n, (x, y) in places.items()
            ],
        }
        for picture_name in ('a.jpg', 'b.jpg')
    }
    row = '"{""name"":""point"",""cx"":30,""cy"":40}","{""kp"":""head""}"'
    objects = [{'name': n, 'point': {'x': x, 'y': y}} for n, (x, y) in places.items()]
    labelbox = json.dumps({
        'data_row': {'id': '1', 'external_id': 'a.jpg'},
        'projects': {'p': {'labels': [{'annotations': {'objects': objects}}]}},
    })
    yaml = 'kpt_shape: [2, 3]\nflip_idx: [1, 0]\nnames: {0: fish}\ntrain: photos\n'
    (tmp_path / 'data.yaml').write_text(yaml)
    originals = [
        ('photos/a.txt', '0 0.5 0.5 0.2 0.2 0.4 0.4 2 0.5 0.6 1\n0 0.5 0.5 0.2 0.2\n'),
        ('labelme.json', json.dumps({'shapes': shapes, 'imagePath': 'a.jpg', 'imageWidth': 99, 'imageHeight': 99})),
        ('via.json', json.dumps(via)),
        ('via.csv', f'filename,region_shape_attributes,region_attributes\na.jpg,{row}\nb.jpg,{row}\n'),
        ('labelbox.ndjson', f'{labelbox}\n{labelbox.replace("a.jpg", "b.jpg")}\n'),
        ('cvat.xml', cvat.format(f'<skeleton label="fish">{points}</skeleton>') + '\n'),
        ('points.xml', cvat.format(points + boxes)),
        ('video.xml', f'<annotations><meta><task><source>a.mp4</source></task></meta>{track}</annotations>'),
    ]
    (tmp_path / 'frame_000000.jpg').write_bytes((tmp_path / 'photos/a.jpg').read_bytes())
    (tmp_path / 'other').mkdir()
    originals.append(('other/data.yaml', yaml.replace('photos', '../photos')))
    assert_500_damaged_files_are_answered(tmp_path, originals, capsys)


@pytest.fixture
def real_exports(shared, tmp_path) -> list[Path]:
    """The exports of coco-annotator as people made them; pictures of their size are in tmp_path/photos."""
    exports = sorted((shared / 'data' / 'coco_annotator_exports').glob('*.json'))
    assert len(exports) >= 9
    for export in exports:
        for image in json.loads(export.read_text())['images']:
            picture(tmp_path / 'photos' / export.stem / image['file_name'], image['width'], image['height'])
    return exports


def test_500_damaged_real_exports_never_end_in_a_traceback(real_exports, tmp_path, capsys):
    (tmp_path / 'photos').rename(tmp_path / 'by_export')
    for i, path in enumerate(sorted((tmp_path / 'by_export').glob('fenicotteri*/*.jpg'))):
        picture(tmp_path / 'photos' / path.name, *cv2.imread(str(path)).shape[1::-1], seed=i)
    assert_500_damaged_files_are_answered(
        tmp_path, [('labels.json', export.read_text()) for export in real_exports], capsys
    )


def test_every_real_export_loads_or_is_refused_in_one_line(real_exports, tmp_path, capsys):
    refused = []
    for export in real_exports:
        arguments = [str(export), '--images', str(tmp_path / 'photos' / export.stem), '--check']
        end, shown = main(arguments), capsys.readouterr()
        if end:
            refused.append(export.stem)
            assert shown.err.count('\n') == 1
            assert shown.err.startswith(f'error: {export}: ')
        else:
            assert 'sound images: 1 of 1' in shown.out or 'sound images: 3 of 3' in shown.out
    assert refused == ['testonekey-133']  # six keypoints for two names; the rest is sound or repaired with certainty
