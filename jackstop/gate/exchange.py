"""One request from its head to its event: identify, admit, reserve, forward, stream, settle, record.

The phases are methods that a client's connection, a provider's connection and the clock call; nothing here touches
a socket. Whatever happens, an exchange with a known key leaves exactly one event, and every hold is ended.
"""

from __future__ import annotations

import asyncio
import math
from enum import Enum
from typing import Protocol

import msgspec

from jackstop import providers
from jackstop.errors import Refused
from jackstop.gate import forward, record, refusals
from jackstop.gate.admission import Admitted, AskRefused, Opening, admit, open_request
from jackstop.gate.answer import Answer
from jackstop.gate.context import Gate, note
from jackstop.gate.entry import Entry
from jackstop.gate.identify import presented
from jackstop.gate.reply import ReplyReader
from jackstop.gate.reserve import Reserve
from jackstop.gate.settle import Ending
from jackstop.gate.source import Source
from jackstop.gate.upstream import Origin, Unreachable, Upstream
from jackstop.gate.wire import LARGE_BODY_BYTES, Head
from jackstop.ledger.books import Hold

# Head and body of a request that is not written yet, or need not be kept any more.
_NO_REQUEST = (b"", b"")


class Client(Protocol):
    """The client's side of one exchange."""

    def write(self, data: bytes) -> None:
        """Send bytes; when the client does not take them, `Exchange.client_slow` is called."""
        ...

    def finished(self, *, keep: bool) -> None:
        """The answer is complete; the connection may take the next request if `keep`."""
        ...

    def abort(self) -> None:
        """Cut the connection, so that the client cannot take a part for the whole."""
        ...


class Phase(Enum):
    """Where an exchange is. Identify and settle take no time, so nothing is ever found in them."""

    ADMIT = 1
    RESERVE = 2
    CONNECT = 3
    FORWARD = 4
    STREAM = 5
    DONE = 6


class Exchange:
    """One request and its answer. `deadline` is when the clock should call `expired`."""

    __slots__ = (
        "_admitted",
        "_answer",
        "_body",
        "_buffered",
        "_client",
        "_draining",
        "_entry",
        "_gate",
        "_head",
        "_opening",
        "_phase",
        "_query",
        "_request",
        "_resent",
        "_slow",
        "_source",
        "_upstream",
        "deadline",
    )

    def __init__(self, gate: Gate, client: Client, head: Head, source: Source) -> None:
        self._gate = gate
        self._client: Client | None = client
        self._head = head
        self._source = source
        self._entry: Entry  # once the key is known
        self._query = b""
        self._opening: Opening | None = None
        self._admitted: Admitted | None = None
        self._body = b""
        self._request = _NO_REQUEST
        self._buffered = 0
        self._upstream: Upstream | None = None
        self._answer: Answer | None = None
        self._phase = Phase.ADMIT
        self._resent = False
        self._slow = False
        self._draining = False
        self.deadline = math.inf

    @property
    def key_id(self) -> str:
        return self._entry.event.key_id

    @property
    def credential_name(self) -> str:
        return self._entry.event.credential_id

    # -- identify, admit, reserve -----------------------------------------------------------------------------------

    def open(self) -> bool:
        """Judge the head. False when the request was refused, and answered."""
        gate = self._gate
        found = presented(self._head)
        if isinstance(found, Refused):
            self._turn_away(found)
            return False
        self._query = found.query
        now = gate.clock.now_us()
        key = gate.registry.identify(found.key, now) if found.key else None
        if key is None:
            self._turn_away(refusals.UNAUTHORIZED)
            return False
        opening = open_request(self._head, key, self._source, now, gate.registry, gate.settings)
        self._entry = Entry(gate.books, record.begin(self._head, self._source, key, opening, now, gate.instance))
        if isinstance(opening, Refused):
            self.refuse(opening, keep=False)
            return False
        self._opening = opening
        gate.exchanges.add(self)
        if not self._head.repeated:
            gate.heads.keep(self._head)
        return True

    def _turn_away(self, refused: Refused) -> None:
        """Answer someone without a key: counted by network, no event."""
        self._gate.books.flood(self._source.net)
        self._respond(refused, keep=False)

    def receive(self, body: bytes) -> None:
        """Judge the body, and go on to reserve."""
        self._body = body
        self._buffer(len(body))
        if len(body) >= LARGE_BODY_BYTES:
            self._gate.upload(self.key_id, len(body))
            self._gate.spawn(self._judge_apart(len(body)))
        else:
            self._judged(self._judge())

    def _judge(self) -> Admitted | Refused:
        """Admit or refuse the body. Touches nothing but the body and the settings: it may run in a thread."""
        assert self._opening is not None
        try:
            return admit(self._opening, self._body, self._gate.settings)
        except Exception as error:
            note("a body could not be judged", error)
            return refusals.malformed("the request's body cannot be judged")

    async def _judge_apart(self, size: int) -> None:
        """As `_judge`, in a thread: a large body must not keep everyone else waiting. Until then it is an upload."""
        judged = await asyncio.get_running_loop().run_in_executor(self._gate.judge_thread, self._judge)
        self._gate.upload(self.key_id, -size)
        self._judged(judged)

    def _judged(self, admitted: Admitted | Refused) -> None:
        """Refuse the request, or reserve: at once, or with a wait for what is not leased here."""
        if self._phase is Phase.DONE:
            return
        event = self._entry.event
        event.request_bytes = self._head.size + len(self._body)
        if isinstance(admitted, Refused):
            if isinstance(admitted, AskRefused):
                record.add_ask(event, admitted.ask, self._gate.registry.fingerprint_key)
            self.refuse(admitted, keep=True)
            return
        self._admitted = admitted
        record.add_ask(event, admitted.ask, self._gate.registry.fingerprint_key)
        self._phase = Phase.RESERVE
        reserve = Reserve(self._gate, admitted, event.ts)
        got = reserve.now()
        if isinstance(got, Hold):
            self._reserved(got)
        elif isinstance(got, Refused):
            self.refuse(got, keep=True)
        else:
            self._gate.spawn(self._wait(reserve))

    async def _wait(self, reserve: Reserve) -> None:
        got = await reserve.later()
        if isinstance(got, Hold):
            self._reserved(got)
        elif self._client is None:
            self._entry.cancelled()
            self._end()
        else:
            self.refuse(got, keep=True)

    def refuse(self, refused: Refused, *, keep: bool) -> None:
        """Answer in the provider's place: one event, then the words of the dialect."""
        self._entry.refused(refused, self._dialect())
        self._respond(refused, keep=keep)

    def _respond(self, refused: Refused, *, keep: bool) -> None:
        client = self._client
        keep = keep and self._head.keep_alive and not self._gate.stopping
        self._end()
        if client is not None:
            body = self._head.method != "HEAD"
            client.write(refusals.answer(refused, self._dialect(), close=not keep, body=body))
            client.finished(keep=keep)

    def _dialect(self) -> refusals.ErrorDialect:
        return providers.error_dialect(self._head.path)

    # -- forward ----------------------------------------------------------------------------------------------------

    def _reserved(self, hold: Hold) -> None:
        """The money is held: send the request, on a connection at rest if there is one."""
        assert self._admitted is not None
        assert self._opening is not None
        self._entry.held(hold, self._admitted)
        if self._client is None:
            self._settle("unsent")
            self._end()
            return
        credential = self._gate.registry.present(self._opening.credential)
        if credential is not self._opening.credential:
            # It was rotated since the head came: once a hold is written, nobody waits for older secrets to be used up.
            self._opening = msgspec.structs.replace(self._opening, credential=credential)
        try:
            origin, lines = forward.head(self._opening, self._head, self._query)
            self._request = forward.request(lines, self._opening.route, self._admitted, self._body)
        except Exception as error:
            note("a request could not be written", error)
            self._fail(Refused("upstream", "the request cannot be forwarded to the credential's base URL"), "unsent")
            return
        self._body = b""
        self._admitted.ask.forget_texts()
        self._send(origin)

    def _send(self, origin: Origin) -> None:
        upstream = None if self._resent else self._gate.pool.take(origin)
        if upstream is None:
            self._phase = Phase.CONNECT
            self._gate.spawn(self._connect(origin))
        else:
            self._forward(upstream)

    async def _connect(self, origin: Origin) -> None:
        try:
            upstream = await self._gate.pool.connect(origin)
        except Unreachable as error:
            status, how = (504, "did not answer in time") if error.timed_out else (502, "cannot be reached")
            self._fail(Refused("upstream", f"the provider {how}", status=status), "unsent")
            return
        except Exception as error:
            note("a connection failed", error)
            self._fail(Refused("upstream", "the provider cannot be reached"), "unsent")
            return
        except asyncio.CancelledError:
            self._client = None
            self._settle("unsent")
            self._end()
            raise
        if self._client is None:
            self._gate.pool.give(upstream)
            self._settle("unsent")
            self._end()
        else:
            self._forward(upstream)

    def _forward(self, upstream: Upstream) -> None:
        self._upstream = upstream
        self._phase = Phase.FORWARD
        self._wait_for(self._gate.settings.gate.response_timeout_s)
        upstream.send(self, *self._request)

    def _wait_for(self, seconds: float) -> None:
        """Let the clock call `expired` if nothing happens for so long; a drain keeps its own deadline."""
        if not self._draining:
            self.deadline = self._gate.now() + seconds

    # -- stream: called by the provider's connection ----------------------------------------------------------------

    def replied(self, reply: ReplyReader) -> None:
        """More of the provider's answer has come."""
        if self._phase is Phase.FORWARD:
            if reply.head is None:
                return
            begun = self._begin_answer(reply)
            if reply.complete:
                self._complete(begun, begun.at_once(reply.take()))
                return
        answer = self._answer
        assert answer is not None
        data = reply.take()
        if data:
            before = answer.kept_bytes
            out = answer.content(data)
            if answer.kept_bytes != before:
                self._buffer(answer.kept_bytes - before)
            if answer.said_all and not self._entry.written:
                self._settle("answered")
            if out and self._client is not None:
                self._client.write(out)
        if self._phase is not Phase.STREAM:
            return
        if reply.complete:
            self._complete(answer, answer.end())
        elif not self._slow:
            self._wait_for(self._gate.settings.gate.stream_idle_timeout_s)

    def _begin_answer(self, reply: ReplyReader) -> Answer:
        """The head of the provider's answer has come: from here on, the request itself is not needed."""
        admitted, opening = self._admitted, self._opening
        assert reply.head is not None
        assert admitted is not None
        assert opening is not None
        self._phase = Phase.STREAM
        self._request = _NO_REQUEST
        self._buffer(-self._buffered)
        keep = self._head.keep_alive and not self._gate.stopping
        answer = Answer(
            reply.head,
            opening.route.meter,
            admitted.ask,
            version=self._head.version,
            keep=keep,
            secret=opening.credential.secret,
        )
        self._answer = answer
        self._entry.replied(answer)
        if answer.streams and not reply.complete and self._client is not None:
            self._client.write(answer.begin())
        return answer

    def _complete(self, answer: Answer, last: bytes) -> None:
        """The provider's answer is whole: book it, then let its last bytes go."""
        if not self._entry.written:
            self._settle("answered")
        client, upstream = self._client, self._upstream
        self._end()
        if upstream is not None:
            upstream.done()
        if client is not None:
            client.write(last)
            client.finished(keep=answer.keep)

    def lost(self, *, unsent: bool, why: str) -> None:
        """The provider's connection broke, or what came over it cannot be read."""
        upstream, self._upstream = self._upstream, None
        if self._phase is Phase.FORWARD and unsent and not self._resent and upstream is not None:
            self._resent = True
            self._send(upstream.origin)
        elif self._phase is Phase.FORWARD:
            self._fail(Refused("upstream", why), "broken")
        elif self._phase is Phase.STREAM:
            self._break_off(why)

    def _break_off(self, why: str) -> None:
        """The answer has begun and cannot be completed: the client must see that it broke."""
        answer, client, upstream = self._answer, self._client, self._upstream
        assert answer is not None
        if upstream is not None:
            self._upstream = None
            upstream.close()
        if not answer.begun:
            self._fail(Refused("upstream", why), "broken")
            return
        if not self._entry.written:
            self._settle("broken")
        self._end()
        if client is not None and answer.framed:
            client.finished(keep=False)
        elif client is not None:
            client.abort()

    def _fail(self, refused: Refused, ending: Ending) -> None:
        """No answer of the provider's can be passed on: settle, and answer in its place."""
        self._entry.failed(refused, self._dialect())
        self._settle(ending)
        self._respond(refused, keep=True)

    # -- called by the client's connection and the clock ------------------------------------------------------------

    def client_left(self) -> None:
        """The client is gone: the provider's answer is read to its usage report, or cut."""
        self._client = None
        self._detach(at_once=False)

    def stop(self, *, at_once: bool) -> None:
        """The key may no longer be used: cut the client off now. `at_once`: the provider's connection, too."""
        client, self._client = self._client, None
        if client is not None:
            record.mark(self._entry.event, "stopped")
            client.abort()
        self._detach(at_once=at_once)

    def _detach(self, *, at_once: bool) -> None:
        """Go on without the client. What waits for a lease or a connection ends itself when that comes."""
        if self._phase is Phase.ADMIT:
            self._entry.cancelled()
            self._end()
        if self._phase is not Phase.FORWARD and self._phase is not Phase.STREAM:
            return
        gate, upstream = self._gate, self._upstream
        assert self._opening is not None
        choice = self._opening.rules.policy.on_disconnect or gate.settings.gate.on_disconnect
        if at_once or choice == "close" or self._entry.written or upstream is None:
            self._cut()
        elif not self._draining:
            if gate.draining >= gate.settings.gate.drain_max:
                self._cut()
                return
            self._draining = True
            gate.draining += 1
            self.deadline = gate.now() + gate.settings.gate.drain_timeout_s
            self._slow = False
            upstream.resume()

    def _cut(self) -> None:
        """Close the provider's connection; what is not settled yet stays charged as held."""
        upstream = self._upstream
        if not self._entry.written:
            self._settle("broken")
        self._end()
        if upstream is not None:
            upstream.close()

    def client_slow(self) -> None:
        """The client does not take what was written: read no more from the provider."""
        if self._upstream is not None and not self._slow:
            self._slow = True
            self._upstream.pause()
            self._wait_for(self._gate.settings.gate.write_timeout_s)

    def client_ready(self) -> None:
        """The client takes bytes again."""
        if self._slow and self._upstream is not None:
            self._slow = False
            self._upstream.resume()
            self._wait_for(self._gate.settings.gate.stream_idle_timeout_s)

    def expired(self) -> None:
        """Nothing happened for as long as is allowed."""
        self.deadline = math.inf
        if self._draining:
            self._cut()
        elif self._slow:
            client, self._client = self._client, None
            if client is not None:
                client.abort()
            self._detach(at_once=False)
        elif self._phase is Phase.FORWARD:
            upstream, self._upstream = self._upstream, None
            if upstream is not None:
                upstream.close()
            self._fail(Refused("upstream", "the provider did not answer in time", status=504), "broken")
        elif self._phase is Phase.STREAM:
            self._break_off("the provider's answer stopped")

    # -- settle, record ---------------------------------------------------------------------------------------------

    def _settle(self, ending: Ending) -> None:
        assert self._admitted is not None
        self._entry.settle(ending, self._admitted, self._answer, left=self._client is None)

    def _buffer(self, change: int) -> None:
        """Count what this exchange keeps in memory among all that the gate does."""
        self._buffered += change
        self._gate.buffered += change

    def _end(self) -> None:
        """Let go of everything; no call changes anything after this."""
        self._phase = Phase.DONE
        self.deadline = math.inf
        self._gate.exchanges.discard(self)
        if self._buffered:
            self._buffer(-self._buffered)
        if self._draining:
            self._draining = False
            self._gate.draining -= 1
        self._client = None
        self._upstream = None
        self._body = b""
        self._request = _NO_REQUEST
