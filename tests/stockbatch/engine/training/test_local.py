from functools import cache
from statistics import NormalDist

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from stockbatch.config import ModelSettings
from stockbatch.engine import features, inference
from stockbatch.engine.network import NETWORKS, initial_weights
from stockbatch.engine.training import TrainingData
from stockbatch.records import QUANTILES
from tests.support.later import Later

pytestmark = pytest.mark.usefixtures("tensorflow")
keras = Later("keras")
local = Later("stockbatch.engine.training.local")
TICKERS, SESSIONS, INPUTS = 40, 70, 3
LEVELS = np.asarray(QUANTILES, np.float32)
LSTM = NETWORKS["lstm"]
SETTINGS = ModelSettings(
    units=5,
    lookback=6,
    scored_steps=7,
    batch=3,
    dropout=0.2,
    learning_rate=0.01,
    clip_norm=0.5,
    epochs=3,
    patience=3,
    anchor=0.0,
)
RANDOM = np.random.default_rng(0)
DATA = {
    "inputs": RANDOM.normal(size=(TICKERS, SESSIONS, INPUTS)).astype(np.float32),
    "targets": RANDOM.normal(size=(TICKERS, SESSIONS)),
    "train": np.tile(np.arange(SESSIONS) < 50, (TICKERS, 1)),
    "validation": np.tile(np.arange(SESSIONS) >= 50, (TICKERS, 1)),
    "seeds": np.arange(TICKERS, dtype=np.uint64) + np.uint64(2**63),
}


@cache
def trainer_of(workers):
    return local.LocalTrainer(workers)


def pick(tickers, **changes):
    return TrainingData(**{name: array[tickers] for name, array in DATA.items()} | changes)


@pytest.fixture(scope="module", params=NETWORKS.values(), ids=NETWORKS.keys())
def network(request):
    return request.param


def fit(network, tickers, settings=SETTINGS, workers=1, **options):
    return trainer_of(workers).fit(network, pick(tickers), settings, **options)


def ticker_of(weights, ticker):
    return {name: array[ticker] for name, array in weights.items()}


def assert_same(found, expected, name):
    """TensorFlow gives the same bits in every stack; other backends round as they please."""
    if keras.backend.backend() == "tensorflow":
        assert_array_equal(found, expected, err_msg=name)
    else:
        assert_allclose(found, expected, rtol=1e-4, atol=1e-6, err_msg=name)


def assert_same_ticker(found, at, expected, where):
    for name, array in expected.weights.items():
        assert_same(found.weights[name][at], array[where], name)
    for name in ("training_loss", "validation_loss", "initial_loss", "best_epoch"):
        assert_same(getattr(found, name)[at], getattr(expected, name)[where], name)


def drawn_weights(network, tickers=2, settings=SETTINGS):
    """Weights far from where training starts, so that every part of them matters."""
    start = initial_weights(network, DATA["seeds"][:tickers], INPUTS, settings)
    random = np.random.default_rng(1)
    return {
        name: array + random.normal(0, 0.3, array.shape).astype(np.float32)
        for name, array in start.items()
    }


def pinball(y, predicted):
    error = y[..., None] - predicted
    levels = keras.ops.convert_to_tensor(LEVELS)
    return keras.ops.mean(keras.ops.maximum(levels * error, (levels - 1) * error))


def recurrent(kind, name, **options):
    """Return what puts one ticker's layers of a kind onto steps, and tells their weights again."""
    parts = ("kernel", "recurrent_kernel", "bias")

    def put(steps, weights, settings):
        for number in range(settings.layers):
            layer = getattr(keras.layers, kind)(settings.units, return_sequences=True, **options)
            steps = layer(steps)
            layer.set_weights([weights[f"{name}_{number}.{part}"] for part in parts])
        return steps

    return put, lambda layers: [f"{name}_{n}.{part}" for n in range(layers) for part in parts]


def attention(steps, weights, settings):
    """Put one ticker's layers of attention onto steps."""
    size = settings.units // 3
    position = keras.ops.cumsum(keras.ops.ones_like(steps[..., :1]), axis=1) / 10
    for number in range(settings.layers):
        own = {part: weights[f"attention_{number}.{part}"] for part in ATTENTION}
        squeezed = keras.layers.Dense(settings.units, "tanh")
        steps = squeezed(steps)
        squeezed.set_weights([own["kernel"], own["bias"]])
        heads = keras.layers.MultiHeadAttention(3, size)
        keys = keras.ops.concatenate([steps, position], axis=-1)
        taken = heads(steps, steps, keys, use_causal_mask=True)
        apart = {part: own[f"{part}.kernel"].reshape(-1, 3, size) for part in ("query", "key")}
        value, none = own["value.kernel"].reshape(-1, 3, size), np.zeros((3, size))
        bias, output = own["query.bias"].reshape(3, size), own["output.kernel"]
        heads.set_weights(
            [
                *(apart["query"], bias, apart["key"], none, value, none),
                *(output.reshape(3, size, -1), own["output.bias"]),
            ]
        )
        steps = keras.ops.tanh(steps + taken)
    return steps


ATTENTION = (
    *("kernel", "bias", "query.kernel", "query.bias", "key.kernel", "value.kernel"),
    *("output.kernel", "output.bias"),
)
ORDINARY = {
    "attention": (attention, None),
    "lstm": recurrent("LSTM", "lstm"),
    "gru": recurrent("GRU", "gru", reset_after=False),
}


def ordinary_model(network, weights, settings=SETTINGS):
    """One ticker's network from the layers of Keras, giving quantiles at every scored step."""
    inputs = keras.Input((settings.lookback + settings.scored_steps, INPUTS))
    steps = ORDINARY[network.name][0](inputs, weights, settings)
    dense = keras.layers.Dense(len(QUANTILES))
    raw = dense(steps[:, settings.lookback :])
    dense.set_weights([weights["dense.kernel"], weights["dense.bias"]])
    below, median, above = raw[..., :5], raw[..., 5:6], raw[..., 6:]
    squareplus = keras.activations.squareplus
    outputs = keras.ops.concatenate(
        [
            median
            - keras.ops.flip(keras.ops.cumsum(keras.ops.flip(squareplus(below), -1), -1), -1),
            median,
            median + keras.ops.cumsum(squareplus(above), -1),
        ],
        axis=-1,
    )
    return keras.Model(inputs, outputs)


def ordinary_weights(network, model, layers):
    names = ORDINARY[network.name][1](layers)
    return dict(zip([*names, "dense.kernel", "dense.bias"], model.get_weights(), strict=True))


def some_windows(tickers, settings, seed=0):
    random = np.random.default_rng(seed)
    shape = tickers, settings.batch, settings.lookback + settings.scored_steps, INPUTS
    x = random.normal(size=shape).astype(np.float32)
    y = random.normal(size=(*shape[:2], settings.scored_steps)).astype(np.float32)
    return x, y, np.ones((*shape[:2], settings.units), np.float32)


@pytest.mark.parametrize("layers", [1, 2])
def test_the_stack_equals_an_ordinary_network_per_ticker(network, layers):
    settings = SETTINGS.model_copy(update={"layers": layers})
    weights = drawn_weights(network, 2, settings)
    stack = local.Stack(network, 2, INPUTS, settings)
    stack.load(weights)
    x, _, masks = some_windows(2, settings)
    found = stack.predict_on_batch((x, masks))
    for ticker in range(2):
        expected = ordinary_model(network, ticker_of(weights, ticker), settings).predict(
            x[ticker], verbose=0
        )
        assert_allclose(found[ticker], expected, atol=1e-5)
    assert_allclose(
        found, inference.all_quantiles(weights, x)[:, :, settings.lookback :], atol=1e-5
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("layers", "clip_norm", "optimizer"),
    [(1, 0.05, "adam"), (2, 100.0, "adam"), (1, 0.05, "adamw"), (1, 100.0, "rmsprop")],
)
def test_training_equals_that_of_an_ordinary_network_per_ticker(
    network, layers, clip_norm, optimizer
):
    if network.name == "attention":
        pytest.skip("Keras's layer has biases more")
    settings = SETTINGS.model_copy(
        update={
            "layers": layers,
            "clip_norm": clip_norm,
            "learning_rate": 1e-3,
            "optimizer": optimizer,
            "weight_decay": 0.5,
        }
    )
    weights = drawn_weights(network, 2, settings)
    stack = local.Stack(network, 2, INPUTS, settings)
    stack.load(weights)
    singles = [ordinary_model(network, ticker_of(weights, ticker), settings) for ticker in range(2)]
    name, options = OPTIMIZERS[optimizer]
    for model in singles:
        ordinary = getattr(keras.optimizers, name)(1e-3, global_clipnorm=clip_norm, **options)
        model.compile(ordinary, loss=pinball)
    for step in range(5):
        x, y, masks = some_windows(2, settings, seed=step)
        stack.train_on_batch((x, masks), y, np.ones_like(y))
        for ticker, model in enumerate(singles):
            model.train_on_batch(x[ticker], y[ticker])
    found = stack.read()
    for ticker, model in enumerate(singles):
        for name, array in ordinary_weights(network, model, layers).items():
            assert_allclose(found[name][ticker], array, atol=1e-5, err_msg=name)
            assert np.abs(array - weights[name][ticker]).max() > 1e-3


OPTIMIZERS = {
    "adam": ("Adam", {}),
    "adamw": ("AdamW", {"weight_decay": 0.5}),
    "rmsprop": ("RMSprop", {}),
}
WAYS = [("adamw", "pinball"), ("rmsprop", "pinball"), ("adam", "smoothed_pinball")]


@pytest.mark.parametrize(("optimizer", "loss"), WAYS)
def test_a_ticker_does_not_depend_on_others_whatever_trains_it(optimizer, loss):
    settings = SETTINGS.model_copy(update={"optimizer": optimizer, "loss": loss})
    inputs, targets = DATA["inputs"][:6].copy(), 1.5 * DATA["inputs"][:6, :, 0].astype(float)
    inputs[2], targets[1] = np.nan, np.nan
    inputs[3] *= 1e30
    lstm = NETWORKS["lstm"]
    beside = trainer_of(1).fit(lstm, pick(slice(0, 6), inputs=inputs, targets=targets), settings)
    alone = pick(slice(5, 6), targets=targets[5:])
    assert_same_ticker(trainer_of(1).fit(lstm, alone, settings), 0, beside, 5)
    assert beside.best_epoch[5] > 0
    usual = trainer_of(1).fit(lstm, alone, SETTINGS)
    assert any((array != usual.weights[name]).any() for name, array in beside.weights.items())
    assert all(np.isfinite(array).all() for array in beside.weights.values())


@pytest.mark.parametrize(("optimizer", "loss"), WAYS)
def test_no_way_of_training_keeps_traces_of_a_step_left_out(optimizer, loss):
    settings = SETTINGS.model_copy(
        update={"optimizer": optimizer, "loss": loss, "weight_decay": 0.5}
    )
    assert_no_trace(NETWORKS["lstm"], settings)


@pytest.fixture(scope="module")
def together(network):
    """All tickers trained in two chunks side by side."""
    return fit(network, slice(None), workers=2)


@pytest.mark.parametrize("ticker", [0, 7, 39])
def test_a_ticker_alone_is_trained_alike(network, together, ticker):
    assert_same_ticker(fit(network, slice(ticker, ticker + 1)), 0, together, ticker)


@pytest.mark.parametrize("workers", [1, 3])
def test_a_ticker_in_another_chunk_is_trained_alike(network, together, workers):
    order = np.roll(np.arange(TICKERS), 5)
    found = fit(network, order, workers=workers)
    for at, where in enumerate(order):
        assert_same_ticker(found, at, together, where)


def test_a_ticker_beside_others_that_fail_is_trained_alike(network, together):
    inputs, targets = DATA["inputs"][:6].copy(), DATA["targets"][:6].copy()
    targets[1] = np.nan
    inputs[2] = np.nan
    inputs[3] *= 1e30
    targets[4] *= 1e38
    data = pick(slice(0, 6), inputs=inputs, targets=targets)
    found = trainer_of(1).fit(network, data, SETTINGS)
    for ticker in (0, 5):
        assert_same_ticker(found, ticker, together, ticker)
    assert np.isnan(found.validation_loss[[1, 2]]).all()
    assert found.best_epoch[[1, 2]].tolist() == [0, 0]
    for array in found.weights.values():
        assert np.isfinite(array).all()


def test_a_ticker_with_a_shorter_history_does_not_depend_on_the_panel(network, together):
    short = {name: DATA[name][:1, -49:] for name in ("inputs", "targets", "train", "validation")}
    padded = {name: DATA[name][:1].copy() for name in short}
    padded["inputs"][:, :-49], padded["targets"][:, :-49] = 0, np.nan
    alone, beside = (
        trainer_of(1).fit(network, TrainingData(**given, seeds=DATA["seeds"][:1]), SETTINGS)
        for given in (short, padded)
    )
    for name, array in alone.weights.items():
        assert_same(beside.weights[name], array, name)


def test_tickers_of_zero_weight_keep_their_weights(network):
    stack = local.Stack(network, 2, INPUTS, SETTINGS)
    weights = drawn_weights(network)
    stack.load(weights)
    x, y, masks = some_windows(2, SETTINGS)
    weigh = np.ones_like(y)
    stack.train_on_batch((x, masks), y, weigh)
    once = stack.read()
    weigh[1] = 0
    stack.train_on_batch((x, masks), y, weigh)
    twice = stack.read()
    assert all((twice[name][0] != once[name][0]).any() for name in once)
    assert all((twice[name][1] == once[name][1]).all() for name in once)
    assert stack.take_losses().shape == (2,)
    assert np.isnan(stack.take_losses()).all()


def test_a_step_left_out_leaves_no_trace(network):
    assert_no_trace(network, SETTINGS)


def assert_no_trace(network, settings):
    """Let neither moments nor the count of steps know of a step without weight."""
    x, y, masks = some_windows(2, settings)
    ones, none = np.ones_like(y), np.zeros_like(y)
    read = []
    for weights in ([ones, none, ones], [ones, ones]):
        stack = local.Stack(network, 2, INPUTS, settings)
        stack.load(drawn_weights(network))
        for weigh in weights:
            stack.train_on_batch((x, masks), y, weigh)
        read.append(stack.read())
    for name in read[0]:
        assert_array_equal(read[0][name], read[1][name])


def test_the_weights_of_the_best_epoch_are_kept(together):
    again = {name: array.copy() for name, array in together.weights.items()}
    assert set(together.best_epoch) > {0, 1}
    windows = features.windows(DATA["inputs"], SETTINGS.lookback, SETTINGS.scored_steps)
    scored = inference.all_quantiles(again, windows)[:, :, SETTINGS.lookback :]
    quantiles = scored.reshape(TICKERS, -1, len(QUANTILES))[:, -SESSIONS:]
    error = DATA["targets"][:, 50:, None] - quantiles[:, 50:]
    losses = np.maximum(LEVELS * error, (LEVELS - 1) * error)[..., 1:10].mean(axis=(1, 2))
    curve = np.concatenate([together.initial_loss[:, None], together.validation_loss], axis=1)
    assert_allclose(losses, np.nanmin(curve, axis=1), rtol=1e-5)
    assert_array_equal(np.nanargmin(curve, axis=1), together.best_epoch)


def test_a_ticker_stops_when_its_patience_ends(network):
    settings = SETTINGS.model_copy(update={"epochs": 12, "patience": 2, "learning_rate": 0.1})
    found = fit(network, slice(0, 16), settings)
    epochs = np.isfinite(found.validation_loss).sum(axis=1)
    assert_array_equal(epochs, np.minimum(found.best_epoch + 2, 12))
    assert_array_equal(np.isfinite(found.training_loss).sum(axis=1), epochs)
    assert len(set(epochs)) > 1


def test_training_learns_what_can_be_learned(network):
    settings = SETTINGS.model_copy(update={"epochs": 30, "patience": 30, "dropout": 0.0})
    inputs = DATA["inputs"][:2]
    targets = 1.5 * inputs[..., 0] - 0.5
    data = pick(slice(0, 2), targets=targets.astype(float))
    found = trainer_of(1).fit(network, data, settings)
    assert (found.validation_loss[:, -1] < 0.5 * found.initial_loss).all()
    assert (found.training_loss[:, -1] < found.training_loss[:, 0]).all()


def test_training_goes_on_from_given_weights(network, together):
    start = {name: array[:2] for name, array in together.weights.items()}
    found = fit(network, slice(0, 2), initial=start)
    best = np.nanmin(np.c_[together.initial_loss, together.validation_loss], axis=1)
    assert_allclose(found.initial_loss, best[:2], rtol=1e-6)


def test_untrained_networks_state_standard_normal_quantiles(network):
    weights = initial_weights(network, DATA["seeds"][:2], INPUTS, SETTINGS)
    found = inference.quantiles(weights, DATA["inputs"][:2, None])
    expected = [NormalDist().inv_cdf(level) for level in QUANTILES]
    assert_allclose(found, np.broadcast_to(expected, found.shape), atol=1e-6)
    for name, (first, second) in weights.items():
        if name.endswith(".recurrent_kernel"):
            assert_allclose(first @ first.T, np.eye(SETTINGS.units), atol=1e-6)
        drawn = name.endswith("kernel") and not name.startswith("dense")
        assert (np.abs(first - second).max() > 0.1) == drawn, name


def test_progress_is_told_after_every_epoch():
    told = []
    fit(LSTM, slice(0, 20), workers=2, on_epoch=lambda done, total: told.append((done, total)))
    assert told == [(done, 6) for done in range(1, 7)]


def test_chunks_of_the_same_padded_size_share_a_graph(monkeypatch):
    made, stack = [], local.Stack
    monkeypatch.setattr(
        "stockbatch.engine.training.local.Stack", lambda *given: made.append(given) or stack(*given)
    )
    trainer = local.LocalTrainer()
    for tickers in (30, 20, 17):
        trainer.fit(LSTM, pick(slice(0, tickers)), SETTINGS)
    assert len(made) == 1


def test_an_anchor_keeps_weights_near_where_they_started(network):
    # With something to learn, so that no ticker keeps the weights it started from.
    data = pick(slice(0, 4), targets=1.5 * DATA["inputs"][:4, :, 0].astype(float) - 0.5)
    free, pulled = (
        trainer_of(1).fit(network, data, SETTINGS.model_copy(update={"anchor": anchor}))
        for anchor in (0.0, 30.0)
    )
    start = initial_weights(network, DATA["seeds"][:4], INPUTS, SETTINGS)
    for name, before in start.items():
        near = np.abs(pulled.weights[name] - before).mean()
        assert near < np.abs(free.weights[name] - before).mean(), name


def test_the_base_is_one_network_for_the_windows_of_all_tickers(network):
    settings = SETTINGS.model_copy(
        update={"base_epochs": 4, "base_batch": 16, "base_learning_rate": 0.002}
    )
    data = pick(slice(0, 6), seeds=np.array([7], np.uint64))
    told = []
    found = trainer_of(1).fit_pooled(
        network, data, settings, on_epoch=lambda done, total: told.append((done, total))
    )
    assert {len(array) for array in found.weights.values()} == {1}
    assert told[-1] == (4, 4)
    assert np.isfinite(found.validation_loss[0, 0])
    assert np.nanmin(found.validation_loss[0]) <= found.initial_loss[0] + 1e-6
    again = trainer_of(1).fit_pooled(network, data, settings)
    for name, array in found.weights.items():
        assert_array_equal(array, again.weights[name])
