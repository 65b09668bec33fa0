import asyncio

import asyncpg
import pytest

from tests.doors.conftest import ADMIN, Api
from tracker.access.attempts import BURST
from tracker.access.roles import Role
from tracker.access.tokens import Access
from tracker.doors.identity import ACCESS


async def signed_in(api: Api, path: str) -> int:
    """Opens the link; the cookie stays in the jar of `api`."""
    api.token = None
    return (await api.send("GET", path)).status


async def test_a_link_signs_in_once_only(api: Api) -> None:
    link = await api.app[ACCESS].sign_in_link()
    response = await api.send("GET", link, token=None)
    assert (response.status, response.headers["Location"]) == (303, "/")
    cookie = response.cookies["tracker_session"]
    assert (cookie["httponly"], cookie["samesite"], cookie["path"]) == (True, "Lax", "/")
    assert int(cookie["max-age"]) == 30 * 24 * 3600
    assert (await api.send("GET", "/v1/assets", token=None)).status == 200
    again = await api.send("GET", link, token=None)
    assert again.status == 410
    assert "no longer works" in await again.text()
    assert "Set-Cookie" not in again.headers


async def test_of_racing_openings_of_a_link_one_wins(api: Api) -> None:
    link = await api.app[ACCESS].sign_in_link()
    answers = await asyncio.gather(*(api.send("GET", link, token=None) for _ in range(8)))
    assert sorted(answer.status for answer in answers) == [303] + [410] * 7


async def test_looking_at_a_link_without_opening_it_does_not_spend_it(api: Api) -> None:
    link = await api.app[ACCESS].sign_in_link()
    assert (await api.send("HEAD", link, token=None)).status == 405
    assert await signed_in(api, link) == 303


async def test_an_expired_link_says_what_to_do(api: Api, connection: asyncpg.Connection) -> None:
    link = await api.app[ACCESS].sign_in_link()
    await connection.execute("UPDATE sign_in_code SET expires_at = now()")
    response = await api.send("GET", link, token=None)
    assert response.status == 410
    assert 'href="/sign-in"' in await response.text()


async def test_neither_links_nor_sessions_stand_in_the_tables_in_clear(
    api: Api, connection: asyncpg.Connection
) -> None:
    link = await api.app[ACCESS].sign_in_link()
    response = await api.send("GET", link, token=None)
    cookie = response.cookies["tracker_session"].value
    rows = await connection.fetch("SELECT c.*, s.* FROM sign_in_code c, session s")
    assert link.rpartition("/")[2] not in str(rows)
    assert cookie not in str(rows)


async def test_a_pasted_token_signs_in_with_its_rights(api: Api) -> None:
    viewer = await api.token_of(Role.VIEWER)
    response = await api.send("POST", "/sign-in", data={"token": f" {viewer}\n"}, token=None)
    assert (response.status, response.headers["Location"]) == (303, "/")
    api.token = None
    await api.call("GET", "/v1/assets")
    await api.problem("GET", "/v1/users", expect=403)


@pytest.mark.parametrize("pasted", ["", "trk_wrong", "x" * 3000])
async def test_a_wrong_token_shows_the_form_again_with_the_reason(api: Api, pasted: str) -> None:
    response = await api.send("POST", "/sign-in", data={"token": pasted}, token=None)
    assert response.status == 401
    assert 'role="alert"' in await response.text()
    assert "Set-Cookie" not in response.headers


async def test_a_device_cannot_sign_in(api: Api) -> None:
    made = await api.call("POST", "/v1/devices", {"name": "a"}, expect=201)
    response = await api.send("POST", "/sign-in", data={"token": made["token"]}, token=None)
    assert response.status == 401
    assert "device token" in await response.text()


async def test_the_form_is_shown_and_takes_no_large_body(api: Api) -> None:
    page = await api.send("GET", "/sign-in", token=None)
    assert (page.status, page.content_type) == (200, "text/html")
    assert page.headers["Cache-Control"] == "no-store"
    large = await api.send("POST", "/sign-in", data={"token": "x" * 10_000}, token=None)
    assert large.status == 413


async def test_failures_are_bounded_and_forgiven(api: Api) -> None:
    for _ in range(BURST):
        assert (await api.send("POST", "/sign-in", data={"token": "wrong"}, token=None)).status == 401
    response = await api.send("POST", "/sign-in", data={"token": ADMIN}, token=None)
    assert response.status == 429
    assert int(response.headers["Retry-After"]) >= 1
    link = await api.app[ACCESS].sign_in_link()
    assert (await api.send("GET", link, token=None)).status == 429
    # A token in the header is not slowed: guessing 256 bits is no concern, the fleet's scripts are.
    await api.call("GET", "/v1/assets")


async def test_signing_out_ends_the_session_everywhere(api: Api) -> None:
    await signed_in(api, await api.app[ACCESS].sign_in_link())
    ended: list[bytes] = []
    api.app[ACCESS].on_session_ended(ended.append)
    await api.call("GET", "/v1/assets")
    cookie = next(iter(api.http.cookie_jar)).value
    response = await api.send("POST", "/sign-out", headers={"Origin": api.origin})
    assert (response.status, response.headers["Location"]) == (303, "/sign-in")
    assert len(ended) == 1
    stolen = await api.send("GET", "/v1/assets", headers={"Cookie": f"tracker_session={cookie}"})
    assert stolen.status == 401
    assert (await api.send("POST", "/sign-out")).status == 303


async def test_a_page_of_another_site_cannot_use_the_session(api: Api) -> None:
    await signed_in(api, await api.app[ACCESS].sign_in_link())
    port = api.server.port
    assert port is not None
    for origin in (
        "https://evil.example", "null", "", f"http://127.0.0.1:{port + 1}", f"http://localhost:{port}", "http://127.0.0.1",
        f"ftp://127.0.0.1:{port}", f"http://127.0.0.1:{port}.evil.example", f"http://127.0.0.1:{port}@evil.example",
    ):  # fmt: skip
        found = await api.problem("POST", "/v1/assets", {"name": "a"}, expect=403, headers={"Origin": origin})
        assert found["code"] == "foreign_origin"
        assert (await api.send("POST", "/sign-out", headers={"Origin": origin})).status == 403
    await api.problem("POST", "/v1/assets", {"name": "a"}, expect=403)
    await api.call("POST", "/v1/assets", {"name": "a"}, expect=201, headers={"Origin": api.origin})
    # The page may be https where a proxy ends TLS before us.
    await api.call("DELETE", "/v1/assets/ast_1", expect=204, headers={"Origin": api.origin.replace("http:", "https:")})


async def test_a_token_needs_no_origin_and_wins_over_the_cookie(api: Api) -> None:
    await signed_in(api, await api.app[ACCESS].sign_in_link())
    viewer = await api.token_of(Role.VIEWER)
    found = await api.problem("POST", "/v1/assets", {"name": "a"}, expect=403, token=viewer)
    assert found["code"] == "forbidden"
    await api.call(
        "POST", "/v1/assets", {"name": "a"}, expect=201, token=ADMIN, headers={"Origin": "https://evil.example"}
    )


async def test_a_form_of_another_site_cannot_sign_in(api: Api) -> None:
    response = await api.send(
        "POST", "/sign-in", data={"token": ADMIN}, token=None, headers={"Origin": "https://evil.example"}
    )
    assert response.status == 403


async def test_revoking_a_token_ends_the_sessions_made_from_it(api: Api) -> None:
    made = await api.call("POST", "/v1/tokens", {"name": "t", "role": "viewer"}, expect=201)
    await api.send("POST", "/sign-in", data={"token": made["token"]}, token=None)
    assert (await api.send("GET", "/v1/assets", token=None)).status == 200
    await api.call("DELETE", f"/v1/tokens/{made['id']}", expect=204)
    assert (await api.send("GET", "/v1/assets", token=None)).status == 401
    assert (await api.send("GET", "/v1/assets", token=made["token"])).status == 401
    await api.problem("DELETE", f"/v1/tokens/{made['id']}", expect=404)


async def test_another_preset_token_ends_the_sessions_made_with_the_old_one(api: Api) -> None:
    await api.send("POST", "/sign-in", data={"token": ADMIN}, token=None)
    cookie = next(iter(api.http.cookie_jar)).value
    database = api.app[ACCESS]._database
    assert await Access(database, admin_token=ADMIN).session(cookie) is not None
    assert await Access(database, admin_token="another-preset-token").session(cookie) is None
    assert await Access(database).session(cookie) is None


async def test_a_session_ends_with_its_account_and_follows_its_role(api: Api) -> None:
    user = await api.call("POST", "/v1/users", {"name": "Ada", "role": "viewer"}, expect=201)
    path = user["link"].removeprefix(api.origin)
    assert path.startswith("/sign-in/")
    assert (await api.send("GET", path, token=None)).status == 303
    origin = {"Origin": api.origin}
    assert (await api.send("POST", "/v1/assets", json={"name": "a"}, token=None, headers=origin)).status == 403
    await api.call("PATCH", f"/v1/users/{user['id']}", {"role": "dispatcher"})
    assert (await api.send("POST", "/v1/assets", json={"name": "a"}, token=None, headers=origin)).status == 201
    second = await api.call("POST", f"/v1/users/{user['id']}/link", expect=201)
    await api.call("DELETE", f"/v1/users/{user['id']}", expect=204)
    assert (await api.send("GET", "/v1/assets", token=None)).status == 401
    assert (await api.send("GET", second["link"].removeprefix(api.origin), token=None)).status == 410
    await api.problem("GET", f"/v1/users/{user['id']}", expect=404)
    await api.problem("POST", f"/v1/users/{user['id']}/link", expect=404)


async def test_an_expired_session_is_over(api: Api, connection: asyncpg.Connection) -> None:
    await signed_in(api, await api.app[ACCESS].sign_in_link())
    await api.call("GET", "/v1/assets")
    await connection.execute("UPDATE session SET expires_at = now()")
    api.app[ACCESS].ended()
    await api.problem("GET", "/v1/assets", expect=401)
    await api.app[ACCESS].prune()
    assert await connection.fetchval("SELECT count(*) FROM session") == 0


async def test_a_visitor_without_a_session_is_sent_to_sign_in(api: Api) -> None:
    response = await api.send("GET", "/", token=None, headers={"Accept": "text/html,*/*"})
    assert (response.status, response.headers["Location"]) == (303, "/sign-in")
    await api.problem("GET", "/", expect=401, token=None)
