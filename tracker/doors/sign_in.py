"""Signing in and out in a browser: by a link that works once, or by pasting an API token."""

import logging
import math
from typing import Final

import aiohttp_jinja2
from aiohttp import web

from tracker.access.attempts import Attempts
from tracker.access.roles import public
from tracker.doors.identity import ACCESS, check_origin, drop_session_cookie, session_cookie, set_session_cookie
from tracker.errors import Forbidden, TooLarge, Unauthenticated

log = logging.getLogger(__name__)

ATTEMPTS: Final = web.AppKey("attempts", Attempts)
MAX_FORM_BYTES: Final = 4 * 1024


def routes() -> list[web.RouteDef]:
    # HEAD must not spend a link: programs that preview links send it.
    return [
        web.get("/sign-in", sign_in_page),
        web.post("/sign-in", sign_in_with_token),
        web.get("/sign-in/{code}", sign_in_with_link, allow_head=False),
        web.post("/sign-out", sign_out),
    ]


@public
async def sign_in_page(request: web.Request) -> web.StreamResponse:
    return _page(request)


@public
async def sign_in_with_token(request: web.Request) -> web.StreamResponse:
    if "Origin" in request.headers:
        check_origin(request)
    wait_s = _wait_s(request)
    if wait_s:
        return _page(request, f"Too many attempts failed. Try again in {wait_s} s.", status=429, retry_after_s=wait_s)
    try:
        cookie = await request.app[ACCESS].sign_in(await _token_of_form(request))
    except (Unauthenticated, Forbidden) as error:
        request.app[ATTEMPTS].failed(request.remote or "")
        return _page(request, error.message, status=401)
    return _signed_in(request, cookie)


@public
async def sign_in_with_link(request: web.Request) -> web.StreamResponse:
    wait_s = _wait_s(request)
    if wait_s:
        sentence = f"Too many attempts from your address failed. Open the link again in {wait_s} s; it is not spent."
        return _message(request, "Wait a moment", sentence, status=429)
    cookie = await request.app[ACCESS].redeem(request.match_info["code"])
    if cookie is None:
        request.app[ATTEMPTS].failed(request.remote or "")
        sentence = "It works once, for a day. Ask for a new one, or sign in with a token."
        return _message(request, "This link no longer works", sentence, status=410)
    return _signed_in(request, cookie)


@public
async def sign_out(request: web.Request) -> web.StreamResponse:
    cookie = session_cookie(request)
    if cookie:
        check_origin(request)
        await request.app[ACCESS].sign_out(cookie)
    response = web.Response(status=303, headers={"Location": "/sign-in"})
    drop_session_cookie(request, response)
    return response


async def _token_of_form(request: web.Request) -> str:
    if (request.content_length or 0) > MAX_FORM_BYTES:
        raise TooLarge("The form has room for one token.")
    field = (await request.post()).get("token")
    if not isinstance(field, str) or not field.strip():
        raise Unauthenticated("Paste a token to sign in.")
    return field.strip()


def _signed_in(request: web.Request, cookie: str) -> web.Response:
    log.info("action=signed_in remote=%s", request.remote)
    response = web.Response(status=303, headers={"Location": "/"})
    set_session_cookie(request, response, cookie)
    return _uncached(response)


def _wait_s(request: web.Request) -> int:
    return math.ceil(request.app[ATTEMPTS].wait_s(request.remote or ""))


def _page(request: web.Request, error: str | None = None, status: int = 200, retry_after_s: int = 0) -> web.Response:
    response = _uncached(aiohttp_jinja2.render_template("sign_in.html", request, {"error": error}, status=status))
    if retry_after_s:
        response.headers["Retry-After"] = str(retry_after_s)
    return response


def _message(request: web.Request, title: str, sentence: str, status: int) -> web.Response:
    context = {"title": title, "sentence": sentence, "link": {"href": "/sign-in", "text": "Sign in"}}
    return _uncached(aiohttp_jinja2.render_template("message.html", request, context, status=status))


def _uncached(response: web.Response) -> web.Response:
    response.headers["Cache-Control"] = "no-store"
    return response
