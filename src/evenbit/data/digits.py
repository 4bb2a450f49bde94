"""scikit-learn's handwritten digits: 1,797 real images of 8x8, which come with the library.

The test set of Alpaydin and Kaynak, Optical recognition of handwritten digits, UCI, 1998.
"""

from __future__ import annotations

import numpy as np

from evenbit.data.dataset import Dataset, Split, stratified_split
from evenbit.errors import DataError

TEST_SHARE = 0.2


def read_digits() -> Dataset:
    """The digits, levels 0 to 16 scaled to 0 to 255; a fixed fifth of each class is for testing.

    Raises:
        DataError: If scikit-learn is not installed.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise DataError("the digits come with scikit-learn; install it with: pip install 'evenbit[train]'") from None
    bunch = load_digits()
    images = np.rint(bunch.images * (255 / 16)).astype(np.uint8)[:, None]
    labels = bunch.target.astype(np.int64)
    train, test = stratified_split(labels, TEST_SHARE)
    classes = tuple(str(name) for name in bunch.target_names)
    return Dataset("digits", classes, Split(images[train], labels[train]), Split(images[test], labels[test]))
