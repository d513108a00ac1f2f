"""Files of samples: what goes in comes out, and whatever is wrong with a file is said by file, name and expectation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import xbar_spice as xs
from xbar_spice.errors import DataError, DesignWarning, InvalidInputError

X = np.array([[0.5, 1.0], [0.25, -2.0], [3.0, 4.0]])
LABELS = np.array([1, 0, 1])
TARGETS = np.array([[1.0], [2.0], [3.0]])


def npz(folder: Path, **arrays: Any) -> Path:
    np.savez(folder / "data.npz", **arrays)
    return folder / "data.npz"


def csv(folder: Path, text: str) -> Path:
    (folder / "data.csv").write_text(text)
    return folder / "data.csv"


@pytest.mark.parametrize(
    "text",
    [
        "x0,x1,label\n0.5,1,1\n0.25,-2,0\n3,4,1\n",
        "width;labels;height\n0.5;1;1\n0.25;0;-2\n3;1;4\n\n",
        '# a\t"label"\tb\n0.5\t1\t1\n.25\t0\t-2\n3\t1\t4',
    ],
)
def test_a_table_names_its_columns(tmp_path: Path, text: str) -> None:
    data = xs.load_data(csv(tmp_path, text))
    np.testing.assert_array_equal(data.x, X)
    np.testing.assert_array_equal(data.labels, LABELS)
    assert data.targets is None
    assert data.source == "samples of data.csv"
    same = xs.load_data(npz(tmp_path, x=X, labels=LABELS.astype(float)))
    assert same.fingerprint == data.fingerprint
    assert same.labels.dtype == np.int64


def test_targets_at_several_times(tmp_path: Path) -> None:
    text = "a,target1@2,target0@0.5,b,target1@0.5,target0@2\n0,1,2,3,4,5\n6,7,8,9,10,11\n"
    data = xs.load_data(csv(tmp_path, text))
    np.testing.assert_array_equal(data.x, [[0, 3], [6, 9]])
    np.testing.assert_array_equal(data.times, [0.5, 2.0])
    np.testing.assert_array_equal(data.targets[0], [[2, 4], [1, 5]])  # each time in the order of the file
    same = xs.load_data(npz(tmp_path, x=data.x, targets=data.targets, times=data.times))
    assert same.fingerprint == data.fingerprint


def test_images_become_rows_in_the_order_of_convolutions(tmp_path: Path) -> None:
    images = np.arange(24.0).reshape(2, 3, 2, 2)
    data = xs.load_data(npz(tmp_path, x=images.astype(np.float32), targets=images.reshape(2, 12)))
    np.testing.assert_array_equal(data.x, data.targets)


def test_a_mapping_says_what_has_another_name(tmp_path: Path) -> None:
    path = npz(tmp_path, X_test=X, y_test=LABELS, X_train=np.ones((5, 2)))
    data = xs.load_data(path, {"x": "X_test", "labels": "y_test"})
    np.testing.assert_array_equal(data.x, X)
    np.testing.assert_array_equal(data.labels, LABELS)
    table = csv(tmp_path, "id,f1,f2,species,time\n7,0.5,1,1,9\n8,0.25,-2,0,9\n9,3,4,1,9\n")
    data = xs.load_data(table, {"x": "f*", "labels": "species"})
    np.testing.assert_array_equal(data.x, X)
    assert xs.load_data(table, {"targets": "species, time"}).features == 3


def test_what_is_taken_is_said() -> None:
    labels = np.arange(6) // 2
    data = xs.Data(np.arange(12.0).reshape(6, 2), labels, source="samples of a.npz")
    assert data.take().source == "all 6 samples of a.npz"
    first = data.take(3)
    assert first.source == "3 of 6 samples of a.npz, the first ones"
    np.testing.assert_array_equal(first.x, data.x[:3])
    np.testing.assert_array_equal(first.labels, [0, 0, 1])
    drawn = data.take(3, seed=4)
    assert drawn.source == "3 of 6 samples of a.npz, drawn with seed 4"
    assert all((row == data.x).all(axis=1).any() for row in drawn.x)
    with pytest.warns(DesignWarning, match="the first 2 samples are all of class 0"):
        data.take(2)
    with pytest.raises(InvalidInputError, match=r"samples must be <= 6, the number of samples of a\.npz, got 7"):
        data.take(7)
    with pytest.raises(ValueError, match="read-only"):
        data.x[0, 0] = 1.0


BAD_ARRAYS: dict[str, tuple[dict[str, Any], str]] = {
    "no x": ({"labels": LABELS}, "'x', the inputs, is missing; the file has labels"),
    "other names": ({"x": X, "y": LABELS}, r"array 'y': expected x, labels, targets, times; the file has x, y\. .*x=y"),
    "vector": ({"x": X[0]}, r"x must have shape \(samples, p\).*got \(2,\)"),
    "no samples": ({"x": X[:0]}, r"x must have shape \(samples, p\).*got \(0, 2\)"),
    "NaN": ({"x": X * np.nan}, "x must be an array of finite real numbers"),
    "too few labels": ({"x": X, "labels": LABELS[:2]}, r"labels must have shape \(3,\).*got \(2,\)"),
    "one-hot": ({"x": X, "labels": np.eye(3)}, r"labels must have shape \(3,\).*labels\.argmax\(axis=1\)"),
    "half a class": ({"x": X, "labels": [0.5, 1, 1]}, "labels must be whole numbers from 0"),
    "below": ({"x": X, "labels": [-1, 1, 1]}, "labels must be whole numbers from 0"),
    "texts": ({"x": X, "labels": ["a", "b", "c"]}, "labels must be an array of finite real numbers"),
    "too few targets": ({"x": X, "targets": TARGETS[:2]}, r"targets must have shape \(3, n\).*got \(2, 1\)"),
    "times alone": ({"x": X, "times": [0.0, 1.0]}, "times say when targets were observed, and there are none"),
    "falling": ({"x": X, "targets": np.ones((3, 2, 1)), "times": [1.0, 0.5]}, r"times must have shape \(times,\)"),
    "no axis of times": ({"x": X, "targets": TARGETS, "times": [1.0]}, r"targets must have shape \(3, 1, n\)"),
}

BAD_TABLES: dict[str, tuple[str, str]] = {
    "empty": ("", "every column needs a name|expected a line of column names"),
    "no samples": ("a,label\n", "got no samples"),
    "no header": ("0.5,1\n0.25,0\n", "the first line must name the columns, such as x0,x1,label, got '0.5,1'"),
    "twice": ("a,a\n1,2\n", "every column needs a name of its own, got 'a'"),
    "without a name": ("a,,label\n1,2,0\n", "every column needs a name of its own, got ''"),
    "short": ("a,b\n1\n", "sample 1: expected 2 columns as in the first line, got 1"),
    "text": ("a,label\n1,setosa\n", "sample 1, column 'label': expected a number, got 'setosa'; classes are numbers"),
    "gap": ("a,label\n,0\n", "sample 1, column 'a': expected a number, got ''"),
    "two labels": ("a,label,labels\n1,0,0\n", "labels must be one column, got label, labels"),
    "only labels": ("label\n1\n", "no column is left for the inputs"),
    "time": ("a,time,label\n1,0,0\n", "column 'time': is it an input?"),
    "half of the times": ("a,target0@1,target1\n1,2,3\n", "targets at several times must all be named"),
    "uneven times": ("a,target0@1,target1@1,target0@2\n1,2,3,4\n", r"every time needs as many targets, got \[2, 1\]"),
    "open quote": ('a,b\n"1,2\n', "not a readable table"),
}


@pytest.mark.parametrize("case", BAD_ARRAYS)
def test_bad_arrays_say_what_is_wrong(tmp_path: Path, case: str) -> None:
    arrays, message = BAD_ARRAYS[case]
    path = npz(tmp_path, **arrays)
    with pytest.raises(DataError, match=message) as caught:
        xs.load_data(path)
    assert str(caught.value).startswith(f"{path}: ")


@pytest.mark.parametrize("case", BAD_TABLES)
def test_bad_tables_say_what_is_wrong(tmp_path: Path, case: str) -> None:
    text, message = BAD_TABLES[case]
    path = csv(tmp_path, text)
    with pytest.raises(DataError, match=message) as caught:
        xs.load_data(path)
    assert str(caught.value).startswith(f"{path}: ")


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        ({"inputs": "x"}, "a mapping names x, labels, targets, times, got 'inputs'"),
        ({"labels": "species"}, "labels: no column is called 'species'; the file has a, b"),
        ({"labels": "a", "targets": "a"}, "column 'a' is meant to be two things"),
        ({"labels": "*"}, "labels must be one column, got a, b"),
        ({"times": "a"}, "a table has times in the names of its columns"),
    ],
)
def test_mappings_that_do_not_fit(tmp_path: Path, mapping: dict[str, str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        xs.load_data(csv(tmp_path, "a,b\n1,2\n"), mapping)


def test_what_is_no_file_of_samples(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"expected a file ending in \.npz or \.csv, got '\.txt'"):
        xs.load_data(tmp_path / "data.txt")
    with pytest.raises(DataError, match="cannot be read"):
        xs.load_data(tmp_path / "data.csv")
    (tmp_path / "data.npz").write_bytes(b"PK\3\4")
    with pytest.raises(DataError, match=r"data\.npz: not a readable \.npz"):
        xs.load_data(tmp_path / "data.npz")
    with pytest.raises(DataError, match="array 'y' is missing; the file has x"):
        xs.load_data(npz(tmp_path, x=X), {"x": "y"})
