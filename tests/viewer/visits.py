"""The application without a browser: one visitor's page, and the other end of its wire."""

from types import SimpleNamespace

from bokeh.document import Document

from viewer.app import open_app


def visit(results, query=None):
    document = Document()
    arguments = {name: [value.encode()] for name, value in (query or {}).items()}
    document._session_context = lambda: SimpleNamespace(
        request=SimpleNamespace(arguments=arguments, cookies={}), destroyed=False
    )
    return open_app(document, [str(results)])


class Page:
    """The other end of the wire."""

    def __init__(self, app):
        self.app, self.number = app, 0
        self.updates = []
        app._bridge.on_change("update", lambda attr, old, new: self.updates.append(new))

    def say(self, kind, **content):
        self.number += 1
        self.app._bridge.message = {"number": self.number, "kind": kind, **content}
        return self.updates[-1] if self.updates else {}
