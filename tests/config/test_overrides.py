"""Single keys from text: every key is reachable, every mistake is told in one line that helps."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heron.config import RunConfig, from_toml, override, recipe_config, to_toml
from heron.data import Cifar10
from heron.errors import ConfigError
from heron.split import ResNet18

DIGITS = recipe_config("digits", "heron", [])


def leaves(values, prefix=""):
    for name, value in values.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


KEYS = [key for key, _ in leaves(DIGITS.to_dict())]


def refusal(assignment, config=DIGITS):
    with pytest.raises(ConfigError) as caught:
        override(config, [assignment])
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    return message


@pytest.mark.parametrize(("key", "value"), list(leaves(DIGITS.to_dict())))
def test_every_key_takes_its_own_value(key, value):
    text = str(value).lower() if isinstance(value, bool) else str(value)
    assert override(DIGITS, [f"{key}={text}"]) == DIGITS


def test_later_assignments_win_and_spaces_do_not_matter():
    changed = override(DIGITS, ["rounds=3", " client.learning_rate = 3e-3 ", "rounds=4"])
    assert (changed.rounds, changed.client.learning_rate) == (4, 3e-3)
    assert recipe_config("digits", "heron", []) == DIGITS


@pytest.mark.parametrize(
    ("typo", "meant"),
    [
        ("client.lr", "client.learning_rate"),
        ("server.lr", "server.learning_rate"),
        ("client.learningrate", "client.learning_rate"),
        ("learning_rate", "client.learning_rate"),
        ("client.batchsize", "client.batch_size"),
        ("estimator.probe", "estimator.probes"),
        ("round", "rounds"),
        ("mu", "estimator.mu"),
        ("cut", "split.cut"),
        ("client.total", "clients.total"),
    ],
)
def test_an_unknown_key_names_the_nearest(typo, meant):
    message = refusal(f"{typo}=1")
    assert f"unknown key {typo!r}" in message
    assert f"did you mean {meant!r}" in message


def test_a_key_without_a_neighbour_gets_no_wild_guess():
    assert "did you mean" not in refusal("zzzzqqqq=1")


@pytest.mark.parametrize(
    "assignment",
    [
        "seed=-1",
        "seed=9223372036854775808",
        "rounds=0",
        "threads=0",
        "evaluation_period=0",
        "data.validation=1",
        "data.validation=-0.1",
        "clients.total=0",
        "clients.per_round=-1",
        "clients.partition=sorted",
        "clients.alpha=0",
        "clients.alpha=inf",
        "client.batch_size=0",
        "client.micro_batch=-1",
        "client.upload_period=0",
        "client.optimizer=lion",
        "client.learning_rate=0",
        "client.learning_rate=nan",
        "estimator.mu=0",
        "estimator.probes=-1",
        "estimator.distribution=uniform",
        "estimator.scheme=two_sided",
        "server.optimizer=momentum",
        "server.learning_rate=-1",
    ],
)
def test_a_value_out_of_range_names_its_key_and_what_was_found(assignment):
    key, _, value = assignment.partition("=")
    message = refusal(assignment)
    assert message.startswith(f"{key}: ")
    assert value in message


@pytest.mark.parametrize(
    "assignment",
    ["rounds=many", "rounds=1.5", "rounds=[1]", "rounds=", "wire=perhaps", "client.learning_rate=fast", "split.cut=3"],
)
def test_a_value_of_another_type_is_refused(assignment):
    assert refusal(assignment).startswith(f"{assignment.partition('=')[0]}: ")


@pytest.mark.parametrize("assignment", ["rounds=true", "client.batch_size=true", "client.learning_rate=true"])
def test_a_truth_value_is_no_number(assignment):
    assert refusal(assignment).startswith(f"{assignment.partition('=')[0]}: ")


@pytest.mark.parametrize("assignment", ["rounds", "", "client.learning_rate"])
def test_an_assignment_without_equals_is_refused(assignment):
    assert refusal(assignment) == f"expected --set key=value, found {assignment!r}"


def test_a_whole_section_is_not_a_key():
    assert "unknown key 'client'" in refusal("client={batch_size=1}")


def test_a_second_line_cannot_hide_in_a_value():
    refusal("rounds=3\nseed=4")


@pytest.mark.parametrize("text", ["1" * 5000, "[" * 5000], ids=["digits", "brackets"])
def test_monstrous_values_are_refused(text):
    refusal(f"rounds={text}")


def test_an_unknown_algorithm_cannot_be_set():
    assert "did you mean 'heron'" in refusal("algorithm=heroon")


@pytest.mark.parametrize(
    ("section", "key", "kind", "own"),
    [("data", "name", Cifar10(train_limit=5), "train_limit=5"), ("split", "model", ResNet18(width=8), "width=8")],
)
def test_another_kind_of_section_has_its_own_keys_with_their_defaults(section, key, kind, own):
    words = [f"{section}.{key}={getattr(kind, key)}", f"{section}.{own}", "rounds=3"]
    expected = replace(DIGITS, rounds=3, **{section: kind})
    for assignments in (words, words[::-1], [f"{section}.{key}=digits", *words]):
        found = override(DIGITS, assignments)
        assert found == expected
        assert from_toml(to_toml(found)) == expected


def test_the_present_kind_of_a_section_keeps_its_values():
    changed = override(DIGITS, ["data.validation=0.3"])
    assert override(changed, ["data.name=digits", "split.model=digits_cnn"]) == changed


def test_an_unknown_kind_of_section_names_the_nearest():
    assert refusal("data.name=cifar").startswith("unknown data.name 'cifar'; did you mean 'cifar10'?; known: digits, ")
    assert refusal("data.name=3").startswith("expected the name of data.name, one of digits, ")
    assert refusal("split.model=resnet").startswith("unknown split.model 'resnet'; did you mean 'resnet18'?")


def test_a_key_of_another_kind_names_the_kind():
    expected = "unknown key 'data.text_column', which data.name=text has; set that, too"
    assert refusal("data.text_column=review").startswith(expected)
    assert "which data.name=text has" not in refusal("data.text_colum=review")
    assert "which data.name=cifar10 has" not in refusal("data.validaton=0.5")


TEXT = st.text(max_size=20)
VALUES = st.one_of(
    TEXT,
    st.integers().map(str),
    st.floats().map(str),
    st.sampled_from(["", "true", "''", '""', "[]", "{}", "1979-05-27", "1e400", "-nan", "resnet18", "cpu", "adam"]),
)
ASSIGNMENTS = st.one_of(TEXT, st.builds("{}={}".format, st.one_of(st.sampled_from(KEYS), TEXT), VALUES))


@settings(max_examples=400, deadline=None)
@given(st.lists(ASSIGNMENTS, min_size=1, max_size=3))
def test_any_text_gives_a_configuration_or_one_line(assignments):
    try:
        result = override(DIGITS, assignments)
    except ConfigError as error:
        result = error
    if isinstance(result, ConfigError):
        assert len(str(result).splitlines()) == 1
    else:
        assert isinstance(result, RunConfig)
        assert from_toml(to_toml(result)) == result
