"""The address that clients see, from settings, requests and proxies."""

import pytest
from starlette.requests import Request

from server.errors import BadRequest
from server.http.base_url import base_url, networks_of
from server.settings import Settings


def seen(settings: Settings, client: str = "10.0.0.5", **headers: str) -> str:
    named = {"host": "inner:8080"} | {name.replace("_", "-"): value for name, value in headers.items()}
    scope = {
        "type": "http",
        "scheme": "http",
        "server": ("127.0.0.1", 8080),
        "client": (client, 4711),
        "path": "/dicomweb",
        "query_string": b"",
        "headers": [(name.encode(), value.encode()) for name, value in named.items()],
    }
    return base_url(Request(scope), settings)


BEHIND = Settings(trusted_proxies=("10.0.0.0/8", "::1"))
CASES = [
    ({}, "http://inner:8080"),
    ({"forwarded": "for=1.2.3.4;proto=https;host=pacs.example"}, "https://pacs.example"),
    ({"forwarded": 'proto=https;host="pacs.example:8443", proto=http;host=other'}, "https://pacs.example:8443"),
    ({"x_forwarded_proto": "https", "x_forwarded_host": "pacs.example"}, "https://pacs.example"),
    (
        {"x_forwarded_proto": "https", "x_forwarded_host": "pacs.example", "x_forwarded_port": "8443"},
        "https://pacs.example:8443",
    ),
    (
        {"x_forwarded_proto": "https", "x_forwarded_host": "pacs.example", "x_forwarded_port": "443"},
        "https://pacs.example",
    ),
    ({"x_forwarded_proto": "https, http", "x_forwarded_prefix": "/imaging/"}, "https://inner:8080/imaging"),
    ({"x_forwarded_host": "[2001:db8::1]:8443"}, "http://[2001:db8::1]:8443"),
    ({"x_forwarded_proto": "javascript"}, "http://inner:8080"),
    ({"x_forwarded_host": 'evil"/><script'}, "http://127.0.0.1:8080"),
    ({"x_forwarded_prefix": "//evil.example"}, "http://inner:8080"),
]


@pytest.mark.parametrize(("headers", "url"), CASES)
def test_a_trusted_proxy_is_believed(headers: dict[str, str], url: str) -> None:
    assert seen(BEHIND, **headers) == url


def test_nobody_else_is_believed() -> None:
    said = {"forwarded": "proto=https;host=evil.example", "x_forwarded_host": "evil.example"}
    assert seen(BEHIND, client="192.168.0.1", **said) == "http://inner:8080"
    assert seen(Settings(), **said) == "http://inner:8080"


def test_the_setting_wins() -> None:
    settings = Settings(base_url="https://ai.example/x/", trusted_proxies=("10.0.0.5",))
    assert seen(settings, forwarded="proto=http;host=other") == "https://ai.example/x"


def test_a_client_that_leaves_the_port_out() -> None:
    assert seen(Settings(), host="127.0.0.1") == "http://127.0.0.1:8080"


def test_what_is_no_network_is_refused_at_the_start() -> None:
    with pytest.raises(BadRequest, match="networks"):
        networks_of(("proxy.example",))
