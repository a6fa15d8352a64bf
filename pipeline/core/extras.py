"""Install commands for optional libraries that leave what is pinned alone: torch above all, of which others bring gigabytes."""

from __future__ import annotations


def install_command(extra: str) -> str:
    """The command that installs an extra of pyproject.toml, to be typed in the checkout with the environment active."""
    return f"pip install -c scripts/constraints.txt -e '.[{extra}]'"
