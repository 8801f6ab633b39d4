"""Profiles of devices: what is read becomes part of the configuration, what cannot be read is told in one line."""

import math
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heron.config import fingerprint, from_toml, override, recipe_config, to_toml
from heron.config.devices import link_model, read_profile
from heron.costs.operations import StepFlops
from heron.errors import ConfigError

ROOT = Path(__file__).parents[2]
FLOPS = StepFlops((1, 2), (3,), 32)
PHONE = {"uplink_mbps": 10, "downlink_mbps": 40.5, "latency_ms": 25, "speed": 2}
DIGITS = recipe_config("digits", "heron", [])


def toml(**classes: dict) -> str:
    return "".join(
        f"[{name}]\n" + "".join(f"{key} = {value}\n" for key, value in table.items()) for name, table in classes.items()
    )


@pytest.fixture
def profile(tmp_path):
    def write(text: str | bytes) -> str:
        path = tmp_path / "devices.toml"
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return f"link.profile={path}"

    return write


def refusal(*assignments: str) -> str:
    with pytest.raises(ConfigError) as caught:
        recipe_config("digits", "heron", list(assignments))
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    return message


def model_of(*assignments: str):
    return link_model(recipe_config("digits", "heron", list(assignments)), lambda _: FLOPS)


def test_by_default_no_time_is_simulated() -> None:
    assert model_of() is None
    assert model_of("link.profile=") is None


@pytest.mark.parametrize("key", ["uplink_mbps", "downlink_mbps", "latency_ms", "client_gflops", "server_gflops"])
def test_any_number_above_0_has_time_simulated(key: str) -> None:
    model = model_of(f"link.{key}=8")
    device = model.device(0)
    found = {
        "uplink_mbps": device.uplink_bytes_per_s,
        "downlink_mbps": device.downlink_bytes_per_s,
        "latency_ms": device.latency_s,
        "client_gflops": device.flops_per_s,
        "server_gflops": model.server_flops_per_s,
    }
    # 8 megabits are a million bytes.
    expected = dict.fromkeys(found, math.inf) | {"latency_ms": 0.0}
    expected[key] = {"latency_ms": 0.008, "uplink_mbps": 1e6, "downlink_mbps": 1e6}.get(key, 8e9)
    assert found == pytest.approx(expected)
    assert (model.flops is FLOPS) == key.endswith("gflops")


def test_a_profile_is_saved_with_the_run(profile) -> None:
    text = toml(phone=PHONE | {"share": 1}, box=PHONE | {"speed": 4, "clients": [1, 3]})
    config = recipe_config("digits", "heron", [profile(text), "link.client_gflops=3", "seed=5"])
    assert [(one.name, one.share, one.clients) for one in config.link.devices] == [("phone", 1, ()), ("box", 0, (1, 3))]
    profile("damaged")
    again = from_toml(to_toml(config))
    assert again == config
    assert hash(again) == hash(config)
    model = link_model(again, lambda _: FLOPS)
    assert [model.device(client).flops_per_s for client in range(4)] == [6e9, 12e9, 6e9, 12e9]
    assert model.device(0).uplink_bytes_per_s == 1.25e6
    assert model.device(0).downlink_bytes_per_s == 40.5e6 / 8
    assert model.device(0).latency_s == 0.025
    assert model.seed == 5
    assert override(config, ["link.profile="]).link.devices == ()


def test_fingerprints_differ_with_the_content_of_a_profile(profile) -> None:
    found = set()
    for latency in (25, 26):
        word = profile(toml(phone=PHONE | {"latency_ms": latency, "share": 1}))
        found |= {fingerprint(recipe_config("digits", "heron", [word]))}
    assert len(found) == 2


def test_the_example_is_a_profile() -> None:
    assert [one.name for one in read_profile(ROOT / "examples" / "devices.toml")] == ["hospital", "edge-box", "phone"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "expected 1 to 1000 device classes, found 0"),
        ("[phone", "expected a TOML file of device classes"),
        (b"\xff\xfe", "expected a TOML file of device classes"),
        ("phone = 3\n", "class 'phone': expected a table of uplink_mbps, downlink_mbps, latency_ms, speed"),
        (toml(phone=PHONE), "class 'phone': expected one of share and clients, found neither"),
        (toml(phone=PHONE | {"share": 1, "clients": [1]}), "expected one of share and clients, found both"),
        (toml(phone=PHONE | {"share": 1, "colour": 1}), "found the unknown key 'colour'"),
        (toml(phone=PHONE | {"share": 1, "name": "'x'"}), "found the unknown key 'name'"),
        (toml(phone={"share": 1, "speed": 1}), "found no uplink_mbps"),
        (toml(phone=PHONE | {"share": 1, "speed": 0}), "speed: expected a finite number above 0, found 0"),
        (toml(phone=PHONE | {"share": 1, "latency_ms": -1}), "latency_ms: expected a finite number of at least 0"),
        (
            toml(phone=PHONE | {"share": 1, "uplink_mbps": "inf"}),
            "uplink_mbps: expected a finite number of",
        ),
        (
            toml(phone=PHONE | {"share": 1, "uplink_mbps": "'fast'"}),
            "uplink_mbps: expected a finite number of",
        ),
        (toml(phone=PHONE | {"share": 1.5}), "share: expected a number in [0, 1], found 1.5"),
        (
            toml(phone=PHONE | {"clients": [-1]}),
            "clients: expected a list, and in it an integer",
        ),
        (toml(phone=PHONE | {"clients": ["'a'"]}).replace('"', ""), "clients: expected a list, and in it an integer"),
        (toml(phone=PHONE | {"share": 0.5}), "expected shares that sum to 1, found 0.5"),
        (toml(a=PHONE | {"share": 0.6}, b=PHONE | {"share": 0.5}), "expected shares that sum to 1, found 1.1"),
        (toml(phone=PHONE | {"clients": [0, 1, 2, 4]}), "found none for client 3 of clients.total = 5"),
        (toml(phone=PHONE | {"clients": [0, 5]}), "expected clients below clients.total = 5, found 5"),
        (toml(a=PHONE | {"clients": [0, 1]}, b=PHONE | {"clients": [1]}), "found client 1 in 'a' and in 'b'"),
        (toml(a=PHONE | {"clients": [2, 2]}), "found client 2 in 'a' and in 'a'"),
        (b"#" * (2**20 + 1), "expected a profile of at most 1,048,576 bytes"),
    ],
)
def test_what_is_no_profile_is_refused(profile, text, told) -> None:
    assert told in refusal(profile(text))


def test_a_file_that_is_not_there_is_refused(tmp_path) -> None:
    assert "found no file" in refusal(f"link.profile={tmp_path / 'nothing.toml'}")
    assert "found no file" in refusal(f"link.profile={tmp_path}")


@pytest.mark.parametrize("key", ["uplink_mbps", "downlink_mbps", "latency_ms"])
def test_rates_beside_a_profile_are_refused(profile, key: str) -> None:
    word = profile(toml(phone=PHONE | {"share": 1}))
    assert "drop the profile" in refusal(word, f"link.{key}=1")


def test_a_saved_profile_without_its_content_is_refused(profile) -> None:
    config = recipe_config("digits", "heron", [profile(toml(phone=PHONE | {"clients": [0, 1, 2, 3, 4]}))])
    text = to_toml(config)
    stripped = text[: text.index("[[link.devices]]")] + "devices = []\n\n" + text[text.index("[split]") :]
    with pytest.raises(ConfigError, match="set the profile with --set"):
        from_toml(stripped)
    twice = text.replace("[split]", text[text.index("[[link.devices]]") : text.index("[split]")] + "[split]")
    with pytest.raises(ConfigError, match="expected each client once"):
        from_toml(twice)


def test_classes_of_one_name_are_refused(profile) -> None:
    config = recipe_config("digits", "heron", [profile(toml(a=PHONE | {"share": 0.5}, b=PHONE | {"share": 0.5}))])
    with pytest.raises(ConfigError, match="expected different names of classes"):
        from_toml(to_toml(config).replace('"b"', '"a"'))


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_any_bytes_are_a_profile_or_one_line(tmp_path_factory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.toml"
    path.write_bytes(content)
    told = ""
    try:
        override(DIGITS, [f"link.profile={path}"])
    except ConfigError as error:
        told = str(error)
    assert len(told.splitlines()) <= 1
