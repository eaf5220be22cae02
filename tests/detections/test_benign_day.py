"""An ordinary day of an organisation, with all that changes on ordinary days, wakes nobody up."""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest

from jackstop.detections.catalogue import shipped
from jackstop.detections.engine import Engine
from jackstop.events.analytics import DAY_US, HOUR_US, MINUTE_US
from jackstop.events.schema import Event
from jackstop.events.warehouse import Warehouse, digest_events

TODAY_US = 20_516 * DAY_US
CLOUD = ("cloud", 64_501)
HOMES = ("", 64_801)


class Office:
    """30 keys of 15 people: services, runners, laptops, chats, some new today. `known`: with address data."""

    def __init__(self, *, known: bool, seed: int = 4) -> None:
        self._random = random.Random(seed)
        self._known = known
        self._numbers = count()

    def day(self, day_us: int, *, today: bool) -> list[Event]:
        events = [
            *(each for key in range(8) for each in self._service(key, day_us, today=today)),
            *(each for key in range(8, 12) for each in self._runners(key, day_us, today=today)),
            *(each for key in range(12, 20) for each in self._laptop(key, day_us, today=today)),
            *(each for key in range(20, 24) for each in self._chat(key, day_us, today=today)),
        ]
        if today:
            events += self._service(24, day_us, today=False)
            events += self._runners(25, day_us, today=False)
            events += self._laptop(26, day_us, today=False)
            events += self._chat(27, day_us, today=False)
            events += self._chat(28, day_us, today=False, characters=True)
            events += self._service(29, day_us, today=True)
        return events

    def _event(self, key: int, ts_us: int, net: str, place: tuple[str, int, str], **columns: Any) -> Event:
        kind, asn, country = place
        number = next(self._numbers)
        given: dict[str, Any] = {
            "key_id": f"k{key}",
            "owner": f"o{key // 2}@example.com",
            "team": f"t{key % 3}",
            "key_kind": "virtual",
            "provider": "openai",
            "action_class": "inference",
            "endpoint": "chat.completions",
            "model_asked": "gpt-4o-mini",
            "outcome": "ok",
            "decision": "admitted",
            "status": 200,
            "src_net": net,
            "src_ip": net.replace("0/24", str(number % 250 + 1)),
            "client": "openai-python",
            "user_agent": "OpenAI/Python 2.8.0",
            "ua_state": "present",
            "http_fp": "python-1",
            "input_tokens": 900,
            "output_tokens": 200,
            "cost_nusd": 2_000_000,
            "max_output_asked": 1024,
            "messages_n": 2,
            "tools_n": 0,
            "stream": False,
            "system_fp": f"s{key}-{number % 3}",
            "conversation_fp": f"c{number}",
            "event_id": f"e{number}",
            "ts": ts_us,
            "seen_ts": ts_us,
        }
        if self._known:
            given.update(network_kind=kind, asn=asn, country=country)
        return Event(**{**given, **columns})

    def _times(self, day_us: int, first_h: int, last_h: int, requests: int) -> list[int]:
        span_us = (last_h - first_h) * HOUR_US
        return sorted(day_us + first_h * HOUR_US + self._random.randrange(span_us) for _ in range(requests))

    def _service(self, key: int, day_us: int, *, today: bool) -> Iterator[Event]:
        """Around the clock in a cloud. Today: releases, launches, more instances, a retry storm, somebody who tries."""
        cloud = (*CLOUD, "US")
        for place, ts_us in enumerate(self._times(day_us, 0, 24, 900 if today and key % 2 else 300)):
            late, columns = today and ts_us > day_us + 10 * HOUR_US, {}
            net = f"10.{key}.{place % 2}.0/24"
            if late and key % 2:  # model, client and volume at once
                columns = {"model_asked": "gpt-5", "client": "litellm", "user_agent": "litellm/1.80", "http_fp": "l-1"}
                columns["cost_nusd"], columns["system_fp"] = 12_000_000, f"s{key}-new"
            if late and key % 4 == 1:  # more instances, in networks of the same cloud
                net = f"10.{key}.{place % 5}.0/24"
            if late and key == 2 and place % 3:
                columns = {"outcome": "throttled", "status": 429, "cost_nusd": 0}
            if today and key == 4 and place % 60 == 0:
                columns = {"stop_reason": "content_filter"}
            yield self._event(key, ts_us, net, cloud, **columns)
        if today and key == 6:
            by_hand = {"client": "curl", "user_agent": "curl/8.9.1", "http_fp": "curl-1"}
            for place in range(20):
                at_us = day_us + 11 * HOUR_US + place * 40_000_000
                yield self._event(key, at_us, "198.51.100.0/24", (*HOMES, "DE"), **by_hand)

    def _runners(self, key: int, day_us: int, *, today: bool) -> Iterator[Event]:
        """Jobs on runners, each somewhere else: today also in networks that nobody had."""
        for job, ts_us in enumerate(self._times(day_us, 7, 19, 60)):
            net = f"172.{16 + today}.{self._random.randrange(90)}.0/24"
            for step in range(5):
                failed = {"outcome": "not_found", "status": 404} if today and job % 20 == 0 else {}
                yield self._event(key, ts_us + step * 2_000_000, net, ("cloud", 64_502, "US"), **failed)

    def _laptop(self, key: int, day_us: int, *, today: bool) -> Iterator[Event]:
        """At home and in the office. Today: a café, a VPN, another country, an agent, other models and programs."""
        for place, ts_us in enumerate(self._times(day_us, 7, 20, 150)):
            hour = (ts_us - day_us) // HOUR_US
            net, where = f"192.168.{key}.0/24" if hour < 9 else "192.0.2.0/24", (*HOMES, "DE")
            columns: dict[str, Any] = {"stream": True, "conversation_fp": f"c{key}-{ts_us // (20 * MINUTE_US)}"}
            if today and key == 12 and hour > 12:
                net, where = "203.0.113.0/24", ("", 64_802, "DE")
            if today and key == 13 and hour > 10:
                net, where = "203.0.114.0/24", ("mobile", 64_803, "FR")
            if today and key == 14:
                net, where = "203.0.115.0/24", ("vpn", 64_804, "DE")
            if today and key == 15 and hour > 12:
                columns = {"client": "claude-code", "user_agent": "claude-cli/2.0.1", "http_fp": "cli-1", "tools_n": 12}
            if today and key == 16 and place < 5:
                columns["model_asked"] = f"gpt-{place}"
            if today and key == 17 and place % 2:
                net, columns["user_agent"], columns["http_fp"] = "203.0.116.0/24", "python-requests/2.32.3", "r-1"
            yield self._event(key, ts_us, net, where, **columns)

    def _chat(self, key: int, day_us: int, *, today: bool, characters: bool = False) -> Iterator[Event]:
        """A chat with short answers, for many people: twice as many today, with another model and prompt."""
        cloud = (*CLOUD, "US")
        for place, ts_us in enumerate(self._times(day_us, 6, 23, 800 if today else 400)):
            person = self._random.randrange(60 if today else 30)
            prompt = f"s{key}-p{person}" if characters else f"s{key}-{today}"
            columns = {"stream": True, "max_output_asked": 300, "end_user_fp": f"u{person}", "system_fp": prompt}
            columns["conversation_fp"] = f"c{key}-{person}-{ts_us // HOUR_US}"
            if today:
                columns |= {"model_asked": "gpt-5-mini", "http_fp": "python-2", "user_agent": "OpenAI/Python 2.9.0"}
            yield self._event(key, ts_us, f"10.{key}.{place % 2}.0/24", cloud, **columns)


@pytest.mark.slow
@pytest.mark.parametrize("known", [True, False], ids=["with address data", "without"])
def test_an_ordinary_day_wakes_nobody_up(known: bool) -> None:
    office = Office(known=known)
    usual = digest_events(office.day(TODAY_US - DAY_US, today=False), TODAY_US - DAY_US)
    warehouse = Warehouse(forget=False)
    try:
        warehouse.learn(TODAY_US, {TODAY_US - number * DAY_US: usual for number in range(1, 8)})
        warehouse.feed(sorted(office.day(TODAY_US, today=True), key=lambda event: event.ts))
        found = Engine(shipped()).once(warehouse.connection)
    finally:
        warehouse.close()
    assert found, "a day on which nothing at all is found is not the day that this is about"
    assert [each for each in found if each.severity in {"high", "critical"}] == []
