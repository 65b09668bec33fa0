"""Signatures, checked by hand and against the example of the specification."""

import base64
import hashlib
import hmac
import time
from pathlib import Path
from typing import Any

from tracker.hooks.signing import KEY_BYTES, new_key, secret_of, signature_headers


def test_the_example_of_the_specification_has_the_signature_that_it_says() -> None:
    key = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    headers = signature_headers(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert headers == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


def test_a_receiver_verifies_with_nothing_but_the_secret_and_the_request() -> None:
    secret, body = secret_of(new_key()), '{"name":"Käpylä"}'.encode()
    headers = signature_headers(base64.b64decode(secret.removeprefix("whsec_")), "dlv_7", 1_700_000_000, body)
    key = base64.b64decode(secret.removeprefix("whsec_"))
    digest = hmac.new(key, b"dlv_7.1700000000." + body, hashlib.sha256).digest()
    assert headers["webhook-signature"] == "v1," + base64.b64encode(digest).decode()


def test_keys_are_long_and_never_the_same() -> None:
    keys = {new_key() for _ in range(100)}
    assert len(keys) == 100
    assert {len(key) for key in keys} == {KEY_BYTES}


def test_the_ten_lines_of_the_manual_verify_what_is_sent() -> None:
    manual = (Path(__file__).parents[2] / "docs" / "hooks.md").read_text(encoding="utf-8")
    example: dict[str, Any] = {}
    exec(manual.split("```python\n")[1].split("```")[0], example)  # noqa: S102 - our own manual
    key = new_key()
    headers = signature_headers(key, "dlv_7", int(time.time()), b'{"type":"geofence.enter"}')
    assert example["verified"](secret_of(key), headers, b'{"type":"geofence.enter"}')
    assert not example["verified"](secret_of(key), headers, b'{"type":"geofence.exit"}')
    assert not example["verified"](secret_of(new_key()), headers, b'{"type":"geofence.enter"}')
    stale = signature_headers(key, "dlv_7", int(time.time()) - 301, b"{}")
    assert not example["verified"](secret_of(key), stale, b"{}")
