"""Opening movies and sequences: numbers, orientation, depths of colour, damage."""

from __future__ import annotations

import struct
import threading

import cv2
import numpy as np
import pytest

from solver.clip import open_clip
from solver.errors import EXIT_INPUT, HoldfastError
from solver.image_headers import read_image_header
from solver.metadata import focal_prior_px, image_lens_tags, movie_lens_tags, sensor_width_mm
from solver.mp4_atoms import read_movie_tags
from tests.io_synthetic import add_exif, exif_block, picture, rotate_by_metadata, write_movie, write_odd_avi


class Notes:
    """Collects warnings."""

    def __init__(self):
        self.codes = []

    def __call__(self, *_):
        pass

    def warn(self, code, message):
        self.codes.append(code)


def bar(image: np.ndarray) -> int:
    """The number that `picture` wrote."""
    return int(image[-2, :, 1].astype(int).argmax()) // 4


def code_of(*args, **kwargs) -> str:
    with pytest.raises(HoldfastError) as caught:
        open_clip(*args, **kwargs)
    assert caught.value.exit_code == EXIT_INPUT
    assert caught.value.hint and "\n" not in caught.value.message
    return caught.value.code


@pytest.fixture(scope="module")
def movie(tmp_path_factory):
    return write_movie(tmp_path_factory.mktemp("movie") / "shot.mp4", 20)


def write_sequence(folder, numbers, suffix="png", prefix="shot.", digits=4, size=(160, 96), convert=lambda image: image):
    folder.mkdir(exist_ok=True)
    for n in numbers:
        assert cv2.imwrite(str(folder / f"{prefix}{n:0{digits}d}.{suffix}"), convert(picture(n % 30, size)))
    return folder


def test_movie_counts_from_zero_and_reads_any_frame(movie):
    clip = open_clip(str(movie))
    assert (clip.info.width, clip.info.height, clip.info.fps) == (160, 96, 25.0)
    assert clip.info.frames == tuple(range(20)) and clip.info.frame_start == 0 and not clip.info.is_sequence
    seen = dict(clip.images())
    assert list(seen) == list(range(20)) and all(bar(image) == n for n, image in seen.items())
    for n in (13, 2, 19, 0, 7):
        assert np.array_equal(clip.read(n), seen[n])


def test_range_and_step_keep_the_clips_own_numbers(movie):
    clip = open_clip(str(movie), 3, 17, 4)
    assert clip.info.frames == (3, 7, 11, 15) and clip.info.frame_count == 20
    assert [(n, bar(image)) for n, image in clip.images()] == [(3, 3), (7, 7), (11, 11), (15, 15)]
    with pytest.raises(HoldfastError):
        clip.read(4)


def test_index_and_decoding_agree_on_the_count(movie):
    trusted, counted = open_clip(str(movie)), open_clip(str(movie), exact_count=True)
    assert not trusted.counted and counted.counted and trusted.info.frames == counted.info.frames


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_rotation_metadata_is_applied_once(movie, tmp_path, degrees):
    turned = open_clip(str(rotate_by_metadata(movie, tmp_path / "turned.mp4", degrees)))
    expected = np.rot90(open_clip(str(movie)).read(5), -degrees // 90)
    assert turned.info.rotation_deg == degrees
    assert (turned.info.height, turned.info.width) == expected.shape[:2]
    assert np.array_equal(turned.read(5), expected)
    corner = {90: (0, -1), 180: (-1, -1), 270: (-1, 0)}[degrees]  # the red top-left corner, turned clockwise
    b, g, r = turned.read(0)[corner].astype(int)
    assert r > 150 and b < 90 and g < 90


def test_odd_sizes(tmp_path):
    clip = open_clip(str(write_odd_avi(tmp_path / "odd.avi", 6)))
    assert (clip.info.width, clip.info.height) == (161, 97)
    assert [bar(image) for _, image in clip.images()] == list(range(6))
    assert clip.read(0).shape == (97, 161, 3)
    folder = write_sequence(tmp_path / "odd", range(1, 5), size=(161, 97))
    assert open_clip(str(folder)).read(2).shape == (97, 161, 3)


def test_truncated_movie_uses_what_decodes(tmp_path):
    whole = write_movie(tmp_path / "whole.avi", 30, fourcc="MJPG")
    cut = tmp_path / "cut.avi"
    data = whole.read_bytes()
    cut.write_bytes(data[: int(len(data) * 0.6)])
    notes = Notes()
    clip = open_clip(str(cut), progress=notes)
    assert 10 < len(clip.info.frames) < 25 and "clip.truncated" in notes.codes
    assert len(list(clip.images())) == len(clip.info.frames)


def test_index_that_promises_more_than_decodes(movie, tmp_path):
    """Samples whose data is destroyed: the reader says so, and counting gives what is there."""
    data = bytearray(movie.read_bytes())
    start = data.index(b"mdat") + 4
    end = data.index(b"moov") - 4
    data[start + (end - start) * 3 // 4 : end] = bytes(end - start - (end - start) * 3 // 4)
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(data)
    clip = open_clip(str(broken))
    try:
        got = len(list(clip.images()))
    except HoldfastError as error:
        assert error.code == "clip.ended_early"
        counted = open_clip(str(broken), exact_count=True)
        got = len(list(counted.images()))
        assert got == len(counted.info.frames) < 20
    assert got >= 10


def test_stopping_early_ends_the_decoding_thread(movie):
    before = threading.active_count()
    images = open_clip(str(movie)).images()
    next(images)
    images.close()
    assert threading.active_count() == before


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif"])
def test_sequences_by_folder_file_and_pattern(tmp_path, suffix):
    folder = write_sequence(tmp_path / "seq", range(1001, 1007), suffix)
    names = [folder, folder / f"shot.1003.{suffix}", folder / f"shot.%04d.{suffix}", folder / f"shot.####.{suffix}"]
    for name in names:
        clip = open_clip(str(name))
        assert clip.info.frames == tuple(range(1001, 1007)) and clip.info.frame_start == 1001 and clip.info.is_sequence
    assert [n for n, _ in clip.images()] == list(range(1001, 1007))
    assert bar(clip.read(1004)) == 1004 % 30


def test_gaps_are_left_out_and_said(tmp_path):
    folder = write_sequence(tmp_path / "seq", [5, 6, 8, 9, 10, 13])
    notes = Notes()
    clip = open_clip(str(folder), progress=notes)
    assert clip.info.frames == (5, 6, 8, 9, 10, 13) and clip.info.missing == (7, 11, 12) and notes.codes == ["clip.gaps"]
    assert open_clip(str(folder), 6, 10).info.missing == (7,)


def test_regular_stride_is_not_a_gap(tmp_path):
    folder = write_sequence(tmp_path / "seq", range(0, 20, 2))
    notes = Notes()
    clip = open_clip(str(folder), step=2, progress=notes)
    assert clip.info.missing == () and clip.info.frames == (0, 4, 8, 12, 16) and notes.codes == ["clip.stride"]


def test_unpadded_numbers_and_the_larger_of_two_sequences(tmp_path):
    folder = write_sequence(tmp_path / "seq", range(8, 13), digits=1)
    write_sequence(folder, range(1, 4), prefix="other_")
    (folder / "notes.txt").write_text("x")
    notes = Notes()
    clip = open_clip(str(folder), progress=notes)
    assert clip.info.frames == (8, 9, 10, 11, 12) and notes.codes == ["clip.several"]


def test_16_bit_grey_and_alpha(tmp_path):
    plain = open_clip(str(write_sequence(tmp_path / "plain", range(3)))).read(1)
    wide = write_sequence(tmp_path / "wide", range(3), convert=lambda im: im.astype(np.uint16) * 257)
    assert np.array_equal(open_clip(str(wide)).read(1), plain)
    grey = write_sequence(tmp_path / "grey", range(3), convert=lambda im: im[..., 1])
    assert open_clip(str(grey)).read(1).shape == plain.shape

    def with_alpha(image):
        alpha = np.full(image.shape[:2], 255, np.uint8)
        alpha[:, :80] = 0
        return np.dstack([image, alpha])

    alpha = open_clip(str(write_sequence(tmp_path / "alpha", range(3), convert=with_alpha))).read(1)
    assert (alpha[:, :80] == 0).all() and np.array_equal(alpha[:, 80:], plain[:, 80:])


def test_linear_exr_has_one_exposure_for_all_frames(tmp_path):
    folder = tmp_path / "exr"
    folder.mkdir()
    for n in range(4):
        light = np.full((32, 48, 3), 0.18, np.float32)
        light[:, :8] = 0.02 + n  # something bright comes into the picture
        light[0, 40] = np.nan
        light[1, 40] = np.inf
        assert cv2.imwrite(str(folder / f"a_{n:03d}.exr"), light)
    clip = open_clip(str(folder))
    images = dict(clip.images())
    grey = images[0][16, 30]
    assert abs(int(grey[0]) - 118) <= 1  # 0.18 is 46 % in sRGB
    assert all(np.array_equal(images[n][16, 30], grey) for n in images)
    assert images[0][0, 40].max() == 0 and images[0][1, 40].min() == 255
    assert images[1][16, 2, 0] < images[3][16, 2, 0]  # beyond white there is still a difference
    dark = tmp_path / "dark"
    dark.mkdir()
    for n in range(3):
        cv2.imwrite(str(dark / f"a_{n:03d}.exr"), np.full((32, 48, 3), 0.002, np.float32))
    assert 110 < open_clip(str(dark)).read(1)[0, 0, 0] < 126


def test_exr_windows(tmp_path):
    """An overscan data window is cut to the display window, so that the picture's middle stays the lens's axis."""
    image = np.zeros((20, 30, 3), np.float32)
    image[5, 6] = 1
    for n in range(3):
        path = tmp_path / f"w.{n}.exr"
        cv2.imwrite(str(path), image)
        data = path.read_bytes()
        at = data.index(b"displayWindow\0box2i\0") + len(b"displayWindow\0box2i\0") + 4
        path.write_bytes(data[:at] + struct.pack("<4i", 4, 2, 23, 15) + data[at + 16 :])
    assert read_image_header(str(path)).display_window == (4, 2, 23, 15)
    clip = open_clip(str(tmp_path))
    assert (clip.info.width, clip.info.height) == (20, 14)
    assert clip.read(0)[3, 2].min() > 200 and (clip.read(0) > 100).sum() == 3


def test_errors_name_what_is_wrong(movie, tmp_path):
    empty, text = tmp_path / "empty.mp4", tmp_path / "notes.txt"
    empty.touch()
    text.write_text("not a film\n" * 200)
    noise = tmp_path / "noise.mp4"
    noise.write_bytes(np.random.default_rng(0).bytes(5000))
    (tmp_path / "folder").mkdir()
    assert code_of(str(tmp_path / "nothing.mp4")) == "clip.missing"
    assert code_of(str(tmp_path / "shot.%04d.png")) == "clip.missing"
    assert code_of(str(tmp_path / "folder")) == "clip.no_images"
    assert code_of(str(empty)) == "clip.empty_file"
    assert code_of(str(text)) == code_of(str(noise)) == "clip.not_a_video"
    assert code_of(str(write_movie(tmp_path / "one.mp4", 1))) == "clip.too_short"
    cv2.imwrite(str(tmp_path / "still.png"), picture(0))
    assert code_of(str(tmp_path / "still.png")) == "clip.too_short"
    for start, end in ((25, 30), (0, 20), (-3, 5), (9, 4)):
        assert code_of(str(movie), start, end) == "clip.range_outside"
    assert code_of(str(movie), 4, 5) == "clip.too_short"
    cut = tmp_path / "half.mp4"  # the index of this file stands at its end
    cut.write_bytes(movie.read_bytes()[: movie.stat().st_size // 2])
    assert code_of(str(cut)) == "clip.not_a_video"
    unknown = tmp_path / "av1.avi"  # says that it is compressed in a way that its pictures are not
    unknown.write_bytes(write_movie(tmp_path / "xvid.avi", 8, fourcc="XVID").read_bytes().replace(b"XVID", b"AV01"))
    with pytest.raises(HoldfastError, match="AV01") as raised:
        open_clip(str(unknown))
    assert raised.value.code == "clip.undecodable"


def test_bad_images_are_named(tmp_path):
    folder = write_sequence(tmp_path / "sizes", range(4))
    cv2.imwrite(str(folder / "shot.0002.png"), picture(2, (80, 48)))
    assert code_of(str(folder)) == "clip.sizes_differ"
    folder = write_sequence(tmp_path / "empty", range(4))
    (folder / "shot.0002.png").write_bytes(b"")
    assert code_of(str(folder)) == "clip.empty_file"
    folder = write_sequence(tmp_path / "damaged", range(5))
    (folder / "shot.0003.png").write_bytes((folder / "shot.0003.png").read_bytes()[:60])
    clip = open_clip(str(folder))
    with pytest.raises(HoldfastError, match="Frame 3") as caught:
        list(clip.images())
    assert caught.value.code == "clip.unreadable_image"


def test_exif_orientation_and_focal_prior(tmp_path):
    folder = write_sequence(tmp_path / "jpg", range(3), "jpg")
    for path in folder.iterdir():
        add_exif(path, exif_block(6, "Canon", "Canon EOS R5", 24.0))
    clip = open_clip(str(folder))
    assert (clip.info.width, clip.info.height) == (96, 160)
    assert clip.read(0)[2, -3, 2] > 150  # the red corner, turned clockwise
    assert clip.info.focal_px == pytest.approx(24 / 36 * 160)
    assert "EOS R5" in clip.info.focal_source
    equivalent = add_exif(
        write_sequence(tmp_path / "e", [1], "jpg") / "shot.0001.jpg", exif_block(1, focal_35mm=28, focal_mm=4.2)
    )
    prior = focal_prior_px(image_lens_tags(read_image_header(str(equivalent))), 4000, 3000)
    assert prior[0] == pytest.approx(28 / np.hypot(36, 24) * 5000) and prior[1] == "EXIF 35 mm equivalent"


def test_header_readers_agree_with_a_library(tmp_path):
    image = pytest.importorskip("PIL.Image")
    path = tmp_path / "p.jpg"
    exif = image.Exif()
    exif[0x112] = 8
    exif[0x110] = "ILCE-7M3"
    exif.get_ifd(0x8769)[0x920A] = 35.0
    image.new("RGB", (64, 48)).save(path, exif=exif)
    header = read_image_header(str(path))
    assert (header.width, header.height, header.orientation, header.model, header.focal_mm) == (64, 48, 8, "ILCE-7M3", 35.0)
    image.new("RGB", (64, 48)).save(tmp_path / "p.tif", dpi=(100, 50))
    header = read_image_header(str(tmp_path / "p.tif"))
    assert (header.width, header.height, header.pixel_aspect) == (64, 48, 0.5)


def test_sensor_table_takes_the_right_model():
    assert sensor_width_mm("NIKON CORPORATION", "NIKON Z 6_2") == 35.9
    assert sensor_width_mm("SONY", "ILCE-7M3") == 35.6
    assert sensor_width_mm("Canon", "Canon EOS R50") is None  # not an EOS R5, nor an EOS R
    assert sensor_width_mm("Canon", "Canon EOS Rebel T7") is None
    assert sensor_width_mm("NIKON CORPORATION", "NIKON Z5_2") == 35.9
    assert sensor_width_mm("SONY", "DSC-RX100M7") == 13.2
    assert sensor_width_mm("Canon", "Canon EOS R5") == 36.0
    assert sensor_width_mm("GoPro", "HERO7 Black") == 6.17
    assert sensor_width_mm("", "") is None and sensor_width_mm("Foo", "Bar 1") is None


def atom(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body) + 8) + kind + body


def test_quicktime_focal_tags(movie, tmp_path):
    names = [b"com.apple.quicktime.make", b"com.apple.quicktime.camera.focal_length.35mm_equivalent"]
    values = [struct.pack(">II", 1, 0) + b"Apple", struct.pack(">II", 67, 0) + struct.pack(">i", 26)]
    keys = struct.pack(">II", 0, 2) + b"".join(atom(b"mdta", name) for name in names)
    items = b"".join(atom(struct.pack(">I", i + 1), atom(b"data", value)) for i, value in enumerate(values))
    hdlr = struct.pack(">II", 0, 0) + b"mdta" + bytes(13)
    meta = atom(b"meta", atom(b"hdlr", hdlr) + atom(b"keys", keys) + atom(b"ilst", items))
    data = movie.read_bytes()
    at = data.index(b"moov") - 4
    (length,) = struct.unpack_from(">I", data, at)
    tagged = tmp_path / "tagged.mp4"  # the index is last in the file: nothing moves
    tagged.write_bytes(
        data[:at] + struct.pack(">I", length + len(meta)) + data[at + 4 : at + length] + meta + data[at + length :]
    )
    tags = read_movie_tags(str(tagged))
    assert tags.frame_count == 20 and tags.constant_rate and tags.complete
    assert movie_lens_tags(tags).focal_35mm == 26 and movie_lens_tags(tags).make == "Apple"
    clip = open_clip(str(tagged))
    assert clip.info.focal_px == pytest.approx(26 / np.hypot(36, 24) * np.hypot(160, 96))
    assert clip.info.focal_source == "QuickTime 35 mm equivalent"
    for kept in range(0, len(meta), 7):  # damaged tags are no reason to refuse a movie
        tagged.write_bytes(data[:at] + struct.pack(">I", length + kept) + data[at + 4 : at + length] + meta[:kept])
        read_movie_tags(str(tagged))
