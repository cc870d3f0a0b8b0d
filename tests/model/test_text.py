import pytest

from exchanger.model.text import PATH_LIMIT, loggable_host, loggable_path


@pytest.mark.parametrize(
    ("path", "logged"),
    [
        ("/orders/1", "/orders/1"),
        ("", ""),
        ("*", "*"),
        ("/orders?token=x", "/orders"),
        ("/orders?a=b?c=d#e", "/orders"),
        ("/orders#access_token=x", "/orders"),
        ("/orders#a?b", "/orders"),
        ("/a\nb\r\x00\x1b[31m\x7f\x85", "/a�b���[31m��"),
        ("/a\u202eb\u2028c", "/a�b�c"),
        ("/\ud800", "/�"),
        ("/übung", "/übung"),
        ("/users/joe@example.com", "/users/joe@example.com"),
        ("http://user:password@api.example.com/orders", "http://…@api.example.com/orders"),
        ("HTTP://user:p@ss@api.example.com/orders", "HTTP://…@api.example.com/orders"),
        ("//user:password@api.example.com/orders", "//…@api.example.com/orders"),
        ("///user:password@api.example.com/orders", "///…@api.example.com/orders"),
        ("/\\user:password@api.example.com/orders", "/\\…@api.example.com/orders"),
        ("http:\\\\user:password@api.example.com", "http:\\\\…@api.example.com"),
        ("/a/../b%2Fc%20d/%e4%b8%ad", "/a/../b%2Fc%20d/%e4%b8%ad"),
        ("//admin//x", "//admin//x"),
        ("/50%25off", "/50%25off"),
        ("/50%/off;token=x", "/50%/off;…"),
        ("/o%3Ftoken=x", "/o%3F…"),
        ("/o%253ftoken=x", "/o%253f…"),
        ("/o%%33Ftoken=x", "/…"),
        ("/o%3!Ftoken=x", "/…"),
        ("/o%u003Ftoken=x", "/…"),
        ("/o%C0%BFtoken=x", "/…"),
        ("/o%E0%80%BFtoken=x", "/…"),
        ("/o%F0%80%80%BFtoken=x", "/…"),
        ("/o\udcc0\udcbftoken=x", "/…"),
        ("/o\uff1ftoken=x", "/…"),
        ("/o%EF%BC%9Ftoken=x", "/…"),
        ("/o;token=x/y", "/o;…"),
        ("/o%23token=x", "/o%23…"),
        ("/%80a%e4%b8a@b", "/%80a%e4%b8a@b"),
        ("/user:password@api.example.com/orders", "/…@api.example.com/orders"),
        ("/a/http:/token@api.example.com/b@c", "/a/…@c"),
        ("/x//user:password%40api.example.com/b", "/x//…%40api.example.com/b"),
        ("/user:a\\\\b@api.example.com/c@d", "/…@d"),
        ("/user:a%3Fb@api.example.com", "/…"),
        ("//user:a?b@api.example.com", "//…"),
        ("user@api.example.com", "…@api.example.com"),
        ("/v1/orders:batch?mail=a@b", "/v1/orders:batch"),
        ("/a%252e%252e/admin", "/a%252e%252e/admin"),
        ("/users/joe%40example.com", "/users/joe%40example.com"),
        ("/a//joe%2540example.com", "/a//…%2540example.com"),
        ("/a%0d%0aset", "/a%0d%0aset"),
        ("/100%/off", "/100%/off"),
        ("/100%?token=x", "/100%"),
        ("/100%", "/100%"),
        ("/%E2%82%AC%E2%80%93", "/%E2%82%AC%E2%80%93"),
        ("/a/caf%EF%BC%9Ftoken/b", "/a/…"),
        ("/a\\b\ufe1360@x", "/…"),
    ],
)
def test_a_path_is_logged_without_what_may_carry_a_credential(path: str, logged: str) -> None:
    assert loggable_path(path) == logged


def test_a_path_of_just_the_limit_is_whole() -> None:
    path = "/" + "a" * (PATH_LIMIT - 1)
    assert loggable_path(path) == path
    assert loggable_path(path + "a") == path[:-1] + "…"
    assert "p" * 100 not in loggable_path("http://" + "p" * 100_000 + "@h/")


@pytest.mark.parametrize(
    ("host", "logged"),
    [
        ("api.example.com:8443", "api.example.com:8443"),
        ("[2001:db8::1]:443", "[2001:db8::1]:443"),
        ("", ""),
        ("user:password@api.example.com", "…@api.example.com"),
        ("a@b@api.example.com", "…@api.example.com"),
        ("api\r\nSet-Cookie: x", "api��Set-Cookie: x"),
        ("user:password%40api.example.com", "…%40api.example.com"),
        ("api.example.com?token=x", "api.example.com"),
    ],
)
def test_a_host_is_logged_without_user_information(host: str, logged: str) -> None:
    assert loggable_host(host) == logged
