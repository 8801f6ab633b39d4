"""A device's secret: what is drawn from it depends on it alone, and no two draws have anything in common."""

import math

import numpy as np
import pytest

from heron.errors import ConfigError
from heron.privacy import Secret

SECRET = Secret(bytes(32))


def test_a_draw_is_a_function_of_secret_purpose_and_counters() -> None:
    drawn = SECRET.normals((3,), "noise", 4, 2)
    assert np.array_equal(drawn, Secret(bytes(32)).normals((3,), "noise", 4, 2))
    others = [
        Secret.fresh().normals((3,), "noise", 4, 2),
        SECRET.of(0).normals((3,), "noise", 4, 2),
        SECRET.normals((3,), "batch", 4, 2),
        SECRET.normals((3,), "noise", 2, 4),
        SECRET.normals((3,), "noise", 4, 2, 0),
    ]
    values = {float(value) for other in others for value in other}
    assert len(values) == 15
    assert not values & set(map(float, drawn))


def test_normals_are_standard_and_independent() -> None:
    drawn = SECRET.normals((200, 1001), "noise")
    flat = np.sort(drawn.ravel())
    expected = np.array([0.5 * math.erfc(-value / math.sqrt(2)) for value in flat[::100]])
    found = (np.arange(len(flat))[::100] + 0.5) / len(flat)
    # Kolmogorov: above 1.95 / sqrt(n) in one of a thousand.
    assert np.abs(found - expected).max() < 1.95 / math.sqrt(len(flat))
    correlation = np.corrcoef(drawn[:, :-1].ravel(), drawn[:, 1:].ravel())[0, 1]
    assert abs(correlation) < 4 / math.sqrt(drawn.size)
    assert abs(np.corrcoef(drawn[:, 0], drawn[:, 501])[0, 1]) < 4 / math.sqrt(200)
    assert SECRET.normals((0,), "noise").shape == (0,)


@pytest.mark.parametrize("rate", [0.0, 0.14, 1.0])
def test_each_example_is_chosen_with_its_probability_and_alone(rate: float) -> None:
    drawn = [SECRET.chosen(230, rate, "batch", step) for step in range(400)]
    counts = np.array([len(batch) for batch in drawn])
    spread = math.sqrt(230 * rate * (1 - rate))
    assert abs(counts.mean() - 230 * rate) <= 4 * spread / math.sqrt(400)
    if 0 < rate < 1:
        assert 0.8 < counts.std() / spread < 1.2
    often = np.bincount(np.concatenate([np.empty(0, np.int64), *drawn]), minlength=230) / 400
    assert np.abs(often - rate).max() <= 5 * math.sqrt(rate * (1 - rate) / 400)


def test_the_key_is_not_shown() -> None:
    secret = Secret(b"0123456789abcdef" * 2)
    for text in (repr(secret), str(secret), secret.digest()):
        assert "0123456789" not in text
        assert secret.reveal().hex() not in text
    assert secret.digest() == Secret(b"0123456789abcdef" * 2).digest() != Secret.fresh().digest()


def test_a_short_secret_is_refused() -> None:
    with pytest.raises(ConfigError, match="expected a secret of 32 bytes, found 3"):
        Secret(b"abc")


def test_a_shorter_draw_is_the_beginning_of_a_longer_one() -> None:
    assert np.array_equal(SECRET.uniforms(9, "noise", 1)[:4], SECRET.uniforms(4, "noise", 1))
    assert SECRET.derived("key", 3) != SECRET.derived("key", 4)
    assert len(SECRET.derived("key")) == 32
