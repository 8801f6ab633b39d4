"""The file of a client's secret: named by its folder, drawn on its host, and looked at before anything starts."""

import re
from pathlib import Path

import pytest

from heron.deploy import check_deployment
from heron.deploy.party import read_settings
from heron.privacy.journal import Journal
from heron.privacy.secret_file import SecretFile


def told(folder: Path, level: str) -> list[str]:
    findings = check_deployment(folder, client=1)
    texts = [found.text for found in findings if found.level == level]
    return [text for text in texts if re.search(r"HERON_SECRET|secret (is|yet)", text)]


def test_a_folder_names_the_file_and_does_not_have_it(made) -> None:
    settings = read_settings(made / "client-1" / "client.env")
    assert settings["HERON_SECRET"] == str((made / "client-1" / "secret").absolute())
    assert settings["HERON_NODE_CONFIG"] == f"secret='{settings['HERON_SECRET']}'"
    assert not list(made.rglob("secret*"))
    (line,) = told(made, "ok")
    assert "no secret in" in line
    assert "a run that needs one draws it" in line


def test_a_secret_that_was_drawn_passes(folder) -> None:
    file = SecretFile(folder / "client-1" / "secret")
    file.secret()
    Journal(file.notes, "a1").add(0, "release/1", "x")
    (line,) = told(folder, "ok")
    assert line.endswith("is readable by its owner alone; notes of 1 runs")
    assert told(folder, "error") == []


DAMAGE = {
    "mode": (lambda path: path.chmod(0o644), "has mode 0644, other users may read this secret; chmod 600"),
    "content": (lambda path: path.write_bytes(b"short"), "expected a secret of 32 bytes"),
    "gone": (lambda path: path.unlink(), "cannot read .*secret: No such file"),
    "notes": (lambda path: path.with_name("secret.notes").write_bytes(b"x\n"), "found line 1 damaged"),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_damage_is_one_line(kind: str, folder) -> None:
    file = SecretFile(folder / "client-1" / "secret")
    file.secret()
    Journal(file.notes, "a1").add(0, "release/1", "x")
    damage, expected = DAMAGE[kind]
    damage(folder / "client-1" / "secret")
    (line,) = [each.text for each in check_deployment(folder, client=1) if each.level == "error"]
    assert re.search(expected, line), line
    assert "\n" not in line


def test_a_folder_of_before_is_told_what_it_lacks(folder) -> None:
    env = folder / "client-1" / "client.env"
    env.write_text(re.sub("^HERON_SECRET=.*\n", "", env.read_text(), flags=re.MULTILINE))
    (line,) = told(folder, "warning")
    assert line.startswith("no HERON_SECRET in client.env")


@pytest.mark.parametrize(
    ("named", "found"), [("threads=4", "no secret in"), ("secret='/elsewhere' threads=4", "secret='/elsewhere' in")]
)
def test_a_node_that_does_not_draw_from_the_file_is_told(named: str, found: str, folder) -> None:
    env = folder / "client-1" / "client.env"
    env.write_text(re.sub("^HERON_NODE_CONFIG=.*", f'HERON_NODE_CONFIG="{named}"', env.read_text(), flags=re.MULTILINE))
    (line,) = told(folder, "warning")
    assert line.startswith(f"{found} HERON_NODE_CONFIG: ")
    assert "\n" not in line
    assert told(folder, "ok") == []


def test_a_secret_in_a_folder_of_another_user_is_one_line(folder, monkeypatch) -> None:
    real = Path.stat

    def stat(path: Path, **options: bool) -> object:
        if path.name == "secret":
            raise PermissionError(13, "Permission denied")
        return real(path, **options)

    monkeypatch.setattr(Path, "stat", stat)
    (line,) = [each.text for each in check_deployment(folder, client=1) if each.level == "error"]
    assert re.search("cannot read .*secret: Permission denied", line), line
