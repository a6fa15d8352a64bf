"""Completion of the command line by a shell: commands, their options, keys, and the names of entries of conf/."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

__all__ = ["SHELLS", "completion_script"]

SHELLS = ("bash", "fish", "zsh")

_BASH = """\
_bouillon() {{
    local word="${{COMP_WORDS[COMP_CWORD]}}" before="${{COMP_WORDS[COMP_CWORD-1]}}" key="" words=""
    if [[ $word == "=" ]]; then
        key=$before
        word=""
    elif [[ $before == "=" ]]; then
        key="${{COMP_WORDS[COMP_CWORD-2]}}"
    fi
    case "$key" in
{values}
    esac
    if [[ -z $key ]]; then
        case "${{COMP_WORDS[1]}}" in
{options}
            *) words="{first}" ;;
        esac
    fi
    COMPREPLY=($(compgen -W "$words" -- "$word"))
    if [[ ${{COMPREPLY[0]}} == *= ]]; then compopt -o nospace 2>/dev/null; fi
}}
complete -o default -F _bouillon bouillon
"""
_ZSH = "autoload -U +X bashcompinit && bashcompinit\n"


def completion_script(shell: str, options: Mapping[str, Sequence[str]], entries: Mapping[str, Sequence[str]]) -> str:
    """Return a script that a shell reads at its start.

    Args:
        shell: one of `SHELLS`.
        options: command -> its options.
        entries: key of the command line -> the names that it takes.
    """
    return _fish(options, entries) if shell == "fish" else (_ZSH if shell == "zsh" else "") + _bash(options, entries)


def _bash(options: Mapping[str, Sequence[str]], entries: Mapping[str, Sequence[str]]) -> str:
    values = "\n".join(f'        {key}) words="{" ".join(names)}" ;;' for key, names in entries.items())
    own = "\n".join(f'            {name}) words="{" ".join(words)}" ;;' for name, words in options.items())
    first = " ".join([*options, *(f"{key}=" for key in entries)])
    return _BASH.format(values=values, options=own, first=first)


def _fish(options: Mapping[str, Sequence[str]], entries: Mapping[str, Sequence[str]]) -> str:
    lines = [f"complete -c bouillon -n __fish_use_subcommand -a '{' '.join(options)}'"]
    for key, names in entries.items():
        values = " ".join(f"{key}={name}" for name in names)
        lines.append(f"complete -c bouillon -n 'not __fish_seen_subcommand_from {' '.join(options)}' -a '{values}'")
    for command, words in options.items():
        for word in words:
            lines.append(
                f"complete -c bouillon -n '__fish_seen_subcommand_from {command}' -l {word.removeprefix('--')}"
            )
    return "\n".join(lines) + "\n"
