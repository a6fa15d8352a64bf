"""Who is served, and how fast a message leaves."""

import asyncio
import socket
from types import SimpleNamespace

import pytest
from bokeh.server.views.ws import WSHandler
from tornado.httpclient import AsyncHTTPClient, HTTPClientError
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler

from viewer.session.server import check_hosts, host_name, is_local, send_at_once, serve_this_machine


@pytest.fixture
def restored():
    kept = HTTPServer.handle_stream, WSHandler.open, Application.find_handler
    yield
    HTTPServer.handle_stream, WSHandler.open, Application.find_handler = kept


@pytest.mark.parametrize(
    ("address", "local"),
    [
        (("127.0.0.1", 5), True),
        (("127.1.2.3", 5), True),
        (("::1", 5, 0, 0), True),
        (("::ffff:127.0.0.1", 5, 0, 0), True),
        ("/run/viewer.sock", True),
        (("192.168.0.7", 5), False),
        (("fe80::1%eth0", 5, 0, 2), False),
        (("::ffff:10.0.0.1", 5, 0, 0), False),
    ],
)
def test_what_is_this_machine(address, local):
    assert is_local(address) is local


class Page(RequestHandler):
    def get(self):
        self.write("the results")


def own_address():
    """This machine's address in a network, which its own requests then come from."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # nothing is sent
        except OSError:
            pytest.skip("this machine is in no network")
        return probe.getsockname()[0]


async def fetched(host, port, name=None):
    headers = {} if name is None else {"Host": name.format(port=port)}
    try:
        return (
            await AsyncHTTPClient().fetch(
                f"http://{host}:{port}/", headers=headers, connect_timeout=0, request_timeout=0
            )
        ).body
    except (OSError, HTTPClientError) as error:
        return str(error)


def ask(host, name=None):
    async def asking():
        server = HTTPServer(Application([("/", Page)]))
        sockets = bind_sockets(0, "0.0.0.0", family=socket.AF_INET)
        server.add_sockets(sockets)
        try:
            return await fetched(host, sockets[0].getsockname()[1], name)
        finally:
            server.stop()
            await server.close_all_connections()

    return asyncio.run(asking())


def test_other_machines_are_not_served_unless_an_address_is_named(restored):
    other = own_address()
    serve_this_machine(["panel", "serve", "viewer", "--address=0.0.0.0"])
    assert ask(other) == b"the results"
    serve_this_machine(["panel", "serve", "viewer"])
    assert ask(other) != b"the results"
    assert ask("127.0.0.1") == b"the results"


def test_messages_leave_at_once(restored, monkeypatch):
    monkeypatch.setattr(WSHandler, "open", lambda self: None)
    send_at_once()
    set_to = []
    WSHandler.open(SimpleNamespace(ws_connection=object(), set_nodelay=set_to.append))
    WSHandler.open(SimpleNamespace(ws_connection=None, set_nodelay=set_to.append))
    assert set_to == [True]


@pytest.mark.parametrize(
    ("options", "name", "served"),
    [
        ([], "localhost:{port}", True),
        ([], "LOCALHOST", True),
        ([], "127.0.0.1:{port}", True),
        ([], "[::1]:{port}", True),
        ([], "evil.example:{port}", False),
        ([], "localhost.evil.example", False),
        ([], "192.168.0.7:{port}", False),
        (["--allow-websocket-origin=box.example:5006"], "box.example:5006", True),
        (["--allow-websocket-origin", "box.example"], "box.example:{port}", True),
        (["--allow-websocket-origin", "box.example"], "evil.example", False),
        (["--allow-websocket-origin=*"], "evil.example", True),
    ],
)
def test_a_page_under_another_name_is_not_served(restored, monkeypatch, options, name, served):
    """A web page can let a name of its own point to this machine (DNS rebinding), and would read the results."""
    monkeypatch.delenv("BOKEH_ALLOW_WS_ORIGIN", raising=False)
    check_hosts(["panel", "serve", "viewer", *options])
    assert ask("127.0.0.1", name) == (b"the results" if served else "HTTP 403: Forbidden")


def test_the_name_of_a_host():
    names = {"a.b:5": "a.b", "A.b": "a.b", "[::1]:5": "::1", "[::1]": "::1", "::1": "::1", "*": "*", "": ""}
    assert {host: host_name(host) for host in names} == names
