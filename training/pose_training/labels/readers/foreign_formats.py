"""Formats that are recognised but not read: what a file is, and the way from there to one that is read."""

from __future__ import annotations

import mmap
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

# What each is called, and what to do; `wanted` keys are in the JSON object, or in each entry of the list.
_CORRECT = 'import it into a labelling tool, correct it there, and export that'
_ALPHAPOSE = f'what AlphaPose found, not labels: {_CORRECT}'
_LABEL_STUDIO = {'data', 'annotations', 'completions', 'annotation_id', 'annotator'}  # keys of tasks, one at least
_VIA_3 = 'a VIA 3 project: label with VIA 2, or export CVAT or COCO'
_JSON_OBJECTS = (
    ({'people', 'version'}, f'what OpenPose found, not labels: {_CORRECT}'),
    ({'meta_info', 'instance_info'}, f'what a network of MMPose found, not labels: {_CORRECT}'),
    ({'categories', 'items'}, 'a Datumaro file: datum convert -if datumaro -i FOLDER -f coco_person_keypoints -o OUT'),
    ({'objects', 'size', 'tags'}, "a picture's labels of Supervisely: export the project as COCO Keypoints there"),
    ({'classes', 'tags'}, 'the meta.json of a Supervisely project: export the project as COCO Keypoints there'),
    ({'item', 'annotations'}, 'a Darwin file of V7: export COCO there, or: darwin convert coco'),
    ({'asset', 'regions'}, 'a VoTT file: it has no keypoints; label them in another tool'),
    ({'assets', 'visitedTags'}, 'a VoTT export: it has no keypoints; label them in another tool'),
    ({'metadata', 'instances'}, 'a SuperAnnotate file: export the project as COCO there'),
    ({'samples'}, 'a FiftyOne data set: export its keypoints from FiftyOne as COCO'),
    ({'project', 'config', 'attribute', 'file', 'metadata'}, _VIA_3),
    ({'annotations', 'skeletons', 'videos'}, 'a SLEAP project as JSON: save it in SLEAP as .slp'),
)
_JSON_LISTS = (
    ({'image_id', 'keypoints', 'score'}, f'what a network found (AlphaPose, or COCO results), not labels: {_CORRECT}'),
    ({'image_id', 'bbox', 'score'}, 'boxes that a network found, not labels: they have no keypoints'),
    ({'image_id', 'keypoints', 'box'}, _ALPHAPOSE),
    ({'image', 'joints'}, 'an MPII file: datum convert -if mpii_json -i FOLDER -f coco_person_keypoints -o OUT'),
    (
        {'tags', 'shapes', 'tracks'},
        "a backup of CVAT: export the task as 'CVAT for images 1.1' or 'COCO Keypoints 1.0'",
    ),
    ({'Label', 'External ID'}, 'an old export of Labelbox: export it again as NDJSON (Export v2)'),
    ({'label_hash', 'data_units'}, 'an Encord export: export it as COCO there'),
    ({'image', 'annotations'}, 'a CreateML file: it has boxes, no keypoints'),
)
_XML_ROOTS = {
    'annotation': 'Pascal VOC, as LabelImg writes it: it has boxes, no keypoints; label those in another tool',
    'dataset': "a file of dlib's imglab: label in another tool, or write its parts as COCO keypoints",
    'opencv_storage': 'a file of OpenCV, not of labels',
    'robot': 'a robot description (URDF), not labels',
}
_POINTS_AS_BOXES = (
    "COCO with points as boxes without size, as CVAT's 'COCO 1.0' writes them, and loses their groups: "
    "export 'CVAT for images 1.1', or label skeletons and export 'COCO Keypoints 1.0'"
)
HDF5 = b'\x89HDF\r\n\x1a\n'
SLEAP_PROJECT = b'videos_json'  # name of a data set in every SLEAP project
_DEEPLABCUT = b'df_with_missing'
_HDF5_NAMES = {
    _DEEPLABCUT: 'a table of DeepLabCut: give the .csv of the same name, which DeepLabCut writes beside it',
    b'track_occupancy': "SLEAP's analysis, the result of tracking: give the project (.slp or .pkg.slp)",
    b'nwb_version': 'an NWB file: with pip install sleap-io, sio convert FILE -o labels.slp, then give that',
    b'poseest': 'a JABS file, what a network found, not labels: correct it in SLEAP, and give its .slp',
}
_FIRST_BYTES = (
    ((b'PK\x03\x04',), 'a ZIP archive (or a spreadsheet): unpack it, and give the label file in it'),
    ((b'\x1f\x8b',), 'compressed by gzip: unpack it'),
    ((b'\x93NUMPY',), 'an array of NumPy without names of pictures and keypoints: export the labels as COCO Keypoints'),
    ((b'MATLAB 5', b'MATLAB 7'), 'a MATLAB file: export the labels from the tool that wrote it as COCO Keypoints'),
    ((b'SQLite format 3',), 'a data base: export the labels from the tool that wrote it as COCO Keypoints'),
    ((b'PAR1',), 'a Parquet file: export the labels as COCO Keypoints'),
    (
        (b'\x80\x02', b'\x80\x03', b'\x80\x04', b'\x80\x05'),
        'a Python pickle, which is not opened since it can run programs: export the labels as COCO Keypoints',
    ),
    (
        (b'\xff\xd8\xff', b'\x89PNG', b'BM', b'GIF8', b'RIFF', b'II*\0', b'MM\0*'),
        'a picture or a video: give the label file here, and the folder with the pictures with --images',
    ),
    ((b'%PDF',), 'a PDF document, not labels'),
)


def hdf5_names(stream: BinaryIO) -> list[bytes]:
    """Return those of the known names of data sets that are in an HDF5 file; any order, names are plain text there."""
    with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return [name for name in (SLEAP_PROJECT, *_HDF5_NAMES) if content.find(name) >= 0]


def name_binary(path: Path, start: bytes, inside: Sequence[bytes]) -> str | None:
    """Return what a file that is no text is, and the way out; None for text. inside : as from `hdf5_names`."""
    if start.startswith(HDF5):
        if path.stem.startswith('CollectedData'):
            inside = [_DEEPLABCUT]
        text = 'an HDF5 file of an unknown tool: export the labels as COCO Keypoints'
        return next((_HDF5_NAMES[name] for name in inside), text)
    known = next((text for first, text in _FIRST_BYTES if start.startswith(first)), None)
    if known is None and b'\0' in start and not start.startswith((b'\xff\xfe', b'\xfe\xff')):
        return 'no text: export the labels as COCO Keypoints'
    return known


def name_json(content: Any) -> str | None:
    """Return what a JSON value is, and the way out; None where it is not known."""
    if isinstance(content, dict):
        bodies = list(content.values())
        if bodies and all(isinstance(b, dict) and str(b.get('version')).startswith('AlphaPose') for b in bodies):
            return _ALPHAPOSE
        if _has_points_as_boxes(content):
            return _POINTS_AS_BOXES
        return next((text for keys, text in _JSON_OBJECTS if keys <= set(content)), None)
    if isinstance(content, list) and content and all(isinstance(entry, dict) for entry in content):
        if {'task', 'class_names'} <= set(content[0]):
            return "Ultralytics' NDJSON: convert_ndjson_to_yolo of ultralytics.data.converter makes a data.yaml of it"
        known = next((text for keys, text in _JSON_LISTS if all(keys <= set(entry) for entry in content)), None)
        unknown = 'a list of an unknown tool: export the labels as COCO Keypoints'
        return known or (None if any(map(_is_task, content)) else unknown)
    return None


def _is_task(entry: dict[str, Any]) -> bool:
    """Return whether an entry may be a task of Label Studio, also of its JSON-MIN; an empty one may."""
    return not entry or bool(_LABEL_STUDIO & set(entry)) or 'keypointlabels' in str(entry)


def _has_points_as_boxes(content: dict[str, Any]) -> bool:
    """Return whether a COCO file has boxes without size: what CVAT makes of points that belong to no skeleton."""
    categories, annotations = content.get('categories'), content.get('annotations')
    if not isinstance(categories, list) or not isinstance(annotations, list) or not annotations:
        return False
    if any(isinstance(entry, dict) and entry.get('keypoints') for entry in [*categories, *annotations]):
        return False
    boxes = [entry.get('bbox') for entry in annotations if isinstance(entry, dict)]
    return any(isinstance(box, list) and len(box) == 4 and box[2:] == [0, 0] for box in boxes)


def name_xml(tag: str) -> str:
    """Return what an XML file with this root is, and the way out."""
    return _XML_ROOTS.get(tag, f'XML of an unknown tool (<{tag[:40]}>): export the labels as COCO Keypoints')


def name_table(columns: Sequence[str]) -> str | None:
    """Return what a CSV file with these columns is, and the way out; None where it is not known."""
    names = {column.strip().lower() for column in columns}
    if {'frame_idx', 'instance.score'} <= names:
        return "SLEAP's analysis, the result of tracking: give the project (.slp or .pkg.slp)"
    if {'annotation_id', 'annotator'} <= names:
        return "Label Studio's CSV: export as JSON"
    if {'label', 'external id'} <= names:
        return 'an old export of Labelbox: export it again as NDJSON (Export v2)'
    if columns and columns[0].startswith('# Exported using VGG'):
        return _VIA_3
    if len(columns) == 1 and columns[0].count(';') > 1:
        return 'a table with semicolons: save it with commas between cells and points in numbers'
    if {'xmin', 'ymin', 'xmax', 'ymax'} <= names:
        return 'a table of boxes: it has no keypoints; label those in another tool'
    return None


def name_text(text: str) -> str | None:
    """Return what a text file of numbers is, and the way out; None where it is not known."""
    if re.match(r'\s*version:\s*1\s+n_points:', text):
        return "one picture's points (.pts), which have no names: write them as COCO keypoints"
    lines = [line.split() for line in text.splitlines() if line.strip()]
    if lines and all(len(line) == 5 and all(map(_is_number, line)) for line in lines):
        return "one picture's boxes, as LabelImg and YOLO write them: it has no keypoints; label those in another tool"
    if lines and all(len(line) >= 5 and all(map(_is_number, line)) for line in lines):
        return "one picture's labels of a YOLO data set: give its data.yaml, which says what the numbers are"
    return None


def _is_number(text: str) -> bool:
    return re.fullmatch(r'[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?', text) is not None
