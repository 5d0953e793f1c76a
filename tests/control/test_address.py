import pytest

from forestay.control.address import join_address, split_address


@pytest.mark.parametrize(
    ("endpoint_id", "host", "port"),
    [("10.0.0.1:80", "10.0.0.1", 80), ("[::1]:8080", "::1", 8080), ("db.internal:5432", "db.internal", 5432)],
)
def test_splitting_and_joining_are_inverse(endpoint_id: str, host: str, port: int) -> None:
    assert split_address(endpoint_id) == (host, port)
    assert join_address(host, port) == endpoint_id


def test_every_spelling_of_an_address_gives_one_id() -> None:
    assert join_address("0:0:0:0:0:0:0:1", 80) == "[::1]:80"
    assert join_address("::ffff:10.0.0.1", 80) == "10.0.0.1:80"
    assert join_address("DB.internal", 80) == "db.internal:80"


@pytest.mark.parametrize("text", ["", "host", ":80", "host:", "host:http", "host:0", "host:65536", "[]:80", "host:²"])
def test_what_is_no_address_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match=r"write \"10\.0\.0\.1:8080\""):
        split_address(text)
