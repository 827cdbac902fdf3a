"""Each way of signing against the services' own vectors and libraries, and against whatever is a little different."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any, NamedTuple
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sendgrid.helpers.eventwebhook import EventWebhook
from standardwebhooks import Webhook
from twilio.request_validator import RequestValidator

from adapters.inbound import sendgrid, standard_webhooks, telegram, twilio
from adapters.inbound.delivery import FORM, MOST_FIELDS, Delivery
from adapters.inbound.verifying import MOST_SIGNATURES, TOLERANCE, Hmac, Nothing, Signature, UrlAndParams
from tests.adapters.inbound import senders
from tests.adapters.inbound.senders import SAMPLES, SENDGRID_PUBLIC, STANDARD_SECRET, TWILIO_TOKEN, VECTORS

VECTOR = {each["scheme"]: each for each in VECTORS}


class Signed(NamedTuple):
    """A delivery that is as it should be at this time, and another secret of the same form."""

    signature: Signature
    delivery: Delivery
    secret: str
    now: float
    another: str


def vector(scheme: str) -> tuple[bytes, dict[str, str]]:
    told = VECTOR[scheme]
    return told["body"].encode(), {name.lower(): value for name, value in told["headers"].items()}


def by_vector(scheme: str, signature: Signature, secret: str, now: float = 0, another: str = "another") -> Signed:
    return Signed(signature, Delivery(*vector(scheme)), secret, now, another)


META = Hmac("x-hub-signature-256", prefix="sha256=")
ZENDESK = Hmac(
    "x-zendesk-webhook-signature",
    over="{x-zendesk-webhook-signature-timestamp}{body}",
    encoding="base64",
    time="x-zendesk-webhook-signature-timestamp",
)
CHATWOOT = Hmac(
    "x-chatwoot-signature", over="{x-chatwoot-timestamp}.{body}", prefix="sha256=", time="x-chatwoot-timestamp"
)
SVIX = replace(
    standard_webhooks.SIGNATURE,  # type: ignore[type-var]
    header="svix-signature",
    over="{svix-id}.{svix-timestamp}.{body}",
    time="svix-timestamp",
)
OTHER_WHSEC = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
EVENTS = "sendgrid event webhook ECDSA P-256/SHA256 over timestamp+raw body"


def all_signed() -> dict[str, Signed]:
    form = VECTOR["twilio"]
    body = VECTOR["twilio-json (bodySHA256 in query)"]
    official = SAMPLES["sendgrid"]["official_vector"]
    zendesk_at = datetime.fromisoformat("2021-03-25T05:09:27+00:00").timestamp()
    return {
        "meta": by_vector("meta/whatsapp X-Hub-Signature-256", META, "s"),
        "zendesk": by_vector("zendesk", ZENDESK, VECTOR["zendesk"]["secret"], zendesk_at),
        "chatwoot": by_vector("chatwoot", CHATWOOT, "s", 1_700_000_000),
        "standard webhooks": by_vector(
            "standard-webhooks", standard_webhooks.SIGNATURE, STANDARD_SECRET, 1_795_293_964, OTHER_WHSEC
        ),
        "svix": by_vector(
            "svix doc vector (2021 ts, expired tolerance)", SVIX, STANDARD_SECRET, 1_614_265_330, OTHER_WHSEC
        ),
        "telegram": Signed(
            telegram.SIGNATURE, senders.telegram(SAMPLES["telegram"]["body"]).delivered(), senders.BOT_SECRET, 0, "b"
        ),
        "twilio": Signed(
            twilio.SIGNATURE,
            Delivery(
                urlencode(form["params"]).encode(),
                {"content-type": FORM, "x-twilio-signature": form["headers"]["X-Twilio-Signature"]},
                form["url"],
            ),
            form["auth_token"],
            0,
            "another",
        ),
        "twilio, json": Signed(
            twilio.SIGNATURE,
            Delivery(body["body"].encode(), {"x-twilio-signature": body["headers"]["X-Twilio-Signature"]}, body["url"]),
            "12345",
            0,
            "another",
        ),
        "sendgrid": by_vector(EVENTS, sendgrid.SIGNATURE, VECTOR[EVENTS]["public_key"], 1_600_112_502, SENDGRID_PUBLIC),
        "sendgrid, official": Signed(
            sendgrid.SIGNATURE,
            Delivery(
                official["payload"].encode(),
                {
                    "x-twilio-email-event-webhook-signature": official["signature"],
                    "x-twilio-email-event-webhook-timestamp": official["timestamp"],
                },
            ),
            official["public_key"],
            1_588_788_367,
            SENDGRID_PUBLIC,
        ),
    }


SIGNED = all_signed()
every = pytest.mark.parametrize("name", SIGNED)


def refuses(signed: Signed, *, secrets: tuple[str, ...] = (), now: float | None = None, **changed: Any) -> str | None:
    keys = [signed.signature.key(each) for each in secrets or (signed.secret,)]
    return signed.signature.refuses(replace(signed.delivery, **changed), keys, signed.now if now is None else now)


@every
def test_what_a_service_signs_is_verified(name: str) -> None:
    assert refuses(SIGNED[name]) is None


@every
def test_another_secret_is_none(name: str) -> None:
    assert refuses(SIGNED[name], secrets=(SIGNED[name].another,)) == "wrong"


@every
def test_one_of_several_secrets_is_enough(name: str) -> None:
    signed = SIGNED[name]
    assert refuses(signed, secrets=(signed.another, signed.secret)) is None
    assert refuses(signed, secrets=(signed.secret, signed.another)) is None
    assert signed.signature.refuses(signed.delivery, [], signed.now) == "wrong"


@pytest.mark.parametrize("name", SIGNED.keys() - {"telegram"})
def test_a_changed_byte_is_noticed(name: str) -> None:
    signed = SIGNED[name]
    for n in range(len(signed.delivery.body)):
        changed = bytearray(signed.delivery.body)
        changed[n] ^= 1
        assert refuses(signed, body=bytes(changed)) == "wrong", n
    assert refuses(signed, body=signed.delivery.body + b"\n") == "wrong"


@every
def test_a_changed_header_is_noticed(name: str) -> None:
    signed = SIGNED[name]
    for header, value in signed.delivery.headers.items():
        if header in ("content-type", "x-chatwoot-delivery"):
            continue
        for n, sign in enumerate(value.rstrip("=")[:-1]):  # The last of base64 may have bits to spare.
            other = value[:n] + ("B" if sign != "B" else "C") + value[n + 1 :]
            assert refuses(signed, headers={**signed.delivery.headers, header: other}) is not None, (header, n)
        without = {each: told for each, told in signed.delivery.headers.items() if each != header}
        assert refuses(signed, headers=without) == "missing"
        assert refuses(signed, headers={**signed.delivery.headers, header: "Ж\udcff"}) in ("wrong", "stale")
        assert refuses(signed, headers={**signed.delivery.headers, header: ""}) in ("wrong", "stale")


@pytest.mark.parametrize("name", ["twilio", "twilio, json"])
def test_another_address_is_noticed(name: str) -> None:
    signed = SIGNED[name]
    for other in (signed.delivery.url + "&a=1", signed.delivery.url.replace("mycompany", "other")):
        assert refuses(signed, url=other) == "wrong"


@pytest.mark.parametrize("name", ["zendesk", "chatwoot", "standard webhooks", "svix", "sendgrid", "sendgrid, official"])
def test_an_old_delivery_is_refused_and_one_from_the_future(name: str) -> None:
    signed = SIGNED[name]
    assert refuses(signed, now=signed.now + TOLERANCE) is None
    assert refuses(signed, now=signed.now - TOLERANCE) is None
    assert refuses(signed, now=signed.now + TOLERANCE + 1) == "stale"
    assert refuses(signed, now=signed.now - TOLERANCE - 1) == "stale"


def test_a_header_may_hold_signatures_by_several_secrets() -> None:
    signed = SIGNED["standard webhooks"]
    headers = dict(signed.delivery.headers)
    headers["webhook-signature"] = f"v1a,abc v1,AAAA {headers['webhook-signature']} v2,x"
    assert refuses(signed, headers=headers) is None
    headers["webhook-signature"] = headers["webhook-signature"].replace("v1,", "v0,")
    assert refuses(signed, headers=headers) == "wrong"


def test_the_body_is_hashed_once_a_key_however_many_signatures_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    signed, digest = SIGNED["standard webhooks"], hmac.digest
    hashed: list[bytes] = []

    def noting(key: bytes, message: bytes, name: str) -> bytes:
        hashed.append(message)
        return digest(key, message, name)

    monkeypatch.setattr(hmac, "digest", noting)
    headers = dict(signed.delivery.headers)
    right = headers["webhook-signature"]
    headers["webhook-signature"] = " ".join(["v1,AAAA"] * (MOST_SIGNATURES - 1) + [right])
    assert refuses(signed, headers=headers, secrets=(OTHER_WHSEC, signed.secret)) is None
    assert len(hashed) == 2
    headers["webhook-signature"] = " ".join(["v1,AAAA"] * MOST_SIGNATURES + [right])
    assert refuses(signed, headers=headers) == "wrong"


def test_a_time_without_its_offset_is_no_time() -> None:
    signed = SIGNED["zendesk"]
    at = signed.delivery.headers["x-zendesk-webhook-signature-timestamp"]
    assert at.endswith("Z")
    headers = {**signed.delivery.headers, "x-zendesk-webhook-signature-timestamp": at.removesuffix("Z")}
    assert refuses(signed, headers=headers) == "stale"


@pytest.mark.parametrize("body", ["&".join(["a=b"] * (MOST_FIELDS + 1)), "Body=%CF%F0"])
def test_a_form_of_too_many_fields_or_of_no_text_is_not_even_looked_at(body: str) -> None:
    headers = {"content-type": FORM, "x-twilio-signature": "x"}
    delivery = Delivery(body.encode(), headers, senders.TWILIO_URL)
    assert twilio.SIGNATURE.refuses(delivery, [TWILIO_TOKEN.encode()], 0) == "wrong"


def test_a_body_that_is_no_form_needs_its_digest_in_the_address() -> None:
    signed = SIGNED["twilio, json"]
    url = signed.delivery.url.partition("?")[0]
    made = RequestValidator("12345").compute_signature(url, {})
    headers = {"x-twilio-signature": made}
    assert refuses(signed, url=url, headers=headers) == "wrong"
    assert refuses(signed, url=url, headers={**headers, "content-type": FORM}, body=b"") is None


def test_the_address_is_signed_with_its_port_or_without() -> None:
    url, signature = "https://hub.example.org/v1/channels/sms", UrlAndParams("x-twilio-signature")
    for signed, configured in (
        (url, url),
        (url.replace(".org", ".org:443"), url),
        (url, url.replace(".org", ".org:443")),
        ("https://s:443/v1/channels/sms", "https://s/v1/channels/sms"),
        ("http://http:80/v1/channels/sms", "http://http/v1/channels/sms"),
        ("https://[::1]:443/v1/channels/sms", "https://[::1]/v1/channels/sms"),
        ("https://s/v1/channels/sms", "https://s:/v1/channels/sms"),
    ):
        sent = senders.twilio({"Body": "привет & пока", "Empty": ""}, signed)
        assert signature.refuses(sent.delivered(configured), [TWILIO_TOKEN.encode()], 0) is None


@pytest.mark.parametrize(
    ("signature", "secret"),
    [
        (META, ""),
        (telegram.SIGNATURE, ""),
        (telegram.SIGNATURE, "with space"),
        (telegram.SIGNATURE, "x" * 257),
        (twilio.SIGNATURE, ""),
        (standard_webhooks.SIGNATURE, "whsec_"),
        (standard_webhooks.SIGNATURE, "whsec_no base64"),
        (sendgrid.SIGNATURE, ""),
        (sendgrid.SIGNATURE, "AAAA"),
        (sendgrid.SIGNATURE, "not base64"),
        (Nothing(), "any"),
    ],
)
def test_what_cannot_be_a_secret_is_none(signature: Signature, secret: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 -- its message may quote the secret; nobody reads it.
        signature.key(secret)


def test_nobody_has_to_sign_where_nothing_is_asked() -> None:
    assert Nothing().refuses(Delivery(b"", {}), [], 0) is None


TEXTS = st.text(st.characters(codec="utf-8"), max_size=20)
FIELDS = st.lists(st.tuples(TEXTS, TEXTS), max_size=6)


@given(FIELDS)
def test_twilios_own_library_agrees_about_any_form(fields: list[tuple[str, str]]) -> None:
    sent = senders.twilio(fields)
    assert twilio.SIGNATURE.refuses(sent.delivered(senders.TWILIO_URL), [TWILIO_TOKEN.encode()], 0) is None


@given(TEXTS, st.integers(0, 1 << 33))
def test_the_standards_own_library_agrees_about_any_body(body: str, at: int) -> None:
    sent = senders.standard(body.encode(), at=at)
    key = standard_webhooks.SIGNATURE.key(STANDARD_SECRET)
    assert standard_webhooks.SIGNATURE.refuses(sent.delivered(), [key], at) is None


def test_the_standards_own_library_reads_what_we_verify() -> None:
    sent = senders.standard({"type": "a"})
    assert Webhook(STANDARD_SECRET).verify(sent.body.decode(), sent.headers) == {"type": "a"}


@given(st.binary(max_size=50), st.integers(0, 1 << 33), st.integers(0, 60))
def test_sendgrids_own_library_agrees_about_any_body(body: bytes, at: int, flipped: int) -> None:
    sent = senders.sendgrid(body.decode("latin-1").encode(), at)
    key = sendgrid.SIGNATURE.key(SENDGRID_PUBLIC)
    delivery = sent.delivered()
    named = "x-twilio-email-event-webhook-signature"
    signature = bytearray(delivery.headers[named], "ascii")
    signature[flipped] = signature[flipped] ^ (flipped % 2)
    given = signature.decode("ascii")
    theirs = _theirs(delivery, given, str(at))
    ours = sendgrid.SIGNATURE.refuses(replace(delivery, headers={**delivery.headers, named: given}), [key], at) is None
    assert ours == theirs


def _theirs(delivery: Delivery, signature: str, at: str) -> bool:
    checker: Callable[..., bool] = EventWebhook(SENDGRID_PUBLIC).verify_signature
    try:
        return checker(delivery.body.decode(), signature, at)
    except ValueError:  # No base64.
        return False
