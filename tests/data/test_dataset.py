from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from evenbit.data import Dataset, Split, channel_statistics, hold_out, load_dataset
from evenbit.data.dataset import stratified_split
from evenbit.errors import DataError


def test_shape_is_channels_height_width_and_length_is_the_number_of_images():
    split = Split(np.zeros((5, 3, 4, 6), np.uint8), np.zeros(5, np.int64))
    assert Dataset("name", ("a", "b"), split, split).shape == (3, 4, 6)
    assert len(split) == 5


def test_hold_out_puts_a_part_of_the_training_images_in_place_of_the_test_images():
    images = np.arange(40, dtype=np.uint8).reshape(40, 1, 1, 1)
    labels = np.arange(40) % 2
    data = Dataset("name", ("a", "b"), Split(images, labels), Split(images[:2] + 100, labels[:2]))
    held = hold_out(data, 0.2)
    assert np.bincount(held.test.labels).tolist() == [4, 4]
    assert sorted([*held.train.images.flat, *held.test.images.flat]) == list(range(40))
    np.testing.assert_array_equal(held.test.images, hold_out(data, 0.2).test.images)
    np.testing.assert_array_equal(held.test.images.ravel() % 2, held.test.labels)


def test_channel_statistics_equal_numpy_per_channel():
    images = np.random.default_rng(3).integers(0, 256, (40, 3, 7, 5), dtype=np.uint8)
    images[:, 1] //= 4
    mean, std = channel_statistics(images)
    scaled = images / 255
    np.testing.assert_allclose(mean, scaled.mean((0, 2, 3)), rtol=1e-13)
    np.testing.assert_allclose(std, scaled.std((0, 2, 3)), rtol=1e-13)


def test_channel_statistics_are_exact_where_the_answer_is_known():
    images = np.zeros((2, 2, 1, 1), np.uint8)
    images[1, 0] = 255
    images[:, 1] = 51
    assert channel_statistics(images) == ((0.5, 0.2), (0.5, 0.0))


def test_channel_statistics_do_not_depend_on_the_order_of_the_images():
    images = np.random.default_rng(4).integers(0, 256, (101, 1, 3, 3), dtype=np.uint8)
    assert channel_statistics(images) == channel_statistics(images[::-1])


def test_stratified_split_parts_each_class_in_proportion():
    labels = np.random.default_rng(5).permutation(np.repeat([0, 1, 2], [100, 50, 2]))
    first, second = stratified_split(labels, 0.2)
    assert sorted([*first, *second]) == list(range(152))
    assert np.bincount(labels[second]).tolist() == [20, 10, 1]
    assert (np.diff(first) > 0).all()
    assert (np.diff(second) > 0).all()


def test_stratified_split_is_the_same_for_ever():
    _, second = stratified_split(np.arange(30) % 3, 0.2)
    assert second.tolist() == [1, 3, 11, 13, 20, 21]


def test_an_unknown_name_lists_the_known_ones_and_the_folder():
    known = "digits, cifar10, cifar100, fashion-mnist, svhn, tiny-imagenet"
    message = f"unknown data set 'mnits': it has to be one of {known}, or the path of a folder"
    with pytest.raises(DataError, match=message):
        load_dataset("mnits")


def test_a_file_is_no_folder_of_images(tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="unknown data set"):
        load_dataset(str(tmp_path / "file"))


def test_reading_data_does_not_import_torch():
    script = "import sys; import evenbit.data; evenbit.data.load_dataset('digits'); sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True)
