"""The command line reference, read from the parser that the command line uses."""

import argparse
from collections.abc import Iterator
from typing import Any

from heron.cli.parser import make_parser

_INTRO = """\
# Command line

`heron COMMAND --help` prints the same for one command. A mistake is reported in one line, with exit code 2; Ctrl-C
ends with 130."""

_USAGE_WIDTH = 80


def commands_page() -> str:
    """Make the page.

    Returns:
        Markdown with a heading for each command.
    """
    parser = make_parser()
    parts = [_INTRO]
    for command, text in _commands(parser):
        parts += [f"## `{command.prog}`", _sentence(text)]
        if next(_commands(command), None) is None:
            parts += _description(command)
        for action, action_text in _commands(command):
            parts += [f"### `{action.prog}`", _sentence(action_text), *_description(action)]
    return "\n\n".join([*parts, *_examples(parser)]) + "\n"


def _commands(parser: argparse.ArgumentParser) -> Iterator[tuple[argparse.ArgumentParser, str]]:
    """The commands of a parser, with their help, in the parser's order."""
    for group in parser._actions:  # noqa: SLF001 - argparse has no public list of its arguments
        if isinstance(group, argparse._SubParsersAction):  # noqa: SLF001
            texts = {choice.dest: choice.help or "" for choice in group._choices_actions}  # noqa: SLF001
            yield from ((command, texts[name]) for name, command in group.choices.items())


def _description(parser: argparse.ArgumentParser) -> list[str]:
    """A line of usage, and a list of the arguments."""
    actions = [action for action in parser._actions if action.dest != "help"]  # noqa: SLF001
    parts = [f"```text\n{_wrapped([parser.prog, *map(_usage, actions)])}\n```"]
    if actions:
        parts.append("\n".join(f"- `{_name(action)}`: {_help(action)}" for action in actions))
    return parts


def _wrapped(words: list[str]) -> str:
    """Words on lines that a page shows whole, each in one piece."""
    lines = [words[0]]
    for word in words[1:]:
        if len(lines[-1]) + 1 + len(word) > _USAGE_WIDTH:
            lines.append("   ")
        lines[-1] += f" {word}"
    return "\n".join(lines)


def _usage(action: argparse.Action) -> str:
    """How an argument is typed: in brackets if it may be left out, with dots if it may be repeated."""
    text = _name(action)
    if action.nargs == "+":
        return f"{text}..."
    may_be_absent = action.nargs == "?" or (bool(action.option_strings) and not action.required)
    text = f"[{text}]" if may_be_absent else text
    return f"{text}..." if isinstance(action, argparse._AppendAction) else text  # noqa: SLF001


def _name(action: argparse.Action) -> str:
    value: Any = action.metavar or (action.dest.upper() if action.nargs != 0 else "")
    if not action.option_strings:
        return str(value)
    return f"{action.option_strings[-1]} {value}".strip()


def _help(action: argparse.Action) -> str:
    return (action.help or "").replace("%%", "%") + (" (required)" if action.option_strings and action.required else "")


def _examples(parser: argparse.ArgumentParser) -> list[str]:
    lines = (parser.epilog or "").strip().splitlines()
    examples = "\n".join(line.strip() for line in lines[1:])
    return ["## Examples", f"<!-- not run: some need a run, other data or a model -->\n```sh\n{examples}\n```"]


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."
