"""What keys, clients and networks of the bench look like, and the events that requests of theirs leave.

Networks are made up, in 240.0.0.0/4, which nobody has; operators have numbers of the private range.
"""

from functools import cache
from typing import NamedTuple

from jackstop.events.schema import Event
from jackstop.gate.meter.base import Ask, Usage
from jackstop.ledger.bounds import bound
from jackstop.ledger.prices import cost, price_list

US = 1_000_000
MINUTE = 60 * US
HOUR = 3600 * US
DAY = 24 * HOUR
START = 1_791_158_400 * US
"""Monday, 2026-10-05, 00:00 UTC: day 0 of everything."""

_EUROPE = ("DE", "GB", "FR", "NL", "IE", "SE", "PL", "ES", "IT", "CH", "AT", "DK", "NO", "FI", "PT", "GR", "RO", "CZ")
_BEYOND_IT = ("US", "CA", "BR", "MX", "IN", "JP", "KR", "SG", "AU", "ZA", "TR", "UA", "IL", "AE", "TH", "VN", "ID")
_RARER = ("PH", "MY", "TW", "HK", "CN", "RU", "MD", "BG", "RS", "HU", "LT", "LV", "EE", "AR", "CL", "CO", "PE", "EG")
COUNTRIES = ("US", *_EUROPE[:5], *_BEYOND_IT[1:6], *_EUROPE[5:], *_BEYOND_IT[6:], *_RARER, "NG", "KE")
CLOUDS = 8
_BEYOND = 1 << 19
MODELS = {
    "openai": ("gpt-4o-mini", "gpt-4o", "gpt-4.1", "gpt-5-mini", "gpt-5", "gpt-5.2", "gpt-5.5", "o3", "gpt-5-pro"),
    "anthropic": (
        *("claude-haiku-4-5", "claude-sonnet-4-5", "claude-sonnet-4-6", "claude-opus-4-5", "claude-opus-4-6"),
        "claude-opus-4-1",
    ),
    "deepseek": ("deepseek-chat", "deepseek-reasoner", "deepseek-v4-flash", "deepseek-v4-pro"),
}
ENDPOINTS = {"openai": "chat.completions", "anthropic": "messages", "deepseek": "chat.completions"}
ACTIONS = {
    "openai": "POST /openai/v1/chat/completions",
    "anthropic": "POST /anthropic/v1/messages",
    "deepseek": "POST /deepseek/v1/chat/completions",
}


class Net(NamedTuple):
    """A /24, and what address data say of it."""

    number: int
    asn: int
    as_org: str
    country: str
    kind: str

    @property
    def name(self):
        return f"{self._start}.0/24"

    def address(self, host):
        return f"{self._start}.{host % 254 + 1}"

    @property
    def _start(self):
        return f"{240 + (self.number >> 16)}.{self.number >> 8 & 255}.{self.number & 255}"


class Networks:
    """Makes networks that were not there before; those of thieves lie beyond those of anybody else."""

    def __init__(self, *, beyond=False):
        self._made = _BEYOND if beyond else 0

    def cloud(self, operator, country):
        """Of one of a few clouds, which everybody uses."""
        return self._net(64_512 + operator, f"Cloud {operator}", country, "cloud")

    def beside(self, net):
        """Another one of the same operator, in the same country."""
        return self._net(net.asn, net.as_org, net.country, net.kind)

    def of(self, kind, country, operator):
        """`hosting`, `vpn`, `tor`, `mobile`, or "" for homes and offices."""
        first = {"hosting": 64_600, "vpn": 64_700, "tor": 64_800, "mobile": 64_900, "": 65_000}[kind]
        where = COUNTRIES.index(country)
        return self._net(first + (where * 7 + operator) % 99, f"{kind or 'isp'} {country} {operator}", country, kind)

    def _net(self, asn, as_org, country, kind):
        self._made += 1
        return Net(self._made, asn, as_org, country, kind)


class Client(NamedTuple):
    """What a client tells of itself without being asked."""

    family: str
    user_agent: str
    http_fp: str


def client(family, version=0):
    """A client of a family: another version is another user agent, and now and then another order of headers."""
    agents = {
        "openai-python": f"OpenAI/Python 2.{version}.0",
        "anthropic-python": f"Anthropic/Python 0.{60 + version}.0",
        "openai-js": f"OpenAI/JS 5.{version}.0",
        "claude-code": f"claude-cli/2.0.{version} (external, cli)",
        "codex": f"codex_cli_rs/0.{40 + version}.0",
        "litellm": f"litellm/1.{80 + version}.1",
        "langchain": f"langchain/1.{version}",
        "requests": "python-requests/2.32.3",
        "httpx": "python-httpx/0.28.1",
        "curl": "curl/8.9.1",
        "go": "Go-http-client/2.0",
        "axios": "axios/1.7.4",
        "aiohttp": "Python/3.11 aiohttp/3.9.5",
        "node-fetch": "node-fetch/1.0 (+https://github.com/bitinn/node-fetch)",
        "browser": "Mozilla/5.0 (Windows NT 10.0; Win64; x64) Chrome/128.0",
        "none": "",
    }
    return Client("" if family == "none" else family, agents[family], f"{family}:{version // 4}")


class Size(NamedTuple):
    input: int
    output: int
    cap: int | None


class Made(NamedTuple):
    """What one request is: everything of its event but who, where and when."""

    provider: str
    model: str
    size: Size
    client: Client
    system: str = ""
    tools: str = ""
    conversation: str = ""
    end_user: str = ""
    messages: int = 1
    tools_n: int = 0
    stream: bool = False
    markers: str = ""


_DEFAULT_CAP = 8_192
_BYTES_PER_TOKEN = 4
"""Of text; the gate holds a token for each byte before it counts exactly."""


@cache
def hold_of(provider, model, input_tokens, cap, day_us):
    """The nano-dollars that the gate holds for such a request."""
    found = bound(provider, Ask(model=model, input_bound=input_tokens * _BYTES_PER_TOKEN), cap or _DEFAULT_CAP, day_us)
    return found.nusd


def cost_of(made, ts_us):
    """The nano-dollars that it costs at list price."""
    usage = Usage(input_tokens=made.size.input, output_tokens=made.size.output)
    return cost(made.provider, made.model, usage, ts_us).nusd


@cache
def price_of(provider, model):
    """Nano-dollars for a million tokens in and as many out."""
    rates = price_list(provider, model, START).at(0)
    return rates.input + rates.output


@cache
def context_of(provider, model):
    return price_list(provider, model, START).context_window


def event(key, made, net, host, ts_us, number, *, known):
    """The event of an answered request. `known` says whether address data are there."""
    size = made.size
    return Event(
        provider=made.provider,
        credential_id=made.provider,
        key_id=key.id,
        key_kind="virtual",
        auth_method="bearer",
        owner=key.owner,
        team=key.team,
        end_user_fp=made.end_user,
        action=ACTIONS[made.provider],
        action_class="inference",
        endpoint=ENDPOINTS[made.provider],
        model_asked=made.model,
        model=made.model,
        outcome="ok",
        status=200,
        stop_reason="stop" if size.cap is None or size.output < size.cap else "length",
        decision="admitted",
        src_ip=net.address(host),
        src_net=net.name,
        src_trust="peer",
        asn=net.asn if known else None,
        as_org=net.as_org if known else "",
        country=net.country if known else "",
        network_kind=net.kind if known else "",
        user_agent=made.client.user_agent,
        ua_state="present" if made.client.user_agent else "absent",
        client=made.client.family,
        http_fp=made.client.http_fp,
        input_tokens=size.input,
        output_tokens=size.output,
        max_output_asked=size.cap,
        max_output_sent=size.cap or _DEFAULT_CAP,
        hold_nusd=hold_of(made.provider, made.model, round_up(size.input), size.cap, START),
        cost_nusd=cost_of(made, ts_us),
        price_known=True,
        request_bytes=size.input * _BYTES_PER_TOKEN + 600,
        response_bytes=size.output * _BYTES_PER_TOKEN + 300,
        messages_n=made.messages,
        tools_n=made.tools_n,
        stream=made.stream,
        latency_us=size.output * 15_000 + 400_000,
        system_fp=made.system,
        tools_fp=made.tools,
        conversation_fp=made.conversation,
        request_fp=f"{made.model}|{size.cap}|{made.messages}|{made.system}|{made.tools}|{made.conversation}",
        markers=made.markers,
        ts=ts_us,
        seen_ts=ts_us,
        event_id=f"{key.id}-{number}",
        gate_id="g1",
        request_id=f"r{number}",
    )


def refuse(event, reason, outcome, status):
    """Make it the event of a request that the gate refused."""
    event.decision, event.reason, event.outcome, event.status = "refused", reason, outcome, status
    event.cost_nusd = event.hold_nusd = event.input_tokens = event.output_tokens = None
    event.model = event.stop_reason = ""


def round_up(tokens, step=64):
    """So that holds of nearly the same size are reckoned once."""
    return -(-tokens // step) * step


class Key(NamedTuple):
    """A key, and whose."""

    id: str
    owner: str
    team: str
