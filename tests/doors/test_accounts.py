from tests.doors.conftest import Api
from tracker.access.roles import Role
from tracker.doors.identity import ACCESS


async def test_a_token_is_shown_once_and_listed_without_its_secret(api: Api) -> None:
    made = await api.call("POST", "/v1/tokens", {"name": "script", "role": "dispatcher"}, expect=201)
    assert (made["kind"], made["role"]) == ("api", "dispatcher")
    assert (await api.app[ACCESS].caller(made["token"])).role is Role.DISPATCHER
    await api.call("POST", "/v1/tokens", {"name": "mast", "kind": "gateway"}, expect=201)
    await api.call("POST", "/v1/devices", {"name": "bus"}, expect=201)
    listed = await api.pages("/v1/tokens", "tokens", 2)
    assert [(t["kind"], t["role"], t["device"]) for t in listed] == [
        ("api", "dispatcher", None),
        ("gateway", None, None),
        ("device", None, "dev_1"),
    ]
    assert all(made["token"] not in str(token) for token in listed)
    assert [t["kind"] for t in (await api.call("GET", "/v1/tokens?kind=gateway"))["tokens"]] == ["gateway"]
    assert [t["id"] for t in (await api.call("GET", "/v1/tokens?device=dev_1"))["tokens"]] == ["tok_3"]


async def test_a_token_of_the_wrong_kind_is_refused_by_its_field(api: Api) -> None:
    for body, field in (
        ({"name": "a"}, "role"),
        ({"name": "a", "kind": "gateway", "role": "viewer"}, "role"),
        ({"name": "a", "kind": "device", "role": "viewer"}, "kind"),
        ({"name": "a", "role": "root"}, "role"),
        ({"name": "a\x00", "role": "viewer"}, "name"),
        ({"role": "viewer"}, "name"),
    ):
        assert (await api.problem("POST", "/v1/tokens", body, expect=422))["field"] == field
    assert (await api.problem("GET", "/v1/tokens?kind=session", expect=422))["field"] == "kind"


async def test_a_device_token_is_revoked_like_any_other(api: Api) -> None:
    made = await api.call("POST", "/v1/devices", {"name": "bus"}, expect=201)
    ended: list[int] = []
    api.app[ACCESS].on_revoked(ended.append)
    await api.call("DELETE", "/v1/tokens/tok_1", expect=204)
    assert ended == [1]
    await api.problem("GET", "/v1/assets", expect=401, token=made["token"])


async def test_a_user_is_made_changed_listed_and_deleted(api: Api) -> None:
    made = await api.call("POST", "/v1/users", {"name": "Ada", "role": "viewer"}, expect=201)
    assert made["link"].startswith(f"{api.origin}/sign-in/")
    changed = await api.call("PATCH", "/v1/users/usr_1", {"name": "Ada L.", "role": "admin"})
    assert (changed["name"], changed["role"]) == ("Ada L.", "admin")
    assert await api.call("GET", "/v1/users/usr_1") == changed
    assert (await api.call("GET", "/v1/users"))["users"] == [changed]
    await api.call("DELETE", "/v1/users/usr_1", expect=204)
    assert (await api.call("GET", "/v1/users"))["users"] == []
    await api.problem("PATCH", "/v1/users/usr_1", {"name": "x"}, expect=404)
    await api.problem("DELETE", "/v1/users/usr_1", expect=404)
    for body, field in (
        ({"name": "a"}, "role"),
        ({"name": "a", "role": "boss"}, "role"),
        ({"name": "", "role": "viewer"}, "name"),
    ):
        assert (await api.problem("POST", "/v1/users", body, expect=422))["field"] == field
