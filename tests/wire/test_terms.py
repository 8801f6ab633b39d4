"""Terms travel whole, and nothing that is not terms is taken for them."""

import dataclasses
import doctest
import json
import math
import random

import pytest

import heron.wire.plain
from heron.errors import MessageError
from heron.wire.groups import Client, Clients, Settings
from heron.wire.network import DeviceProfile, Network
from heron.wire.plain import from_plain, to_plain
from heron.wire.terms import MAX_BYTES, TensorTerm, Terms, UploadTerm, decode_terms, encode_terms

DEVICE = DeviceProfile("phone", 1.0, 2.0, 3.0, 0.5, 0.0, (0, 2))
TERMS = Terms(
    algorithm="heron",
    settings=Settings(
        seed=7,
        threads=1,
        client=Client(exact="all", learning_rate=0.1),
        clients=Clients(total=3),
        link=Network(profile="devices.toml", devices=(DEVICE,)),
    ),
    tensors=(
        TensorTerm("client.conv.weight", (8, 1, 3, 3), "float32", "replayed"),
        TensorTerm("auxiliary.fc.weight", (10, 16), "float32", "trained"),
        TensorTerm("client.norm.num_batches_tracked", (), "int64", "buffer"),
        TensorTerm("auxiliary.other", (2,), "float32", "downlink_only"),
    ),
    upload=UploadTerm((4, 2, 2), "float32", (), "int64", 10),
    data={"name": "digits", "validation": 0.2},
    network={"model": "digits_cnn", "cut": "relu3"},
)


def changed(path: tuple, value: object) -> bytes:
    """The terms with one value replaced; `...` drops the key."""
    values = json.loads(encode_terms(TERMS))
    place = values
    for key in path[:-1]:
        place = place[key]
    if value is ...:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return json.dumps(values).encode()


def test_terms_travel_whole() -> None:
    assert decode_terms(encode_terms(TERMS)) == TERMS
    assert encode_terms(decode_terms(encode_terms(TERMS))) == encode_terms(TERMS)


def test_names_by_role() -> None:
    assert TERMS.replayed == ("client.conv.weight",)
    assert TERMS.sent_back == ("auxiliary.fc.weight", "client.norm.num_batches_tracked")
    assert TERMS.names("downlink_only") == ("auxiliary.other",)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("version",), 2, "expected terms of version 1, found 2"),
        (("version",), True, "expected terms of version 1, found True"),
        (("version",), ..., "expected terms of version 1, found None"),
        (("algorithm",), 3, "terms.algorithm: expected a text, found 3"),
        (("settings", "seed"), -1, "terms.settings.seed: expected an integer of at least 0, found -1"),
        (("settings", "seed"), 1.5, "terms.settings.seed: expected an integer of at least 0, found 1.5"),
        (("settings", "wire"), 1, "terms.settings.wire: expected true or false, found 1"),
        (
            ("settings", "client", "exact"),
            "some",
            "client.exact: expected an integer of at least 0 or one of all, device",
        ),
        (("settings", "client", "optimizer"), "adamw", "expected one of sgd, momentum, adam, found 'adamw'"),
        (("settings", "client", "learning_rate"), "1", "terms.settings.client.learning_rate: expected a finite number"),
        (("settings", "client", "learning_rate"), ..., "'learning_rate' absent"),
        (("settings", "client", "lr"), 1, "'lr' unknown"),
        (("settings", "clients"), [], "terms.settings.clients: expected a table"),
        (("settings", "link", "devices"), {}, "terms.settings.link.devices: expected a list"),
        (
            ("settings", "link", "devices", 0, "clients"),
            [-1],
            r"devices\[0\].clients\[0\]: expected an integer of",
        ),
        (("tensors", 1, "name"), "client.conv.weight", "expected every name once"),
        (("tensors", 1, "role"), "secret", "expected one of replayed, trained, buffer, unit_buffer, constant, downl"),
        (("tensors", 1, "shape"), [-1], "expected an integer of at least 0, found -1"),
        (("tensors", 1, "shape"), [2**40], r"expected an integer in \[0, 1099511627776\)"),
        (("tensors", 1, "shape"), [1] * 9, "expected shapes of at most 8 dimensions, found one of 9"),
        (("upload", "num_classes"), None, "terms.upload.num_classes: expected an integer"),
        (("data",), None, "terms.data: expected a table"),
        (("extra",), 1, "'extra' unknown"),
    ],
)
def test_refuses_by_name(path: tuple, value: object, message: str) -> None:
    with pytest.raises(MessageError, match=message) as caught:
        decode_terms(changed(path, value))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_numbers_are_finite(number: str) -> None:
    content = encode_terms(TERMS).replace(b'"learning_rate":0.1', f'"learning_rate":{number}'.encode())
    with pytest.raises(MessageError):
        decode_terms(content)
    with pytest.raises(ValueError, match="JSON"):
        encode_terms(dataclasses.replace(TERMS, data={"share": math.nan}))


def test_size_is_bounded() -> None:
    with pytest.raises(MessageError, match="at most"):
        decode_terms(b" " * (MAX_BYTES + 1))
    many = tuple(TensorTerm(f"{index}" * 100, (1,), "float32", "trained") for index in range(40_000))
    with pytest.raises(MessageError, match="at most"):
        encode_terms(dataclasses.replace(TERMS, tensors=many))


def test_deep_and_foreign_bytes_are_refused() -> None:
    for content in (b"", b"null", b"[]", b"[" * 100_000, b"\xff\xfe", b'{"version":1}', encode_terms(TERMS)[:-1]):
        with pytest.raises(MessageError):
            decode_terms(content)


def test_mutated_terms_raise_nothing_else() -> None:
    """Bytes of terms, changed at random, are read as terms or refused."""
    generator, content = random.Random(0), encode_terms(TERMS)
    num_refused = 0
    for _ in range(3000):
        mutated = bytearray(content)
        for _ in range(generator.randint(1, 4)):
            mutated[generator.randrange(len(mutated))] = generator.randrange(256)
        try:
            assert isinstance(decode_terms(bytes(mutated)), Terms)
        except MessageError:
            num_refused += 1
    assert num_refused > 1000


def test_every_group_travels() -> None:
    """A value of each type in the groups survives; what a group gains later is covered without a change here."""
    settings = Settings(threads=1)
    assert from_plain(Settings, json.loads(json.dumps(to_plain(settings))), "settings") == settings


def test_doctests() -> None:
    results = doctest.testmod(heron.wire.plain)
    assert results.attempted
    assert not results.failed
