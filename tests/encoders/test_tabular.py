"""Encoders for tables, against the papers' formulas in NumPy, and a study that uses them."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import keras
import numpy as np
import pytest

import siamkit
from siamkit.data import Dataset, fit_preprocessor
from siamkit.errors import ComponentError, StudyFileError

pytestmark = pytest.mark.keras

NAMES = ["ft_transformer", "tabular"]
COLUMNS = {"numeric": ["p", "q", "r"], "categorical": {"c": 4, "d": 5}}
SHAPE = {"numeric": (3,), "missing": (3,), "categorical": (2,)}
SMALL = {
    "ft_transformer": {"depth": 2, "token_dim": 6, "heads": 4},
    "tabular": {"depth": 1, "width": 8, "category_dim": 3},
}


def rows(n=4):
    rng = np.random.default_rng(3)
    missing = (rng.random((n, 3)) < 0.3).astype("float32")
    return {
        "numeric": np.where(missing, 0, rng.normal(size=(n, 3))).astype("float32"),
        "missing": missing,
        "categorical": np.stack([np.arange(n) % 4, np.arange(n) % 5], axis=1).astype("int32"),
    }


def made(name, **changes):
    arguments = {"input_shape": SHAPE, "embedding_dim": 5, "columns": COLUMNS, **SMALL[name], **changes}
    encoder = siamkit.get_encoder(name, **arguments)
    rng = np.random.default_rng(4)
    # Biases and scales start at 0 and 1, where a mistake in them would not be seen.
    encoder.set_weights([rng.normal(scale=0.5, size=weight.shape) for weight in encoder.get_weights()])
    return encoder


def embed(encoder, x):
    # As a whole on JAX, which eagerly compiles operation by operation; called elsewhere: nothing to compile.
    run = encoder.predict_on_batch if keras.backend.backend() == "jax" else encoder
    return np.asarray(keras.ops.convert_to_numpy(run(x)), dtype="float64")


def weights(encoder):
    """`{layer: {weight: array}}` in float64."""
    return {
        layer.name: {
            each.path.split(f"{layer.name}/")[-1]: np.asarray(keras.ops.convert_to_numpy(each), "float64")
            for each in layer.weights
        }
        for layer in encoder.layers
    }


def kinds(encoder, kind):
    w = weights(encoder)
    return [w[layer.name] for layer in encoder.layers if type(layer) is kind]


def relu(x):
    return np.maximum(x, 0)


def norm(x, w):
    centred = x - x.mean(-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-3) * w["gamma"] + w["beta"]


def attention(x, w, heads):
    """Row by row, head by head, token by token."""
    out = np.zeros_like(x)
    for row, tokens in enumerate(x):
        for head in range(heads):
            q, k, v = (
                tokens @ w[f"{part}/kernel"][:, head] + w[f"{part}/bias"][head]
                for part in ("query", "key", "value")
            )
            for i in range(len(tokens)):
                scores = np.array([q[i] @ k[j] / np.sqrt(q.shape[1]) for j in range(len(tokens))])
                chances = np.exp(scores) / np.exp(scores).sum()
                mixed = sum(chance * v[j] for j, chance in enumerate(chances))
                out[row, i] += mixed @ w["attention_output/kernel"][head]
    return out + w["attention_output/bias"]


def test_tabular_is_an_mlp_over_numbers_missing_flags_and_embedded_categories():
    encoder, x = made("tabular", normalize=False), rows()
    w = weights(encoder)
    ((table,), (hidden, *_)) = kinds(encoder, keras.layers.Embedding), kinds(encoder, keras.layers.Dense)
    table, projection, shortcut = table["embeddings"], w["projection"], w["shortcut"]
    expected = []
    for number, absent, (c, d) in zip(x["numeric"], x["missing"], x["categorical"], strict=True):
        # The tables of the columns, of 4 and 5 codes, lie one after the other.
        features = np.concatenate([number, absent, table[c], table[4 + d]])
        h = relu(features @ hidden["kernel"] + hidden["bias"])
        expected.append(h @ projection["kernel"] + projection["bias"] + features @ shortcut["kernel"])
    assert table.shape == (9, 3)
    assert projection["kernel"].shape == (8, 5)
    np.testing.assert_allclose(embed(encoder, x), expected, rtol=1e-4, atol=1e-5)


def test_tabular_starts_almost_linear():
    arguments = {"input_shape": SHAPE, "embedding_dim": 5, "columns": COLUMNS, **SMALL["tabular"]}
    w = weights(siamkit.get_encoder("tabular", **arguments))
    # Glorot's limits for 8 units and for 3 numbers, 3 flags and 2 embeddings of 3, to 5 dimensions.
    assert np.abs(w["projection"]["kernel"]).max() <= 0.1 * np.sqrt(6 / (8 + 5))
    assert 0.5 * np.sqrt(6 / (12 + 5)) < np.abs(w["shortcut"]["kernel"]).max() <= np.sqrt(6 / (12 + 5))
    without = weights(siamkit.get_encoder("tabular", shortcut=False, **arguments))
    assert "shortcut" not in without
    assert np.abs(without["projection"]["kernel"]).max() > 0.5 * np.sqrt(6 / (8 + 5))


def test_ft_transformer_is_the_papers():
    encoder, x = made("ft_transformer", normalize=False), rows()
    w = weights(encoder)
    number, absent, codes = (x[key] for key in ("numeric", "missing", "categorical"))
    tokens = np.zeros((4, 6, 6))
    for row in range(4):
        tokens[row, 0] = w["cls"]["embeddings"][0]
        for j in range(3):
            weight, bias = w["numeric_tokens"]["kernel"][j], w["numeric_tokens"]["bias"][j]
            is_absent = absent[row, j] == 1
            own = bias + w["missing_tokens"]["kernel"][j]
            tokens[row, 1 + j] = own if is_absent else number[row, j] * weight + bias
        for j, start in enumerate((0, 4)):
            tokens[row, 4 + j] = w["category_tokens"]["embeddings"][start + codes[row, j]]
    norms = kinds(encoder, keras.layers.LayerNormalization)
    attentions = kinds(encoder, keras.layers.MultiHeadAttention)
    dense = kinds(encoder, keras.layers.Dense)
    assert (len(norms), len(attentions), len(dense)) == (4, 2, 7)
    norms, dense = iter(norms), iter(dense)
    for block in range(2):
        y = norm(tokens, next(norms)) if block else tokens
        tokens = tokens + attention(y, attentions[block], heads=4)
        y = norm(tokens, next(norms))
        value, gate, out = next(dense), next(dense), next(dense)
        y = (y @ value["kernel"] + value["bias"]) * relu(y @ gate["kernel"] + gate["bias"])
        assert y.shape[-1] == 8  # 4/3 of token_dim
        tokens = tokens + y @ out["kernel"] + out["bias"]
    expected = relu(norm(tokens[:, 0], next(norms))) @ w["projection"]["kernel"] + w["projection"]["bias"]
    np.testing.assert_allclose(embed(encoder, x), expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_embeddings_have_the_size_asked_for_and_unit_length_alone_or_in_a_batch(name):
    encoder, x = made(name, dropout=0.3), rows()
    embeddings = embed(encoder, x)
    assert encoder.output_shape == (None, 5)
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1, rtol=1e-5)
    alone = embed(encoder, {key: each[1:2] for key, each in x.items()})
    np.testing.assert_allclose(alone, embeddings[1:2], atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_each_column_and_each_missing_value_tells(name):
    encoder, x = made(name, normalize=False), rows(1)
    x["missing"][:] = 0
    before = embed(encoder, x)
    for key, column in [("numeric", 2), ("missing", 0), ("categorical", 0), ("categorical", 1)]:
        changed = {each: values.copy() for each, values in x.items()}
        changed[key][0, column] += 1
        assert np.abs(embed(encoder, changed) - before).max() > 1e-4, (key, column)


@pytest.mark.parametrize("name", NAMES)
def test_vectors_only_numbers_and_only_categories_do(name):
    numbers = {"numeric": ["a"] * 3, "categorical": {}}
    x = rows()
    for shape, columns, items in (
        ((3,), numbers, x["numeric"]),
        ((3,), None, x["numeric"]),
        ({"numeric": (3,), "missing": (3,)}, numbers, {key: x[key] for key in ("numeric", "missing")}),
        ({"categorical": (2,)}, COLUMNS, {"categorical": x["categorical"]}),
    ):
        assert embed(made(name, input_shape=shape, columns=columns, depth=1), items).shape == (4, 5)


@pytest.mark.parametrize("name", NAMES)
def test_it_trains_under_mixed_precision_and_survives_saving(name, tmp_path):
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        encoder = siamkit.get_encoder(
            name, input_shape=SHAPE, embedding_dim=5, columns=COLUMNS, **{**SMALL[name], "depth": 1}
        )
    finally:
        keras.config.set_dtype_policy("float32")
    model = siamkit.Siamese(encoder, "cosine")
    model.compile("adam", siamkit.get_loss("contrastive"))
    a, b = rows(8), {key: each[::-1].copy() for key, each in rows(8).items()}
    before = [np.array(each) for each in encoder.get_weights()]
    history = model.fit((a, b), np.arange(8, dtype="int32") % 2, verbose=0)
    assert np.isfinite(history.history["loss"]).all()
    # Every weight but a transformer's bias of keys, which softmax does not see, has learnt something.
    still = [
        weight.path
        for weight, old in zip(encoder.weights, before, strict=True)
        if np.array_equal(keras.ops.convert_to_numpy(weight), old) and "key/bias" not in weight.path
    ]
    assert not still
    embeddings = embed(encoder, a)
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1, rtol=1e-5)
    model.save(tmp_path / "model.keras")
    loaded = siamkit.load_model(tmp_path / "model.keras", compile=False)
    np.testing.assert_array_equal(embed(loaded.encoder, a), embeddings)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"input_shape": {}}, r"takes rows of shape \(k,\), or of shapes .* got input_shape={}"),
        ({"input_shape": {"numbers": (3,)}}, "takes rows of shape"),
        ({"input_shape": {"numeric": (3,), "missing": (2,)}, "columns": None}, "takes rows of shape"),
        ({"input_shape": {"missing": (2,)}, "columns": None}, "takes rows of shape"),
        ({"input_shape": (3, 2)}, "takes rows of shape"),
        ({"input_shape": (None,)}, "takes rows of shape"),
        ({"input_shape": 3}, "should be a tuple of sizes, got 3"),
        ({"columns": None}, "the number of codes of each of 2 categorical columns, got columns=None"),
        ({"input_shape": (3,)}, "the number of codes of each of 0 categorical columns"),
    ],
)
@pytest.mark.parametrize("name", NAMES)
def test_bad_shapes_and_columns_are_refused_in_one_sentence(name, changes, words):
    with pytest.raises(ComponentError, match=words) as caught:
        made(name, **changes)
    assert "\n" not in str(caught.value)


def test_columns_must_be_told_and_an_encoder_of_vectors_takes_no_dict():
    with pytest.raises(ComponentError, match="the encoder 'tabular' is missing the argument columns"):
        siamkit.get_encoder("tabular", input_shape=SHAPE, embedding_dim=2)
    with pytest.raises(ComponentError, match=r"of encoder 'mlp' should be a tuple of sizes, got {'numeric'"):
        siamkit.get_encoder("mlp", input_shape=SHAPE, embedding_dim=2)


def test_a_model_embeds_raw_rows_and_remembers_how_when_loaded(tmp_path):
    raw = {"n": np.array([1.0, np.nan, 3.0]), "t": np.array(["a", "b", None], object)}
    preprocessor = fit_preprocessor(Dataset((raw,), np.arange(3), "labels", "tabular"))
    encoder = siamkit.get_encoder(
        "tabular", input_shape=preprocessor.input_shape, embedding_dim=3, **preprocessor.facts
    )
    model = siamkit.Siamese(encoder, "euclidean", preprocessor=preprocessor)
    new = {"n": np.array([np.nan, 2.0]), "t": np.array(["never seen", ""])}
    embeddings = model.embed(new)
    assert embeddings.shape == (2, 3)
    assert np.isfinite(embeddings).all()
    assert model.compare(new, new).tolist() == [0, 0]
    model.save(tmp_path / "model.keras")
    np.testing.assert_array_equal(siamkit.load_model(tmp_path / "model.keras").embed(new), embeddings)


# ---------------------------------------------------------------- a study

STUDY = """\
version: 1
baselines: null
name: table
data:
  label: kind
  features: "FEATURES"
  path: rows.csv
  split: {by: item}
fixed: {batch_size: 16, epochs: 1, embedding_dim: 3, learning_rate: 0.01, normalize: true}
search:
  encoder: ENCODER
  metric: euclidean
  loss: {triplet: {margin: 0.3}}
objectives: {map_at_r: maximize, flops: minimize}
budget: {trials: 1}
confirm: null
"""


def study(folder: Path, features: str, encoder: dict) -> Path:
    rng = np.random.default_rng(0)
    with open(folder / "rows.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["kind", "price", "weight", "colour"])
        for row in range(60):
            price = "" if row % 7 == 0 else f"{row % 3 + rng.normal() / 9:.3f}"
            writer.writerow([f"k{row % 3}", price, f"{rng.normal():.3f}", ["red", "", "blue"][row % 3]])
    text = STUDY.replace("FEATURES", features).replace("ENCODER", json.dumps(encoder))
    (folder / "study.yaml").write_text(text)
    return folder / "study.yaml"


@pytest.mark.one_backend
def test_a_study_of_mixed_columns_trains_judges_and_tells_the_cost(tmp_path):
    from pyarrow import parquet

    encoder = {"tabular": {"depth": 1, "width": 8, "category_dim": 8, "dropout": 0}}
    results = siamkit.tune(study(tmp_path, "price, weight, colour", encoder), progress="none")
    assert [each.outcome for each in results.trials] == ["complete"]
    measures = results.trials[0].measures
    # The colour and the price tell the class; by chance it would be about 0.2.
    assert measures["map_at_r"] > 0.4
    # 2 numbers, 2 flags and 8 of the colour (red, blue, missing, unknown), 8 units, 3 of the embedding, and
    # the shortcut to it.
    assert measures["parameters"] == 4 * 8 + (12 + 1) * 8 + (8 + 1) * 3 + 12 * 3
    assert measures["flops"] == 2 * (12 * 8 + 8 * 3 + 12 * 3)
    frozen = json.loads((tmp_path / "runs/table/study.json").read_text())
    assert frozen["data"]["input_shape"] == {"numeric": [2], "missing": [2], "categorical": [1]}
    items = parquet.read_table(tmp_path / "runs/table/items.parquet").to_pylist()
    assert all(each["text_0"].startswith("price ") for each in items)


def test_an_encoder_of_vectors_is_refused_for_a_table_with_what_would_fit(tmp_path):
    path = study(tmp_path, "price, colour", {"mlp": {}})
    with pytest.raises(StudyFileError, match=r"'mlp' takes .* but the data are tabular; .*ft_transformer"):
        siamkit.tune(path, progress="none")


def test_the_task_of_a_table_feeds_each_encoder_that_it_may_name(tmp_path):
    from siamkit.study.config.load import load_study
    from siamkit.study.worker.prepared_data import prepare_data

    for features, names in (("price, colour", NAMES), ("weight", [*NAMES, "mlp"])):
        task, _ = prepare_data(load_study(study(tmp_path, features, {names[-1]: {}})))
        for name in names:
            needs = {} if name == "mlp" else {"columns": task.needs["columns"]}
            encoder = siamkit.get_encoder(
                name, input_shape=task.preprocessor.input_shape, embedding_dim=2, **needs
            )
            assert embed(encoder, task.valid.views[0]).shape == (len(task.valid), 2)
