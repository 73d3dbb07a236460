"""What is masked in text that people see, and what stays readable."""

from __future__ import annotations

import pytest

from runbook_lib.util.redact import mask


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("postgresql://app:hunter22@db/x failed", "postgresql://app:***@db/x failed"),
        ("host=db password=hunter22 user=a", "host=db password=*** user=a"),
        ("password='two words' user=a", "password=*** user=a"),
        ('{"api_key": "hunter22", "b": 1}', '{"api_key": ***, "b": 1}'),
        ("Authorization: Bearer hunter22", "Authorization: ***"),
        ("PGPASSWORD=hunter22 psql", "PGPASSWORD=*** psql"),
        ("https://hook.example/?token=hunter22&x=1", "https://hook.example/?token=***&x=1"),
        ("users: 4 rows at http://127.0.0.1:15410", "users: 4 rows at http://127.0.0.1:15410"),
        ("the password is wrong", "the password is wrong"),
    ],
)
def test_secrets_are_masked_and_nothing_else(text: str, expected: str) -> None:
    assert mask(text) == expected


def test_values_of_secret_environment_variables_are_masked_wherever_they_stand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOK_TOKEN", "abcdef123")
    assert mask("error at /services/abcdef123/post") == "error at /services/***/post"
