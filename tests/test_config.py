"""What follows from settings."""

import pytest

from berm.config import load


@pytest.mark.parametrize(
    ("settings", "domain"),
    [
        ({}, "localhost:49980"),
        ({"PORT": "80"}, "localhost:80"),
        ({"DOMAIN": "example.com"}, "example.com"),
        ({"DOMAIN": "example.com:8080"}, "example.com:8080"),
        ({"TLS_CERT": "c", "TLS_KEY": "k"}, "localhost:49443"),
        ({"TLS_CERT": "c", "TLS_KEY": "k", "DOMAIN": "example.com"}, "example.com:49443"),
        ({"TLS_CERT": "c", "TLS_KEY": "k", "DOMAIN": "example.com", "TLS_PORT": "443"}, "example.com"),
        ({"TLS_CERT": "c", "TLS_KEY": "k", "DOMAIN": "example.com:8443"}, "example.com:8443"),
    ],
)
def test_the_domain_of_sandbox_names(settings: dict[str, str], domain: str) -> None:
    assert load({f"BERM_{name}": value for name, value in settings.items()}).public_domain == domain
