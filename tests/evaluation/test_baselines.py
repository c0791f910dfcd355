"""Baselines: embeddings without training, against their definitions."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.preprocessing import StandardScaler

from siamkit.evaluation import evaluate_labels
from siamkit.evaluation.baselines import BASELINES, Items, baselines_for, random_kernels


def fitted(name, raw, prepared=None, codes=None):
    return BASELINES[name].fit(Items(raw, raw if prepared is None else prepared, codes))


def items(raw, prepared=None):
    return Items(raw, raw if prepared is None else prepared)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_each_kind_of_input_has_a_baseline():
    assert list(baselines_for("vector", True)) == ["raw", "pca", "lda", "nca"]
    assert list(baselines_for("vector", False)) == ["raw", "pca"]
    assert list(baselines_for("image", True)) == ["raw", "pca", "hog"]
    assert list(baselines_for("series", True)) == ["raw", "pca", "znorm", "kernels"]
    assert list(baselines_for("text", True)) == list(baselines_for("tokens", False)) == ["tfidf"]
    assert list(baselines_for("tabular", True)) == ["raw", "pca", "tfidf"]


def test_raw_is_the_values_and_codes_become_one_hot(rng):
    images = rng.normal(size=(3, 2, 2, 1))
    np.testing.assert_allclose(fitted("raw", images)(items(images)), images.reshape(3, 4), rtol=1e-6)
    record = {"age": np.array([[0.5], [2.0]]), "town": np.array([2, 0])}
    later = {"age": np.array([[1.0], [3.0]]), "town": np.array([1, 7])}
    expected = [[1.0, 0, 1, 0], [3.0, 0, 0, 0]]  # training has the towns 0 to 2
    np.testing.assert_array_equal(fitted("raw", record)(items(later)), expected)


def test_large_images_are_averaged():
    image = np.arange(64 * 96).reshape(1, 64, 96, 1).astype("float32")
    got = fitted("raw", image)(items(image)).reshape(21, 32)
    assert got[0, 0] == image[0, :3, :3].mean()
    assert got[20, 31] == image[0, 60:63, 93:96].mean()


def test_pca_has_the_distances_of_the_centered_values_where_it_keeps_all(rng):
    x = rng.normal(size=(40, 5))
    z = fitted("pca", x)(items(x))
    assert z.shape == (40, 5)
    distances = [np.linalg.norm(each[:, None] - each, axis=2) for each in (x, z)]
    np.testing.assert_allclose(distances[1], distances[0], atol=1e-4)
    variances = np.linalg.svd(x - x.mean(0), compute_uv=False) ** 2 / 39
    np.testing.assert_allclose(z.var(axis=0, ddof=1), variances, rtol=1e-4)


@pytest.mark.parametrize(("name", "least"), [("lda", 0.95), ("nca", 0.75)])
def test_projections_with_labels_find_the_dimension_that_matters(name, least, rng):
    codes = np.arange(120) % 2
    x = rng.normal(size=(120, 10)) * 3
    x[:, 4] = codes + 0.1 * rng.normal(size=120)

    def share(z):  # of items whose nearest other item is of their class
        distances = np.linalg.norm(z[:, None] - z, axis=2) + np.diag(np.full(120, np.inf))
        return (codes[distances.argmin(axis=1)] == codes).mean()

    assert share(x) < 0.65
    assert share(fitted(name, x, codes=codes)(items(x))) > least


def test_tfidf_knows_texts_by_their_characters():
    texts = np.array(["red shoe", "red shoes", "blue kettle", "kettle, blue"])
    z = fitted("tfidf", texts)(items(texts))
    np.testing.assert_allclose(np.linalg.norm(z, axis=1), 1, rtol=1e-5)
    similar = z @ z.T
    assert min(similar[0, 1], similar[2, 3]) > 0.5 > similar[:2, 2:].max()
    record = {"name": np.array(["Ann", None]), "age": np.array([3.0, np.nan])}
    assert fitted("tfidf", record)(items(record)).shape[0] == 2
    tokens = np.array([[5, 7, 0, 0], [7, 5, 5, 0], [9, 9, 9, 9]])
    z = fitted("tfidf", tokens)(items(tokens))
    assert z.shape == (3, 3)  # the ids 5, 7 and 9; 0 is padding
    assert z[0] @ z[1] > 0.8
    assert z[0] @ z[2] == 0
    assert fitted("tfidf", np.array(["", ""])) is None


def test_kernels_are_convolutions_as_a_slow_loop_computes_them(rng):
    series = rng.normal(size=(3, 20, 2))
    expected = []
    for one in series:
        shares, maxima = [], []
        for each in random_kernels(20, 2):
            assert each.dilation in (1, 2, 4)
            np.testing.assert_allclose(each.weights.sum(axis=0), 0, atol=1e-5)
            for kernel, bias in zip(each.weights.transpose(2, 0, 1), each.biases, strict=True):
                values = []
                for step in range(20):
                    at = [step + (tap - 4) * each.dilation for tap in range(9)]
                    values.append(bias + sum(one[s] @ kernel[tap] for tap, s in enumerate(at) if 0 <= s < 20))
                shares.append(np.mean(np.array(values) > 0))
                maxima.append(max(values))
        expected.append([*shares, *maxima])
    assert np.shape(expected) == (3, 1024)
    expected = StandardScaler().fit_transform(expected)
    varying = np.std(expected, axis=0) > 0
    got = fitted("kernels", series)(items(series))
    np.testing.assert_allclose(got[:, varying], expected[:, varying], rtol=1e-3, atol=1e-3)


def test_kernels_find_a_shape_wherever_it_is(rng):
    labels, series = np.arange(60) % 2, 0.1 * rng.normal(size=(60, 64, 1))
    shapes = np.array([[1, 2, 3, 2, 1, 0], [1, -1, 1, -1, 1, -1]]) * 2.0
    for row, start in enumerate(rng.integers(0, 58, 60)):
        series[row, start : start + 6, 0] += shapes[labels[row]]

    def map_at_r(name):
        embeddings = fitted(name, series)(items(series))
        return evaluate_labels(embeddings, labels, "cosine", groups={"retrieval"}).measures["map_at_r"]

    assert map_at_r("kernels") > map_at_r("znorm") + 0.3


def test_znorm_forgets_height_and_scale(rng):
    x = rng.normal(size=(4, 9, 2))
    z = fitted("znorm", x)(items(x)).reshape(x.shape)
    np.testing.assert_allclose(z.mean(axis=1), 0, atol=1e-6)
    np.testing.assert_allclose(z.std(axis=1), 1, atol=1e-5)
    again = fitted("znorm", x)(items(5 * x - 3)).reshape(x.shape)
    np.testing.assert_allclose(again, z, atol=1e-5)
    flat = fitted("znorm", x)(items(np.ones((1, 9, 2))))
    np.testing.assert_array_equal(flat, np.zeros((1, 18)))


def test_hog_sees_edges_and_not_brightness(rng):
    image = np.zeros((1, 16, 16, 1))
    image[:, :, 8:] = 1
    embed = fitted("hog", image)
    upright, flat = embed(items(image)), embed(items(np.moveaxis(image, 1, 2)))
    np.testing.assert_allclose(embed(items(image * 0.5 + 0.2)), upright, atol=1e-4)
    assert np.linalg.norm(upright - flat) > 1
    assert fitted("hog", image[:, :4, :4]) is None


def test_values_that_are_all_the_same_have_no_components():
    assert fitted("pca", np.ones((9, 3))) is None
