"""When two written answers are the same: the definition that metrics use, for the viewer."""

from __future__ import annotations

from ops.core.tasks.answer_text import normalized

__all__ = ["normalized"]
