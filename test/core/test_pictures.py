"""Picture files: pixels by value, all orientations of EXIF, cut and damaged files told with their name."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from picture_files import picture, with_orientation

from custom_pose_ros.core.errors import MediaError
from custom_pose_ros.core.pictures import read_image, read_picture


@pytest.mark.parametrize(
    'encode',
    [
        lambda image: image,
        lambda image: np.dstack([image, np.full(image.shape[:2], 9, np.uint8)]),
        lambda image: image.astype(np.uint16) * 257,
    ],
    ids=['bgr', 'alpha', '16 bit'],
)
def test_pictures_are_8_bit_bgr(tmp_path, encode):
    image = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    cv2.imwrite(str(tmp_path / 'a.png'), encode(image))
    read = read_image(tmp_path / 'a.png')
    assert read.dtype == np.uint8
    assert np.array_equal(read, image)  # PNG is lossless; 257 v of 65535 is v of 255


@pytest.mark.parametrize('name', ['depth.png', 'depth.tif', 'depth.pgm'])
def test_a_depth_image_is_no_picture(tmp_path, name):
    cv2.imwrite(str(tmp_path / name), np.full((20, 30), 800, np.uint16))
    with pytest.raises(MediaError, match=rf'{name}: has 16 bits of grey, as depth images have'):
        read_picture(tmp_path / name)
    cv2.imwrite(str(tmp_path / 'depth.tif'), np.full((20, 30, 3), 0.8, np.float32))
    with pytest.raises(MediaError, match=r'depth\.tif: has float32 numbers'):
        read_picture(tmp_path / 'depth.tif')


@pytest.mark.parametrize('name', ['a.png', 'a.tif', 'a.ppm'])
def test_a_16_bit_picture_that_holds_fewer_bits_is_refused_instead_of_read_nearly_black(tmp_path, name):
    image = np.random.default_rng(0).integers(0, 4096, (20, 30, 3), np.uint16)
    image[0, 0] = 4095
    cv2.imwrite(str(tmp_path / name), image)
    with pytest.raises(MediaError, match=f'{name}: has 16 bits, but 4095 of 65535 .* save it with 8 bits, stretched'):
        read_picture(tmp_path / name)
    cv2.imwrite(str(tmp_path / name), image * 8)  # 15 bits: darker, and a picture
    assert read_image(tmp_path / name).max() == 127


# Where the corner between the first row and the first column of the file is on the turned picture (EXIF 2.3, 4.6.4).
CORNERS = {1: (0, 0), 2: (0, -1), 3: (-1, -1), 4: (-1, 0), 5: (0, 0), 6: (0, -1), 7: (-1, -1), 8: (-1, 0)}


@pytest.mark.parametrize('orientation', range(1, 9))
@pytest.mark.parametrize('suffix', ['.jpg', '.png', '.webp'])
def test_every_orientation_is_obeyed_in_every_format(tmp_path, orientation, suffix):
    image = np.full((40, 80, 3), 128, np.uint8)
    image[:20, :20] = 255
    image[:20, 60:] = 0  # the other end of the first row
    path = tmp_path / f'a{suffix}'
    path.write_bytes(with_orientation(cv2.imencode(suffix, image)[1].tobytes(), orientation))
    read = read_picture(path)
    assert read.orientation == orientation
    assert read.stored.shape == (40, 80, 3)
    assert read.upright.shape == ((40, 80, 3) if orientation < 5 else (80, 40, 3))
    row, column = (5 if place == 0 else -5 for place in CORNERS[orientation])
    assert read.upright[row, column].min() > 240  # white
    dark = (row, -column) if orientation < 5 else (-row, column)
    assert read.upright[dark].max() < 15  # along the first row of the file


def test_an_exif_note_that_is_damaged_turns_nothing(tmp_path):
    jpeg = with_orientation(picture('.jpg'), 6)
    at = jpeg.index(b'II*')
    for damaged in (jpeg[: at + 4] + b'\xff' * 4 + jpeg[at + 8 :], jpeg[: at + 18] + b'\x63\0' + jpeg[at + 20 :]):
        (tmp_path / 'a.jpg').write_bytes(damaged)
        assert read_picture(tmp_path / 'a.jpg').orientation == 1


@pytest.mark.parametrize('share', [0.3, 0.5, 0.97])
@pytest.mark.parametrize(
    ('suffix', 'text'),
    [
        ('.jpg', r'is cut off \(the JPEG has no end\); copy the file again'),
        ('.png', r'is cut off \(the PNG has no end\)'),
        ('.webp', r'is cut off \(the WebP has [0-9]+ of [0-9]+ bytes\)'),
        ('.bmp', 'is damaged or not an image'),
        ('.ppm', 'is damaged or not an image'),
    ],
)
def test_a_cut_picture_is_refused_without_a_word_of_the_decoder(tmp_path, capfd, suffix, text, share):
    data = picture(suffix)
    path = tmp_path / f'a{suffix}'
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(MediaError, match=rf'a\{suffix}: {text}'):
        read_image(path)
    assert capfd.readouterr().err == ''


def test_a_jpeg_whose_rest_is_zeros_is_cut_too(tmp_path):
    """As a download that was given its full size at the start leaves it."""
    data = picture('.jpg')
    (tmp_path / 'a.jpg').write_bytes(data[: len(data) // 2] + bytes(len(data) - len(data) // 2))
    with pytest.raises(MediaError, match='is cut off'):
        read_image(tmp_path / 'a.jpg')


@pytest.mark.parametrize(
    ('name', 'content', 'text'),
    [
        ('head.jpg', b'\xff\xd8\xff', 'is cut off'),
        ('text.jpg', b'hello', 'is damaged or not an image'),
        ('empty.png', b'', 'is empty'),
        ('lfs.jpg', b'version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n', 'is a git-lfs pointer'),
        ('phone.jpg', b'\0\0\0\x18ftypheic\0\0\0\0', 'is HEIC, AVIF or a video, whatever its name says: convert it'),
        ('large.bmp', b'BM' + struct.pack('<IIIIiiHH', 99, 0, 54, 40, 2**30, 2**30, 1, 24) + bytes(28), 'is damaged'),
    ],
)
def test_what_is_no_picture_is_named(tmp_path, capfd, name, content, text):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(MediaError, match=f'{name}: {text}'):
        read_image(tmp_path / name)
    assert capfd.readouterr().err == ''


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(MediaError, match=r'gone.png: cannot be read \(No such file or directory\)'):
        read_image(tmp_path / 'gone.png')


def damaged_inside(path: Path) -> Path:
    data = bytearray(picture('.jpg'))
    for i in range(len(data) // 2, len(data) // 2 + 20):
        data[i] ^= 0x5A
    path.write_bytes(data)
    return path


def test_a_jpeg_that_is_damaged_inside_is_read_and_told_once_by_name(tmp_path, capfd):
    path = damaged_inside(tmp_path / 'scratched.jpg')
    for _ in range(3):
        assert read_image(path).shape == (120, 160, 3)
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith(f'warning: {path}: is damaged inside (Corrupt JPEG data: ')
    assert read_picture(path).damage.startswith('Corrupt JPEG data')


def test_a_png_that_is_damaged_inside_is_refused_without_a_word_of_the_decoder(tmp_path, capfd):
    data = bytearray(picture('.png'))
    data[len(data) // 2] ^= 0x5A
    (tmp_path / 'a.png').write_bytes(data)
    with pytest.raises(MediaError, match='is damaged'):
        read_image(tmp_path / 'a.png')
    assert capfd.readouterr().err == ''


def test_harmless_remarks_of_a_decoder_are_no_damage(tmp_path, capfd):
    data = picture('.png')
    chunk = b'sRGB\x09'  # an intent that does not exist; libpng warns
    data = data[:33] + struct.pack('>I', 1) + chunk + struct.pack('>I', zlib.crc32(chunk)) + data[33:]
    (tmp_path / 'a.png').write_bytes(data)
    assert read_image(tmp_path / 'a.png').shape == (120, 160, 3)
    assert capfd.readouterr().err == ''


def test_jpeg_with_data_after_its_end_is_read(tmp_path):
    (tmp_path / 'motion.jpg').write_bytes(picture('.jpg') + b'\xff\xda trailing film of a phone')
    assert read_image(tmp_path / 'motion.jpg').shape == (120, 160, 3)


def test_non_ascii_names_are_read(tmp_path):
    path = tmp_path / 'Unterwasser-Fähre 潜水艇.png'
    path.write_bytes(picture('.png'))
    assert read_image(path).shape == (120, 160, 3)
